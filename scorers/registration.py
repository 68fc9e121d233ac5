"""Makes an application a scorer: its functions by their recorded names, and what they depend on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from contracts.rpc import Node
from contracts.transactions import SendingMetrics, SendingPolicy, Signers, Signing, register_transactions
from contracts.transactions.patience import STEP_RETRY
from orchestrator import Exponential, Orchestrator, RetryPolicy
from scorers.alarms import StepAlarm
from scorers.batches.gathering import Batching
from scorers.batches.registration import register_batches
from scorers.policies.errors import PolicyError
from scorers.policy import AnyPolicy, ChosenPolicy, Policy
from scorers.rounds.following import follow_rounds
from scorers.rounds.metrics import AgreementMetrics
from scorers.rounds.reading import look_at_rounds
from scorers.rounds.sealing import draw_salt
from scorers.steps.eligibility import check_eligibility
from scorers.steps.policy_inputs import read_policy_inputs
from scorers.steps.proposal import read_proposal
from scorers.steps.quorum import read_quorum
from scorers.steps.reputation import score_reputations
from scorers.steps.score import calculate_score
from scorers.steps.votes import fetch_votes
from scorers.submission import SubmissionMode, read_standing
from scorers.workflow import policy_in_force, score_proposal

COMMITTED_READS: tuple[Callable[..., object], ...] = (
    read_proposal,
    fetch_votes,
    score_reputations,
    read_policy_inputs,
)
COMMITTED_DECISIONS: tuple[Callable[..., object], ...] = (check_eligibility, calculate_score)
VERSIONS: dict[Callable[..., object], int] = dict.fromkeys(
    (read_proposal, fetch_votes, score_reputations, *COMMITTED_DECISIONS), 2
)
"""Versions beyond the first: since 2 facts say how the DAO counts, and the verdict the root of all votes."""
_DECIDING_RETRY = Exponential(non_retryable=(PolicyError,))
LOOKS: tuple[Callable[..., object], ...] = (
    policy_in_force,
    read_standing,
    read_quorum,
    draw_salt,
    look_at_rounds,
)


def version_of(step: Callable[..., object]) -> int:
    """Return the version under which a committed step is registered, and stands in its leaf."""
    return VERSIONS.get(step, 1)


def register_scoring(
    app: Orchestrator,
    *,
    node: Node,
    signer: Signing | Signers | None,
    policy: AnyPolicy | None = None,
    other_policies: Sequence[AnyPolicy] = (),
    sending: SendingPolicy | None = None,
    retry: RetryPolicy = STEP_RETRY,
    batching: Batching | None = None,
    metrics: SendingMetrics | None = None,
    agreement: AgreementMetrics | None = None,
) -> None:
    """Register the scoring workflow, its committed steps and the sending of transactions.

    Without a policy the one without configuration holds; of `other_policies` is one that the registry binds a
    proposal to. With `batching` scores that are ready go together;
    without, each goes by itself. Without a signer it is a shadow: it scores, submits nothing, and compares
    with what others submit.

    The node must stay open while the application runs. Names and versions are part of every proof.
    """
    app.set_dependency(ChosenPolicy(policy=policy or Policy(), others=tuple(other_policies)))
    app.observe(StepAlarm())
    for reading in COMMITTED_READS:
        app.register(reading, version=version_of(reading), commit=True, retry=retry)
    for deciding in COMMITTED_DECISIONS:
        # In a thread: the tree of thousands of votes is no work for the loop that keeps leases.
        app.register(deciding, version=version_of(deciding), commit=True, retry=_DECIDING_RETRY)
    for looking in LOOKS:
        app.register(looking, retry=retry)
    app.register(score_proposal)
    app.register(follow_rounds)
    app.set_dependency(agreement or AgreementMetrics())
    app.set_dependency(SubmissionMode(batched=batching is not None, shadow=signer is None))
    if signer is None:
        app.set_dependency(node)
        return
    register_batches(app, batching or Batching(), retry=retry)
    register_transactions(app, node=node, signer=signer, policy=sending, retry=retry, metrics=metrics)
