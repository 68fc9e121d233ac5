"""What a node's refusal of a transaction means, by the words of the clients in use. Pure.

Nothing is concluded from words alone: whatever is not plainly an acceptance is checked against the chain.
"""

from __future__ import annotations

from contracts.rpc import RpcRefused
from contracts.transactions.values import Broadcast, BroadcastState

_WORDS = (
    (
        BroadcastState.NONCE_USED,
        ("nonce too low", "nonce is too low", "oldnonce", "nonce has already been used"),
    ),
    (
        BroadcastState.WAITS_FOR_EARLIER_NONCE,
        ("nonce too high", "nonce is too high", "nonce gap", "too distant future", "invalid nonce"),
    ),
    (BroadcastState.UNDERPRICED, ("underpriced", "fee too low", "max fee per gas less than", "feetoolow")),
    (BroadcastState.SHORT_OF_FUNDS, ("insufficient funds", "insufficient balance", "not enough funds")),
)


def read_refusal(error: RpcRefused) -> Broadcast:
    """Return what a refused broadcast means; words that nobody knows give `REFUSED`."""
    text = error.message.lower()
    for state, words in _WORDS:
        if any(word in text for word in words):
            return Broadcast(state=state, message=error.message)
    return Broadcast(state=BroadcastState.REFUSED, message=error.message)


def means_short_of_funds(error: RpcRefused) -> bool:
    """Tell whether a refused estimate is about the sender's balance and not about the contract."""
    return read_refusal(error).state is BroadcastState.SHORT_OF_FUNDS
