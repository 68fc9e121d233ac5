"""What an operation of the protocol is: a command, and the answer that it is promised."""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

import msgspec

AnswerT = TypeVar("AnswerT", covariant=True)


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The `data` of a successful response."""


class Command(
    msgspec.Struct, Generic[AnswerT], frozen=True, kw_only=True, rename="camel", omit_defaults=True, gc=False
):
    """The `data` of a request; `KIND` is its operation."""

    KIND: ClassVar[str]


class Empty(Answer, frozen=True):
    """Nothing but success."""
