"""The committing wrapper: from a function, its arguments and its result to the headers of its settlement.

It keeps nothing: a commitment lives in the settlement alone, never in the memory of a worker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import msgspec

from orchestrator.commitments.canonical import (
    Function,
    Parameters,
    Result,
    check_function,
    parameters_of,
    result_of,
)
from orchestrator.commitments.closing import Closing
from orchestrator.commitments.leaf import check_named, headers_of
from orchestrator.commitments.proof import StepValues


class BoundStep(msgspec.Struct, frozen=True, kw_only=True):
    """A committed call whose input is already hashed: a function that changes its arguments does no harm."""

    committer: Committer
    input_hash: bytes

    def headers(self, result: object, text: bytes | None = None) -> dict[str, str]:
        """Return the headers to be written with the settlement, in the same write.

        `text` is the result's canonical JSON, where it is at hand. A result that is a `Closing` gives the
        closing's headers instead: the closing is no leaf.
        """
        if isinstance(result, Closing):
            return result.to_headers()
        output = text if text is not None else self.committer.output(result)
        committer = self.committer
        return headers_of(committer.name, committer.version, self.input_hash, sha256(output).digest())


@dataclass(frozen=True, slots=True, kw_only=True)
class Committer:
    """A function registered with `commit=True`, its types read once.

    Raises ProofError for a name that no leaf can carry, CanonicalError for a type without a canonical form.
    """

    fn: Function
    name: str
    version: int
    takes_context: bool | None = None
    _takes: Parameters = field(init=False, repr=False, compare=False)
    _gives: Result = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_named(self.name, self.version)
        object.__setattr__(self, "_takes", parameters_of(self.fn, self.takes_context))
        object.__setattr__(self, "_gives", result_of(self.fn))

    def input(self, args: Sequence[object], kwargs: Mapping[str, object]) -> bytes:
        """Return the canonical JSON of a call's arguments. Raises CanonicalError."""
        return self._takes.encode(args, kwargs)

    def output(self, result: object) -> bytes:
        """Return the canonical JSON of a result. Raises CanonicalError."""
        return self._gives.encode(result)

    def bind(self, args: Sequence[object], kwargs: Mapping[str, object]) -> BoundStep:
        """Hash the arguments; to be called before the function runs. Raises CanonicalError."""
        return self.bind_text(self.input(args, kwargs))

    def bind_text(self, text: bytes) -> BoundStep:
        """Return the bound call of arguments whose canonical JSON is at hand."""
        return BoundStep(committer=self, input_hash=sha256(text).digest())

    def values(self, args: Sequence[object], kwargs: Mapping[str, object], result: object) -> StepValues:
        """Return the canonical texts of a call that was read back from the store, for `build_bundle`."""
        return StepValues(input=self.input(args, kwargs), output=self.output(result))


def commit_step(
    function_name: str, version: int, fn: Function, *, takes_context: bool | None = None
) -> Committer:
    """Return the committer of a function. Raises CanonicalError if its signature cannot be committed to."""
    check_function(fn, takes_context=takes_context)
    return Committer(fn=fn, name=function_name, version=version, takes_context=takes_context)


def commitment_for(  # noqa: PLR0917 - the six are what a settled call consists of
    fn: Function,
    name: str,
    version: int,
    args: Sequence[object],
    kwargs: Mapping[str, object],
    result: object,
    *,
    takes_context: bool | None = None,
) -> dict[str, str]:
    """Return the headers of one settled call; `args` without the context. Raises CanonicalError.

    If `fn` may change its arguments, use `commit_step(...).bind(...)` before it runs instead.
    """
    committer = Committer(fn=fn, name=name, version=version, takes_context=takes_context)
    return committer.bind(args, kwargs).headers(result)
