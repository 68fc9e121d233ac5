"""The durable boundaries of listener, worker and server, as places to die: the matrix "killed everywhere".

The full matrix dies before and after each of them (the server also inside its transaction), at the first
proposal to come there and at the last. The part that every change is tested with takes each boundary once at
least. `DAO_SCORER_FULL_MATRIX=1` chooses the full one.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tests.acceptance.killing import KillPoint, When

FULL = os.environ.get("DAO_SCORER_FULL_MATRIX") == "1"
RECORDS = os.environ.get("DAO_SCORER_RECORDS") == "1"
"""Whether what is held for the record runs at its full length: `make records`."""
PROPOSALS = 3
Role = Literal["listener", "operator", "worker", "server"]

WAITING = "wait for the vote"
SUSPENDED = "task.suspend .*:d"
"""A scoring waits for its transaction."""
_CLOSING = "ctx.close_commitments"
_STEPS = (
    "read_proposal",
    "policy_in_force",
    "fetch_votes",
    "score_reputations",
    "check_eligibility",
    "calculate_score",
    _CLOSING,
    "read_standing",
    "prepare_transaction",
    "reserve_nonce",
    "sign_transaction",
    "broadcast_transaction",
    "confirm_transaction",
)


def _recorded(name: str) -> tuple[str, str]:
    return f"record {name}", f"record {name} "


LISTENER = (
    ("look for proposals", "rpc eth_getLogs"),
    ("dispatch", "promise.create scoreProposal-"),
    ("move the cursor", "store advance"),
    ("create votingEnded", "promise.create votingEnded-"),
    ("settle votingEnded", "promise.settle votingEnded-"),
    ("note the ended votes", "store record"),
)
INCIDENT = ("record the incident", "store open_incident")
DECISION = ("carry out the decision", "store decide")
SCORING = tuple(_recorded(name) for name in _STEPS[:8])
SENDING = (
    _recorded("prepare_transaction"),
    ("reserve the nonce", "promise.create nonce-"),
    _recorded("reserve_nonce"),
    _recorded("sign_transaction"),
    ("broadcast", "rpc eth_sendRawTransaction"),
    _recorded("broadcast_transaction"),
    ("mark the nonce spent", "promise.settle nonce-"),
    _recorded("confirm_transaction"),
    ("end the transaction", "fulfill send_transaction "),
    ("end the scoring", "fulfill score_proposal "),
)
WORKER = (
    ("claim", "task.acquire scoreProposal-"),
    ("create votingEnded", "promise.create votingEnded-"),
    (WAITING, "task.suspend .* votingEnded-"),
    *SCORING,
    ("start the transaction", "create send_transaction "),
    ("wait for the transaction", SUSPENDED),
    ("claim the transaction", "task.acquire scoreProposal-.*:d"),
    *SENDING,
)
"""In the order in which a proposal comes to them."""
BATCHING = (
    _recorded("read_standing"),
    ("begin the batch", "promise.create submitScores-"),
    _recorded("join_batch"),
    ("wait for the batch", "task.suspend .* sent-"),
    ("claim the batch", "task.acquire submitScores-[^:]*$"),
    ("claim an item", "promise.create inBatch-"),
    _recorded("claim_items"),
    _recorded("sort_items"),
    ("start the transaction", "create send_transaction submitScores-"),
    ("claim the transaction", "task.acquire submitScores-.*:d"),
    *SENDING[:-1],
    _recorded("read_ends"),
    ("make an item's end known", "promise.create sent-"),
    ("end an item", "promise.settle sent-"),
    ("release an item", "promise.settle inBatch-"),
    _recorded("settle_items"),
    ("end the batch", "fulfill send_batch "),
    ("end the scoring", "fulfill score_proposal "),
)
"""What is different where scores go together; a batch comes to most of it once."""
OF_EACH_ITEM = frozenset(
    {
        "record read_standing",
        "record join_batch",
        "wait for the batch",
        "claim an item",
        "make an item's end known",
        "end an item",
        "release an item",
        "end the scoring",
    }
)
_NO_COMMIT = frozenset({"broadcast", WAITING, "wait for the transaction"})
SERVER = tuple(
    (f"commit: {label}", rf"commit \[.*{match}")
    for label, match in (
        ("dispatch", "promise.create scoreProposal-"),
        ("settle votingEnded", "promise.settle votingEnded-"),
        ("wait", "task.suspend "),
        *(boundary for boundary in WORKER if boundary[0] not in _NO_COMMIT),
    )
)
ONCE = frozenset({"move the cursor", "note the ended votes", "look for proposals"})
"""What a listener does for all proposals together here, and so only once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """One case: who dies, at which boundary, and where exactly."""

    role: Role
    boundary: str
    point: KillPoint

    @property
    def step(self) -> str | None:
        """The step whose outcome is written here, if it is one that is executed."""
        name = self.boundary.removeprefix("record ")
        return name if name in _STEPS and name != _CLOSING else None

    def __str__(self) -> str:
        return f"{self.role}, {self.point.when} {self.boundary}, {self.point.nth}"


