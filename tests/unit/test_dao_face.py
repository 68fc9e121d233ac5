"""How a DAO's words and logs are read, without a chain."""

from __future__ import annotations

from dataclasses import replace

import pytest
from eth_abi.abi import encode

from contracts.bindings import DecodeError, Log, governor, governor_bravo
from contracts.bindings.governor import FRACTIONAL_SUPPORT
from contracts.dao import (
    BLOCK_CLOCK,
    Counting,
    Dao,
    DaoForm,
    DaoKind,
    Reduction,
    UnknownCounting,
    Vote,
    WeightSource,
    counting_of,
    votes_in,
)
from tests.governors import fractions

ADDRESS, VOTER, OTHER = "0x" + "d0" * 20, "0x" + "a1" * 20, "0x" + "a2" * 20
PROPOSAL = 2**255 + 7


def dao(counting: Counting = Counting.SIMPLE, mode: str = "support=bravo&quorum=for,abstain") -> Dao:
    form = DaoForm(
        kind=DaoKind.GOVERNOR,
        counting=counting,
        weights=WeightSource.VOTES_AT,
        counting_mode=mode,
        clock_mode=BLOCK_CLOCK,
    )
    return Dao(address=ADDRESS, form=form)


def log(topic: bytes, types: list[str], values: list[object], *, voter: str = VOTER, index: int = 0) -> Log:
    return Log(
        address=ADDRESS,
        topics=(topic, bytes(12) + bytes.fromhex(voter[2:])),
        data=encode(types, values),
        block_number=9,
        block_hash=bytes(32),
        transaction_hash=bytes(32),
        log_index=index,
    )


def cast(support: int, weight: int, reason: bytes = b"", **where: object) -> Log:
    types = ["uint256", "uint8", "uint256", "bytes"]
    return log(governor.VOTE_CAST.topic0, types, [PROPOSAL, support, weight, reason], **where)  # type: ignore[arg-type]


def cast_with(support: int, weight: int, params: bytes) -> Log:
    types = ["uint256", "uint8", "uint256", "string", "bytes"]
    return log(governor.VOTE_CAST_WITH_PARAMS.topic0, types, [PROPOSAL, support, weight, "", params])


@pytest.mark.parametrize(
    ("mode", "counting"),
    [
        ("support=bravo", Counting.SIMPLE),
        ("support=bravo&quorum=for,abstain", Counting.SIMPLE),
        ("support=bravo&quorum=bravo", Counting.SIMPLE),
        ("support=bravo,fractional&quorum=for,abstain&params=fractional", Counting.FRACTIONAL),
        ("support=bravo&quorum=for,abstain&params=fractional", Counting.FRACTIONAL),
        ("support=bravo&quorum=against,abstain&quorum=for,abstain&params=fractional", Counting.FRACTIONAL),
        ("support=bravo,override&quorum=for,abstain&overridable=true", Counting.OVERRIDABLE),
    ],
)
def test_modes_as_they_are_deployed(mode: str, counting: Counting) -> None:
    assert counting_of(ADDRESS, mode) is counting


@pytest.mark.parametrize(
    "mode",
    [
        "",
        "quorum=for",
        "support=ranked&quorum=for",
        "support=bravo,weighted&quorum=for",
        "support=bravo&quorum=for&params=else",
        "support=bravo,fractional&quorum=for",
        "support=bravo,override&quorum=for",
        "support=bravo,override&quorum=for&overridable=false",
        "support=bravo,fractional,override&quorum=for&params=fractional&overridable=true",
        "support=bravo&quorum=for&secrecy=shielded",
        "support=bravo&quorum=everyone",
    ],
)
def test_an_unknown_mode_is_refused_by_name(mode: str) -> None:
    with pytest.raises(UnknownCounting) as caught:
        counting_of(ADDRESS, mode)
    assert repr(mode) in str(caught.value)
    assert ADDRESS in str(caught.value)


def test_parameters_split_a_vote_only_where_the_dao_counts_so() -> None:
    params = fractions(3, 2**127, 0)
    split = votes_in(dao(Counting.FRACTIONAL), PROPOSAL, [cast_with(FRACTIONAL_SUPPORT, 3 + 2**127, params)])
    assert [event for _, event in split] == [
        Vote(voter=VOTER, support=0, weight=3),
        Vote(voter=VOTER, support=1, weight=2**127),
    ]
    whole = votes_in(dao(), PROPOSAL, [cast_with(1, 10, params)])
    assert [event for _, event in whole] == [Vote(voter=VOTER, support=1, weight=10)]


@pytest.mark.parametrize("params", [b"", b"\x01", fractions(1, 1, 1) + b"\x00"])
def test_parameters_of_another_length_are_no_split(params: bytes) -> None:
    events = votes_in(dao(Counting.FRACTIONAL), PROPOSAL, [cast_with(FRACTIONAL_SUPPORT, 10, params)])
    assert [event for _, event in events] == [Vote(voter=VOTER, support=FRACTIONAL_SUPPORT, weight=10)]


