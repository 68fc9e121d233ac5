"""What the parts of one engine share."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.engine.clock import Clock
from orchestrator.engine.delivery import Switchboard
from orchestrator.engine.settings import EngineSettings
from orchestrator.engine.statistics import Statistics
from orchestrator.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """One engine's store, time, settings, counters and connections."""

    store: Store
    clock: Clock
    settings: EngineSettings
    statistics: Statistics
    switchboard: Switchboard
