"""Collecting the evidence of a promise over any transport: the server's route and the command line share it.

The bundle is a pure function of the stored promise tree; what is gathered here are the tree, in pages, and
the sections that an application registers (what it knows of the chain). Only settled records count in a
bundle and they never change (P1), so pages read one after another give the same bundle as one snapshot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from orchestrator.client.invocation import committed_texts
from orchestrator.commitments.bundle import Bundle
from orchestrator.commitments.closing import CLOSE_HEADER
from orchestrator.commitments.errors import ProofError
from orchestrator.commitments.proof import Decode, build_bundle
from orchestrator.domain.errors import Refused, Unavailable
from orchestrator.protocol.paging import TREE_PROMISES_MAX, fetch_tree
from orchestrator.protocol.records import PromiseRecord
from orchestrator.protocol.transport import Call

EvidenceSection = Callable[[str, Sequence[PromiseRecord]], Awaitable[Mapping[str, object] | None]]
"""Gives one section of a promise's bundle from its tree, or None while there is nothing to show.

What it gives of a settled promise must not change any more: readers keep a final bundle for good.
"""
MemberProof = Callable[[Bundle, str], msgspec.Struct]
"""Gives the proof of one member of a collection in a bundle, by its key; raises ProofError if none."""
SECTION_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofSource:
    """What an application adds to bundles: named sections, and how stored values are read.

    `decode` is None where they are not to be shown: leaves and paths are served all the same. `members` prove
    single things of a collection, by the collection's name; `page` is a verifier in HTML. `of_the_whole`
    names the sections that the proof of a single step goes without: they grow with what is proven.
    """

    sections: Mapping[str, EvidenceSection] = field(default_factory=dict)
    decode: Decode | None = committed_texts
    members: Mapping[str, MemberProof] = field(default_factory=dict)
    page: bytes | None = None
    of_the_whole: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A bundle; it is `final` once the promise is settled and no section is empty: then it cannot change."""

    bundle: Bundle
    final: bool


async def fetch_bundle(
    call: Call,
    promise_id: str,
    sections: Mapping[str, EvidenceSection] | None = None,
    *,
    decode: Decode | None = committed_texts,
) -> Bundle:
    """Return the evidence bundle of a promise.

    Raises Refused: 404 for an unknown promise, 409 while its proof is not closed yet, 422 if it never will
    be or contradicts the store. Raises Unavailable if the engine or a section does not answer.
    """
    source = ProofSource(sections=sections or {}, decode=decode)
    return (await fetch_evidence(call, promise_id, source)).bundle


async def fetch_evidence(call: Call, promise_id: str, source: ProofSource) -> Evidence:
    """Return the bundle and whether it is final; raises as `fetch_bundle` does."""
    promise, tree = await fetch_tree(call, promise_id, promises_max=TREE_PROMISES_MAX)
    _check_closed(promise, tree)
    sections = {name: await _section(name, read, promise_id, tree) for name, read in source.sections.items()}
    shown = {name: dict(content) for name, content in sections.items() if content is not None}
    try:
        # Hashing a large tree takes seconds: in a thread, so that the loop goes on serving.
        bundle = await asyncio.to_thread(
            build_bundle, tree, promise_id=promise_id, decode=source.decode, sections=shown
        )
    except ProofError as error:
        raise Refused(422, f"the proof of {promise_id} cannot be built: {error}") from error
    return Evidence(bundle=bundle, final=not promise.pending and len(shown) == len(sections))


def _check_closed(promise: PromiseRecord, tree: Sequence[PromiseRecord]) -> None:
    if any(CLOSE_HEADER in (record.value.headers or {}) for record in tree):
        return
    if promise.pending:
        raise Refused(
            409,
            f"the proof of {promise.id} is not closed yet: its workflow is still running, ask again later",
        )
    raise Refused(
        422,
        f"{promise.id} is {promise.state} without a closed proof: its workflow committed to no steps, "
        "or ended before it closed them",
    )


async def _section(
    name: str, read: EvidenceSection, promise_id: str, tree: Sequence[PromiseRecord]
) -> Mapping[str, object] | None:
    try:
        async with asyncio.timeout(SECTION_TIMEOUT_S):
            return await read(promise_id, tree)
    except TimeoutError as error:
        raise Unavailable(
            f"section {name!r} of {promise_id} gave no answer within {SECTION_TIMEOUT_S:g} s: ask again later"
        ) from error
