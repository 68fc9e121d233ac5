"""Nodes that do not keep everything: old states (no archive) or old history (EIP-4444) are gone."""

from typing import ClassVar

from hardhat_free_chain.errors import ScriptedError
from hardhat_free_chain.faults import heights
from hardhat_free_chain.faults.providers import HISTORY_WORDS, STATE_WORDS, Words
from hardhat_free_chain.faults.rule import Proceed, Rule, Scene
from hardhat_free_chain.formats import data
from hardhat_free_chain.rpc.dispatch import Request

SILENT = "silent"


class PrunedState(Rule, frozen=True, kw_only=True):
    """A node that keeps the states of the latest `keep` blocks only, as go-ethereum without an archive does.

    `words` is one of STATE_WORDS: geth, geth-path, besu, erigon, infura, nethermind, publicnode, reth.
    """

    concerns: ClassVar[frozenset[str] | None] = frozenset(heights.STATE_METHODS)

    keep: int = 128
    words: str = "geth"

    def check(self) -> None:
        """Refuse unknown words."""
        self.check_not_negative(keep=self.keep)
        if self.words not in STATE_WORDS:
            raise ValueError(f"no words {self.words!r}; give one of {', '.join(STATE_WORDS)}")

    def answer(self, request: Request, scene: Scene, proceed: Proceed) -> object:
        """Refuse to read an old state."""
        height = heights.height_of(scene.chain, heights.named(request))
        if height is None or height > scene.chain.ledger.height - self.keep:
            return proceed(request)
        block = scene.chain.ledger.at(height)
        raise _refusal(STATE_WORDS[self.words], height, block.hash, block.header.state_root)


class PrunedHistory(Rule, frozen=True, kw_only=True):
    """A node that has no blocks, receipts and logs below `before`.

    `words` is one of HISTORY_WORDS (eip-4444, erigon), or `silent` for null and empty lists.
    """

    concerns: ClassVar[frozenset[str] | None] = frozenset(
        {*heights.NUMBER_METHODS}
        | heights.BLOCK_HASH_METHODS
        | heights.TRANSACTION_METHODS
        | heights.LOG_METHODS
    )

    before: int
    words: str = "eip-4444"

    def check(self) -> None:
        """Refuse unknown words."""
        self.check_not_negative(before=self.before)
        if self.words != SILENT and self.words not in HISTORY_WORDS:
            raise ValueError(f"no words {self.words!r}; give one of {SILENT}, {', '.join(HISTORY_WORDS)}")

    def answer(self, request: Request, scene: Scene, proceed: Proceed) -> object:
        """Refuse to show old blocks; their transactions are not indexed any more."""
        method = request.method
        if method in heights.TRANSACTION_METHODS:
            result = proceed(request)
            height = heights.height_shown(result)
            return None if height is not None and height < self.before else result
        if method in heights.LOG_METHODS:
            return self._logs(request, scene, proceed)
        if method in heights.BLOCK_HASH_METHODS:
            height = heights.height_of_hash(scene.chain, request.arguments[0] if request.arguments else None)
        else:
            height = heights.height_of(scene.chain, heights.named(request))
        if height is None or height >= self.before:
            return proceed(request)
        return self._nothing(None)

    def _logs(self, request: Request, scene: Scene, proceed: Proceed) -> object:
        fields = heights.log_fields(request)
        start = None if fields is None else heights.height_of(scene.chain, fields.get("fromBlock"))
        if start is not None and start >= self.before:
            return proceed(request)
        result = proceed(request)
        if not isinstance(result, list):
            return result
        if start is None and not any((heights.height_shown(log) or 0) < self.before for log in result):
            return result
        return self._nothing([log for log in result if (heights.height_shown(log) or 0) >= self.before])

    def _nothing(self, silence: object) -> object:
        if self.words == SILENT:
            return silence
        words = HISTORY_WORDS[self.words]
        raise ScriptedError(words.code, words.text, status=words.status)


def _refusal(words: Words, number: int, block_hash: bytes, root: bytes) -> ScriptedError:
    text = words.text.format(number=number, hash=data(block_hash), root=root.hex())
    return ScriptedError(words.code, text, status=words.status)
