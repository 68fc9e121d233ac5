"""Options of one call mean the same on the application and in a workflow, everywhere alike."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator import Context, Orchestrator
from orchestrator.client.options import AttemptLimits, CallOptions
from tests.integration.sdk_places import PATIENCE_S, Place, place

__all__ = ["place"]


async def leaf(number: int) -> int:
    return number + 1


async def flow(ctx: Context) -> list[str]:
    chosen = ctx.options(
        id="apart", target="default", timeout_s=60, tags={"team": "a"}, delay_s=0.2, priority=7
    )
    apart = chosen.rpc(leaf, 1)
    below = ctx.options(priority=-1, delay_until_ms=1).rpc(leaf, 2)
    return [apart.id, str(await apart), below.id, str(await below)]


def application(place: Place) -> Orchestrator:
    app = place.make()
    app.register(leaf)
    app.register(flow)
    return app


async def test_options_become_tags_and_deadlines(place: Place) -> None:
    async with application(place) as app, asyncio.timeout(PATIENCE_S):
        assert await app.run("w", flow) == ["apart", "2", "w:2", "3"]
        apart, below = await app.promises.get("apart"), await app.promises.get("w:2")
        assert (apart.tags["team"], apart.tags["resonate:priority"]) == ("a", "7")
        assert apart.timeout_at - apart.created_at == pytest.approx(60_000, abs=1_000)
        assert int(apart.tags["resonate:delay"]) - apart.created_at == pytest.approx(200, abs=1_000)
        assert apart.settled_at is not None
        assert apart.settled_at >= int(apart.tags["resonate:delay"])
        assert (below.tags["resonate:priority"], below.tags["resonate:delay"]) == ("-1", "1")


async def test_the_same_options_from_outside(place: Place) -> None:
    async with application(place) as app, asyncio.timeout(PATIENCE_S):
        chosen = app.options(timeout_s=60, tags={"team": "b"}, delay_s=0.2, priority=3, version=1)
        assert await chosen.run("w", leaf, 1) == 2
        record = await app.promises.get("w")
        assert (record.tags["team"], record.tags["resonate:priority"]) == ("b", "3")
        assert record.settled_at is not None
        assert record.settled_at >= int(record.tags["resonate:delay"]) > record.created_at


FAULTS = {
    "timeout_s is 0": {"timeout_s": 0},
    "delay_s is -1": {"delay_s": -1},
    "exclude each other": {"delay_s": 1, "delay_until_ms": 1},
    "attempt_timeout_s is -2": {"attempt_timeout_s": -2},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_meant_is_refused_at_once(fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        CallOptions(**FAULTS[fault])  # type: ignore[arg-type]


def test_limits_are_checked_where_a_function_is_registered() -> None:
    with pytest.raises(ValueError, match="heartbeat_timeout_s is 0"):
        AttemptLimits(heartbeat_timeout_s=0)
    with pytest.raises(ValueError, match="attempt_timeout_s is nan"):
        Orchestrator.local(":memory:").register(leaf, attempt_timeout_s=float("nan"))
