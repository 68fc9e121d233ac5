"""The DAO's own quorum at the proposal's snapshot: reported beside the score, and never mixed into it.

It is what the DAO asks of its own tally, whatever a policy makes of the votes. Not a leaf: it decides
nothing, and anyone reads it again from the chain.
"""

from __future__ import annotations

from contracts.dao import DaoKind
from contracts.rpc import CallReverted, Node
from orchestrator import Info
from scorers.steps.votes import dao_of
from scorers.values import Proposal, Quorum, Tally


def has_quorum(proposal: Proposal) -> bool:
    """Tell whether the proposal's DAO is of a kind that has one."""
    return proposal.form.kind is not DaoKind.REPUTATION and bool(dao_of(proposal).quorum_sides)


async def read_quorum(info: Info, proposal: Proposal) -> Quorum | None:
    """Return the DAO's quorum and whether its tally reaches it, None where the DAO tells none."""
    return await quorum_facts(info.dependency(Node), proposal)


async def quorum_facts(node: Node, proposal: Proposal) -> Quorum | None:
    """Return the quorum as a node tells it; see `read_quorum`."""
    if not has_quorum(proposal):
        return None
    read = dao_of(proposal).quorum(proposal.snapshot)
    at = (await node.header("finalized")).number
    try:
        required = read.decode(await node.call(*read.call, at))
    except CallReverted:
        return None
    return quorum_of(proposal, required)


def quorum_of(proposal: Proposal, required: int) -> Quorum:
    """Return whether the DAO's own tally reaches what is required."""
    counted = _counted(proposal.tally, dao_of(proposal).quorum_sides)
    return Quorum(required=required, counted=counted, reached=counted >= required)


def _counted(tally: Tally, sides: frozenset[str]) -> int:
    of = {"for": tally.for_votes, "against": tally.against_votes, "abstain": tally.abstain_votes}
    return sum(of[side] for side in sides)
