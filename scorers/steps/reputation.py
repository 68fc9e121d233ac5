"""Reads what each voter's word weighs: the reputation at the proposal's snapshot, and no other moment."""

from __future__ import annotations

from contracts.bindings.reputation_dao import GET_PAST_VOTES
from contracts.rpc import Node
from orchestrator import Info
from scorers.values import Ballot, Proposal, Reputation


def voters_of(ballots: list[Ballot]) -> list[str]:
    """Return every voter once, in the order of their first votes."""
    return list(dict.fromkeys(ballot.voter for ballot in ballots))


async def score_reputations(info: Info, proposal: Proposal, voters: list[str]) -> list[Reputation]:
    """Return each voter's reputation at the snapshot, in the order of `voters`.

    The snapshot is checkpointed by the contract: every finalised block after it gives the same answer.
    """
    return await read_reputations(info.dependency(Node), proposal, voters)


async def read_reputations(node: Node, proposal: Proposal, voters: list[str]) -> list[Reputation]:
    """Return the reputations as a node tells them; see `score_reputations`."""
    finalized = await node.header("finalized")
    calls = [(proposal.dao, GET_PAST_VOTES.encode(voter, proposal.snapshot)) for voter in voters]
    answers = await node.call_many(calls, finalized.number)
    return [
        Reputation(voter=voter, weight=GET_PAST_VOTES.decode(answer))
        for voter, answer in zip(voters, answers, strict=True)
    ]
