"""`dao-scorer proof get|verify|schema|page`: the evidence of a score, checked without believing anybody."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from contracts.rpc import Node
from orchestrator.commitments import (
    Bundle,
    Check,
    ProofError,
    StepProof,
    bundle_to_json,
    step_proof,
    verify_bundle,
    verify_step_proof,
)
from orchestrator.commitments.partial import as_bundle
from scorers import composition
from scorers.arithmetic import verify_scoring
from scorers.cli import options, output
from scorers.cli.flags import configured
from scorers.cli.proof_files import fetched, proof_in, write_proof
from scorers.errors import ProofFileError
from scorers.evidence import verify_on_chain, verify_place
from scorers.reading import Proof
from scorers.schema import evidence_schema
from scorers.sections import SECTION, VOTES_SECTION
from scorers.serving import PROOFS
from scorers.settings import Settings
from scorers.verifier import PAGE
from scorers.voter_proof import VoterProof, bundle_of, verify_voter_proof, voter_proof

app = typer.Typer(help="Fetch and check the proof of a score.", no_args_is_help=True, rich_markup_mode=None)


@app.command("get")
@configured("server")
async def get(
    settings: Settings,
    promise_id: Annotated[str, typer.Argument(help="The scored proposal's promise.")],
    file: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the evidence bundle to this file.")
    ] = None,
    step: Annotated[int | None, typer.Option(min=0, help="Only the proof of this step.")] = None,
    voter: Annotated[str | None, typer.Option(help="Only the proof of this voter, an address.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Fetch the evidence of a promise. Leaves, values, paths, root, and where the score stands on-chain."""
    proof = _chosen(await fetched(settings, promise_id), step, voter)
    if file is not None:
        write_proof(file, bundle_to_json(proof))
    if as_json:
        output.emit({"promise_id": promise_id, "root": proof.root, "file": str(file)} if file else proof)
    elif file is None:
        _show(proof)
    else:
        name = escape(str(file))
        output.say(f"wrote the proof to {name}: dao-scorer proof verify {name}")


def _chosen(bundle: Bundle, step: int | None, voter: str | None) -> Proof:
    if step is not None and voter is not None:
        raise ProofFileError("a proof is of one step or of one voter: give --step or --voter")
    try:
        if step is not None:
            return step_proof(bundle, step, without=PROOFS.of_the_whole)
        return voter_proof(bundle, voter) if voter is not None else bundle
    except ProofError as error:
        raise ProofFileError(str(error)) from error


@app.command("schema")
def schema(
    file: Annotated[Path | None, typer.Option("--output", "-o", help="Write it to this file.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Print the JSON schema of evidence bundles. Version 2020-12 of the draft."""
    _give(evidence_schema(), file, as_json=as_json)


@app.command("page")
def page(
    file: Annotated[Path | None, typer.Option("--output", "-o", help="Write it to this file.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Print the verifier for browsers: one HTML file that needs nothing. --output tells its SHA-256."""
    _give(PAGE.read_bytes(), file, as_json=as_json)


def _give(content: bytes, file: Path | None, *, as_json: bool) -> None:
    digest = sha256(content).hexdigest()
    if file is not None:
        write_proof(file, content)
    if as_json:
        output.emit({"file": str(file) if file else None, "bytes": len(content), "sha256": digest})
    elif file is not None:
        output.say(f"wrote {escape(str(file))}, SHA-256 {digest}")
    else:
        sys.stdout.write(content.decode())


@app.command("verify")
@configured("chain_id", "dao", "registry", "server", own=("rpc",))
async def verify(
    settings: Settings,
    source: Annotated[
        str, typer.Argument(metavar="FILE|PROMISE_ID", help="A bundle's file, or a promise of the server.")
    ],
    rpc: Annotated[
        list[str] | None,
        typer.Option(
            "--rpc",
            envvar="DAO_SCORER_RPC",
            help="Also ask this chain node: root, transaction, and the score computed again from the votes.",
        ),
    ] = None,
    policy_class: options.PolicyClasses = None,
    as_json: options.AsJson = False,
) -> None:
    """Check a proof; exit code 0 only if every check holds. A file needs no server."""
    options.load_policy_classes(policy_class)
    proof = proof_in(source) or await fetched(settings, source)
    checks = [*_offline(proof), *_expected_addresses(proof, settings)]
    if rpc:
        async with composition.node_of(settings) as node:
            checks += await _on_chain(node, proof)
    _report(source, proof, checks, on_chain=bool(rpc), as_json=as_json)
    failed = next((check for check in checks if not check.ok), None)
    if failed is not None:
        output.fail(f"{source}: check {failed.name!r} does not hold: {failed.detail}")


def _offline(proof: Proof) -> list[Check]:
    if isinstance(proof, Bundle):
        return [*verify_bundle(proof), *verify_scoring(proof)]
    return verify_step_proof(proof) if isinstance(proof, StepProof) else verify_voter_proof(proof)


async def _on_chain(node: Node, proof: Proof) -> list[Check]:
    if isinstance(proof, Bundle):
        return await verify_on_chain(node, proof)
    return await verify_place(node, as_bundle(proof) if isinstance(proof, StepProof) else bundle_of(proof))


def _show(bundle: Proof) -> None:
    output.record(
        bundle.promise_id,
        {
            "root": bundle.root,
            "domain": bundle.domain,
            **{
                f"{section}: {name}": value
                for section, content in bundle.sections.items()
                if isinstance(content, dict) and section != VOTES_SECTION
                for name, value in content.items()
            },
        },
    )
    leaves = bundle.leaves if isinstance(bundle, Bundle) else [bundle.leaf]
    rows = [(leaf.index, output.foreign(leaf.function), leaf.version, leaf.hash) for leaf in leaves]
    output.table("leaves", ("index", "function", "version", "hash"), rows)
    if isinstance(bundle, VoterProof):
        votes = [
            (
                one.index,
                one.voter,
                one.support,
                one.weight,
                output.mark(one.counted),
                output.foreign(one.reason),
            )
            for one in (each.vote for each in bundle.votes)
        ]
        columns = ("index", "voter", "support", "weight", "counted", "why not")
        output.table(f"votes of {bundle.voter}", columns, votes)


def _expected_addresses(bundle: Proof, settings: Settings) -> list[Check]:
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


def _report(source: str, bundle: Proof, checks: Sequence[Check], *, on_chain: bool, as_json: bool) -> None:
    ok = all(check.ok for check in checks)
    if as_json:
        facts = {"source": source, "promise_id": bundle.promise_id, "root": bundle.root}
        shown = [{"name": check.name, "ok": check.ok, "detail": check.detail} for check in checks]
        output.emit({**facts, "ok": ok, "on_chain": on_chain, "checks": shown})
        return
    rows = [(check.name, output.mark(check.ok), output.foreign(check.detail)) for check in checks]
    output.table(output.foreign(bundle.promise_id), ("check", "holds", "what was seen"), rows)
    if ok and not on_chain:
        output.say("whether this root stands on the chain was not asked: add --rpc URL")
