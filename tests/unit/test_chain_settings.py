from typing import Any

import pytest
from eth_account import Account

from hardhat_free_chain import ChainSettings, deterministic_accounts
from hardhat_free_chain.settings import SettingsError


def test_the_accounts_are_those_of_hardhat_and_anvil() -> None:
    accounts = deterministic_accounts(10)
    assert accounts[0] == (
        "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
        "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    )
    assert accounts[9][0] == "0xa0Ee7A142d267C1f36714E4a8F75612F20a79720"


def test_keys_belong_to_their_addresses_and_more_accounts_keep_the_first() -> None:
    few, many = deterministic_accounts(3), deterministic_accounts(12)
    assert many[:3] == few
    assert all(Account.from_key(key).address == address for address, key in many)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("chain_id", 0),
        ("accounts", -1),
        ("finality_lag", -1),
        ("base_timestamp", 0),
        ("block_interval_s", 0.0),
        ("block_gas_limit", 20_000),
        ("log_range_max", 0),
        ("batch_max", 0),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=f"{name} is {value}"):
        ChainSettings(**{name: value})
