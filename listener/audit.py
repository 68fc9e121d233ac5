"""Answers about ranges of logs, held against the bloom filters of their blocks, in both directions.

C1 leans on it: what a node leaves out of an answer is noticed by a filter that tells of it, and what a node
adds by a filter that rules it out. A filter also allows logs that are not there, in busy blocks often, so it
alone proves nothing: all logs of the block do, which have to account for every bit of it.

Every block whose header is at hand is looked at, and of the others a sample (or all, as the settings say).
Where logs were hidden the range is read again; if they are hidden again, every block of it is looked at and
what is missing is taken from the blocks themselves: a node's damaged index stops nobody for ever.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import structlog

from contracts.bindings import Log
from contracts.rpc import (
    BlockHeader,
    LogsIncomplete,
    Node,
    NodeUnavailable,
    bloom,
    fullest_logs,
)
from listener.dispatch import in_groups
from listener.errors import FiltersContradicted
from listener.settings import FilterCheck, ListenerSettings
from listener.shapes import Shape

SAMPLE_BLOCKS = 8
"""So many blocks of a range are looked at that brought no logs, beside those at hand."""
SAMPLE_EVENTFUL = 2
"""And so many that did."""
SCRUTINY_BLOCKS = 256
"""The width of a range of which every block is looked at."""
TOGETHER = 16
_log = structlog.get_logger("listener")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a node answered about the blocks `first` to `last`, and the headers of those that are at hand."""

    first: int
    last: int
    logs: Sequence[Log]
    headers: Sequence[BlockHeader]


class LogAudit:
    """Holds the answers about one source against filters. `hidden` counts the logs that were left out."""

    def __init__(self, node: Node, settings: ListenerSettings, shape: Shape) -> None:
        self._node = node
        self._settings = settings
        self._topics = [list(shape.topics)]
        self._filters_kept = False
        self._lied_from = -1
        self._scrutinised_to = -1
        self._suspects: set[int] = set()
        self._contradicted = 0
        self.hidden = 0

    def blocks_max(self, first: int) -> int:
        """Return how many blocks from `first` on may be asked about at once."""
        return SCRUTINY_BLOCKS if self._every_from(first) else self._settings.range_blocks

    async def complete(self, answer: Answer) -> list[Log]:
        """Return the logs that were answered, and in their places those that were left out.

        Raises NodeUnavailable where the answer is not to be believed, FiltersContradicted where that lasts,
        and RpcError where a node does not tell.
        """
        if self._settings.filter_check is FilterCheck.OFF:
            return list(answer.logs)
        try:
            missed = await self._missed(answer)
        except (_Contradiction, LogsIncomplete) as error:
            raise self._once_more(error.block_number, error.reason) from error
        if missed:
            self._judge(answer, missed)
        self._contradicted = 0
        self._suspects -= set(range(answer.first, answer.last + 1))
        return sorted([*answer.logs, *missed], key=lambda log: (log.block_number, log.log_index))

    async def _missed(self, answer: Answer) -> list[Log]:
        told: defaultdict[int, list[Log]] = defaultdict(list)
        for log in answer.logs:
            told[log.block_number].append(log)
        missed: list[Log] = []

        async def look(header: BlockHeader) -> None:
            missed.extend(await self._missed_of(header, told.get(header.number, [])))

        await in_groups(answer.headers, TOGETHER, look)
        numbers = self._others(answer, told)
        for start in range(0, len(numbers), TOGETHER):
            headers = await self._node.headers(numbers[start : start + TOGETHER])
            await in_groups(headers, TOGETHER, look)
        return missed

    def _judge(self, answer: Answer, missed: Sequence[Log]) -> None:
        """Raise NodeUnavailable, unless the node was asked again and every block was looked at."""
        numbers = sorted({log.block_number for log in missed})
        again, scrutiny = self._lied_from == answer.first, answer.first <= self._scrutinised_to
        self._lied_from = answer.first
        self._suspects.update(numbers)
        if not (scrutiny or (again and self._every_from(answer.first))):
            if again:
                self._scrutinised_to = answer.last
            count = sum(log.block_number == numbers[0] for log in missed)
            reason = f"it answered no logs for block {numbers[0]}, which has {count}"
            raise NodeUnavailable(self._node.endpoint, reason)
        # What lied here will lie on.
        self._scrutinised_to = max(self._scrutinised_to, answer.last + SCRUTINY_BLOCKS)
        self.hidden += len(missed)
        _log.warning("hidden_logs_found", blocks=numbers[:10], logs=len(missed), endpoint=self._node.endpoint)

    def _every_from(self, first: int) -> bool:
        return self._settings.filter_check is FilterCheck.ALL or first <= self._scrutinised_to

    def _others(self, answer: Answer, told: Iterable[int]) -> list[int]:
        """Return the blocks to look at whose headers are not at hand."""
        at_hand = {header.number for header in answer.headers}
        numbers = [each for each in range(answer.first, answer.last + 1) if each not in at_hand]
        if self._every_from(answer.first) or len(numbers) <= SAMPLE_BLOCKS + SAMPLE_EVENTFUL:
            return numbers
        # The same range gives the same blocks: a run can be repeated, and nobody pays twice for one look.
        chance = random.Random(f"{self._settings.source} {answer.first} {answer.last}")  # noqa: S311
        eventful = sorted(set(told) & set(numbers))
        silent = sorted(set(numbers) - set(told))
        chosen = self._suspects & set(numbers)
        for blocks, count in (eventful, SAMPLE_EVENTFUL), (silent, SAMPLE_BLOCKS):
            chosen |= set(chance.sample(blocks, min(count, len(blocks))))
        return sorted(chosen)

    async def _missed_of(self, header: BlockHeader, told: Sequence[Log]) -> list[Log]:
        """Return the logs of a block that were not told. Raises _Contradiction for one that cannot be."""
        if any(log.block_hash != header.hash for log in told):
            header = await self._node.header(header.number)  # What was at hand may have been replaced.
        if any(log.block_hash != header.hash for log in told):
            raise _Contradiction(header.number, "its logs and its headers disagree about the hash of")
        filtered = header.logs_bloom
        if filtered is None or not self._tells(filtered):
            return []
        for log in told:
            if not bloom.may_contain(filtered, log.address, log.topics):
                raise _Contradiction(header.number, "it answered a log that is ruled out by the filter of")
        if told and header.number > self._scrutinised_to:
            return []
        if not bloom.may_contain(filtered, self._settings.dao, self._topics):
            return []
        # BlockMissing, for a block that did not stay, is raised as well: the range is read again.
        whole = await fullest_logs(self._node, self._settings.dao, self._topics, header)
        return [log for log in whole if log not in told]

    def _tells(self, filtered: bytes) -> bool:
        """Tell whether a filter says anything: an empty one does where others of the chain are not."""
        self._filters_kept = self._filters_kept or bloom.is_used(filtered)
        return bloom.is_used(filtered) or (self._filters_kept and not any(filtered))

    def _once_more(self, number: int, reason: str) -> NodeUnavailable | FiltersContradicted:
        """Return the error for an answer that is not believed, at first and when it has been given often."""
        self._contradicted += 1
        self._suspects.add(number)
        if self._contradicted < self._settings.reorg_looks:
            return NodeUnavailable(self._node.endpoint, reason)
        self._contradicted = 0
        return FiltersContradicted(number, self._node.endpoint, reason)


class _Contradiction(Exception):
    """What was answered about a block and its header cannot both be true."""

    def __init__(self, block_number: int, claim: str) -> None:
        super().__init__(block_number, claim)
        self.block_number = block_number
        self.reason = f"{claim} block {block_number}"
