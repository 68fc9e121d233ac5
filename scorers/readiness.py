"""What is asked before a service starts, so that a wrong key or address is told at once and not in a log.

A registry that is paused is no obstacle: submissions wait for it. It must not import the command line.
"""

from __future__ import annotations

import structlog

from contracts.bindings import BindingError, proposal_scores
from contracts.dao import governor_behind
from contracts.rpc import CallReverted, Node
from contracts.transactions import check_sender
from contracts.transactions.checks import SUBMISSION_GAS, OutdatedRegistry
from scorers.errors import NotReady

_log = structlog.get_logger(__name__)


async def check_scorer(node: Node, address: str, registry: str | None) -> None:
    """Raise NotReady if the key at `address` cannot submit a score.

    Without a registry only its funds are asked for: each proposal names its own, and a role that is missing
    there parks that proposal. Raises RpcError where the node gives no answer, NoCode where no contract is.
    """
    if registry is None:
        await _check_funds(node, address)
        return
    try:
        status = await check_sender(node, address, registry)
    except (BindingError, CallReverted) as error:
        raise _no_registry(registry, error) from error
    except OutdatedRegistry as error:
        raise NotReady(str(error)) from error
    if status.paused:
        _log.warning("registry_paused", registry=registry)
    # The registry's pause is the last of the faults, if it is one of them.
    faults = status.faults[:-1] if status.paused else status.faults
    if faults:
        raise NotReady("this key cannot submit: " + "; ".join(faults))


async def _check_funds(node: Node, address: str) -> None:
    balance, fees = await node.balance(address), await node.fees()
    needed = SUBMISSION_GAS * (fees.base_fee + fees.priority_fee)
    if balance < needed:
        raise NotReady(
            f"this key cannot submit: {address} has {balance} wei and one submission costs up to {needed}: "
            "send it funds"
        )


async def check_registry(node: Node, registry: str, dao: str) -> None:
    """Raise NotReady unless `registry` keeps the scores of `dao`; NoCode where no contract is."""
    try:
        owner = proposal_scores.DAO.decode(await node.call(registry, proposal_scores.DAO.encode())).lower()
    except (BindingError, CallReverted) as error:
        raise _no_registry(registry, error) from error
    if owner == dao.lower():
        return
    # A Governor without a clock() is read through a contract that is its clock.
    head = await node.header("latest")
    if await governor_behind(node, owner, head.number) != dao.lower():
        raise NotReady(
            f"the registry {registry} keeps the scores of {owner}, not of {dao}: correct one of them"
        )


def _no_registry(registry: str, error: Exception) -> NotReady:
    return NotReady(f"the contract {registry} is no ProposalScores registry ({error}): check the address")
