"""Compiled contracts: ABI, bytecode, compiler settings and source hash.

The JSON files beside this module are written by `contracts/compile.mjs` and committed, so that neither users
nor tests need Node.js. Nothing here touches a chain; it must not import web3, the orchestrator or a sibling.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

__all__ = ["Artifact", "ArtifactNotFoundError", "load", "names", "parse"]


class ArtifactNotFoundError(Exception):
    """No compiled contract has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"no compiled contract is named {self.name!r}: choose one of {', '.join(names())}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One compiled contract.

    `bytecode` is the creation code without constructor arguments; `deployed_bytecode` is what it leaves on
    the chain, before immutables are filled in. `compiler` is solc's full version, `openzeppelin` that of the
    library, `settings` are the compiler's and `source_hash` is the SHA-256 (hex) over `contracts/src`.
    """

    name: str
    abi: tuple[Mapping[str, Any], ...]
    bytecode: bytes
    deployed_bytecode: bytes
    compiler: str
    openzeppelin: str
    settings: Mapping[str, Any]
    source_hash: str


@cache
def load(name: str) -> Artifact:
    """Return the compiled contract of that name.

    Raises:
        ArtifactNotFoundError: there is none.

    """
    if name not in names():
        raise ArtifactNotFoundError(name)
    return parse(resources.files(__name__).joinpath(f"{name}.json").read_text(encoding="utf-8"))


def parse(text: str) -> Artifact:
    """Return the contract of an artifact's text, as `contracts/compile.mjs` writes it."""
    document = json.loads(text)
    return Artifact(
        name=document["name"],
        abi=tuple(document["abi"]),
        bytecode=_bytes(document["bytecode"]),
        deployed_bytecode=_bytes(document["deployedBytecode"]),
        compiler=document["compiler"],
        openzeppelin=document["openzeppelin"],
        settings=document["settings"],
        source_hash=document["sourceHash"],
    )


@cache
def names() -> tuple[str, ...]:
    """Return the names of all compiled contracts, sorted."""
    files = (file.name for file in resources.files(__name__).iterdir())
    return tuple(sorted(file.removesuffix(".json") for file in files if file.endswith(".json")))


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))
