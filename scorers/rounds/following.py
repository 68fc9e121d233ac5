"""Follows a proposal's rounds until its verdict is final, as a durable workflow.

A new round is ours to answer: the same verdict is submitted again. What only needs somebody, such as the next
round after a time-out or finality after a window, is done by any scorer; each waits a little longer than
the one before, so that they rarely do it at once. In the shadow nothing is sent.

Invariants: S1 as for every submission: the registry is asked before, and each round has ids of its own.
"""

from __future__ import annotations

from itertools import count

from contracts.bindings.proposal_scores import Stage
from contracts.transactions import patiently, send_detached
from orchestrator import Context
from scorers.rounds.course import push_intent
from scorers.rounds.reading import look_at_rounds, said_by
from scorers.rounds.values import Followed, Look, RoundsEnd, Said, Voice
from scorers.submission import submit

LOOK_S = 5.0
LOOK_S_MAX = 600.0
"""Seconds between looks: doubling while nothing happens. A window has to be some of the longest."""


async def follow_rounds(ctx: Context, followed: Followed) -> RoundsEnd:
    """Follow a proposal until its verdict is final, or it was cancelled before; submit in each new round."""
    submitted, quiet, since = followed.round, 0, followed.proposal.last_block
    voices: list[Voice] = []
    before: Look | None = None
    for attempt in count():
        look = await patiently(ctx, look_at_rounds, followed, since)
        # A node that lags may show an older block: what was told of later ones is not told again.
        since = max(since, look.block_number + 1)
        voices += look.voices
        if look.stage == Stage.FINAL or (look.cancelled and look.stage == Stage.OPEN):
            return end_of(said_by(followed), look, voices)
        if look.stage == Stage.OPEN and look.admitted and look.round > submitted:
            submission = await submit(
                ctx, followed.proposal, followed.verdict, followed.root, followed.policy
            )
            # By its own look, which a node that lags may have answered with the round before.
            submitted = max(submitted, submission.round)
        elif look.due is not None and look.sender is not None:
            # Another one's being first is a refusal, and as good.
            name = f"r{look.round}-{attempt + 1}"
            await send_detached(ctx, push_intent(look.due, followed.proposal, look.sender, name))
        quiet = 0 if _has_moved(before, look) else quiet + 1
        before = look
        await ctx.sleep(wait_s(look, quiet))
    raise AssertionError("count() does not end")


def wait_s(look: Look, quiet: int) -> float:
    """Return the seconds until the next look: longer while nothing happens, and not beyond what is due."""
    wait = float(min(LOOK_S * 2 ** min(quiet, 32), LOOK_S_MAX))
    left = look.until - look.now
    return max(min(wait, float(left)), LOOK_S) if left > 0 else wait


def _has_moved(before: Look | None, look: Look) -> bool:
    return before is None or bool(look.voices) or (before.stage, before.round) != (look.stage, look.round)


def end_of(ours: Said, look: Look, voices: list[Voice]) -> RoundsEnd:
    """Return how it ended, from our own verdict, the last look and all submissions."""
    alike = [voice for voice in voices if voice.said == look.verdict]
    return RoundsEnd(
        agrees=None if look.verdict is None else look.verdict == ours,
        verdict=look.verdict,
        round=None if look.verdict is None else look.round,
        differing=tuple(voice for voice in voices if voice.said != ours),
        voice=alike[0] if alike else None,
    )
