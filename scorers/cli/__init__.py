"""The `dao-scorer` command: one module a family of commands, composed here."""

from __future__ import annotations

from typing import Annotated

import typer

from scorers.cli import chain, demo, doctor, invoke, logs, promise, proof, replay, services, tree

app = typer.Typer(
    name="dao-scorer",
    help="Durable, provable scoring of DAO proposals.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
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
):
    app.command()(run)
app.add_typer(promise.app, name="promise")
app.add_typer(proof.app, name="proof")


def main() -> None:
    """Run the command line."""
    app()
