"""What nodes and providers say, and what it means: a row for each text that was seen."""

from __future__ import annotations

import pytest
from eth_utils.crypto import keccak

from contracts.rpc import (
    CallReverted,
    HistoryPruned,
    NodeUnavailable,
    RangeRefused,
    RpcError,
    RpcRefused,
    StateMissing,
    TagUnsupported,
    bloom,
)
from contracts.rpc.refusals import ErrorObject, Kind, error_of, error_of_call, kind_of
from contracts.rpc.spans import SPAN_BLOCKS, SPAN_BLOCKS_MAX, Span

LOGS, CALL, HEADER = "eth_getLogs", "eth_call", "eth_getBlockByNumber"
SAID: list[tuple[str, str, int, str, Kind]] = [
    ("geth", CALL, 3, "execution reverted: nope", Kind.REVERTED),
    ("hardhat", CALL, -32603, "VM Exception: reverted with custom error 'X()'", Kind.REVERTED),
    ("geth", HEADER, -32000, "header not found", Kind.UNKNOWN_BLOCK),
    ("geth", LOGS, -32602, "block range extends beyond current head block", Kind.UNKNOWN_BLOCK),
    (
        "erigon",
        LOGS,
        -32000,
        "block range [1, 9] is beyond latest executed block 4",
        Kind.UNKNOWN_BLOCK,
    ),
    (
        "anvil",
        CALL,
        -32602,
        "BlockOutOfRangeError: block height is 5 but asked was 99",
        Kind.UNKNOWN_BLOCK,
    ),
    ("hardhat", CALL, -32000, "Received invalid block tag 99. Latest block number is 5", Kind.UNKNOWN_BLOCK),
    ("execution APIs", HEADER, -39001, "Unknown block", Kind.UNKNOWN_BLOCK),
    ("geth", LOGS, 4444, "pruned history unavailable", Kind.PRUNED),
    ("publicnode", LOGS, -32000, "history has been pruned for this block", Kind.PRUNED),
    ("geth", CALL, -32000, "missing trie node 0a (path ) state 0x1 is not available", Kind.STATE),
    ("geth", CALL, -32000, "historical state 0xaa is not available", Kind.STATE),
    ("nethermind", CALL, -32002, "No state available for block 5", Kind.STATE),
    ("reth", CALL, -32000, "state at block #5 is pruned", Kind.STATE),
    ("ankr", CALL, -32000, "Archive requests need a personal token", Kind.STATE),
    ("geth", HEADER, -32000, "'finalized' tag not supported on pre-merge network", Kind.TAG),
    ("old clients", HEADER, -32602, "invalid argument 0: hex string without 0x prefix", Kind.TAG),
    ("geth", LOGS, -32600, "batch too large", Kind.BATCH),
    ("nethermind", "batch of 9", -32600, "Batch size limit exceeded", Kind.BATCH),
    ("besu", "batch of 9", -32602, "Number of requests in batch exceeds --rpc-max-batch-size.", Kind.BATCH),
    ("jsonrpsee", "batch of 9", -32005, "Batched requests are not supported by this server", Kind.BATCH),
    ("infura", LOGS, -32005, "query returned more than 10000 results. Try with [0x1, 0x2].", Kind.RANGE),
    ("alchemy", LOGS, -32602, "Log response size exceeded. You can make eth_getLogs …", Kind.RANGE),
    ("quicknode", LOGS, -32614, "eth_getLogs is limited to a 10,000 range", Kind.RANGE),
    ("ankr", LOGS, -32600, "block range is too wide", Kind.RANGE),
    ("cloudflare", LOGS, -32047, "'fromBlock'-'toBlock' range too large. Max range: 800", Kind.RANGE),
    ("blockpi", LOGS, -32602, "eth_getLogs is limited to 1024 block range", Kind.RANGE),
    ("reth", LOGS, -32602, "query exceeds max block range 100000", Kind.RANGE),
    ("reth", LOGS, -32602, "query exceeds max results 20000, retry with the range 5-90", Kind.RANGE),
    ("arbitrum", LOGS, -32000, "logs matched by query exceeds limit of 10000", Kind.RANGE),
    ("drpc", LOGS, 35, "ranges over 10000 blocks are not supported on freetier", Kind.RANGE),
    ("publicnode", LOGS, -32701, "exceed maximum block range: 50000", Kind.RANGE),
    ("coinbase", LOGS, -32602, "please limit the query to at most 1000 blocks", Kind.RANGE),
    ("optimism", LOGS, -32020, "backend response too large", Kind.RANGE),
    ("bsc", LOGS, -32005, "limit exceeded", Kind.RANGE),
    ("EIP-1474", CALL, -32005, "limit exceeded", Kind.LIMITED),
    ("infura", LOGS, -32005, "daily request count exceeded, request rate limited", Kind.LIMITED),
    ("alchemy", LOGS, 429, "Your app has exceeded its compute units per second capacity.", Kind.LIMITED),
    ("quicknode", LOGS, -32007, "15/second request limit reached", Kind.LIMITED),
    ("proxyd", CALL, -32011, "no backends available for method", Kind.BUSY),
    ("geth", CALL, -32002, "request timed out", Kind.BUSY),
    ("geth", CALL, -32601, "the method eth_call does not exist/is not available", Kind.METHOD),
    ("geth", CALL, -32602, "invalid argument 0: json: cannot unmarshal", Kind.REQUEST),
    ("geth", "eth_sendRawTransaction", -32000, "nonce too low: next nonce 5, tx nonce 3", Kind.OTHER),
    ("geth", "eth_sendRawTransaction", -32000, "replacement transaction underpriced", Kind.OTHER),
    ("geth", "eth_sendRawTransaction", -32000, "insufficient funds for gas * price + value", Kind.OTHER),
    ("geth", "eth_sendRawTransaction", -32000, "exceeds block gas limit", Kind.OTHER),
    ("geth", "eth_sendRawTransaction", -32000, "max fee per gas less than block base fee", Kind.OTHER),
]


