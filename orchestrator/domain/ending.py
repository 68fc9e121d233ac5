"""The request to end a whole call tree, as far as one transaction could not carry it out."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class EndingKind(StrEnum):
    """`CANCEL` asks workflows to clean up and end, `TERMINATE` settles them at once."""

    CANCEL = "cancel"
    TERMINATE = "terminate"


class TreeEnding(msgspec.Struct, frozen=True, kw_only=True):
    """What is left to do below the promise `id`: the descendants behind `after`, in order of id.

    `asked_at` (Unix milliseconds) is when the request came: a cancellation leaves alone what was created
    later, for that cleans up.
    """

    id: str
    kind: EndingKind
    asked_at: int
    after: str
