"""Which logical transaction a nonce belongs to: one durable promise a nonce, created once and never moved.

Invariants: S3 one nonce belongs to one logical transaction. The store's create-if-absent (P2) decides between
any number of workers with the same key; no counter is kept anywhere, so none can run ahead of the chain.
A key with which somebody else signs is halted by a promise, too: an operator settles it to go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from contracts.transactions.values import Wait
from orchestrator import Orchestrator, PromiseRecord, PromiseState, Refused, Value

SCAN_MAX = 10_000
READ_TOGETHER = 100
SERVED_MAX = 64
"""So many who stand in line are served by one of them."""
OWNER_HEADER = "logical-transaction"
"""The header of a claim's param that names its owner; plain, so that anyone who reads the store sees it."""
WORKFLOW_HEADER = "workflow"
"""The header that names the promise of the workflow which sends for the owner."""
NONCE_HEADER = "nonce"
COST_HEADER = "cost-max"
"""The header of a claim's param with the most that its first offer will cost, in wei."""
TRANSACTION_HEADER = "transaction"
"""The header of a used nonce's value that names the transaction which the chain finalised, if it is ours."""
FEE_HEADER = "fee"
"""The header of a used nonce's value with what was paid, in wei."""
SENDER_TAG = "sender"
"""The tag by which the claims of a key are found: `{chain}-{address}`."""
CLAIM_TAG, CLAIM_OF_NONCE = "claim", "nonce"
"""The tag by which the claims of all keys are found."""
KNOWN_MAX = 50_000
_NOT_FOUND = 404


class TooManyClaims(Exception):
    """No free nonce within reach: the earlier ones were claimed and none of them reaches the chain."""

    def __init__(self, address: str, first: int) -> None:
        super().__init__(address, first)
        self.address = address
        self.first = first

    def __str__(self) -> str:
        return (
            f"{SCAN_MAX} nonces of {self.address} from {self.first} on are claimed and not used: "
            "look at the transaction that waits with the lowest one"
        )


class ForeignClaim(Exception):
    """A promise with the id of a nonce was created by something else, and names no owner."""

    def __init__(self, promise_id: str) -> None:
        super().__init__(promise_id)
        self.promise_id = promise_id

    def __str__(self) -> str:
        return f"the promise {self.promise_id} names no logical transaction: something else has created it"


def nonce_promise_id(chain_id: int, address: str, nonce: int) -> str:
    """Return the id of the promise that a nonce's owner is named in."""
    return f"nonce-{chain_id}-{address.lower()}-{nonce}"


def halt_promise_id(chain_id: int, address: str, number: int) -> str:
    """Return the id of the promise that stands for the `number`-th halt of a key, from 1."""
    return f"keyHalted-{chain_id}-{address.lower()}-{number}"


def follower_id(promise_id: str) -> str:
    """Return the id of the workflow that follows a nonce's confirmed transaction until it is final."""
    return f"follow-{promise_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Who asks for a nonce.

    `workflow_id` is the promise of the workflow that sends the logical transaction, `cost` the most, in wei,
    that it will pay at the price of its first offer.
    """

    chain_id: int
    address: str
    logical_id: str
    workflow_id: str
    cost: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Up to where a key may claim: nonces below `border`, `budget` wei since `since_ms` (Unix) if any."""

    border: int
    budget: int | None = None
    since_ms: int = 0


class _Asking:
    """Who stands in line for a nonce of a key, and the one that was claimed for it."""

    __slots__ = ("claim", "first", "limits", "nonce")

    def __init__(self, claim: Claim, first: int, limits: Limits) -> None:
        self.claim = claim
        self.first = first
        self.limits = limits
        self.nonce: int | None = None

    def may_follow(self, owners: Mapping[int, str], free: int, border: int) -> bool:
        """Tell whether it may have one from `free` to `border`, has none, and has no budget to be counted."""
        limits, own = self.limits, self.claim.logical_id
        if limits.budget is not None or limits.border < border or self.first > free:
            return False
        below = all(owners.get(nonce, own) != own for nonce in range(self.first, free))
        return below and all(owners.get(nonce) != own for nonce in range(free, border))


