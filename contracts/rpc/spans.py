"""How many blocks one eth_getLogs of an endpoint may span: learnt from its answers and refusals.

Pure. A refusal or a time-out halves the span, or sets it to what the refusal names; an answer in under two
seconds doubles it, one that took more than thirty halves it. Below a width that was refused it grows slowly.
"""

from __future__ import annotations

from contracts.rpc.errors import RangeRefused, RpcError

SPAN_BLOCKS = 10_000
SPAN_BLOCKS_MAX = 1_000_000
FAST_S = 2.0
SLOW_S = 30.0


class Span:
    """The span of one endpoint. `blocks` is how many to ask for next."""

    def __init__(self) -> None:
        self.blocks = SPAN_BLOCKS
        self._blocks_max = SPAN_BLOCKS_MAX
        self._refused = False

    def answered(self, blocks: int, seconds: float) -> None:
        """Learn from an answer about so many blocks. One that was narrower than allowed tells little."""
        if seconds > SLOW_S:
            self.blocks = max(1, blocks // 2)
        elif seconds < FAST_S and blocks >= self.blocks:
            factor = 1.25 if self._refused else 2.0
            self.blocks = min(int(factor * self.blocks) + 1, self._blocks_max)

    def refused(self, first: int, last: int, error: RpcError) -> None:
        """Learn from the refusal of a range, which is never asked for again as it was."""
        asked = last - first + 1
        self._refused = True
        allowed = _allowed(first, error)
        if allowed is not None and allowed < asked:
            if isinstance(error, RangeRefused) and error.blocks_max is not None:
                self._blocks_max = min(self._blocks_max, error.blocks_max)
            self.blocks = allowed
        else:
            self.blocks = max(1, asked // 2)


def _allowed(first: int, error: RpcError) -> int | None:
    """Return the width that a refusal names, if it can be meant: a suggestion has to begin where we did."""
    if not isinstance(error, RangeRefused):
        return None
    if error.suggested is not None and error.suggested[0] == first <= error.suggested[1]:
        return error.suggested[1] - first + 1
    return error.blocks_max
