"""The published description: valid, complete, and true of what the server answers."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator

from orchestrator.engine import Engine
from orchestrator.protocol.commands import COMMANDS
from orchestrator.server import ServerSettings, create_app, listening
from orchestrator.server.openapi import description
from orchestrator.store import open_store
from tests.integration.server_support import ScriptedEngine, get, served

DOCUMENT: dict[str, Any] = json.loads(description())
CHECKS = [
    schemathesis.checks.not_a_server_error,
    schemathesis.checks.status_code_conformance,
    schemathesis.checks.content_type_conformance,
    schemathesis.checks.response_schema_conformance,
]


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def test_the_description_is_valid_openapi() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    assert [error.message for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []


def test_every_operation_is_described_and_nothing_is_left_over() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert {f"{kind}.{part}" for kind in COMMANDS for part in ("request", "response")} <= set(schemas)
    used = {reference.rpartition("/")[2] for reference in references(DOCUMENT)}
    assert used == set(schemas), used ^ set(schemas)
    for kind in COMMANDS:
        assert schemas[f"{kind}.request"]["description"]
        assert schemas[f"{kind}.request"]["properties"]["kind"] == {"const": kind}


async def test_every_route_is_described_and_served() -> None:
    app = create_app(ScriptedEngine(), ServerSettings())
    routes = {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None and route.method not in ("HEAD", "*")
    }
    described = {(method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item}
    assert described == routes
    async with served(ScriptedEngine(), token="0123456789abcdef") as url:
        status, body, headers = await get(url, "/openapi.json")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert json.loads(body) == DOCUMENT


@pytest.fixture(scope="module")
def schema() -> Iterator[Any]:
    """The description of a server on a thread of its own, as a client loads it."""
    loop = asyncio.new_event_loop()
    ready, ending = threading.Event(), asyncio.Event()
    url: list[str] = []

    async def serve() -> None:
        async with Engine(open_store("memory://")) as engine:
            app = create_app(engine, ServerSettings(port=0, shutdown_s=1, connections_max=4))
            async with listening(app) as where:
                url.append(where)
                ready.set()
                await ending.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(30)
    yield schemathesis.openapi.from_url(f"{url[0]}/openapi.json")
    loop.call_soon_threadsafe(ending.set)
    thread.join(30)
    loop.close()


ANSWER_S = 60
"""After it a server hangs; a busy machine may take long for an answer."""
ROUNDS_MAX = 5
"""How often so many examples are drawn again where chance has not shown each kind of answer."""
PATHS = ["/channel", "/proofs/{promise_id}", "/metrics", "/health", "/ready", "/openapi.json"]


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("method", "path", "examples"), [("POST", "/", 80), *(("GET", path, 5) for path in PATHS)]
)
def test_the_server_is_as_described(schema: Any, method: str, path: str, examples: int) -> None:
    statuses: set[int] = set()
    operation = schema[path][method]

    # Drawn anew in each round, also where Hypothesis is set to draw the same each time.
    @settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=False,
        print_blob=True,
    )
    @given(case=operation.as_strategy() | _broken(operation))
    def check(case: Any) -> None:
        response = case.call(timeout=ANSWER_S)
        statuses.add(response.status_code)
        case.validate_response(response, checks=CHECKS)

    wanted = {200, 400, 404} if method == "POST" else set[int]()
    for _ in range(ROUNDS_MAX):
        check()
        if wanted <= statuses:
            break
    assert wanted <= statuses


def _broken(operation: Any) -> st.SearchStrategy[Any]:
    """Requests that the description does not allow."""
    mode = schemathesis.GenerationMode.NEGATIVE
    return operation.as_strategy(generation_mode=mode) if operation.body else operation.as_strategy()