def _deaths(
    role: Role,
    boundaries: Sequence[tuple[str, str]],
    moments: Sequence[When],
    once: Collection[str] = ONCE,
) -> Iterator[Death]:
    for boundary, match in boundaries:
        for when in moments:
            for nth in (1,) if role == "server" or boundary in once else (1, PROPOSALS):
                yield Death(role=role, boundary=boundary, point=KillPoint(when=when, nth=nth, match=match))


MATRIX = [
    *_deaths("listener", LISTENER, ("before", "after")),
    *_deaths("worker", WORKER, ("before", "after")),
    *_deaths("server", SERVER, ("before", "inside", "after")),
]

INCIDENTS = [
    *_deaths("listener", [INCIDENT], ("before", "after"), {INCIDENT[0]}),
    *_deaths("operator", [DECISION], ("before", "after"), {DECISION[0]}),
]
"""A source is about to be stopped, or to go on by an operator's word."""
BATCHES = list(
    _deaths(
        "worker",
        BATCHING,
        ("before", "after"),
        frozenset(boundary for boundary, _ in BATCHING) - OF_EACH_ITEM,
    )
)
"""A worker dies while it gathers a batch, sends it, or tells its items how that ended."""
_BATCHES_ALWAYS = frozenset(
    {
        ("claim an item", "after", PROPOSALS),
        ("begin the batch", "after", 1),
        ("broadcast", "after", 1),
        ("end an item", "after", 1),
    }
)
BATCH_CASES = [
    death
    for death in BATCHES
    if FULL or (death.boundary, death.point.when, death.point.nth) in _BATCHES_ALWAYS
]

_ALWAYS = frozenset(
    {
        "dispatch",
        "move the cursor",
        "settle votingEnded",
        "record fetch_votes",
        "start the transaction",
        "reserve the nonce",
        "record sign_transaction",
        "broadcast",
        "record confirm_transaction",
        "end the scoring",
    }
)


def _chosen() -> Iterator[Death]:
    """Choose both sides of what matters most, and of every other boundary one side, in turn."""
    first = [death for death in MATRIX if death.point.nth == 1]
    places = list(dict.fromkeys((death.role, death.boundary) for death in first))
    for number, (role, boundary) in enumerate(places):
        here = [death for death in first if (death.role, death.boundary) == (role, boundary)]
        if role != "server" and boundary in _ALWAYS:
            yield from here
        elif role != "server" or number % 2:
            yield here[number % len(here)]


LIVES = [
    KillPoint(when=when, match=match)
    for boundary, match in WORKER
    if boundary != WAITING and (FULL or boundary in _ALWAYS)
    for when in (("before", "after") if FULL else ("after",))
]
"""One death after the other on the way of the same proposals; the vote has ended after the first of them."""

CASES = MATRIX if FULL else list(_chosen())