@pytest.mark.parametrize(
    ("who", "method", "code", "message", "kind"), SAID, ids=[each[3][:40] for each in SAID]
)
def test_what_was_seen_is_understood(who: str, method: str, code: int, message: str, kind: Kind) -> None:
    assert kind_of(method, ErrorObject(code=code, message=message)) is kind, who


ERRORS: list[tuple[Kind, type[RpcError], bool]] = [
    (Kind.RANGE, RangeRefused, False),
    (Kind.PRUNED, HistoryPruned, True),
    (Kind.STATE, StateMissing, True),
    (Kind.TAG, TagUnsupported, True),
    (Kind.METHOD, RpcRefused, True),
    (Kind.REQUEST, RpcRefused, False),
    (Kind.LIMITED, NodeUnavailable, True),
    (Kind.BUSY, NodeUnavailable, True),
]


@pytest.mark.parametrize(("kind", "meant", "elsewhere"), ERRORS, ids=[each[0] for each in ERRORS])
def test_each_kind_is_an_error_of_its_own(kind: Kind, meant: type[RpcError], elsewhere: bool) -> None:
    method, code, message = next((each[1], each[2], each[3]) for each in SAID if each[4] is kind)
    error = error_of("http://a", method, ErrorObject(code=code, message=message))
    assert type(error) is meant
    assert getattr(error, "elsewhere", True) is elsewhere
    assert "\n" not in str(error)
    if isinstance(error, NodeUnavailable):
        assert error.limited is (kind is Kind.LIMITED)


def test_a_revert_of_a_call_is_a_revert() -> None:
    error = error_of_call("0xda", "http://a", CALL, ErrorObject(code=3, message="execution reverted"))
    assert isinstance(error, CallReverted)


