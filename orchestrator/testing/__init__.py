"""Tools for testing durable functions without a server, for this project and for its users.

Time that skips what nobody works in (`VirtualClock`), a network with seeded faults (`FaultyTransport`),
processes that seem to end at a chosen command (`crash_at`), and a count of what was executed
(`ExecutionLog`). `ManualClock` stands still until it is moved.
"""

from orchestrator.client.history import History, fetch_history, read_history
from orchestrator.client.replaying import OutcomeDiffers, Replay
from orchestrator.engine import ManualClock
from orchestrator.testing.crashes import CrashingTransport, ExecutionLog, SimulatedCrash, crash_at
from orchestrator.testing.cuts import Ground, assert_survives_crashes
from orchestrator.testing.local import local
from orchestrator.testing.network import CALM, FaultyTransport, Weather
from orchestrator.testing.replay import assert_replays
from orchestrator.testing.virtual_time import SeededLoop, StandStill, VirtualClock

__all__ = [
    "CALM",
    "CrashingTransport",
    "ExecutionLog",
    "FaultyTransport",
    "Ground",
    "History",
    "ManualClock",
    "OutcomeDiffers",
    "Replay",
    "SeededLoop",
    "SimulatedCrash",
    "StandStill",
    "VirtualClock",
    "Weather",
    "assert_replays",
    "assert_survives_crashes",
    "crash_at",
    "fetch_history",
    "local",
    "read_history",
]
