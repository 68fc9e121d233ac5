"""The rule by which votes are counted, as a value that can be hashed and bound on-chain.

`Policy` is the rule without any configuration, and what its proofs have held since the first of them. Every
other one is a `PolicyStatement`: which class with which parameters and lists, and the digest of its code;
the classes themselves stand in `scorers.policies`.

Must not do I/O: a policy is an input of committed steps, so that another rule gives another root (M2).
"""

from __future__ import annotations

from dataclasses import dataclass

from eth_hash.auto import keccak

from orchestrator.commitments import Uint8, Uint32, Uint256, canonical

POLICY_NAME = "reputation-weighted"
POLICY_VERSION = 1
ANY_POLICY = "0x" + "00" * 32
"""What the registry answers for a proposal that no policy binds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Votes count with the reputation at the proposal's snapshot; lighter ones are left out.

    `minimum_weight` is in the DAO's own units of reputation.
    """

    name: str = POLICY_NAME
    version: Uint8 = POLICY_VERSION
    minimum_weight: Uint256 = 1

    def __post_init__(self) -> None:
        if self.minimum_weight < 1:
            raise ValueError(f"minimum_weight must be at least 1, not {self.minimum_weight}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleStatement:
    """One rule of eligibility in writing; fields as those of `PolicyStatement`."""

    name: str
    version: Uint32
    parameters: dict[str, str]
    lists: dict[str, list[str]]
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyStatement:
    """A policy in writing: what it is called, everything that it was given, and the code that it runs.

    `name` is that of a policy of this package, or `module:Class`. Parameters are text: integers decimal,
    truth `true` or `false`. `code` is the SHA-256 of the file of the class, 0x text. `rules` are asked in
    their order.
    """

    name: str
    version: Uint32
    parameters: dict[str, str]
    lists: dict[str, list[str]]
    code: str
    rules: list[RuleStatement]


AnyPolicy = Policy | PolicyStatement


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenPolicy:
    """The policy that this worker was configured with, and others that a registry may bind proposals to."""

    policy: AnyPolicy
    others: tuple[AnyPolicy, ...] = ()

    def bound_to(self, proposal_id: int, bound: str) -> AnyPolicy:
        """Return the policy for a proposal: where the registry binds one, that of them which has its hash.

        Raises PolicyMismatch if none has.
        """
        same = (each for each in (self.policy, *self.others) if policy_hash(each) == bound)
        policy = next(same, self.policy)
        check_bound(policy, proposal_id=proposal_id, bound=bound)
        return policy


class PolicyMismatch(Exception):
    """The DAO's admin bound another policy to this proposal; nothing may be submitted under ours.

    Configure the bound policy: the scoring waits until then.
    """

    def __init__(self, proposal_id: int, bound: str, ours: str) -> None:
        super().__init__(proposal_id, bound, ours)
        self.proposal_id = proposal_id
        self.bound = bound
        self.ours = ours

    def __str__(self) -> str:
        return (
            f"proposal {self.proposal_id} is bound to policy {self.bound} and this worker runs {self.ours}: "
            "configure the bound policy"
        )


def policy_hash(policy: AnyPolicy) -> str:
    """Return keccak256 of the policy's canonical JSON, as 0x and 64 digits: what the admin registers."""
    return "0x" + keccak(canonical(policy, type(policy))).hex()


def policy_named(policy: AnyPolicy, bound: str) -> str:
    """Return what a submission names, whose score was made under `policy`: nothing where none is bound."""
    return ANY_POLICY if bound == ANY_POLICY else policy_hash(policy)


def check_bound(policy: AnyPolicy, *, proposal_id: int, bound: str) -> None:
    """Raise PolicyMismatch if the registry binds the proposal to another policy."""
    ours = policy_hash(policy)
    if bound not in (ANY_POLICY, ours):
        raise PolicyMismatch(proposal_id, bound, ours)
