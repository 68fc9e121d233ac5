"""Nodes whose mempools differ: transactions that are forgotten, and those that only other nodes know."""

from typing import ClassVar

from eth_hash.auto import keccak

from hardhat_free_chain.faults import heights
from hardhat_free_chain.faults.rule import Proceed, Rule, Scene
from hardhat_free_chain.formats import data
from hardhat_free_chain.rpc import parameters
from hardhat_free_chain.rpc.dispatch import Request

EMPTY_POOL: dict[str, object] = {
    "txpool_content": {"pending": {}, "queued": {}},
    "txpool_contentFrom": {"pending": {}, "queued": {}},
    "txpool_inspect": {"pending": {}, "queued": {}},
    "txpool_status": {"pending": "0x0", "queued": "0x0"},
    "eth_pendingTransactions": [],
}


class ForgottenTransactions(Rule, frozen=True, kw_only=True):
    """A node that accepts a raw transaction, answers its hash, and tells nobody: it is never mined."""

    concerns: ClassVar[frozenset[str] | None] = frozenset({"eth_sendRawTransaction"})

    def answer(self, request: Request, scene: Scene, proceed: Proceed) -> object:
        """Answer the hash."""
        return data(keccak(parameters.data(parameters.argument(request.arguments, 0))))


class OtherMempool(Rule, frozen=True, kw_only=True):
    """A node that does not know what waits in the mempools of others; what is mined, it knows.

    It finds no transaction that waits, and its `pending` is the head: a nonce that is read here is one that
    a waiting transaction already has.
    """

    concerns: ClassVar[frozenset[str] | None] = frozenset(
        {"eth_getTransactionByHash", *heights.STATE_METHODS, *EMPTY_POOL}
    )

    def answer(self, request: Request, scene: Scene, proceed: Proceed) -> object:
        """Answer as if nothing waited."""
        if request.method in EMPTY_POOL:
            return EMPTY_POOL[request.method]
        if request.method in heights.STATE_METHODS:
            is_pending = heights.named(request) == "pending"
            return proceed(heights.with_named(request, "latest") if is_pending else request)
        result = proceed(request)
        return result if heights.height_shown(result) is not None else None
