"""Reads every vote on a proposal from the DAO's own logs.

What a node tells is held against the DAO's own sums of votes. Where they differ the node may have left out a
vote, which would end the proposal without a score for ever: so that is believed only of blocks whose filters
are accounted for by their logs.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from contracts.bindings import Log
from contracts.dao import Dao, Reduction, Vote, votes_in
from contracts.rpc import Node, bloom, fullest_logs, logs_between
from orchestrator import Info
from scorers.steps.score import tally_of
from scorers.values import Ballot, Proposal, Votes

READS_MAX = 4
READ_PAUSE_S = 0.5
HEADERS_TOGETHER = 200
"""So many headers are asked for by one batch."""
HEADERS_MAX = 500_000
"""Of a vote that spans more blocks the sums are believed as they are: their headers would take hours."""


async def fetch_votes(info: Info, proposal: Proposal) -> Votes:
    """Return all votes cast in the blocks in which one could be cast, in the order of the chain.

    A node behind a load balancer may answer with fewer logs than there are: what does not add up to the DAO's
    own tally is read again some times, and then block by block, before it is taken for the truth. Raises
    LogsIncomplete, to be tried again later, while no node gives all logs of a block.
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
    if votes.tally == proposal.tally or proposal.last_block - proposal.first_block >= HEADERS_MAX:
        return votes
    return await read_every_vote(node, proposal)


async def read_every_vote(node: Node, proposal: Proposal) -> Votes:
    """Return the votes as a node tells them, and those in blocks whose filters tell of more.

    Raises LogsIncomplete where no node gives so many logs as a block's filter tells of. A filter that a chain
    leaves empty or full tells nothing.
    """
    address, topics = proposal.dao, _topics_of(proposal)
    logs = {(log.block_number, log.log_index): log for log in await _logs_of(node, proposal)}
    for first in range(proposal.first_block, proposal.last_block + 1, HEADERS_TOGETHER):
        numbers = range(first, min(first + HEADERS_TOGETHER, proposal.last_block + 1))
        for header in await node.headers(numbers):
            filtered = header.logs_bloom or b""
            if bloom.is_used(filtered) and bloom.may_contain(filtered, address, topics):
                for log in await fullest_logs(node, address, topics, header):
                    logs[log.block_number, log.log_index] = log
    return votes_of(proposal, [logs[place] for place in sorted(logs)])


async def read_votes(node: Node, proposal: Proposal) -> Votes:
    """Return the votes as the node tells them now. Raises BlockMissing if it lacks their last block."""
    return votes_of(proposal, await _logs_of(node, proposal))


async def _logs_of(node: Node, proposal: Proposal) -> list[Log]:
    # Votes do not index the proposal: the node gives all of the DAO's votes in these blocks.
    first, last = proposal.first_block, proposal.last_block
    logs = await logs_between(node, proposal.dao, _topics_of(proposal), first, last)
    # Asked after the logs: a node behind the others answers with an empty list, and says so only here.
    await node.header(last)
    return logs


def _topics_of(proposal: Proposal) -> list[list[bytes]]:
    return [list(dao_of(proposal).vote_topics)]


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
