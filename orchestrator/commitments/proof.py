"""The evidence of a promise: a pure function of the stored promise tree, built anew by any process.

Leaves are the resolved steps with a commitment that precede the closing in the order of their ids
(`root:2` before `root:10`). Not among them: the closing itself, whatever settles after it by nature (its own
ancestors), and detached invocations, which have a tree of their own.

Invariants: M1 equal records give equal roots anywhere. M2 what was changed afterwards is found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeVar

import msgspec

from orchestrator.commitments import bundle as bundles
from orchestrator.commitments import leaf as leaves
from orchestrator.commitments.bundle import Bundle, LeafRecord
from orchestrator.commitments.closing import Closing, close
from orchestrator.commitments.errors import ProofError
from orchestrator.commitments.leaf import Commitment, hash_text
from orchestrator.domain.ids import extends, origin_of, path_of, tree_of
from orchestrator.protocol.records import PromiseRecord, PromiseState


@dataclass(frozen=True, slots=True, kw_only=True)
class StepValues:
    """The canonical input and output of a step, None for what the reader may not see."""

    input: bytes | None = None
    output: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommittedStep:
    """A resolved promise and the commitment in its headers."""

    record: PromiseRecord
    commitment: Commitment


_Parsed = TypeVar("_Parsed", Closing, Commitment)

# Gives the canonical bytes back from a stored record, or None where they cannot be read.
Decode = Callable[[PromiseRecord], StepValues | None]


def committed_steps(promises: Iterable[PromiseRecord], *, before: str) -> list[CommittedStep]:
    """Return the committed steps that precede the promise `before` in id order, within its own tree.

    Raises ProofError for a malformed commitment and for an id that comes twice.
    """
    root = tree_of(before)
    return _steps_between(_tree(promises, root), root, before)


def close_tree(domain: bytes, promises: Iterable[PromiseRecord], *, before: str) -> Closing:
    """Return the closing that the promise `before` is to record, from the stored tree alone."""
    return close(domain, [step.commitment for step in committed_steps(promises, before=before)])


def build_bundle(
    promises: Sequence[PromiseRecord],
    *,
    promise_id: str | None = None,
    decode: Decode | None = None,
    sections: Mapping[str, object] | None = None,
) -> Bundle:
    """Return the evidence of one promise from the whole tree below it, in any order.

    `promise_id` defaults to the origin that all promises share. Raises ProofError if nothing was closed, if
    the stored tree does not give the recorded root, or if a stored value does not hash to its commitment.
    """
    root = promise_id if promise_id is not None else _common_origin(promises)
    records = _tree(promises, root)
    closing_id, closing = _closing(records, root)
    steps = _steps_between(records, root, closing_id)
    if len(steps) != closing.count:
        raise ProofError(
            f"{closing_id} closed {closing.count} commitments, {len(steps)} precede it in the store"
        )
    tree = leaves.tree_of(closing.domain, [step.commitment for step in steps])
    if tree.root != closing.root:
        raise ProofError(
            f"{closing_id} recorded root {hash_text(closing.root)}, the store gives {hash_text(tree.root)}"
        )
    placed = leaves.leaves_of(closing.domain, [step.commitment for step in steps])
    return Bundle(
        version=bundles.BUNDLE_VERSION,
        promise_id=root,
        domain=hash_text(closing.domain),
        root=hash_text(tree.root),
        count=len(steps),
        leaves=[
            _leaf_record(step, leaf, tree.proof(leaf.index), decode)
            for step, leaf in zip(steps, placed, strict=True)
        ],
        sections=dict(sections or {}),
    )


def with_values(bundle: Bundle, values: Mapping[str, StepValues]) -> Bundle:
    """Return the bundle with canonical values added by promise id, as the holder of the key does.

    Raises ProofError if a value does not hash to its commitment.
    """
    added = []
    for leaf in bundle.leaves:
        texts = _texts(leaf.promise_id, values.get(leaf.promise_id), leaf.input_hash, leaf.output_hash)
        shown = {name: text for name, text in texts.items() if text is not None}
        added.append(msgspec.structs.replace(leaf, **shown))
    return msgspec.structs.replace(bundle, leaves=added)


def _tree(promises: Iterable[PromiseRecord], root: str) -> dict[str, PromiseRecord]:
    records: dict[str, PromiseRecord] = {}
    for record in promises:
        if record.id in records:
            raise ProofError(f"promise {record.id} comes twice")
        if extends(record.id, root):
            records[record.id] = record
    return records


def _common_origin(promises: Iterable[PromiseRecord]) -> str:
    origins = sorted({origin_of(record.id) for record in promises})
    if len(origins) != 1:
        raise ProofError(
            f"the promises of one tree are needed, got {len(origins)} origins; name the promise id"
        )
    return origins[0]


def _path(promise_id: str, root: str) -> tuple[int, ...] | None:
    """Return the numbers below `root`, None if a detached invocation lies between."""
    below = path_of(promise_id)[len(path_of(root)) :]
    numbers = tuple(part for part in below if isinstance(part, int))
    return numbers if len(numbers) == len(below) else None


def _closing(records: Mapping[str, PromiseRecord], root: str) -> tuple[str, Closing]:
    found: list[tuple[str, Closing]] = []
    for record in records.values():
        if record.state is PromiseState.RESOLVED and _path(record.id, root) is not None:
            closing = _read(record, Closing.from_headers)
            if closing is not None:
                found.append((record.id, closing))
    # A committed workflow that returns what it has closed repeats it, and closes nothing of its own.
    found = [
        (one, closing)
        for one, closing in found
        if not any(other != one and extends(other, one) and again == closing for other, again in found)
    ]
    if not found:
        raise ProofError(f"{root} has no closing: its commitments are closed when the workflow gets there")
    if len(found) > 1:
        raise ProofError(f"{root} has {len(found)} closings: {', '.join(sorted(one for one, _ in found))}")
    return found[0]


def _steps_between(records: Mapping[str, PromiseRecord], root: str, before: str) -> list[CommittedStep]:
    end = _path(before, root)
    if end is None:
        raise ProofError(f"{before} is not a step of {root}")
    steps = []
    for record in records.values():
        path = _path(record.id, root)
        if (
            path is None
            or path >= end
            or end[: len(path)] == path
            or record.state is not PromiseState.RESOLVED
        ):
            continue
        commitment = _read(record, Commitment.from_headers)
        if commitment is not None:
            steps.append((path, CommittedStep(record=record, commitment=commitment)))
    steps.sort(key=lambda step: (step[0], step[1].record.id))
    return [step for _, step in steps]


def _read(
    record: PromiseRecord, parse: Callable[[Mapping[str, str] | None], _Parsed | None]
) -> _Parsed | None:
    try:
        return parse(record.value.headers)
    except ProofError as error:
        raise ProofError(f"{record.id}: {error.reason}") from error


def _leaf_record(
    step: CommittedStep, leaf: leaves.Leaf, proof: list[bytes], decode: Decode | None
) -> LeafRecord:
    commitment = step.commitment
    input_hash, output_hash = hash_text(commitment.input_hash), hash_text(commitment.output_hash)
    values = decode(step.record) if decode is not None else None
    return LeafRecord(
        index=leaf.index,
        promise_id=step.record.id,
        function=commitment.function,
        version=commitment.version,
        input_hash=input_hash,
        output_hash=output_hash,
        hash=hash_text(leaves.leaf_hash(leaf)),
        proof=[hash_text(sibling) for sibling in proof],
        **_texts(step.record.id, values, input_hash, output_hash),
    )


def _texts(
    promise_id: str, values: StepValues | None, input_hash: str, output_hash: str
) -> dict[str, str | None]:
    values = values or StepValues()
    return {
        "input": _text(promise_id, "input", values.input, input_hash),
        "output": _text(promise_id, "output", values.output, output_hash),
    }


def _text(promise_id: str, name: str, value: bytes | None, expected: str) -> str | None:
    if value is None:
        return None
    if hash_text(sha256(value).digest()) != expected:
        raise ProofError(f"{promise_id}: the stored {name} does not hash to its commitment")
    return value.decode()
