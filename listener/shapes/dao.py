"""The project's own DAO: a proposal is scored once its vote has ended by the DAO's own clock."""

from __future__ import annotations

from collections.abc import Sequence

from contracts.bindings import DecodeError, Log
from contracts.bindings.reputation_dao import (
    CLOCK,
    PROPOSAL_CANCELED,
    PROPOSAL_CREATED,
    PROPOSAL_DEADLINE,
    STATE,
    ProposalState,
)
from contracts.rpc import Call, CallReverted, Node
from listener.errors import InvalidSettings, NotADao
from listener.invocation import ProposalRequest, request_of
from listener.settings import ListenerSettings
from listener.shapes.port import Canceled, Invocation, VoteState

_STILL_OPEN = (ProposalState.PENDING, ProposalState.ACTIVE)


class DaoVoting:
    """Votes of a contract with a clock of its own (ERC-6372), as Governors and this project's DAO have."""

    @property
    def clock_call(self) -> bytes:
        """The call data that reads the clock."""
        return CLOCK.encode()

    def clock(self, answer: bytes) -> int:
        """Read the clock's answer. Raises DecodeError."""
        return CLOCK.decode(answer)

    def calls(self, contract: str, proposal_id: int) -> Sequence[Call]:
        """Return the calls that read deadline and state."""
        return [(contract, PROPOSAL_DEADLINE.encode(proposal_id)), (contract, STATE.encode(proposal_id))]

    def state(self, answers: Sequence[bytes]) -> VoteState:
        """Read their answers. Raises DecodeError."""
        deadline, state = PROPOSAL_DEADLINE.decode(answers[0]), STATE.decode(answers[1])
        return VoteState(
            deadline=deadline,
            open=state in _STILL_OPEN,
            canceled=state is ProposalState.CANCELED,
            state=state.name.lower(),
        )


class DaoShape:
    """Logs of a `ReputationDao`."""

    topics = (PROPOSAL_CREATED.topic0, PROPOSAL_CANCELED.topic0)

    def __init__(self, settings: ListenerSettings) -> None:
        if settings.registry is None:
            raise InvalidSettings("registry", "is needed for a DAO whose proposals are scored")
        self._settings = settings
        self._registry = settings.registry
        self.voting = DaoVoting()

    async def check(self, node: Node) -> None:
        """Raise NotADao unless the contract has a clock."""
        await check_clock(node, self._settings.dao)

    def read(self, log: Log) -> Invocation | Canceled | None:
        """Return what a log asks for. Raises DecodeError."""
        if PROPOSAL_CANCELED.matches(log):
            return Canceled(proposal_id=str(PROPOSAL_CANCELED.decode(log).proposal_id))
        if not PROPOSAL_CREATED.matches(log):
            return None
        created = PROPOSAL_CREATED.decode(log)
        request = request_of(created, log, chain_id=self._settings.chain_id, registry=self._registry)
        return scoring(request, log, self._settings)


def scoring(request: ProposalRequest, log: Log, settings: ListenerSettings) -> Invocation:
    """Return the invocation that scores a proposal."""
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


async def check_clock(node: Node, contract: str) -> None:
    """Raise NotADao unless the contract has a clock, NoCode where there is no contract."""
    try:
        CLOCK.decode(await node.call(contract, CLOCK.encode()))
    except (CallReverted, DecodeError) as error:
        raise NotADao(contract, str(error)) from error
