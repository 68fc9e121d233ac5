"""The keys of one worker: those that take new work, and those that only finish what they have.

A key is changed by giving the new one and keeping the old one as retiring until nothing of it is in flight.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from contracts.transactions.fees import Price
from contracts.transactions.signer import SignerError, WrongSigner, fields_of, signed_of
from contracts.transactions.values import Intent, Signed


class Signing(Protocol):
    """Whatever signs for one address: a key in this process, or a service that holds it."""

    @property
    def address(self) -> str:
        """The address in lower case."""
        ...

    async def signature(self, fields: Mapping[str, Any]) -> tuple[bytes, bytes]:
        """Return hash and raw bytes of an EIP-1559 transaction given by its JSON-RPC field names."""
        ...


class Signers:
    """The keys by their addresses; `active` ones take new work, each by its name, `retiring` ones do not."""

    def __init__(self, active: Sequence[Signing], retiring: Sequence[Signing] = ()) -> None:
        if not active:
            raise SignerError("no key takes new work: give at least one that is not retiring")
        self._active = tuple(sorted(active, key=lambda each: each.address))
        self._by_address = {each.address: each for each in (*active, *retiring)}
        if len(self._by_address) != len(active) + len(retiring):
            raise SignerError("one key is given twice: a key is either active or retiring")

    @property
    def addresses(self) -> tuple[str, ...]:
        """All addresses, in lower case, those that take new work first."""
        active = tuple(each.address for each in self._active)
        return (*active, *(address for address in self._by_address if address not in active))

    @property
    def active(self) -> tuple[str, ...]:
        """The addresses that take new work."""
        return tuple(each.address for each in self._active)

    def chosen_for(self, name: str) -> str:
        """Return the address that a new piece of work belongs to; the same as long as the keys are."""
        digest = hashlib.sha256(name.encode()).digest()
        return self._active[int.from_bytes(digest[:8], "big") % len(self._active)].address

    def check(self, sender: str) -> None:
        """Raise WrongSigner unless one of the keys is the sender's."""
        self._of(sender)

    def is_retiring(self, sender: str) -> bool:
        """Tell whether the sender's key takes no new work."""
        return self._of(sender) not in self._active

    async def sign(self, intent: Intent, *, nonce: int, gas: int, price: Price) -> Signed:
        """Sign a transaction of the intent's sender. Raises WrongSigner where its key is not here."""
        fields = fields_of(intent, nonce=nonce, gas=gas, price=price)
        transaction_hash, raw = await self._of(intent.sender).signature(fields)
        return signed_of(transaction_hash, raw, nonce=nonce, gas=gas, price=price)

    def _of(self, sender: str) -> Signing:
        found = self._by_address.get(sender.lower())
        if found is None:
            raise WrongSigner(sender, ", ".join(self.addresses))
        return found

    def __repr__(self) -> str:
        return f"Signers({', '.join(self.addresses)})"
