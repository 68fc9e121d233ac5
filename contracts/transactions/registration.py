"""Gives an application the sending of transactions: the workflow, its steps, and what they depend on."""

from __future__ import annotations

from contracts.rpc import Node
from contracts.transactions.nonces import NonceBook
from contracts.transactions.patience import STEP_RETRY
from contracts.transactions.pipeline import send_transaction
from contracts.transactions.signer import Signer
from contracts.transactions.steps import (
    broadcast_transaction,
    confirm_transaction,
    explain_revert,
    fill_gap,
    prepare_transaction,
    reserve_nonce,
    sign_replacement,
    sign_transaction,
)
from contracts.transactions.values import SendingPolicy
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
    signer: Signer,
    policy: SendingPolicy | None = None,
    retry: RetryPolicy = STEP_RETRY,
) -> None:
    """Register `send_transaction` with its steps. The node must stay open while the application runs.

    `retry` is the policy of each step's attempts, before its workflow parks.
    """
    for dependency in (node, signer, policy or SendingPolicy(), NonceBook(app)):
        app.set_dependency(dependency)
    for step in STEPS:
        app.register(step, retry=retry)
    app.register(send_transaction)
