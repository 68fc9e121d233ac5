"""The weather of one endpoint: its rules in force, what they have done, and the chance they share.

W1 equal seeds, rules and requests in equal order give equal faults.
W2 the first rule in the list stands outermost: it sees the request first and the result last.

Called from the event loop and from other threads alike; each call is short.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from random import Random

from hardhat_free_chain.chain import LocalChain
from hardhat_free_chain.faults.delivery import NOTIFICATION, SilentSocket
from hardhat_free_chain.faults.replica import StaleHead
from hardhat_free_chain.faults.rule import Delivery, Ending, Notification, Proceed, Record, Rule, Scene


class Weather:
    """What befalls the requests of one endpoint."""

    def __init__(
        self, rules: Iterable[Rule] = (), *, seed: int = 0, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._lock = threading.RLock()
        self._clock_s = clock_s
        self._records: dict[int, Record] = {}
        self._last = 0
        self.seed = seed
        self._chance = Random(seed)  # noqa: S311 - chance that can be repeated is wanted
        for rule in rules:
            self.add(rule)

    def add(self, rule: Rule) -> int:
        """Put a rule in force, innermost; returns its number."""
        with self._lock:
            self._last += 1
            self._records[self._last] = Record(rule=rule)
            return self._last

    def remove(self, number: int) -> bool:
        """End a rule; False if there is none of that number."""
        with self._lock:
            return self._records.pop(number, None) is not None

    def clear(self) -> int:
        """End all rules; returns how many there were."""
        with self._lock:
            count = len(self._records)
            self._records.clear()
            return count

    def replace(self, *rules: Rule, seed: int | None = None) -> list[int]:
        """Put these rules in place of all others; a seed starts chance anew. Returns their numbers."""
        with self._lock:
            self._records.clear()
            if seed is not None:
                self.seed = seed
                self._chance = Random(seed)  # noqa: S311 - as above
            return [self.add(rule) for rule in rules]

    def records(self) -> dict[int, Record]:
        """The rules in force by number, each with what it has done; copies."""
        with self._lock:
            return {
                number: Record(rule=record.rule, seen=record.seen, struck=record.struck)
                for number, record in self._records.items()
            }

    def strikes(self, method: str) -> list[Rule]:
        """Draw the rules that strike one request, in order, and count them (W1, W2)."""
        with self._lock:
            return [record.rule for record in self._records.values() if self._is_struck(record, method)]

    def delivery(self, rules: Sequence[Rule]) -> Delivery:
        """What becomes of the reply when all these rules have struck."""
        with self._lock:
            return reduce(_joined, (rule.delivery(self._chance) for rule in rules), Delivery())

    def layered(self, chain: LocalChain, rules: Sequence[Rule], execute: Proceed) -> Proceed:
        """`execute` with the rules around it (W2). Run the returned function where the chain may be used."""
        scene = Scene(chain=chain, chance=self._chance)
        return reduce(lambda inner, rule: _around(rule, scene, inner), reversed(rules), execute)

    def batch(self, answers: Sequence[bytes], delivery: Delivery) -> list[bytes]:
        """The answers of a batch in the order, and of the number, in which they are sent."""
        with self._lock:
            sent = list(answers)
            if delivery.missing:
                sent = [each for each in sent if self._chance.random() >= delivery.missing]
            if delivery.shuffled:
                self._chance.shuffle(sent)
            return sent

    def notification(self, payload: Notification) -> Notification | None:
        """What a subscriber is told in place of `payload`; None for silence."""
        with self._lock:
            if not self._records:
                return payload
            for record in self._records.values():
                if isinstance(record.rule, SilentSocket) and not self._is_struck(record, NOTIFICATION):
                    continue
                told = record.rule.notification(payload)
                if told is None:
                    return None
                payload = told
            return payload

    @property
    def blocks_behind(self) -> int:
        """How many blocks late subscribers learn of a block."""
        with self._lock:
            rules = [record.rule for record in self._records.values()]
            return max((rule.blocks for rule in rules if isinstance(rule, StaleHead)), default=0)

    def _is_struck(self, record: Record, method: str) -> bool:
        rule = record.rule
        if not rule.applies_to(method) or (rule.times is not None and record.struck >= rule.times):
            return False
        record.seen += 1
        if record.seen <= rule.skip:
            return False
        if rule.probability < 1 and self._chance.random() >= rule.probability:
            return False
        if not rule.is_due(record, self._clock_s()):
            return False
        record.struck += 1
        return True


def _around(rule: Rule, scene: Scene, inner: Proceed) -> Proceed:
    return lambda request: rule.answer(request, scene, inner)


def _joined(one: Delivery, other: Delivery) -> Delivery:
    """Waits add up; of two endings, errors or pages the outer one is seen."""
    return Delivery(
        wait_before_s=one.wait_before_s + other.wait_before_s,
        wait_after_s=one.wait_after_s + other.wait_after_s,
        executed=one.executed and other.executed,
        ending=other.ending if one.ending is Ending.ANSWERED else one.ending,
        error=one.error or other.error,
        retry_after_s=one.retry_after_s if one.error else other.retry_after_s,
        answer=one.answer or other.answer,
        hold_s=max(one.hold_s, other.hold_s),
        shuffled=one.shuffled or other.shuffled,
        missing=max(one.missing, other.missing),
    )


def joined(deliveries: Iterable[Delivery]) -> Delivery:
    """What becomes of one body that answers several requests."""
    return reduce(_joined, deliveries, Delivery())
