"""Governors as others deploy them, scored end to end: voted, ended, scored, submitted, the proof verified.

Every case runs on this project's chain and on anvil, and each sum is written down by hand.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from math import trunc
from typing import Any

import pytest
from eth_abi.abi import encode

from contracts.bindings import Function, Log, governor, governor_bravo
from contracts.bindings.governor import FRACTIONAL_SUPPORT, Support
from contracts.bindings.proposal_scores import SCORE_SUBMITTED
from contracts.dao import Dao
from contracts.deployment import deploy_registry
from contracts.rpc import LogPage, Node, Receipt
from listener.invocation import EndReason, ProposalRequest, VotingEnded, request_of
from orchestrator import Orchestrator
from orchestrator.commitments import Bundle
from orchestrator.server import fetch_bundle
from scorers.audit import audit
from scorers.policies import (
    FirstVoteBefore,
    MinimumWeight,
    ParticipationAdjusted,
    Quadratic,
    ReputationWeighted,
)
from scorers.policies.statement import state
from scorers.policy import AnyPolicy
from scorers.registration import register_scoring
from scorers.serving import PROOFS
from scorers.steps.proposal import VotingNotEnded, WrongRegistry, proposal_facts
from scorers.steps.votes import read_votes
from scorers.values import Quorum, ScoreOutcome, ScoreStatus
from scorers.workflow import score_proposal
from tests.governors import (
    ACCOUNTS,
    ADMIN,
    NODES,
    SCORER,
    WEIGHTS,
    Governance,
    fractions,
    governance,
)
from tests.integration.test_scorers_workflow import _short_waits  # noqa: F401 - a fixture
from tests.scorers_chain import FAST, RETRY

pytestmark = pytest.mark.usefixtures("_short_waits")
AGAINST, FOR, ABSTAIN = (int(each) for each in (Support.AGAINST, Support.FOR, Support.ABSTAIN))
VOTE, REASON, PARAMS = governor.CAST_VOTE, governor.CAST_VOTE_WITH_REASON, governor.CAST_VOTE_WITH_PARAMS
OVERRIDE = governor.CAST_OVERRIDE_VOTE
MINE_S = 0.05
BLOCKS_OF_A_VOTE = 20


@pytest.fixture(params=NODES)
async def chain(request: pytest.FixtureRequest) -> AsyncIterator[Governance]:
    async with governance(request.param) as made:
        yield made


@dataclass(frozen=True, slots=True)
class Case:
    """A proposal on a Governor with a registry beside it."""

    chain: Governance
    dao: Dao
    request: ProposalRequest

    @property
    def number(self) -> int:
        return int(self.request.proposal_id)

    async def end(self) -> None:
        """Let the vote end, whichever clock counts, and let its end be final."""
        if self.dao.mode == "mode=timestamp":
            await self.chain.pass_time(4_000)
        else:
            await self.chain.mine(BLOCKS_OF_A_VOTE + 10)


async def proposed(
    chain: Governance, name: str, *, delegates: Mapping[int, int] | None = None, **founded: Any
) -> Case:
    """Found a Governor with its registry, and make a proposal whose vote is open."""
    dao = await chain.found(name, **founded)
    for voter, delegate in (delegates or {}).items():
        await chain.delegate(voter, delegate)
    chain.registry = await deploy_registry(chain.sender(ADMIN), dao, scorers=[ACCOUNTS[SCORER][0]])
    _, receipt = await chain.propose("Pay the auditors")
    log = receipt.logs[0]
    request = request_of(dao.created(log), log, chain_id=chain.chain_id, registry=chain.registry)
    if founded.get("seconds"):
        await chain.pass_time(20)
    else:
        await chain.mine(3)
    return Case(chain, dao, request)


@asynccontextmanager
async def mining(chain: Governance) -> AsyncIterator[None]:
    """Mine without end, as chains do: what is sent becomes final."""

    async def forever() -> None:
        while True:
            await chain.mine(1)
            await asyncio.sleep(MINE_S)

    async with asyncio.TaskGroup() as group:
        miner = group.create_task(forever())
        yield
        miner.cancel()


async def scored(
    case: Case,
    node: Node | None = None,
    reason: EndReason = EndReason.ENDED,
    policy: AnyPolicy | None = None,
) -> tuple[ScoreOutcome, Bundle | None]:
    """Score it in an engine of its own; return outcome and evidence."""
    chain, request = case.chain, case.request
    app = Orchestrator.local(":memory:", group="proposal-scorers")
    register_scoring(
        app,
        node=node or chain.node,
        signer=chain.signer(SCORER),
        policy=policy,
        sending=FAST,
        retry=RETRY,
    )
    ended = VotingEnded(block_number=0, block_hash="0x", clock=0, deadline=0, reason=reason)
    async with app, mining(chain), asyncio.timeout(30):
        await app.promises.create(request.voting_ended_id)
        await app.promises.resolve(request.voting_ended_id, ended)
        outcome = await app.rpc(request.promise_id, score_proposal, request)
        if outcome.transaction_hash is None:
            return outcome, None
        call = app._started().transport.call
        return outcome, await fetch_bundle(call, request.promise_id, PROOFS.sections, decode=PROOFS.decode)


async def check(case: Case, in_favour: int, against: int, abstaining: int, **told: int) -> ScoreOutcome:
    """Score it, compare with the sums by hand, and verify the proof offline and by the chain alone."""
    outcome, bundle = await scored(case)
    assert outcome.detail is None
    sums = (outcome.for_votes, outcome.against_votes, outcome.abstain_votes)
    assert sums == (in_favour, against, abstaining)
    assert outcome.score == trunc(Fraction(10_000 * (in_favour - against), in_favour + against))
    assert {name: getattr(outcome, name) for name in told} == told
    assert bundle is not None
    await verified(case, bundle)
    return outcome


async def verified(case: Case, bundle: Bundle) -> None:
    """Audit a proof: its own arithmetic, its place on the chain, and all of it rebuilt from public data."""
    found = await audit(case.chain.node, bundle)
    assert (found.faults, found.differences, found.ok) == ((), [], True)


async def submissions(case: Case) -> int:
    head = (await case.chain.node.header("latest")).number
    return len(await case.chain.node.logs(case.chain.registry, [SCORE_SUBMITTED.topic0], 0, head))


@pytest.mark.parametrize("seconds", [False, True], ids=["blocks", "seconds"])
async def test_simple_counting(chain: Governance, seconds: bool) -> None:
    case = await proposed(chain, "SimpleGovernor", seconds=seconds, period=3_600 if seconds else 20)
    await chain.vote(2, VOTE, case.number, FOR)
    await chain.vote(3, REASON, case.number, AGAINST, "too dear")
    await chain.vote(4, PARAMS, case.number, ABSTAIN, "", fractions(1, 2, 3))
    await chain.vote(6, VOTE, case.number, FOR)  # Without a token, as OpenZeppelin allows.
    await case.end()
    outcome = await check(case, WEIGHTS[2], WEIGHTS[3], WEIGHTS[4], counted=3, excluded=1)
    assert outcome.quorum == Quorum(required=100, counted=WEIGHTS[2] + WEIGHTS[4], reached=True)


async def test_split_and_repeated_votes(chain: Governance) -> None:
    case = await proposed(chain, "FractionalGovernor")
    split = (FRACTIONAL_SUPPORT, "")
    await chain.vote(3, PARAMS, case.number, *split, fractions(100, 50, 0))
    await chain.vote(2, VOTE, case.number, AGAINST)
    await chain.vote(4, PARAMS, case.number, *split, fractions(0, 2**90, 2**91))
    await chain.vote(3, PARAMS, case.number, *split, fractions(0, 0, 30))
    await chain.vote(5, PARAMS, case.number, *split, fractions(0, 3, 0))
    await chain.vote(4, VOTE, case.number, AGAINST)  # With all that is left.
    await case.end()
    left = 2**95 - 2**90 - 2**91
    await check(case, 50 + 2**90 + 3, 100 + 100 + left, 2**91 + 30, counted=8, excluded=0)


async def test_a_policy_is_fair_to_split_votes_and_the_quorum_stays_the_daos_own(chain: Governance) -> None:
    """The root is taken of the voter's whole weight, and goes with the parts in proportion."""
    case = await proposed(chain, "FractionalGovernor")
    await chain.vote(3, PARAMS, case.number, FRACTIONAL_SUPPORT, "", fractions(100, 50, 0))
    await chain.vote(2, VOTE, case.number, AGAINST)
    await chain.vote(3, PARAMS, case.number, FRACTIONAL_SUPPORT, "", fractions(0, 0, 30))
    await chain.vote(5, VOTE, case.number, FOR)
    await case.end()
    outcome, bundle = await scored(case, policy=state(Quadratic(), [MinimumWeight(weight=8)]))
    # Of the 250 of voter 3 the root is 15: 6, 3 and 1.8 of it go with 100, 50 and 30. Voter 5 has 7.
    assert (outcome.for_votes, outcome.against_votes, outcome.abstain_votes) == (3, 6 + 10, 1)
    assert (outcome.counted, outcome.excluded, outcome.score) == (4, 1, -6_842)
    assert outcome.quorum == Quorum(required=100, counted=50 + 7 + 30, reached=False)
    assert bundle is not None
    await verified(case, bundle)


