"""The data of the transaction that deploys a compiled contract."""

from contracts.artifacts import Artifact
from contracts.bindings.codec import encode_values

__all__ = ["deploy_data"]


def deploy_data(artifact: Artifact, *arguments: object) -> bytes:
    """Return the creation code followed by the constructor's encoded arguments.

    Raises:
        EncodeError: the arguments do not fit the constructor.

    """
    types = [str(each["type"]) for each in _constructor_inputs(artifact)]
    return artifact.bytecode + encode_values(f"the constructor of {artifact.name}", types, arguments)


def _constructor_inputs(artifact: Artifact) -> list[dict[str, object]]:
    found = (entry["inputs"] for entry in artifact.abi if entry["type"] == "constructor")
    return next(found, [])
