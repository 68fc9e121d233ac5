"""What stands at a source's address: a proxy may point at another implementation tomorrow.

That is its owners' right and no incident, but nobody should have to find it out from a score: it is told, the
contract is checked again, and the new one is remembered, over restarts too. And a contract whose code has no
sign of the event that is listened for is told: with a wrong ABI nothing would ever come, without a word.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog
from eth_utils.crypto import keccak

from contracts.rpc import CallReverted, NoCode, Node, RpcRefused
from listener.settings import ListenerSettings
from listener.shapes import Shape
from listener.store import CursorStore, Implementation

LOOK_EVERY_MS = 300_000
WORD_BYTES, ADDRESS_BYTES = 32, 20
IMPLEMENTATION_SLOT = "0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc"
"""Where a proxy keeps the address that it points at (ERC-1967)."""
BEACON_SLOT = "0xa3f0ad74e5423aebfd80d3ef4346578335a9a72aeaee59ff6cb3582b35133d50"
"""Where it keeps the address of a beacon, which many proxies ask for the implementation (ERC-1967)."""
IMPLEMENTATION = bytes.fromhex("5c60da1b")
"""The call `implementation()`, of beacons, and of older proxies: Governor Bravo's delegator is one."""
_log = structlog.get_logger("listener")


class ContractWatch:
    """Looks at the contract now and then. `now_ms` is Unix time."""

    def __init__(
        self,
        settings: ListenerSettings,
        node: Node,
        shape: Shape,
        store: CursorStore,
        now_ms: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._node = node
        self._shape = shape
        self._store = store
        self._now_ms = now_ms
        self._next_ms = 0
        self._looked_at: Implementation | None = None
        self.changes = 0

    async def look(self) -> None:
        """Look if it is time to. Raises NoCode, NotADao and what the shape's check raises."""
        if self._now_ms() < self._next_ms:
            return
        known = await self._store.implementation(self._settings.source)
        seen = await self._seen(known)
        if known is None:
            await self._store.note_implementation(self._settings.source, seen)
        elif known != seen:
            await self._changed(known, seen)
        await self._look_for_events(seen)
        self._next_ms = self._now_ms() + LOOK_EVERY_MS

    async def _look_for_events(self, seen: Implementation) -> None:
        """Tell, once for what stands there, if its code has no topic of an event; DAOs are asked for more."""
        if self._shape.voting is not None or self._looked_at == seen:
            return
        addresses = [self._settings.dao, *([seen.implementation] if seen.implementation else [])]
        codes = [await self._node.code(address) for address in addresses]
        if not any(topic in code for topic in self._shape.topics for code in codes):
            _log.warning(
                "event_not_in_code",
                chain_id=self._settings.chain_id,
                contract=self._settings.dao,
                topics=["0x" + topic.hex() for topic in self._shape.topics],
                remedy="compare the event's declaration with the contract's ABI; a module that it calls may "
                "emit it all the same",
            )
        self._looked_at = seen

    async def _changed(self, known: Implementation, seen: Implementation) -> None:
        self.changes += 1
        _log.warning(
            "implementation_changed",
            chain_id=self._settings.chain_id,
            contract=self._settings.dao,
            was=known.implementation or "0x" + known.code_hash.hex(),
            now=seen.implementation or "0x" + seen.code_hash.hex(),
        )
        await self._shape.check(self._node)
        await self._store.note_implementation(self._settings.source, seen)

    async def _seen(self, known: Implementation | None) -> Implementation:
        code = await self._node.code(self._settings.dao)
        if not code:
            raise NoCode(self._settings.dao)
        try:
            implementation = await self._implementation()
        except RpcRefused:
            # A node that does not tell tells of no change.
            implementation = known.implementation if known else None
        return Implementation(code_hash=keccak(code), implementation=implementation)

    async def _implementation(self) -> str | None:
        """Return where the contract's code lies if not in itself. Raises RpcRefused."""
        if named := await self._slot(IMPLEMENTATION_SLOT):
            return named
        beacon = await self._slot(BEACON_SLOT)
        return await self._named_by(beacon or self._settings.dao) or beacon

    async def _slot(self, slot: str) -> str | None:
        """Return the address in a storage slot, None where there is none."""
        word = await self._node.request("eth_getStorageAt", [self._settings.dao, slot, "latest"])
        if not isinstance(word, str) or not int(word or "0x0", 16):
            return None
        return "0x" + word[2:].rjust(64, "0")[-40:].lower()

    async def _named_by(self, contract: str) -> str | None:
        """Return what a contract names as the implementation, None where it names none."""
        try:
            word = await self._node.call(contract, IMPLEMENTATION)
        except (CallReverted, NoCode):
            return None
        is_address = len(word) == WORD_BYTES and any(word) and not any(word[:-ADDRESS_BYTES])
        return "0x" + word[-ADDRESS_BYTES:].hex() if is_address else None
