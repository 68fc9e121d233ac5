"""Whether a key can submit to a registry at all, asked before anything depends on it."""

from __future__ import annotations

from dataclasses import dataclass

from contracts.bindings import proposal_scores
from contracts.rpc import Node

# With OpenZeppelin 5.7 and solc 0.8.37 a commitment with its reveal takes up to 224,556 gas, and a submission
# without one up to 146,519; the rest is room to move.
SUBMISSION_GAS = 280_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderStatus:
    """What the chain says of a key. `balance` and `needed` (for one submission at today's price) are wei."""

    address: str
    registry: str
    balance: int
    needed: int
    has_role: bool
    paused: bool

    @property
    def faults(self) -> tuple[str, ...]:
        """What stands in the way, one line each with what to do; empty if nothing does."""
        found = []
        if self.balance < self.needed:
            found.append(
                f"{self.address} has {self.balance} wei and one submission costs up to {self.needed}: "
                "send it funds"
            )
        if not self.has_role:
            found.append(
                f"{self.address} lacks the scorer role of {self.registry}: have its admin call "
                "grantRole(SCORER_ROLE, address)"
            )
        if self.paused:
            found.append(f"the registry {self.registry} is paused: its admin has to unpause it")
        return tuple(found)


async def check_sender(node: Node, address: str, registry: str) -> SenderStatus:
    """Return what the chain says of a key and a registry. Raises NoCode where there is no such contract."""
    role = proposal_scores.HAS_ROLE.encode(proposal_scores.SCORER_ROLE, address)
    answers = await node.call_many([(registry, role), (registry, proposal_scores.PAUSED.encode())], "latest")
    fees = await node.fees()
    return SenderStatus(
        address=address,
        registry=registry,
        balance=await node.balance(address),
        needed=SUBMISSION_GAS * (fees.base_fee + fees.priority_fee),
        has_role=proposal_scores.HAS_ROLE.decode(answers[0]),
        paused=proposal_scores.PAUSED.decode(answers[1]),
    )
