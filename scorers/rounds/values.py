"""What the following of a proposal's rounds records. Pure; roots and hashes are 0x text, times seconds."""

from __future__ import annotations

from dataclasses import dataclass

from scorers.policy import ANY_POLICY
from scorers.values import Proposal, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A verdict as the registry holds it."""

    status: int
    score: int
    root: str

    def __str__(self) -> str:
        return f"status {self.status}, score {self.score}, root {self.root}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """What one scorer submitted in one round, and where."""

    scorer: str
    round: int
    said: Said
    transaction_hash: str
    block_number: int
    block_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """A proposal with our verdict; `round` is the last one in which it was submitted, 0 in the shadow.

    `policy` is what a submission names, as `policy_named` gives it.
    """

    proposal: Proposal
    verdict: Verdict
    root: str
    round: int
    policy: str = ANY_POLICY


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a finalised block shows of a proposal. `until` is when its stage may end, 0 if nothing is due.

    `voices` are the submissions since the last look. `sender` is the key that acts for this worker, None in
    the shadow; `admitted` tells whether it may submit in the current round, and `due` names the function that
    anybody may call now. `verdict` is what was agreed.
    """

    block_number: int
    now: int
    stage: int
    round: int
    until: int
    cancelled: bool
    voices: tuple[Voice, ...]
    sender: str | None = None
    admitted: bool = False
    due: str | None = None
    verdict: Said | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundsEnd:
    """How the rounds of a proposal ended; `agrees` is None where it was cancelled before a final verdict.

    `round` is the last that was open: a verdict of the admin's counts as that of the one after it. `voice` is
    the first submission that said what is final, None if none did.
    """

    agrees: bool | None
    verdict: Said | None
    round: int | None
    differing: tuple[Voice, ...]
    voice: Voice | None = None