TRANSFER = Function(name="transfer", inputs=("address", "uint256"), outputs=("bool",), result=bool)


@pytest.mark.parametrize("seconds", [False, True], ids=["blocks", "seconds"])
async def test_reputations_are_those_of_the_snapshot_however_they_are_asked(
    chain: Governance, seconds: bool
) -> None:
    """The votes are delegated away before the snapshot and the balances moved after it."""
    case = await proposed(
        chain, "SimpleGovernor", delegates={5: 2}, seconds=seconds, period=3_600 if seconds else 20
    )
    await chain.vote(2, VOTE, case.number, FOR)
    await chain.vote(3, VOTE, case.number, AGAINST)
    await chain.sender(3).send(chain.token, TRANSFER.encode(ACCOUNTS[2][0], 200), gas=500_000)
    await case.end()
    delegated = (WEIGHTS[2] + WEIGHTS[5], WEIGHTS[3])
    balances = (WEIGHTS[2], WEIGHTS[3])
    asked: dict[str, tuple[int, int]] = {"getPastVotes": delegated, "balanceOf": balances}
    if not seconds:
        # Of this token they take timepoints, which here are blocks.
        asked |= {"getPriorVotes": delegated, "balanceOfAt": balances}
    for function, (in_favour, against) in asked.items():
        policy = state(ReputationWeighted(contract=chain.token, function=function), [MinimumWeight()])
        snapshot = await chain.node.request("evm_snapshot", [])
        outcome, bundle = await scored(case, policy=policy)
        assert (outcome.for_votes, outcome.against_votes) == (in_favour, against), function
        assert bundle is not None
        await verified(case, bundle)
        await chain.node.request("evm_revert", [snapshot])


