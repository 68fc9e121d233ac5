"""Recorded proposals, replayed and audited: everything is rebuilt from the chain and equal to the evidence.

A few by default; all of them, under every policy, with `DAO_SCORER_RECORDS=1`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from tests.acceptance.boundaries import RECORDS
from tests.data import DXDAO, needs_dxdao

FEW = 2
POLICIES = (
    '{"name": "participation-adjusted", "last": 7, "rules": [{"name": "first-vote-before"}]}',
    *(("token-weighted", "quadratic", "time-decayed") if RECORDS else ()),
)


@needs_dxdao
@pytest.mark.timeout(3_600 if RECORDS else 170)
@pytest.mark.parametrize("policy", ["reputation-weighted", *POLICIES])
async def test_recorded_proposals_pass_the_audit(policy: str, tmp_path: Path) -> None:
    limit = [] if RECORDS else ["--limit", str(FEW)]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "scorers", "replay", str(DXDAO), *limit, "--policy", policy),
        *("--keep", str(tmp_path / "replay"), "--json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    summary = json.loads(out.splitlines()[-1])
    expected = len(DXDAO.read_text().splitlines()) if RECORDS else FEW
    assert (summary["proposals"], summary["proofs_verified"]) == (expected, expected)
