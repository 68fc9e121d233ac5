"""Whether a key can submit to a registry at all, asked before anything depends on it."""

from __future__ import annotations

from dataclasses import dataclass

from contracts.bindings import proposal_scores
from contracts.bindings.score_values import NOBODY, Status, Submission
from contracts.rpc import CallReverted, Node, RpcError, answers_of

# With OpenZeppelin 5.7 and solc 0.8.37 a commitment with its reveal takes up to 231,076 gas, and a submission
# without one up to 151,858; the rest is room to move.
SUBMISSION_GAS = 280_000


class OutdatedRegistry(Exception):
    """The registry is of an earlier version, whose submissions name no policy; nothing can be submitted."""

    retryable = False

    def __init__(self, registry: str) -> None:
        super().__init__(registry)
        self.registry = registry

    def __str__(self) -> str:
        return (
            f"the registry {self.registry} is of an earlier version, whose submissions name no policy: "
            "deploy a new one for the DAO; what the old one holds stays readable and can be audited"
        )


def version_call(registry: str) -> tuple[str, bytes]:
    """Return the call that only a registry answers whose submissions name their policy."""
    nothing = Submission(proposal_id=0, status=Status.NONE, score=0, root=bytes(32))
    return registry, proposal_scores.COMMITMENT_FOR.encode(nothing, 0, NOBODY, bytes(32))


def check_version(registry: str, outcome: bytes | RpcError) -> None:
    """Raise OutdatedRegistry if this is what an earlier version says to `version_call`, or another error."""
    if isinstance(outcome, CallReverted):
        raise OutdatedRegistry(registry) from outcome
    if isinstance(outcome, RpcError):
        raise outcome


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
    """Return what the chain says of a key and a registry.

    Raises NoCode where there is no such contract, OutdatedRegistry where it is of an earlier version.
    """
    role = proposal_scores.HAS_ROLE.encode(proposal_scores.SCORER_ROLE, address)
    paused = proposal_scores.PAUSED.encode()
    outcomes = await node.call_each([(registry, role), (registry, paused), version_call(registry)], "latest")
    answers = answers_of(outcomes[:2])
    check_version(registry, outcomes[2])
    fees = await node.fees()
    return SenderStatus(
        address=address,
        registry=registry,
        balance=await node.balance(address),
        needed=SUBMISSION_GAS * (fees.base_fee + fees.priority_fee),
        has_role=proposal_scores.HAS_ROLE.decode(answers[0]),
        paused=proposal_scores.PAUSED.decode(answers[1]),
    )
