"""What the listener hands to the workflow: ids, the invocation's argument, and how a vote ended.

Pure values, shared with the scorers. A promise id names chain, contract and proposal, so that any listener
with any cursor makes the same one (C1). Numbers of 256 bits are text, as everywhere in JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from contracts.bindings import Log, reputation_dao
from contracts.dao import CreatedProposal

GROUP = "proposal-scorers"
TARGET = f"poll://any@{GROUP}"
FUNCTION = "score_proposal"


def score_promise_id(chain_id: int, dao: str, proposal_id: int | str) -> str:
    """Return the id of a proposal's scoring."""
    return f"scoreProposal-{chain_id}-{dao.lower()}-{int(proposal_id)}"


def voting_ended_id(chain_id: int, dao: str, proposal_id: int | str) -> str:
    """Return the id of the promise that settles when voting on a proposal has ended."""
    return f"votingEnded-{chain_id}-{dao.lower()}-{int(proposal_id)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalRequest:
    """The argument of `score_proposal`: one finalised ProposalCreated log, and where its score belongs.

    Addresses, hashes and `proposal_id` (decimal) are text. Equal logs make equal requests.
    """

    chain_id: int
    dao: str
    registry: str
    proposal_id: str
    content_hash: str
    proposer: str
    block_number: int
    block_hash: str
    transaction_hash: str
    log_index: int

    @property
    def promise_id(self) -> str:
        """The id of this proposal's scoring."""
        return score_promise_id(self.chain_id, self.dao, self.proposal_id)

    @property
    def voting_ended_id(self) -> str:
        """The id of the promise that the workflow awaits."""
        return voting_ended_id(self.chain_id, self.dao, self.proposal_id)


class EndReason(StrEnum):
    """Why nobody can vote any more."""

    ENDED = "ended"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True, kw_only=True)
class VotingEnded:
    """The value of a `votingEnded-…` promise: what the DAO said at a finalised block.

    `clock` and `deadline` are timepoints of the DAO's own clock (blocks or seconds, ERC-6372), never to be
    compared with `block_number`. After a cancellation the deadline may lie ahead.
    """

    block_number: int
    block_hash: str
    clock: int
    deadline: int
    reason: EndReason


def request_of(
    created: CreatedProposal | reputation_dao.ProposalCreated, log: Log, *, chain_id: int, registry: str
) -> ProposalRequest:
    """Return the invocation's argument for a log."""
    return ProposalRequest(
        chain_id=chain_id,
        dao=log.address,
        registry=registry.lower(),
        proposal_id=str(created.proposal_id),
        content_hash=_hex(created.content_hash),
        proposer=created.proposer,
        block_number=log.block_number,
        block_hash=_hex(log.block_hash),
        transaction_hash=_hex(log.transaction_hash),
        log_index=log.log_index,
    )


def _hex(value: bytes) -> str:
    return "0x" + value.hex()
