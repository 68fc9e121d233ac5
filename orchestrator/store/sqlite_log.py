"""Room for SQLite's log, made ahead: a commit that lengthens its file has the file system write twice.

SQLite begins its log anew once its pages have been copied into the database, so that this room is used again
and again; it removes the log when the store is closed. What is added are zeros, which no recovery takes for
frames, behind all that is there (O_APPEND): whatever SQLite writes meanwhile is never overwritten.
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
