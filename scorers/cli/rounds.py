"""`dao-scorer rounds`: where a proposal's verdict stands, who said what, and what takes it on.

What is sent here is sent once and waited for: these are moves of a person, not of a service.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, TypeVar

import typer

from contracts.bindings import Function, proposal_scores
from contracts.bindings.proposal_scores import Course, ScoreSubmitted, Stage, Status
from contracts.direct import DirectSender
from contracts.rpc import Node, logs_between
from scorers import composition
from scorers.cli import options, output
from scorers.cli.flags import configured
from scorers.settings import ADDRESS, Settings, require

SIGNING = ("registry", "rpc", "chain_id", "keystore", "keystore_password_file")
READING = ("registry", "rpc", "chain_id", "start_block")
ROOT_BYTES = 32
R = TypeVar("R")
Proposal = Annotated[str, typer.Argument(metavar="PROPOSAL", help="The proposal's id, in decimal.")]

app = typer.Typer(
    help="Rounds of a proposal's verdict: look, challenge, finalize, resolve.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


class Verdict(StrEnum):
    """What an admin may resolve a proposal as."""

    SCORED = "scored"
    NO_VOTES = "no-votes"


_CODES = {Verdict.SCORED: Status.SCORED, Verdict.NO_VOTES: Status.NO_VOTES}


@app.command("show")
@configured(*READING)
async def rounds_show(settings: Settings, proposal: Proposal, as_json: options.AsJson = False) -> None:
    """Show where a proposal's verdict stands, and what each scorer submitted. Read from --start-block on."""
    registry, number = _place(settings, proposal)
    async with composition.node_of(settings) as node:
        course = await _read(node, registry, proposal_scores.COURSE_OF, number)
        head, event = await node.header("latest"), proposal_scores.SCORE_SUBMITTED
        topics = event.topics(proposal_id=number)
        logs = await logs_between(node, registry, topics, settings.start_block, head.number)
    submissions = [event.decode(log) for log in logs]
    if as_json:
        output.emit(_shown(course, submissions))
        return
    output.record(f"proposal {number}", _fields(course))
    rows = [_row(course, each) for each in submissions]
    output.table("submissions", ("round", "scorer", "status", "score", "root", "as agreed"), rows)


@app.command("open")
@configured(*SIGNING)
async def rounds_open(settings: Settings, proposal: Proposal, as_json: options.AsJson = False) -> None:
    """Open the first round, or the next one after a time-out."""
    await _move(settings, proposal, proposal_scores.OPEN_ROUND, as_json=as_json)


@app.command("challenge")
@configured(*SIGNING)
async def rounds_challenge(settings: Settings, proposal: Proposal, as_json: options.AsJson = False) -> None:
    """Challenge an agreed verdict with the registry's bond. Audit it first: a wrong one costs the bond."""
    registry, _ = _place(settings, proposal)
    async with composition.node_of(settings) as node:
        bond = await _read(node, registry, proposal_scores.BOND)
    await _move(settings, proposal, proposal_scores.CHALLENGE, value=bond, as_json=as_json)


@app.command("finalize")
@configured(*SIGNING)
async def rounds_finalize(settings: Settings, proposal: Proposal, as_json: options.AsJson = False) -> None:
    """Make a verdict final whose window has passed. Scorers do it by themselves."""
    await _move(settings, proposal, proposal_scores.FINALIZE, as_json=as_json)


@app.command("resolve")
@configured(*SIGNING)
async def rounds_resolve(
    settings: Settings,
    proposal: Proposal,
    score: Annotated[int, typer.Option(help="Signed basis points; 0 without votes.")],
    root: Annotated[str, typer.Option(help="Root of the steps, 0x and 64 hexadecimal digits.")],
    status: Annotated[Verdict, typer.Option(help="What the verdict says.")] = Verdict.SCORED,
    as_json: options.AsJson = False,
) -> None:
    """Give the verdict, as the registry's admin, where the rounds are used up."""
    verdict = (int(_CODES[status]), score, _root_of(root))
    await _move(settings, proposal, proposal_scores.RESOLVE, *verdict, as_json=as_json)


