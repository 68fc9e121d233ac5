"""Follows a proposal's rounds until its verdict is final, as a durable workflow.

A new round is ours to answer: the same verdict is submitted again. What only needs somebody, such as the next
round after a time-out or finality after a window, is done by any scorer; each waits a little longer than
the one before, so that they rarely do it at once. In the shadow nothing is sent.

Invariants: S1 as for every submission: the registry is asked before, and each round has ids of its own.
"""

from __future__ import annotations

from itertools import count

from contracts.bindings import Function, proposal_scores
from contracts.bindings.proposal_scores import Stage
from contracts.transactions import Intent, patiently, send_detached
from orchestrator import Context
from scorers.rounds.reading import look_at_rounds, said_by
from scorers.rounds.values import Followed, Look, RoundsEnd, Said, Voice
from scorers.submission import submit

LOOK_S = 5.0
LOOK_S_MAX = 600.0
"""Seconds between looks: doubling while nothing happens. A window has to be some of the longest."""
STAGGER_S = 15
STAGGERS = 8
"""By its address each scorer waits so many times so many seconds before it does what any of them could."""


async def follow_rounds(ctx: Context, followed: Followed) -> RoundsEnd:
    """Follow a proposal until its verdict is final, or it was cancelled before; submit in each new round."""
    submitted, quiet, since = followed.round, 0, followed.proposal.last_block
    voices: list[Voice] = []
    before: Look | None = None
    for attempt in count():
        look = await patiently(ctx, look_at_rounds, followed, since)
        since = look.block_number + 1
        voices += look.voices
        if look.stage == Stage.FINAL or (look.cancelled and look.stage == Stage.OPEN):
            return end_of(said_by(followed), look, voices)
        if look.stage == Stage.OPEN and look.admitted and look.round > submitted:
            await submit(ctx, followed.proposal, followed.verdict, followed.root)
            submitted = look.round
        elif look.sender is not None:
            await _push(ctx, followed, look, look.sender, attempt)
        quiet = 0 if _has_moved(before, look) else quiet + 1
        before = look
        await ctx.sleep(wait_s(look, quiet))
    raise AssertionError("count() does not end")


async def _push(ctx: Context, followed: Followed, look: Look, sender: str, attempt: int) -> None:
    """Do what is due and anybody may do. Another one's being first is a refusal, and as good."""
    function = due(look, stagger_s(sender))
    if function is None:
        return
    proposal = followed.proposal
    place = f"{proposal.chain_id}-{proposal.registry}-{proposal.proposal_id}"
    intent = Intent(
        chain_id=proposal.chain_id,
        sender=sender,
        to=proposal.registry,
        data_hex="0x" + function.encode(proposal.proposal_id).hex(),
        logical_id=f"{function.name}-{place}-{sender}-r{look.round}-{attempt + 1}",
    )
    await send_detached(ctx, intent)


def due(look: Look, late_s: int) -> Function[None] | None:
    """Return what may be done now by anybody; None if nothing is due, or others may still do it first."""
    if look.until == 0 or look.now < look.until + late_s:
        return None
    if look.stage in (Stage.AGREED, Stage.DISPUTED):
        return proposal_scores.FINALIZE
    # After the last round the admin resolves.
    return proposal_scores.OPEN_ROUND if look.round < look.rounds_max else None


def stagger_s(sender: str) -> int:
    """Return how long this key lets others go first."""
    return int(sender, 16) % STAGGERS * STAGGER_S


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
        round=look.verdict_round,
        differing=tuple(voice for voice in voices if voice.said != ours),
        voice=alike[0] if alike else None,
    )
