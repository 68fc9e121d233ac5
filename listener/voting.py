"""The end of voting, by the DAO's own clock at a finalised block.

A deadline is read again when the clock has passed the one that was read before, since it may have been
extended; what the DAO answers then is what counts. Timepoints are compared with timepoints only: the DAO's
clock may count seconds, or blocks of another chain. A node that fails settles nothing; a proposal that cannot
be read is parked, visibly, and stops no other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from contracts.bindings import DecodeError
from contracts.rpc import BlockHeader, Node, RpcError
from listener.backoff import growing
from listener.dispatch import Dispatcher
from listener.errors import NotADao
from listener.invocation import EndReason, VotingEnded, voting_ended_id
from listener.settings import ListenerSettings
from listener.shapes import VoteState, Voting
from listener.store import CursorStore, OpenProposal, Outcome, Parked

LOOK_AT_ONCE = 200
_PARKED_S_MIN = 1.0
_log = structlog.get_logger("listener")


@dataclass(slots=True)
class _Looked:
    """What one look at some proposals found, before anything is settled."""

    ended: list[tuple[str, VotingEnded]] = field(default_factory=list)
    deadlines: list[tuple[str, int]] = field(default_factory=list)
    parked: list[Parked] = field(default_factory=list)


class VotingWatch:
    """Settles `votingEnded-…` promises. `now_ms` (Unix milliseconds) only paces retries, it ends no vote."""

    def __init__(
        self,
        settings: ListenerSettings,
        voting: Voting | None,
        node: Node,
        dispatcher: Dispatcher,
        store: CursorStore,
        *,
        now_ms: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._voting = voting
        self._node = node
        self._dispatcher = dispatcher
        self._store = store
        self._now_ms = now_ms
        self._block: BlockHeader | None = None
        self._clock = 0

    async def look(self, finalized: BlockHeader) -> int:
        """Look at every proposal that is due at this finalised block; return how many ended."""
        source, count = self._settings.source, 0
        if self._voting is None or not (await self._store.counts(source)).open:
            return 0
        clock, now_ms = await self._clock_at(self._voting, finalized), self._now_ms()
        # Each look ends a proposal, or makes it due later than this clock or this time: the loop ends.
        while due := await self._store.due(source, clock, now_ms, LOOK_AT_ONCE):
            looked = await self._look_at(self._voting, due, (finalized, clock))
            await self._dispatcher.end_all([(self._promise_id(each), value) for each, value in looked.ended])
            ended = [each for each, _ in looked.ended]
            await self._store.record(
                source, Outcome(ended=ended, deadlines=looked.deadlines, parked=looked.parked)
            )
            count += len(ended)
        return count

    async def _clock_at(self, voting: Voting, block: BlockHeader) -> int:
        """Return the DAO's clock at a block; it is asked once a block."""
        if self._block is None or self._block.hash != block.hash:
            try:
                self._clock = await voting.clock(self._node, block.number)
            except DecodeError as error:
                raise NotADao(self._settings.dao, str(error)) from error
            self._block = block
        return self._clock

    async def _look_at(
        self, voting: Voting, due: Sequence[OpenProposal], now: tuple[BlockHeader, int]
    ) -> _Looked:
        groups = [voting.calls(int(each.proposal_id)) for each in due]
        calls = [call for group in groups for call in group]
        answers = iter(await self._node.call_each(calls, now[0].number))
        looked = _Looked()
        for proposal, group in zip(due, groups, strict=True):
            answered = [next(answers) for _ in group]
            try:
                vote = voting.state(int(proposal.proposal_id), [_answered(each) for each in answered])
            except (RpcError, DecodeError) as error:
                looked.parked.append(self._park(proposal, now[0], str(error)))
                continue
            self._judge(looked, proposal, now, vote)
        return looked

    def _judge(
        self, looked: _Looked, proposal: OpenProposal, now: tuple[BlockHeader, int], vote: VoteState
    ) -> None:
        """Decide what the state of a vote means at a block and its clock."""
        block, clock = now
        # Before its deadline a vote ends by cancelling, or where the DAO has a super-quorum.
        if vote.open and vote.deadline >= clock:
            # What may end any time is looked at again as soon as the clock moves.
            looked.deadlines.append((proposal.proposal_id, clock if vote.early_end else vote.deadline))
        elif vote.open:
            reason = f"clock {clock} is past the deadline {vote.deadline}, but the DAO calls it {vote.state}"
            looked.parked.append(self._park(proposal, block, reason))
        else:
            ending = _ending(block, clock, vote.deadline, vote.canceled)
            looked.ended.append((proposal.proposal_id, ending))

    def _park(self, proposal: OpenProposal, block: BlockHeader, reason: str) -> Parked:
        pause_s = growing(proposal.failures + 1, _PARKED_S_MIN, self._settings.parked_s_max)
        _log.warning(
            "proposal_parked",
            promise_id=self._promise_id(proposal.proposal_id),
            block_number=block.number,
            block_hash="0x" + block.hash.hex(),
            failures=proposal.failures + 1,
            retry_in_s=pause_s,
            reason=reason,
        )
        until = self._now_ms() + round(pause_s * 1000)
        return Parked(proposal_id=proposal.proposal_id, retry_at_ms=until, reason=reason)

    def _promise_id(self, proposal_id: str) -> str:
        return voting_ended_id(self._settings.chain_id, self._settings.dao, proposal_id)


def _answered(outcome: bytes | RpcError) -> bytes:
    if isinstance(outcome, RpcError):
        raise outcome
    return outcome


def _ending(block: BlockHeader, clock: int, deadline: int, canceled: bool) -> VotingEnded:
    return VotingEnded(
        block_number=block.number,
        block_hash="0x" + block.hash.hex(),
        clock=clock,
        deadline=deadline,
        reason=EndReason.CANCELED if canceled else EndReason.ENDED,
    )
