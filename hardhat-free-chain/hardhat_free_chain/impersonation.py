"""Transactions of accounts whose keys nobody here has.

The transaction is signed with a key derived from the account's address, so that equal transactions of
different senders have different hashes, and its sender is then set by hand. No other node would take it.
"""

from collections.abc import Callable
from typing import Any

from eth.abc import SignedTransactionAPI
from eth_account import Account as Signer
from eth_hash.auto import keccak
from eth_typing import Address


def impersonated(
    fields: dict[str, Any], sender: Address, decode: Callable[[bytes], SignedTransactionAPI]
) -> SignedTransactionAPI:
    """A transaction whose sender is `sender`; `fields` are eth_account's."""
    signed = Signer.sign_transaction(fields, keccak(b"impersonated" + sender))
    transaction = decode(bytes(signed.raw_transaction))
    # A cached property: what stands in the instance's dictionary is what every reader sees.
    transaction.__dict__["sender"] = sender
    return transaction
