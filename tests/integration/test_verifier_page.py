"""The verifier in headless Chromium: a right bundle turns green, each tampered one red at the right place."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from contracts.bindings import proposal_scores
from orchestrator.commitments import bundle_to_json
from orchestrator.server import ProofSource
from scorers.policies import DenyList, MinimumWeight, ParticipationAdjusted
from scorers.policies.catalogue import RULES, WEIGHTINGS, digest_of
from scorers.policies.statement import state
from scorers.policies.template import CappedWeight, NoAbstention
from scorers.verifier import PAGE, sealed
from tests.browser import Tab, headless
from tests.integration.server_support import ScriptedEngine, get, served
from tests.integration.test_scorers_audit import (
    IN_FAVOUR,
    SECTION,
    TAMPERED,
    Scored,
    at,
    listed,
    scored,  # noqa: F401 - a fixture
)
from tests.integration.test_scorers_policies import NAMES, POLICIES, stage
from tests.integration.test_scorers_policies import TAMPERED as PARTS_TAMPERED
from tests.scorers_chain import ACCOUNTS

PARTS_FAIL = {
    "a parameter of the steps": {"leaves", "root", "scoring"},
    "a parameter of the section": {"scoring"},
    "a parameter, everywhere": {"leaves", "root"},
    "a list": {"scoring"},
    "the code": {"scoring"},
    "an input": {"leaves", "root", "policy"},
    "an input, where it was read": {"leaves", "root", "scoring"},
    "a parameter, where it was read for": {"leaves", "root", "scoring"},
    "the whole reading": {"completeness", "root", "scoring"},
    "a weight": {"leaves", "votes", "tally", "policy"},
}
ROOT = Path(__file__).parents[2]
OFFLINE = [
    "shape",
    "completeness",
    "order",
    "values",
    "leaves",
    "proofs",
    "root",
    "scoring",
    "votes",
    "tally",
    "policy",
]
ONLINE = ["node", "chain", "domain", "registry", "transaction", "scorers", "log", "weights", "standing"]
JSON = {"Content-Type": "application/json"}
TAKEN_OF = "verifier.sha256"
"""Stands beside the pictures of docs/ and names the page that they show."""
HOSTILE = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"


@dataclass
class Page:
    """The page as a reader uses it."""

    tab: Tab
    folder: Path

    async def check(self, content: bytes, rpc: str = "") -> dict[str, str]:
        """Check a bundle; return what each check shows, by its name."""
        file = self.folder / "proof.json"
        await asyncio.to_thread(file.write_bytes, content)
        await self.tab.choose("#file", file)
        await self.tab.evaluate(f"document.getElementById('rpc').value = {json.dumps(rpc)}")
        await self.tab.evaluate(
            "(async () => { document.getElementById('file').onchange(); "
            "await document.getElementById('check').onclick(); })()"
        )
        shown: dict[str, str] = await self.tab.evaluate(
            "Object.fromEntries([...document.querySelectorAll('.checks li')]"
            ".map((row) => [row.id.slice(6), row.dataset.ok]))"
        )
        return shown

    async def failed(self, content: Any, rpc: str = "") -> set[str]:
        return {
            name
            for name, ok in (await self.check(json.dumps(content).encode(), rpc)).items()
            if ok == "false"
        }

    async def state(self) -> str:
        found: str = await self.tab.evaluate("document.documentElement.dataset.state")
        return found

    async def told(self) -> str:
        found: str = await self.tab.evaluate("document.getElementById('verdict').innerText")
        return found


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    async with headless(tmp_path) as tab:
        await tab.open(PAGE.as_uri())
        yield Page(tab, tmp_path)


# What differs from the audit's checks: the page compares votes and weights with the chain, and nothing twice.
PLACES: dict[str, set[str]] = {
    "value": {"values"},
    "weight": {"leaves", "root"},
    "voter left out": {"leaves", "root"},
    "voter added": {"leaves", "root"},
    "order": {"leaves", "root"},
    "policy parameter": {"leaves", "scoring"},
    "policy of the section": {"scoring"},
    "leaf": {"leaves"},
    "inner node for a leaf": {"leaves", "proofs"},
    "leaf's hash of a value": {"values"},
    "version of a step": {"leaves", "root"},
    "root": {"proofs", "root", "registry", "transaction"},
    "score": {"scoring", "tally", "registry", "transaction"},
    "root of the votes": {"scoring"},
    "listed vote left out": {"votes", "tally", "log"},
    "listed weight": {"votes", "tally"},
    "reason": {"votes"},
    "other chain": {"scoring", "chain"},
    "other contract": {"scoring", "domain", "registry", "transaction"},
    "other DAO": {"scoring", "log"},
    "snapshot": {"scoring"},
}
NO_BUNDLE = {"listed voter twice": f"vote 4: voter {IN_FAVOUR} stands twice for one vote"}


@pytest.mark.timeout(120)
async def test_right_bundles_are_green_and_tampered_ones_red_at_the_place(scored: Scored, page: Page) -> None:  # noqa: F811
    async with TestServer(allowing(scored.node.endpoint)) as node:
        await _compared(scored, page, str(node.make_url("/")))


def allowing(url: str) -> web.Application:
    """Return a door to the local chain that browsers may use, as those of providers."""
    allowed = {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "content-type"}

    async def forward(request: web.Request) -> web.Response:
        body = await request.read()
        async with ClientSession() as session, session.post(url, data=body, headers=JSON) as answer:
            return web.Response(body=await answer.read(), headers=allowed, content_type="application/json")

    async def preflight(_: web.Request) -> web.Response:
        return web.Response(headers=allowed)

    app = web.Application()
    app.router.add_post("/", forward)
    app.router.add_options("/", preflight)
    return app


async def _compared(scored: Scored, page: Page, rpc: str) -> None:  # noqa: F811
    right = await page.check(json.dumps(scored.content).encode(), rpc)
    assert right == dict.fromkeys(OFFLINE + ONLINE, "true"), await page.told()
    assert await page.state() == "right"
    await _pictures(page)
    assert PLACES.keys() | NO_BUNDLE.keys() == TAMPERED.keys()
    for name, (change, _, _) in TAMPERED.items():
        content = scored.content
        change(content)
        if name in NO_BUNDLE:
            await _refused(page, json.dumps(content).encode(), NO_BUNDLE[name])
            continue
        failed = await page.failed(content, rpc)
        assert PLACES[name] <= failed, (name, failed, await page.told())
        assert await page.state() == "wrong", name
    content = scored.content
    listed(at("leaves", 1, "weight", value="21"))(content)
    await page.failed(content, rpc)
    await _pictures(page, "tampered")


async def _refused(page: Page, content: bytes, reason: str) -> None:
    assert await page.check(content) == {}
    assert await page.state() == "refused"
    assert reason in await page.told()


@pytest.mark.timeout(180)
async def test_what_other_scorers_submitted_is_told(scored: Scored, page: Page) -> None:  # noqa: F811
    """One that differs is named and changes nothing: it is outvoted, and the final verdict holds."""
    made, other = scored.made, ACCOUNTS[6][0]
    grant = (proposal_scores.SCORER_ROLE, other)
    await made.execute(0, made.registry, proposal_scores.GRANT_ROLE, *grant)
    number = int(scored.content["sections"]["scoring"]["proposal_id"])
    await made.execute(6, made.registry, proposal_scores.SUBMIT_SCORE, number, 1, -77, b"\x07" * 32)
    async with TestServer(allowing(scored.node.endpoint)) as node:
        checks = await page.check(json.dumps(scored.content).encode(), str(node.make_url("/")))
    assert set(checks.values()) == {"true"}, await page.told()
    told = await page.tab.evaluate("document.getElementById('check-scorers').textContent")
    assert f"1 of 2 submitted this verdict; another: {other}" in told


async def _pictures(page: Page, name: str = "right") -> None:
    """Take the pictures of docs/ where this is asked for."""
    folder = os.environ.get("DAO_SCORER_SCREENSHOTS")
    if folder:
        for dark in (False, True):
            shade = "dark" if dark else "light"
            await page.tab.screenshot(Path(folder) / f"verifier-{name}-{shade}.png", dark=dark)
        digest = sha256(await asyncio.to_thread(PAGE.read_bytes)).hexdigest()
        await asyncio.to_thread((Path(folder) / TAKEN_OF).write_text, f"{digest}  verifier.html\n")


@pytest.mark.timeout(120)
async def test_what_is_no_bundle_is_refused_with_the_reason(scored: Scored, page: Page) -> None:  # noqa: F811
    content = scored.content
    whole = json.dumps(content)
    refused = {
        whole[:-20]: "at character",
        json.dumps({**content, "version": 1}): "bundle version 1 is unknown",
        whole.replace('"count": 5', '"count": 5.0', 1): "not an integer",
        whole.replace('"count": 5', '"count": 5, "count": 5', 1): "a key stands twice",
        whole.replace('"count": 5', '"count": 5, "more": 1', 1): "unknown field more",
        whole.replace('"count": 5', '"count": 9007199254740993', 1): "too large",
        "[" * 5_000: "nested too deeply",
        "[]": "must be a JSON object",
        '{"kind": "voter", "version": 2}': "proves one voter",
    }
    for text, reason in refused.items():
        assert text != whole
        await _refused(page, text.encode(), reason)
    assert await page.check(b"\xff\xfe") == {}
    large = page.folder / "large.json"
    with large.open("wb") as file:
        file.truncate(3 * 2**30)
    await page.tab.choose("#file", large)
    await page.tab.evaluate("document.getElementById('check').onclick()")
    assert "at most 67108864 are read" in await page.told()


@pytest.mark.timeout(120)
async def test_hostile_strings_are_text(scored: Scored, page: Page) -> None:  # noqa: F811
    def hostile_reason(content: Any) -> None:
        at("sections", "votes", "leaves", 1, "reason", value=HOSTILE)(content)
        at("sections", "votes", "leaves", 1, "counted", value=False)(content)

    def hostile_step(content: Any) -> None:
        at("leaves", 1, "function", value=HOSTILE)(content)

    def hostile_policy(content: Any) -> None:
        at(*SECTION, "policy", "name", value=HOSTILE)(content)
        at(*SECTION, "code", value=HOSTILE)(content)
        at(*SECTION, "status", value=HOSTILE)(content)

    changes: list[Callable[[Any], None]] = [hostile_reason, hostile_step, hostile_policy]
    for change in changes:
        content = scored.content
        change(content)
        assert await page.failed(content)
        assert HOSTILE[:20] in await page.tab.evaluate("document.body.innerText")
        assert await page.tab.evaluate("document.querySelectorAll('main img, main script').length") == 0
        assert await page.tab.evaluate("document.title") == "Check a DAO score"
    for name in ("dao", "registry", "scorer", "transaction_hash"):
        content = scored.content
        at(*SECTION, name, value=HOSTILE)(content)
        await _refused(page, json.dumps(content).encode(), f"sections.scoring.{name} is no ")
        assert await page.tab.evaluate("document.querySelectorAll('main img, main script').length") == 0
    assert (
        await page.tab.evaluate(
            "(() => { try { document.body.innerHTML = '<b>x</b>'; return 'taken'; }"
            " catch { return 'refused'; } })()"
        )
        == "refused"
    )


async def test_without_a_node_the_bundle_alone_is_judged(scored: Scored, page: Page) -> None:  # noqa: F811
    shown = await page.check(json.dumps(scored.content).encode())
    assert shown == dict.fromkeys(OFFLINE, "true")
    assert "was not asked" in await page.told()
    away = await page.check(json.dumps(scored.content).encode(), "http://127.0.0.1:9")
    assert away["node"] == "false"
    assert await page.state() == "wrong"


async def test_a_served_copy_says_that_it_is_not_independent(page: Page) -> None:
    assert await page.tab.evaluate("document.getElementById('served').hidden")
    async with served(ScriptedEngine(), ProofSource(page=PAGE.read_bytes())) as url:
        await page.tab.open(f"{url}/verifier")
        text = await page.tab.evaluate("document.getElementById('served').innerText")
        assert not await page.tab.evaluate("document.getElementById('served').hidden")
        assert "not independent" in text
        assert (await get(url, "/verifier"))[1] == PAGE.read_bytes()


async def test_a_server_without_a_page_says_so() -> None:
    async with served(ScriptedEngine()) as url:
        assert (await get(url, "/verifier"))[0] == 404


def test_the_page_is_whole_and_its_hash_is_published() -> None:
    content = PAGE.read_text(encoding="utf-8")
    assert sealed(content) == content, "run: python -m scorers.verifier"
    digest = sha256(content.encode()).hexdigest()
    assert digest in (ROOT / "docs/commitments.md").read_text(), f"publish the SHA-256 {digest}"
    assert digest in (ROOT / "docs/images" / TAKEN_OF).read_text(), (
        "take the pictures anew: DAO_SCORER_SCREENSHOTS=docs/images python -m pytest -k right_bundles "
        "tests/integration/test_verifier_page.py"
    )
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|new Function", content)
    assert not re.findall(r"<(link|img|iframe|object|embed|script src)", content)


@pytest.mark.timeout(120)
async def test_a_policy_is_computed_in_the_page_too(page: Page) -> None:
    async with stage() as on, TestServer(allowing(on.made.node.endpoint)) as node:
        snapshot = await on.made.node.request("evm_snapshot", [])
        for name, (weighting, rules, _) in POLICIES.items():
            _, bundle = await on.scored(state(weighting(on), rules))
            told = await page.check(bundle_to_json(bundle), str(node.make_url("/")))
            assert told == dict.fromkeys((*OFFLINE, *ONLINE), "true"), (name, await page.told())
            content = json.loads(bundle_to_json(bundle))
            vote = next(each for each in content["sections"]["votes"]["leaves"] if each["counted"])
            vote["counted_weight"] = str(int(vote["counted_weight"]) + 1)
            assert await page.failed(content) >= {"votes", "tally", "policy"}, name
            await on.made.node.request("evm_revert", [snapshot])
            snapshot = await on.made.node.request("evm_snapshot", [])


@pytest.mark.timeout(120)
async def test_each_tampered_part_of_a_policy_turns_red(page: Page) -> None:
    async with stage() as on:
        policy = state(ParticipationAdjusted(last=2), [MinimumWeight(), DenyList(voters=(NAMES[3],))])
        _, bundle = await on.scored(policy)
        for name, (change, _, _) in PARTS_TAMPERED.items():
            content = json.loads(bundle_to_json(bundle))
            change(content)
            assert await page.failed(content) >= PARTS_FAIL[name], name
        content = json.loads(bundle_to_json(bundle))
        content["sections"]["scoring"]["policy"]["rules"][0]["parameters"] = HOSTILE
        assert await page.check(json.dumps(content).encode()) == {}
        assert "policy.rules[0].parameters is no texts" in await page.told()


@pytest.mark.timeout(120)
async def test_a_policy_that_the_page_does_not_know_is_left_to_the_audit(page: Page) -> None:
    async with stage() as on:
        _, bundle = await on.scored(state(CappedWeight(cap=50), [NoAbstention()]))
        told = await page.check(bundle_to_json(bundle))
        assert told == dict.fromkeys(OFFLINE, "true") | {"policy": "skipped"}
        assert "dao-scorer audit" in await page.tab.evaluate("document.body.innerText")


def test_the_page_knows_the_released_policies() -> None:
    content = PAGE.read_text(encoding="utf-8")
    for cls in WEIGHTINGS:
        assert f'"{digest_of(cls)}": ["{cls.NAME}"' in content
    for rule in RULES:
        assert f'RULES_CODE = "{digest_of(rule)}"' in content
        assert f'"{rule.NAME}": (vote' in content
