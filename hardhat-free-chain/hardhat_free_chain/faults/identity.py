"""Endpoints that disagree: about block hashes, about time, or about the chain itself."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

from eth_hash.auto import keccak

from hardhat_free_chain.errors import TransactionRejected
from hardhat_free_chain.faults import heights
from hardhat_free_chain.faults.rule import Notification, Proceed, Rule, Scene
from hardhat_free_chain.formats import data, quantity
from hardhat_free_chain.rpc.dispatch import Request

SENDING = frozenset({"eth_sendRawTransaction", "eth_sendTransaction"})
HASH_FIELDS = ("hash", "parentHash", "blockHash")


class WrongHashes(Rule, frozen=True, kw_only=True):
    """The blocks from height `since` on have other hashes here, always the same ones for one `salt`.

    Blocks, receipts, transactions, logs and subscriptions agree with each other, and blocks can be asked
    for by these hashes: the endpoint is on a fork of its own.
    """

    since: int = 0
    salt: str = "fork"

    def check(self) -> None:
        """Refuse heights below zero."""
        self.check_not_negative(since=self.since)

    def answer(self, request: Request, scene: Scene, proceed: Proceed) -> object:
        """Translate hashes in the question and in the answer."""

        def real(value: Any) -> Any:
            known = isinstance(value, str) and heights.height_of_hash(scene.chain, self._turned(value))
            return self._turned(value) if known is not None and known is not False else value

        def asked(value: Any) -> Any:
            if isinstance(value, dict) and "blockHash" in value:
                return {**value, "blockHash": real(value["blockHash"])}
            return real(value)

        arguments = request.arguments
        if request.method not in heights.TRANSACTION_METHODS:
            arguments = [asked(each) for each in arguments]
        return self._shown(proceed(replace(request, arguments=arguments)))

    def notification(self, payload: Notification) -> Notification | None:
        """Translate the hashes of a head or log."""
        shown: Notification = self._shown(payload)
        return shown

    def _shown(self, result: Any) -> Any:
        if isinstance(result, list):
            return [self._shown(each) for each in result]
        if not isinstance(result, dict):
            return result
        height = heights.height_shown(result)
        if height is None or height < self.since:
            return result
        changed = {name: self._turned_if(name, result, height) for name in HASH_FIELDS if name in result}
        inner = {name: self._shown(result[name]) for name in ("transactions", "logs") if name in result}
        return {**result, **changed, **inner}

    def _turned_if(self, name: str, result: dict[str, Any], height: int) -> Any:
        value = result[name]
        # The hash of a transaction is its own; the parent of the first changed block is not changed.
        is_block = "parentHash" in result
        keep = (name == "hash" and not is_block) or (name == "parentHash" and height <= self.since)
        return value if keep or value is None else self._turned(value)

    def _turned(self, value: str) -> str:
        """The other hash; applied twice, the hash itself."""
        try:
            raw = bytes.fromhex(value[2:])
        except ValueError:
            return value
        if len(raw) != 32:
            return value
        mask = keccak(self.salt.encode())
        return data(bytes(one ^ other for one, other in zip(raw, mask, strict=True)))


class SkewedClock(Rule, frozen=True, kw_only=True):
    """Blocks have timestamps `seconds` later here, or earlier if negative; contracts see the real ones."""

    concerns: ClassVar[frozenset[str] | None] = frozenset({"eth_getBlockByNumber", "eth_getBlockByHash"})

    seconds: int

    def answer(self, request: Request, scene: Scene, proceed: Proceed) -> object:
        """Move the timestamp."""
        return self._moved(proceed(request))

    def notification(self, payload: Notification) -> Notification | None:
        """Move the timestamp of a head."""
        moved: Notification = self._moved(payload)
        return moved

    def _moved(self, block: Any) -> Any:
        if not isinstance(block, dict) or "timestamp" not in block:
            return block
        return {**block, "timestamp": quantity(max(0, int(block["timestamp"], 16) + self.seconds))}


class OtherChain(Rule, frozen=True, kw_only=True):
    """The URL serves another chain: its id is `chain_id`, and transactions for the former one are refused.

    `skip` and `times` count requests of all methods: the change may come in the middle of a conversation. The
    blocks are different ones as well.
    """

    chain_id: int

    def check(self) -> None:
        """Refuse what is no chain id."""
        if self.chain_id < 1:
            raise ValueError(f"chainId is {self.chain_id}; give at least 1")

    def answer(self, request: Request, scene: Scene, proceed: Proceed) -> object:
        """Answer for the other chain."""
        fixed: dict[str, Callable[[], object]] = {
            "eth_chainId": lambda: quantity(self.chain_id),
            "net_version": lambda: str(self.chain_id),
        }
        if request.method in fixed:
            return fixed[request.method]()
        if request.method in SENDING:
            raise TransactionRejected(
                "invalid sender: invalid chain id for signer: "
                f"have {scene.chain.chain_id} want {self.chain_id}"
            )
        return WrongHashes(salt=f"chain {self.chain_id}").answer(request, scene, proceed)
