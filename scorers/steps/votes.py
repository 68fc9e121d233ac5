"""Reads every vote on a proposal from the DAO's own logs."""

from __future__ import annotations

import asyncio

from contracts.bindings import Log
from contracts.bindings.reputation_dao import VOTE_CAST
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
    # VoteCast does not index the proposal: the node gives all of the DAO's votes in these blocks.
    logs = await logs_between(
        node, proposal.dao, [VOTE_CAST.topic0], proposal.first_block, proposal.last_block
    )
    # Asked after the logs: a node behind the others answers with an empty list, and says so only here.
    await node.header(proposal.last_block)
    return votes_of(proposal, logs)


def votes_of(proposal: Proposal, logs: list[Log]) -> Votes:
    """Return the proposal's votes among `logs`; each log counts once and late ones not at all."""
    ballots: dict[tuple[int, int], Ballot] = {}
    # The id is the first word of the data: most logs are other proposals' and need no decoding.
    word = proposal.proposal_id.to_bytes(32, "big")
    for log in logs:
        if log.data[:32] == word and proposal.first_block <= log.block_number <= proposal.last_block:
            vote = VOTE_CAST.decode(log)
            ballots[log.block_number, log.log_index] = Ballot(
                voter=vote.voter.lower(),
                support=vote.support,
                weight=vote.weight,
                block_number=log.block_number,
                log_index=log.log_index,
            )
    ordered = [ballots[place] for place in sorted(ballots)]
    return Votes(ballots=ordered, tally=tally_of(ordered))
