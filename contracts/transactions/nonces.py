"""Which logical transaction a nonce belongs to: one durable promise a nonce, created once and never moved.

Invariants: S3 one nonce belongs to one logical transaction. The store's create-if-absent (P2) decides between
any number of workers with the same key; no counter is kept anywhere, so none can run ahead of the chain.
A key with which somebody else signs is halted by a promise, too: an operator settles it to go on.
"""

from __future__ import annotations

from itertools import count

from orchestrator import Orchestrator, PromiseRecord, Refused, Value

SCAN_MAX = 10_000
OWNER_HEADER = "logical-transaction"
"""The header of a claim's param that names its owner; plain, so that anyone who reads the store sees it."""
WORKFLOW_HEADER = "workflow"
"""The header that names the promise of the workflow which sends for the owner."""
NONCE_HEADER = "nonce"
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


class NonceBook:
    """The claims on nonces, in the store of the application itself."""

    def __init__(self, app: Orchestrator) -> None:
        self._app = app

    async def reserve(
        self, *, chain_id: int, address: str, logical_id: str, workflow_id: str, first: int
    ) -> int:
        """Return the lowest nonce from `first` on that is, or becomes, this logical transaction's.

        `workflow_id` is the promise of the workflow that sends it. Doing it again returns the same nonce, as
        long as `first` has not passed it. Raises TooManyClaims.
        """
        for nonce in range(first, first + SCAN_MAX):
            claim = await self._claim(nonce_promise_id(chain_id, address, nonce), logical_id, workflow_id)
            if _header(claim, OWNER_HEADER) == logical_id:
                return nonce
        raise TooManyClaims(address, first)

    async def spent(self, *, chain_id: int, address: str, nonce: int, transaction_hash: str | None) -> None:
        """Note that the chain finalised a transaction of this nonce, None for one that is not ours."""
        promise_id = nonce_promise_id(chain_id, address, nonce)
        await self._app.promises.resolve(promise_id, transaction_hash)

    async def abandoned(self, *, chain_id: int, address: str, nonce: int, workflow_id: str) -> bool:
        """Tell whether nobody will ever send on a nonce: unclaimed, it is claimed by the asking workflow.

        A claim is abandoned when the workflow that sends for its owner has ended without using it up, which
        happens only where somebody cancelled it.
        """
        promise_id = nonce_promise_id(chain_id, address, nonce)
        claim = await self._claim(promise_id, f"filler of {promise_id}", workflow_id)
        if not claim.pending:
            return False
        sender = _header(claim, WORKFLOW_HEADER)
        if sender is None or sender == workflow_id:
            return sender is not None
        return not await self._is_pending(sender)

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
            try:
                if (await self._app.promises.get(promise_id)).pending:
                    return promise_id
            except Refused as refusal:
                if refusal.status != _NOT_FOUND:
                    raise
                return None
        raise AssertionError("count() does not end")

    async def _is_pending(self, promise_id: str) -> bool:
        try:
            return (await self._app.promises.get(promise_id)).pending
        except Refused as refusal:
            if refusal.status != _NOT_FOUND:
                raise
            return False

    async def _claim(self, promise_id: str, logical_id: str, workflow_id: str) -> PromiseRecord:
        """Create the claim unless it exists; return it as it stands for ever. Raises ForeignClaim."""
        headers = {OWNER_HEADER: logical_id, WORKFLOW_HEADER: workflow_id}
        claim = await self._app.promises.create(promise_id, param=Value(headers=headers))
        if _header(claim, OWNER_HEADER) is None:
            raise ForeignClaim(promise_id)
        return claim


def _header(record: PromiseRecord, name: str) -> str | None:
    return (record.param.headers or {}).get(name)