def test_an_override_is_marked_and_its_reduction_told() -> None:
    types = ["uint256", "uint8", "uint256"]
    reduced = log(governor.VOTE_REDUCED.topic0, types, [PROPOSAL, 1, 40], index=1)
    override = log(
        governor.OVERRIDE_VOTE_CAST.topic0, [*types, "string"], [PROPOSAL, 0, 40, ""], voter=OTHER, index=2
    )
    logs = [override, reduced, cast(1, 100)]
    assert [event for _, event in votes_in(dao(Counting.OVERRIDABLE), PROPOSAL, logs)] == [
        Vote(voter=VOTER, support=1, weight=100),
        Reduction(voter=VOTER, support=1, weight=40),
        Vote(voter=OTHER, support=0, weight=40, overriding=True),
    ]
    assert len(votes_in(dao(), PROPOSAL, logs)) == 1, "elsewhere such events are a stranger's"


def test_a_reason_that_is_no_text_hides_no_vote() -> None:
    """Anyone may vote with such a reason: it must not keep the proposal from being scored."""
    ((_, event),) = votes_in(dao(), PROPOSAL, [cast(1, 5, b"\xff\xfe")])
    assert event == Vote(voter=VOTER, support=1, weight=5)
    assert governor.VOTE_CAST.decode(cast(1, 5, b"no \xff")).reason == "no \N{REPLACEMENT CHARACTER}"


def test_each_log_counts_once_and_other_proposals_not_at_all() -> None:
    other = replace(cast(1, 9), data=bytes(31) + b"\x01" + cast(1, 9).data[32:], log_index=4)
    logs = [cast(1, 5, index=3), cast(0, 2, index=1, voter=OTHER), other]
    events = votes_in(dao(), PROPOSAL, [*logs, *reversed(logs)])
    assert [(log.log_index, event.weight) for log, event in events] == [(1, 2), (3, 5)]


def test_a_malformed_vote_is_named() -> None:
    with pytest.raises(DecodeError, match="VoteCast"):
        votes_in(dao(), PROPOSAL, [replace(cast(1, 5), data=cast(1, 5).data[:64])])


def test_a_tally_like_bravos_is_read_from_its_proposal() -> None:
    """OpenZeppelin's GovernorCompatibilityBravo has no proposalVotes."""
    words = [7, ADDRESS, 0, 1, 2, 30, 20, 10, False, False]
    answer = encode(list(governor_bravo.PROPOSALS.outputs), words)
    read = dao(mode="support=bravo&quorum=bravo").votes(7)
    assert read.data[:4] == governor_bravo.PROPOSALS.selector
    assert read.decode(answer) == governor.ProposalVotes(against=20, for_=30, abstain=10)
    assert dao().votes(7).data[:4] == governor.PROPOSAL_VOTES.selector


def test_a_proposal_is_named_by_every_event_of_its_life() -> None:
    seen = dao()
    number = PROPOSAL.to_bytes(32, "big")
    for topic in seen.lifecycle_topics:
        plain = replace(cast(1, 1), topics=(topic,), data=number + bytes(32))
        assert seen.proposal_of(plain) == PROPOSAL
    extended = replace(
        cast(1, 1), topics=(governor.PROPOSAL_EXTENDED.topic0, number), data=encode(["uint64"], [99])
    )
    assert seen.proposal_of(extended) == PROPOSAL
    with pytest.raises(DecodeError):
        seen.proposal_of(cast(1, 1))


@pytest.mark.parametrize(
    ("kind", "mode", "sides"),
    [
        (DaoKind.GOVERNOR, "support=bravo&quorum=for,abstain", {"for", "abstain"}),
        (DaoKind.GOVERNOR, "support=bravo&quorum=bravo", {"for"}),
        (DaoKind.GOVERNOR, "support=bravo,fractional&quorum=for&params=fractional", {"for"}),
        (DaoKind.GOVERNOR, "support=bravo&quorum=against,for,abstain", {"against", "for", "abstain"}),
        (DaoKind.GOVERNOR, "support=bravo", set()),
        (DaoKind.REPUTATION, "support=bravo", set()),
        (DaoKind.BRAVO, "", {"for"}),
    ],
)
def test_which_votes_count_toward_the_quorum(kind: DaoKind, mode: str, sides: set[str]) -> None:
    told = Dao(address=ADDRESS, form=DaoForm(kind=kind, counting_mode=mode, clock_mode=BLOCK_CLOCK))
    assert told.quorum_sides == sides
    asked = told.quorum(77).data
    bravo = kind is DaoKind.BRAVO
    assert asked == (governor_bravo.QUORUM_VOTES.encode() if bravo else governor.QUORUM.encode(77))