class NonceBook:
    """The claims on nonces, in the store of the application itself.

    Who has claimed a nonce never changes, so that this process asks for each only once.
    """

    def __init__(self, app: Orchestrator) -> None:
        self._app = app
        self._owners: dict[tuple[int, str], dict[int, str]] = {}
        self._spent: dict[str, tuple[int, int]] = {}
        self._locks: dict[tuple[int, str], asyncio.Lock] = {}
        self._lines: dict[tuple[int, str], list[_Asking]] = {}

    async def reserve(self, claim: Claim, *, first: int, limits: Limits) -> int | Wait:
        """Return the lowest nonce from `first` on that is, or becomes, this logical transaction's.

        Doing it again returns the same nonce, as long as `first` has not passed it, whatever the limits are
        by then; they only keep it from claiming another. Raises TooManyClaims.
        """
        key = (claim.chain_id, claim.address)
        asking = _Asking(claim, first, limits)
        line = self._lines.setdefault(key, [])
        line.append(asking)
        try:
            async with self._locks.setdefault(key, asyncio.Lock()):
                if asking.nonce is None:
                    line.remove(asking)
                    waiting = [each for each in line if each.nonce is None]
                    found = await self._reserved(key, asking)
                    if isinstance(found, Wait):
                        return found
                    asking.nonce = found
                    await self._serve(key, asking, found + 1, waiting)
        finally:
            if asking in line:
                line.remove(asking)
        return asking.nonce

    async def _reserved(self, key: tuple[int, str], asking: _Asking) -> int | Wait:
        claim, first = asking.claim, asking.first
        owners = self._known(key, first)
        await self._look_around(owners, asking)
        # Looked for first: below it may be a nonce whose claim failed while a later one was made.
        for nonce in range(first, asking.limits.border):
            if owners.get(nonce) == claim.logical_id:
                return nonce
        for nonce in range(first, first + SCAN_MAX):
            if nonce in owners and owners[nonce] != claim.logical_id:
                continue
            found = await self._claimed(claim, nonce, asking.limits)
            if isinstance(found, Wait):
                return found
            owners[nonce] = found
            if found == claim.logical_id:
                return nonce
        raise TooManyClaims(claim.address, first)

    async def _look_around(self, owners: dict[int, str], asking: _Asking) -> None:
        """Read whose the nonces are that may be claimed now, as far as that is not known."""
        unknown = [nonce for nonce in range(asking.first, asking.limits.border) if nonce not in owners]
        for start in range(0, len(unknown), READ_TOGETHER):
            chunk = unknown[start : start + READ_TOGETHER]
            found = await asyncio.gather(*(self._owner(asking.claim, nonce) for nonce in chunk))
            owners.update(
                (nonce, owner) for nonce, owner in zip(chunk, found, strict=True) if owner is not None
            )

    async def _serve(
        self, key: tuple[int, str], leader: _Asking, free: int, waiting: Sequence[_Asking]
    ) -> None:
        """Claim for those who stand in line, too, from `free` on: together they cost one commit.

        `waiting` stood there before the leader looked around: what another worker may have claimed for them,
        with an answer that was lost, lies behind that look. Only where the leader has seen nothing claimed
        from there on, and for whom nothing is: no logical transaction gets a second nonce. Whoever is not
        served, for whatever reason, comes to its own turn.
        """
        owners, border = self._owners.get(key, {}), leader.limits.border
        if any(nonce in owners for nonce in range(free, border)):
            return
        still = [each for each in waiting if each in self._lines[key]]
        # By name: one whose lease was lost may stand here twice.
        ready = {each.claim.logical_id: each for each in still if each.may_follow(owners, free, border)}
        served = list(zip(range(free, border), list(ready.values())[:SERVED_MAX], strict=False))
        made = await asyncio.gather(
            *(self._claim(each.claim, nonce) for nonce, each in served), return_exceptions=True
        )
        for (nonce, asking), record in zip(served, made, strict=True):
            if isinstance(record, BaseException):
                continue
            owners[nonce] = _header(record, OWNER_HEADER) or ""
            if owners[nonce] == asking.claim.logical_id:
                asking.nonce = nonce

    def _known(self, key: tuple[int, str], first: int) -> dict[int, str]:
        known = self._owners.get(key, {})
        if len(known) > KNOWN_MAX:
            known = {nonce: owner for nonce, owner in known.items() if nonce >= first}
        self._owners[key] = known
        return known

    async def _owner(self, claim: Claim, nonce: int) -> str | None:
        """Return whose a nonce is, None while it is nobody's."""
        promise_id = nonce_promise_id(claim.chain_id, claim.address, nonce)
        found = await self._found(promise_id)
        if found is None:
            return None
        owner = _header(found, OWNER_HEADER)
        if owner is None:
            raise ForeignClaim(promise_id)
        return owner

    async def _claimed(self, claim: Claim, nonce: int, limits: Limits) -> str | Wait:
        """Claim a nonce if it is nobody's and the limits let us; return whose it is now."""
        limited = nonce >= limits.border or limits.budget is not None
        owner = await self._owner(claim, nonce) if limited else None
        if owner is not None:
            return owner
        if nonce >= limits.border:
            return Wait.IN_FLIGHT
        if limits.budget is not None:
            spent = await self.spent_before(claim, nonce, since_ms=limits.since_ms)
            if spent + claim.cost > limits.budget:
                return Wait.GAS_BUDGET
        made = await self._claim(claim, nonce)
        return _header(made, OWNER_HEADER) or ""

    async def spent_before(self, claim: Claim, nonce: int, *, since_ms: int) -> int:
        """Return what a key has paid since a moment with nonces below `nonce`, or will at most, in wei."""
        total = 0
        for earlier in range(nonce - 1, -1, -1):
            promise_id = nonce_promise_id(claim.chain_id, claim.address, earlier)
            at_ms, cost = self._spent.get(promise_id) or await self._read_cost(promise_id)
            # A nonce without a claim was used before this store kept them, or was given back by a reorg.
            if at_ms < since_ms:
                break
            total += cost
        return total

    async def _read_cost(self, promise_id: str) -> tuple[int, int]:
        found = await self._found(promise_id)
        if found is None:
            return -1, 0
        fee = (found.value.headers or {}).get(FEE_HEADER)
        cost = int(fee or _header(found, COST_HEADER) or 0)
        if not found.pending:
            if len(self._spent) > KNOWN_MAX:
                self._spent.clear()
            self._spent[promise_id] = (found.created_at, cost)
        return found.created_at, cost

    async def _found(self, promise_id: str) -> PromiseRecord | None:
        try:
            return await self._app.promises.get(promise_id)
        except Refused as refusal:
            if refusal.status != _NOT_FOUND:
                raise
            return None

    async def spent(
        self, *, chain_id: int, address: str, nonce: int, transaction_hash: str | None, fee: int | None = None
    ) -> None:
        """Note that the chain finalised a transaction of this nonce, None for one that is not ours.

        `fee` is what was paid for it, in wei, where that is known.
        """
        promise_id = nonce_promise_id(chain_id, address, nonce)
        headers = {TRANSACTION_HEADER: transaction_hash or "", FEE_HEADER: "" if fee is None else str(fee)}
        told = {name: text for name, text in headers.items() if text}
        await self._app.promises.resolve(promise_id, Value(headers=told or None))

    async def in_flight(self, chain_id: int, address: str, *, limit: int = 1000) -> int:
        """Return how many claimed nonces of a key are not used up for good, counted up to `limit`."""
        tags = {SENDER_TAG: f"{chain_id}-{address}"}
        page = await self._app.promises.search(state=PromiseState.PENDING, tags=tags, limit=limit)
        return len(page.promises)

    async def abandoned(self, *, chain_id: int, address: str, nonce: int, workflow_id: str) -> bool:
        """Tell whether nobody will ever send on a nonce: unclaimed, it is claimed by the asking workflow.

        A claim is abandoned when neither the workflow that sends for its owner nor the one that follows what
        it sent is open and the nonce is not used up, which happens only where somebody cancelled it.
        """
        promise_id = nonce_promise_id(chain_id, address, nonce)
        filler = f"filler of {promise_id}"
        asking = Claim(chain_id=chain_id, address=address, logical_id=filler, workflow_id=workflow_id)
        claim = await self._claim(asking, nonce)
        if not claim.pending:
            return False
        sender = _header(claim, WORKFLOW_HEADER)
        if sender is None or sender == workflow_id:
            return sender is not None
        return not (await self._is_pending(sender) or await self._is_pending(follower_id(promise_id)))

    async def halt(self, *, chain_id: int, address: str, nonce: int, logical_id: str) -> str:
        """Halt a key because a foreign transaction took a nonce; return the id of the promise to settle.

        Doing it again for the same nonce halts nothing anew.
        """
        for number in count(1):
            promise_id = halt_promise_id(chain_id, address, number)
            headers = {NONCE_HEADER: str(nonce), OWNER_HEADER: logical_id}
            halted = await self._app.promises.create(promise_id, param=Value(headers=headers))
            if halted.pending or _header(halted, NONCE_HEADER) == str(nonce):
                return promise_id
        raise AssertionError("count() does not end")

    async def halted(self, *, chain_id: int, address: str) -> str | None:
        """Return the promise for which a key is halted, None while it may be used."""
        for number in count(1):
            promise_id = halt_promise_id(chain_id, address, number)
            found = await self._found(promise_id)
            if found is None:
                return None
            if found.pending:
                return promise_id
        raise AssertionError("count() does not end")

    async def _is_pending(self, promise_id: str) -> bool:
        try:
            return (await self._app.promises.get(promise_id)).pending
        except Refused as refusal:
            if refusal.status != _NOT_FOUND:
                raise
            return False

    async def _claim(self, claim: Claim, nonce: int) -> PromiseRecord:
        promise_id = nonce_promise_id(claim.chain_id, claim.address, nonce)
        headers = {
            OWNER_HEADER: claim.logical_id,
            WORKFLOW_HEADER: claim.workflow_id,
            COST_HEADER: str(claim.cost),
        }
        tags = {SENDER_TAG: f"{claim.chain_id}-{claim.address}", CLAIM_TAG: CLAIM_OF_NONCE}
        made = await self._app.promises.create(promise_id, param=Value(headers=headers), tags=tags)
        if _header(made, OWNER_HEADER) is None:
            raise ForeignClaim(promise_id)
        return made


def _header(record: PromiseRecord, name: str) -> str | None:
    return (record.param.headers or {}).get(name)
