"""The worker: claim, execute, heartbeat, drain."""

from orchestrator.worker.worker import Worker, WorkerSettings

__all__ = ["Worker", "WorkerSettings"]
