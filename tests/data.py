"""Where the recorded votes are, for the tests that use them; those skip where they are absent."""

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("DAO_SCORER_DATA", Path(__file__).parents[2] / "shared" / "data"))
DXDAO = DATA / "dxdao-proposals.jsonl"
needs_dxdao = pytest.mark.skipif(
    not DXDAO.exists(), reason=f"{DXDAO.name} is not here: set DAO_SCORER_DATA to the folder that holds it"
)
