"""The doctor's questions about the keys: who signs, what is left of those that retire, role, funds, price."""

from __future__ import annotations

from contracts.transactions import (
    RemoteSigner,
    SenderStatus,
    SignerError,
    SignerRefused,
    SignerUnavailable,
    check_sender,
)
from scorers import composition
from scorers.doctor.server import TIMEOUT_S, asking, server
from scorers.doctor.values import Fault, Skipped, Surroundings, configured
from scorers.keys import parts
from scorers.outgoing import count_in_flight
from scorers.sending import sending_policy


async def key(around: Surroundings) -> str:
    """Name the keys."""
    active, retiring = composition.addresses_of(around.settings)
    if not active:
        raise Skipped(
            f"none: worker and up need --keystore, --signer or {composition.KEY_VARIABLE}; serve and listen "
            "do not"
        )
    return ", ".join([*active, *(f"{address} (retiring)" for address in retiring)])


async def signer(around: Surroundings) -> str:
    """Ask the remote signer whether it holds the keys that are to sign."""
    listed = [*parts(around.settings.signer_addresses), *parts(around.settings.retiring_signer_addresses)]
    if around.settings.signer is None or not listed:
        raise Skipped("no remote signer is configured")
    async with RemoteSigner(around.settings.signer, listed[0], timeout_s=TIMEOUT_S) as remote:
        try:
            held = await remote.addresses()
        except SignerUnavailable as error:
            raise Fault(f"{error}: start it, or correct --signer") from error
        except SignerRefused as error:
            raise Skipped(f"{remote.endpoint} does not tell whose keys it holds: {error.message}") from error
    if missing := [each for each in listed if each.lower() not in held]:
        raise Fault(
            f"{remote.endpoint} holds no key of {', '.join(missing)}: give it one, or correct the list"
        )
    return f"{remote.endpoint} holds {', '.join(listed)}"


async def retiring(around: Surroundings) -> str:
    """Count what is not final of the keys that are to go: one with nothing left may be removed."""
    _, going = _addresses(around)
    if not going:
        raise Skipped("no key retires")
    await server(around)
    told, node = [], around.node
    async with asking(around) as transport:
        for address in going:
            first = await node.nonce(address, "finalized")
            count = await count_in_flight(transport, await node.chain_id(), address, first=first)
            told.append(f"{address} has {count} in flight: keep it" if count else f"{address} may be removed")
    return "; ".join(told)


async def role(around: Surroundings) -> str:
    """Ask whether the keys may submit."""
    senders = await _senders(around)
    without = ", ".join(sender.address for sender in senders if not sender.has_role)
    if without:
        raise Fault(
            f"{without} lacks the scorer role of {senders[0].registry}: have its admin call "
            "grantRole(SCORER_ROLE, address)"
        )
    return f"{', '.join(sender.address for sender in senders)} may submit"


async def balance(around: Surroundings) -> str:
    """Ask whether the keys can pay for so many submissions."""
    alarm = sending_policy(around.settings).balance_alarm
    told = []
    for sender in await _senders(around):
        needed = max(sender.needed * around.submissions, alarm)
        if sender.balance < needed:
            raise Fault(
                f"{sender.address} has {sender.balance} wei and {around.submissions} submissions, or the "
                f"balance alarm, need up to {needed}: send it funds"
            )
        lasts = f"{sender.balance // sender.needed}" if sender.needed else "any number of"
        told.append(f"{sender.balance} wei, enough for {lasts} submissions")
    return "; ".join(told)


async def fees(around: Surroundings) -> str:
    """Compare today's price with the limits."""
    policy, price_now = sending_policy(around.settings), await around.node.fees()
    price = price_now.base_fee + price_now.priority_fee
    for limit, name in ((policy.max_fee_per_gas, "--max-fee"), (policy.fee_alarm, "--fee-alarm")):
        if limit is not None and price > limit:
            raise Fault(f"gas costs {price} wei, above the {limit} of {name}: wait, or raise it")
    return f"gas costs {price} wei, the most to be offered is {policy.max_fee_per_gas}"


async def _senders(around: Surroundings) -> list[SenderStatus]:
    registry = configured(around, "registry", "this question")
    active, _ = _addresses(around)
    await key(around)
    return [await check_sender(around.node, address, registry) for address in active]


def _addresses(around: Surroundings) -> tuple[list[str], list[str]]:
    try:
        return composition.addresses_of(around.settings)
    except SignerError as error:
        raise Skipped("not asked: the key cannot be read") from error
