"""The command line as a user runs it: real processes for services, and `main` itself for the rest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from hardhat_free_chain import deterministic_accounts
from scorers.ready import parse

ADMIN, SCORER, STRANGER = [(address.lower(), str(key)) for address, key in deterministic_accounts(3)]
POOR_KEY = "0x" + "5a" * 32
TOKEN = "a-token-of-many-characters"
END_S = 20


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    def told(self, *words: str) -> str:
        """The only line of stderr, which must be an error that names all of these."""
        lines = self.err.strip().splitlines()
        assert self.code != 0, self
        assert len(lines) == 1, self.err
        assert lines[0].startswith("error: "), self.err
        assert "Traceback" not in self.err
        for word in words:
            assert word in lines[0], f"{word!r} is not in {lines[0]!r}"
        return lines[0]


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DAO_SCORER_")}
    return {**kept, **extra}


def run(directory: Path, *arguments: str, **variables: str) -> Ended:
    """Run a command to its end as a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "scorers", *arguments],
        cwd=directory,
        env=environment(variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


@contextmanager
def service(directory: Path, *arguments: str, **variables: str) -> Iterator[str]:
    """Run a command until left; yields what its ready line names."""
    process = subprocess.Popen(
        [sys.executable, "-m", "scorers", *arguments],
        cwd=directory,
        env=environment(variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        where = next(filter(None, map(parse, process.stdout)), None)
        assert where is not None, f"{arguments} ended at its start"
        yield where
    finally:
        process.terminate()
        process.communicate(timeout=END_S)


@dataclass(frozen=True)
class Stage:
    """A chain with a DAO and its registry, and a server that wants a token."""

    rpc: str
    dao: str
    registry: str
    server: str
    store: Path


@contextmanager
def stage(directory: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        rpc = stack.enter_context(service(directory, "chain", "--port", "0"))
        deploying = ("deploy", "--rpc", rpc, "--scorer", SCORER[0], "--json")
        deployed = json.loads(run(directory, *deploying, DAO_SCORER_PRIVATE_KEY=ADMIN[1]).out)
        store = directory / "stage.db"
        serving = ("serve", "--port", "0", "--store", f"sqlite:///{store}")
        server = stack.enter_context(service(directory, *serving, DAO_SCORER_TOKEN=TOKEN))
        yield Stage(rpc=rpc, dao=deployed["dao"], registry=deployed["registry"], server=server, store=store)
