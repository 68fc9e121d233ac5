"""Where a bundle says something else than the chain, place by place, down to the field of a single vote.

Pure. A place is named as a reader finds it: `leaf 1 (fetch_votes), output: ballots[0x…].weight`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from orchestrator.commitments import Bundle, CanonicalError, LeafRecord, jcs
from scorers.claim import text_of
from scorers.rebuild import Rebuilt, RebuiltStep
from scorers.sections import (
    VOTES_SECTION,
    QuorumSection,
    ScoringSection,
    section_of_quorum,
    section_of_votes,
)

DIFFERENCES_MAX = 200
"""One fault may move thousands of places; the first ones tell it."""
SHOWN_LENGTH = 120
ABSENT = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One place: what the bundle says there, and what the chain gives."""

    place: str
    bundle: str
    chain: str

    def __str__(self) -> str:
        return f"{self.place} is {self.chain} on the chain, the bundle says {self.bundle}"


def differences_of(bundle: Bundle, section: ScoringSection, rebuilt: Rebuilt) -> list[Difference]:
    """Return where the bundle differs from what was rebuilt, in its order, at most `DIFFERENCES_MAX`."""
    return list(islice(_all(bundle, section, rebuilt), DIFFERENCES_MAX))


def _all(bundle: Bundle, section: ScoringSection, rebuilt: Rebuilt) -> Iterator[Difference]:
    yield from _compare("the number of steps", len(bundle.leaves), len(rebuilt.steps))
    for leaf, step in zip(bundle.leaves, rebuilt.steps, strict=False):
        yield from _leaf(leaf, step)
    yield from _section(section, rebuilt)
    shown = bundle.sections.get(VOTES_SECTION)
    if shown is not None:
        yield from _tree("votes", shown, section_of_votes(rebuilt.eligibility, rebuilt.verdict))


def _leaf(leaf: LeafRecord, step: RebuiltStep) -> Iterator[Difference]:
    yield from _compare(f"the function of leaf {leaf.index}", leaf.function, step.function)
    yield from _compare(f"the version of leaf {leaf.index} ({leaf.function})", leaf.version, step.version)
    for name, text, shown_hash, expected in (
        ("input", leaf.input, leaf.input_hash, step.input),
        ("output", leaf.output, leaf.output_hash, step.output),
    ):
        place = f"leaf {leaf.index} ({leaf.function}), {name}"
        found = False
        if text is not None and text.encode("utf-8", "surrogatepass") != expected:
            for difference in _texts(place, text, expected):
                found = True
                yield difference
        if not found:
            yield from _compare(f"the hash of {place}", shown_hash, text_of(sha256(expected).digest()))


def _texts(place: str, text: str, expected: bytes) -> Iterator[Difference]:
    try:
        shown = jcs.parse(text)
        jcs.encode(shown)  # what is nested beyond all values has no place to be compared
    except CanonicalError as error:
        yield Difference(place=place, bundle=f"no canonical JSON ({error})", chain="canonical JSON")
        return
    yield from _tree(place + ":", shown, jcs.parse(expected.decode()))


def _section(section: ScoringSection, rebuilt: Rebuilt) -> Iterator[Difference]:
    verdict, proposal = rebuilt.verdict, rebuilt.proposal
    yield from _compare("the score", section.score, verdict.score)
    yield from _compare("the status", section.status, str(verdict.status))
    yield from _compare("the votes for", section.for_votes, str(verdict.for_votes))
    yield from _compare("the votes against", section.against_votes, str(verdict.against_votes))
    yield from _compare("the abstentions", section.abstain_votes, str(verdict.abstain_votes))
    yield from _compare("the root of the votes", section.votes_root, verdict.votes_root)
    yield from _compare("the number of votes", section.votes, verdict.votes)
    yield from _compare("the snapshot", section.snapshot, proposal.snapshot)
    yield from _compare("the deadline", section.deadline, proposal.deadline)
    yield from _compare("the policy hash", section.policy_hash, proposal.policy_hash)
    if section.quorum is not UNSET:
        # Bundles made before it was reported have none.
        shown, actual = (_json(each) for each in (section.quorum, section_of_quorum(rebuilt.quorum)))
        yield from _tree("the quorum", shown, actual)


