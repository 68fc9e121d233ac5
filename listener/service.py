"""The listener: from finalised logs to durable invocations, and from the DAO's clock to ends of voting.

Invariants: C1 every finalised log is dispatched at least once and its promise exists once. C2 the cursor
never passes a block whose logs are not dispatched. It must not decide what a proposal is worth, and must not
believe a node that is behind.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from contracts.rpc import (
    BlockHeader,
    HistoryPruned,
    NoCode,
    Node,
    RpcError,
    RpcRefused,
    StateMissing,
    WrongChain,
)
from listener.backoff import Backoff, pause
from listener.continuity import Continuity
from listener.contract_watch import ContractWatch
from listener.dispatch import Dispatcher
from listener.errors import StartBeforeCursor, StartBeyondHead
from listener.finality import Finality, Heights
from listener.progress import Progress, ProgressCallback
from listener.ranges import RangeWidth
from listener.scan import RangeReader
from listener.settings import ListenerSettings
from listener.shapes import DaoShape, Shape
from listener.store import Cursor, CursorStore
from listener.stream import ChainObserver, Finalised, HeadFollower
from listener.voting import VotingWatch
from orchestrator.domain.errors import Unavailable

if TYPE_CHECKING:
    from orchestrator import Orchestrator

_NODE = "node"
_ORCHESTRATOR = "orchestrator"
_log = structlog.get_logger("listener")


def _unix_ms() -> int:
    return time.time_ns() // 1_000_000


class Listener:
    """Listens to one source. The caller owns `node`, `app` and `store`, and opens and closes them.

    `shape` is what it listens for, by default the project's own DAO. `on_progress` is called after each
    cycle, `on_block` for each block that is committed, reverted or finalised. `wake`, an event that somebody
    else sets, ends the pause between two looks early. Any number of listeners may listen to one source.
    """

    def __init__(
        self,
        settings: ListenerSettings,
        node: Node,
        app: Orchestrator,
        store: CursorStore,
        *,
        shape: Shape | None = None,
        on_progress: ProgressCallback | None = None,
        on_block: ChainObserver = lambda _event: None,
        wake: asyncio.Event | None = None,
        now_ms: Callable[[], int] = _unix_ms,
    ) -> None:
        self._settings = settings
        self._node = node
        self._store = store
        self._shape = shape or DaoShape(settings)
        self._dispatcher = Dispatcher(app, settings)
        self._voting = VotingWatch(settings, self._shape.voting, node, self._dispatcher, store, now_ms=now_ms)
        self._finality = Finality(settings, node, now_ms)
        self._continuity = Continuity(settings, node, self._shape, store)
        self._contract = ContractWatch(settings, node, self._shape, store, now_ms)
        self._reader = RangeReader(node, settings, self._shape)
        self._follower = HeadFollower(settings, node, on_block)
        self._on_block = on_block
        self._on_progress = on_progress
        self._wake = wake
        self._width = RangeWidth(settings.range_blocks)
        self._prepared = False
        self._dispatched = 0
        self._ended = 0
        self._behind = False
        self._away: str | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Listen until `stop` is set; a cycle that has begun is finished.

        Whatever may heal is waited for, with one line in the log when it goes and one when it comes back.
        Raises ListenerError or RpcError for what an operator must change, and NodeUnavailable on the first
        contact only: a node that was never there is a wrong URL.
        """
        backoff = Backoff(minimum_s=self._settings.backoff_s_min, maximum_s=self._settings.backoff_s_max)
        await self._prepare()
        while not stop.is_set():
            try:
                progress = await self.step()
            except (RpcError, Unavailable) as error:
                self._lost(error)
                await pause(stop, backoff.next_s(getattr(error, "retry_after_s", None)))
                continue
            backoff.reset()
            if progress.caught_up:
                await pause(stop, self._settings.poll_interval_s, self._wake)

    async def step(self) -> Progress:
        """Do one cycle: read at most one range, dispatch it, move the cursor, and end what has ended.

        Raises RpcError or Unavailable when node or orchestrator failed: nothing is lost, the next cycle does
        it again. Raises ListenerError for what does not heal.
        """
        await self._prepare()
        if self._away is not None:
            await self._check_chain()
        heights = await self._finality.look()
        cursor = await self._store.cursor(self._settings.source)
        if cursor is not None and heights.finalized.number < cursor.block_number:
            progress = await self._wait_for_node(heights, cursor)
        else:
            progress = await self._advance(heights, cursor)
        self._came_back()
        if self._on_progress is not None:
            self._on_progress(progress)
        return progress

    async def _prepare(self) -> None:
        """Check once what an operator may have mistyped: chain, contract, start block."""
        if self._prepared:
            return
        await self._check_chain()
        head = await self._node.header("latest")
        cursor = await self._store.cursor(self._settings.source)
        if cursor is not None and head.number < cursor.block_number:
            return  # The node is behind: it cannot know yet what is to be checked.
        if cursor is not None and self._settings.start_block < cursor.first_block:
            raise StartBeforeCursor(self._settings.start_block, cursor.first_block)
        if cursor is None and self._settings.start_block > head.number:
            raise StartBeyondHead(self._settings.start_block, head.number)
        await self._shape.check(self._node)
        self._prepared = True
        _log.info(
            "listening",
            chain_id=self._settings.chain_id,
            dao=self._settings.dao,
            cursor=None if cursor is None else cursor.block_number,
            start_block=self._settings.start_block,
            head=head.number,
        )

    async def _check_chain(self) -> None:
        actual = await self._node.chain_id()
        if actual != self._settings.chain_id:
            raise WrongChain(self._settings.chain_id, actual, self._node.endpoint)

    async def _wait_for_node(self, heights: Heights, cursor: Cursor) -> Progress:
        if not self._behind:
            _log.warning("node_behind", finalized=heights.finalized.number, cursor=cursor.block_number)
        self._behind = True
        await self._continuity.check_behind(heights.finalized)
        return await self._progress(heights, cursor, caught_up=True)

    async def _advance(self, heights: Heights, cursor: Cursor | None) -> Progress:
        finalized = heights.finalized
        if self._behind:
            _log.info("node_caught_up", finalized=finalized.number)
        self._behind = False
        if cursor is not None:
            await self._continuity.check(cursor, finalized)
        await self._contract.look()
        await self._follow(heights, cursor)
        first = self._settings.start_block if cursor is None else cursor.block_number + 1
        if first <= finalized.number:
            began = self._settings.start_block if cursor is None else cursor.first_block
            cursor = await self._take(first, finalized, began) or cursor
        self._ended += await self._voting.look(finalized)
        caught_up = first > finalized.number or (
            cursor is not None and cursor.block_number >= finalized.number
        )
        return await self._progress(heights, cursor, caught_up=caught_up)

    async def _follow(self, heights: Heights, cursor: Cursor | None) -> None:
        """Follow the unfinalised blocks, once back-fill is about to meet them; nothing waits for them."""
        left = heights.finalized.number - (-1 if cursor is None else cursor.block_number)
        if left > self._width.blocks:
            return
        try:
            await self._follower.follow(heights)
        except RpcError as error:
            _log.info("head_unclear", head=heights.head.number, reason=str(error))

    async def _take(self, first: int, final: BlockHeader, began: int) -> Cursor | None:
        """Read and dispatch one range, and only then move the cursor past it (C2); None if too wide.

        `began` is the block in which the whole scan began.
        """
        source = self._settings.source
        last = min(final.number, first + min(self._width.blocks, self._reader.blocks_max(first)) - 1)
        width, started = last - first + 1, time.monotonic()
        try:
            scanned = await self._reader.read(
                first,
                last,
                final,
                skipped=await self._store.skipped(source),
                known=tuple(self._follower.final),
            )
        except RpcRefused as error:
            # What a node does not keep it does not answer in smaller pieces either.
            if first == last or isinstance(error, (HistoryPruned, StateMissing)):
                raise
            self._width.was_refused(width)
            _log.info(
                "range_refused", first=first, last=last, reason=str(error), next_blocks=self._width.blocks
            )
            return None
        self._width.was_answered(width, time.monotonic() - started)
        await self._dispatcher.invoke_all(scanned.invocations)
        cursor = replace(scanned.cursor, first_block=began)
        await self._store.advance(
            source,
            cursor,
            scanned.created,
            scanned.touched,
            after=first - 1,
            dispatched=scanned.dispatched,
        )
        self._dispatched += len(scanned.invocations)
        ids = tuple(each.promise_id for each in scanned.invocations)
        self._on_block(Finalised(first=first, last=last, last_hash=cursor.block_hash, invocations=ids))
        return cursor

    async def _progress(self, heights: Heights, cursor: Cursor | None, *, caught_up: bool) -> Progress:
        counts = await self._store.counts(self._settings.source)
        return Progress(
            head=heights.head.number,
            finalized=heights.finalized.number,
            cursor=None if cursor is None else cursor.block_number,
            dispatched=self._dispatched,
            ended=self._ended,
            open_proposals=counts.open,
            parked_proposals=counts.parked,
            caught_up=caught_up,
            behind=self._behind,
            head_time=heights.head.timestamp,
            finalized_time=heights.finalized.timestamp,
            unfinalised=len(self._follower.window),
            reorgs=self._follower.reorgs,
            reverted_blocks=self._follower.reverted_blocks,
            deepest_reorg=self._follower.deepest_reorg,
            finality_stalled=self._finality.stalled,
            clock_ahead_s=self._finality.clock_ahead_s,
            implementation_changes=self._contract.changes,
            range_blocks=self._width.blocks,
            hidden_logs=self._reader.hidden,
        )

    def _lost(self, error: RpcError | Unavailable) -> None:
        """Tell once that a party is away. Raises what no waiting heals."""
        if isinstance(error, (WrongChain, NoCode, HistoryPruned)):
            raise error
        party = _ORCHESTRATOR if isinstance(error, Unavailable) else _NODE
        if self._away != party:
            self._came_back()
            self._away = party
            _log.error("party_away", party=party, reason=str(error))

    def _came_back(self) -> None:
        if self._away is not None:
            _log.info("party_back", party=self._away)
        self._away = None
