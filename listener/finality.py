"""Where the chain ends, and up to where it is final: by the node's tag, or by a configured depth.

Never one in place of the other. A tag that stands still while the chain grows is an alarm, and a node without
a tag is waited for: a depth is what an operator chooses, knowing the chain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from contracts.rpc import BlockHeader, BlockMissing, Node, RpcRefused
from listener.settings import ListenerSettings

CLOCK_AHEAD_S_MAX = 60
"""How far the newest block's time may be ahead of this machine's before one of both clocks is wrong."""
LOCAL_CHAINS = frozenset({1337, 31337})
"""Development chains set their own time."""
_log = structlog.get_logger("listener")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heights:
    """The newest block and the last final one, as one look at the node found them."""

    head: BlockHeader
    finalized: BlockHeader


class Finality:
    """Looks at a node's heights, and watches that finality and clocks go on. `now_ms` is Unix time."""

    def __init__(self, settings: ListenerSettings, node: Node, now_ms: Callable[[], int]) -> None:
        self._settings = settings
        self._node = node
        self._now_ms = now_ms
        self._final = -1
        self._head_then = 0
        self._waiting_since_ms: int | None = None
        self._unknown = False
        self.stalled = False
        self.clock_ahead_s = 0.0

    async def look(self) -> Heights:
        """Return the heights. Raises RpcError; the node may be behind what was seen before."""
        head = await self._node.header("latest")
        finalized = await self._finalized(head)
        self._watch_finality(head, finalized)
        self._watch_clock(head)
        return Heights(head=head, finalized=finalized)

    async def _finalized(self, head: BlockHeader) -> BlockHeader:
        depth = self._settings.finality_depth
        if depth == 0:
            return head
        if depth is not None:
            return await self._node.header(max(head.number - depth, 0))
        try:
            finalized = await self._node.header("finalized")
        except (BlockMissing, RpcRefused) as error:
            self._tell_unknown(str(error))
            raise
        self._unknown = False
        return finalized

    def _tell_unknown(self, reason: str) -> None:
        if not self._unknown:
            _log.error(
                "finality_unknown",
                chain_id=self._settings.chain_id,
                reason=reason,
                remedy="use a node that knows finalized blocks, or choose a depth by --finality",
            )
        self._unknown = True

    def _watch_finality(self, head: BlockHeader, finalized: BlockHeader) -> None:
        if finalized.number > self._final:
            self._final, self._head_then, self._waiting_since_ms = finalized.number, head.number, None
            if self.stalled:
                _log.warning("finality_moves_again", finalized=finalized.number)
            self.stalled = False
        elif head.number > self._head_then and self._waiting_since_ms is None:
            # A chain that rests has no blocks to finalise: time counts from the first one that has to wait.
            self._waiting_since_ms = self._now_ms()
        if self._waiting_since_ms is None or self.stalled:
            return
        waited_s = (self._now_ms() - self._waiting_since_ms) / 1000
        if waited_s > self._settings.finality_stall_s:
            self.stalled = True
            _log.error(
                "finality_stalled",
                chain_id=self._settings.chain_id,
                finalized=finalized.number,
                head=head.number,
                waited_s=round(waited_s),
            )

    def _watch_clock(self, head: BlockHeader) -> None:
        if self._settings.chain_id in LOCAL_CHAINS:
            return
        ahead_s = head.timestamp - self._now_ms() / 1000
        wrong = ahead_s > CLOCK_AHEAD_S_MAX
        if wrong and not self.clock_ahead_s:
            _log.warning("clocks_disagree", head=head.number, ahead_s=round(ahead_s))
        self.clock_ahead_s = ahead_s if wrong else 0.0
