"""Where `safe` and `finalized` point.

F1 a reorganisation never moves a tag back; only the blocks below it may be others than before.
F2 no tag points above the head.

Imports nothing of the chain.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalityState:
    """What a snapshot keeps: lags in blocks, the least height of each tag, and where it stands still."""

    lags: dict[str, int]
    floors: dict[str, int]
    stalled: dict[str, int] | None = None


class Finality:
    """The two tags, so many blocks behind the head."""

    def __init__(self, *, finalized_lag: int, safe_lag: int) -> None:
        self._state = FinalityState(
            lags={"finalized": finalized_lag, "safe": safe_lag}, floors={"finalized": 0, "safe": 0}
        )

    def height(self, tag: str, head: int) -> int:
        """The height of `safe` or `finalized` where the head is at `head`."""
        state = self._state
        stalled = state.stalled
        reached = head - state.lags[tag] if stalled is None else stalled[tag]
        return min(head, max(reached, state.floors[tag]))

    def set_lag(self, tag: str, blocks: int) -> None:
        """Let a tag follow the head at another distance; it may move back."""
        self._state = FinalityState(
            lags={**self._state.lags, tag: blocks},
            floors={**self._state.floors, tag: 0},
            stalled=self._state.stalled,
        )

    def stall(self, head: int) -> None:
        """Let both tags stand still where they are."""
        stalled = {tag: self.height(tag, head) for tag in self._state.lags}
        self._state = FinalityState(lags=self._state.lags, floors=self._state.floors, stalled=stalled)

    def resume(self) -> None:
        """Let both tags follow the head again."""
        self._state = FinalityState(lags=self._state.lags, floors=self._state.floors)

    def reorganised(self, old_head: int) -> None:
        """Blocks up to `old_head` are replaced: keep the tags from moving back (F1)."""
        floors = {tag: self.height(tag, old_head) for tag in self._state.lags}
        self._state = FinalityState(lags=self._state.lags, floors=floors, stalled=self._state.stalled)

    def state(self) -> FinalityState:
        """The state for a snapshot."""
        return self._state

    def restore(self, state: FinalityState) -> None:
        """Return to a snapshot's state."""
        self._state = state
