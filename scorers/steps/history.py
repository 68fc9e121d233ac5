"""What voters did in a DAO before a proposal, from its own logs.

Only what cannot change any more is looked at: proposals whose deadline lies before the snapshot, and blocks
before that of the proposal's creation. A proposal's logged votes must add up to the DAO's own tally of it:
a node that leaves one out is asked again, and never believed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from contracts.bindings import Log, governor
from contracts.dao import Read
from contracts.rpc import Node, Topic, answers_of, logs_between
from scorers.policies.inputs import Participations
from scorers.steps.votes import dao_of, votes_of
from scorers.values import Ballot, ClosedProposal, FirstVote, Participation, Proposal, Tally

R = TypeVar("R")

VOTERS_ASKED_MAX = 64
"""So many voters are named in the filter of a log query; of more, all votes are read."""


class HistoryIncomplete(Exception):
    """The logged votes of a closed proposal do not add up to the DAO's tally: the node lacks logs."""

    retryable = True

    def __init__(self, proposal_id: int, logged: Tally, counted: Tally) -> None:
        super().__init__(proposal_id, logged, counted)
        self.proposal_id = proposal_id
        self.logged = logged
        self.counted = counted

    def __str__(self) -> str:
        return (
            f"the logged votes on the closed proposal {self.proposal_id} are {_shown(self.logged)}, the DAO "
            f"counted {_shown(self.counted)}: the node lags or has pruned its logs"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """A closed proposal, and the block of its creation."""

    proposal: ClosedProposal
    block_number: int


async def closed_proposals(node: Node, proposal: Proposal, asked: Participations) -> list[Closed]:
    """Return the last proposals whose deadline lies before the snapshot, in the order of deadline and id.

    Those are looked at that were made in block `asked.since_block` or later. A cancelled one is closed, too.
    """
    dao = dao_of(proposal)
    # Whatever was closed before the snapshot was made before the end of this vote.
    logs = await logs_between(node, dao.address, [dao.creation_topic], asked.since_block, proposal.last_block)
    blocks = {dao.proposal_of(log): log.block_number for log in logs}
    blocks.pop(proposal.proposal_id, None)
    deadlines = await _read_all(node, [dao.deadline(proposal_id) for proposal_id in blocks])
    closed = [
        Closed(
            proposal=ClosedProposal(proposal_id=proposal_id, deadline=deadline),
            block_number=blocks[proposal_id],
        )
        for proposal_id, deadline in zip(blocks, deadlines, strict=True)
        if deadline < proposal.snapshot
    ]
    closed.sort(key=lambda each: (each.proposal.deadline, each.proposal.proposal_id))
    return closed[-asked.last :]


async def participations(
    node: Node, proposal: Proposal, closed: Sequence[Closed], voters: Sequence[str]
) -> list[Participation]:
    """Return in which of the closed proposals each voter cast a vote, in the order of `voters`.

    Raises HistoryIncomplete.
    """
    taken: dict[str, list[int]] = {voter: [] for voter in voters}
    for place, (ballots, _) in enumerate(await _votes_on(node, proposal, closed)):
        for voter in {ballot.voter for ballot in ballots} & taken.keys():
            taken[voter].append(place)
    return [Participation(voter=voter, proposals=places) for voter, places in taken.items() if places]


async def _votes_on(
    node: Node, proposal: Proposal, closed: Sequence[Closed]
) -> list[tuple[list[Ballot], Tally]]:
    if not closed:
        return []
    dao = dao_of(proposal)
    first = min(each.block_number for each in closed)
    logs = await logs_between(node, dao.address, [list(dao.vote_topics)], first, proposal.last_block)
    tallies = await _read_all(node, [dao.votes(each.proposal.proposal_id) for each in closed])
    # A vote's log has its proposal's id as the first word of its data: each is looked at once.
    by_proposal: dict[bytes, list[Log]] = {}
    for log in logs:
        by_proposal.setdefault(log.data[:32], []).append(log)
    found = []
    for each, tally in zip(closed, tallies, strict=True):
        proposal_id = each.proposal.proposal_id
        cast = by_proposal.get(proposal_id.to_bytes(32, "big"), [])
        # Its own blocks do not matter: what is logged of it before the end of this vote is all that there is.
        votes = votes_of(replace(proposal, proposal_id=proposal_id, first_block=first), cast)
        counted = Tally(for_votes=tally.for_, against_votes=tally.against, abstain_votes=tally.abstain)
        if votes.tally != counted:
            raise HistoryIncomplete(proposal_id, votes.tally, counted)
        found.append((votes.ballots, counted))
    return found


async def _read_all(node: Node, reads: Sequence[Read[R]]) -> list[R]:
    """Ask what is closed at a finalised block: many questions, few requests."""
    at = (await node.header("finalized")).number
    answers = answers_of(await node.multicall([read.call for read in reads], at))
    return [read.decode(answer) for read, answer in zip(reads, answers, strict=True)]


async def first_votes(
    node: Node, proposal: Proposal, since_block: int, voters: Sequence[str]
) -> list[FirstVote]:
    """Return the first vote of each voter in this DAO before the block of the proposal's creation.

    Voters without one are left out. Votes before block `since_block` are not looked at.
    """
    dao = dao_of(proposal)
    topics: list[Topic] = [topic for topic in dao.vote_topics if topic != governor.VOTE_REDUCED.topic0]
    found: dict[str, int] = dict.fromkeys(voters, -1)
    named: list[Topic] = [bytes(12) + bytes.fromhex(voter[2:]) for voter in voters]
    query = [topics, named] if 0 < len(named) <= VOTERS_ASKED_MAX else [topics]
    start, last = since_block, proposal.first_block - 1
    while start <= last and voters:
        page = await node.logs_from(dao.address, query, start, last)
        for log in page.logs:
            voter = _voter_of(log)
            if found.get(voter) == -1:
                found[voter] = log.block_number
        start = page.last + 1
    return [FirstVote(voter=voter, block_number=block) for voter, block in found.items() if block >= 0]


def _voter_of(log: Log) -> str:
    """Return the voter of a vote's log: every such event indexes it first."""
    return "0x" + log.topics[1][-20:].hex()


def _shown(tally: Tally) -> str:
    return f"{tally.for_votes} for, {tally.against_votes} against, {tally.abstain_votes} abstaining"
