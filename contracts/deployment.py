"""A DAO and its registry on a chain: deployed, and the scorers given their role."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from contracts.bindings import proposal_scores, reputation_dao
from contracts.bindings.reputation_dao import ClockUnit
from contracts.direct import DirectSender

QUORUM = 1
CHALLENGE_WINDOW_S = 0


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
) -> DeployedDao:
    """Deploy a ReputationDao and its ProposalScores; the sender is the admin of both.

    `voting_period` is in units of `clock`. Raises CallReverted when a constructor refuses its arguments.
    """
    dao = await sender.deploy(reputation_dao.NAME, sender.address, voting_period, clock)
    registry = await sender.deploy(
        proposal_scores.NAME, dao.contract_address, sender.address, admin_delay_s, QUORUM, CHALLENGE_WINDOW_S
    )
    for scorer in scorers:
        grant = proposal_scores.GRANT_ROLE.encode(proposal_scores.SCORER_ROLE, scorer)
        await sender.send(registry.contract_address, grant)
    assert dao.contract_address is not None  # noqa: S101 - a creation's receipt names the contract
    assert registry.contract_address is not None  # noqa: S101
    return DeployedDao(
        dao=dao.contract_address, registry=registry.contract_address, block_number=dao.block_number
    )
