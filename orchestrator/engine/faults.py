"""How an unexpected error is logged."""

from __future__ import annotations

from traceback import format_exception


def trace_of(error: BaseException) -> str:
    """Return the traceback as plain text.

    Not by `exc_info`: a renderer may add the frames' variables to it, and those hold payloads.
    """
    return "".join(format_exception(error))
