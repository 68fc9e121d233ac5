"""The data of the transaction that deploys a compiled contract."""

from collections.abc import Mapping
from typing import Any

from contracts.artifacts import Artifact
from contracts.bindings.codec import encode_values

__all__ = ["deploy_data"]


def deploy_data(artifact: Artifact, *arguments: object) -> bytes:
    """Return the creation code followed by the constructor's encoded arguments.

    Raises:
        EncodeError: the arguments do not fit the constructor.

    """
    types = [_type_of(each) for each in _constructor_inputs(artifact)]
    return artifact.bytecode + encode_values(f"the constructor of {artifact.name}", types, arguments)


def _constructor_inputs(artifact: Artifact) -> list[Mapping[str, Any]]:
    found = (entry["inputs"] for entry in artifact.abi if entry["type"] == "constructor")
    return next(found, [])


def _type_of(parameter: Mapping[str, Any]) -> str:
    """Return the canonical type: a struct is the tuple of its members."""
    kind = str(parameter["type"])
    if not kind.startswith("tuple"):
        return kind
    members = ",".join(_type_of(each) for each in parameter["components"])
    return f"({members}){kind.removeprefix('tuple')}"
