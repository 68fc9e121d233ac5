"""Reads the facts of a proposal whose vote has ended, all at one finalised block.

Whichever finalised block after the end is read, the facts are the same: snapshot and deadline, the DAO's
closed tally, the policy that was registered before the snapshot. The height of reading stays out (M1).
"""

from __future__ import annotations

from contracts.bindings import proposal_scores, reputation_dao
from contracts.rpc import BlockHeader, Node, WrongChain
from listener.invocation import ProposalRequest
from orchestrator import Info
from scorers.values import Proposal, Tally

BLOCK_CLOCK = "mode=blocknumber&from=default"
TIMESTAMP_CLOCK = "mode=timestamp"


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


class UnknownClock(Exception):
    """The DAO counts time in a way that this version cannot place among the blocks."""

    def __init__(self, dao: str, mode: str) -> None:
        super().__init__(dao, mode)
        self.dao = dao
        self.mode = mode

    def __str__(self) -> str:
        return (
            f"the DAO {self.dao} has CLOCK_MODE {self.mode!r}; "
            f"known are {BLOCK_CLOCK!r} and {TIMESTAMP_CLOCK!r}"
        )


class ForeignClock(UnknownClock):
    """The DAO counts blocks of another chain (on some second layers those of the first one)."""

    def __init__(self, dao: str, clock: int, block_number: int) -> None:
        super().__init__(dao, BLOCK_CLOCK)
        self.clock = clock
        self.block_number = block_number

    def __str__(self) -> str:
        return (
            f"the DAO {self.dao} counts {self.clock} blocks in block {self.block_number}: its clock is not "
            "this chain's block number, so its deadline names no block; use a DAO with a timestamp clock here"
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

    Raises WrongChain for a node of another chain, UnknownClock where a deadline names no block.
    """
    actual = await node.chain_id()
    if actual != request.chain_id:
        raise WrongChain(request.chain_id, actual, node.endpoint)
    finalized = await node.header("finalized")
    proposal_id, dao = int(request.proposal_id), reputation_dao
    answers = await node.call_many(
        [
            (request.dao, dao.CLOCK.encode()),
            (request.dao, dao.CLOCK_MODE.encode()),
            (request.dao, dao.PROPOSAL_SNAPSHOT.encode(proposal_id)),
            (request.dao, dao.PROPOSAL_DEADLINE.encode(proposal_id)),
            (request.dao, dao.PROPOSAL_VOTES.encode(proposal_id)),
            (request.registry, proposal_scores.DAO.encode()),
            (request.registry, proposal_scores.POLICY_OF.encode(proposal_id)),
        ],
        finalized.number,
    )
    clock, deadline = dao.CLOCK.decode(answers[0]), dao.PROPOSAL_DEADLINE.decode(answers[3])
    if clock <= deadline:
        raise VotingNotEnded(proposal_id, clock, deadline)
    owner = proposal_scores.DAO.decode(answers[5])
    if owner.lower() != request.dao.lower():
        raise WrongRegistry(request.registry, request.dao, owner)
    mode = dao.CLOCK_MODE.decode(answers[1])
    if mode == BLOCK_CLOCK and clock != finalized.number:
        raise ForeignClock(request.dao, clock, finalized.number)
    votes = dao.PROPOSAL_VOTES.decode(answers[4])
    return Proposal(
        chain_id=request.chain_id,
        dao=request.dao,
        registry=request.registry,
        proposal_id=proposal_id,
        snapshot=dao.PROPOSAL_SNAPSHOT.decode(answers[2]),
        deadline=deadline,
        first_block=request.block_number,
        last_block=await _last_block(node, request, mode, deadline, finalized),
        tally=Tally(for_votes=votes.for_, against_votes=votes.against, abstain_votes=votes.abstain),
        policy_hash="0x" + proposal_scores.POLICY_OF.decode(answers[6]).hex(),
    )


async def _last_block(
    node: Node, request: ProposalRequest, mode: str, deadline: int, finalized: BlockHeader
) -> int:
    """Return the last block in which a vote could be cast."""
    if mode == BLOCK_CLOCK:
        return deadline
    if mode == TIMESTAMP_CLOCK:
        return await last_block_until(node, deadline, first=request.block_number, beyond=finalized.number)
    raise UnknownClock(request.dao, mode)


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
