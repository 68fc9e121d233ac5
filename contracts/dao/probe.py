"""Tells which DAO stands at an address, by what it answers at one block."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from contracts.bindings import BindingError, Function, governor, governor_bravo, reputation_dao, votes_token
from contracts.dao.errors import UnknownClock, UnknownCounting, UnknownDao
from contracts.dao.face import (
    BLOCK_CLOCK,
    TIMESTAMP_CLOCK,
    Counting,
    Dao,
    DaoForm,
    DaoKind,
    WeightSource,
    counting_of,
)
from contracts.rpc import CallReverted, NoCode, Node

R = TypeVar("R")
NOBODY = "0x" + "00" * 20
_Questions = tuple[tuple[Function[Any], tuple[object, ...]], ...]
_QUESTIONS: _Questions = (
    (governor.COUNTING_MODE, ()),
    (governor.CLOCK_MODE, ()),
    (governor.CLOCK, ()),
    (governor.VOTING_DELAY, ()),
    (governor.GET_VOTES_AT, (NOBODY, 0)),
    (governor.SUPER_QUORUM, (0,)),
    (governor.TOKEN, ()),
    (reputation_dao.GET_PAST_VOTES, (NOBODY, 0)),
    (reputation_dao.PROPOSAL_COUNT, ()),
    (governor_bravo.BALLOT_TYPEHASH, ()),
    (governor_bravo.PROPOSALS, (0,)),
    *((token, ()) for token in governor_bravo.TOKENS),
)


class _Answers:
    """What a contract answered, by function; a reverted or senseless answer is none."""

    def __init__(self, answers: Mapping[Function[Any], bytes]) -> None:
        self._answers = answers

    def of(self, function: Function[R]) -> R | None:
        answer = self._answers.get(function)
        try:
            return None if answer is None else function.decode(answer)
        except BindingError:
            return None

    def words(self, function: Function[R]) -> int:
        """How many words the answer has."""
        return len(self._answers.get(function, b"")) // 32


async def probe(node: Node, address: str, block: int | None = None) -> Dao:
    """Return the DAO at an address, as it is at the block of that number; by default the last final one.

    Raises NoCode where there is no contract, UnknownDao, UnknownCounting or UnknownClock where there is one
    that cannot be read exactly.
    """
    at = (await node.header("finalized")).number if block is None else block
    answers = await _ask(node, address, _QUESTIONS, at)
    if answers.of(governor.COUNTING_MODE) is None:
        form = await _bravo(node, address, answers, at)
    elif answers.of(governor.VOTING_DELAY) is not None and answers.of(governor.GET_VOTES_AT) is not None:
        form = _governor(address, answers)
    elif answers.of(reputation_dao.PROPOSAL_COUNT) is not None:
        form = _reputation_dao(address, answers)
    else:
        raise UnknownDao(
            address, "it answers COUNTING_MODE() and neither as a Governor nor as a ReputationDao"
        )
    return Dao(address=address.lower(), form=form)


async def _ask(node: Node, address: str, questions: _Questions, block: int) -> _Answers:
    calls = [(address, function.encode(*arguments)) for function, arguments in questions]
    answers: dict[Function[Any], bytes] = {}
    for (function, _), outcome in zip(questions, await node.call_each(calls, block), strict=True):
        if isinstance(outcome, bytes):
            answers[function] = outcome
        elif not isinstance(outcome, CallReverted):
            raise outcome
    return _Answers(answers)


def _governor(address: str, answers: _Answers) -> DaoForm:
    mode = answers.of(governor.COUNTING_MODE) or ""
    counting = counting_of(address, mode)
    token = answers.of(governor.TOKEN)
    if counting is Counting.OVERRIDABLE and token is None:
        raise UnknownDao(address, "votes can be overridden, and token() does not tell whose balances count")
    return DaoForm(
        kind=DaoKind.GOVERNOR,
        counting=counting,
        weights=WeightSource.VOTES_AT,
        counting_mode=mode,
        clock_mode=_clock_mode(address, answers),
        early_end=answers.of(governor.SUPER_QUORUM) is not None,
        token=token.lower() if token is not None and counting is Counting.OVERRIDABLE else "",
    )


def _reputation_dao(address: str, answers: _Answers) -> DaoForm:
    mode = answers.of(governor.COUNTING_MODE) or ""
    if counting_of(address, mode) is not Counting.SIMPLE or not answers.of(governor.CLOCK_MODE):
        raise UnknownCounting(address, mode)
    if answers.of(reputation_dao.GET_PAST_VOTES) is None:
        raise UnknownDao(address, "it does not tell past reputations")
    return DaoForm(kind=DaoKind.REPUTATION, counting_mode=mode, clock_mode=_clock_mode(address, answers))


def _clock_mode(address: str, answers: _Answers) -> str:
    """Return the contract's word for its clock, empty where it has neither a word nor a clock()."""
    mode = answers.of(governor.CLOCK_MODE)
    if mode is None and answers.of(governor.CLOCK) is None:
        return ""
    if mode not in (BLOCK_CLOCK, TIMESTAMP_CLOCK):
        raise UnknownClock(address, mode or "")
    return mode


async def _bravo(node: Node, address: str, answers: _Answers, block: int) -> DaoForm:
    ballot = answers.of(governor_bravo.BALLOT_TYPEHASH)
    if ballot == governor_bravo.BALLOT_OF_ALPHA:
        raise UnknownDao(address, "it is a Governor Alpha, whose votes are yes or no")
    if ballot != governor_bravo.BALLOT_OF_BRAVO or answers.of(governor_bravo.PROPOSALS) is None:
        raise UnknownDao(address, "it answers neither COUNTING_MODE() nor as a Governor Bravo")
    if answers.words(governor_bravo.PROPOSALS) != governor_bravo.PROPOSAL_WORDS:
        raise UnknownDao(address, "its proposals(uint256) is not laid out as in Governor Bravo")
    token = next((found for each in governor_bravo.TOKENS if (found := answers.of(each))), None)
    if token is None:
        raise UnknownDao(address, "a Governor Bravo that names no token: neither comp(), uni() nor token()")
    return DaoForm(
        kind=DaoKind.BRAVO,
        weights=await _weights_of(node, address, token, block),
        counting_mode="",
        clock_mode="",
        token=token.lower(),
    )


async def _weights_of(node: Node, address: str, token: str, block: int) -> WeightSource:
    """Return how a Bravo's token tells past votes; its contract asks getPriorVotes, where there is one."""
    questions: _Questions = (
        (votes_token.GET_PRIOR_VOTES, (NOBODY, 0)),
        (votes_token.GET_PAST_VOTES, (NOBODY, 0)),
    )
    try:
        answers = await _ask(node, token, questions, block)
    except NoCode:
        raise UnknownDao(address, f"its token {token} is no contract") from None
    if answers.of(votes_token.GET_PRIOR_VOTES) is not None:
        return WeightSource.PRIOR_VOTES
    if answers.of(votes_token.GET_PAST_VOTES) is not None:
        return WeightSource.PAST_VOTES
    raise UnknownDao(address, f"its token {token} tells no past votes")
