"""Proofs in files and from the server: found, read within a bound, written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from orchestrator.commitments import Bundle, ProofError
from orchestrator.commitments.bundle import BUNDLE_BYTES_MAX
from orchestrator.domain.ids import fault_of_id
from orchestrator.server import fetch_bundle
from scorers.cli.session import naming, server
from scorers.errors import ProofFileError
from scorers.reading import Proof, proof_from_json
from scorers.serving import PROOFS
from scorers.settings import Settings


def proof_in(source: str) -> Proof | None:
    """Return the proof in a file, of whatever kind; None where the argument can only be a promise's id.

    Raises ProofFileError for a missing file, and for one that holds no proof.
    """
    path = Path(source)
    if path.is_file():
        return _read(path)
    if os.sep in source or path.suffix == ".json" or path.exists() or fault_of_id(source) is not None:
        raise ProofFileError(
            f"there is no proof file {source}: write one with dao-scorer proof get PROMISE_ID --output FILE"
        )
    return None


def bundle_in(source: str) -> Bundle | None:
    """Return the whole bundle in a file; None and raises as `proof_in`, and for a part of a bundle."""
    proof = proof_in(source)
    if proof is None or isinstance(proof, Bundle):
        return proof
    raise ProofFileError(f"{source} proves one {proof.kind}: the whole bundle is needed here")


def _read(path: Path) -> Proof:
    with path.open("rb") as file:
        # One byte more than is taken tells a file that is too long, however long it is.
        data = file.read(BUNDLE_BYTES_MAX + 1)
    try:
        return proof_from_json(data)
    except ProofError as error:
        raise ProofFileError(f"{path} is no proof: {error}") from error


async def fetched(settings: Settings, promise_id: str) -> Bundle:
    """Return the bundle of a promise of the server."""
    async with server(settings) as transport:
        with naming(promise_id, settings):
            return await fetch_bundle(transport.call, promise_id, PROOFS.sections, decode=PROOFS.decode)


def write_proof(path: Path, content: bytes) -> None:
    """Write the file whole or not at all: a bundle cut short would look tampered with.

    Raises ProofFileError where it cannot be written.
    """
    try:
        _write(path, content)
    except OSError as error:
        raise ProofFileError(
            f"cannot write {path}: {error.strerror}: choose a folder that exists and is writable"
        ) from error


def _write(path: Path, content: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as file:
        written = Path(file.name)
        try:
            file.write(content)
            file.flush()
            # A temporary file is private; the proof is for everyone whom the user's umask lets read it.
            written.chmod(0o666 & ~_umask())
            written.replace(path)
        except BaseException:
            written.unlink(missing_ok=True)
            raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
