"""Which logical transaction a nonce belongs to: one durable promise a nonce, created once and never moved.

Invariants: S3 one nonce belongs to one logical transaction. The store's create-if-absent (P2) decides between
any number of workers with the same key; no counter is kept anywhere, so none can run ahead of the chain.
"""

from __future__ import annotations

from orchestrator import Orchestrator, Value

SCAN_MAX = 10_000
OWNER_HEADER = "logical-transaction"
"""The header of a claim's param that names its owner; plain, so that anyone who reads the store sees it."""


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


class NonceBook:
    """The claims on nonces, in the store of the application itself."""

    def __init__(self, app: Orchestrator) -> None:
        self._app = app

    async def reserve(self, *, chain_id: int, address: str, logical_id: str, first: int) -> int:
        """Return the lowest nonce from `first` on that is, or becomes, this logical transaction's.

        Doing it again returns the same nonce, as long as `first` has not passed it. Raises TooManyClaims.
        """
        for nonce in range(first, first + SCAN_MAX):
            owner = await self._claim(nonce_promise_id(chain_id, address, nonce), logical_id)
            if owner == logical_id:
                return nonce
        raise TooManyClaims(address, first)

    async def spent(self, *, chain_id: int, address: str, nonce: int, transaction_hash: str | None) -> None:
        """Note that the chain finalised a transaction of this nonce, None for one that is not ours."""
        promise_id = nonce_promise_id(chain_id, address, nonce)
        await self._app.promises.resolve(promise_id, transaction_hash)

    async def _claim(self, promise_id: str, logical_id: str) -> str:
        """Create the claim unless it exists; return the logical id that it names for ever."""
        record = await self._app.promises.create(promise_id, param=Value(headers={OWNER_HEADER: logical_id}))
        owner = (record.param.headers or {}).get(OWNER_HEADER)
        if owner is None:
            raise ForeignClaim(promise_id)
        return owner
