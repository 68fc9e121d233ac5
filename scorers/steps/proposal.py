"""Reads the facts of a proposal whose vote has ended, all at one finalised block.

Whichever finalised block after the end is read, the facts are the same: snapshot and deadline, the DAO's
closed tally, the policy that was registered before the snapshot. The height of reading stays out (M1).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from contracts.bindings import proposal_scores
from contracts.dao import BLOCK_CLOCK, TIMESTAMP_CLOCK, Dao, clock_of, governor_behind, probe
from contracts.rpc import BlockHeader, Node, WrongChain
from listener.invocation import ProposalRequest
from orchestrator import Info
from scorers.steps.votes import read_settled_votes
from scorers.values import Proposal, Tally


class VotingNotEnded(Exception):
    """At this node's finalised block the vote is still open: the node lags, or the vote was extended."""

    retryable = True

    def __init__(self, proposal_id: int, clock: int, deadline: int) -> None:
        super().__init__(proposal_id, clock, deadline)
        self.proposal_id = proposal_id
        self.clock = clock
        self.deadline = deadline

    def __str__(self) -> str:
        return (
            f"the vote on proposal {self.proposal_id} is open until {self.deadline} and the DAO's clock "
            f"stands at {self.clock} in the finalised block: the node lags or the vote was extended"
        )


class WrongRegistry(Exception):
    """The configured registry keeps the scores of another DAO."""

    def __init__(self, registry: str, expected: str, actual: str) -> None:
        super().__init__(registry, expected, actual)
        self.registry = registry
        self.expected = expected
        self.actual = actual

    def __str__(self) -> str:
        return f"the registry {self.registry} belongs to the DAO {self.actual}, not to {self.expected}"


async def read_proposal(info: Info, request: ProposalRequest) -> Proposal:
    """Return the facts of a proposal after its vote.

    Raises VotingNotEnded while the node's finalised block is not beyond the deadline, which may have moved.
    """
    return await proposal_facts(info.dependency(Node), request)


async def proposal_facts(node: Node, request: ProposalRequest) -> Proposal:
    """Return the facts as a node tells them; see `read_proposal`.

    Raises WrongChain for a node of another chain, DaoError where the DAO cannot be read exactly.
    """
    actual = await node.chain_id()
    if actual != request.chain_id:
        raise WrongChain(request.chain_id, actual, node.endpoint)
    finalized = await node.header("finalized")
    dao = await probe(node, request.dao, finalized.number)
    now = _Now(block=finalized, clock=await clock_of(node, dao, finalized.number))
    proposal_id = int(request.proposal_id)
    snapshot, deadline, votes = dao.snapshot(proposal_id), dao.deadline(proposal_id), dao.votes(proposal_id)
    answers = await node.call_many(
        [
            snapshot.call,
            deadline.call,
            votes.call,
            (request.registry, proposal_scores.DAO.encode()),
            (request.registry, proposal_scores.POLICY_OF.encode(proposal_id)),
        ],
        finalized.number,
    )
    counted = votes.decode(answers[2])
    facts = Proposal(
        chain_id=request.chain_id,
        dao=request.dao,
        form=dao.form,
        registry=request.registry,
        scored_dao=proposal_scores.DAO.decode(answers[3]).lower(),
        proposal_id=proposal_id,
        snapshot=snapshot.decode(answers[0]),
        deadline=deadline.decode(answers[1]),
        first_block=request.block_number,
        last_block=finalized.number,
        tally=Tally(for_votes=counted.for_, against_votes=counted.against, abstain_votes=counted.abstain),
        policy_hash="0x" + proposal_scores.POLICY_OF.decode(answers[4]).hex(),
    )
    last_block = await _last_block(node, dao, facts, now)
    await _check_registry(node, dao, facts, finalized.number)
    return replace(facts, last_block=last_block)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Now:
    """The finalised block that is read, and the DAO's clock there."""

    block: BlockHeader
    clock: int


async def _check_registry(node: Node, dao: Dao, facts: Proposal, block: int) -> None:
    """Raise WrongRegistry unless the registry reads this DAO, itself or by the contract that is its clock."""
    read = await dao_of_registry(node, dao, facts.scored_dao, block)
    if read != dao.address:
        raise WrongRegistry(facts.registry, dao.address, read)


async def dao_of_registry(node: Node, dao: Dao, named: str, block: int) -> str:
    """Return the DAO that a registry reads by the contract that it names, if it may be by another one."""
    if named == dao.address or dao.clocked:
        return named
    return await governor_behind(node, named, block) or named


async def _last_block(node: Node, dao: Dao, facts: Proposal, now: _Now) -> int:
    """Return the last block in which a vote could be cast. Raises VotingNotEnded if one still can.

    It is the deadline's. Where a super-quorum ended all voting before, or the deadline names no block because
    the DAO counts those of another chain, it is the last vote's: whoever reads later finds the same.
    """
    early = dao.form.early_end and now.clock > facts.snapshot and await _crossed(node, dao, facts, now)
    if now.clock <= facts.deadline and not early:
        raise VotingNotEnded(facts.proposal_id, now.clock, facts.deadline)
    foreign = dao.mode == BLOCK_CLOCK and now.clock != now.block.number
    last = now.block.number
    if now.clock > facts.deadline and not foreign:
        last = await _deadline_block(node, dao, facts, now)
    if early or foreign:
        votes = await read_settled_votes(node, replace(facts, last_block=last))
        last = max((ballot.block_number for ballot in votes.ballots), default=facts.first_block)
    return last


async def _crossed(node: Node, dao: Dao, facts: Proposal, now: _Now) -> bool:
    """Whether the votes in favour are so many that the DAO takes no more (GovernorSuperQuorum)."""
    read = dao.super_quorum(facts.snapshot)
    needed = read.decode(await node.call(*read.call, now.block.number))
    return facts.tally.for_votes >= needed and facts.tally.for_votes > facts.tally.against_votes


async def _deadline_block(node: Node, dao: Dao, facts: Proposal, now: _Now) -> int:
    if dao.mode == TIMESTAMP_CLOCK:
        return await last_block_until(node, facts.deadline, first=facts.first_block, beyond=now.block.number)
    return facts.deadline


async def last_block_until(node: Node, timestamp_s: int, *, first: int, beyond: int) -> int:
    """Return the last block whose timestamp, in seconds, is at most `timestamp_s`.

    `first` must be such a block and `beyond` none. The search gallops backwards from `beyond`, for scoring
    follows the end of a vote closely, and then halves.
    """
    high, step = beyond, 1
    low = max(high - step, first)
    while low > first and (await node.header(low)).timestamp > timestamp_s:
        high, step = low, 2 * step
        low = max(high - step, first)
    while high - low > 1:
        middle = (low + high) // 2
        if (await node.header(middle)).timestamp > timestamp_s:
            high = middle
        else:
            low = middle
    return low
