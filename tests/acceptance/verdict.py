"""What must be true after a scenario, whoever was killed in it: the judgement over chain, store and journal.

The measure is an uninterrupted run on the same chain. S1: one submission and one finality a proposal, and not
one transaction more. None lost: everything has settled. W1: no step again after it settled; the chain is read
as often as in the uninterrupted run, and once more by the step that was under way. W3: the same records, the
same roots, the same scores.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from contracts.bindings import proposal_scores
from contracts.rpc import Node
from orchestrator.client.codec import decode_value
from orchestrator.protocol.records import PromiseRecord, PromiseState
from scorers.values import ScoreOutcome
from tests.acceptance.journal import History
from tests.acceptance.nursery import Process
from tests.acceptance.scene import SCORER, Ground, Scene, signer

VARYING = {
    "broadcast_transaction": frozenset({"eth_sendRawTransaction"}),
    "confirm_transaction": frozenset(
        {"eth_getBlockByNumber", "eth_getTransactionCount", "eth_getTransactionReceipt"}
    ),
}
"""Steps that ask until the chain has come so far, as often as that takes, and what they may ask."""
SHARED = {
    "prepare_transaction": frozenset(
        {
            "eth_chainId",
            "eth_getBalance",
            "eth_getBlockByNumber",
            "eth_getTransactionCount",
            "eth_maxPriorityFeePerGas",
        }
    ),
    "reserve_nonce": frozenset({"eth_getTransactionCount"}),
}
"""What one step asks for all that run beside it: each at most once in an execution, and one of them does."""
NEEDS_SERVER = ("reserve_nonce", "confirm_transaction")
"""Steps that call the orchestrator themselves, and are tried again when it is away."""

Record = tuple[str, object, object, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The uninterrupted run: its outcomes, the records of each tree, all ids, and what each step asked."""

    outcomes: dict[str, ScoreOutcome]
    records: dict[str, Record]
    requests: dict[str, Counter[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interruption:
    """Where things stood when a victim was dead and nobody had taken its work over yet.

    `executed` counts all executions until then, `by_victim` names the steps that the victim `pid` had begun.
    """

    pid: int
    executed: Counter[str]
    by_victim: frozenset[str]
    settled: frozenset[str]


def interruption(scene: Scene, victim: Process, settled: Collection[str]) -> Interruption:
    """Take down where things stand; `settled` are the promises that have settled."""
    history = scene.history
    return Interruption(
        pid=victim.pid,
        executed=history.executions(),
        by_victim=history.begun_by(victim.pid),
        settled=frozenset(settled),
    )


def reference(scene: Scene, promises: dict[str, PromiseRecord]) -> Reference:
    """Take an uninterrupted run for the measure."""
    history = scene.history
    assert set(history.executions().values()) == {1}
    assert not history.retries()
    return Reference(
        outcomes=outcomes(scene.ground, promises),
        records=records(promises),
        requests={step: history.requests(step) for step in history.names()},
    )


def outcomes(ground: Ground, promises: dict[str, PromiseRecord]) -> dict[str, ScoreOutcome]:
    """Decode the outcome of each scoring, without what may depend on the order of the transactions."""
    found = {}
    for number in range(1, ground.proposals + 1):
        record = promises[ground.promise_id(number)]
        assert record.state is PromiseState.RESOLVED, record
        outcome = decode_value(record.value, ScoreOutcome, "outcome")
        assert isinstance(outcome, ScoreOutcome)
        assert outcome.transaction_hash is not None, outcome
        found[record.id] = replace(outcome, transaction_hash=None, block_number=None, block_hash=None)
    return found


def records(promises: dict[str, PromiseRecord]) -> dict[str, Record]:
    """Return what W3 says of each promise; without the values of what depends on fees, nonces and blocks."""
    return {
        each.id: (
            each.id,
            None if each.id.startswith("nonce-") else each.param,
            each.state,
            each.value if _is_step_of_scoring(each.id) else None,
        )
        for each in promises.values()
    }


def _is_step_of_scoring(promise_id: str) -> bool:
    return promise_id.startswith("scoreProposal-") and ":" in promise_id and ":d" not in promise_id


async def judge(
    scene: Scene,
    promises: dict[str, PromiseRecord],
    expected: Reference,
    *,
    interruptions: Sequence[Interruption] = (),
    retried: Collection[str] = (),
) -> None:
    """Assert all that must be true; `interruptions` are the deaths of those that execute steps.

    On a chain that goes on by itself steps ask as often as it needs, and of records only outcomes are equal.
    """
    await judge_effects(scene, promises, expected, interruptions)
    if scene.ground.moves:
        return
    history = scene.history
    assert records(promises) == expected.records
    assert history.executions().keys() == expected.requests.keys()
    assert not [entry for entry in history.retries() if entry.name not in retried]
    _judge_requests(history, expected)


async def judge_effects(
    scene: Scene,
    promises: dict[str, PromiseRecord],
    expected: Reference,
    interruptions: Sequence[Interruption],
) -> None:
    """Assert what must be true also where the way differs from the uninterrupted run's."""
    await _judge_chain(scene.ground, batched=scene.batched)
    assert outcomes(scene.ground, promises) == expected.outcomes
    assert not scene.history.restarted(), "steps began again after they had settled"
    _judge_executions(scene.history, interruptions)


async def _judge_chain(ground: Ground, *, batched: bool) -> None:
    """One submission and one finality a proposal, and no other transaction of the scorer.

    Together they take as few transactions as batches; each of those has submitted something.
    """
    wanted = dict.fromkeys(range(1, ground.proposals + 1), 1)
    async with Node(ground.url) as node:
        head = (await node.header("latest")).number
        for event in (proposal_scores.SCORE_SUBMITTED, proposal_scores.SCORE_FINALIZED):
            logs = await node.logs(ground.registry, [event.topic0], ground.start_block, head)
            assert Counter(event.decode(log).proposal_id for log in logs) == wanted, event.name
            carried = len({log.transaction_hash for log in logs})
        sent = await node.nonce(signer(SCORER).address) - ground.scorer_nonce
    assert sent == carried, f"{sent} transactions, {carried} of them with scores"
    assert batched or sent == ground.proposals, f"{sent} transactions for {ground.proposals} proposals"


def _judge_executions(history: History, interruptions: Sequence[Interruption]) -> None:
    executions, names = history.executions(), history.names()
    victims = {each.pid for each in interruptions}
    for step, times in executions.items():
        said = f"{names[step]} ({step}) was executed {times} times"
        under_way = history.cut_short(step, victims)
        for each in interruptions:
            if step in each.settled:
                assert times == each.executed[step], f"{said}, {each.executed[step]} before it had settled"
            elif step in each.by_victim:
                under_way += 1
        # What a victim had sent may still have been stored after our look: then it is not needed again.
        assert 1 <= times <= 1 + under_way, said


def _judge_requests(history: History, expected: Reference) -> None:
    names, together = history.names(), Counter[str]()
    for step, wanted in expected.requests.items():
        times, asked, name = history.executions()[step], history.requests(step), names[step]
        said = f"{name} ({step}) asked {asked} in {times} executions"
        if name in VARYING:
            assert asked.keys() <= VARYING[name], said
            continue
        shared = SHARED.get(name, frozenset())
        assert all(asked[method] <= times for method in shared), said
        together.update({method: asked[method] for method in shared})
        own, least = (_without(each, shared) for each in (asked, wanted))
        most = Counter({method: times * requests for method, requests in least.items()})
        # An execution that was cut short has asked less, but one has come to its end.
        assert least <= own <= most, said
    unasked = frozenset[str]().union(*SHARED.values()) - (+together).keys()
    assert not unasked, f"nobody asked {sorted(unasked)}"


def _without(asked: Counter[str], methods: Collection[str]) -> Counter[str]:
    return Counter({method: times for method, times in asked.items() if method not in methods})
