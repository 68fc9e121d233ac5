"""`dao-scorer proof get|verify`: fetch the evidence of a score, and check it without believing anybody."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from orchestrator.commitments import (
    Bundle,
    Check,
    ProofError,
    bundle_from_json,
    bundle_to_json,
    verify_bundle,
)
from orchestrator.commitments.bundle import BUNDLE_BYTES_MAX
from orchestrator.domain.ids import fault_of_id
from orchestrator.server import fetch_bundle
from scorers import composition
from scorers.cli import options, output
from scorers.cli.flags import configured
from scorers.cli.session import naming, server
from scorers.errors import ProofFileError
from scorers.evidence import SECTION, verify_on_chain
from scorers.settings import Settings

app = typer.Typer(help="Fetch and check the proof of a score.", no_args_is_help=True, rich_markup_mode=None)


@app.command("get")
@configured("server")
async def get(
    settings: Settings,
    promise_id: Annotated[str, typer.Argument(help="The scored proposal's promise.")],
    file: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the evidence bundle to this file.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Fetch the evidence of a promise. Leaves, values, paths, root, and where the score stands on-chain."""
    bundle = await _fetched(settings, promise_id)
    if file is not None:
        try:
            _write(file, bundle_to_json(bundle))
        except OSError as error:
            raise ProofFileError(
                f"cannot write {file}: {error.strerror}: choose a folder that exists and is writable"
            ) from error
    if as_json:
        output.emit({"promise_id": promise_id, "root": bundle.root, "file": str(file)} if file else bundle)
        return
    if file is None:
        _show(bundle)
    else:
        output.say(
            f"wrote {bundle.count} leaves to {escape(str(file))}: dao-scorer proof verify {escape(str(file))}"
        )


@app.command("verify")
@configured("chain_id", "dao", "registry", "server")
async def verify(
    settings: Settings,
    source: Annotated[
        str, typer.Argument(metavar="FILE|PROMISE_ID", help="A bundle's file, or a promise of the server.")
    ],
    rpc: Annotated[
        str | None,
        typer.Option(
            "--rpc",
            envvar="DAO_SCORER_RPC",
            help="Also ask this chain node: root, transaction, and the score computed again from the votes.",
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Check a proof; exit code 0 only if every check holds. A file needs no server."""
    bundle = _in_file(source) or await _fetched(settings, source)
    checks = [*verify_bundle(bundle), *_expected_addresses(bundle, settings)]
    if rpc is not None:
        async with composition.node_of(settings) as node:
            checks += await verify_on_chain(node, bundle)
    _report(source, bundle, checks, on_chain=rpc is not None, as_json=as_json)
    failed = next((check for check in checks if not check.ok), None)
    if failed is not None:
        output.fail(f"{source}: check {failed.name!r} does not hold: {failed.detail}")


def _in_file(source: str) -> Bundle | None:
    """Read the bundle of a file; return None where the argument can only be a promise's id."""
    path = Path(source)
    if path.is_file():
        return _read(path)
    if os.sep in source or path.suffix == ".json" or path.exists() or fault_of_id(source) is not None:
        raise ProofFileError(
            f"there is no proof file {source}: write one with dao-scorer proof get PROMISE_ID --output FILE"
        )
    return None


def _read(path: Path) -> Bundle:
    with path.open("rb") as file:
        content = file.read(BUNDLE_BYTES_MAX + 1)
    try:
        return bundle_from_json(content)
    except ProofError as error:
        raise ProofFileError(f"{path} is no proof: {error}") from error


async def _fetched(settings: Settings, promise_id: str) -> Bundle:
    proofs = composition.PROOFS
    async with server(settings) as transport:
        with naming(promise_id, settings):
            return await fetch_bundle(transport.call, promise_id, proofs.sections, decode=proofs.decode)


def _write(path: Path, content: bytes) -> None:
    """Write the file whole or not at all: a bundle cut short would look tampered with."""
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


def _show(bundle: Bundle) -> None:
    output.record(
        bundle.promise_id,
        {
            "root": bundle.root,
            "domain": bundle.domain,
            **{
                f"{section}: {name}": value
                for section, content in bundle.sections.items()
                if isinstance(content, dict)
                for name, value in content.items()
            },
        },
    )
    rows = [(leaf.index, leaf.function, leaf.version, leaf.hash) for leaf in bundle.leaves]
    output.table("leaves", ("index", "function", "version", "hash"), rows)


def _expected_addresses(bundle: Bundle, settings: Settings) -> list[Check]:
    """Check the addresses that the reader expects: anyone can deploy a DAO and a registry of their own."""
    content = bundle.sections.get(SECTION)
    claimed = content if isinstance(content, dict) else {}
    return [
        _expected(name, expected, claimed.get(name))
        for name, expected in (("dao", settings.dao), ("registry", settings.registry))
        if expected is not None
    ]


def _expected(name: str, expected: str, claimed: object) -> Check:
    same = claimed == expected
    detail = f"the bundle is of {name} {claimed}"
    return Check(name=f"expected {name}", ok=same, detail=detail if same else f"{detail}, not {expected}")


def _report(source: str, bundle: Bundle, checks: Sequence[Check], *, on_chain: bool, as_json: bool) -> None:
    ok = all(check.ok for check in checks)
    if as_json:
        facts = {"source": source, "promise_id": bundle.promise_id, "root": bundle.root}
        shown = [{"name": check.name, "ok": check.ok, "detail": check.detail} for check in checks]
        output.emit({**facts, "ok": ok, "on_chain": on_chain, "checks": shown})
        return
    rows = [(escape(check.name), output.mark(check.ok), escape(check.detail)) for check in checks]
    output.table(escape(bundle.promise_id), ("check", "holds", "what was seen"), rows)
    if ok and not on_chain:
        output.say("whether this root stands on the chain was not asked: add --rpc URL")
