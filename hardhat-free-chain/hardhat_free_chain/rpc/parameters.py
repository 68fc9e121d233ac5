"""From JSON values to the chain's own: each function returns a checked value or raises InvalidParams."""

import re
from collections.abc import Callable
from typing import Any

from eth.constants import CREATE_CONTRACT_ADDRESS, ZERO_ADDRESS
from eth_typing import Address

from hardhat_free_chain.calls import AccessList, Call
from hardhat_free_chain.chain import LocalChain
from hardhat_free_chain.errors import InvalidParams, NotFound
from hardhat_free_chain.ledger import Block
from hardhat_free_chain.logs import LogFilter

BLOCK_TAGS = frozenset({"earliest", "latest", "pending", "safe", "finalized"})
UINT256_MAX = 2**256 - 1
# go-ethereum takes at most this many in one log filter.
ADDRESSES_MAX = 1_000
TOPICS_MAX = 4
QUANTITY = re.compile("0x[0-9a-fA-F]+")
SHOWN_MAX = 80


def argument(arguments: list[Any], index: int, default: Any = None) -> Any:
    """The argument at a position; a missing one and a null are the default."""
    value = arguments[index] if index < len(arguments) else None
    return default if value is None else value


def quantity(value: Any, name: str = "quantity") -> int:
    """A number as 0x-prefixed hex; a plain JSON number is taken as well."""
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    else:
        if not isinstance(value, str) or not QUANTITY.fullmatch(value):
            raise InvalidParams(f"invalid {name} {_shown(value)}: give 0x-prefixed hex")
        number = int(value, 16)
    if not 0 <= number <= UINT256_MAX:
        raise InvalidParams(f"invalid {name} {_shown(value)}: it does not fit 256 bits")
    return number


def data(value: Any, name: str = "data") -> bytes:
    """Bytes as 0x-prefixed hex."""
    if not isinstance(value, str) or not value.startswith("0x"):
        raise InvalidParams(f"invalid {name} {_shown(value)}: give 0x-prefixed hex")
    try:
        raw = bytes.fromhex(value[2:])
    except ValueError:
        raw = b""
    # fromhex overlooks white space.
    if len(value) != 2 + 2 * len(raw):
        raise InvalidParams(f"invalid {name}: not hex, or an odd number of digits")
    return raw


def fixed(value: Any, size: int, name: str) -> bytes:
    """Bytes of one exact length."""
    raw = data(value, name)
    if len(raw) != size:
        raise InvalidParams(f"invalid {name}: want {size} bytes, have {len(raw)}")
    return raw


def address(value: Any, name: str = "address") -> Address:
    """20 bytes."""
    return Address(fixed(value, 20, name))


def hash32(value: Any, name: str = "hash") -> bytes:
    """32 bytes."""
    return fixed(value, 32, name)


def flag(value: Any, name: str) -> bool:
    """A JSON boolean."""
    if not isinstance(value, bool):
        raise InvalidParams(f"invalid {name} {_shown(value)}: give true or false")
    return value


def mapping(value: Any, name: str) -> dict[str, Any]:
    """A JSON object."""
    if not isinstance(value, dict):
        raise InvalidParams(f"invalid {name}: give an object")
    return value


def height(chain: LocalChain, value: Any) -> int | None:
    """The block number that a tag or number means, possibly above the head; None for `pending`."""
    if value == "pending":
        return None
    if isinstance(value, str) and value in BLOCK_TAGS:
        return chain.height_of(value)
    if isinstance(value, str) and not value.startswith("0x"):
        raise InvalidParams(
            f"invalid block {_shown(value)}: give a number in hex or one of {sorted(BLOCK_TAGS)}"
        )
    return quantity(value, "block number")


def block(chain: LocalChain, value: Any) -> Block | None:
    """The block that a tag, number or EIP-1898 object names; None for `pending`. Raises NotFound."""
    if isinstance(value, dict):
        if "blockHash" in value:
            found = chain.ledger.by_hash(hash32(value["blockHash"], "blockHash"))
            if found is None:
                raise NotFound("header for hash not found")
            return found
        value = value.get("blockNumber", "latest")
    number = height(chain, "latest" if value is None else value)
    return None if number is None else chain.ledger.at(number)


