"""Whether the chain that a node shows now is the one that was dispatched up to.

A final block that has another hash is either a node that lies or lags behind a load balancer, which passes,
or a reorg beyond finality, which does not: so it has to be seen several times in a row before it is believed.
Then the last common block is looked for, and what was dispatched after it and is gone.
"""

from __future__ import annotations

from contracts.bindings import DecodeError
from contracts.rpc import BlockHeader, Node, NodeUnavailable, RpcRefused
from listener.errors import ReorgBeyondFinality
from listener.settings import ListenerSettings
from listener.shapes import Invocation, Shape
from listener.store import Checkpoint, Cursor, CursorStore


class Continuity:
    """Compares the cursor's own record with the node, each cycle."""

    def __init__(self, settings: ListenerSettings, node: Node, shape: Shape, store: CursorStore) -> None:
        self._settings = settings
        self._node = node
        self._shape = shape
        self._store = store
        self._seen = 0
        self._behind_checked: int | None = None

    async def check(self, cursor: Cursor, finalized: BlockHeader) -> None:
        """Compare the cursor's block. Raises NodeUnavailable at first, then ReorgBeyondFinality."""
        place = Checkpoint(block_number=cursor.block_number, block_hash=cursor.block_hash)
        await self._compare(place, finalized)

    async def check_behind(self, finalized: BlockHeader) -> None:
        """Compare the last place of the cursor that a node below the cursor can know; raises the same."""
        if finalized.number == self._behind_checked and not self._seen:
            return
        for place in await self._store.checkpoints(self._settings.source):
            if place.block_number <= finalized.number:
                await self._compare(place, finalized)
                break
        self._behind_checked = finalized.number

    async def _compare(self, place: Checkpoint, finalized: BlockHeader) -> None:
        header = finalized
        if place.block_number != finalized.number:
            header = await self._node.header(place.block_number)
        if header.hash == place.block_hash:
            self._seen = 0
            return
        self._seen += 1
        if self._seen < self._settings.reorg_looks:
            raise NodeUnavailable(
                self._node.endpoint,
                f"its block {place.block_number} is not the one that was final: it is looked at again",
            )
        self._seen = 0
        raise await self._judged(place, header.hash, finalized)

    async def _judged(
        self, place: Checkpoint, node_hash: bytes, finalized: BlockHeader
    ) -> ReorgBeyondFinality:
        ancestor = await self._ancestor(finalized)
        return ReorgBeyondFinality(
            place.block_number,
            place.block_hash,
            node_hash,
            ancestor=None if ancestor is None else (ancestor.block_number, ancestor.block_hash),
            vanished=await self._vanished(ancestor, finalized),
        )

    async def _ancestor(self, finalized: BlockHeader) -> Checkpoint | None:
        """Return the newest place of the cursor that the node's chain has, by halves: above it all differ."""
        known = [
            place
            for place in await self._store.checkpoints(self._settings.source)
            if place.block_number <= finalized.number
        ]
        differing, shared = -1, len(known)
        while shared - differing > 1:
            middle = (differing + shared) // 2
            header = await self._node.header(known[middle].block_number)
            if header.hash == known[middle].block_hash:
                shared = middle
            else:
                differing = middle
        return known[shared] if shared < len(known) else None

    async def _vanished(self, ancestor: Checkpoint | None, finalized: BlockHeader) -> tuple[str, ...]:
        """Return the promises whose logs the node's final chain does not have after the common block."""
        replaced = await self._in_replaced_blocks(ancestor, finalized)
        last = self._last_common(ancestor)
        if not replaced or last >= finalized.number:
            return replaced
        try:
            logs = await self._node.logs(
                self._settings.dao, [list(self._shape.topics)], max(last + 1, 0), finalized.number
            )
            read = [self._shape.read(log) for log in logs]
        except (RpcRefused, DecodeError):
            return replaced  # Too much to ask for at once: some of them may only have moved.
        moved = {each.promise_id for each in read if isinstance(each, Invocation)}
        return tuple(each for each in replaced if each not in moved)

    def _last_common(self, ancestor: Checkpoint | None) -> int:
        return self._settings.start_block - 1 if ancestor is None else ancestor.block_number

    async def _in_replaced_blocks(
        self, ancestor: Checkpoint | None, finalized: BlockHeader
    ) -> tuple[str, ...]:
        hashes: dict[int, bytes] = {}
        gone = []
        made = await self._store.dispatched_after(self._settings.source, self._last_common(ancestor))
        for each in made:
            number = each.block_number
            if number <= finalized.number and number not in hashes:
                hashes[number] = (await self._node.header(number)).hash
            if hashes.get(number) != each.block_hash:
                gone.append(each.promise_id)
        return tuple(gone)
