"""Functions as executions see them, and retry policies."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator
from typing import Any

import pytest

from orchestrator import Constant, Context, Exponential, Info, Linear, Never, NotRegistered, Refused
from orchestrator.client.registry import FunctionKind, Registry, describe
from orchestrator.domain.retry import RetryPolicy, worth_another


async def flow(ctx: Context, first: int, *rest: int, scale: int = 1, **more: int) -> list[int]:
    return [first, *rest]


def generated(ctx: Context) -> Generator[Any, Any, dict[str, int]]:
    yield
    return {}


def informed(info: Info, number: int) -> str:
    return str(number)


def test_kinds_marks_and_result_types_follow_from_the_annotations() -> None:
    described = describe(flow)
    assert (described.kind, described.inserted, described.is_async) == (FunctionKind.WORKFLOW, True, True)
    assert described.returns == list[int]
    assert describe(generated).returns == dict[str, int]
    leaf = describe(informed, name="named", version=3)
    assert (leaf.kind, leaf.inserted, str(leaf)) == (FunctionKind.LEAF, True, "named version 3")


def test_an_annotation_of_an_enclosing_function_is_resolved() -> None:
    class Local: ...

    def leaf(value: Local) -> Local:
        return value if isinstance(value, Local) else Local()

    described = describe(leaf)
    assert described.hints == {"value": Local, "return": Local}


def test_arguments_are_decoded_by_parameter() -> None:
    args, kwargs = describe(flow).decode_arguments(["1", "2", "3"], {"scale": "4", "other": "5"})
    assert (args, kwargs) == ([1, 2, 3], {"scale": 4, "other": 5})
    with pytest.raises(TypeError, match="first"):
        describe(flow).decode_arguments([], {})


def test_what_cannot_be_executed_is_refused() -> None:
    def plain(ctx: Context) -> None: ...

    def leaf_generator() -> Generator[int, None, None]:
        yield 1

    async def stream(ctx: Context) -> AsyncIterator[int]:
        yield 1

    for function in (plain, leaf_generator, stream):
        with pytest.raises(TypeError, match=function.__name__):
            describe(function)
    with pytest.raises(TypeError, match="not callable"):
        describe(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="version 0"):
        describe(flow, version=0)


def test_versions_stand_side_by_side() -> None:
    registry = Registry()
    old, new = describe(flow, name="f"), describe(generated, name="f", version=2)
    registry.add(old)
    registry.add(new)
    registry.add(old)
    assert registry.named("f") is new
    assert registry.named("f", 1) is old
    assert registry.of(flow) is old
    assert registry.of(flow, 2) is new
    with pytest.raises(ValueError, match="f version 1 is registered already"):
        registry.add(describe(informed, name="f"))
    with pytest.raises(NotRegistered, match=r"'f' version 3 is not .* there is version 1, 2$"):
        registry.named("f", 3)
    with pytest.raises(NotRegistered, match="informed"):
        registry.of(informed)
    assert registry.of_any(informed) is registry.of_any(informed)


@pytest.mark.parametrize(
    ("policy", "delays"),
    [
        (Exponential(delay_s=1, factor=2, delay_s_max=5, attempts_max=5, jitter=0), [1, 2, 4, 5, None]),
        (Exponential(delay_s=1, factor=2, delay_s_max=5, attempts_max=3, jitter=0.5), [0.75, 1.5, None]),
        (Linear(delay_s=1, delay_s_max=2, attempts_max=4), [1, 2, 2, None]),
        (Constant(delay_s=3, attempts_max=2), [3, None]),
        (Never(), [None]),
    ],
)
def test_delays(policy: RetryPolicy, delays: list[float | None]) -> None:
    assert [policy.delay_s_after(attempt + 1, 0.5) for attempt in range(len(delays))] == delays


def test_a_policy_without_end_never_overflows() -> None:
    assert Exponential(attempts_max=None, jitter=0).delay_s_after(10**6, 0) == 30


def test_errors_decide_whether_another_attempt_makes_sense() -> None:
    policy = Constant(non_retryable=(KeyError,))
    assert worth_another(ValueError(), policy)
    assert not worth_another(KeyError(), policy)
    assert not worth_another(Refused(400, "bad"), policy)
