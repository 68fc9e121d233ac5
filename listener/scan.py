"""Reading one range of finalised logs.

C2 begins here: a range is what lies between the cursor and its last block, and nothing of it is left out.
Nothing is dispatched or remembered here. The range's last block is looked at before and after the logs are
read: a node that has another one by then, or behind which another one answers, is asked again later. What the
blocks' filters say about the answer is `audit`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from contracts.bindings import DecodeError, Log
from contracts.rpc import BlockHeader, Node, NodeUnavailable
from listener.audit import Answer, LogAudit
from listener.errors import UnreadableLog
from listener.settings import ListenerSettings
from listener.shapes import Invocation, Shape, Touched
from listener.store import Cursor, Dispatched


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """What the blocks up to `cursor` brought, in the order of the chain."""

    cursor: Cursor
    invocations: tuple[Invocation, ...]
    touched: tuple[str, ...]

    @property
    def created(self) -> list[str]:
        """The proposals whose vote is to be watched."""
        return [each.proposal_id for each in self.invocations if each.proposal_id is not None]

    @property
    def dispatched(self) -> list[Dispatched]:
        """What is to be remembered of the invocations."""
        return [
            Dispatched(
                promise_id=each.promise_id,
                block_number=each.log.block_number,
                block_hash=each.log.block_hash,
                proposal_id=each.proposal_id,
            )
            for each in self.invocations
        ]


class RangeReader:
    """Reads ranges of one source."""

    def __init__(self, node: Node, settings: ListenerSettings, shape: Shape) -> None:
        self._node = node
        self._settings = settings
        self._shape = shape
        self._audit = LogAudit(node, settings, shape)

    @property
    def hidden(self) -> int:
        """How many logs the node left out that were found all the same."""
        return self._audit.hidden

    def blocks_max(self, first: int) -> int:
        """Return how many blocks from `first` on may be read at once."""
        return self._audit.blocks_max(first)

    async def read(
        self,
        first: int,
        last: int,
        finalized: BlockHeader,
        *,
        skipped: frozenset[tuple[bytes, int]] = frozenset(),
        known: Iterable[BlockHeader] = (),
    ) -> Scanned:
        """Read the logs of the blocks `first` to `last`, which are final.

        `known` are headers of such blocks, as far as they are at hand. Raises UnreadableLog,
        FiltersContradicted, RpcError.
        """
        before = finalized if last == finalized.number else await self._node.header(last)
        logs = await self._node.logs(self._settings.dao, [list(self._shape.topics)], first, last)
        # A node that knows the last block's hash after the logs did know the block when it gave them.
        after = await self._node.header(last)
        self._check_boundary(logs, before, after)
        headers = _linked(known, first, after)
        logs = await self._audit.complete(Answer(first=first, last=last, logs=logs, headers=headers))
        found = [self._read(log) for log in logs if (log.block_hash, log.log_index) not in skipped]
        return Scanned(
            cursor=Cursor(block_number=last, block_hash=after.hash),
            invocations=tuple(each for each in found if isinstance(each, Invocation)),
            touched=tuple(each.proposal_id for each in found if isinstance(each, Touched)),
        )

    def _check_boundary(self, logs: Sequence[Log], before: BlockHeader, after: BlockHeader) -> None:
        hashes = {log.block_hash for log in logs if log.block_number == after.number}
        if before.hash != after.hash or not hashes <= {after.hash}:
            reason = f"its logs and its headers disagree about the hash of block {after.number}"
            raise NodeUnavailable(self._node.endpoint, reason)

    def _read(self, log: Log) -> Invocation | Touched | None:
        try:
            return self._shape.read(log)
        except DecodeError as error:
            raise UnreadableLog(
                log.block_number, log.log_index, str(error), block_hash=log.block_hash
            ) from error


def _linked(known: Iterable[BlockHeader], first: int, last: BlockHeader) -> list[BlockHeader]:
    """Return the last header, and those at hand from `first` on that lead up to it without a gap.

    What does not lead up to it is of a block that did not stay: its filter tells nothing of this chain.
    """
    at_hand = {each.number: each for each in known}
    linked = [last]
    while linked[-1].number > first:
        below = at_hand.get(linked[-1].number - 1)
        if below is None or below.hash != linked[-1].parent_hash:
            break
        linked.append(below)
    return linked
