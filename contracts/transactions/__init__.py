"""Durable sending: a logical transaction reaches the chain exactly once, whoever is killed on the way.

`send_transaction` is a workflow of the orchestrator; run it detached. Must not import the listener or the
scorers: what a transaction means is its caller's business.
"""

from contracts.transactions.checks import SenderStatus, check_sender
from contracts.transactions.metrics import SendingMetrics
from contracts.transactions.patience import patiently
from contracts.transactions.pipeline import follow_transaction, send_detached, send_transaction
from contracts.transactions.registration import register_transactions
from contracts.transactions.remote_signer import (
    ForgedSignature,
    RemoteSigner,
    SignerRefused,
    SignerUnavailable,
)
from contracts.transactions.signer import (
    Signer,
    SignerError,
    WrongSigner,
    password_from,
    signer_from_environment,
)
from contracts.transactions.signers import Signers, Signing
from contracts.transactions.values import Intent, SendingPolicy, Sent, SentStatus

__all__ = [
    "ForgedSignature",
    "Intent",
    "RemoteSigner",
    "SenderStatus",
    "SendingMetrics",
    "SendingPolicy",
    "Sent",
    "SentStatus",
    "Signer",
    "SignerError",
    "SignerRefused",
    "SignerUnavailable",
    "Signers",
    "Signing",
    "WrongSigner",
    "check_sender",
    "follow_transaction",
    "password_from",
    "patiently",
    "register_transactions",
    "send_detached",
    "send_transaction",
    "signer_from_environment",
]
