"""A DAO and its registry, or a registry beside a DAO: deployed, and the scorers given their role."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from contracts.bindings import block_clock_governor, proposal_scores, reputation_dao
from contracts.bindings.proposal_scores import Rules
from contracts.bindings.reputation_dao import ClockUnit
from contracts.dao import Dao, DaoKind
from contracts.direct import DirectSender
from contracts.rpc import Receipt

GRANT_GAS = 250_000
"""Enough for a grant. No estimate serves: two of one second share what two of two seconds write twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryTerms:
    """On what terms a registry's verdicts become final.

    `quorum` scorers must agree; `challenge_window_s` seconds pass before an agreement is final. Without
    arguments the first submission of any scorer is final at once.
    """

    quorum: int = 1
    challenge_window_s: int = 0
    rules: Rules = field(default_factory=Rules)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedDao:
    """Where a DAO and its registry stand. `block_number` is where reading may start."""

    dao: str
    registry: str
    block_number: int


async def deploy_dao(
    sender: DirectSender,
    *,
    voting_period: int,
    scorers: Sequence[str],
    admin_delay_s: int = 0,
    clock: ClockUnit = ClockUnit.TIMESTAMP,
    terms: RegistryTerms | None = None,
) -> DeployedDao:
    """Deploy a ReputationDao and its ProposalScores; the sender is the admin of both.

    `voting_period` is in units of `clock`. Raises CallReverted when a constructor refuses its arguments.
    """
    dao = await sender.deploy(reputation_dao.NAME, sender.address, voting_period, clock)
    address = _created(dao)
    registry = await _registry(sender, address, scorers, admin_delay_s, terms or RegistryTerms())
    return DeployedDao(dao=address, registry=registry, block_number=dao.block_number)


async def deploy_registry(
    sender: DirectSender,
    dao: Dao,
    *,
    scorers: Sequence[str],
    admin_delay_s: int = 0,
    terms: RegistryTerms | None = None,
) -> str:
    """Deploy a ProposalScores beside a DAO that stands already, and return its address.

    The sender is its admin. A Governor without a clock() gets a BlockClockGovernor first, by which the
    registry reads it. Raises CallReverted when a constructor refuses its arguments.
    """
    scored = dao.address
    if not dao.clocked:
        is_bravo = dao.form.kind is DaoKind.BRAVO
        scored = _created(await sender.deploy(block_clock_governor.NAME, dao.address, is_bravo))
    return await _registry(sender, scored, scorers, admin_delay_s, terms or RegistryTerms())


async def _registry(
    sender: DirectSender, dao: str, scorers: Sequence[str], admin_delay_s: int, terms: RegistryTerms
) -> str:
    arguments = (dao, sender.address, admin_delay_s, terms.quorum, terms.challenge_window_s, terms.rules)
    registry = _created(await sender.deploy(proposal_scores.NAME, *arguments))
    for scorer in scorers:
        grant = proposal_scores.GRANT_ROLE.encode(proposal_scores.SCORER_ROLE, scorer)
        await sender.send(registry, grant, gas=GRANT_GAS)
    return registry


def _created(receipt: Receipt) -> str:
    assert receipt.contract_address is not None  # noqa: S101 - a creation's receipt names the contract
    return receipt.contract_address
