"""What docs/commitments.md shows is what the code writes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from orchestrator.commitments import Uint256, verify_bundle
from orchestrator.commitments.bundle import Bundle, LeafRecord
from orchestrator.commitments.canonical import canonical
from orchestrator.commitments.closing import CLOSE_HEADER, COUNT_HEADER, DOMAIN_HEADER, ROOT_HEADER
from orchestrator.commitments.leaf import LEAF_TYPES, SCHEME_HEADER, STEP_HEADERS

PAGE = (Path(__file__).parents[2] / "docs/commitments.md").read_text()


def test_headers_and_leaf_types_are_named() -> None:
    for header in (SCHEME_HEADER, *STEP_HEADERS, CLOSE_HEADER, DOMAIN_HEADER, COUNT_HEADER, ROOT_HEADER):
        assert f"`{header}" in PAGE
    assert f"`{', '.join(LEAF_TYPES)}`" in PAGE


def test_the_shown_bundle_has_the_fields_of_a_bundle() -> None:
    shown = re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert shown is not None
    names = set(re.findall(r'"(\w+)":', shown.group(1))) - {"chain"}
    assert names == {*Bundle.__struct_fields__, *LeafRecord.__struct_fields__}


def test_every_check_is_explained() -> None:
    nothing = Bundle(
        version=2,
        promise_id="w",
        domain="0x" + "0" * 64,
        root="0x" + "0" * 64,
        count=0,
        leaves=[],
        sections={},
    )
    checks = verify_bundle(nothing)
    assert [*(check.name for check in checks), "scoring", "votes", "tally", "policy"] == re.findall(
        r"^\| `(\w+)` \| ", PAGE.split("verify_bundle`")[1], re.M
    )
    assert not any(check.ok for check in checks if check.name in {"completeness", "root"})


def test_shown_forms_are_the_written_ones() -> None:
    assert canonical(5, Uint256 | str) == b'{"$integer":"5"}'
    assert canonical([1], Sequence[int]) == canonical((1,), Sequence[int])
