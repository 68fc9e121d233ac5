"""The durable engine: one handler per operation, group commit, one tick, outbox delivery."""

from orchestrator.engine.clock import Clock, ManualClock, SystemClock
from orchestrator.engine.courier import Push
from orchestrator.engine.delivery import Connection, MayHearOf, Receive
from orchestrator.engine.engine import Engine
from orchestrator.engine.observing import CommitObserver
from orchestrator.engine.settings import EngineSettings
from orchestrator.engine.statistics import Histogram, Statistics

__all__ = [
    "Clock",
    "CommitObserver",
    "Connection",
    "Engine",
    "EngineSettings",
    "Histogram",
    "ManualClock",
    "MayHearOf",
    "Push",
    "Receive",
    "Statistics",
    "SystemClock",
]
