"""The `dao-scorer` command: one module a family of commands, composed here."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from rich.markup import escape

from scorers.cli import (
    audit,
    chain,
    cursor,
    db,
    demo,
    doctor,
    encryption_key,
    group,
    history,
    holding,
    incident,
    invoke,
    logs,
    output,
    policy,
    promise,
    proof,
    replay,
    rounds,
    schedule,
    services,
    task,
    tree,
    tx,
)
from scorers.cli.session import INTERRUPTED

USAGE = 2

app = typer.Typer(
    name="dao-scorer",
    help="Durable, provable scoring of DAO proposals.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # its tables cut long names short at 80 columns
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def configure(
    log_level: Annotated[
        logs.Level, typer.Option("--log-level", envvar="DAO_SCORER_LOG_LEVEL", help="How much is logged.")
    ] = logs.Level.WARNING,
) -> None:
    """Durable, provable scoring of DAO proposals."""
    logs.configure(log_level)


for run in (
    demo.demo,
    replay.replay,
    services.up,
    services.serve,
    services.worker,
    services.listen,
    chain.chain,
    chain.deploy,
    invoke.invoke,
    tree.tree,
    doctor.doctor,
    audit.audit,
    encryption_key.encryption_key,
):
    app.command()(run)
app.command("replay-history")(history.replay_history)
app.add_typer(history.app, name="history")
app.add_typer(promise.app, name="promise")
for name, act in (("create", holding.create), ("suspend", holding.suspend), ("fence", holding.fence)):
    task.app.command(name)(act)
app.add_typer(task.app, name="task")
app.add_typer(group.app, name="group")
app.add_typer(schedule.app, name="schedule")
app.add_typer(proof.app, name="proof")
app.add_typer(policy.app, name="policy")
app.add_typer(db.app, name="db")
app.add_typer(cursor.app, name="cursor")
app.add_typer(incident.app, name="incident")
app.add_typer(tx.app, name="tx")
app.add_typer(rounds.app, name="rounds")


def main() -> None:
    """Run the command line; wrong usage is told in one line, with exit code 2."""
    try:
        code = app(prog_name=app.info.name, standalone_mode=False)
    except typer.Abort:  # an interruption outside of a command's own work
        sys.exit(INTERRUPTED)
    except Exception as error:
        if not _is_usage(error):
            raise
        _tell_usage(error)
        sys.exit(USAGE)
    sys.exit(code if isinstance(code, int) else 0)


def _is_usage(error: Exception) -> bool:
    """Tell whether the arguments are wrong. Typer keeps these errors in a private copy of click."""
    return hasattr(error, "format_message") and hasattr(error, "ctx")


def _tell_usage(error: Any) -> None:
    path = error.ctx.command_path if error.ctx is not None else app.info.name
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return
    message = " ".join(error.format_message().split()).rstrip(".")
    output.err.print(f"[bold red]error:[/] {escape(message)}: see {path} --help", soft_wrap=True)
