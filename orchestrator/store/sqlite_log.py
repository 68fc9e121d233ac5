"""SQLite's log: the room that is made for it ahead, and when its pages are copied into the database.

A commit that lengthens the log's file has the file system write twice. SQLite begins its log anew once its
pages have been copied into the database, so that room is used again and again; it removes the log when the
store is closed. What is added are zeros, which no recovery takes for frames, behind all that is there
(O_APPEND): whatever SQLite writes meanwhile is never overwritten.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

import structlog

FROM_BYTES = 256 * 1024
"""Room is made when the log has grown to this: a store of a few commits should stay small."""
CHUNK_BYTES = 256 * 1024
"""A commit may have to wait for the disk to take so much."""
FREE_BYTES_MIN = 1 << 30
"""Where the disk has less, what there is may be needed for something else."""
CHANGES_FIRST = 3_000
"""Rows changed before pages are copied for the first time: a promise alone in its commit takes 3.4 pages."""
CHANGES_MIN = 500
_HEADER_BYTES, _FRAME_HEADER_BYTES, _PAGE_BYTES = 32, 24, 4096
_log = structlog.get_logger(__name__)


class LogRoom:
    """Makes room for so many pages in the log of the database at `path`, in a thread of its own, once."""

    def __init__(self, path: Path, pages: int) -> None:
        self._path = path.with_name(f"{path.name}-wal")
        self._bytes = _HEADER_BYTES + pages * (_FRAME_HEADER_BYTES + _PAGE_BYTES)
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()

    def look(self) -> None:
        """Begin if the log is in use; to be called now and then."""
        if self._thread is None and _size_of(self._path) >= FROM_BYTES:
            self._thread = threading.Thread(target=self._make, name="sqlite-log-room", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop making room; to be called before the log is removed."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _make(self) -> None:
        try:
            file = os.open(self._path, os.O_WRONLY | os.O_APPEND)
            try:
                self._lengthen(file)
            finally:
                os.close(file)
        except OSError as error:
            _log.info("log_room_not_made", path=str(self._path), reason=str(error))

    def _lengthen(self, file: int) -> None:
        while not self._stopped.is_set() and (size := os.fstat(file).st_size) < self._bytes:
            disk = os.fstatvfs(file)
            if disk.f_bavail * disk.f_frsize < FREE_BYTES_MIN:
                return
            os.write(file, bytes(min(CHUNK_BYTES, self._bytes - size)))
            os.fsync(file)


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


class CopyingDue:
    """Tells when about so many pages lie in the log, by the rows that were changed since they were copied.

    SQLite tells the pages only when it copies them: as many changes as filled the log then are awaited next.
    But no more changes than pages, as a change takes up to one and a half in a batch: in a log that a commit
    had to copy meanwhile lie few pages for many changes, and it would have to do so again.
    """

    def __init__(self, pages: int) -> None:
        self._pages = pages
        self._since = 0
        self._after = CHANGES_FIRST
        self._asked = False

    def ask(self, changes: int) -> bool:
        """Tell whether to copy now, by all changes that the connection has made; once, until it is done."""
        if self._asked or changes - self._since < self._after:
            return False
        self._asked = True
        return True

    def copied(self, changes: int, pages: int) -> None:
        """Take how many pages lay in the log after all these changes; -1 if they were not copied."""
        made = changes - self._since
        self._asked, self._since = False, changes
        if pages > 0:
            self._after = min(max(made * self._pages // pages, CHANGES_MIN), self._pages)
