"""Every fault that docs/published-faults.md lists names tests, and they exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "published-faults.md"
FAULTS = 11
_ROW = re.compile(r"^\| (?P<fault>[^|]+) \| (?P<answer>[^|]+) \| (?P<tests>[^|]+) \|$", re.MULTILINE)


def rows() -> list[re.Match[str]]:
    return [row for row in _ROW.finditer(PAGE.read_text("utf-8")) if "::" in row["tests"]]


@cache
def names_of_tests(path: str) -> frozenset[str]:
    """Return the names of the test functions at the top of a file, as pytest collects them."""
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    functions = (node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))
    return frozenset(each.name for each in functions if each.name.startswith("test_"))


def test_every_fault_is_listed_once() -> None:
    faults = [row["fault"] for row in rows()]
    assert len(faults) == len(set(faults)) == FAULTS
    assert "eleven" in PAGE.read_text("utf-8")


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["fault"][:40])
def test_the_tests_of_a_fault_exist(row: re.Match[str]) -> None:
    named = re.findall(r"`([^`]+)`", row["tests"])
    assert named, "a fault without a test may come back unnoticed"
    for each in named:
        path, name = each.split("::")
        assert (ROOT / path).is_file(), f"{path} is gone: name the test that catches this fault now"
        assert name in names_of_tests(path), (
            f"{path} has no {name}: name the test that catches this fault now"
        )
