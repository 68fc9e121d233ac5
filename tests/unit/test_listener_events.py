"""Any event: its declaration, its values, and the call that a log of it becomes."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from structlog.testing import capture_logs

from contracts.bindings import DecodeError, Log
from contracts.bindings.any_event import AnyEvent, DeclarationError
from contracts.rpc import NoCode
from listener import Listener, ListenerSettings, SqliteCursorStore
from listener.errors import ContentMismatch
from listener.shapes import EventHandler, EventShape
from tests.listener_engine import PromiseStore
from tests.listener_node import CHAIN_ID, DAO, StubNode

TRANSFER = "event Transfer(address indexed from, address indexed to, uint value);"
ALICE, BOB = "0x" + "a1" * 20, "0x" + "b0" * 20
SETTINGS = ListenerSettings(chain_id=CHAIN_ID, dao=DAO, name="moves", target="poll://any@g", function="moved")


def log_of(topics: list[bytes], data: bytes, block: int = 7, index: int = 3) -> Log:
    return Log(
        address=DAO,
        topics=tuple(topics),
        data=data,
        block_number=block,
        block_hash=StubNode().hash_of(block),
        transaction_hash=b"\x77" * 32,
        log_index=index,
    )


def transfer(value: int, **more: Any) -> Log:
    topics = [keccak(text="Transfer(address,address,uint256)")]
    topics += [encode(["address"], [each]) for each in (ALICE, BOB)]
    return log_of(topics, encode(["uint256"], [value]), **more)


def shape(**changes: Any) -> EventShape:
    return EventShape(SETTINGS, EventHandler(event=AnyEvent.parse(TRANSFER), **changes))


def test_a_declaration_becomes_a_topic_and_values() -> None:
    event = AnyEvent.parse(TRANSFER)
    assert event.signature == "Transfer(address,address,uint256)"
    assert event.topic0.hex().startswith("ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef")
    assert event.decode(transfer(2**255)) == {"from": ALICE, "to": BOB, "value": str(2**255)}


def test_every_type_has_one_spelling_in_json() -> None:
    abi = [
        {
            "type": "event",
            "name": "All",
            "inputs": [
                {"name": "small", "type": "uint48"},
                {"name": "large", "type": "int256"},
                {"name": "yes", "type": "bool"},
                {"name": "blob", "type": "bytes"},
                {"name": "text", "type": "string", "indexed": True},
                {"name": "rows", "type": "tuple[]", "components": [{"name": "who", "type": "address"}]},
            ],
        }
    ]
    event = AnyEvent.from_abi(json.dumps({"abi": abi}), "All")
    assert event.signature == "All(uint48,int256,bool,bytes,string,(address)[])"
    data = encode(
        ["uint48", "int256", "bool", "bytes", "(address)[]"], [9, -(2**70), True, b"\x01", [(ALICE,)]]
    )
    assert event.decode(log_of([event.topic0, keccak(text="hello")], data)) == {
        "small": 9,
        "large": str(-(2**70)),
        "yes": True,
        "blob": "0x01",
        "text": "0x" + keccak(text="hello").hex(),
        "rows": [{"who": ALICE}],
    }


@pytest.mark.parametrize(
    ("declaration", "told"),
    [
        ("Transfer", "write Name"),
        ("E(uint)", "is no parameter"),
        ("E(uint a, uint a)", "a name of its own"),
        ("E(uint7 a)", "uint7 is no type"),
        ("E(uint indexed a, uint indexed b, uint indexed c, uint indexed d)", "at most three"),
    ],
)
def test_what_is_no_declaration_is_named(declaration: str, told: str) -> None:
    with pytest.raises(DeclarationError, match=told):
        AnyEvent.parse(declaration)


def test_an_abi_without_the_event_names_those_that_it_has() -> None:
    with pytest.raises(DeclarationError, match="0 events of this name, of Other"):
        AnyEvent.from_abi('[{"type": "event", "name": "Other", "inputs": []}]', "Mine")
    for text in ("nonsense", "{}", "3"):
        with pytest.raises(DeclarationError):
            AnyEvent.from_abi(text, "Mine")


def test_a_torn_log_is_no_event() -> None:
    event = AnyEvent.parse(TRANSFER)
    for torn in (
        log_of([event.topic0], encode(["uint256"], [1])),
        log_of(list(transfer(1).topics), b"\x01"),
        log_of([b"\x00" * 32], b""),
    ):
        with pytest.raises(DecodeError):
            event.decode(torn)


def test_a_log_becomes_a_call() -> None:
    call = cast(Any, shape(arguments={"sender": "from", "amount": "value"}).read(transfer(5)))
    assert call.promise_id == f"moves-{CHAIN_ID}-{DAO}-0x{'77' * 32}-3"
    assert (call.function, call.target) == ("moved", "poll://any@g")
    assert (call.arguments, call.keywords) == ((), {"sender": ALICE, "amount": "5"})

    call = cast(Any, shape(arguments=["value", "block_number"]).read(transfer(5)))
    assert (call.arguments, call.keywords) == (("5", 7), {})

    call = cast(Any, shape(promise_id="m-{chain_id}-{contract}-{from}").read(transfer(5)))
    assert call.promise_id == f"m-{CHAIN_ID}-{DAO}-{ALICE}"
    assert call.arguments[0]["arguments"] == {"from": ALICE, "to": BOB, "value": "5"}


async def test_a_contract_that_is_none_is_named() -> None:
    with pytest.raises(NoCode):
        await shape().check(cast(Any, StubNode(has_code=False)))


@pytest.mark.parametrize("proxied", [False, True])
async def test_an_event_that_the_contract_does_not_have_is_told_once(tmp_path: Any, proxied: bool) -> None:
    """A wrong ABI gives another topic: no log would ever come, and nobody would know why."""
    node, told, now_ms = StubNode(implementation=7 * proxied), [], [1_000_000]
    async with await SqliteCursorStore.open(tmp_path / "c.db") as store:
        for code in (b"\x60\x00\x7f" + transfer(1).topics[0], b"\x60\x00", b"\x60\x01"):
            node.bytecode = code
            listener = Listener(
                SETTINGS,
                cast(Any, node),
                cast(Any, PromiseStore()),
                store,
                shape=shape(),
                now_ms=lambda: now_ms[0],
            )
            with capture_logs() as logs:
                for _ in range(2):
                    await listener.step()
                    now_ms[0] += 300_001
            told.append(sum(entry["event"] == "event_not_in_code" for entry in logs))
    assert told == [0, 1, 1]


async def test_events_are_dispatched_once_and_one_id_has_one_content(tmp_path: Any) -> None:
    node, engine = StubNode(), PromiseStore()
    logs = [transfer(1, block=40), transfer(2, block=50, index=4)]

    async def answered(_address: str, _topics: object, first: int, last: int) -> list[Log]:
        return [log for log in logs if first <= log.block_number <= last]

    node_with = cast(Any, _Serving(node, answered))
    async with await SqliteCursorStore.open(tmp_path / "c.db") as store:
        for _ in range(2):
            await store.rewind(SETTINGS.source, None)
            listener = Listener(SETTINGS, node_with, cast(Any, engine), store, shape=shape())
            progress = await listener.step()
            assert (progress.dispatched, progress.open_proposals) == (2, 0)
        assert set(engine.made.values()) == {1}
        assert len(engine.made) == 2

        await store.rewind(SETTINGS.source, None)
        by_sender = shape(promise_id="m-{chain_id}-{contract}-{from}")
        listener = Listener(SETTINGS, node_with, cast(Any, engine), store, shape=by_sender)
        with pytest.raises(ContentMismatch):
            await listener.step()


class _Serving:
    def __init__(self, inner: StubNode, logs: Any) -> None:
        self._inner = inner
        self.logs = logs

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)