@pytest.mark.parametrize("name", ["OverridableGovernor", "BravoGovernor"])
async def test_history_of_a_governor(chain: Governance, name: str) -> None:
    """Who overrode its delegate took part, and a first vote counts from the block after it."""
    case = await proposed(chain, name, delegates={5: 3} if name == "OverridableGovernor" else None)
    await chain.vote(3, VOTE, case.number, FOR)
    if name == "OverridableGovernor":
        await chain.vote(5, OVERRIDE, case.number, AGAINST, "")
    else:
        await chain.vote(5, VOTE, case.number, AGAINST)
    await case.end()
    _, receipt = await chain.propose("Pay them again")
    later = request_of(
        case.dao.created(receipt.logs[0]), receipt.logs[0], chain_id=chain.chain_id, registry=chain.registry
    )
    await chain.mine(3)
    again = Case(chain, case.dao, later)
    await chain.vote(3, VOTE, again.number, FOR)
    await chain.vote(4, VOTE, again.number, AGAINST)
    if name == "OverridableGovernor":
        await chain.vote(5, OVERRIDE, again.number, AGAINST, "")
    else:
        await chain.vote(5, VOTE, again.number, AGAINST)
    await again.end()
    policy = state(ParticipationAdjusted(last=4, base_bps=0), [MinimumWeight(), FirstVoteBefore()])
    outcome, bundle = await scored(again, policy=policy)
    assert (outcome.for_votes, outcome.against_votes) == (WEIGHTS[3], WEIGHTS[5])
    assert (outcome.counted, outcome.excluded) == (2, 1)
    assert bundle is not None
    await verified(again, bundle)


