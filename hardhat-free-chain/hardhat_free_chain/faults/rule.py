"""What every rule of an endpoint's weather is: a value that says when it strikes, and what it does then.

A rule is middleware: `answer` stands around the execution of one request and may change the request, change
the result, answer itself or raise. `delivery` says what becomes of the reply on its way. Rules hold no state;
what has been counted is kept in `Record` by the weather that they belong to.

Imports no network.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from random import Random
from typing import ClassVar

import msgspec

from hardhat_free_chain.chain import LocalChain
from hardhat_free_chain.errors import RpcError
from hardhat_free_chain.rpc.dispatch import Request

Proceed = Callable[[Request], object]
Notification = dict[str, object] | str


class Ending(StrEnum):
    """How a reply ends on the wire."""

    ANSWERED = "answered"
    LOST = "lost"
    RESET = "reset"
    CUT = "cut"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """An HTTP answer that stands in the reply's place."""

    status: int
    body: bytes
    content_type: str = "text/html"
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What becomes of one reply. Without `executed` the request never reaches the chain.

    `error` is answered in place of every result: over HTTP with its status, over WebSocket in the body.
    A lost reply is never sent; its HTTP connection is held for `hold_s` seconds. The answers of a batch are
    `shuffled`, and each is missing with the chance `missing`.
    """

    wait_before_s: float = 0.0
    wait_after_s: float = 0.0
    executed: bool = True
    ending: Ending = Ending.ANSWERED
    error: RpcError | None = None
    retry_after_s: float | None = None
    answer: HttpAnswer | None = None
    hold_s: float = 0.0
    shuffled: bool = False
    missing: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a rule may look at while it answers."""

    chain: LocalChain
    chance: Random


@dataclass(slots=True, kw_only=True)
class Record:
    """One rule of a weather and what happened to it: requests that it could have struck, and those it struck.

    `window` holds the times, in seconds, of the requests that a rate limit let pass.
    """

    rule: "Rule"
    seen: int = 0
    struck: int = 0
    window: deque[float] = field(default_factory=deque)


class Rule(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    rename="camel",
    tag_field="kind",
    tag=lambda name: name[0].lower() + name[1:],
):
    """When a rule strikes: requests whose method matches one of `methods` (shell patterns; empty means all).

    The first `skip` of them pass, of the others each is struck with `probability`, at most `times` in all.
    """

    concerns: ClassVar[frozenset[str] | None] = None

    methods: tuple[str, ...] = ()
    probability: float = 1.0
    skip: int = 0
    times: int | None = None

    def __post_init__(self) -> None:
        """Check the values. Raises ValueError."""
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability is {self.probability}; give a number from 0 to 1")
        self.check_not_negative(skip=self.skip, times=self.times or 0)
        if self.times == 0:
            raise ValueError("times is 0; give at least 1, or leave it away")
        self.check()

    def check(self) -> None:
        """Check the values of the kind. Raises ValueError."""

    @staticmethod
    def check_not_negative(**values: float) -> None:
        """Raise ValueError for the first value below zero, by name."""
        for name, value in values.items():
            if value < 0:
                raise ValueError(f"{name} is {value}; give 0 or more")

    def applies_to(self, method: str) -> bool:
        """Whether requests of this method are counted and may be struck."""
        if self.concerns is not None and method not in self.concerns:
            return False
        return not self.methods or any(fnmatchcase(method, pattern) for pattern in self.methods)

    def is_due(self, record: Record, now_s: float) -> bool:
        """Whether the rule strikes now, where its counts would let it."""
        return True

    def delivery(self, chance: Random) -> Delivery:
        """What becomes of the reply to a request that was struck."""
        return Delivery()

    def answer(self, request: Request, scene: Scene, proceed: Proceed) -> object:
        """The result of a request that was struck; `proceed` executes one. Raises RpcError."""
        return proceed(request)

    def notification(self, payload: Notification) -> Notification | None:
        """What a subscriber is told in place of `payload`; None for silence."""
        return payload
