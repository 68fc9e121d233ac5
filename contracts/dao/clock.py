"""The DAO's clock at a block: its own `clock()`, or the block number as contracts of that chain see it.

Beside a Governor without a clock() stands a BlockClockGovernor, which has one for the registry of its scores.
"""

from __future__ import annotations

from contracts.bindings import DecodeError, block_clock_governor
from contracts.dao.face import Dao
from contracts.rpc import Node, NodeUnavailable
from contracts.rpc.quantities import encode_quantity

# NUMBER, PUSH1 0, MSTORE, PUSH1 32, PUSH1 0, RETURN: run as a creation that is never sent.
_TELL_BLOCK_NUMBER = "0x4360005260206000f3"


async def clock_of(node: Node, dao: Dao, block: int) -> int:
    """Return the timepoint of a DAO's clock at the block of that number.

    A Governor before 4.9 and Bravo have no clock() and read `block.number`, which on some second layers is
    the first layer's: so it is asked of the chain's own machine, and not taken from the header.
    """
    if dao.clocked:
        read = dao.clock()
        return read.decode(await node.call(*read.call, block))
    return await contract_block_number(node, block)


async def contract_block_number(node: Node, block: int) -> int:
    """Return what a contract that runs in this block reads as `block.number`."""
    answer = await node.request("eth_call", [{"data": _TELL_BLOCK_NUMBER}, encode_quantity(block)])
    try:
        return int(str(answer), 16)
    except ValueError:
        raise NodeUnavailable(node.endpoint, f"eth_call: no block number: {str(answer)[:80]!r}") from None


async def governor_behind(node: Node, address: str, block: int) -> str | None:
    """Return the Governor for which a BlockClockGovernor stands at an address, None where none does."""
    read = block_clock_governor.GOVERNOR
    (answer,) = await node.call_each([(address, read.encode())], block)
    try:
        return read.decode(answer).lower() if isinstance(answer, bytes) else None
    except DecodeError:
        return None
