"""Many logs at once are decoded to what each by itself is, or refused alike."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from eth_abi.abi import encode
from hypothesis import example, given
from hypothesis import strategies as st

from contracts.bindings import DecodeError, Event, Log, Parameter, decode_all
from contracts.bindings.reputation_dao import PROPOSAL_CREATED, VOTE_CAST

WORD = st.binary(min_size=32, max_size=32)
LOG = Log(
    address="0x" + "aa" * 20,
    topics=(),
    data=b"",
    block_number=7,
    block_hash=bytes(32),
    transaction_hash=bytes(32),
    log_index=0,
)


def vote(voter: bytes, number: int, support: int, weight: int, reason: bytes) -> Log:
    topics = (VOTE_CAST.topic0, bytes(12) + voter)
    data = encode(["uint256", "uint8", "uint256", "bytes"], [number, support, weight, reason])
    return replace(LOG, topics=topics, data=data)


votes = st.builds(
    vote,
    st.binary(min_size=20, max_size=20),
    st.integers(0, 2**256 - 1),
    st.integers(0, 2),
    st.integers(0, 2**256 - 1),
    st.binary(max_size=70),
)


@given(st.lists(votes, max_size=5))
def test_many_are_what_each_by_itself_is(logs: list[Log]) -> None:
    assert decode_all(VOTE_CAST, logs) == [VOTE_CAST.decode(log) for log in logs]


@given(votes, st.integers(0, 300), st.binary(max_size=3), st.lists(WORD, max_size=3))
@example(vote(bytes(20), 0, 0, 0, b""), 127, b"\0", [])  # the text's place is among the words before it
def test_what_is_cut_or_changed_ends_alike(log: Log, place: int, bytes_: bytes, topics: list[bytes]) -> None:
    place = min(place, len(log.data))
    changed = [
        replace(log, data=log.data[:place]),
        replace(log, data=log.data[:place] + bytes_ + log.data[place + len(bytes_) :]),
        replace(log, topics=(VOTE_CAST.topic0, *topics)),
        replace(log, topics=tuple(topics)),
    ]
    for each in changed:
        assert outcome(lambda each=each: decode_all(VOTE_CAST, [each])[0]) == outcome(
            lambda each=each: VOTE_CAST.decode(each)
        )


def outcome(decode: Any) -> object:
    try:
        return decode()
    except DecodeError as error:
        return str(error)


def test_types_that_are_not_plain_go_the_long_way() -> None:
    event = Event(
        name="Listed",
        parameters=(Parameter(name="values", type="uint256[]"),),
        record=PROPOSAL_CREATED.record,
    )
    log = replace(LOG, topics=(event.topic0,), data=encode(["uint256[]"], [[1, 2]]))
    with pytest.raises(TypeError, match="values"):
        decode_all(event, [log])
    with pytest.raises(DecodeError, match="names another event"):
        decode_all(VOTE_CAST, [log])
