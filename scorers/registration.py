"""Makes an application a scorer: its functions by their recorded names, and what they depend on."""

from __future__ import annotations

from collections.abc import Callable

from contracts.rpc import Node
from contracts.transactions import SendingPolicy, Signer, register_transactions
from contracts.transactions.patience import STEP_RETRY
from orchestrator import Orchestrator, RetryPolicy
from scorers.alarms import StepAlarm
from scorers.policy import Policy
from scorers.steps.eligibility import check_eligibility
from scorers.steps.proposal import read_proposal
from scorers.steps.reputation import score_reputations
from scorers.steps.score import calculate_score
from scorers.steps.votes import fetch_votes
from scorers.submission import read_standing
from scorers.workflow import policy_in_force, score_proposal

COMMITTED_READS: tuple[Callable[..., object], ...] = (read_proposal, fetch_votes, score_reputations)
COMMITTED_DECISIONS: tuple[Callable[..., object], ...] = (check_eligibility, calculate_score)
LOOKS: tuple[Callable[..., object], ...] = (policy_in_force, read_standing)


def register_scoring(
    app: Orchestrator,
    *,
    node: Node,
    signer: Signer,
    policy: Policy | None = None,
    sending: SendingPolicy | None = None,
    retry: RetryPolicy = STEP_RETRY,
) -> None:
    """Register the scoring workflow, its committed steps and the sending of transactions.

    The node must stay open while the application runs. Names and versions are part of every proof.
    """
    app.set_dependency(policy or Policy())
    app.observe(StepAlarm())
    for reading in COMMITTED_READS:
        app.register(reading, commit=True, retry=retry)
    for deciding in COMMITTED_DECISIONS:
        app.register(deciding, commit=True, executor="inline")
    for looking in LOOKS:
        app.register(looking, retry=retry)
    app.register(score_proposal)
    register_transactions(app, node=node, signer=signer, policy=sending, retry=retry)
