"""The worker: executes tasks as they are announced, in this process or in the time of one request."""

from orchestrator.worker.pushed import Pushed, PushResult, check_push, execute_pushed, unreachable
from orchestrator.worker.worker import KEPT_MAX, Worker, WorkerSettings

__all__ = [
    "KEPT_MAX",
    "PushResult",
    "Pushed",
    "Worker",
    "WorkerSettings",
    "check_push",
    "execute_pushed",
    "unreachable",
]
