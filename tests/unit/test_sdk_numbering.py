"""A workflow goes on numbering its children as the worker that began it did."""

from __future__ import annotations

import pytest

from orchestrator.domain.ids import child_id, numbering_of


@pytest.mark.parametrize(
    ("parent", "recorded", "numbering"),
    [
        ("root", [], ("root:", 1)),
        ("root", ["root:1", "root:2"], ("root:", 1)),
        ("root", ["root:0"], ("root:", 0)),
        ("root", ["root:0", "root:1"], ("root:", 0)),
        ("root", ["root.1"], ("root.", 1)),
        ("root", ["root.0", "root.1"], ("root.", 0)),
        ("root", ["root:1", "root.1"], ("root:", 1)),
        ("root:1", [], ("root:1.", 1)),
        ("root:1", ["root:1.0"], ("root:1.", 0)),
        ("root:1", ["root:10", "root:1.10"], ("root:1.", 1)),
    ],
)
def test_numbering(parent: str, recorded: list[str], numbering: tuple[str, int]) -> None:
    assert numbering_of(parent, recorded) == numbering


def test_without_a_record_it_is_the_one_of_child_id() -> None:
    for parent in ("root", "root:1", "root.1", "root:1.2"):
        before, first = numbering_of(parent, ())
        assert f"{before}{first}" == child_id(parent, 1)