WIDTHS = [
    ("Log response size exceeded. … this block range should work: [0x10, 0x1f]", (16, 31), None),
    ("query returned more than 10000 results. Try with this block range [0x10, 0x12].", (16, 18), None),
    ("query exceeds max results 20000, retry with the range 16-90", (16, 90), None),
    ("eth_getLogs is limited to a 10,000 range", None, 10_000),
    ("range too large. Max range: 800", None, 800),
    ("requested too many blocks from 1 to 9000, maximum is set to 2048", None, 2048),
    ("eth_getLogs range is too large, max is 10k blocks", None, 10_000),
    ("exceeds the range allowed for your plan (9000 > 500)", None, 500),
    ("block range is too wide", None, None),
]


@pytest.mark.parametrize(("message", "suggested", "width"), WIDTHS)
def test_what_a_refusal_suggests(message: str, suggested: tuple[int, int] | None, width: int | None) -> None:
    error = error_of("http://a", LOGS, ErrorObject(code=-32005, message=message))
    assert isinstance(error, RangeRefused)
    assert (error.suggested, error.blocks_max) == (suggested, width)


def refused(message: str) -> RpcError:
    return error_of("http://a", LOGS, ErrorObject(code=-32005, message=message))


def test_a_span_learns_from_answers_and_refusals() -> None:
    span = Span()
    span.answered(SPAN_BLOCKS, 0.1)
    assert span.blocks == 2 * SPAN_BLOCKS + 1, "fast: twice as much"
    span.answered(100, 0.1)
    assert span.blocks == 2 * SPAN_BLOCKS + 1, "the end of a span tells nothing"
    span.answered(span.blocks, 31.0)
    assert span.blocks == SPAN_BLOCKS, "slow: half"
    span.refused(16, 16 + SPAN_BLOCKS - 1, refused("block range is too wide"))
    assert span.blocks == SPAN_BLOCKS // 2
    span.refused(16, 16 + 4_999, refused("this block range should work: [0x10, 0x1f]"))
    assert span.blocks == 16
    span.refused(500, 515, refused("this block range should work: [0x10, 0x1f]"))
    assert span.blocks == 8, "a suggestion for another place is none"
    span.refused(0, 7, refused("eth_getLogs is limited to a 10,000 range"))
    assert span.blocks == 4, "a limit that is kept already is no help"


def test_a_span_stays_below_what_a_provider_names() -> None:
    span = Span()
    span.refused(0, 9_999, refused("eth_getLogs is limited to a 1,000 range"))
    for _ in range(50):
        span.answered(span.blocks, 0.1)
    assert span.blocks == 1_000
    free = Span()
    for _ in range(50):
        free.answered(free.blocks, 0.1)
    assert free.blocks == SPAN_BLOCKS_MAX


def filter_of(*values: bytes) -> bytes:
    """A bloom filter, written from the yellow paper: bits 0-10 of the first three pairs of bytes."""
    bits = 0
    for value in values:
        digest = keccak(value)
        for pair in range(3):
            bits |= 1 << ((digest[2 * pair] << 8 | digest[2 * pair + 1]) % 2048)
    return bits.to_bytes(256, "big")


def test_a_filter_tells_what_a_block_cannot_hold() -> None:
    dao, other, topic = "0x" + "da" * 20, "0x" + "0e" * 20, b"\x01" * 32
    made = filter_of(bytes.fromhex(dao[2:]), topic)
    assert bloom.may_contain(made, dao)
    assert bloom.may_contain(made, [other, dao], [None, [b"\x02" * 32, topic]])
    assert bloom.may_contain(made, dao, ["0x" + topic.hex()])
    assert bloom.may_contain(made, dao, [[]]), "an empty list of topics stands for any"
    assert not bloom.may_contain(made, other)
    assert not bloom.may_contain(made, dao, [b"\x02" * 32])
    assert bloom.is_used(made)
    assert not bloom.is_used(bytes(256))
    assert not bloom.is_used(b"\xff" * 256)
    with pytest.raises(ValueError, match="256 bytes"):
        bloom.may_contain(b"", dao)
