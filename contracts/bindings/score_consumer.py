"""Typed calls, event and refusals of `ScoreConsumer`, an example of a contract that acts on scores."""

from dataclasses import dataclass

from contracts.bindings.codec import Event, Function, Parameter
from contracts.bindings.errors import ErrorType

NAME = "ScoreConsumer"
"""The artifact's name. Constructor: registry, lowest score that is accepted (signed basis points)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalAccepted:
    """A proposal was accepted for its final score."""

    proposal_id: int
    score: int
    root: bytes


def _nothing() -> None:
    return None


REGISTRY = Function(name="registry", outputs=("address",), result=str)
THRESHOLD = Function(name="threshold", outputs=("int32",), result=int)
ACCEPTED = Function(name="accepted", inputs=("uint256",), outputs=("bool",), result=bool)
ACCEPT = Function(name="accept", inputs=("uint256",), result=_nothing)
PROPOSAL_ACCEPTED = Event(
    name="ProposalAccepted",
    parameters=(
        Parameter(name="proposalId", type="uint256", indexed=True),
        Parameter(name="score", type="int32"),
        Parameter(name="root", type="bytes32"),
    ),
    record=ProposalAccepted,
)

ERRORS = (
    ErrorType("AlreadyAccepted(uint256 proposalId)"),
    ErrorType("InvalidRegistry(address registry)"),
    ErrorType("ScoreNotFinal(uint256 proposalId)"),
    ErrorType("ScoreTooLow(uint256 proposalId, uint8 status, int32 score)"),
)
