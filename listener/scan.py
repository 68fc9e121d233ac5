"""Reading one range of finalised logs.

C2 begins here: a range is what lies between the cursor and its last block, and nothing of it is left out.
Nothing is dispatched or remembered here. The range's last block is looked at before and after the logs are
read: a node that has another one by then, or behind which another one answers, is asked again later.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from contracts.bindings import DecodeError, Log
from contracts.rpc import BlockHeader, BlockMissing, Node, NodeUnavailable, bloom
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

    async def read(
        self,
        first: int,
        last: int,
        finalized: BlockHeader,
        *,
        skipped: frozenset[tuple[bytes, int]] = frozenset(),
        known: Iterable[BlockHeader] = (),
    ) -> Scanned:
        """Read the logs of the blocks `first` to `last`, which are final. Raises UnreadableLog, RpcError.

        `known` are headers of such blocks, as far as they are at hand: where the filter of one of them allows
        a log that was not answered, that block is asked for by its hash.
        """
        before = finalized if last == finalized.number else await self._node.header(last)
        logs = await self._node.logs(self._settings.dao, [list(self._shape.topics)], first, last)
        # A node that knows the last block's hash after the logs did know the block when it gave them.
        after = await self._node.header(last)
        self._check_boundary(logs, before, after)
        await self._check_filters(logs, [each for each in known if first <= each.number < last] + [after])
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

    async def _check_filters(self, logs: Sequence[Log], headers: Sequence[BlockHeader]) -> None:
        """Hold blocks that seem empty against their bloom filters. Raises NodeUnavailable for a lie."""
        told = {log.block_number for log in logs}
        topics = [list(self._shape.topics)]
        for header in headers:
            filtered = header.logs_bloom
            if header.number in told or filtered is None or not bloom.is_used(filtered):
                continue
            if not bloom.may_contain(filtered, self._settings.dao, topics):
                continue
            try:
                missed = await self._node.logs_of_block(self._settings.dao, topics, header.hash)
            except BlockMissing:
                if (await self._node.header(header.number)).hash == header.hash:
                    raise
                continue  # The header was of a block that did not stay.
            if missed:
                reason = f"it answered no logs for block {header.number}, which has {len(missed)}"
                raise NodeUnavailable(self._node.endpoint, reason)

    def _read(self, log: Log) -> Invocation | Touched | None:
        try:
            return self._shape.read(log)
        except DecodeError as error:
            raise UnreadableLog(
                log.block_number, log.log_index, str(error), block_hash=log.block_hash
            ) from error
