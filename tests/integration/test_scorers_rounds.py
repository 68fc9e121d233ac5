"""Independent scorers on one chain: rounds that are followed, disagreement that is seen, and the shadow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from contracts.bindings import Event, Log, proposal_scores
from contracts.bindings.proposal_scores import Rules, Stage
from contracts.bindings.reputation_dao import Support
from contracts.deployment import RegistryTerms
from contracts.transactions import Signer, Signers, patience
from listener.invocation import ProposalRequest
from orchestrator import Orchestrator, Refused
from orchestrator.commitments import Bundle
from orchestrator.server import fetch_bundle
from scorers import registration, workflow
from scorers.audit import audit
from scorers.registration import register_scoring
from scorers.rounds import course as course_module
from scorers.rounds import following
from scorers.rounds.metrics import AgreementMetrics
from scorers.rounds.values import RoundsEnd
from scorers.serving import PROOFS
from scorers.steps import votes as votes_module
from scorers.steps.score import calculate_score
from scorers.values import Eligibility, Proposal, ScoreOutcome, ScoreStatus, Tally, Verdict, Weighing
from scorers.workflow import rounds_id, score_proposal
from tests.scorers_chain import ACCOUNTS, FAST, RETRY, World, world

TIMEOUT_S = 60
SCORERS = (1, 6, 7)
WINDOW_S, ROUND_S, BOND = 1_000, 10_000, 10**15
QUORUM = RegistryTerms(quorum=2, rules=Rules(rounds_max=2, round_window=ROUND_S))
CHALLENGEABLE = RegistryTerms(
    quorum=2,
    challenge_window_s=WINDOW_S,
    rules=Rules(rounds_max=2, round_window=ROUND_S, bond=BOND, bond_receiver=ACCOUNTS[0][0]),
)
SEALED = RegistryTerms(quorum=2, rules=Rules(rounds_max=2, round_window=ROUND_S, commit_window=WINDOW_S))


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PARK_S", 0.05)
    monkeypatch.setattr(patience, "PARK_S_MAX", 0.2)
    monkeypatch.setattr(votes_module, "READ_PAUSE_S", 0.01)
    monkeypatch.setattr(following, "LOOK_S", 0.05)
    monkeypatch.setattr(following, "LOOK_S_MAX", 0.2)
    monkeypatch.setattr(course_module, "STAGGER_S", 0)


@dataclass(frozen=True)
class Operator:
    """One scorer with a database of its own."""

    app: Orchestrator
    scorer: int | None
    agreement: AgreementMetrics

    async def score(self, made: World, request: ProposalRequest) -> ScoreOutcome:
        await made.end(self.app, request)
        async with asyncio.timeout(TIMEOUT_S):
            return await self.app.rpc(request.promise_id, score_proposal, request)

    async def ended(self, request: ProposalRequest) -> RoundsEnd:
        """Wait for the end of what follows the submission."""
        async with asyncio.timeout(TIMEOUT_S):
            result: RoundsEnd = await (await self.app.get(rounds_id(request.promise_id))).result()
        return result

    async def bundle(self, request: ProposalRequest) -> Bundle:
        call = self.app._started().transport.call
        return await fetch_bundle(call, request.promise_id, PROOFS.sections, decode=PROOFS.decode)

    def counted(self) -> dict[str, float]:
        samples = [sample for metric in self.agreement.collect() for sample in metric.samples]
        return {
            f"{each.name} {each.labels['result']}": each.value
            for each in samples
            if each.name.endswith("_total") and each.value
        }


@asynccontextmanager
async def operator(made: World, store: Path | str, scorer: int | None) -> AsyncIterator[Operator]:
    agreement = AgreementMetrics()
    url = store if isinstance(store, str) else f"sqlite:///{store}"
    async with made.scoring(url, scorer=scorer, agreement=agreement) as app:
        yield Operator(app, scorer, agreement)


@asynccontextmanager
async def voted(
    terms: RegistryTerms, *, finality_lag: int = 0
) -> AsyncIterator[tuple[World, ProposalRequest]]:
    async with world(terms=terms, scorers=SCORERS, finality_lag=finality_lag) as made:
        await made.reputations({2: 10, 3: 20, 4: 2**200})
        request = await made.propose()
        await made.mine()
        for voter, support in ((2, Support.FOR), (3, Support.AGAINST)):
            await made.vote(voter, request, support)
        await made.mine(25)
        yield made, request


async def course(made: World, request: ProposalRequest) -> proposal_scores.Course:
    function = proposal_scores.COURSE_OF
    data = function.encode(int(request.proposal_id))
    return function.decode(await made.node.call(made.registry, data, "latest"))


async def later(made: World, request: ProposalRequest, seconds: int) -> None:
    """Let so much of the chain's time pass since the round began, whatever the chain's own start was."""
    begun = (await course(made, request)).started_at
    await made.node.request("evm_setNextBlockTimestamp", [begun + seconds])
    await made.mine()


async def until(made: World, request: ProposalRequest, stage: Stage, round_: int) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            found = await course(made, request)
            if (found.stage, found.round) == (stage, round_):
                return
            await asyncio.sleep(0.05)


async def test_three_operators_agree_on_the_root_and_are_final_at_the_quorum(tmp_path: Path) -> None:
    async with voted(QUORUM) as (made, request), AsyncExitStack() as stack:
        operators = [
            await stack.enter_async_context(operator(made, tmp_path / f"{scorer}.db", scorer))
            for scorer in SCORERS
        ]
        outcomes = [await each.score(made, request) for each in operators]
        assert {each.status for each in outcomes} == {ScoreStatus.SCORED}
        assert len({each.root for each in outcomes}) == 1
        assert [each.scorer for each in outcomes] == [ACCOUNTS[scorer][0] for scorer in SCORERS]
        ends = [await each.ended(request) for each in operators]
        assert [each.agrees for each in ends] == [True] * 3
        found = await course(made, request)
        assert (found.stage, found.round, found.scorer) == (Stage.FINAL, 1, ACCOUNTS[6][0])
        assert "0x" + found.root.hex() == outcomes[0].root
        for each in operators:
            assert (await audit(made.node, await each.bundle(request))).ok
            counted = each.counted()
            assert counted["scores_final_total agrees"] == 1
            assert not [name for name in counted if "differs" in name]


def tampered(proposal: Proposal, raw: Tally, eligibility: Eligibility | Weighing) -> Verdict:
    """Calculate as an operator might like it, under the name of the honest step."""
    return replace(calculate_score(proposal, raw, eligibility), score=9_999)


tampered.__name__ = calculate_score.__name__


async def test_a_scorer_that_was_tampered_with_is_outvoted_seen_and_proved_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, *good = SCORERS
    async with voted(QUORUM) as (made, request), AsyncExitStack() as stack:
        with monkeypatch.context() as patched:
            patched.setattr(registration, "COMMITTED_DECISIONS", (registration.check_eligibility, tampered))
            patched.setattr(registration, "VERSIONS", {**registration.VERSIONS, tampered: 2})
            patched.setattr(workflow, "calculate_score", tampered)
            async with operator(made, tmp_path / "bad.db", bad) as liar:
                lied = await liar.score(made, request)
        assert lied.score == 9_999
        logs = stack.enter_context(capture_logs())
        operators = [
            await stack.enter_async_context(operator(made, tmp_path / f"{scorer}.db", scorer))
            for scorer in good
        ]
        outcomes = [await each.score(made, request) for each in operators]
        ends = [await each.ended(request) for each in operators]
        assert [each.agrees for each in ends] == [True, True]
        assert {voice.scorer for end in ends for voice in end.differing} == {ACCOUNTS[bad][0]}
        final = await course(made, request)
        assert (final.stage, final.score) == (Stage.FINAL, -3333)
        seen = [each for each in logs if each["event"] == "scorer_disagrees"]
        assert {each["scorer"] for each in seen} == {ACCOUNTS[bad][0]}
        for each in operators:
            assert each.counted()["scores_compared_total differs"] == 1
        # Its own operator sees it as well, from the same database.
        liar = await stack.enter_async_context(operator(made, tmp_path / "bad.db", bad))
        assert (await liar.ended(request)).agrees is False
        assert liar.counted()["scores_final_total differs"] == 1
        assert [each["ours"] for each in logs if each["event"] == "verdict_outvoted"]
        honest, wrong = await operators[0].bundle(request), await liar.bundle(request)
        assert (await audit(made.node, honest)).ok
        found = await audit(made.node, wrong)
        assert not found.ok
        places = [each.place for each in found.differences]
        assert "leaf 4 (calculate_score), output: score" in places
        assert honest.root == outcomes[0].root != wrong.root


async def test_a_challenged_verdict_is_submitted_again_and_made_final(tmp_path: Path) -> None:
    async with voted(CHALLENGEABLE) as (made, request), AsyncExitStack() as stack:
        operators = [
            await stack.enter_async_context(operator(made, tmp_path / f"{scorer}.db", scorer))
            for scorer in SCORERS[:2]
        ]
        for each in operators:
            await each.score(made, request)
        assert (await course(made, request)).stage is Stage.AGREED
        # What can still be challenged has its evidence already, and it holds.
        assert (await audit(made.node, await operators[0].bundle(request))).ok
        data = proposal_scores.CHALLENGE.encode(int(request.proposal_id))
        await made.send(9, made.registry, data, value=BOND)
        await until(made, request, Stage.AGREED, 2)
        await later(made, request, 2 * WINDOW_S)
        ends = [await each.ended(request) for each in operators]
        assert [(each.agrees, each.round) for each in ends] == [(True, 2)] * 2
        assert (await course(made, request)).stage is Stage.FINAL
        assert (await audit(made.node, await operators[1].bundle(request))).ok


async def test_a_round_that_timed_out_is_followed_by_the_next(tmp_path: Path) -> None:
    async with voted(QUORUM) as (made, request), AsyncExitStack() as stack:
        first = await stack.enter_async_context(operator(made, tmp_path / "first.db", SCORERS[0]))
        await first.score(made, request)
        await later(made, request, ROUND_S)
        await until(made, request, Stage.OPEN, 2)
        second = await stack.enter_async_context(operator(made, tmp_path / "second.db", SCORERS[1]))
        outcome = await second.score(made, request)
        assert outcome.status is ScoreStatus.SCORED
        assert (await first.ended(request)).agrees
        assert (await course(made, request)).round == 2


async def test_verdicts_are_committed_and_then_revealed(tmp_path: Path) -> None:
    async with voted(SEALED) as (made, request), AsyncExitStack() as stack:
        operators = [
            await stack.enter_async_context(operator(made, tmp_path / f"{scorer}.db", scorer))
            for scorer in SCORERS[:2]
        ]
        async with asyncio.TaskGroup() as group:
            scoring = [group.create_task(each.score(made, request)) for each in operators]
            event = proposal_scores.SCORE_COMMITTED
            logs = await logged(made, event, 2)
            assert not [each for each in scoring if each.done()]
            await later(made, request, WINDOW_S)
        assert {each.result().status for each in scoring} == {ScoreStatus.SCORED}
        assert [(await each.ended(request)).agrees for each in operators] == [True, True]
        commitments = [event.decode(log).commitment for log in logs]
        assert len(set(commitments)) == 2


async def test_the_key_that_committed_reveals_though_another_would_be_chosen_now(tmp_path: Path) -> None:
    keys = {ACCOUNTS[number][0]: number for number in SCORERS[:2]}
    url, signers = f"sqlite:///{tmp_path / 'store.db'}", Signers([signer_of(each) for each in keys.values()])
    async with voted(replace(SEALED, quorum=1)) as (made, request), AsyncExitStack() as stack:
        chosen = signers.chosen_for(request.proposal_id)
        committing = next(number for address, number in keys.items() if address != chosen)
        async with made.scoring(url, scorer=committing) as app:
            await made.end(app, request)
            scoring = asyncio.create_task(app.rpc(request.promise_id, score_proposal, request))
            await logged(made, proposal_scores.SCORE_COMMITTED, 1)
            scoring.cancel()
            await asyncio.gather(scoring, return_exceptions=True)
        await later(made, request, WINDOW_S)
        app = Orchestrator.local(url, group="proposal-scorers")
        register_scoring(app, node=made.node, signer=signers, sending=FAST, retry=RETRY)
        await stack.enter_async_context(app)
        async with asyncio.timeout(TIMEOUT_S):
            outcome = await app.rpc(request.promise_id, score_proposal, request)
        assert (outcome.status, outcome.scorer) == (ScoreStatus.SCORED, ACCOUNTS[committing][0])


def signer_of(number: int) -> Signer:
    return Signer.from_key(ACCOUNTS[number][1])


@pytest.mark.parametrize("agrees", [True, False])
async def test_a_shadow_sends_nothing_and_compares(tmp_path: Path, agrees: bool) -> None:
    async with voted(RegistryTerms()) as (made, request), AsyncExitStack() as stack:
        shadow = await stack.enter_async_context(operator(made, tmp_path / "shadow.db", None))
        scoring = asyncio.create_task(shadow.score(made, request))
        if agrees:
            other = await stack.enter_async_context(operator(made, tmp_path / "other.db", SCORERS[0]))
            theirs = await other.score(made, request)
        else:
            arguments = (int(request.proposal_id), 1, 77, b"\x07" * 32)
            await made.execute(SCORERS[0], made.registry, proposal_scores.SUBMIT_SCORE, *arguments)
        outcome = await scoring
        assert outcome.detail is not None
        assert outcome.detail.startswith("in the shadow, nothing was submitted")
        head = await made.node.header("latest")
        topic = proposal_scores.SCORE_SUBMITTED.topic0
        assert len(await made.node.logs(made.registry, [topic], 0, head.number)) == 1
        result = "agrees" if agrees else "differs"
        assert shadow.counted() == {
            f"scores_compared_total {result}": 1,
            f"scores_final_total {result}": 1,
        }
        if agrees:
            # The submission of another stands for its own: the proof leads to the chain.
            assert outcome.status is ScoreStatus.SCORED
            assert (outcome.root, outcome.transaction_hash) == (theirs.root, theirs.transaction_hash)
            assert (await audit(made.node, await shadow.bundle(request))).ok
        else:
            assert outcome.status is ScoreStatus.OUTVOTED
            assert outcome.transaction_hash is None


async def test_what_began_in_the_shadow_is_not_submitted_by_a_worker_with_a_key(tmp_path: Path) -> None:
    async with voted(RegistryTerms()) as (made, request), AsyncExitStack() as stack:
        async with operator(made, tmp_path / "store.db", None) as shadow:
            scoring = asyncio.create_task(shadow.score(made, request))
            await looked_again(made)
            scoring.cancel()
            await asyncio.gather(scoring, return_exceptions=True)
        keyed = await stack.enter_async_context(operator(made, tmp_path / "store.db", SCORERS[0]))
        scoring = asyncio.create_task(keyed.score(made, request))
        await looked_again(made)
        arguments = (int(request.proposal_id), 1, 77, b"\x07" * 32)
        await made.execute(SCORERS[1], made.registry, proposal_scores.SUBMIT_SCORE, *arguments)
        outcome = await scoring
        assert outcome.status is ScoreStatus.OUTVOTED
        head, topic = await made.node.header("latest"), proposal_scores.SCORE_SUBMITTED.topic0
        assert len(await made.node.logs(made.registry, [topic], 0, head.number)) == 1


@pytest.mark.parametrize("round_window", [0, ROUND_S])
async def test_two_verdicts_within_the_time_of_finality_are_compared_where_there_are_rounds(
    tmp_path: Path, round_window: int
) -> None:
    terms = RegistryTerms(rules=Rules(round_window=round_window))
    async with voted(terms, finality_lag=8) as (made, request), AsyncExitStack() as stack:
        ours = await stack.enter_async_context(operator(made, tmp_path / "store.db", SCORERS[0]))
        arguments = (int(request.proposal_id), 1, 77, b"\x07" * 32)
        await made.execute(SCORERS[1], made.registry, proposal_scores.SUBMIT_SCORE, *arguments)
        # Final at once, though not yet in a block that is: the vote's last ones are.
        assert (await course(made, request)).stage is Stage.FINAL
        scoring = asyncio.create_task(ours.score(made, request))
        await logged(made, proposal_scores.SCORE_SUBMITTED, 2)
        await made.mine(10)
        assert (await scoring).status is ScoreStatus.SCORED
        followed = rounds_id(request.promise_id)
        if round_window:
            end = await ours.ended(request)
            assert (end.agrees, [each.scorer for each in end.differing]) == (False, [ACCOUNTS[SCORERS[1]][0]])
            assert ours.counted()["scores_final_total differs"] == 1
        else:
            with pytest.raises(Refused):
                await ours.app.promises.get(followed)
            assert ours.counted() == {}


async def logged(made: World, event: Event[object], count: int) -> list[Log]:
    """Wait until the registry has emitted so many of an event, final or not, and return them."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            head = await made.node.header("latest")
            logs = await made.node.logs(made.registry, [event.topic0], 0, head.number)
            if len(logs) == count:
                return logs
            await asyncio.sleep(0.05)


async def looked_again(made: World) -> None:
    """Wait until the registry's rounds were looked at twice."""
    counts = made.node.requests_by_method
    before = counts["eth_getLogs"]
    async with asyncio.timeout(TIMEOUT_S):
        while counts["eth_getLogs"] < before + 2:
            await made.mine()
            await asyncio.sleep(0.05)
