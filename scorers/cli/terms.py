"""The terms of a registry, as the options of `dao-scorer deploy` give them."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer

from contracts.bindings.proposal_scores import Rules
from contracts.bindings.score_values import NOBODY
from contracts.deployment import RegistryTerms
from scorers.cli import output
from scorers.cli.arguments import milliseconds_of
from scorers.settings import ADDRESS

WEI_PER_ETHER = 10**18

Quorum = Annotated[int, typer.Option(min=1, help="Scorers that must submit the same verdict.")]
RoundsMax = Annotated[int, typer.Option("--rounds", min=1, help="Rounds before the admin resolves.")]
RoundWindow = Annotated[
    str, typer.Option(help="How long a round lasts (1d, 12h); needed beyond a quorum of 1.")
]
CommitWindow = Annotated[
    str, typer.Option(help="The first part of a round, in which verdicts are committed and not shown.")
]
ChallengeWindow = Annotated[str, typer.Option(help="How long an agreed verdict can be challenged (1d, 12h).")]
Bond = Annotated[str, typer.Option(help="What a challenge costs, in ether.")]
BondReceiver = Annotated[
    str | None, typer.Option(help="Address that gets the bonds of wrong challenges; by default the deployer.")
]


def seconds(text: str, flag: str) -> int:
    """Read a duration of whole seconds; 0 is none."""
    milliseconds = 0 if text == "0" else milliseconds_of(text, flag)
    if milliseconds % 1_000:
        output.fail(f"{flag} {text[:40]!r} is no number of whole seconds, as the chain counts them")
    return milliseconds // 1_000


def terms_of(
    *,
    quorum: int,
    rounds: int,
    windows: tuple[int, int, int],
    bond: str,
    receiver: str,
) -> RegistryTerms:
    """Return the terms; `windows` are those of rounds, commitments and challenges, in seconds."""
    round_s, commit_s, challenge_s = windows
    if quorum > 1 and not round_s:
        output.fail("a quorum above 1 needs --round-window: scorers that never agree would wait for ever")
    if (challenge_s > 0) != (_wei(bond) > 0):
        output.fail("--challenge-window and --bond belong together: give both, or neither")
    if not ADDRESS.fullmatch(receiver):
        output.fail(f"--bond-receiver {receiver[:60]!r} is no address: 0x and 40 hexadecimal digits")
    rules = Rules(
        rounds_max=rounds,
        round_window=round_s,
        commit_window=commit_s,
        bond=_wei(bond),
        bond_receiver=receiver if challenge_s else NOBODY,
    )
    return RegistryTerms(quorum=quorum, challenge_window_s=challenge_s, rules=rules)


def _wei(text: str) -> int:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or not 0 <= amount < 10**9:
        output.fail(f"--bond {text[:40]!r} is no amount of ether: write 0.1")
    wei = amount * WEI_PER_ETHER
    if wei != int(wei):
        output.fail(f"--bond {text[:40]!r} has parts of a wei: ether has 18 decimals")
    return int(wei)
