"""`dao-scorer audit`: rebuild a score from public chain data alone, and say where a bundle differs."""

from __future__ import annotations

from typing import Annotated

import typer

from scorers import composition
from scorers.audit import Audit
from scorers.audit import audit as run_audit
from scorers.cli import options, output
from scorers.cli.flags import configured
from scorers.cli.proof_files import bundle_in, fetched
from scorers.settings import Settings

Source = Annotated[
    str, typer.Argument(metavar="PROMISE_OR_BUNDLE", help="A promise of the server, or a bundle's file.")
]


@configured("chain_id", "rpc", "server")
async def audit(
    settings: Settings,
    source: Source,
    policy_class: options.PolicyClasses = None,
    as_json: options.AsJson = False,
) -> None:
    """Rebuild a score from the chain alone. Says where the evidence differs; exit code 0 if nowhere."""
    options.load_policy_classes(policy_class)
    bundle = bundle_in(source) or await fetched(settings, source)
    async with composition.node_of(settings) as node:
        found = await run_audit(node, bundle)
    if as_json:
        output.emit(
            {
                "source": source,
                "promise_id": bundle.promise_id,
                "root": bundle.root,
                "ok": found.ok,
                "checks": [
                    {"name": each.name, "ok": each.ok, "detail": each.detail} for each in found.checks
                ],
                "differences": [
                    {"place": each.place, "bundle": each.bundle, "chain": each.chain}
                    for each in found.differences
                ],
            }
        )
    else:
        _show(bundle.promise_id, found)
    if not found.ok:
        output.fail(f"{source}: {_told(found)}")


def _show(title: str, found: Audit) -> None:
    rows = [(each.name, output.mark(each.ok), output.foreign(each.detail)) for each in found.checks]
    output.table(output.foreign(title), ("check", "holds", "what was seen"), rows)
    if found.differences:
        places = [
            (output.foreign(each.place), output.foreign(each.bundle), output.foreign(each.chain))
            for each in found.differences
        ]
        output.table("where it differs", ("place", "the bundle says", "the chain gives"), places)


def _told(found: Audit) -> str:
    failed = ", ".join(check.name for check in found.checks if not check.ok)
    if not found.differences:
        return f"{found.faults[0]} (failed checks: {failed})"
    count = len(found.differences)
    told = "one difference" if count == 1 else f"{count} differences, first"
    return f"{told}: {found.differences[0]} (failed checks: {failed})"
