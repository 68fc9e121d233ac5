"""Asking one endpoint for a block or its height, and remembering what it has shown."""

from __future__ import annotations

from contracts.rpc import quantities as q
from contracts.rpc.connection import Outcome, Request
from contracts.rpc.endpoint import Endpoint
from contracts.rpc.errors import BlockMissing
from contracts.rpc.reading import Judge, judge, senseless
from contracts.rpc.records import BlockHeader, parse_header


def header_request(block: q.BlockReference) -> Request:
    """Return the request for the block of a number, a tag or a hash."""
    if isinstance(block, bytes):
        return "eth_getBlockByHash", [q.encode_data(block), False]
    return "eth_getBlockByNumber", [q.encode_number(block), False]


def header_judge(block: q.BlockReference) -> Judge[BlockHeader]:
    """Return the judge of that request: BlockMissing where there is none, no answer where it is another."""
    method, _ = header_request(block)

    def parse(answer: object) -> BlockHeader | None:
        return None if answer is None else parse_header(answer)

    read = judge(method, parse, block=block)

    def header(endpoint: str, outcomes: list[Outcome]) -> BlockHeader:
        found = read(endpoint, outcomes)
        if found is None:
            raise BlockMissing(q.describe_block(block))
        if block not in q.BLOCK_TAGS and block not in (found.number, found.hash):
            described = f"block {found.number} was answered for {q.describe_block(block)}"
            raise senseless(endpoint, method, described)
        return found

    return header


async def ask_header(endpoint: Endpoint, block: q.BlockReference) -> BlockHeader:
    """Ask one endpoint for a block. Raises BlockMissing, NodeUnavailable, RpcRefused, WrongChain."""
    header = await endpoint.ask([header_request(block)], header_judge(block))
    if not isinstance(block, bytes):
        endpoint.remember(header.number, header.hash)
    if block == "latest":
        endpoint.head = header.number
    return header


async def ask_height(endpoint: Endpoint) -> int:
    """Ask one endpoint for the number of its newest block."""
    endpoint.head = await endpoint.ask([("eth_blockNumber", [])], judge("eth_blockNumber", q.decode_quantity))
    return endpoint.head
