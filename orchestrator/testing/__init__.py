"""Tools for testing durable functions without a server, for this project and for its users.

Time that skips what nobody works in (`VirtualClock`), a network with seeded faults (`FaultyTransport`),
processes that seem to end at a chosen command (`crash_at`), and a count of what was executed
(`ExecutionLog`). `ManualClock` stands still until it is moved.
"""

from orchestrator.engine import ManualClock
from orchestrator.testing.crashes import CrashingTransport, ExecutionLog, SimulatedCrash, crash_at
from orchestrator.testing.cuts import Ground, assert_survives_crashes
from orchestrator.testing.local import local
from orchestrator.testing.network import CALM, FaultyTransport, Weather
from orchestrator.testing.virtual_time import SeededLoop, StandStill, VirtualClock

__all__ = [
    "CALM",
    "CrashingTransport",
    "ExecutionLog",
    "FaultyTransport",
    "Ground",
    "ManualClock",
    "SeededLoop",
    "SimulatedCrash",
    "StandStill",
    "VirtualClock",
    "Weather",
    "assert_survives_crashes",
    "crash_at",
    "local",
]
