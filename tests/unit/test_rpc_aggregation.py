"""The hand-written encodings of aggregated calls, held against eth_abi."""

from __future__ import annotations

import pytest
from eth_abi.abi import decode, encode
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from contracts.artifacts import load
from contracts.rpc.aggregation import AGGREGATE3, aggregate3_data, decode_results, read_many_data

calls = st.lists(
    st.tuples(st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex()), st.binary(max_size=100)),
    max_size=20,
)


@given(calls)
def test_call_data_is_what_the_abi_says(asked: list[tuple[str, bytes]]) -> None:
    assert keccak(text="aggregate3((address,bool,bytes)[])")[:4] == AGGREGATE3
    three = encode(["(address,bool,bytes)[]"], [[(to, True, data) for to, data in asked]])
    assert aggregate3_data(asked) == AGGREGATE3 + three
    two = encode(["(address,bytes)[]"], [asked])
    assert read_many_data(asked) == load("ReadMany").bytecode + two


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=100)), max_size=20))
def test_results_are_read_back(results: list[tuple[bool, bytes]]) -> None:
    answer = encode(["(bool,bytes)[]"], [results])
    assert decode_results(answer, len(results)) == results == list(decode(["(bool,bytes)[]"], answer)[0])
    for wrong in (answer[:-32], b""):
        with pytest.raises(ValueError, match=r"cut off|not the results"):
            decode_results(wrong, len(results))
    with pytest.raises(ValueError, match="not the results"):
        decode_results(answer, len(results) + 1)
