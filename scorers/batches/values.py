"""What a batch of submissions is made of and how it ended. Pure; roots and policies are 0x text."""

from __future__ import annotations

from dataclasses import dataclass

from contracts.bindings import proposal_scores
from contracts.transactions import Sent
from scorers.policy import ANY_POLICY


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One submission that may go with others; `logical_id` names it for ever.

    `policy` is the hash of the policy under which it was scored, zero where none binds the proposal.
    """

    logical_id: str
    proposal_id: int
    status: int
    score: int
    root: str
    policy: str = ANY_POLICY

    @property
    def submission(self) -> proposal_scores.Submission:
        """The item as the registry takes it."""
        return proposal_scores.Submission(
            proposal_id=self.proposal_id,
            status=proposal_scores.Status(self.status),
            score=self.score,
            root=bytes.fromhex(self.root[2:]),
            policy=bytes.fromhex(self.policy[2:]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where submissions may go together: one registry, by one key."""

    chain_id: int
    registry: str
    scorer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Submissions that were gathered; how many transactions they take is found when they are tried."""

    place: Place
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """An item that the registry refuses; `revert_hex` only where the refusal is believed."""

    item: Item
    reason: str
    revert_hex: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sorted:
    """The items of a batch in parts that fit into one transaction each, and those set aside."""

    parts: tuple[tuple[Item, ...], ...]
    aside: tuple[SetAside, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How the sending of one item ended: as its transaction did, unless the registry skipped it there."""

    item: Item
    sent: Sent


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchEnd:
    """How a batch ended: its transactions on the chain, and how many scores they brought there.

    `aside` are items that were left out or skipped; `elsewhere` counts those that another batch has taken.
    """

    transaction_hashes: tuple[str, ...]
    submitted: int
    aside: tuple[SetAside, ...]
    elsewhere: int
