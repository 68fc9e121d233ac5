"""A DAO: a proposal is scored once its vote has ended by the DAO's own clock.

The project's own DAO, OpenZeppelin's Governor and Governor Bravo are read through one face (`contracts.dao`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from contracts.bindings import DecodeError, Log
from contracts.bindings.governor import ProposalState
from contracts.dao import BLOCK_CLOCK, Dao, DaoError, DaoForm, DaoKind, clock_of, probe
from contracts.rpc import Call, CallReverted, Node
from listener.errors import InvalidSettings, NotADao
from listener.invocation import request_of
from listener.shapes.port import Invocation, Touched, VoteState

if TYPE_CHECKING:
    from listener.settings import ListenerSettings

_STILL_OPEN = (ProposalState.PENDING, ProposalState.ACTIVE)
_OWN = DaoForm(kind=DaoKind.REPUTATION, counting_mode="", clock_mode=BLOCK_CLOCK)


class DaoVoting:
    """The votes of a DAO."""

    def __init__(self, dao: Callable[[], Dao]) -> None:
        self._dao = dao

    async def clock(self, node: Node, block_number: int) -> int:
        """Return the DAO's clock at a block. Raises DecodeError, RpcError."""
        return await clock_of(node, self._dao(), block_number)

    def calls(self, proposal_id: int) -> Sequence[Call]:
        """Return the calls that read deadline and state."""
        dao = self._dao()
        return [dao.deadline(proposal_id).call, dao.state(proposal_id).call]

    def state(self, proposal_id: int, answers: Sequence[bytes]) -> VoteState:
        """Read their answers. Raises DecodeError."""
        dao = self._dao()
        deadline = dao.deadline(proposal_id).decode(answers[0])
        state = dao.state(proposal_id).decode(answers[1])
        return VoteState(
            deadline=deadline,
            open=state in _STILL_OPEN,
            canceled=state is ProposalState.CANCELED,
            state=state.name.lower(),
            early_end=dao.form.early_end,
        )


class DaoShape:
    """The proposals of a DAO. With `probing` the contract is asked which DAO it is, else it is our own."""

    def __init__(self, settings: ListenerSettings, *, probing: bool = False) -> None:
        if settings.registry is None:
            raise InvalidSettings("registry", "is needed for a DAO whose proposals are scored")
        self._settings = settings
        self._registry = settings.registry
        self._probing = probing
        self.dao = Dao(address=settings.dao, form=_OWN)
        self.voting = DaoVoting(lambda: self.dao)

    @property
    def topics(self) -> tuple[bytes, ...]:
        """The first topics of the events that begin, move or end a vote."""
        return self.dao.lifecycle_topics

    async def check(self, node: Node) -> None:
        """Ask the contract what it is. Raises NotADao where it is no DAO that can be read."""
        try:
            if self._probing:
                self.dao = await probe(node, self._settings.dao)
            else:
                await clock_of(node, self.dao, (await node.header("latest")).number)
        except (CallReverted, DaoError, DecodeError) as error:
            raise NotADao(self._settings.dao, str(error)) from error

    def read(self, log: Log) -> Invocation | Touched | None:
        """Return what a log asks for. Raises DecodeError."""
        topic = log.topics[0] if log.topics else b""
        if topic not in self.topics:
            return None
        if topic != self.dao.creation_topic:
            return Touched(proposal_id=str(self.dao.proposal_of(log)))
        settings = self._settings
        request = request_of(self.dao.created(log), log, chain_id=settings.chain_id, registry=self._registry)
        return Invocation(
            promise_id=request.promise_id,
            function=settings.function,
            target=settings.target,
            arguments=(request,),
            log=log,
            content=request.content_hash,
            registry=request.registry,
            proposal_id=request.proposal_id,
        )
