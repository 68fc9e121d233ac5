"""`dao-scorer worker`: a scorer, and what makes a process one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import typer

from contracts.rpc import Node
from contracts.rpc.metrics import PoolCollector
from contracts.transactions import SendingMetrics, Signers
from orchestrator import Orchestrator, prepare_process
from scorers import composition
from scorers.cli.flags import configured
from scorers.cli.session import started, stop_signals
from scorers.policies.configuration import policy_from
from scorers.readiness import check_scorer
from scorers.ready import announce
from scorers.rounds.metrics import AgreementMetrics
from scorers.settings import Settings
from scorers.tracing import traced

CHAIN = ("rpc", "chain_id", "rpc_quorum", "rpc_rate")
"""The settings of whatever reads the chain."""
SENDING = (
    "shadow",
    "rpc_broadcast",
    "keystore",
    "keystore_password_file",
    "signer",
    "signer_addresses",
    "retiring_keystore",
    "retiring_signer_addresses",
    "in_flight",
    "confirmations",
    "final_depth",
    "max_fee",
    "max_tip",
    "fee_alarm",
    "balance_alarm",
    "gas_budget",
    "gas_budget_period",
    "batch",
    "batch_size",
    "batch_wait",
)
"""The settings of whatever submits."""


@configured("group", "server", "registry", "policy", *CHAIN, "lease", "concurrency", "metrics_port", *SENDING)
async def worker(
    settings: Settings,
    name: Annotated[str | None, typer.Option(help="This worker's name; unique in its group.")] = None,
) -> None:
    """Run a scorer: take proposals, score them, submit the scores."""
    prepare_process()
    with stop_signals() as stop:
        async with held_signers(settings) as signers, composition.node_of(settings) as node:
            await check_scorers(settings, node, signers)
            app = composition.remote(settings, name=name, worker=True)
            metrics = register(app, settings, node, signers)
            async with traced(app), started(app, stop):
                with composition.metrics_served(settings, [*metrics, PoolCollector(node.pool)]):
                    if not stop.is_set():
                        announce(f"{app.group}/{app.pid} {as_whom(signers)}")
                    await stop.wait()


@asynccontextmanager
async def held_signers(settings: Settings) -> AsyncIterator[Signers | None]:
    """Hold the configured keys, none in the shadow, where nothing is signed. Raises SignerError."""
    if settings.shadow:
        yield None
        return
    async with composition.signers_of(settings) as signers:
        yield signers


def as_whom(signers: Signers | None) -> str:
    """Return for whom a scorer submits, in words."""
    return "in the shadow" if signers is None else f"as {', '.join(signers.active)}"


async def check_scorers(settings: Settings, node: Node, signers: Signers | None) -> None:
    """Raise NotReady unless the registry takes scores of each active key."""
    for address in signers.active if signers else ():
        await check_scorer(node, address, settings.registry)


def register(
    app: Orchestrator, settings: Settings, node: Node, signers: Signers | None
) -> tuple[SendingMetrics, AgreementMetrics]:
    """Make an application a scorer, as the settings say; return what it counts."""
    metrics, agreement = SendingMetrics(), AgreementMetrics()
    composition.register_scoring(
        app,
        node=node,
        signer=signers,
        policy=policy_from(settings.policy),
        other_policies=[policy_from(each) for each in settings.policies],
        sending=composition.sending_policy(settings),
        batching=composition.batching(settings),
        metrics=metrics,
        agreement=agreement,
    )
    return metrics, agreement