@app.command("withdraw")
@configured(*SIGNING)
async def rounds_withdraw(
    settings: Settings,
    account: Annotated[str, typer.Argument(metavar="ADDRESS", help="Whom the registry owes a bond.")],
    as_json: options.AsJson = False,
) -> None:
    """Have the registry pay an account the bonds that it is credited with."""
    if not ADDRESS.fullmatch(account):
        output.fail(f"{account!r} is no address: 0x and 40 hexadecimal digits")
    require(settings, "registry")
    await _send(settings, proposal_scores.WITHDRAW.encode(account.lower()), as_json=as_json)


def _place(settings: Settings, proposal: str) -> tuple[str, int]:
    require(settings, "registry")
    assert settings.registry is not None  # noqa: S101 - required above
    if not (proposal.isascii() and proposal.isdigit()) or int(proposal) >= 2**256:
        output.fail(f"{proposal[:80]!r} is no id of a proposal: a decimal number")
    return settings.registry, int(proposal)


def _root_of(text: str) -> bytes:
    try:
        root = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        root = b""
    if len(root) != ROOT_BYTES:
        output.fail(f"--root {text[:80]!r} is no root: 0x and {2 * ROOT_BYTES} hexadecimal digits")
    return root


async def _read(node: Node, registry: str, function: Function[R], *arguments: object) -> R:
    return function.decode(await node.call(registry, function.encode(*arguments)))


async def _move(
    settings: Settings,
    proposal: str,
    function: Function[None],
    *arguments: object,
    as_json: bool,
    value: int = 0,
) -> None:
    _, number = _place(settings, proposal)
    await _send(settings, function.encode(number, *arguments), as_json=as_json, value=value)


async def _send(settings: Settings, data: bytes, *, as_json: bool, value: int = 0) -> None:
    signer = composition.signer_of(settings)
    async with composition.node_of(settings) as node:
        sender = DirectSender(node, signer, await node.chain_id())
        receipt = await sender.send(settings.registry, data, value=value)
    transaction = "0x" + receipt.transaction_hash.hex()
    if as_json:
        output.emit({"transactionHash": transaction, "blockNumber": receipt.block_number})
    else:
        output.say(f"mined in block {receipt.block_number}: {transaction}")


def _fields(course: Course) -> dict[str, object]:
    fields: dict[str, object] = {"stage": course.stage.name.lower(), "round": course.round}
    if course.started_at:
        fields["begun"] = _time(course.started_at)
    if course.until:
        fields[_UNTIL[course.stage]] = _time(course.until)
    if course.stage is not Stage.OPEN:
        verdict = {"status": course.status.name.lower(), "score": course.score}
        fields |= {**verdict, "root": "0x" + course.root.hex()}
    return fields


_UNTIL = {
    Stage.OPEN: "times out",
    Stage.AGREED: "may be final",
    Stage.DISPUTED: "final unless resolved",
    Stage.FINAL: "final since",
}


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _as_agreed(course: Course, submitted: ScoreSubmitted) -> bool | None:
    if course.stage is Stage.OPEN:
        return None
    said = (submitted.status, submitted.score, submitted.root)
    return said == (course.status, course.score, course.root)


def _row(course: Course, submitted: ScoreSubmitted) -> tuple[object, ...]:
    mark = output.mark(_as_agreed(course, submitted))
    what = (submitted.status.name.lower(), submitted.score, "0x" + submitted.root.hex())
    return (submitted.round, submitted.scorer, *what, mark)


def _shown(course: Course, submissions: list[ScoreSubmitted]) -> dict[str, object]:
    return {
        "stage": course.stage.name.lower(),
        "round": course.round,
        "startedAt": course.started_at,
        "until": course.until,
        "status": course.status.name.lower(),
        "score": course.score,
        "root": "0x" + course.root.hex(),
        "submissions": [
            {
                "round": each.round,
                "scorer": each.scorer.lower(),
                "status": each.status.name.lower(),
                "score": each.score,
                "root": "0x" + each.root.hex(),
                "asAgreed": _as_agreed(course, each),
            }
            for each in submissions
        ],
    }
