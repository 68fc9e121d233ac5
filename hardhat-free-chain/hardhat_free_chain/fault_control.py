"""The methods by which faults and endpoints are changed from outside, over JSON-RPC.

Each takes an object of options last: `endpoint` is the port of another address than the one that was asked,
`seed` starts chance anew. They are never subject to faults themselves.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from hardhat_free_chain.errors import InvalidParams, ListenError, RpcError
from hardhat_free_chain.faults.codec import parse_rule, rule_as_json
from hardhat_free_chain.rpc import parameters

if TYPE_CHECKING:
    from hardhat_free_chain.endpoint import Endpoint
    from hardhat_free_chain.server import ChainServer

Arguments = list[Any]
Control = Callable[["ChainServer", "Endpoint", Arguments], Awaitable[object]]


async def set_faults(server: ChainServer, asked: Endpoint, arguments: Arguments) -> object:
    """hardhatfree_setFaults(rules, options): these rules in place of all others; returns their numbers."""
    options = _options(arguments, 1)
    rules = [parse_rule(each) for each in _rules(parameters.argument(arguments, 0))]
    endpoint = _endpoint(server, asked, options)
    return endpoint.weather.replace(*rules, seed=_number(options, "seed"))


async def add_fault(server: ChainServer, asked: Endpoint, arguments: Arguments) -> object:
    """hardhatfree_addFault(rule, options): one more rule, innermost; returns its number."""
    rule = parse_rule(parameters.argument(arguments, 0))
    return _endpoint(server, asked, _options(arguments, 1)).weather.add(rule)


async def remove_fault(server: ChainServer, asked: Endpoint, arguments: Arguments) -> object:
    """hardhatfree_removeFault(number, options): false if there is no such rule."""
    number = parameters.quantity(parameters.argument(arguments, 0), "fault number")
    return _endpoint(server, asked, _options(arguments, 1)).weather.remove(number)


async def clear_faults(server: ChainServer, asked: Endpoint, arguments: Arguments) -> object:
    """hardhatfree_clearFaults(options): returns how many rules were in force."""
    return _endpoint(server, asked, _options(arguments, 0)).weather.clear()


async def list_faults(server: ChainServer, asked: Endpoint, arguments: Arguments) -> object:
    """hardhatfree_listFaults(options): each rule with its number, and how many requests it saw and struck."""
    records = _endpoint(server, asked, _options(arguments, 0)).weather.records()
    return [
        {"number": number, "seen": record.seen, "struck": record.struck, "fault": rule_as_json(record.rule)}
        for number, record in records.items()
    ]


async def open_endpoint(server: ChainServer, _: Endpoint, arguments: Arguments) -> object:
    """hardhatfree_openEndpoint({faults, seed, port}): serve the chain at one more address."""
    options = _options(arguments, 0)
    rules = [parse_rule(each) for each in _rules(options.get("faults") or [])]
    try:
        endpoint = await server.open_endpoint(
            *rules, seed=_number(options, "seed") or 0, port=_number(options, "port") or 0
        )
    except ListenError as error:
        raise RpcError(str(error)) from error
    return _shown(endpoint)


async def close_endpoint(server: ChainServer, _: Endpoint, arguments: Arguments) -> object:
    """hardhatfree_closeEndpoint(port): false if none listens there."""
    port = parameters.quantity(parameters.argument(arguments, 0), "port")
    for endpoint in server.endpoints:
        if endpoint.port == port:
            await server.close_endpoint(endpoint)
            return True
    return False


async def list_endpoints(server: ChainServer, _: Endpoint, __: Arguments) -> object:
    """hardhatfree_listEndpoints: all addresses, the main one first."""
    return [_shown(endpoint) for endpoint in server.endpoints]


async def close_sockets(server: ChainServer, asked: Endpoint, arguments: Arguments) -> object:
    """hardhatfree_closeSockets(options): close the WebSocket connections of now; returns how many."""
    return await _endpoint(server, asked, _options(arguments, 0)).close_sockets()


def _shown(endpoint: Endpoint) -> dict[str, object]:
    return {"url": endpoint.url, "wsUrl": endpoint.ws_url, "port": endpoint.port}


def _rules(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidParams("invalid faults: give an array of objects, each with its kind")
    return value


def _options(arguments: Arguments, position: int) -> dict[str, Any]:
    return parameters.mapping(parameters.argument(arguments, position, {}), "options")


def _number(options: dict[str, Any], name: str) -> int | None:
    value = options.get(name)
    return None if value is None else parameters.quantity(value, name)


def _endpoint(server: ChainServer, asked: Endpoint, options: dict[str, Any]) -> Endpoint:
    port = _number(options, "endpoint")
    if port is None:
        return asked
    for endpoint in server.endpoints:
        if endpoint.port == port:
            return endpoint
    raise InvalidParams(f"no endpoint at port {port}: see hardhatfree_listEndpoints")


METHODS: dict[str, Control] = {
    "hardhatfree_setFaults": set_faults,
    "hardhatfree_addFault": add_fault,
    "hardhatfree_removeFault": remove_fault,
    "hardhatfree_clearFaults": clear_faults,
    "hardhatfree_listFaults": list_faults,
    "hardhatfree_openEndpoint": open_endpoint,
    "hardhatfree_closeEndpoint": close_endpoint,
    "hardhatfree_listEndpoints": list_endpoints,
    "hardhatfree_closeSockets": close_sockets,
}
