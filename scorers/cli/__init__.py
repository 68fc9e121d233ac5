"""The `dao-scorer` command: one module a family of commands, composed here."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from rich.markup import escape

from scorers.cli import logs, output
from scorers.cli.families import Place, lazily

INTERRUPTED = 130
USAGE = 2

COMMANDS = {
    "demo": Place("demo:demo", "Score proposals on a local chain; a worker is killed half-way."),
    "replay": Place("replay:replay", "Re-enact recorded votes on a local chain."),
    "up": Place("up:up", "Run server, listener and one scorer in one process."),
    "serve": Place("serve:serve", "Serve the orchestrator over HTTP."),
    "worker": Place("worker:worker", "Run a scorer: take proposals, score them, submit the scores."),
    "listen": Place(
        "listen:listen", "Listen to DAOs and other contracts: invoke what each finalised log asks for."
    ),
    "chain": Place("chain:chain", "Run a local chain (eth-tester and py-evm) for any web3 client."),
    "deploy": Place("chain:deploy", "Deploy a ReputationDao and its registry."),
    "invoke": Place("invoke:invoke", "Invoke a function on a worker group."),
    "tree": Place("tree:tree", "Draw the calls of an invocation with their states and times."),
    "doctor": Place("doctor:doctor", "Check configuration, node, contracts, key, server and files."),
    "audit": Place("audit:audit", "Rebuild a score from the chain alone."),
    "encryption-key": Place(
        "encryption_key:encryption_key",
        "Add a new key for encrypted values to a key file, as the one that writes.",
    ),
    "replay-history": Place(
        "history:replay_history",
        "Replay recorded executions on the functions of a module; exit with 1 if they do not repeat them.",
    ),
    "history": Place("history:app", "Recorded executions as files."),
    "promise": Place("promise:app", "Look at durable promises, and settle them by hand."),
    "task": Place("holding:app", "Look at tasks, and step in by hand."),
    "group": Place("group:app", "Limit worker groups, pause and resume them."),
    "schedule": Place("schedule:app", "Invoke functions again and again, by cron lines."),
    "proof": Place("proof:app", "Fetch and check the proof of a score."),
    "policy": Place("policy:app", "How votes are weighed, and which count."),
    "db": Place("db:app", "Look after the server's store."),
    "cursor": Place("cursor:app", "Look at the listener's place."),
    "incident": Place("incident:app", "Decide about what has stopped the listener."),
    "tx": Place("tx:app", "Look at transactions, and help one that is stuck."),
    "rounds": Place("rounds:app", "Rounds of a proposal's verdict: look, challenge, finalize, resolve."),
}
"""All commands in the order of the list, with what each says about itself."""

app = typer.Typer(
    name="dao-scorer",
    cls=lazily(COMMANDS, __name__),
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
