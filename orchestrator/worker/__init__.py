"""The worker: executes tasks as they are announced, in this process or in the time of one request."""

from orchestrator.worker.pushed import Pushed, PushResult, check_push, execute_pushed, unreachable
from orchestrator.worker.worker import Worker, WorkerSettings

__all__ = ["PushResult", "Pushed", "Worker", "WorkerSettings", "check_push", "execute_pushed", "unreachable"]
