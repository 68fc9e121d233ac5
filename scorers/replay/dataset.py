"""The recorded proposals: one JSON object a line, checked in full before anything is done with them.

Integers that can pass 2^53 (reputation, tallies) are decimal strings; times are Unix seconds.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from scorers.errors import DatasetError

PASS, FAIL, EXECUTED = "Pass", "Fail", "Executed"
REPUTATION_MAX = 2**208 - 1


class Vote(msgspec.Struct, frozen=True):
    """A vote with the voter's weight in 18-decimal reputation."""

    voter: str
    outcome: str
    reputation: str
    cast_at: int

    @property
    def weight(self) -> int:
        """The weight in units of reputation."""
        return int(self.reputation)


class Proposal(msgspec.Struct, frozen=True):
    """A proposal with the tallies that its chain recorded."""

    id: str
    proposer: str
    created_at: int
    stage: str
    winning_outcome: str
    votes_for: str
    votes_against: str
    votes: list[Vote]

    @property
    def content_hash(self) -> bytes:
        """The recorded id, which becomes the content hash of the re-enacted proposal."""
        return bytes.fromhex(self.id.removeprefix("0x"))


def load_dataset(path: Path, limit: int | None = None) -> list[Proposal]:
    """Read the first `limit` proposals, in order of creation.

    Raises DatasetError, naming file and line, for anything that cannot be re-enacted faithfully.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"cannot read {path}: {error}") from error
    proposals = [_parse(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not proposals:
        raise DatasetError(f"{path} holds no proposals: give a file with one JSON object a line")
    if len({proposal.id for proposal in proposals}) != len(proposals):
        raise DatasetError(f"{path} holds a proposal id twice")
    return sorted(proposals, key=lambda proposal: proposal.created_at)[:limit]


def _parse(path: Path, number: int, line: str) -> Proposal:
    try:
        proposal = msgspec.json.decode(line, type=Proposal)
    except msgspec.DecodeError as error:
        raise DatasetError(f"{path} line {number}: {error}") from error
    fault = _fault(proposal)
    if fault:
        raise DatasetError(f"{path} line {number}: {fault}")
    return proposal


def _fault(proposal: Proposal) -> str | None:
    if not _is_hex(proposal.id, 32):
        return f"id {proposal.id!r} is not 32 bytes of hex"
    for name in ("votes_for", "votes_against"):
        if not getattr(proposal, name).isdecimal():
            return f"{name} {getattr(proposal, name)!r} is not a decimal string"
    if proposal.created_at <= 0:
        return f"created_at {proposal.created_at} is not a Unix time"
    faults = (_fault_of_vote(proposal, vote) for vote in proposal.votes)
    fault = next((each for each in faults if each), None)
    if fault is None and len({vote.voter for vote in proposal.votes}) != len(proposal.votes):
        return "a voter voted twice"
    return fault


def _fault_of_vote(proposal: Proposal, vote: Vote) -> str | None:
    if not _is_hex(vote.voter, 20):
        return f"voter {vote.voter!r} is not an address"
    if vote.outcome not in (PASS, FAIL):
        return f"outcome {vote.outcome!r} of voter {vote.voter} is neither {PASS} nor {FAIL}"
    if not vote.reputation.isdecimal() or not 0 < vote.weight <= REPUTATION_MAX:
        return f"reputation {vote.reputation!r} of voter {vote.voter} is not a decimal in (0, 2^208)"
    if vote.cast_at <= proposal.created_at:
        return f"voter {vote.voter} voted at {vote.cast_at}, not after the creation at {proposal.created_at}"
    return None


def _is_hex(text: str, size: int) -> bool:
    digits = text.removeprefix("0x")
    try:
        return len(digits) == 2 * size and len(bytes.fromhex(digits)) == size
    except ValueError:
        return False
