"""What a node's error means: the one place that knows the codes and texts of clients and providers.

`RULES` is a table that is read from the top, the first row that fits decides; a new provider's text is a new
row, with where it was seen. Codes are those of JSON-RPC 2.0, EIP-1474 and the execution APIs; texts are
matched only where clients share no code, in lower case.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from contracts.rpc.errors import (
    CallReverted,
    HistoryPruned,
    NodeUnavailable,
    RangeRefused,
    RpcError,
    RpcRefused,
    StateMissing,
    TagUnsupported,
)
from contracts.rpc.quantities import decode_data

METHOD_NOT_FOUND = -32601
_INVALID_REQUEST = frozenset({-32600, -32602})
_LOGS = "eth_getLogs"


class ErrorObject(msgspec.Struct, frozen=True, kw_only=True):
    """The `error` member of a JSON-RPC answer."""

    code: int = 0
    message: str = ""
    data: object = None


class Kind(StrEnum):
    """What an error says, by who must act."""

    REVERTED = "reverted"
    RANGE = "range"
    PRUNED = "pruned"
    STATE = "state"
    UNKNOWN_BLOCK = "unknown_block"
    TAG = "tag"
    BATCH = "batch"
    LIMITED = "limited"
    BUSY = "busy"
    METHOD = "method"
    REQUEST = "request"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One row: an error of one of these codes and texts (any code, any text where empty) is of this kind.

    `seen` names clients and providers that answer so; `method` narrows a row to one method.
    """

    kind: Kind
    seen: str
    texts: tuple[str, ...] = ()
    codes: frozenset[int] = frozenset()
    method: str | None = None

    def fits(self, method: str, code: int, text: str) -> bool:
        """Tell whether an error, its text in lower case, is of this row."""
        return (
            (not self.codes or code in self.codes)
            and (not self.texts or any(re.search(each, text) for each in self.texts))
            and (self.method is None or self.method == method)
        )


