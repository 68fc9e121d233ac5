"""Reads what each voter's word weighs: the reputation at the proposal's snapshot, and no other moment."""

from __future__ import annotations

from typing import TypeVar

from contracts.dao import Counting, Read
from contracts.rpc import Node
from orchestrator import Info
from scorers.steps.votes import dao_of
from scorers.values import Ballot, Proposal, Reputation

R = TypeVar("R")


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
    at, dao = (await node.header("finalized")).number, dao_of(proposal)
    weights = await _read_all(node, [dao.weight(voter, proposal.snapshot) for voter in voters], at)
    if dao.form.counting is Counting.OVERRIDABLE:
        return await _with_overrides(node, proposal, dict(zip(voters, weights, strict=True)), at)
    return [Reputation(voter=voter, weight=weight) for voter, weight in zip(voters, weights, strict=True)]


async def _with_overrides(
    node: Node, proposal: Proposal, weights: dict[str, int], at: int
) -> list[Reputation]:
    """Return the reputations where voters may take back what they delegated, and vote with it themselves."""
    dao, snapshot = dao_of(proposal), proposal.snapshot
    asked = [dao.overrode(proposal.proposal_id, voter) for voter in weights]
    flags = zip(weights, await _read_all(node, asked, at), strict=True)
    overriding = [voter for voter, overrode in flags if overrode]
    balances = await _read_all(node, [dao.own_balance(voter, snapshot) for voter in overriding], at)
    delegates = await _read_all(node, [dao.delegate(voter, snapshot) for voter in overriding], at)
    taken: dict[str, int] = {}
    for delegate, balance in zip(delegates, balances, strict=True):
        taken[delegate.lower()] = taken.get(delegate.lower(), 0) + balance
    own = dict(zip(overriding, balances, strict=True))
    return [
        Reputation(voter=voter, weight=weight, own=own.get(voter, 0), overridden=taken.get(voter, 0))
        for voter, weight in weights.items()
    ]


async def _read_all(node: Node, reads: list[Read[R]], block: int) -> list[R]:
    answers = await node.call_many([read.call for read in reads], block)
    return [read.decode(answer) for read, answer in zip(reads, answers, strict=True)]
