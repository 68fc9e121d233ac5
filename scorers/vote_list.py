"""The list of votes in a proof, read strictly: what no log of a DAO can be is refused with its place."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from orchestrator.commitments import Bundle
from scorers.claim import EvidenceError, check_address
from scorers.sections import VOTES_SECTION, VoteRecord, VotesSection


def votes_in(bundle: Bundle) -> VotesSection:
    """Return the listed votes, complete and each once.

    Raises EvidenceError for a missing or malformed list, a gap in its numbers, or a vote that stands twice.
    """
    content = bundle.sections.get(VOTES_SECTION)
    if content is None:
        raise EvidenceError(f"the bundle has no section {VOTES_SECTION!r}")
    section = read_votes(content)
    if section.count != len(section.leaves):
        raise EvidenceError(
            f"section {VOTES_SECTION!r} counts {section.count} votes and lists {len(section.leaves)}"
        )
    for position, vote in enumerate(section.leaves):
        if vote.index != position:
            raise EvidenceError(
                f"vote {position} is missing or out of place: index {vote.index} stands there"
            )
        if vote.counted == bool(vote.reason):
            raise EvidenceError(
                f"vote {position}: voter {vote.voter} is counted and left out at once, or neither"
            )
    return section


def read_votes(content: object) -> VotesSection:
    """Return the section of the votes. Raises EvidenceError as `check_voters`, and for a malformed one."""
    try:
        section = msgspec.convert(content, VotesSection)
    except msgspec.ValidationError as error:
        raise EvidenceError(f"section {VOTES_SECTION!r} is malformed: {error}") from error
    check_voters(section.leaves)
    return section


def check_voters(votes: Iterable[VoteRecord]) -> None:
    """Raise EvidenceError that names the voter if one vote of theirs stands twice, or it is no address.

    Who voted again has another log for each time, and a vote that was split has one log and several sides.
    """
    seen: set[tuple[str, int, int, int]] = set()
    for position, vote in enumerate(votes):
        # In one spelling only: hashed, another one is the same voter.
        check_address(f"vote {position}: the voter", vote.voter)
        cast = (vote.voter, vote.block_number, vote.log_index, vote.support)
        if cast in seen:
            raise EvidenceError(f"vote {position}: voter {vote.voter} stands twice for one vote")
        seen.add(cast)
