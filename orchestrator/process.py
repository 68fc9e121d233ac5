"""What a process sets about its interpreter that does nothing but serve, or run workflows."""

from __future__ import annotations

import gc
import sys

SWITCH_INTERVAL_S = 0.0005
"""A tenth of the interpreter's own."""


def prepare_process() -> None:
    """Set the interpreter for a long life; call it once, when everything is imported and little has begun.

    What exists is left out of garbage collections from then on (`gc.freeze`): a full one walks through every
    module else, and comes about once in a thousand workflows. Threads take turns after half a millisecond
    instead of five (`sys.setswitchinterval`): so long would the loop wait after each pause for a step that
    computes in a thread, and the store's thread for the loop.

    The commands of `dao-scorer` do so. The library does not by itself, as both settings are the process's.
    """
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
