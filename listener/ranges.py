"""How many blocks to ask for at once: what a provider lets through, learned from what it answers.

Pure. A refused or slow range is halved, a quick one doubled. A width that was refused is remembered: from
then on the width stops short of it, and tries it again only now and then, since dense stretches of a chain
pass and a provider's fixed limit does not.
"""

from __future__ import annotations

from dataclasses import dataclass

SLOW_S = 30.0
QUICK_S = 2.0
START_BLOCKS = 1_000
TRIES_BETWEEN = 64
"""After so many answered ranges a refused width is tried again, and after twice as many the next time."""


@dataclass(slots=True)
class RangeWidth:
    """The width of the next range, in blocks, at most `blocks_max`."""

    blocks_max: int
    blocks: int = 0
    refused: int | None = None
    passed: int = 0
    answered: int = 0
    patience: int = TRIES_BETWEEN

    def __post_init__(self) -> None:
        self.blocks = self.blocks or min(self.blocks_max, START_BLOCKS)

    def was_refused(self, width: int) -> None:
        """Take note that the node will not answer for so many blocks."""
        self.refused, self.answered = width, 0
        self.blocks = max(width // 2, self.passed, 1) if self.passed < width else max(width // 2, 1)
        self.passed = min(self.passed, self.blocks)

    def was_answered(self, width: int, seconds: float) -> None:
        """Take note how long the node took."""
        self.answered += 1
        if self.refused is not None and self.answered > self.patience:
            self.refused, self.patience = None, 2 * self.patience
        if seconds > SLOW_S:
            self.blocks, self.passed = max(width // 2, 1), 0
        elif width >= self.blocks:
            self.passed = width
            if seconds < QUICK_S:
                self.blocks = min(self._grown(), self.blocks_max)

    def _grown(self) -> int:
        doubled = 2 * self.blocks
        if self.refused is None or doubled < self.refused:
            return doubled
        # Between what was answered and what was refused: come closer by halves, while there is much to win.
        between = (self.blocks + self.refused) // 2
        return between if between - self.blocks > self.blocks // 10 else self.blocks
