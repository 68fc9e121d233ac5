"""Proofs over HTTP and over any transport, from a tree of promises made by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import pytest

from orchestrator.commitments.bundle import bundle_from_json
from orchestrator.commitments.leaf import Commitment
from orchestrator.commitments.proof import StepValues, close_tree
from orchestrator.commitments.verification import verify_bundle
from orchestrator.domain import tags as tag
from orchestrator.domain.errors import Refused, Unavailable
from orchestrator.protocol import paging
from orchestrator.protocol.records import PromiseRecord, PromiseState, Value
from orchestrator.server import ProofSource, fetch_bundle
from orchestrator.server import proofs as proofs_module
from orchestrator.transport.http import HttpTransport
from tests.integration.server_support import ScriptedEngine, get, promise, served

ROOT = "scoreProposal-31337-0xabc-7"
DOMAIN = b"\x07" * 32
OPEN_TAGS = {tag.ORIGIN: ROOT}


def step(number: int) -> PromiseRecord:
    text = f'"value {number}"'.encode()
    commitment = Commitment(
        function=f"step_{number}",
        version=1,
        input_hash=sha256(b"[]").digest(),
        output_hash=sha256(text).digest(),
    )
    return promise(
        f"{ROOT}:{number}",
        state=PromiseState.RESOLVED,
        value=Value(headers=commitment.to_headers(), data=text.decode()),
        tags=OPEN_TAGS,
        settled_at=2,
    )


def store_tree(engine: ScriptedEngine, *, steps: int = 12, closed: bool = True, settled: bool = True) -> None:
    """Store a workflow of so many steps; the root carries no origin tag, as one invoked by hand."""
    records = [step(number) for number in range(1, steps + 1)]
    closing_id = f"{ROOT}:{steps + 1}"
    if closed:
        closing = close_tree(DOMAIN, records, before=closing_id)
        value = Value(headers=closing.to_headers())
        records.append(promise(closing_id, state=PromiseState.RESOLVED, value=value, tags=OPEN_TAGS))
    state = PromiseState.RESOLVED if settled else PromiseState.PENDING
    records.append(promise(ROOT, state=state))
    records.append(promise(f"{ROOT}0:1", tags={tag.ORIGIN: f"{ROOT}0"}))
    engine.promises.update((record.id, record) for record in records)


def decode(record: PromiseRecord) -> StepValues:
    return StepValues(input=b"[]", output=(record.value.data or "").encode())


class Section:
    """An evidence section that can be empty."""

    def __init__(self, content: Mapping[str, object] | None) -> None:
        self.content = content
        self.seen: tuple[str, int] | None = None

    async def __call__(self, promise_id: str, tree: Sequence[PromiseRecord]) -> Mapping[str, object] | None:
        self.seen = (promise_id, len(tree))
        return self.content


async def test_a_proof_is_served_and_verifies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "PAGE", 5)
    engine = ScriptedEngine()
    store_tree(engine)
    transaction = Section({"hash": "0x01", "block": 12})
    source = ProofSource(sections={"transaction": transaction}, decode=decode)
    async with served(engine, source) as url:
        status, body, headers = await get(url, f"/proofs/{ROOT}")
    assert status == 200
    assert headers["Content-Type"].startswith("application/json")
    bundle = bundle_from_json(body)
    assert (bundle.promise_id, bundle.count, len(bundle.leaves)) == (ROOT, 12, 12)
    assert [leaf.promise_id for leaf in bundle.leaves] == [f"{ROOT}:{number}" for number in range(1, 13)]
    assert bundle.leaves[9].output == '"value 10"'
    assert bundle.sections == {"transaction": {"hash": "0x01", "block": 12}}
    assert transaction.seen == (ROOT, 14)
    assert all(check.ok for check in verify_bundle(bundle))


async def test_the_same_bundle_comes_over_any_transport() -> None:
    engine = ScriptedEngine()
    store_tree(engine)
    async with served(engine) as url:
        transport = HttpTransport(url)
        remote = await fetch_bundle(transport.call, ROOT)
        await transport.close()
        _, body, _ = await get(url, f"/proofs/{ROOT}")
    assert remote == await fetch_bundle(engine.handle, ROOT) == bundle_from_json(body)
    assert remote.leaves[0].output is None


async def test_a_final_proof_may_be_kept() -> None:
    engine = ScriptedEngine()
    store_tree(engine)
    async with served(engine) as url:
        _, _, headers = await get(url, f"/proofs/{ROOT}")
        assert headers["Cache-Control"] == "private, max-age=31536000, immutable"
        again = await get(url, f"/proofs/{ROOT}", **{"If-None-Match": headers["ETag"]})
        assert again[:2] == (304, b"")
        assert again[2]["ETag"] == headers["ETag"]
        for known, status in (('"other"', 200), (f'"other", W/{headers["ETag"]}', 304), ("*", 304)):
            assert (await get(url, f"/proofs/{ROOT}", **{"If-None-Match": known}))[0] == status, known
    async with served(engine, open_proofs=True) as url:
        _, _, headers = await get(url, f"/proofs/{ROOT}")
        assert headers["Cache-Control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize(("settled", "content"), [(False, {"a": 1}), (True, None)])
async def test_a_proof_that_may_still_grow_is_asked_for_again(
    settled: bool, content: dict[str, object] | None
) -> None:
    engine = ScriptedEngine()
    store_tree(engine, settled=settled)
    async with served(engine, ProofSource(sections={"transaction": Section(content)})) as url:
        status, body, headers = await get(url, f"/proofs/{ROOT}")
    assert status == 200
    assert headers["Cache-Control"] == "no-cache"
    assert bundle_from_json(body).sections == ({} if content is None else {"transaction": content})


async def fault(engine: ScriptedEngine, path: str, source: ProofSource | None = None) -> tuple[int, str]:
    async with served(engine, source) as url:
        status, body, headers = await get(url, path)
    assert headers["Content-Type"].startswith("application/json")
    assert headers.get("Cache-Control") is None
    assert b"\n" not in body
    return status, body.decode()


async def test_an_unknown_promise_is_not_found() -> None:
    assert (await fault(ScriptedEngine(), "/proofs/nobody"))[0] == 404


async def test_a_running_workflow_has_no_proof_yet() -> None:
    engine = ScriptedEngine()
    store_tree(engine, closed=False, settled=False)
    status, text = await fault(engine, f"/proofs/{ROOT}")
    assert status == 409
    assert "not closed yet" in text


async def test_a_workflow_that_never_committed_has_none_at_all() -> None:
    engine = ScriptedEngine()
    store_tree(engine, closed=False)
    status, text = await fault(engine, f"/proofs/{ROOT}")
    assert status == 422
    assert "without a closed proof" in text


async def test_a_store_that_was_tampered_with_gives_no_proof() -> None:
    engine = ScriptedEngine()
    store_tree(engine)
    forged = step(99).value
    engine.promises[f"{ROOT}:3"] = promise(
        f"{ROOT}:3", state=PromiseState.RESOLVED, value=forged, tags=OPEN_TAGS
    )
    status, text = await fault(engine, f"/proofs/{ROOT}")
    assert status == 422
    assert "recorded root" in text


@pytest.mark.parametrize(
    ("error", "status"), [(Unavailable("no node answers"), 503), (KeyError("secret"), 500)]
)
async def test_a_failing_section_is_told(error: Exception, status: int) -> None:
    async def failing(_: str, __: Any) -> Mapping[str, object]:
        raise error

    engine = ScriptedEngine()
    store_tree(engine)
    answered, text = await fault(engine, f"/proofs/{ROOT}", ProofSource(sections={"chain": failing}))
    assert answered == status
    assert "secret" not in text


async def test_a_section_that_hangs_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proofs_module, "SECTION_TIMEOUT_S", 0.02)
    engine = ScriptedEngine()
    store_tree(engine)

    async def hanging(_: str, __: Any) -> Mapping[str, object]:
        await engine.until(lambda _: False)
        return {}

    with pytest.raises(Unavailable, match="section 'chain'"):
        await fetch_bundle(engine.handle, ROOT, {"chain": hanging})


async def test_a_tree_beyond_the_bound_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proofs_module, "TREE_PROMISES_MAX", 10)
    engine = ScriptedEngine()
    store_tree(engine)
    with pytest.raises(Refused, match="more than 10 promises"):
        await fetch_bundle(engine.handle, ROOT)
