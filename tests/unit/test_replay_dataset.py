"""Reading recorded proposals, and laying them out in time."""

import json
from pathlib import Path
from typing import Any

import pytest

from scorers.errors import DatasetError
from scorers.replay.dataset import load_dataset
from scorers.replay.timeline import CastVote, Propose, SetReputations, timeline, voting_period
from tests.data import DXDAO, needs_dxdao

VOTERS = ["0x" + f"{n:040x}" for n in range(1, 5)]


def vote(voter: int = 0, outcome: str = "Pass", reputation: str = "5", cast_at: int = 200) -> dict[str, Any]:
    return {"voter": VOTERS[voter], "outcome": outcome, "reputation": reputation, "cast_at": cast_at}


def proposal(
    number: int = 1, created_at: int = 100, votes: list[Any] | None = None, **more: Any
) -> dict[str, Any]:
    return {
        "id": "0x" + f"{number:064x}",
        "proposer": VOTERS[3],
        "created_at": created_at,
        "stage": "Executed",
        "winning_outcome": "Pass",
        "votes_for": "5",
        "votes_against": "0",
        "votes": [vote()] if votes is None else votes,
        **more,
    }


def written(tmp_path: Path, *rows: object) -> Path:
    path = tmp_path / "proposals.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


def test_actions_come_in_order_of_time_with_weights_set_before_the_snapshot(tmp_path: Path) -> None:
    rows = [
        proposal(1, 100, [vote(0, cast_at=300), vote(1, "Fail", "7", 250)]),
        proposal(2, 200, [vote(0, cast_at=260), vote(1, "Fail", "9", 270)]),
    ]
    actions = timeline(load_dataset(written(tmp_path, *rows)))
    assert [action.at for action in actions] == sorted(action.at for action in actions)
    assert actions[0] == SetReputations(at=100, voters=(VOTERS[0], VOTERS[1]), amounts=(5, 7))
    assert isinstance(actions[1], Propose)
    assert actions[2] == SetReputations(at=200, voters=(VOTERS[1],), amounts=(9,))
    assert [(a.number, a.in_favour) for a in actions if isinstance(a, CastVote)] == [
        (1, False), (2, True), (2, False), (1, True),
    ]  # fmt: skip


def test_proposals_are_put_in_order_of_creation_and_limited(tmp_path: Path) -> None:
    path = written(tmp_path, proposal(1, 150), "", proposal(2, 120))
    assert [each.created_at for each in load_dataset(path)] == [120, 150]
    assert [each.created_at for each in load_dataset(path, limit=1)] == [120]


def test_the_voting_period_holds_every_vote(tmp_path: Path) -> None:
    period = voting_period(
        load_dataset(written(tmp_path, proposal(1, 100, [vote(cast_at=100 + 3 * 86_400)])))
    )
    assert period == 5 * 86_400


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{not json", "line 2"),
        ("[]", "line 2"),
        (proposal(2, id="0x12"), "32 bytes"),
        (proposal(2, votes_for=5), "votes_for"),
        (proposal(2, votes_for="5.0"), "decimal string"),
        (proposal(2, created_at=0), "Unix time"),
        (proposal(2, votes=[vote(outcome="Maybe")]), "neither Pass nor Fail"),
        (proposal(2, votes=[vote(reputation="-1")]), "reputation"),
        (proposal(2, votes=[vote(reputation=str(2**208))]), "reputation"),
        (proposal(2, votes=[vote(cast_at=100)]), "not after the creation"),
        (proposal(2, votes=[vote(), vote()]), "voted twice"),
        (proposal(2, votes=[{**vote(), "voter": "0xzz"}]), "not an address"),
        (proposal(1), "a proposal id twice"),
    ],
)
def test_a_malformed_file_is_refused_with_its_line(tmp_path: Path, row: object, reason: str) -> None:
    with pytest.raises(DatasetError, match=reason):
        load_dataset(written(tmp_path, proposal(1), row))


def test_a_missing_or_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot read"):
        load_dataset(tmp_path / "absent.jsonl")
    with pytest.raises(DatasetError, match="no proposals"):
        load_dataset(written(tmp_path, ""))


@needs_dxdao
def test_the_real_votes_are_read_whole() -> None:
    proposals = load_dataset(DXDAO)
    actions = timeline(proposals)
    assert len(proposals) == 302
    assert sum(isinstance(action, CastVote) for action in actions) == 755
    assert sum(isinstance(action, SetReputations) for action in actions) == 176
