"""Reading server-sent events, however the bytes are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.transport.events import EventParser, EventTooLarge


def parse(*chunks: bytes) -> list[bytes]:
    parser = EventParser()
    return [event for chunk in chunks for event in parser.feed(chunk)]


def test_an_event_is_the_text_after_data() -> None:
    assert parse(b'data: {"a":1}\n\n') == [b'{"a":1}']
    assert parse(b"data:tight\n\ndata:  loose\n\n") == [b"tight", b" loose"]


def test_line_ends_may_be_lf_or_crlf() -> None:
    assert parse(b"data: one\r\n\r\ndata: two\n\n") == [b"one", b"two"]


def test_lines_of_data_are_joined() -> None:
    assert parse(b"data: one\ndata: two\n\n") == [b"one\ntwo"]


def test_comments_and_other_fields_are_skipped() -> None:
    parser = EventParser()
    stream = b":\n\n: hello\n\nevent: x\nid: 3\nretry: 10\ndata: one\n\nid: 4\n\n"
    assert list(parser.feed(stream)) == [b"one"]
    assert parser.comments == 2


def test_an_unfinished_event_is_kept_back() -> None:
    assert parse(b"data: one\n") == []
    assert parse(b"data: one\n", b"\n") == [b"one"]


@given(
    events=st.lists(st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), min_size=1), max_size=8),
    line_end=st.sampled_from([b"\n", b"\r\n"]),
    cuts=st.lists(st.integers(0, 400), max_size=20),
)
def test_it_does_not_matter_where_the_stream_is_cut(
    events: list[str], line_end: bytes, cuts: list[int]
) -> None:
    sent = [event.encode() for event in events]
    stream = b"".join(b":" + line_end * 2 + b"data: " + event + line_end * 2 for event in sent)
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    chunks = [stream[start:end] for start, end in pairwise(edges)]
    assert parse(*chunks) == sent


@pytest.mark.parametrize("chunks", [[b"data: " + b"x" * 200], [b"data: " + b"x" * 60 + b"\n"] * 3])
def test_an_endless_event_is_refused(chunks: list[bytes]) -> None:
    parser = EventParser(bytes_max=100)
    with pytest.raises(EventTooLarge):
        _ = [event for chunk in chunks for event in parser.feed(chunk)]
