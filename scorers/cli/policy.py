"""`dao-scorer policy list|show|template|check`: the rules by which votes are counted."""

from __future__ import annotations

import inspect
import sys
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Annotated, Any, cast

import msgspec
import typer
from rich.markup import escape

from scorers.cli import options, output
from scorers.cli.flags import configured
from scorers.cli.proof_files import write_proof
from scorers.cli.session import command
from scorers.policies import MinimumWeight, ReputationWeighted
from scorers.policies import template as template_module
from scorers.policies.base import Part, Rule, Weighting
from scorers.policies.catalogue import RULES, WEIGHTINGS
from scorers.policies.configuration import policy_from
from scorers.policies.statement import parts_of
from scorers.policy import Policy, PolicyStatement, policy_hash
from scorers.sections import section_of_policy
from scorers.settings import Settings
from scorers.testing import faults_of

app = typer.Typer(help="How votes are weighed, and which count.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
@command
async def list_policies(as_json: options.AsJson = False) -> None:
    """List the policies and rules of this program. With their parameters, as a configuration names them."""
    known = [_described(cls) for cls in (*WEIGHTINGS, *RULES)]
    if as_json:
        for each in known:
            output.emit(each)
        return
    rows = [(each["kind"], each["name"], _shown(each["parameters"]), each["is"]) for each in known]
    output.table("policies and rules", ("kind", "name", "parameters", "what it does"), rows)


def _described(cls: type[Part]) -> dict[str, Any]:
    parameters = {
        each.name: None if each.default is MISSING else each.default for each in fields(cast("Any", cls))
    }
    return {
        "kind": "rule" if issubclass(cls, Rule) else "policy",
        "name": cls.NAME,
        "version": cls.VERSION,
        "parameters": parameters,
        "is": (inspect.getdoc(cls if issubclass(cls, Rule) else inspect.getmodule(cls)) or "").splitlines()[
            0
        ],
    }


def _shown(parameters: dict[str, object]) -> str:
    given = (f"{name}={value}" if value not in (None, "") else name for name, value in parameters.items())
    return ", ".join(given)


@app.command("show")
@configured("policy")
async def show(settings: Settings, as_json: options.AsJson = False) -> None:
    """Show the configured policy, and the hash that the DAO's admin registers for it."""
    policy = policy_from(settings.policy)
    stated: dict[str, Any] = msgspec.to_builtins(section_of_policy(policy))
    if as_json:
        output.emit({"hash": policy_hash(policy), "policy": stated})
        return
    rules = stated.pop("rules", [])
    parts = {**stated, **{f"rule {number}": rule for number, rule in enumerate(rules)}}
    shown = {name: part if isinstance(part, str | int) else _json(part) for name, part in parts.items()}
    output.record("policy", {"hash": policy_hash(policy), **shown})


def _json(part: object) -> str:
    return msgspec.json.encode(part).decode()


@app.command("template")
@command
async def template(
    file: Annotated[Path | None, typer.Option("--output", "-o", help="Write it to this file.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Print a policy of your own to start from: a Python file with one weighting and one rule."""
    text = inspect.getsource(template_module)
    if file is not None:
        write_proof(file, text.encode())
    if as_json:
        output.emit({"file": str(file) if file else None, "bytes": len(text.encode())})
    elif file is not None:
        output.say(
            f"wrote {escape(str(file))}: dao-scorer policy check --policy {escape(file.stem)}:CappedWeight"
        )
    else:
        sys.stdout.write(text)


@app.command("check")
@configured("policy")
async def check(
    settings: Settings,
    cases: Annotated[int, typer.Option(min=1, max=100_000, help="So many votes are tried.")] = 200,
    seed: Annotated[int, typer.Option(help="Chooses the votes.")] = 1,
    as_json: options.AsJson = False,
) -> None:
    """Hold the configured policy against the test kit. Pure, exact, and the same in every process, or not."""
    policy = policy_from(settings.policy)
    weighting, rules = _parts(policy)
    faults = faults_of(weighting, rules=rules, cases=cases, seed=seed)
    if as_json:
        output.emit({"hash": policy_hash(policy), "ok": not faults, "faults": faults})
    elif not faults:
        output.say(f"{escape(policy.name)} is pure and exact: {cases} votes, in another process alike")
    if faults:
        output.fail(f"{policy.name} has {len(faults)} faults: {'; '.join(faults)}")


def _parts(policy: Policy | PolicyStatement) -> tuple[Weighting, tuple[Rule, ...]]:
    if isinstance(policy, PolicyStatement):
        parts = parts_of(policy)
        return parts.weighting, parts.rules
    return ReputationWeighted(), (MinimumWeight(weight=policy.minimum_weight),)
