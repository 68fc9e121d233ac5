"""Promise ids: how they nest, and which share an origin.

Two dialects are in use by published clients: children are `root:1`, `root:1.2` in the newer one, and
`root.1`, `root.1.2` in the older. This module writes the newer and reads both.
"""

from __future__ import annotations

import re
from collections.abc import Collection

ROOT_SEPARATOR = ":"
CHILD_SEPARATOR = "."
ID_LENGTH_MAX = 1024
_DETACHED = re.compile(r"d[0-9a-f]{14,16}")
_SEPARATORS = re.compile(f"[{re.escape(ROOT_SEPARATOR + CHILD_SEPARATOR)}]")


def child_id(parent: str, number: int) -> str:
    """Return the id of the `number`-th child (counted from 1): `root:1`, then `root:1.2`."""
    return f"{_before_children(parent)}{number}"


def _before_children(parent: str) -> str:
    """Return what stands before the numbers of the children, by the newer dialect."""
    return f"{parent}{CHILD_SEPARATOR if ROOT_SEPARATOR in parent else ROOT_SEPARATOR}"


def numbering_of(parent: str, recorded: Collection[str]) -> tuple[str, int]:
    """Return what stands before the numbers of a workflow's children, and the number of the first.

    A workflow that a worker of another SDK began goes on as it was begun, or it would take the outcome of
    one call for that of another: some count from 0, the older dialect separates by a dot. `recorded` are
    the ids that exist.
    """
    new = _before_children(parent)
    if not recorded:
        return new, 1
    old = f"{parent}{CHILD_SEPARATOR}"
    for before, first in ((new, 0), (new, 1), (old, 0), (old, 1)):
        if f"{before}{first}" in recorded:
            return before, first
    return new, 1


def origin_of(promise_id: str) -> str:
    """Return the root id from which `promise_id` descends, by the newer dialect."""
    return promise_id.split(ROOT_SEPARATOR, 1)[0]


def tree_of(promise_id: str) -> str:
    """Return the invocation to whose tree a promise belongs: its nearest detached one, or else its root.

    A detached invocation is a tree of its own, although its id stands below its root's.
    """
    root, separator, path = promise_id.partition(ROOT_SEPARATOR)
    parts = path.split(CHILD_SEPARATOR) if separator else []
    while parts and _is_number(parts[-1]):
        parts.pop()
    return f"{root}{separator}{CHILD_SEPARATOR.join(parts)}" if parts else root


def extends(promise_id: str, ancestor: str) -> bool:
    """Tell whether `promise_id` is `ancestor` or one of its descendants, in either dialect."""
    if not promise_id.startswith(ancestor):
        return False
    return len(promise_id) == len(ancestor) or promise_id[len(ancestor)] in (ROOT_SEPARATOR, CHILD_SEPARATOR)


def descendants_between(ancestor: str) -> tuple[tuple[str, str], ...]:
    """Return the ranges (exclusive) in which the ids of all descendants lie, in order of id."""
    marks = sorted((ROOT_SEPARATOR, CHILD_SEPARATOR))
    return tuple((ancestor + mark, ancestor + chr(ord(mark) + 1)) for mark in marks)


def precedes(promise_id: str, call: str) -> bool:
    """Tell whether `promise_id` is an earlier call of the workflow that made `call`, or lies below one."""
    before = call[: max(call.rfind(ROOT_SEPARATOR), call.rfind(CHILD_SEPARATOR)) + 1]
    if not before or not promise_id.startswith(before):
        return False
    first, number = _SEPARATORS.split(promise_id[len(before) :])[0], call[len(before) :]
    return _is_number(first) and _is_number(number) and int(first) < int(number)


def _is_number(part: str) -> bool:
    return part.isascii() and part.isdigit()


def between(promise_id: str, ancestor: str) -> list[str]:
    """Return the ids that nest between a descendant and its ancestor, both left out, the longest first."""
    found: list[str] = []
    shorter = promise_id
    while True:
        cut = max(shorter.rfind(ROOT_SEPARATOR), shorter.rfind(CHILD_SEPARATOR))
        if cut <= len(ancestor):
            return found
        shorter = shorter[:cut]
        found.append(shorter)


def is_below_detached(promise_id: str, ancestor: str) -> bool:
    """Tell whether a descendant's id says that it is a detached invocation, or descends from one."""
    return any(_DETACHED.fullmatch(part) for part in _SEPARATORS.split(promise_id[len(ancestor) :]))


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
    return tuple(int(part) if _is_number(part) else part for part in path.split(CHILD_SEPARATOR))
