"""Faults of the way between client and node: late, lost, cut and refused replies, and silent WebSockets."""

from random import Random
from typing import ClassVar, Literal

from hardhat_free_chain.errors import ScriptedError
from hardhat_free_chain.faults.rule import Delivery, Ending, HttpAnswer, Notification, Record, Rule

NOTIFICATION = "eth_subscription"


class Latency(Rule, frozen=True, kw_only=True):
    """Each reply takes `seconds` longer, and up to `jitter` seconds besides.

    With `where` "request" the time passes before the request reaches the chain, with "reply" after.
    """

    seconds: float
    jitter: float = 0.0
    where: Literal["request", "reply"] = "reply"

    def check(self) -> None:
        """Refuse times that run backwards."""
        self.check_not_negative(seconds=self.seconds, jitter=self.jitter)

    def delivery(self, chance: Random) -> Delivery:
        """Wait on the way in or on the way out."""
        wait_s = self.seconds + self.jitter * chance.random()
        return Delivery(wait_before_s=wait_s) if self.where == "request" else Delivery(wait_after_s=wait_s)


class LostReply(Rule, frozen=True, kw_only=True):
    """No reply ever comes; with `executed` the request was carried out all the same.

    Over HTTP the connection stays open for `hold` seconds and is then closed; over WebSocket only the answer
    is missing.
    """

    executed: bool = True
    hold: float = 30.0

    def check(self) -> None:
        """Refuse a time that runs backwards."""
        self.check_not_negative(hold=self.hold)

    def delivery(self, chance: Random) -> Delivery:
        """Say nothing."""
        return Delivery(executed=self.executed, ending=Ending.LOST, hold_s=self.hold)


class ConnectionReset(Rule, frozen=True, kw_only=True):
    """The connection is reset in place of a reply; with `executed` the request was carried out."""

    executed: bool = False

    def delivery(self, chance: Random) -> Delivery:
        """Reset the connection."""
        return Delivery(executed=self.executed, ending=Ending.RESET)


class CutReply(Rule, frozen=True, kw_only=True):
    """Half of the reply arrives, then the connection ends; the request was carried out."""

    def delivery(self, chance: Random) -> Delivery:
        """Send half."""
        return Delivery(ending=Ending.CUT)


class BrokenBatch(Rule, frozen=True, kw_only=True):
    """Answers of a batch come in any order, as the standard allows; each is `missing` with this chance."""

    shuffled: bool = True
    missing: float = 0.0

    def check(self) -> None:
        """Refuse what is no chance."""
        if not 0 <= self.missing <= 1:
            raise ValueError(f"missing is {self.missing}; give a number from 0 to 1")

    def delivery(self, chance: Random) -> Delivery:
        """Shuffle, and leave away."""
        return Delivery(shuffled=self.shuffled, missing=self.missing)


class HttpFailure(Rule, frozen=True, kw_only=True):
    """An HTTP answer that is no JSON-RPC: a gateway's 503, or with status 200 a page of HTML.

    A WebSocket client sees its connection reset instead.
    """

    status: int = 503
    body: str = "<html><body><h1>503 Service Temporarily Unavailable</h1></body></html>"
    content_type: str = "text/html"
    retry_after: float | None = None
    executed: bool = False

    def check(self) -> None:
        """Refuse what is no status of an answer."""
        if not 200 <= self.status <= 599:
            raise ValueError(f"status is {self.status}; give 200 to 599")

    def delivery(self, chance: Random) -> Delivery:
        """Answer with this page."""
        answer = HttpAnswer(
            status=self.status,
            body=self.body.encode(),
            content_type=self.content_type,
            retry_after_s=self.retry_after,
        )
        return Delivery(executed=self.executed, answer=answer)


class RateLimit(Rule, frozen=True, kw_only=True):
    """HTTP 429 with Retry-After for what exceeds `requests` in any `seconds`; with 0 requests for everything.

    `code` and `message` are those of the JSON-RPC error in the body, by default Infura's. Without
    `retry_after` there is no such header.
    """

    requests: int = 0
    seconds: float = 1.0
    retry_after: float | None = 1.0
    code: int = -32005
    message: str = "daily request count exceeded, request rate limited"

    def check(self) -> None:
        """Refuse windows that have no length."""
        self.check_not_negative(requests=self.requests, retry_after=self.retry_after or 0)
        if self.seconds <= 0:
            raise ValueError(f"seconds is {self.seconds}; give more than 0")

    def is_due(self, record: Record, now_s: float) -> bool:
        """Whether the window is full; what fits is counted."""
        window = record.window
        while window and window[0] <= now_s - self.seconds:
            window.popleft()
        if len(window) >= self.requests:
            return True
        window.append(now_s)
        return False

    def delivery(self, chance: Random) -> Delivery:
        """Refuse without carrying out."""
        error = ScriptedError(self.code, self.message, status=429)
        return Delivery(executed=False, error=error, retry_after_s=self.retry_after)


class SilentSocket(Rule, frozen=True, kw_only=True):
    """Subscriptions over WebSocket fall silent after `skip` notifications; requests are still answered."""

    concerns: ClassVar[frozenset[str] | None] = frozenset({NOTIFICATION})

    def notification(self, payload: Notification) -> Notification | None:
        """Say nothing."""
        return None
