"""Reads every vote on a proposal from the DAO's own logs."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from contracts.bindings import Log
from contracts.dao import Dao, Reduction, Vote, votes_in
from contracts.rpc import Node, logs_between
from orchestrator import Info
from scorers.steps.score import tally_of
from scorers.values import Ballot, Proposal, Votes

READS_MAX = 4
READ_PAUSE_S = 0.5


async def fetch_votes(info: Info, proposal: Proposal) -> Votes:
    """Return all votes cast in the blocks in which one could be cast, in the order of the chain.

    A node behind a load balancer may answer with fewer logs than there are: what does not add up to the DAO's
    own tally is read again some times before it is taken for the truth.
    """
    return await read_settled_votes(info.dependency(Node), proposal)


async def read_settled_votes(node: Node, proposal: Proposal) -> Votes:
    """Return the votes as a node tells them, read again while they do not add up; see `fetch_votes`."""
    votes = await read_votes(node, proposal)
    for attempt in range(1, READS_MAX):
        if votes.tally == proposal.tally:
            break
        await asyncio.sleep(READ_PAUSE_S * attempt)
        votes = await read_votes(node, proposal)
    return votes


async def read_votes(node: Node, proposal: Proposal) -> Votes:
    """Return the votes as the node tells them now. Raises BlockMissing if it lacks their last block."""
    # Votes do not index the proposal: the node gives all of the DAO's votes in these blocks.
    topics = [list(dao_of(proposal).vote_topics)]
    logs = await logs_between(node, proposal.dao, topics, proposal.first_block, proposal.last_block)
    # Asked after the logs: a node behind the others answers with an empty list, and says so only here.
    await node.header(proposal.last_block)
    return votes_of(proposal, logs)


def dao_of(proposal: Proposal) -> Dao:
    """Return the DAO of a proposal, as it was when the proposal was read."""
    return Dao(address=proposal.dao, form=proposal.form)


def votes_of(proposal: Proposal, logs: list[Log]) -> Votes:
    """Return the proposal's votes among `logs`; each log counts once and late ones not at all."""
    first, last = proposal.first_block, proposal.last_block
    timely = (log for log in logs if first <= log.block_number <= last)
    ballots: list[Ballot] = []
    for log, event in votes_in(dao_of(proposal), proposal.proposal_id, timely):
        if isinstance(event, Reduction):
            _reduce(ballots, event)
        else:
            ballots.append(_ballot(log, event))
    return Votes(ballots=ballots, tally=tally_of(ballots))


def _ballot(log: Log, vote: Vote) -> Ballot:
    return Ballot(
        voter=vote.voter,
        support=vote.support,
        weight=vote.weight,
        block_number=log.block_number,
        log_index=log.log_index,
        overriding=vote.overriding,
    )


def _reduce(ballots: list[Ballot], reduction: Reduction) -> None:
    """Take from a delegate's ballot what others vote themselves.

    Without such a ballot a log is missing: the sums will differ from the DAO's, and are not made up for here.
    """
    for place, ballot in enumerate(ballots):
        theirs = (ballot.voter, ballot.support) == (reduction.voter, reduction.support)
        if theirs and not ballot.overriding and ballot.weight >= reduction.weight:
            ballots[place] = replace(ballot, weight=ballot.weight - reduction.weight)
            return
