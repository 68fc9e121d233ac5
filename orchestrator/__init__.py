"""Durable workflows: an engine of promises and tasks, its SDK and its server. Knows no chain."""

from orchestrator.client.application import NotStarted
from orchestrator.client.attempts import AttemptTimedOut
from orchestrator.client.codec import DecodingError, EncodingError
from orchestrator.client.combinators import Completions
from orchestrator.client.context import Context
from orchestrator.client.driver import ForeignAwait
from orchestrator.client.encryption import DecryptionError, Encryptor, KeyFault, Keyring
from orchestrator.client.future import Durable, DurableFuture
from orchestrator.client.handle import Handle
from orchestrator.client.info import Info, WorkflowInfo
from orchestrator.client.promises import Promises
from orchestrator.client.saga import CompensationFailed, Saga
from orchestrator.client.surroundings import ExecutionObserver, StepObserver
from orchestrator.committed import CommittedOrchestrator
from orchestrator.domain.errors import (
    AllFailed,
    ApplicationError,
    Cancelled,
    NondeterminismError,
    NotRegistered,
    OrchestratorError,
    PromiseCanceled,
    PromiseTimedOut,
    Refused,
    TimedOut,
    Unavailable,
)
from orchestrator.domain.promise import PromiseRecord, PromiseState, Value
from orchestrator.domain.retry import Constant, Exponential, Linear, Never, RetryPolicy
from orchestrator.process import event_loop, prepare_process, run_process
from orchestrator.runtime import ApplicationSettings, Orchestrator
from orchestrator.synchronous import InsideLoop, SyncHandle, SyncOrchestrator

__all__ = [
    "AllFailed",
    "ApplicationError",
    "ApplicationSettings",
    "AttemptTimedOut",
    "Cancelled",
    "CommittedOrchestrator",
    "CompensationFailed",
    "Completions",
    "Constant",
    "Context",
    "DecodingError",
    "DecryptionError",
    "Durable",
    "DurableFuture",
    "EncodingError",
    "Encryptor",
    "ExecutionObserver",
    "Exponential",
    "ForeignAwait",
    "Handle",
    "Info",
    "InsideLoop",
    "KeyFault",
    "Keyring",
    "Linear",
    "Never",
    "NondeterminismError",
    "NotRegistered",
    "NotStarted",
    "Orchestrator",
    "OrchestratorError",
    "PromiseCanceled",
    "PromiseRecord",
    "PromiseState",
    "PromiseTimedOut",
    "Promises",
    "Refused",
    "RetryPolicy",
    "Saga",
    "StepObserver",
    "SyncHandle",
    "SyncOrchestrator",
    "TimedOut",
    "Unavailable",
    "Value",
    "WorkflowInfo",
    "event_loop",
    "prepare_process",
    "run_process",
]
