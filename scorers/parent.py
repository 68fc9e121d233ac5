"""The tie between a child process and the one that started it: a pipe that only the starter holds open.

A process that is killed (SIGKILL), or whose terminal is closed, ends nobody else. But its end of the pipe is
closed by the operating system, whichever way it ended; a child that watches the other end stops then.

Knows no command: the signal that it sends is what each of them stops at.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Mapping
from contextlib import suppress
from time import sleep

TIED = "_DAO_SCORER_TIED"
"""Set by whoever holds the other end of this process's standard input."""
STOP_TIMEOUT_S = 15.0
_STDIN = 0


def tied() -> Mapping[str, str]:
    """Return the environment that ties a child to this process; its standard input must be a pipe."""
    return {TIED: "1"}


def stop_when_parent_ends() -> None:
    """Have a tied process stop as at SIGTERM when its parent has ended; do nothing in any other process."""
    if os.environ.pop(TIED, None):
        threading.Thread(target=_watch, name="parent", daemon=True).start()


def _watch() -> None:
    with suppress(OSError):  # an end all the same
        while os.read(_STDIN, 1024):
            pass
    os.kill(os.getpid(), signal.SIGTERM)
    sleep(STOP_TIMEOUT_S)
    # Nobody is left who would insist.
    os.kill(os.getpid(), signal.SIGKILL)
