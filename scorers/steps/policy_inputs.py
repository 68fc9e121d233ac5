"""Reads the inputs that a policy names, each pinned to the proposal: a committed step of its own.

Which height a node has reached stays out, as everywhere (M1): what is checkpointed or closed is asked at
any finalised block, and only a balance without a history at the block of the snapshot, which needs an
archive node.
"""

from __future__ import annotations

from collections.abc import Sequence

from contracts.bindings import BindingError, Function, governor, votes_token
from contracts.dao import BLOCK_CLOCK, Dao, DaoError, clock_of
from contracts.rpc import Node, RpcError
from contracts.rpc.together import gathered
from orchestrator import Info
from scorers.policies.inputs import BALANCE, BALANCE_AT, PAST_VOTES, PRIOR_VOTES, ReputationAt
from scorers.policies.statement import parts_of
from scorers.policy import PolicyStatement
from scorers.steps.history import closed_proposals, first_votes, participations
from scorers.steps.proposal import last_block_until
from scorers.steps.reputation import voters_of
from scorers.steps.votes import dao_of
from scorers.values import Ballot, BlockTime, PolicyInputs, Proposal, VoterReputation

_HISTORY = {
    PAST_VOTES: votes_token.GET_PAST_VOTES,
    PRIOR_VOTES: votes_token.GET_PRIOR_VOTES,
    BALANCE_AT: votes_token.BALANCE_OF_AT,
}


HEADERS_TOGETHER = 16
"""So many blocks are asked for at once: a vote may have thousands, and a node is milliseconds away."""


class UnknownReputation(DaoError):
    """The contract of a policy's reputations cannot be asked at the proposal's snapshot."""

    def __str__(self) -> str:
        return f"the reputation contract {self.address} cannot be read: {self.detail}"


async def read_policy_inputs(
    info: Info, policy: PolicyStatement, proposal: Proposal, ballots: list[Ballot]
) -> PolicyInputs:
    """Return the inputs that a policy names for these votes.

    Raises PolicyError for a policy that is not known here, UnknownReputation, HistoryIncomplete.
    """
    return await policy_inputs(info.dependency(Node), policy, proposal, ballots)


async def policy_inputs(
    node: Node, policy: PolicyStatement, proposal: Proposal, ballots: list[Ballot]
) -> PolicyInputs:
    """Return the inputs as a node tells them; see `read_policy_inputs`."""
    asked, voters = parts_of(policy).asked, voters_of(ballots)
    wanted, since = asked.participations, asked.first_votes
    reputations = await _reputations(node, asked.reputation, proposal, voters) if asked.reputation else []
    closed = await closed_proposals(node, proposal, wanted) if wanted else []
    taken = await participations(node, proposal, closed, voters) if wanted else []
    first = await first_votes(node, proposal, since.since_block, voters) if since else []
    times = await _times(node, proposal, ballots) if asked.times else []
    return PolicyInputs(
        reputations=reputations,
        closed_proposals=[each.proposal for each in closed],
        participations=taken,
        first_votes=first,
        block_times=times,
    )


async def _times(node: Node, proposal: Proposal, ballots: list[Ballot]) -> list[BlockTime]:
    later = sorted({ballot.block_number for ballot in ballots} - {proposal.first_block})
    blocks, found = [proposal.first_block, *later], []
    for start in range(0, len(blocks), HEADERS_TOGETHER):
        headers = [node.header(block) for block in blocks[start : start + HEADERS_TOGETHER]]
        found += [
            BlockTime(block_number=each.number, timestamp=each.timestamp) for each in await gathered(headers)
        ]
    return found


# -- reputations


async def _reputations(
    node: Node, source: ReputationAt, proposal: Proposal, voters: Sequence[str]
) -> list[VoterReputation]:
    dao, contract = dao_of(proposal), source.contract
    finalized = (await node.header("finalized")).number
    if source.function == BALANCE:
        at = await _snapshot_block(node, dao, proposal, finalized, contract)
        data = [votes_token.BALANCE_OF.encode(voter) for voter in voters]
        weights = await _ask(node, contract, votes_token.BALANCE_OF, data, at)
    else:
        function, moment = _HISTORY[source.function], proposal.snapshot
        if source.function == PAST_VOTES:
            await _check_clock(node, dao, contract, finalized)
        else:
            moment = await _snapshot_block(node, dao, proposal, finalized, contract)
        data = [function.encode(voter, moment) for voter in voters]
        weights = await _ask(node, contract, function, data, finalized)
    return [
        VoterReputation(voter=voter, weight=weight) for voter, weight in zip(voters, weights, strict=True)
    ]


async def _ask(
    node: Node, contract: str, function: Function[int], data: Sequence[bytes], block: int
) -> list[int]:
    weights = []
    for outcome in await node.multicall([(contract, each) for each in data], block):
        if isinstance(outcome, RpcError):
            if outcome.retryable:
                raise outcome
            raise UnknownReputation(contract, f"{function.name} fails at block {block}: {outcome}")
        try:
            weights.append(function.decode(outcome))
        except BindingError as error:
            raise UnknownReputation(contract, str(error)) from error
    return weights


async def _check_clock(node: Node, dao: Dao, contract: str, block: int) -> None:
    """Raise UnknownReputation unless the contract counts time as the DAO does (ERC-6372)."""
    (answer,) = await node.call_each([(contract, governor.CLOCK_MODE.encode())], block)
    mode = BLOCK_CLOCK
    if isinstance(answer, bytes):
        try:
            mode = governor.CLOCK_MODE.decode(answer)
        except BindingError as error:
            raise UnknownReputation(contract, str(error)) from error
    elif answer.retryable:
        raise answer
    if mode != dao.mode:
        raise UnknownReputation(contract, f"its clock is {mode!r}, the DAO's is {dao.mode!r}")


async def _snapshot_block(node: Node, dao: Dao, proposal: Proposal, finalized: int, contract: str) -> int:
    """Return the last block of the snapshot's timepoint: the state at its end is that of the snapshot."""
    if dao.mode != BLOCK_CLOCK:
        return await last_block_until(node, proposal.snapshot, first=proposal.first_block, beyond=finalized)
    if await clock_of(node, dao, finalized) != finalized:
        raise UnknownReputation(contract, "the DAO counts the blocks of another chain: use getPastVotes")
    return proposal.snapshot