async def test_overridden_votes(chain: Governance) -> None:
    case = await proposed(chain, "OverridableGovernor", delegates={2: 3, 5: 3})
    await chain.vote(5, OVERRIDE, case.number, AGAINST, "before the delegate")
    await chain.vote(3, VOTE, case.number, FOR)
    await chain.vote(2, OVERRIDE, case.number, ABSTAIN, "after the delegate")
    await chain.vote(4, VOTE, case.number, FOR)
    await chain.vote(4, OVERRIDE, case.number, AGAINST, "of another mind")
    await case.end()
    outcome = await check(case, WEIGHTS[3], WEIGHTS[5] + WEIGHTS[4], WEIGHTS[2], counted=4, excluded=1)
    facts = await proposal_facts(chain.node, case.request)
    ballots = (await read_votes(chain.node, facts)).ballots
    assert [ballot.weight for ballot in ballots] == [WEIGHTS[5], WEIGHTS[3], WEIGHTS[2], 0, WEIGHTS[4]]
    assert outcome.status is ScoreStatus.SCORED


class Dropping(Node):
    """Keeps back the logs of one event, as a node does whose index has a hole; or `everywhere`."""

    dropped = b""
    everywhere = False

    async def logs_from(self, *arguments: Any) -> LogPage:
        page = await super().logs_from(*arguments)
        return replace(page, logs=self._left(page.logs))

    async def complete_logs(self, *arguments: Any) -> list[Log]:
        logs = await super().complete_logs(*arguments)
        return self._left(logs) if self.everywhere else logs

    def _left(self, logs: Sequence[Log]) -> list[Log]:
        return [log for log in logs if log.topics[0] != self.dropped]


@pytest.mark.parametrize(
    "event",
    [governor.VOTE_REDUCED, governor.OVERRIDE_VOTE_CAST, governor.VOTE_CAST],
    ids=lambda each: each.name,
)
@pytest.mark.parametrize("everywhere", [False, True])
async def test_votes_that_do_not_add_up_are_never_submitted(
    chain: Governance, event: Any, everywhere: bool
) -> None:
    """What a node's index has lost is found in its blocks; what no log tells is not made up."""
    case = await proposed(chain, "OverridableGovernor", delegates={2: 3})
    await chain.vote(3, VOTE, case.number, FOR)
    await chain.vote(2, OVERRIDE, case.number, AGAINST, "")
    await case.end()
    async with Dropping(chain.node.endpoint) as node:
        node.dropped, node.everywhere = event.topic0, everywhere
        outcome, bundle = await scored(case, node)
    if not everywhere:
        assert (outcome.status, await submissions(case)) == (ScoreStatus.SCORED, 1)
        return
    assert (outcome.status, bundle, await submissions(case)) == (ScoreStatus.TALLY_MISMATCH, None, 0)
    assert outcome.detail is not None
    assert f"the DAO counted {WEIGHTS[3]} for, {WEIGHTS[2]} against, 0 abstaining" in outcome.detail


async def test_a_late_quorum_moves_the_end(chain: Governance) -> None:
    case = await proposed(chain, "LateQuorumGovernor")
    deadline = case.dao.deadline(case.number)
    first = deadline.decode(await chain.node.call(*deadline.call))
    head = (await chain.node.header("latest")).number
    await chain.mine(first - head - 1)
    receipt = await chain.vote(3, VOTE, case.number, FOR)
    assert governor.PROPOSAL_EXTENDED.topic0 in {log.topics[0] for log in receipt.logs}
    await chain.mine(4)
    with pytest.raises(VotingNotEnded, match=f"open until {first + 10}"):
        await proposal_facts(chain.node, case.request)
    await chain.vote(2, VOTE, case.number, AGAINST)
    await case.end()
    assert (await proposal_facts(chain.node, case.request)).last_block == first + 10
    await check(case, WEIGHTS[3], WEIGHTS[2], 0)


