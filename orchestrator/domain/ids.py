"""Promise ids: how they nest, and which share an origin.

Two dialects are in use by published clients: children are `root:1`, `root:1.2` in the newer one, and
`root.1`, `root.1.2` in the older. This module writes the newer and reads both.
"""

from __future__ import annotations

from collections.abc import Container

ROOT_SEPARATOR = ":"
CHILD_SEPARATOR = "."
ID_LENGTH_MAX = 1024


def child_id(parent: str, number: int) -> str:
    """Return the id of the `number`-th child (counted from 1): `root:1`, then `root:1.2`."""
    separator = CHILD_SEPARATOR if ROOT_SEPARATOR in parent else ROOT_SEPARATOR
    return f"{parent}{separator}{number}"


def numbering_of(parent: str, recorded: Container[str]) -> tuple[str, int]:
    """Return what stands before the numbers of a workflow's children, and the number of the first.

    A workflow that a worker of another SDK began goes on as it was begun, or it would take the outcome of
    one call for that of another: some count from 0, the older dialect separates by a dot. `recorded` are
    the ids that exist.
    """
    new, old = child_id(parent, 1).removesuffix("1"), f"{parent}{CHILD_SEPARATOR}"
    for before, first in ((new, 0), (new, 1), (old, 0), (old, 1)):
        if f"{before}{first}" in recorded:
            return before, first
    return new, 1


def origin_of(promise_id: str) -> str:
    """Return the root id from which `promise_id` descends, by the newer dialect."""
    return promise_id.split(ROOT_SEPARATOR, 1)[0]


def extends(promise_id: str, ancestor: str) -> bool:
    """Tell whether `promise_id` is `ancestor` or one of its descendants, in either dialect."""
    if not promise_id.startswith(ancestor):
        return False
    return len(promise_id) == len(ancestor) or promise_id[len(ancestor)] in (ROOT_SEPARATOR, CHILD_SEPARATOR)


def same_origin(first: str, second: str) -> bool:
    """Tell whether two ids share an origin, in either dialect."""
    if origin_of(first) == origin_of(second):
        return True
    return first.split(CHILD_SEPARATOR, 1)[0] == second.split(CHILD_SEPARATOR, 1)[0]


def fault_of_id(promise_id: str) -> str | None:
    """Return what is wrong with an id for the store, or None."""
    if not promise_id:
        return "the id is empty"
    if "\x00" in promise_id:
        return "the id contains a NUL character"
    if len(promise_id) > ID_LENGTH_MAX:
        return f"the id is longer than {ID_LENGTH_MAX} characters"
    return None


def fault_of_root_id(promise_id: str) -> str | None:
    """Return what is wrong with an id that a caller chose for a new invocation, or None."""
    if ROOT_SEPARATOR in promise_id:
        return f"the root id {promise_id!r} contains ':', which separates a root from its children"
    return fault_of_id(promise_id)


def path_of(promise_id: str) -> tuple[int | str, ...]:
    """Return the sortable path of an id below its origin: `root:1.10` gives `(1, 10)`, a root `()`.

    Parts that are not numbers (those of detached invocations) stay text.
    """
    _, separator, path = promise_id.partition(ROOT_SEPARATOR)
    if not separator:
        return ()
    return tuple(
        int(part) if part.isascii() and part.isdigit() else part for part in path.split(CHILD_SEPARATOR)
    )
