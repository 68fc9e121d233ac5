"""A plugin of pytest that notes which instructions of contracts py-evm executes, and their places in sources.

`python -m pytest -p tests.contracts_coverage …` writes a file into the folder that `CONTRACT_COVERAGE` names.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from eth.vm.code_stream import CodeStream

CONTRACTS = Path(__file__).parents[1] / "contracts"
FOLDER = "CONTRACT_COVERAGE"
PUSH1, PUSH32 = 0x60, 0x7F
_executed: dict[int, set[int]] = {}


def pytest_configure() -> None:
    if FOLDER not in os.environ:
        return
    inner = CodeStream.__iter__

    def noting(self: Any) -> Iterator[int]:
        # The length tells our contracts apart; what immutables are filled in changes it not.
        note = _executed.setdefault(len(self._raw_code_bytes), set()).add
        for opcode in inner(self):
            note(self.program_counter - 1)
            yield opcode

    pytest.MonkeyPatch().setattr(CodeStream, "__iter__", noting)


def pytest_unconfigure() -> None:
    if FOLDER in os.environ:
        told = {str(length): sorted(counters) for length, counters in _executed.items()}
        file = Path(os.environ[FOLDER]) / f"{os.getpid()}.json"
        file.write_text(json.dumps(told))


def executed(folder: Path) -> dict[int, set[int]]:
    """Return the program counters that were executed, by the length of the code."""
    found: dict[int, set[int]] = {}
    for file in folder.glob("*.json"):
        for length, counters in json.loads(file.read_text()).items():
            found.setdefault(int(length), set()).update(counters)
    return found


def missed(names: Iterable[str], counters: dict[int, set[int]]) -> list[str]:
    """Return the places of our sources that were compiled into these contracts and never executed."""
    compiled = _compiled()
    files = {each["id"]: path for path, each in compiled["sources"].items()}
    found: dict[tuple[str, int, int], bool] = {}
    for name in names:
        made = compiled["contracts"][f"src/{name}.sol"][name]["evm"]["deployedBytecode"]
        code = bytes.fromhex(made["object"])
        for counter, (start, length, file) in _instructions(code, made["sourceMap"]):
            path = files.get(file, "")
            if path.startswith("src/"):
                place = (path, start, length)
                found[place] = found.get(place, False) or counter in counters.get(len(code), set())
    return sorted(_shown(place) for place, hit in found.items() if not hit)


def _compiled() -> Any:
    sources = {
        f"src/{file.name}": {"content": file.read_text()} for file in (CONTRACTS / "src").glob("*.sol")
    }
    wanted = {"*": {"*": ["evm.deployedBytecode.object", "evm.deployedBytecode.sourceMap"]}}
    settings = {**json.loads((CONTRACTS / "compiler.json").read_text()), "outputSelection": wanted}
    given = json.dumps({"language": "Solidity", "sources": sources, "settings": settings})
    command = ["node", str(CONTRACTS / "solc.mjs"), "--standard-json"]
    run = subprocess.run(command, input=given, capture_output=True, text=True, check=True, timeout=300)
    return json.loads(run.stdout)


def _instructions(code: bytes, source_map: str) -> Iterator[tuple[int, tuple[int, int, int]]]:
    """Yield each instruction's counter with its place: start, length and file, -1 for none."""
    counter, fields = 0, ["0", "0", "-1"]
    for entry in source_map.split(";"):
        for number, text in enumerate(entry.split(":")[:3]):
            fields[number] = text or fields[number]
        yield counter, (int(fields[0]), int(fields[1]), int(fields[2]))
        opcode = code[counter]
        counter += 1 + (opcode - PUSH1 + 1 if PUSH1 <= opcode <= PUSH32 else 0)


def _shown(place: tuple[str, int, int]) -> str:
    path, start, length = place
    text = (CONTRACTS / path).read_bytes()
    line = text[:start].count(b"\n") + 1
    return f"{path}:{line}: {' '.join(text[start : start + length].decode().split())[:100]}"
