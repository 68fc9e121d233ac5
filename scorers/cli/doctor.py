"""`dao-scorer doctor`: look at configuration and surroundings, and say what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.markup import escape

from scorers.cli import options, output
from scorers.cli.flags import configured
from scorers.doctor import SUBMISSIONS, Finding, State, examine
from scorers.errors import SettingsError
from scorers.settings import Settings

MARKS = {State.OK: output.mark(True), State.FAILED: output.mark(False), State.SKIPPED: output.mark(None)}


@configured(
    "rpc",
    "chain_id",
    "rpc_quorum",
    "rpc_rate",
    "dao",
    "registry",
    "start_block",
    "finality",
    "final_depth",
    "server",
    "store",
    "cursor",
    "policy",
    "keystore",
    "keystore_password_file",
    "signer",
    "signer_addresses",
    reports_faults=True,
)
async def doctor(
    settings: Settings | SettingsError,
    submissions: Annotated[
        int, typer.Option(min=1, help="Submissions that the key's balance has to pay for.")
    ] = SUBMISSIONS,
    as_json: options.AsJson = False,
) -> None:
    """Check configuration, node, contracts, key, server and files. Exit code 0 only if nothing fails."""
    if isinstance(settings, SettingsError):
        found = [Finding(name="configuration", state=State.FAILED, detail=str(settings))]
    else:
        found = await examine(settings, submissions=submissions)
    _report(found, as_json=as_json)


def _report(found: Sequence[Finding], *, as_json: bool) -> None:
    failed = [finding for finding in found if finding.state is State.FAILED]
    if as_json:
        shown = [
            {"name": finding.name, "state": finding.state, "detail": finding.detail} for finding in found
        ]
        output.emit({"ok": not failed, "checks": shown})
    else:
        rows = [(finding.name, MARKS[finding.state], escape(finding.detail)) for finding in found]
        output.table("doctor", ("check", "", "what was seen, or what to do"), rows)
    if failed:
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        output.fail(f"{failed[0].name}: {failed[0].detail}{more}")