async def test_a_super_quorum_ends_the_vote_early_and_for_good(chain: Governance) -> None:
    """The facts of a vote that ended early are the same before and after its deadline."""
    case = await proposed(chain, "SuperQuorumGovernor", weights={2: 100, 3: 300, 4: 200}, period=200)
    await chain.vote(2, VOTE, case.number, AGAINST)
    await chain.vote(3, VOTE, case.number, FOR)
    await chain.mine(4)
    with pytest.raises(VotingNotEnded):
        await proposal_facts(chain.node, case.request)
    last: Receipt = await chain.vote(4, VOTE, case.number, FOR)
    await chain.mine(4)
    outcome, bundle = await scored(case)
    assert (outcome.for_votes, outcome.against_votes, outcome.score) == (500, 100, 6_666)
    facts = await proposal_facts(chain.node, case.request)
    assert facts.last_block == last.block_number < facts.deadline
    await chain.mine(250)
    assert await proposal_facts(chain.node, case.request) == facts
    assert bundle is not None
    await verified(case, bundle)


async def test_bravo(chain: Governance) -> None:
    case = await proposed(chain, "BravoGovernor")
    assert case.request.proposal_id == "1"
    await chain.vote(2, VOTE, case.number, FOR)
    await chain.vote(4, governor_bravo.CAST_VOTE_WITH_REASON, case.number, AGAINST, "no")
    await chain.vote(5, VOTE, case.number, ABSTAIN)
    await case.end()
    read = governor_bravo.GET_RECEIPT
    at = (await chain.node.header("latest")).number
    answer = await chain.node.call(chain.governor, read.encode(case.number, ACCOUNTS[4][0]), at)
    assert read.decode(answer) == governor_bravo.Receipt(has_voted=True, support=AGAINST, votes=WEIGHTS[4])
    await check(case, WEIGHTS[2], WEIGHTS[4], WEIGHTS[5], counted=3, excluded=0)


@pytest.mark.parametrize("name", ["SimpleGovernor", "BravoGovernor"])
async def test_cancelled_before_it_is_submitted(chain: Governance, name: str) -> None:
    case = await proposed(chain, name)
    await chain.vote(2, VOTE, case.number, FOR)
    await case.end()
    await chain.veto(case.number)
    await chain.mine(4)
    outcome, _ = await scored(case)
    assert (outcome.status, await submissions(case)) == (ScoreStatus.CANCELLED, 0)


@pytest.mark.parametrize("name", ["SimpleGovernor", "BravoGovernor"])
async def test_cancelled_after_it_was_submitted(chain: Governance, name: str) -> None:
    """The score stands as it was, and so does its proof."""
    case = await proposed(chain, name)
    await chain.vote(2, VOTE, case.number, FOR)
    await case.end()
    outcome, bundle = await scored(case)
    await chain.veto(case.number)
    await chain.mine(4)
    assert (outcome.score, await submissions(case)) == (10_000, 1)
    assert bundle is not None
    await verified(case, bundle)
    standing = {check.name: check.detail for check in (await audit(chain.node, bundle)).checks}["standing"]
    assert standing.startswith("the DAO has cancelled the proposal since")
    assert (await scored(case))[0].status is ScoreStatus.SCORED


async def test_a_reason_that_is_no_text_keeps_nobody_from_being_scored(chain: Governance) -> None:
    case = await proposed(chain, "SimpleGovernor")
    arguments = encode(["uint256", "uint8", "bytes"], [case.number, AGAINST, b"\xff\xfe\xfd"])
    await chain.sender(2).send(chain.governor, REASON.selector + arguments, gas=500_000)
    await chain.vote(3, VOTE, case.number, FOR)
    await case.end()
    await check(case, WEIGHTS[3], WEIGHTS[2], 0)


async def test_a_registry_of_another_governor_is_refused(chain: Governance) -> None:
    case = await proposed(chain, "BravoGovernor")
    other = await chain.found("BravoGovernor")
    registry = await deploy_registry(chain.sender(ADMIN), other, scorers=[])
    await case.end()
    with pytest.raises(WrongRegistry, match=other.address):
        await proposal_facts(chain.node, replace(case.request, registry=registry))
