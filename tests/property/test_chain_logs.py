"""The log index against a naive scan, over random logs, cuts and filters."""

import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from hardhat_free_chain import ChainSettings, LocalChain
from hardhat_free_chain.logs import Log, LogFilter, LogIndex
from tests.chain_support import call_data, deploy_on, signed

ADDRESSES = [f"0x{number:040x}" for number in range(4)]
TOPICS = [f"0x{number:064x}" for number in range(5)]


@dataclass
class NaiveLogs:
    """Every block's logs in a list, walked from end to end."""

    blocks: list[list[Log]] = field(default_factory=lambda: [[]])

    def find(self, start: int, stop: int, wanted: LogFilter) -> list[Log]:
        found = []
        for number, logs in enumerate(self.blocks):
            if start <= number <= stop:
                found += [log for log in logs if self._matches(log, wanted)]
        return found

    @staticmethod
    def _matches(log: Log, wanted: LogFilter) -> bool:
        if wanted.addresses is not None and log["address"] not in wanted.addresses:
            return False
        for position, alternatives in enumerate(wanted.topics):
            if position >= len(log["topics"]):
                return False
            if alternatives is not None and log["topics"][position] not in alternatives:
                return False
        return True


def random_filter(chance: random.Random) -> LogFilter:
    addresses = frozenset(chance.sample(ADDRESSES, chance.randint(1, 3))) if chance.random() < 0.5 else None
    topics = tuple(
        None if chance.random() < 0.4 else frozenset(chance.sample(TOPICS, chance.randint(1, 3)))
        for _ in range(chance.randint(0, 4))
    )
    return LogFilter(addresses=addresses, topics=topics)


def random_logs(chance: random.Random) -> list[Log]:
    return [
        {
            "address": chance.choice(ADDRESSES),
            "topics": chance.choices(TOPICS, k=chance.randint(0, 4)),
            "data": chance.random(),
        }
        for _ in range(chance.choice([0, 0, 1, 2, 7]))
    ]


@pytest.mark.parametrize("seed", range(25))
def test_the_index_finds_what_a_scan_finds(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    index, naive = LogIndex(), NaiveLogs()
    for step in range(200):
        if chance.random() < 0.05:
            height = chance.randrange(len(naive.blocks))
            index.truncate(height)
            del naive.blocks[height + 1 :]
        else:
            logs = random_logs(chance)
            index.append(len(naive.blocks), logs)
            naive.blocks.append(logs)
        start = chance.randint(0, len(naive.blocks))
        stop = chance.randint(0, len(naive.blocks) + 2)
        wanted = random_filter(chance)
        assert index.find(start, stop, wanted) == naive.find(start, stop, wanted), f"seed {seed} step {step}"
    assert len(index) == sum(map(len, naive.blocks))


@pytest.mark.parametrize("seed", range(3))
def test_logs_stay_right_across_snapshots_and_reverts(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    chain = LocalChain(ChainSettings())
    probe = "0x" + deploy_on(chain).hex()
    snapshots: list[int] = []
    for _ in range(40):
        action = chance.random()
        if action < 0.15:
            snapshots.append(chain.snapshot())
        elif action < 0.3 and snapshots:
            number = chance.choice(snapshots)
            assert chain.revert(number), f"seed {seed}"
            snapshots = [each for each in snapshots if each < number]
        else:
            _tick(chain, probe, chance.randrange(5), chance.randrange(3))
        everything = [
            log for height in range(chain.ledger.height + 1) for log in chain.ledger.at(height).logs
        ]
        assert chain.ledger.logs.find(0, chain.ledger.height, LogFilter()) == everything, f"seed {seed}"
        topic = f"0x{chance.randrange(5):064x}"
        wanted = LogFilter(addresses=frozenset({probe}), topics=(None, frozenset({topic})))
        expected = [log for log in everything if log["topics"][1] == topic]
        assert chain.ledger.logs.find(0, chain.ledger.height, wanted) == expected, f"seed {seed}"


def _tick(chain: LocalChain, probe: str, first: int, amount: int) -> None:
    fields: dict[str, Any] = {
        "to": probe,
        "value": 0,
        "gas": 100_000,
        "data": call_data("tick", first, amount),
    }
    nonce = chain.nonce(chain.accounts[0], None)
    mined = chain.ledger.transaction(chain.send_raw_transaction(signed(nonce=nonce, **fields)))
    assert mined is not None
    assert len(mined.receipt["logs"]) == amount
