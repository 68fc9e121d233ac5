"""The recorded proposals as a chain that only the reading steps see: logs, calls and block times, no machine.

A DAO with a clock of seconds, one block an action. Each proposal's deadline is its own: when it was carried
out, as recorded, or a second after its last vote.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from eth_abi.abi import decode, encode

from contracts.bindings import Log, governor, reputation_dao, votes_token
from contracts.dao import TIMESTAMP_CLOCK, DaoForm, DaoKind
from contracts.rpc import BlockHeader, LogPage, Node
from scorers.policy import ANY_POLICY
from scorers.values import Proposal, Tally

DAO = "0x" + "da" * 20
REPUTATION = "0x" + "4e" * 20
FORM = DaoForm(kind=DaoKind.REPUTATION, counting_mode="support=bravo", clock_mode=TIMESTAMP_CLOCK)
OTHER_REPUTATION = 7_919
"""What stands in the other contract: each weight, modulo this prime."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One proposal, as its line in the file says."""

    number: int
    created_at: int
    deadline: int
    votes: tuple[tuple[str, int, int, int], ...]
    """Voter, support, weight, time: in the order of time."""


def recorded(path: Path) -> list[Recorded]:
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    lines.sort(key=lambda line: line["created_at"])
    found = []
    for number, line in enumerate(lines, 1):
        votes = sorted(
            (
                (
                    vote["voter"],
                    1 if vote["outcome"] == "Pass" else 0,
                    int(vote["reputation"]),
                    vote["cast_at"],
                )
                for vote in line["votes"]
            ),
            key=lambda vote: vote[3],
        )
        last = max((vote[3] for vote in votes), default=line["created_at"])
        deadline = max(line["executed_at"] or 0, last + 1)
        found.append(Recorded(number, line["created_at"], deadline, tuple(votes)))
    return found


class RecordedNode:
    """What the reading steps ask of a node, answered from the file. Everything is final."""

    def __init__(self, proposals: Sequence[Recorded]) -> None:
        self.proposals = proposals
        actions: list[tuple[int, int, Recorded, tuple[str, int, int, int] | None]] = []
        for proposal in proposals:
            actions.append((proposal.created_at, 0, proposal, None))
            actions += [(vote[3], 1, proposal, vote) for vote in proposal.votes]
        actions.sort(key=lambda action: action[:2])
        self.times = [0, *(action[0] for action in actions), 2**40]
        self.created: dict[int, int] = {}
        self.logs: list[Log] = []
        for block, (_, _, proposal, vote) in enumerate(actions, 1):
            if vote is None:
                self.created[proposal.number] = block
            self.logs.append(_log(block, proposal, vote))
        self.tallies = {
            proposal.number: [
                sum(weight for _, side, weight, _ in proposal.votes if side == support)
                for support in (0, 1, 2)
            ]
            for proposal in proposals
        }
        self.weights = {
            (voter, proposal.created_at): weight
            for proposal in proposals
            for voter, _, weight, _ in proposal.votes
        }
        self.deadlines = {proposal.number: proposal.deadline for proposal in proposals}

    @property
    def node(self) -> Node:
        return cast("Node", self)

    def facts(self, proposal: Recorded) -> Proposal:
        against, in_favour, abstain = self.tallies[proposal.number]
        return Proposal(
            chain_id=100,
            dao=DAO,
            form=FORM,
            registry="0x" + "5c" * 20,
            scored_dao=DAO,
            proposal_id=proposal.number,
            snapshot=proposal.created_at,
            deadline=proposal.deadline,
            first_block=self.created[proposal.number],
            last_block=bisect_right(self.times, proposal.deadline) - 1,
            tally=Tally(for_votes=in_favour, against_votes=against, abstain_votes=abstain),
            policy_hash=ANY_POLICY,
        )

    async def header(self, block: int | str) -> BlockHeader:
        number = block if isinstance(block, int) else len(self.times) - 1
        return BlockHeader(number=number, hash=bytes(32), parent_hash=bytes(32), timestamp=self.times[number])

    async def logs_from(self, address: str, topics: Sequence[Any], first: int, last: int) -> LogPage:
        assert address == DAO
        start = bisect_left(self.logs, first, key=lambda log: log.block_number)
        end = bisect_right(self.logs, last, key=lambda log: log.block_number)
        wanted = [topic if isinstance(topic, list) else [topic] for topic in topics]
        found = tuple(
            log
            for log in self.logs[start:end]
            if all(log.topics[place] in choices for place, choices in enumerate(wanted))
        )
        return LogPage(first=first, last=last, logs=found, endpoint="recorded")

    async def call_many(self, calls: Sequence[tuple[str, bytes]], _block: object) -> list[bytes]:
        return [self._answer(to, data) for to, data in calls]

    async def multicall(self, calls: Sequence[tuple[str, bytes]], block: object) -> list[bytes]:
        return await self.call_many(calls, block)

    async def call_each(self, calls: Sequence[tuple[str, bytes]], block: object) -> list[bytes]:
        return await self.call_many(calls, block)

    def _answer(self, to: str, data: bytes) -> bytes:
        selector, words = data[:4], data[4:]
        if selector == votes_token.GET_PAST_VOTES.selector:
            voter, snapshot = decode(["address", "uint256"], words)
            weight = self.weights[voter.lower(), snapshot]
            return encode(["uint256"], [weight if to == DAO else weight % OTHER_REPUTATION])
        if selector == governor.CLOCK_MODE.selector:
            return encode(["string"], [TIMESTAMP_CLOCK])
        number = int.from_bytes(words, "big")
        if selector == governor.PROPOSAL_DEADLINE.selector:
            return self.deadlines[number].to_bytes(32, "big")
        assert selector == governor.PROPOSAL_VOTES.selector
        return encode(["uint256"] * 3, self.tallies[number])


def _log(block: int, proposal: Recorded, vote: tuple[str, int, int, int] | None) -> Log:
    if vote is None:
        topics = (reputation_dao.PROPOSAL_CREATED.topic0, proposal.number.to_bytes(32, "big"))
        data = encode(["bytes32", "address"], [bytes(31) + b"\x01", "0x" + "0a" * 20])
    else:
        voter, support, weight, _ = vote
        topics = (reputation_dao.VOTE_CAST.topic0, bytes(12) + bytes.fromhex(voter[2:]))
        data = encode(["uint256", "uint8", "uint256", "string"], [proposal.number, support, weight, ""])
    return Log(
        address=DAO,
        topics=topics,
        data=data,
        block_number=block,
        block_hash=bytes(32),
        transaction_hash=bytes(32),
        log_index=0,
    )
