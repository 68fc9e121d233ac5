"""Faults of eth_getLogs: ranges that are refused, and answers from which logs are missing."""

from typing import ClassVar

from hardhat_free_chain.errors import ScriptedError
from hardhat_free_chain.faults import heights
from hardhat_free_chain.faults.providers import RANGE_WORDS, Words
from hardhat_free_chain.faults.rule import Proceed, Rule, Scene
from hardhat_free_chain.rpc.dispatch import Request


class RangeLimit(Rule, frozen=True, kw_only=True):
    """A provider's limit of eth_getLogs, `blocks` wide or with `results` logs at most, refused in its words.

    `provider` is one of RANGE_WORDS: alchemy, ankr, besu, bsc, cloudflare, drpc, geth, infura, publicnode,
    quicknode, reth.
    """

    concerns: ClassVar[frozenset[str] | None] = heights.LOG_METHODS

    provider: str = "geth"
    blocks: int | None = None
    results: int | None = None

    def check(self) -> None:
        """Refuse unknown providers, and limits for which the provider has no words."""
        words = RANGE_WORDS.get(self.provider)
        if words is None:
            raise ValueError(f"no provider {self.provider!r}; give one of {', '.join(RANGE_WORDS)}")
        if self.blocks is None and self.results is None:
            raise ValueError("give blocks or results")
        for name, limit, known in (
            ("blocks", self.blocks, words.by_blocks),
            ("results", self.results, words.by_results),
        ):
            if limit is not None and known is None:
                raise ValueError(f"{self.provider} does not limit {name}; give another provider")
            if limit is not None and limit < 1:
                raise ValueError(f"{name} is {limit}; give at least 1")

    def answer(self, request: Request, scene: Scene, proceed: Proceed) -> object:
        """Refuse what is too wide or too much."""
        fields = heights.log_fields(request)
        if fields is None:
            return proceed(request)
        start = heights.height_of(scene.chain, fields.get("fromBlock"))
        stop = heights.height_of(scene.chain, fields.get("toBlock"))
        if start is None or stop is None or start > stop:
            return proceed(request)
        words = RANGE_WORDS[self.provider]
        # Providers count the blocks that were asked for, whether they exist or not.
        if self.blocks is not None and words.by_blocks and stop - start + 1 > self.blocks:
            raise _refusal(words.by_blocks, self.blocks, start, stop, start + self.blocks - 1)
        result = proceed(request)
        if self.results is None or not words.by_results:
            return result
        if isinstance(result, list) and len(result) > self.results:
            first_too_many = int(result[self.results]["blockNumber"], 16)
            raise _refusal(words.by_results, self.results, start, stop, max(start, first_too_many - 1))
        return result


def _refusal(words: Words, limit: int, start: int, stop: int, fits: int) -> ScriptedError:
    data = {"from": hex(start), "limit": limit, "to": hex(fits)} if words.has_data else None
    text = words.text.format(limit=limit, start=start, stop=stop, fits=fits)
    return ScriptedError(words.code, text, data, status=words.status)


class TruncatedLogs(Rule, frozen=True, kw_only=True):
    """An answer of eth_getLogs from which logs are missing, without a word about it.

    Either the first `keep` are left (with 0, none), or each is missing with the chance `share`.
    """

    concerns: ClassVar[frozenset[str] | None] = heights.LOG_METHODS

    keep: int | None = None
    share: float | None = None

    def check(self) -> None:
        """Refuse both choices at once, and none."""
        if (self.keep is None) == (self.share is None):
            raise ValueError("give one of keep and share")
        self.check_not_negative(keep=self.keep or 0, share=self.share or 0)

    def answer(self, request: Request, scene: Scene, proceed: Proceed) -> object:
        """Leave logs away."""
        result = proceed(request)
        if not isinstance(result, list):
            return result
        if self.keep is not None:
            return result[: self.keep]
        return [log for log in result if scene.chance.random() >= (self.share or 0)]
