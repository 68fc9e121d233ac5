"""`dao-scorer tx`: the transactions of the keys, and what an operator may ask of one that waits."""

from __future__ import annotations

import time
from dataclasses import asdict
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

import typer
from rich.markup import escape

from contracts.transactions.chain import look
from contracts.transactions.values import Wish, WishKind
from contracts.transactions.wishes import WishBook
from orchestrator.client.clock import SystemClock
from orchestrator.client.promises import Promises
from orchestrator.protocol.records import PromiseState
from orchestrator.protocol.transport import Transport
from scorers import composition
from scorers.cli import options, output
from scorers.cli.flags import configured
from scorers.cli.session import server
from scorers.cli.when import duration, moment
from scorers.outgoing import Outgoing, UnknownTransaction, claims, find, with_details
from scorers.sending import GWEI, sending_policy
from scorers.settings import Settings
from scorers.waiting import Waiting, waiting

SECONDS = len("2000-01-01 00:00:00")
"""A listing shows times to the second."""
WAITING = "waiting"
app = typer.Typer(
    help="Look at transactions, and help one that is stuck.", no_args_is_help=True, rich_markup_mode=None
)
Name = Annotated[
    str,
    typer.Argument(
        metavar="TRANSACTION", help="Its nonce, one of its hashes, its logical id, or its nonce's promise."
    ),
]
Sender = Annotated[str | None, typer.Option("--sender", help="Only transactions of this key's address.")]
MaxFee = Annotated[
    str | None,
    typer.Option(
        "--max-fee", metavar="GWEI", help="The most to offer for gas, above the configured cap if need be."
    ),
]


