"""The deterministic development accounts.

The mnemonic and path are those of Hardhat, anvil and Ganache, so that keys known from their documentation
work here as well. These keys are public: funds on a real network sent to them are lost.
"""

from functools import lru_cache
from typing import NamedTuple

from eth_account import Account
from eth_account.hdaccount import seed_from_mnemonic
from eth_account.hdaccount.deterministic import HDPath

DEV_MNEMONIC = "test test test test test test test test test test test junk"
DERIVATION_PATH = "m/44'/60'/0'/0"


class DevelopmentAccount(NamedTuple):
    """One account: checksummed address and private key as 0x-prefixed hex."""

    address: str
    private_key: str


@lru_cache(maxsize=8)
def _seed(mnemonic: str) -> bytes:
    return bytes(seed_from_mnemonic(mnemonic, ""))


@lru_cache(maxsize=4096)
def development_account(mnemonic: str, index: int) -> DevelopmentAccount:
    """The account number `index` (from 0) of a mnemonic."""
    key = HDPath(f"{DERIVATION_PATH}/{index}").derive(_seed(mnemonic))
    account = Account.from_key(key)
    return DevelopmentAccount(address=account.address, private_key="0x" + bytes(key).hex())


def deterministic_accounts(count: int, mnemonic: str = DEV_MNEMONIC) -> list[DevelopmentAccount]:
    """The first `count` accounts, pairs of (address, private_key)."""
    return [development_account(mnemonic, index) for index in range(count)]
