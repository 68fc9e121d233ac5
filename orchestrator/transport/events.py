"""Reading server-sent events from a stream of bytes, however it is cut.

Only what delivery needs: comments and the data of each event. Names, ids and retry times are skipped.
"""

from __future__ import annotations

from collections.abc import Iterator

EVENT_BYTES_MAX = 64 * 1024 * 1024


class EventTooLarge(Exception):
    """An event exceeds `EVENT_BYTES_MAX`: the peer does not speak this protocol."""


class EventParser:
    """Puts the lines of one stream together; line ends are LF or CR LF."""

    def __init__(self, *, bytes_max: int = EVENT_BYTES_MAX) -> None:
        self.comments = 0
        self._bytes_max = bytes_max
        self._rest = bytearray()
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the data of every event that `chunk` completes. Raises EventTooLarge."""
        self._rest += chunk
        # Without a line end in the chunk there is nothing new to find, and nothing to search again.
        if b"\n" in chunk:
            *lines, rest = bytes(self._rest).split(b"\n")
            self._rest = bytearray(rest)
            for line in lines:
                event = self._line(line.removesuffix(b"\r"))
                if event is not None:
                    yield event
        if len(self._rest) + self._size > self._bytes_max:
            raise EventTooLarge

    def _line(self, line: bytes) -> bytes | None:
        if not line:
            event = b"\n".join(self._data) if self._data else None
            self._data, self._size = [], 0
            return event
        name, _, value = line.partition(b":")
        if not name:
            self.comments += 1
        elif name == b"data":
            self._data.append(value.removeprefix(b" "))
            self._size += len(value)
        return None