def call(chain: LocalChain, value: Any) -> Call:
    """A transaction object as a call; `from` defaults to zero and `gas` to the block gas limit."""
    fields = mapping(value, "transaction")
    gas_limit = chain.controls.block_gas_limit
    max_fee, priority_fee = fees(fields)
    return Call(
        sender=_field(fields, "from", address, ZERO_ADDRESS),
        to=_field(fields, "to", address, CREATE_CONTRACT_ADDRESS),
        data=call_data(fields),
        value=_field(fields, "value", quantity, 0),
        gas=min(_field(fields, "gas", quantity, gas_limit) or gas_limit, gas_limit),
        max_fee_per_gas=max_fee,
        max_priority_fee_per_gas=priority_fee,
        access_list=access_list(fields.get("accessList")),
    )


def call_data(fields: dict[str, Any]) -> bytes:
    """`input`, or `data` under its older name."""
    given = {name: data(fields[name], name) for name in ("input", "data") if fields.get(name) is not None}
    if len(set(given.values())) > 1:
        raise InvalidParams('both "data" and "input" are set and not equal; use "input" alone')
    return next(iter(given.values()), b"")


def fees(fields: dict[str, Any]) -> tuple[int, int]:
    """(maximum fee, maximum priority fee) a gas, in wei; (0, 0) if the caller named none."""
    gas_price = _field(fields, "gasPrice", quantity, None)
    max_fee = _field(fields, "maxFeePerGas", quantity, None)
    priority = _field(fields, "maxPriorityFeePerGas", quantity, None)
    if gas_price is not None:
        if max_fee is not None or priority is not None:
            raise InvalidParams("both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified")
        return gas_price, gas_price
    if max_fee is None:
        return 0, 0
    if (priority or 0) > max_fee:
        raise InvalidParams(f"maxFeePerGas ({max_fee}) < maxPriorityFeePerGas ({priority})")
    return max_fee, priority or 0


def access_list(value: Any) -> AccessList:
    """An EIP-2930 access list."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise InvalidParams("invalid accessList: give an array")
    return tuple(_access(mapping(entry, "accessList entry")) for entry in value)


def _access(entry: dict[str, Any]) -> tuple[bytes, tuple[int, ...]]:
    keys = entry.get("storageKeys") or []
    if not isinstance(keys, list):
        raise InvalidParams("invalid storageKeys: give an array")
    slots = tuple(quantity(key, "storage key") for key in keys)
    return address(entry.get("address"), "accessList address"), slots


def log_filter(fields: dict[str, Any]) -> LogFilter:
    """`address` (one or a list) and `topics` (null, one or alternatives at each position)."""
    addresses = fields.get("address")
    if isinstance(addresses, str):
        addresses = [addresses]
    if addresses is not None and not isinstance(addresses, list):
        raise InvalidParams("invalid address in filter: give one address or an array")
    if len(addresses or ()) > ADDRESSES_MAX:
        raise InvalidParams(f"exceed max addresses: {len(addresses or ())} given, {ADDRESSES_MAX} allowed")
    topics = fields.get("topics") or []
    if not isinstance(topics, list) or len(topics) > TOPICS_MAX:
        raise InvalidParams(f"invalid topics: give an array of at most {TOPICS_MAX} positions")
    return LogFilter(
        addresses=frozenset("0x" + address(each).hex() for each in addresses) if addresses else None,
        topics=tuple(_topic(each) for each in topics),
    )


def _topic(value: Any) -> frozenset[str] | None:
    # An empty list of alternatives means any topic, and so does a null among the alternatives.
    alternatives = value if isinstance(value, list) else [value]
    if not alternatives or None in alternatives:
        return None
    if len(alternatives) > ADDRESSES_MAX:
        raise InvalidParams(f"exceed max topics: {len(alternatives)} given, {ADDRESSES_MAX} allowed")
    return frozenset("0x" + hash32(each, "topic").hex() for each in alternatives)


def _shown(value: Any) -> str:
    """A value as an error message shows it: short, whatever was sent."""
    text = repr(value)
    return text if len(text) <= SHOWN_MAX else text[:SHOWN_MAX] + "..."


def _field(fields: dict[str, Any], name: str, parse: Callable[[Any, str], Any], default: Any) -> Any:
    value = fields.get(name)
    return default if value is None else parse(value, name)
