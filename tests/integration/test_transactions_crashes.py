"""A process that dies at every single request, and a node in the worst weather: one successful submission.

`DAO_SCORER_SEEDS` sets how many random histories are played; a failing seed stands in the test's name.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from eth_account import Account

from contracts.transactions import (
    Intent,
    SendingPolicy,
    Sent,
    SentStatus,
    Signer,
    patience,
    register_transactions,
    send_transaction,
)
from orchestrator import Constant, Orchestrator
from tests.transactions_weather import CHAIN_ID, REGISTRY, WeatherNode

KEY = "0x" + "4c" * 32
SENDER = str(Account.from_key(KEY).address).lower()
FAST = SendingPolicy(watch_ms=20, poll_ms=2, pause_ms=2, pause_ms_max=5, bump_after_watches=3)
TIMEOUT_S = 30
SEEDS = int(os.environ.get("DAO_SCORER_SEEDS", "12"))


@pytest.fixture(autouse=True)
def _short_parking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PARK_S", 0.01)
    monkeypatch.setattr(patience, "PARK_S_MAX", 0.05)


def intent(number: int) -> Intent:
    return Intent(
        chain_id=CHAIN_ID,
        sender=SENDER,
        to=REGISTRY,
        data_hex=f"0x{number:04x}",
        logical_id=f"submit-{number}",
    )


def application(node: WeatherNode, store: Path) -> Orchestrator:
    app = Orchestrator.local(f"sqlite:///{store}", pid="worker", ttl_ms=1_000)
    retry = Constant(delay_s=0.002, attempts_max=2)
    register_transactions(app, node=node, signer=Signer.from_key(KEY), policy=FAST, retry=retry)
    return app


async def run_all(node: WeatherNode, store: Path, count: int) -> list[Sent] | None:
    """Send so many transactions at once; None if the process died on the way."""
    app = application(node, store)
    await app.start()
    work = asyncio.gather(*(app.rpc(f"send-{n}", send_transaction, intent(n)) for n in range(count)))
    crash = asyncio.create_task(node.crashed.wait())
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await asyncio.wait((work, crash), return_when=asyncio.FIRST_COMPLETED)
        if not crash.done():
            return await work
        await app.abort()
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        return None
    finally:
        crash.cancel()
        await app.stop()


def check(node: WeatherNode, ended: list[Sent]) -> None:
    assert [each.status for each in ended] == [SentStatus.CONFIRMED] * len(ended)
    succeeded = Counter(each.data for each in node.succeeded())
    assert set(succeeded.values()) == {1}, succeeded
    assert len(succeeded) == len(ended)
    assert sorted(each.nonce or 0 for each in ended) == list(range(len(ended)))
    # S2 and S3: what was ever broadcast on a nonce is one logical transaction.
    owners: dict[int, set[bytes]] = {}
    for each in node.broadcasts:
        owners.setdefault(each.nonce, set()).add(each.data)
    assert all(len(each) == 1 for each in owners.values()), owners


async def test_killed_at_every_request_it_is_sent_exactly_once(tmp_path: Path) -> None:
    moment = 0
    while True:
        moment += 1
        node = WeatherNode(finality_lag=0)
        node.crash_at = moment
        store = tmp_path / f"{moment}.db"
        ended = await run_all(node, store, 1)
        if ended is not None:
            check(node, ended)
            break
        node.crash_at, node.crashed = 0, asyncio.Event()
        after = await run_all(node, store, 1)
        assert after is not None, f"died at request {moment}"
        check(node, after)
        assert len({each.raw for each in node.broadcasts}) == 1
    assert moment > 8, "the matrix must have had boundaries to kill at"


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_random_weather(seed: int, tmp_path: Path) -> None:
    random = Random(seed)  # noqa: S311 - weather, not cryptography
    node = WeatherNode(
        automine=random.random() < 0.5, finality_lag=random.randrange(4), gaps=random.random() < 0.5
    )
    node.random = random
    node.storm, node.drops, node.mines = (
        random.random() * 0.3,
        random.random() * 0.5,
        0.2 + random.random() * 0.5,
    )
    count = random.randrange(1, 5)
    ended = None
    for _ in range(4):
        node.crash_at, node.crashed = node.moments + random.randrange(1, 120), asyncio.Event()
        forks = asyncio.create_task(_fork(node, random))
        ended = await run_all(node, tmp_path / "store.db", count)
        forks.cancel()
        if ended is not None:
            break
    node.crash_at, node.crashed = 0, asyncio.Event()
    if ended is None:
        ended = await run_all(node, tmp_path / "store.db", count)
    assert ended is not None
    check(node, ended)


async def _fork(node: WeatherNode, random: Random) -> None:
    """Orphan blocks that are not final, now and then."""
    while True:
        await asyncio.sleep(0.01)
        depth = random.randrange(node.finality_lag + 1)
        if depth and len(node.blocks) > depth + 1:
            node.orphan(depth, forget=random.random() < 0.5)