RULES: tuple[Rule, ...] = (
    Rule(kind=Kind.REVERTED, codes=frozenset({3, -32015}), seen="geth, erigon, reth; nethermind (-32015)"),
    Rule(kind=Kind.REVERTED, texts=("revert",), seen="hardhat, anvil, eth-tester, older clients"),
    # How far a node has come is no width, though the text says "range".
    Rule(
        kind=Kind.UNKNOWN_BLOCK,
        texts=(
            r"beyond (the )?(current )?head",  # geth 1.16, reth: block range extends …
            r"beyond latest executed block",  # erigon
            r"header not found",  # geth, bsc
            r"header for hash not found",  # geth
            r"block not found|could not find block",  # erigon, ganache
            r"block.{0,80} could not be found",  # nethermind
            r"unknown block",  # execution APIs -39001, besu, openethereum
            r"block ?out ?of ?range",  # anvil: BlockOutOfRangeError
            r"invalid block tag \d+",  # hardhat
            r"after last accepted block",  # avalanche
            r"block number out of range|is greater than the latest",  # nethermind, older providers
        ),
        seen="see each text",
    ),
    Rule(
        kind=Kind.STATE,
        texts=(
            r"missing trie node",  # geth, bsc, polygon
            r"historical state",  # geth (path scheme), avalanche: historical state … is not available
            r"state .{0,80}(is )?(not available|unavailable|pruned|missing)",  # besu, reth, erigon
            r"no state available|world state",  # nethermind, besu
            r"archive",  # infura, alchemy, ankr, drpc: archive requests need another plan
            r"trie (root )?not found",
        ),
        seen="see each text",
    ),
    Rule(
        kind=Kind.PRUNED,
        texts=(
            r"pruned history|history (has been|is) pruned|old data not available due to pruning",  # geth
            r"receipts.{0,80}neither stored nor reproducible",  # nethermind
            r"history is available from block",  # publicnode and others
            r"logs? .{0,40}pruned|blocks? .{0,40}pruned",
        ),
        seen="geth 1.16 (EIP-4444), erigon, nethermind, reth",
    ),
    Rule(kind=Kind.PRUNED, codes=frozenset({4444}), seen="execution APIs: pruned history unavailable"),
    Rule(
        kind=Kind.TAG,
        texts=(
            r"(finalized|safe)'? (block|tag)",  # geth before a consensus client, or before the merge
            r"(invalid|unknown|unsupported).{0,40}(finalized|safe|block ?tag|tag)",
            r"hex string without 0x prefix",  # clients older than the tags
        ),
        seen="geth, erigon, ganache, chains without finality",
    ),
    Rule(
        kind=Kind.BATCH,
        texts=(
            r"batch.{0,60}(too|limit|size|exceed|not (supported|allowed|enabled)|disabled|maximum|more than)",
            r"(no|too many|maximum|exceeds?).{0,60}batch",  # besu, nethermind, drpc, quicknode
            r"^response too large$",  # geth: the answers of a whole batch
        ),
        seen="geth (1,000), nethermind (1,024), besu (1,024), jsonrpsee, providers from 3 to 1,000",
    ),
    Rule(
        kind=Kind.LIMITED,
        texts=(
            r"rate.?limit|request rate|too many requests|throttl",  # infura, quicknode, drpc, 1rpc
            r"per second|/second|/sec\b|requests? limit",  # alchemy (compute units), quicknode -32007
            r"daily request|quota|credits|capacity",  # infura, ankr, alchemy
        ),
        seen="see each text",
    ),
    Rule(
        kind=Kind.RANGE,
        texts=(
            r"query returned more than|more than [\d,]+ (results|logs)",  # infura, polygon zkevm, geth forks
            r"too many (results|logs|blocks)|max(imum)? results|exceeds? max",  # llama, reth, avalanche
            r"response size|response (is )?too (large|big)|result(s| set)? (too|exceed|limit)",  # alchemy, op
            r"logs? matched|query timeout|query must be smaller",  # arbitrum, harmony
            r"ranges?\b.{0,60}(too|limit|exceed|large|greater|wide|max|allowed|less than|not supported)",
            r"(limited?|up to|max(imum)?|exceed(s|ed)?|over|at most).{0,60}(\brange|\bblocks?\b)",
            r"range should work|retry with the range|try with",  # alchemy, reth, infura
            r"limited to a? ?[\d,.]+|blocks distance",  # quicknode, 1rpc, blast, ankr
        ),
        method=_LOGS,
        seen="see each text",
    ),
    # EIP-1474's bare "limit exceeded" is what bsc says to any range that is too wide for it.
    Rule(kind=Kind.RANGE, codes=frozenset({-32005}), texts=(r"^limit exceeded$",), method=_LOGS, seen="bsc"),
    Rule(kind=Kind.RANGE, codes=frozenset({-32614}), method=_LOGS, seen="quicknode and base: range limits"),
    Rule(
        kind=Kind.LIMITED, codes=frozenset({429, -32005, -32007, -32097}), seen="EIP-1474, quicknode, goldsky"
    ),
    Rule(
        kind=Kind.BUSY,
        texts=(
            r"time(d)?[ -]?out|deadline exceeded",
            r"no backends? (is|are|available)|no healthy|temporarily|overloaded|try again|syncing",
        ),
        seen="proxies in front of several nodes, nodes that start",
    ),
    Rule(kind=Kind.BUSY, codes=frozenset({-32002, -32046}), seen="EIP-1474: unavailable; cloudflare"),
    Rule(kind=Kind.METHOD, codes=frozenset({METHOD_NOT_FOUND, -32004}), seen="JSON-RPC 2.0, EIP-1474"),
    Rule(
        kind=Kind.METHOD,
        texts=(r"method .{0,60}not (found|supported|available|allowed|exist|whitelisted)",),
        seen="providers that answer it with codes of their own",
    ),
    Rule(kind=Kind.REQUEST, codes=_INVALID_REQUEST, seen="JSON-RPC 2.0: the request itself is wrong"),
)