@app.command("list")
@configured("server", "encryption_key_file")
async def tx_list(
    settings: Settings,
    sender: Sender = None,
    everything: Annotated[bool, typer.Option("--all", help="Show those that are final, too.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """List the transactions that are not final: nonce, what for, how far, at what price; then who waits."""
    state = None if everything else PromiseState.PENDING
    found, late = [], []
    async with server(settings) as transport:
        async for claim in claims(transport, sender=sender, state=state):
            found.append(claim if not claim.waits else await with_details(transport, claim))
        claimed = {each.workflow_id for each in found}
        late = [each async for each in waiting(transport, sender=sender, claimed=claimed)]
    if as_json:
        for each in found:
            output.emit(_shown(each))
        for other in late:
            output.emit({**asdict(other), "nonce": None, "stage": WAITING})
        return
    columns = ("sender", "nonce", "stage", "gwei", "signed", "since", "transaction", "what for")
    output.table(f"{len(found)} transactions", columns, [_row(each) for each in found])
    if late:
        _tell_waiting(late)


def _tell_waiting(late: list[Waiting]) -> None:
    rows = [
        (each.sender, moment(each.created_at)[:SECONDS], escape(each.reason), escape(each.logical_id))
        for each in late
    ]
    output.table(f"{len(late)} without a nonce", ("sender", "since", "waits for", "what for"), rows)


@app.command("show")
@configured("server", "encryption_key_file", "rpc", "chain_id", "final_depth")
async def tx_show(
    settings: Settings, name: Name, sender: Sender = None, as_json: options.AsJson = False
) -> None:
    """Show one transaction: all that was signed for its nonce, and, with --rpc, where it stands now."""
    async with server(settings) as transport:
        found = await _found(transport, name, sender)
        wish = await _wishes(transport).open(found.promise_id)
    now = await _on_chain(settings, found) if "rpc" in settings.model_fields_set else None
    if as_json:
        output.emit({**_shown(found), "asked": None if wish is None else wish.kind, "on_chain": now})
        return
    output.record(found.promise_id, _fields(found, wish, now))
    rows = [
        (
            escape(each.transaction_hash),
            _gwei(each.max_fee_per_gas),
            _gwei(each.max_priority_fee_per_gas),
            each.gas,
            "an empty transfer" if each.filler else "the call",
        )
        for each in found.signed
    ]
    if rows:
        output.table("signed, the newest last", ("transaction", "max fee", "tip", "gas", "what"), rows)


@app.command("speed-up")
@configured("server", "encryption_key_file")
async def tx_speed_up(
    settings: Settings,
    name: Name,
    sender: Sender = None,
    max_fee_gwei: MaxFee = None,
    as_json: options.AsJson = False,
) -> None:
    """Ask for a replacement on the same nonce at a higher price, now and not after some watches in vain."""
    wish = Wish(kind=WishKind.SPEED_UP, max_fee_per_gas=_wei(max_fee_gwei))
    await _ask(settings, name, sender, wish, as_json=as_json)


@app.command("cancel")
@configured("server", "encryption_key_file")
async def tx_cancel(
    settings: Settings,
    name: Name,
    sender: Sender = None,
    max_fee_gwei: MaxFee = None,
    as_json: options.AsJson = False,
) -> None:
    """Ask for an empty transfer on the same nonce. If that is mined, what was to be sent is given up."""
    wish = Wish(kind=WishKind.CANCEL, max_fee_per_gas=_wei(max_fee_gwei))
    await _ask(settings, name, sender, wish, as_json=as_json)


async def _ask(settings: Settings, name: str, sender: str | None, wish: Wish, *, as_json: bool) -> None:
    async with server(settings) as transport:
        found = await _found(transport, name, sender)
        if not found.waits:
            output.fail(f"{found.promise_id} is {found.stage}: there is nothing to replace")
        made = await _wishes(transport).ask(found.promise_id, wish)
    if made.kind is not wish.kind or made.max_fee_per_gas != wish.max_fee_per_gas:
        output.fail(
            f"{found.promise_id} was asked to {made.kind} and has not heard it yet: wait, or withdraw that "
            f"with dao-scorer promise resolve {made.promise_id}"
        )
    if as_json:
        output.emit({"nonce": found.promise_id, "asked": made.kind, "promise": made.promise_id})
    else:
        output.say(
            f"asked {escape(found.promise_id)} to {made.kind}: its worker hears it at the end of its watch, "
            f"within about a minute; see dao-scorer tx show {escape(found.promise_id)}"
        )


async def _found(transport: Transport, name: str, sender: str | None) -> Outgoing:
    """Return the transaction of a name; of one without a nonce it is told what it waits for."""
    try:
        return await find(transport, name, sender=sender)
    except UnknownTransaction:
        async for late in waiting(transport, sender=sender, claimed=()):
            if name in (late.workflow_id, late.logical_id):
                output.fail(
                    f"{late.logical_id} has no nonce yet, and nothing of it is sent; it waits: {late.reason} "
                    f"(to give it up: dao-scorer promise cancel {late.workflow_id})"
                )
        raise


def _wishes(transport: Transport) -> WishBook:
    promises = Promises(transport, SystemClock())
    return WishBook(lambda: promises)


async def _on_chain(settings: Settings, found: Outgoing) -> str:
    """Ask the node where the transactions of the nonce stand."""
    hashes = [each.transaction_hash for each in found.signed]
    if not hashes and found.transaction_hash is not None:
        hashes = [found.transaction_hash]
    async with composition.node_of(settings) as node:
        requirement = sending_policy(settings).requirement
        seen = await look(node, found.sender, found.nonce, hashes, requirement)
        used = await node.nonce(found.sender)
    where = "" if seen.block_number is None else f" in block {seen.block_number}"
    return f"{seen.position}{where}; the key's next nonce is {used}"


def _row(found: Outgoing) -> tuple[object, ...]:
    newest = found.signed[-1] if found.signed else None
    return (
        found.sender,
        found.nonce,
        found.stage,
        "-" if newest is None else _gwei(newest.max_fee_per_gas),
        len(found.signed) or "-",
        moment(found.created_at)[:SECONDS],
        found.transaction_hash or "-",
        escape(found.logical_id),
    )


def _fields(found: Outgoing, wish: Wish | None, now: str | None) -> dict[str, object]:
    seen = found.seen
    age_ms = time.time_ns() // 1_000_000 - found.created_at
    fields: dict[str, object] = {
        "what for": found.logical_id,
        "workflow": found.workflow_id,
        "sender": found.sender,
        "nonce": found.nonce,
        "stage": found.stage,
        "since": f"{moment(found.created_at)} ({duration(age_ms)})",
        "at most": f"{found.cost_max} wei",
        "paid": "-" if found.fee is None else f"{found.fee} wei",
        "the node's answer": "-" if found.answer is None else (found.answer.message or found.answer.state),
        "block": "-" if seen is None or seen.block_number is None else seen.block_number,
        "asked": "-" if wish is None else f"to {wish.kind}",
    }
    return fields if now is None else fields | {"on the chain now": now}


def _shown(found: Outgoing) -> dict[str, Any]:
    return {
        "promise": found.promise_id,
        "chain_id": found.chain_id,
        "sender": found.sender,
        "nonce": found.nonce,
        "logical_id": found.logical_id,
        "workflow": found.workflow_id,
        "stage": found.stage,
        "created_at": found.created_at,
        "cost_max": str(found.cost_max),
        "fee": None if found.fee is None else str(found.fee),
        "transaction": found.transaction_hash,
        "signed": [
            {
                "transaction": each.transaction_hash,
                "max_fee_per_gas": str(each.max_fee_per_gas),
                "max_priority_fee_per_gas": str(each.max_priority_fee_per_gas),
                "gas": each.gas,
                "filler": each.filler,
            }
            for each in found.signed
        ],
        "answer": None if found.answer is None else found.answer.state,
        "answer_message": None if found.answer is None else found.answer.message,
        "block_number": None if found.seen is None else found.seen.block_number,
    }


def _gwei(wei: int) -> str:
    return f"{Decimal(wei) / GWEI:f}"


def _wei(gwei: str | None) -> int | None:
    if gwei is None:
        return None
    try:
        amount = Decimal(gwei) * GWEI
    except InvalidOperation:
        amount = Decimal(0)
    if not amount.is_finite() or amount <= 0:
        output.fail(f"--max-fee {gwei!r} is no amount of gwei: write 40 or 1.5")
    return int(amount)
