"""Gives an application the sending of transactions: the workflow, its steps, and what they depend on."""

from __future__ import annotations

from contracts.rpc import Node
from contracts.transactions.metrics import SendingMetrics
from contracts.transactions.nonces import NonceBook
from contracts.transactions.observation import FRESH_S, Observation
from contracts.transactions.patience import STEP_RETRY
from contracts.transactions.pipeline import follow_transaction, send_transaction
from contracts.transactions.preparing import explain_revert, prepare_transaction
from contracts.transactions.signers import Signers, Signing
from contracts.transactions.steps import (
    broadcast_transaction,
    confirm_transaction,
    fill_gap,
    reserve_nonce,
    sign_replacement,
    sign_transaction,
)
from contracts.transactions.values import SendingPolicy
from contracts.transactions.wishes import WishBook
from orchestrator import Orchestrator, RetryPolicy

STEPS = (
    prepare_transaction,
    reserve_nonce,
    sign_transaction,
    sign_replacement,
    fill_gap,
    broadcast_transaction,
    confirm_transaction,
    explain_revert,
)


def register_transactions(
    app: Orchestrator,
    *,
    node: Node,
    signer: Signing | Signers,
    policy: SendingPolicy | None = None,
    retry: RetryPolicy = STEP_RETRY,
    metrics: SendingMetrics | None = None,
) -> None:
    """Register `send_transaction` with its steps. The node must stay open while the application runs.

    `retry` is the policy of each step's attempts, before its workflow parks. Give a collector of `metrics`
    to whoever serves them.
    """
    chosen = policy or SendingPolicy()
    observation = Observation(node, fresh_s=min(FRESH_S, chosen.poll_ms / 1000))
    signers = signer if isinstance(signer, Signers) else Signers([signer])
    books = (NonceBook(app), WishBook(lambda: app.promises))
    for dependency in (node, signers, chosen, *books, observation, metrics or SendingMetrics()):
        app.set_dependency(dependency)
    for step in STEPS:
        app.register(step, retry=retry)
    app.register(send_transaction)
    app.register(follow_transaction)
