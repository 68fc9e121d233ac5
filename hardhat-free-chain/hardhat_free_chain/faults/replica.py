"""Nodes that are behind: with an older head, or with a finality that lags, stands still or is missing."""

from typing import Any, ClassVar

from hardhat_free_chain.errors import NotFound, ScriptedError
from hardhat_free_chain.faults import heights
from hardhat_free_chain.faults.rule import Proceed, Rule, Scene
from hardhat_free_chain.rpc.dispatch import Request

FINALITY_TAGS = ("safe", "finalized")


class StaleHead(Rule, frozen=True, kw_only=True):
    """A replica that is `blocks` behind, or stands still at height `at`: what is above, it does not know.

    It answers its own head, null for newer blocks, transactions and receipts, and for newer ranges an empty
    list of logs, as lagging nodes do. With a `probability` the endpoint is a load balancer before replicas of
    which some lag. Subscribers are told of blocks `blocks` later.
    """

    concerns: ClassVar[frozenset[str] | None] = frozenset(
        {"eth_blockNumber", *heights.NAMED_AT}
        | heights.BLOCK_HASH_METHODS
        | heights.TRANSACTION_METHODS
        | heights.LOG_METHODS
    )

    blocks: int = 1
    at: int | None = None

    def check(self) -> None:
        """Refuse heights below zero."""
        self.check_not_negative(blocks=self.blocks, at=self.at or 0)

    def answer(self, request: Request, scene: Scene, proceed: Proceed) -> object:
        """Answer as of the older head."""
        top = scene.chain.ledger.height
        head = max(0, top - self.blocks) if self.at is None else min(self.at, top)
        method = request.method
        if method == "eth_blockNumber":
            return heights.hexed(head)
        if method in heights.NAMED_AT:
            return _named(request, scene, proceed, head)
        if method in heights.LOG_METHODS:
            return _logs(request, scene, proceed, head)
        if method in heights.BLOCK_HASH_METHODS:
            height = heights.height_of_hash(scene.chain, request.arguments[0] if request.arguments else None)
            return None if height is not None and height > head else proceed(request)
        result = proceed(request)
        return None if (heights.height_shown(result) or 0) > head else result


def _seen_from(scene: Scene, value: Any, head: int) -> Any:
    """A block as the replica means it: its own head for the tags, else as it was named."""
    if value in (None, "latest", "pending"):
        return heights.hexed(head)
    if isinstance(value, str) and value in FINALITY_TAGS:
        behind = scene.chain.ledger.height - scene.chain.height_of(value)
        return heights.hexed(max(0, head - behind))
    return value


def _named(request: Request, scene: Scene, proceed: Proceed, head: int) -> object:
    value = _seen_from(scene, heights.named(request), head)
    height = heights.height_of(scene.chain, value)
    if height is not None and height > head:
        if request.method in heights.NUMBER_METHODS:
            return None
        by_hash = isinstance(value, dict) and "blockHash" in value
        raise NotFound("header for hash not found" if by_hash else "header not found")
    return proceed(heights.with_named(request, value))


def _logs(request: Request, scene: Scene, proceed: Proceed, head: int) -> object:
    fields = heights.log_fields(request)
    if fields is None:
        result = proceed(request)
        if isinstance(result, list) and any((heights.height_shown(log) or 0) > head for log in result):
            raise NotFound("unknown block")
        return result
    seen = heights.with_log_bounds(request, lambda bound: _seen_from(scene, bound, head))
    start = heights.height_of(scene.chain, seen.arguments[0]["fromBlock"])
    stop = heights.height_of(scene.chain, seen.arguments[0]["toBlock"])
    if start is None or stop is None:
        return proceed(request)
    if start > head:
        return []
    if stop <= head:
        return proceed(seen)
    fields = {**seen.arguments[0], "toBlock": heights.hexed(head)}
    return proceed(Request(id=seen.id, method=seen.method, arguments=[fields], answered=seen.answered))


class Finality(Rule, frozen=True, kw_only=True):
    """Another finality than the chain's: `lag` blocks behind the head, still `at` a height, or `missing`.

    Of a node without finality, requests about `safe` and `finalized` are refused.
    """

    concerns: ClassVar[frozenset[str] | None] = frozenset({*heights.NAMED_AT} | heights.LOG_METHODS)

    lag: int | None = None
    at: int | None = None
    missing: bool = False

    def check(self) -> None:
        """Refuse heights below zero, and more or less than one choice."""
        self.check_not_negative(lag=self.lag or 0, at=self.at or 0)
        if sum((self.lag is not None, self.at is not None, self.missing)) != 1:
            raise ValueError("give one of lag, at and missing")

    def answer(self, request: Request, scene: Scene, proceed: Proceed) -> object:
        """Read the tags in another way."""

        def chosen(value: Any) -> Any:
            if not isinstance(value, str) or value not in FINALITY_TAGS:
                return value
            if self.missing:
                raise ScriptedError(-32000, f"{value} block not found")
            top = scene.chain.ledger.height
            return heights.hexed(max(0, top - self.lag) if self.lag is not None else min(self.at or 0, top))

        if request.method in heights.NAMED_AT:
            value = heights.named(request)
            changed = chosen(value)
            return proceed(request if changed is value else heights.with_named(request, changed))
        fields = heights.log_fields(request)
        return proceed(request if fields is None else heights.with_log_bounds(request, chosen))
