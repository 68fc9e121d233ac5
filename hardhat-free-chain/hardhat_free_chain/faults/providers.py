"""The words in which nodes and hosted providers refuse: wide log ranges, lost states, lost history.

Codes and texts are as seen in the wild, because clients recognise them by nothing else.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """One refusal: JSON-RPC code, HTTP status, and a text with places such as {limit} and {start}."""

    code: int
    text: str
    status: int = 200
    has_data: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeWords:
    """How a provider limits eth_getLogs: by blocks, by results or by both."""

    by_blocks: Words | None = None
    by_results: Words | None = None


RANGE_WORDS = {
    "alchemy": RangeWords(
        by_blocks=Words(
            code=-32600,
            status=400,
            text="Under the Free tier plan, you can make eth_getLogs requests with up to a {limit} block "
            "range. Based on your parameters, this block range should work: [{start:#x}, {fits:#x}]. "
            "Upgrade to PAYG for expanded block range.",
        ),
        by_results=Words(
            code=-32602,
            status=400,
            text="Log response size exceeded. You can make eth_getLogs requests with up to a 2K block range "
            "and no limit on the response size, or you can request any block range with a cap of 10K logs in "
            "the response. Based on your parameters and the response size limit, this block range should "
            "work: [{start:#x}, {fits:#x}]",
        ),
    ),
    "ankr": RangeWords(by_blocks=Words(code=-32062, text="Block range is too large")),
    "besu": RangeWords(by_blocks=Words(code=-32005, text="Requested range exceeds maximum RPC range limit")),
    "bsc": RangeWords(by_blocks=Words(code=-32000, text="exceed maximum block range: {limit}")),
    "cloudflare": RangeWords(
        by_blocks=Words(
            code=-32047,
            text="Invalid eth_getLogs request. 'fromBlock'-'toBlock' range too large. Max range: {limit}",
        )
    ),
    "drpc": RangeWords(
        by_blocks=Words(code=35, text="ranges over {limit} blocks are not supported on freetier")
    ),
    "geth": RangeWords(
        by_blocks=Words(code=-32000, text="exceed maximum block range: {limit}"),
        by_results=Words(code=-32005, text="query returned more than {limit} results"),
    ),
    "infura": RangeWords(
        by_results=Words(
            code=-32005,
            has_data=True,
            text="query returned more than {limit} results. "
            "Try with this block range [0x{start:X}, 0x{fits:X}].",
        )
    ),
    "publicnode": RangeWords(by_blocks=Words(code=-32701, text="exceed maximum block range: {limit}")),
    "quicknode": RangeWords(
        by_blocks=Words(code=-32614, status=413, text="eth_getLogs is limited to a {limit:,} range")
    ),
    "reth": RangeWords(
        by_blocks=Words(code=-32602, text="query exceeds max block range {limit}"),
        by_results=Words(
            code=-32602, text="query exceeds max results {limit}, retry with the range {start}-{fits}"
        ),
    ),
}

STATE_WORDS = {
    "geth": Words(
        code=-32000, text="missing trie node {root} (path ) state {root} is not available, not found"
    ),
    "geth-path": Words(code=-32000, text="historical state {root} is not available"),
    "besu": Words(code=-32000, text="World state unavailable"),
    "erigon": Words(code=-32000, text="old data not available due to pruning"),
    "infura": Words(code=-32002, text="project ID does not have access to archive state", status=403),
    "nethermind": Words(code=-32002, text="No state available for block {hash}"),
    "publicnode": Words(code=-32602, text="Archive requests require a personal token", status=403),
    "reth": Words(code=-32000, text="state at block #{number} is pruned"),
}

HISTORY_WORDS = {
    "eip-4444": Words(code=4444, text="pruned history unavailable"),
    "erigon": Words(code=-32000, text="old data not available due to pruning"),
}
"""Besides these, `silent` stands for nodes that answer null and empty lists."""
