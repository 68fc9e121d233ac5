"""Verification of an evidence bundle, offline: what it says against what it contains.

Nothing is believed: values are hashed here, leaves are hashed here, the tree is built here. A raw leaf or
inner node is never accepted in place of a step. Whether the root stands on a chain is the application's
question.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256

from orchestrator.commitments import bundle as bundles
from orchestrator.commitments import jcs, leaf
from orchestrator.commitments.bundle import Bundle, LeafRecord
from orchestrator.commitments.errors import CanonicalError, CommitmentError, ProofError
from orchestrator.commitments.leaf import Commitment, Leaf, hash_from_text, hash_text
from orchestrator.domain.ids import extends, path_of

SIDES = ("input", "output")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One question put to the bundle: its name, whether it holds, and what was seen."""

    name: str
    ok: bool
    detail: str


def verify_bundle(bundle: Bundle) -> list[Check]:
    """Return all checks; the bundle holds if each is ok. Without values it fails `values`."""
    shape = _ask("shape", _shape, bundle)
    if not shape.ok:
        # Nothing else can be asked of what is not even a bundle.
        return [shape]
    questions: tuple[tuple[str, Callable[[Bundle], str]], ...] = (
        ("completeness", _completeness),
        ("order", _order),
        ("values", _values),
        ("leaves", _leaves),
        ("proofs", _proofs),
        ("root", _root),
    )
    return [shape, *(_ask(name, question, bundle) for name, question in questions)]


def verify_shown(bundle: Bundle, needed: tuple[str, ...] = SIDES) -> list[Check]:
    """Return the checks of the leaves that are shown, of a bundle that does not show all of them.

    `needed` are the values of each that must be seen: of the others their hashes will do.
    """
    shape = _ask("shape", _shape, bundle)
    if not shape.ok:
        return [shape]
    questions = (("values", partial(_values, needed=needed)), ("leaves", _leaves), ("proofs", _proofs))
    return [shape, *(_ask(name, question, bundle) for name, question in questions)]


def _ask(name: str, question: Callable[[Bundle], str], bundle: Bundle) -> Check:
    try:
        return Check(name=name, ok=True, detail=question(bundle))
    except CommitmentError as error:
        return Check(name=name, ok=False, detail=str(error))


def _shape(bundle: Bundle) -> str:
    if bundle.version != bundles.BUNDLE_VERSION:
        raise ProofError(f"bundle version {bundle.version} is unknown")
    bundles.check_shape(bundle)
    return f"version {bundle.version}"


def _completeness(bundle: Bundle) -> str:
    if not bundle.leaves or len(bundle.leaves) != bundle.count:
        raise ProofError(f"the bundle counts {bundle.count} leaves and shows {len(bundle.leaves)}")
    for position, record in enumerate(bundle.leaves):
        if record.index != position:
            raise ProofError(f"leaf {position} is missing or out of place: index {record.index} stands there")
    return f"{bundle.count} leaves, none missing"


def _order(bundle: Bundle) -> str:
    paths = []
    for record in bundle.leaves:
        if record.promise_id == bundle.promise_id or not extends(record.promise_id, bundle.promise_id):
            raise ProofError(f"{record.promise_id} is not a step of {bundle.promise_id}")
        path = path_of(record.promise_id)[len(path_of(bundle.promise_id)) :]
        if not all(isinstance(part, int) for part in path):
            raise ProofError(f"{record.promise_id} is not a numbered step")
        paths.append(tuple(int(part) for part in path))
    for earlier, later, record in zip(paths, paths[1:], bundle.leaves[1:], strict=False):
        if earlier >= later:
            raise ProofError(f"{record.promise_id} does not follow the step before it")
    return "steps follow the order of their ids"


def _values(bundle: Bundle, needed: tuple[str, ...] = SIDES) -> str:
    missing, seen = set[int](), 0
    for place, record in enumerate(bundle.leaves):
        for side, text, expected in (
            ("input", record.input, record.input_hash),
            ("output", record.output, record.output_hash),
        ):
            _check_value(record, side, text, expected)
            seen += text is not None
            if text is None and side in needed:
                missing.add(place)
    if missing:
        raise ProofError(
            f"{len(missing)} of {len(bundle.leaves)} steps show no values; ask the holder of the key"
        )
    return f"{seen} values hash to what was committed"


def _check_value(record: LeafRecord, name: str, text: str | None, expected: str) -> None:
    where = f"leaf {record.index} ({record.function}), {name}"
    if text is None:
        return
    try:
        if jcs.encode(jcs.parse(text)) != text:
            raise ProofError(f"{where}: the text is not canonical JSON")
    except CanonicalError as error:
        raise ProofError(f"{where}: {error}") from error
    if hash_text(sha256(text.encode()).digest()) != expected:
        raise ProofError(f"{where}: the value does not hash to what was committed")


def _leaf_of(bundle: Bundle, record: LeafRecord) -> Leaf:
    """Return the leaf as the values say; a hash in the bundle is used only where its value is not shown."""
    commitment = Commitment(
        function=record.function,
        version=record.version,
        input_hash=_hash_of("input_hash", record.input, record.input_hash),
        output_hash=_hash_of("output_hash", record.output, record.output_hash),
    )
    domain = hash_from_text("domain", bundle.domain)
    return Leaf(domain=domain, index=record.index, count=bundle.count, commitment=commitment)


def _hash_of(name: str, text: str | None, recorded: str) -> bytes:
    if text is None:
        return hash_from_text(name, recorded)
    return sha256(text.encode("utf-8", "surrogatepass")).digest()


def _leaves(bundle: Bundle) -> str:
    for record in bundle.leaves:
        if hash_text(leaf.leaf_hash(_leaf_of(bundle, record))) != record.hash:
            raise ProofError(f"leaf {record.index} ({record.function}) does not hash to {record.hash}")
    return "every leaf hashes to what the bundle says"


def _proofs(bundle: Bundle) -> str:
    root = hash_from_text("root", bundle.root)
    for record in bundle.leaves:
        proof = [hash_from_text("proof", sibling) for sibling in record.proof]
        if not leaf.verify_leaf(root, _leaf_of(bundle, record), proof):
            raise ProofError(
                f"the proof of leaf {record.index} ({record.function}) does not lead to the root"
            )
    return f"{len(bundle.leaves)} proofs lead to the root"


def _root(bundle: Bundle) -> str:
    commitments = [_leaf_of(bundle, record).commitment for record in bundle.leaves]
    root = leaf.tree_of(hash_from_text("domain", bundle.domain), commitments).root
    if hash_text(root) != bundle.root:
        raise ProofError(f"the leaves give root {hash_text(root)}, the bundle says {bundle.root}")
    return bundle.root
