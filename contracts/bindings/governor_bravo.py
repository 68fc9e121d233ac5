"""Typed calls of Governor Bravo, Compound's contract and its copies; its events are Governor's.

Bravo counts blocks without saying so, numbers its proposals from one, keeps weights in 96 bits and holds the
tally in `proposals(id)`, where Governor has functions of their own.
"""

from dataclasses import dataclass

from eth_utils.crypto import keccak

from contracts.bindings.codec import Function
from contracts.bindings.reputation_dao import STATE

__all__ = ["BALLOT_OF_ALPHA", "BALLOT_OF_BRAVO", "STATE", "Proposal", "Receipt"]

BALLOT_OF_BRAVO = keccak(text="Ballot(uint256 proposalId,uint8 support)")
"""What `BALLOT_TYPEHASH` answers where a vote is against, for or abstain."""
BALLOT_OF_ALPHA = keccak(text="Ballot(uint256 proposalId,bool support)")
"""What it answers in Governor Alpha, where a vote is yes or no and its event another."""

PROPOSAL_WORDS = 10
"""The words of `proposals(id)`; copies that keep more of them lay them out differently."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What `proposals(id)` answers; all zero for an unknown proposal. Blocks are numbers, `eta` seconds."""

    id: int
    proposer: str
    eta: int
    start_block: int
    end_block: int
    for_votes: int
    against_votes: int
    abstain_votes: int
    canceled: bool
    executed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A voter's vote; `votes` has 96 bits."""

    has_voted: bool
    support: int
    votes: int


def _nothing() -> None:
    return None


def _proposal(*values: object) -> Proposal:
    return Proposal(**dict(zip(Proposal.__slots__, values, strict=True)))  # type: ignore[arg-type]


def _receipt(has_voted: bool, support: int, votes: int) -> Receipt:
    return Receipt(has_voted=has_voted, support=support, votes=votes)


_ID = ("uint256",)
_NUMBER = ("uint256",)

# Writing
PROPOSE = Function(
    name="propose",
    inputs=("address[]", "uint256[]", "string[]", "bytes[]", "string"),
    outputs=_NUMBER,
    result=int,
)
CANCEL = Function(name="cancel", inputs=_ID, result=_nothing)
CAST_VOTE = Function(name="castVote", inputs=("uint256", "uint8"), result=_nothing)
CAST_VOTE_WITH_REASON = Function(
    name="castVoteWithReason", inputs=("uint256", "uint8", "string"), result=_nothing
)

# Reading
BALLOT_TYPEHASH = Function(name="BALLOT_TYPEHASH", outputs=("bytes32",), result=bytes)
PROPOSAL_COUNT = Function(name="proposalCount", outputs=_NUMBER, result=int)
QUORUM_VOTES = Function(name="quorumVotes", outputs=_NUMBER, result=int)
PROPOSALS = Function(
    name="proposals",
    inputs=_ID,
    outputs=("uint256", "address", *_NUMBER * 6, "bool", "bool"),
    result=_proposal,
)
GET_RECEIPT = Function(
    name="getReceipt",
    inputs=("uint256", "address"),
    outputs=("bool", "uint8", "uint96"),
    result=_receipt,
)
TOKENS = tuple(Function(name=name, outputs=("address",), result=str) for name in ("comp", "uni", "token"))
"""The names under which Bravos tell where their votes come from, Compound's first."""
