"""What an operator asks of a transaction that waits: a durable promise that its workflow hears of.

A wish is made once and heard once, at the end of a watch: what was signed for it is recorded before the wish
is settled, so that a death in between signs again what nobody has seen.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import count

from contracts.transactions.values import Wish, WishKind
from orchestrator import PromiseRecord, Promises, Refused, Value

KIND_HEADER = "wish"
MAX_FEE_HEADER = "max-fee-per-gas"
KINDS = frozenset(WishKind)
_WEI = re.compile(r"[1-9][0-9]{0,77}")
_NOT_FOUND = 404


def wish_promise_id(nonce_promise_id: str, number: int) -> str:
    """Return the id of the promise of the `number`-th wish for a nonce's transaction, from 1."""
    return f"asked-{nonce_promise_id}-{number}"


class WishBook:
    """The wishes for transactions, in the store that their workflows are in.

    `promises` is asked for them at each use: those of an application are there while it runs.
    """

    def __init__(self, promises: Callable[[], Promises]) -> None:
        self._promises = promises

    async def ask(self, nonce_promise_id: str, wish: Wish) -> Wish:
        """Make a wish, unless one is open: then return that one, which may be another."""
        for number in count(1):
            promise_id = wish_promise_id(nonce_promise_id, number)
            made = await self._promises().create(promise_id, param=Value(headers=_headers(wish)))
            if made.pending:
                return _read(made) or wish
        raise AssertionError("count() does not end")

    async def open(self, nonce_promise_id: str) -> Wish | None:
        """Return the wish that was not heard yet, None where there is none."""
        for number in count(1):
            promise_id = wish_promise_id(nonce_promise_id, number)
            try:
                found = await self._promises().get(promise_id)
            except Refused as refusal:
                if refusal.status != _NOT_FOUND:
                    raise
                return None
            if found.pending:
                # One that was made by hand and says nothing is left alone, and nothing after it is heard.
                return _read(found)
        raise AssertionError("count() does not end")

    async def hear(self, wish: Wish) -> None:
        """Settle a wish that was made; doing it again changes nothing."""
        if wish.promise_id is not None:
            await self._promises().resolve(wish.promise_id)


def _headers(wish: Wish) -> dict[str, str]:
    told = {KIND_HEADER: str(wish.kind)}
    if wish.max_fee_per_gas is not None:
        told[MAX_FEE_HEADER] = str(wish.max_fee_per_gas)
    return told


def _read(record: PromiseRecord) -> Wish | None:
    headers = record.param.headers or {}
    kind, fee = headers.get(KIND_HEADER), headers.get(MAX_FEE_HEADER)
    if kind not in KINDS or not (fee is None or _WEI.fullmatch(fee)):
        return None
    return Wish(
        kind=WishKind(kind),
        max_fee_per_gas=None if fee is None else int(fee),
        promise_id=record.id,
    )
