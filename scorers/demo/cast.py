"""Who takes part in the demonstration: proposals, voters and their weights. Pure data."""

from __future__ import annotations

from dataclasses import dataclass

from eth_utils.crypto import keccak

from contracts.bindings.reputation_dao import Support

FOR, AGAINST, ABSTAIN = Support.FOR, Support.AGAINST, Support.ABSTAIN
VOTING_PERIOD_S = 3_600
REPUTATIONS = (1_000, 700, 450, 300, 120, 30)
"""Of the voters, in whole reputation; on the chain each is a fixed-point number with 18 decimals."""
UNIT = 10**18


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoProposal:
    """A proposal and the votes on it, by the voters in order; None stays away."""

    title: str
    votes: tuple[Support | None, ...]

    @property
    def content_hash(self) -> bytes:
        """The hash of the proposal's text."""
        return keccak(text=self.title)


PROPOSALS = (
    DemoProposal(title="Fund the audit", votes=(FOR, FOR, FOR, FOR, FOR, FOR)),
    DemoProposal(title="Replace council", votes=(AGAINST, AGAINST, FOR, AGAINST, AGAINST, None)),
    DemoProposal(title="Raise spending", votes=(FOR, AGAINST, AGAINST, FOR, None, ABSTAIN)),
    DemoProposal(title="Report quarterly", votes=(ABSTAIN, FOR, FOR, None, AGAINST, FOR)),
    DemoProposal(title="Adopt a new logo", votes=(None, None, None, None, None, None)),
    DemoProposal(title="Lower the quorum", votes=(AGAINST, FOR, FOR, AGAINST, FOR, AGAINST)),
    DemoProposal(title="Open a multisig", votes=(FOR, FOR, None, None, None, AGAINST)),
    DemoProposal(title="Burn the reserve", votes=(AGAINST, AGAINST, AGAINST, AGAINST, AGAINST, AGAINST)),
)
