"""Verdicts that are committed before they are shown: two durable transactions with a recorded salt.

The salt is drawn once for a round and recorded before anything is sent, so that whoever goes on after a crash
can reveal. It is as secret as the store: it stands in the record of the step that drew it.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from contracts.bindings import proposal_scores
from contracts.bindings.proposal_scores import commitment_for
from contracts.rpc import BlockHeader, Node
from contracts.transactions import Intent
from orchestrator import Info
from scorers.batches.values import Item, Place
from scorers.rounds.course import CourseOf

SALT_BYTES = 32
NO_COMMITMENT = bytes(SALT_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealing:
    """Where a key stands in a round with commitments, at a finalised block.

    `commitment` is 0x text, None before it. Until `reveal_at` (0 before the round has begun) it can be made.
    """

    commitment: str | None
    reveal_at: int
    now: int


class Phase(StrEnum):
    """What a key can do in such a round."""

    COMMIT = "commit"
    REVEAL = "reveal"
    WAIT = "wait"


async def draw_salt(info: Info) -> str:
    """Return a new salt, as 0x text."""
    return "0x" + secrets.token_bytes(SALT_BYTES).hex()


async def sealing_of(
    node: Node, place: tuple[str, int], course: CourseOf, scorers: Sequence[str], block: BlockHeader
) -> tuple[str, Sealing] | None:
    """Return which of the keys, the preferred one first, has committed by the block, and where it stands.

    Only the key that committed can reveal, also when others have come since. The first key where none has
    committed; None where verdicts are submitted openly.
    """
    if course.commit_window == 0:
        return None
    registry, number = place
    read = proposal_scores.COMMITMENT_OF
    calls = [(registry, read.encode(number, course.round, scorer)) for scorer in scorers]
    found = [read.decode(answer) for answer in await node.call_many(calls, block.number)]
    committed = (pair for pair in zip(scorers, found, strict=True) if pair[1] != NO_COMMITMENT)
    scorer, commitment = next(committed, (scorers[0], None))
    return scorer, Sealing(
        commitment=None if commitment is None else "0x" + commitment.hex(),
        reveal_at=course.reveal_at,
        now=block.timestamp,
    )


def sealed_intent(
    place: Place, item: Item, round_: int, sealing: Sealing, salt: str
) -> tuple[Phase, Intent | None]:
    """Return what the key does now: commit, reveal, or wait, for its time or for the next round."""
    submission, secret = item.submission, bytes.fromhex(salt[2:])
    commitment = commitment_for(
        chain_id=place.chain_id,
        registry=place.registry,
        submission=submission,
        round_=round_,
        scorer=place.scorer,
        salt=secret,
    )
    phase = _phase(sealing, "0x" + commitment.hex())
    if phase is Phase.WAIT:
        return phase, None
    if phase is Phase.COMMIT:
        data = proposal_scores.COMMIT_SCORE.encode(submission.proposal_id, commitment)
    else:
        data = proposal_scores.REVEAL_SCORE.encode(submission, secret)
    intent = Intent(
        chain_id=place.chain_id,
        sender=place.scorer,
        to=place.registry,
        data_hex="0x" + data.hex(),
        logical_id=f"{phase}-{item.logical_id}",
    )
    return phase, intent


def _phase(sealing: Sealing, commitment: str) -> Phase:
    if sealing.commitment is None:
        late = sealing.reveal_at != 0 and sealing.now >= sealing.reveal_at
        return Phase.WAIT if late else Phase.COMMIT
    # Another one's salt is lost with its store: nothing can be revealed until the next round.
    ready = sealing.commitment == commitment and sealing.now >= sealing.reveal_at
    return Phase.REVEAL if ready else Phase.WAIT