ELSEWHERE = frozenset({Kind.PRUNED, Kind.STATE, Kind.TAG, Kind.METHOD, Kind.UNKNOWN_BLOCK, Kind.OTHER})
"""The kinds of refusal that say something of the node, or may: a read is worth asking another one."""
_KNOWN_TEXTS = (
    "already known",
    "alreadyknown",
    "known transaction",
    "already imported",
    "existing tx with same hash",
)
_RANGE = re.compile(r"\[?\b0x([0-9a-f]{1,16})\s*(?:,|-|to)\s*0x([0-9a-f]{1,16})\]?")
_RANGE_DECIMAL = re.compile(r"range (\d{1,20})\s*-\s*(\d{1,20})")
_WIDTHS = tuple(
    re.compile(text)
    for text in (
        r"maximum is set to ([\d,]+)",  # avalanche
        r"max(?:imum)?(?: block)? range(?: is)?:? ([\d,]+)",  # cloudflare, publicnode, reth
        r"number of requested blocks is ([\d,]+)",  # thirdweb
        r"limited to (?:a )?(?:0 - )?([\d,]+)",  # quicknode, 1rpc, blast, blockpi
        r"\(\d+ > (\d+)\)",  # blast
        r"at most ([\d,]+) blocks",  # coinbase
        r"range (?:greater than|exceeds|larger than) ([\d,]+)",  # swell, somnia
        r"max is ([\d,]+k?) blocks",  # merkle
        r"\(maximum (\d+)\)",  # moonbeam
        r"up to an? ([\d,]+k?) block range",  # aurora, alchemy
        r"blocks distance: (\d+)",  # ankr
        r"ranges over ([\d,]+) blocks",  # drpc
    )
)


def kind_of(method: str, error: ErrorObject) -> Kind:
    """Return what an error of a method says."""
    text = error.message.lower()
    for rule in RULES:
        if rule.fits(method, error.code, text):
            return rule.kind
    return Kind.OTHER


def means_known(error: RpcRefused) -> bool:
    """Tell whether a refused transaction is one that the node already holds."""
    text = error.message.lower()
    return any(known in text for known in _KNOWN_TEXTS)


def revert_data(error: ErrorObject) -> bytes:
    """Return the ABI-encoded reason of a revert, wherever the client put it; empty if it told none.

    Seen: plain data, data without 0x, `{"data": …}` and `{"result": …}` around it, `Reverted 0x…` before it.
    """
    found = error.data
    while isinstance(found, dict):
        found = found.get("data", found.get("result"))
    if not isinstance(found, str):
        return b""
    text = found.removeprefix("Reverted").strip()
    try:
        return decode_data(text if text.startswith("0x") else "0x" + text)
    except ValueError:
        return b""


def suggested_range(message: str) -> tuple[int, int] | None:
    """Return the range of blocks that a refusal proposes, first and last."""
    text = message.lower()
    if found := _RANGE.search(text):
        return int(found[1], 16), int(found[2], 16)
    if found := _RANGE_DECIMAL.search(text):
        return int(found[1]), int(found[2])
    return None


def blocks_allowed(message: str) -> int | None:
    """Return the number of blocks that a refusal says one request may have."""
    text = message.lower()
    for pattern in _WIDTHS:
        if found := pattern.search(text):
            digits = found[1].replace(",", "")
            width = int(digits.removesuffix("k")) * (1000 if digits.endswith("k") else 1)
            return width or None
    return None


def error_of_call(to: str, endpoint: str, method: str, error: ErrorObject) -> RpcError:
    """Return what the error of a state read means, the missing block apart."""
    if kind_of(method, error) is Kind.REVERTED:
        return CallReverted(to, revert_data(error), error.message or "no reason given")
    return error_of(endpoint, method, error)


def error_of(endpoint: str, method: str, error: ErrorObject) -> RpcError:
    """Return what an error means: a node that is busy, or a refusal of its kind."""
    kind = kind_of(method, error)
    if kind in (Kind.LIMITED, Kind.BUSY):
        reason = f"{method}: {error.message} (code {error.code})"
        return NodeUnavailable(endpoint, reason, limited=kind is Kind.LIMITED)
    data = error.data if isinstance(error.data, str) else None
    message = error.message or "no reason given"
    made = _CLASSES.get(kind, RpcRefused)(method, error.code, message, data=data, elsewhere=kind in ELSEWHERE)
    if isinstance(made, RangeRefused):
        made.suggested, made.blocks_max = suggested_range(message), blocks_allowed(message)
    return made


_CLASSES: dict[Kind, type[RpcRefused]] = {
    Kind.RANGE: RangeRefused,
    Kind.PRUNED: HistoryPruned,
    Kind.STATE: StateMissing,
    Kind.TAG: TagUnsupported,
}