def _json(value: QuorumSection | UnsetType) -> Any:
    return None if value is UNSET else msgspec.to_builtins(value)


def _compare(place: str, shown: object, actual: object) -> Iterator[Difference]:
    if shown != actual:
        yield Difference(place=place.removesuffix(":"), bundle=_short(shown), chain=_short(actual))


def _tree(place: str, shown: Any, actual: Any) -> Iterator[Difference]:
    """Compare two JSON values; records are compared by their fields, and votes by their voters."""
    shown, actual = _plain(shown), _plain(actual)
    if isinstance(shown, dict) and isinstance(actual, dict):
        for name in [*actual, *(name for name in shown if name not in actual)]:
            inner = f"{place}.{name}" if not place.endswith(":") else f"{place} {name}"
            yield from _member(inner, shown, actual, name)
    elif isinstance(shown, list) and isinstance(actual, list):
        yield from _lists(place, shown, actual)
    else:
        yield from _compare(place, shown, actual)


def _member(place: str, shown: dict[str, Any], actual: dict[str, Any], name: str) -> Iterator[Difference]:
    if name not in shown:
        yield Difference(place=place, bundle=ABSENT, chain=_short(actual[name]))
    elif name not in actual:
        yield Difference(place=place, bundle=_short(shown[name]), chain=ABSENT)
    else:
        yield from _tree(place, shown[name], actual[name])


def _lists(place: str, shown: Sequence[Any], actual: Sequence[Any]) -> Iterator[Difference]:
    theirs, ours = _keyed(shown), _keyed(actual)
    for key in [*ours, *(key for key in theirs if key not in ours)]:
        yield from _member(f"{place}[{key}]", theirs, ours, key)
    common = [key for key in theirs if key in ours]
    expected = [key for key in ours if key in theirs]
    for position, (found, wanted) in enumerate(zip(common, expected, strict=True)):
        if found != wanted:
            yield Difference(place=f"{place}: place {position} of the order", bundle=found, chain=wanted)
            return


def _keyed(elements: Sequence[Any]) -> dict[str, Any]:
    """Name elements by their voter, and otherwise by their place; a voter's second is `0x… (2)`."""
    keyed: dict[str, Any] = {}
    repeats: dict[str, int] = {}
    for position, element in enumerate(elements):
        name = _voter(element) or str(position)
        key = name
        while key in keyed:
            # Counted on, lest a forged list of one voter keeps its reader busy for ever.
            repeats[name] = repeats.get(name, 1) + 1
            key = f"{name} ({repeats[name]})"
        keyed[key] = element
    return keyed


def _voter(element: Any) -> str | None:
    element = _plain(element)
    if isinstance(element, str):
        return element
    if not isinstance(element, dict):
        return None
    voter = element.get("voter")
    return voter if isinstance(voter, str) else _voter(element["ballot"]) if "ballot" in element else None


def _plain(value: Any) -> Any:
    """Strip the tag of a record: its fields are what a reader knows."""
    if isinstance(value, dict) and set(value) == {"$class", "fields"}:
        return value["fields"]
    return value


def _short(value: object) -> str:
    try:
        text = value if isinstance(value, str) else msgspec.json.encode(_readable(value)).decode()
    except RecursionError:
        text = "something that is nested too deeply"
    return text if len(text) <= SHOWN_LENGTH else text[: SHOWN_LENGTH - 1] + "…"


def _readable(value: object) -> object:
    plain = _plain(value)
    if isinstance(plain, dict):
        return {name: _readable(inner) for name, inner in plain.items()}
    return [_readable(inner) for inner in plain] if isinstance(plain, list) else plain
