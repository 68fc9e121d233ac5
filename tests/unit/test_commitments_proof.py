"""Wrapper, closing, evidence bundle and its verification, over stored records alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import msgspec
import pytest

from orchestrator.commitments import (
    CLOSE_HEADER,
    Bundle,
    CanonicalError,
    Closing,
    Commitment,
    ProofError,
    StepValues,
    Uint256,
    build_bundle,
    bundle_from_json,
    bundle_to_json,
    canonical_arguments,
    canonical_result,
    close,
    close_tree,
    commit_step,
    commitment_for,
    committed_steps,
    verify_bundle,
    with_values,
)
from orchestrator.protocol.records import PromiseRecord, PromiseState, Value

DOMAIN = sha256(b"chain, registry, DAO, proposal, policy").digest()
ROOT = "scoreProposal-1-0xabc-7"


@dataclass(frozen=True)
class Vote:
    voter: str
    weight: Uint256


def fetch_votes(proposal_id: Uint256) -> list[Vote]:
    return [Vote("0xa", 2**100), Vote("0xb", proposal_id)]


def total(votes: list[Vote]) -> Uint256:
    return sum(vote.weight for vote in votes)


def record(promise_id: str, headers: dict[str, str] | None = None, **changes: Any) -> PromiseRecord:
    fields: dict[str, Any] = {
        "id": promise_id,
        "state": PromiseState.RESOLVED,
        "param": Value(),
        "value": Value(headers=headers),
        "tags": {},
        "timeout_at": 2**53,
        "created_at": 1,
        "settled_at": 2,
    }
    return PromiseRecord(**(fields | changes))


@dataclass(frozen=True)
class Stored:
    """A stored tree and what its values are in canonical form."""

    promises: list[PromiseRecord]
    values: dict[str, StepValues]

    def decode(self, promise: PromiseRecord) -> StepValues | None:
        return self.values.get(promise.id)


def step(
    promise_id: str, fn: Callable[..., Any], *args: object, **changes: Any
) -> tuple[PromiseRecord, StepValues]:
    result = fn(*args)
    values = StepValues(input=canonical_arguments(fn, args, {}), output=canonical_result(fn, result))
    return record(promise_id, commitment_for(fn, fn.__name__, 1, args, {}, result), **changes), values


def stored(steps: int = 12) -> Stored:
    """A root with `steps` numbered committed steps, a plain step, the closing, and what comes after."""
    pairs = [step(f"{ROOT}:{number}", total, [Vote("0xa", number)]) for number in range(1, steps + 1)]
    pairs.append(step(f"{ROOT}:2.1", fetch_votes, 5))
    promises = [promise for promise, _ in pairs]
    promises.append(record(f"{ROOT}:{steps + 1}"))
    closing_id = f"{ROOT}:{steps + 2}"
    closing = close_tree(DOMAIN, promises, before=closing_id)
    promises.append(record(closing_id, closing.to_headers()))
    promises.append(step(f"{ROOT}:{steps + 3}", total, [])[0])
    promises.append(record(ROOT, state=PromiseState.PENDING, settled_at=None))
    return Stored(promises=promises, values={promise.id: values for promise, values in pairs})


def failed(bundle: Bundle) -> set[str]:
    return {check.name for check in verify_bundle(bundle) if not check.ok}


# ---- the wrapper ---------------------------------------------------------------------------------


def test_commitment_for_hashes_canonical_input_and_output() -> None:
    headers = commitment_for(total, "total", 3, ([Vote("0xa", 1)],), {}, 1)
    text = '{"votes":[{"$class":"Vote","fields":{"voter":"0xa","weight":"1"}}]}'
    assert headers == {
        "commitment-scheme": "1",
        "commitment-function": "total",
        "commitment-version": "3",
        "commitment-input": "0x" + sha256(text.encode()).hexdigest(),
        "commitment-output": "0x" + sha256(b'"1"').hexdigest(),
    }
    read = Commitment.from_headers(headers)
    assert read is not None
    assert read.to_headers() == headers


def test_input_is_hashed_before_the_function_can_change_it() -> None:
    def drain(votes: list[int]) -> int:
        taken = len(votes)
        votes.clear()
        return taken

    votes = [1, 2]
    expected = commitment_for(drain, "drain", 1, ([1, 2],), {}, 2)
    bound = commit_step("drain", 1, drain).bind((votes,), {})
    assert bound.headers(drain(votes)) == expected
    assert commitment_for(drain, "drain", 1, (votes,), {}, 2) != expected


def test_values_read_back_hash_to_the_headers() -> None:
    votes = [Vote("0xa", 2**70)]
    committer = commit_step("total", 1, total)
    values = committer.values((votes,), {}, 2**70)
    commitment = Commitment.from_headers(committer.bind((), {"votes": votes}).headers(2**70))
    assert commitment is not None
    assert values.input is not None
    assert values.output is not None
    assert sha256(values.input).digest() == commitment.input_hash
    assert sha256(values.output).digest() == commitment.output_hash


def test_registration_refuses_what_can_never_be_committed() -> None:
    def ratio(value: int) -> float:
        return value / 2

    with pytest.raises(CanonicalError, match="result: the declared type float"):
        commit_step("ratio", 1, ratio)


def test_headers_without_commitment_are_none_and_malformed_ones_are_refused() -> None:
    good = commitment_for(total, "total", 1, ([],), {}, 0)
    assert Commitment.from_headers(None) is None
    assert Commitment.from_headers({"other": "1"}) is None
    for name in good:
        with pytest.raises(ProofError, match=name):
            Commitment.from_headers({key: value for key, value in good.items() if key != name})
    for name, text in [
        ("commitment-scheme", "2"),
        ("commitment-version", "01"),
        ("commitment-version", "-1"),
        ("commitment-version", str(2**53)),
        ("commitment-version", "٣"),
        ("commitment-input", good["commitment-input"].upper()),
        ("commitment-output", good["commitment-output"] + "\n"),
        ("commitment-output", good["commitment-output"][2:]),
        ("commitment-function", ""),
        ("commitment-function", "a" * 257),
    ]:
        with pytest.raises(ProofError):
            Commitment.from_headers(good | {name: text})


# ---- the closing ---------------------------------------------------------------------------------


def test_closing_headers_return_what_was_closed() -> None:
    commitment = Commitment.from_headers(commitment_for(total, "total", 1, ([],), {}, 0))
    assert commitment is not None
    closing = close(DOMAIN, [commitment])
    assert CLOSE_HEADER in closing.to_headers()
    assert Closing.from_headers(closing.to_headers()) == closing
    assert Commitment.from_headers(closing.to_headers()) is None
    assert Closing.from_headers(commitment.to_headers()) is None
    with pytest.raises(ProofError, match="commitment-root"):
        Closing.from_headers(closing.to_headers() | {"commitment-root": "0x"})


def test_a_committed_function_that_returns_a_closing_writes_the_closing() -> None:
    closing = Closing(domain=DOMAIN, count=1, root=DOMAIN)

    def close_step(domain: bytes) -> Closing:
        return closing

    assert commitment_for(close_step, "close", 1, (DOMAIN,), {}, closing) == closing.to_headers()


def test_steps_are_found_in_the_order_of_their_numbers() -> None:
    tree = stored()
    steps = committed_steps(tree.promises, before=f"{ROOT}:14")
    ids = [one.record.id.removeprefix(ROOT) for one in steps]
    assert ids == [":1", ":2", ":2.1", *(f":{number}" for number in range(3, 13))]


def test_what_cannot_be_a_leaf_is_left_out() -> None:
    tree = stored(2)
    more = [
        step(f"{ROOT}:1.1", total, [], state=PromiseState.REJECTED)[0],
        step(f"{ROOT}:d0123456789abcdef", total, [])[0],
        step(f"{ROOT}:d0123456789abcdef.1", total, [])[0],
        step("another:1", total, [])[0],
        step(f"{ROOT}0:1", total, [])[0],
    ]
    assert committed_steps(tree.promises + more, before=f"{ROOT}:4") == committed_steps(
        tree.promises, before=f"{ROOT}:4"
    )
    # An ancestor of the closing settles after it, so it can never be below it.
    nested = [step(f"{ROOT}:1", total, [])[0], step(f"{ROOT}:1.1", total, [])[0], step(ROOT, total, [])[0]]
    assert [one.record.id for one in committed_steps(nested, before=f"{ROOT}:1.2")] == [f"{ROOT}:1.1"]


# ---- the bundle ----------------------------------------------------------------------------------


def test_bundle_is_rebuilt_from_records_in_any_order_and_holds() -> None:
    tree = stored()
    bundle = build_bundle(tree.promises, decode=tree.decode, sections={"chain": {"id": 1}})
    assert [check.detail for check in verify_bundle(bundle) if not check.ok] == []
    assert (bundle.promise_id, bundle.count, bundle.version) == (ROOT, 13, 2)
    again = build_bundle(tree.promises[::-1], decode=tree.decode, sections={"chain": {"id": 1}})
    assert bundle_to_json(again) == bundle_to_json(bundle)
    assert bundle_from_json(bundle_to_json(bundle)) == bundle


def test_bundle_of_a_branch_of_the_tree() -> None:
    promises = [step("batch:3.1", total, [])[0], step("batch:1", total, [])[0]]
    closing = close(DOMAIN, [one.commitment for one in committed_steps(promises[:1], before="batch:3.2")])
    promises.append(record("batch:3.2", closing.to_headers()))
    bundle = build_bundle(promises, promise_id="batch:3")
    assert [leaf.promise_id for leaf in bundle.leaves] == ["batch:3.1"]
    assert failed(bundle) == {"values"}


def test_bundle_without_values_serves_leaves_and_their_holder_adds_them() -> None:
    tree = stored(3)
    bundle = build_bundle(tree.promises)
    assert {leaf.input for leaf in bundle.leaves} == {None}
    assert failed(bundle) == {"values"}
    values = next(check for check in verify_bundle(bundle) if check.name == "values")
    assert "4 of 4 steps show no values" in values.detail
    complete = with_values(bundle, tree.values)
    assert failed(complete) == set()
    assert complete == build_bundle(tree.promises, decode=tree.decode)
    with pytest.raises(ProofError, match="does not hash to its commitment"):
        with_values(bundle, {f"{ROOT}:1": StepValues(input=b"{}", output=b"{}")})


def test_faults_of_the_stored_tree_are_named() -> None:
    tree = stored(3)
    closing_id = f"{ROOT}:5"
    by_id = {promise.id: promise for promise in tree.promises}

    def changed(promise_id: str, **headers: str) -> list[PromiseRecord]:
        old = by_id[promise_id]
        value = Value(headers=(old.value.headers or {}) | headers)
        return [
            *(one for one in tree.promises if one.id != promise_id),
            msgspec.structs.replace(old, value=value),
        ]

    def refuses(promises: list[PromiseRecord], match: str) -> None:
        with pytest.raises(ProofError, match=match) as caught:
            build_bundle(promises)
        assert "\n" not in str(caught.value)

    other = "0x" + "11" * 32
    refuses(changed(f"{ROOT}:2", **{"commitment-output": other}), "recorded root 0x.* the store gives 0x")
    refuses(changed(f"{ROOT}:2", **{"commitment-input": "0x11"}), f"{ROOT}:2: commitment-input must be")
    refuses(changed(closing_id, **{"commitment-domain": other}), "recorded root")
    refuses(changed(closing_id, **{"commitment-count": "5"}), "closed 5 commitments, 4 precede it")
    refuses([one for one in tree.promises if one.id != closing_id], "has no closing")
    refuses([one for one in tree.promises if one.id != f"{ROOT}:2"], "closed 4 commitments, 3 precede it")
    refuses([*tree.promises, by_id[closing_id]], "comes twice")
    refuses([*tree.promises, record(f"{ROOT}:9", by_id[closing_id].value.headers)], "has 2 closings")
    refuses([*tree.promises, step(f"{ROOT}:1.1", total, [])[0]], "closed 4 commitments, 5 precede it")
    refuses([], "0 origins")
    with pytest.raises(ProofError, match="does not hash to its commitment"):
        build_bundle(tree.promises, decode=lambda _: StepValues(input=b"{}"))


@pytest.mark.parametrize(
    ("expected", "change"),
    [
        ("order", {"promise_id": f"{ROOT}:3"}),
        ("order", {"promise_id": "other:1"}),
        ("order", {"promise_id": f"{ROOT}:d12"}),
        ("leaves", {"function": "other"}),
        ("leaves", {"version": 2}),
        ("leaves", {"hash": "0x" + "11" * 32}),
        ("values", {"input": '{"votes":[]}'}),
        ("values", {"output": '"9"'}),
        ("leaves", {"output": '"9"'}),
        ("proofs", {"output": '"9"'}),
        ("root", {"output": '"9"'}),
        ("values", {"output": "0.5"}),
        ("values", {"output": ' "1"'}),
        ("values", {"output": "\ud800"}),
        ("values", {"input_hash": "0x" + "11" * 32}),
        ("proofs", {"proof": []}),
        ("proofs", {"proof": ["0x" + "11" * 32]}),
        ("completeness", {"index": 9}),
        ("shape", {"index": 1}),
        ("shape", {"output_hash": "0x11"}),
        ("shape", {"index": 2**53}),
        ("shape", {"promise_id": f"{ROOT}:{'1' * 5_000}"}),
        ("shape", {"promise_id": ""}),
        ("order", {"promise_id": f"{ROOT}:²"}),
    ],
)
def test_every_change_of_a_leaf_is_found(expected: str, change: dict[str, Any]) -> None:
    tree = stored(3)
    bundle = build_bundle(tree.promises, decode=tree.decode)
    leaf = msgspec.structs.replace(bundle.leaves[0], **change)
    assert expected in failed(msgspec.structs.replace(bundle, leaves=[leaf, *bundle.leaves[1:]]))


def test_every_change_of_the_whole_is_found() -> None:
    tree = stored(3)
    bundle = build_bundle(tree.promises, decode=tree.decode)
    leaves = bundle.leaves
    other = "0x" + "11" * 32
    for change, expected in [
        ({"root": other}, {"proofs", "root"}),
        ({"domain": other}, {"leaves", "proofs", "root"}),
        ({"count": 3}, {"completeness", "leaves", "proofs", "root"}),
        ({"leaves": leaves[:-1]}, {"completeness", "root"}),
        ({"leaves": []}, {"completeness", "root"}),
        ({"leaves": leaves[:-1], "count": 3}, {"leaves", "proofs", "root"}),
        ({"leaves": [leaves[1], leaves[0], *leaves[2:]]}, {"completeness", "order"}),
        ({"version": 3}, {"shape"}),
        ({"promise_id": "scoreProposal-1-0xabc-8"}, {"order"}),
    ]:
        found = failed(msgspec.structs.replace(bundle, **change))
        assert expected <= found, change


def test_an_inner_node_does_not_pass_for_a_step() -> None:
    """A verifier that took hashes from the bundle would accept this: an inner node with a shorter path."""
    tree = stored(3)
    bundle = build_bundle(tree.promises, decode=tree.decode)
    sibling = bundle.leaves[0].proof[0]
    forged = msgspec.structs.replace(
        bundle.leaves[0], input=None, output=None, input_hash=sibling, output_hash=sibling, hash=sibling
    )
    found = failed(msgspec.structs.replace(bundle, leaves=[forged, *bundle.leaves[1:]]))
    assert {"values", "leaves", "proofs", "root"} <= found


# ---- its JSON ------------------------------------------------------------------------------------


def content() -> dict[str, Any]:
    tree = stored(3)
    built = bundle_to_json(build_bundle(tree.promises, decode=tree.decode, sections={"chain": {"id": 1}}))
    read: dict[str, Any] = json.loads(built)
    return read


@pytest.mark.parametrize(
    ("path", "value", "match"),
    [
        (["version"], 1, "bundle version 1 is unknown"),
        (["version"], True, "bundle version True is unknown"),
        (["version"], None, "bundle version None is unknown"),
        (["count"], 4.0, "4.0 is not an integer"),
        (["count"], -1, "count must be from 0"),
        (["count"], "4", "malformed"),
        (["root"], "0x1234", "root must be 0x and 64"),
        (["root"], "0x" + "AB" * 32, "root must be 0x and 64"),
        (["domain"], None, "malformed"),
        (["extra"], 1, "malformed"),
        (["leaves", 1, "index"], 0, r"leaves\[1\].index 0 stands twice"),
        (["leaves", 1, "extra"], 1, "malformed"),
        (["leaves", 1, "hash"], "0x" + "1" * 63, r"leaves\[1\].hash must be"),
        (["leaves", 0, "proof", 0], "", r"leaves\[0\].proof\[0\] must be"),
        (["leaves", 0, "proof"], ["0x" + "11" * 32] * 65, r"leaves\[0\].proof has 65 hashes"),
        (["sections", "chain", "fee"], 0.1, "0.1 is not an integer"),
        (["sections", "chain", "fee"], 2**60, "too large for a JSON number"),
        (["sections"], [], "malformed"),
    ],
)
def test_bad_bundles_are_refused_in_one_line(path: list[Any], value: object, match: str) -> None:
    whole = content()
    place: Any = whole
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    with pytest.raises(ProofError, match=match) as caught:
        bundle_from_json(json.dumps(whole))
    assert "\n" not in str(caught.value)


def test_missing_fields_are_refused() -> None:
    for field in ("version", "promise_id", "domain", "root", "count", "leaves", "sections"):
        whole = content()
        del whole[field]
        with pytest.raises(ProofError, match=field):
            bundle_from_json(json.dumps(whole))
    for field in content()["leaves"][0]:
        whole = content()
        del whole["leaves"][2][field]
        with pytest.raises(ProofError, match=field):
            bundle_from_json(json.dumps(whole))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b"\xff",
        '"\ud800"',
        b'{"version":2,"promise_id":"\\uD800"}',
        b'{"version":2,"\\udc00\\ud800":0}',
        b'{"version":1,"version":1}',
        b"[" * 100_000,
        b"9" * 10_000,
        b"NaN",
    ],
)
def test_what_is_no_bundle_at_all_is_refused(text: bytes | str) -> None:
    with pytest.raises(ProofError) as caught:
        bundle_from_json(text)
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


def test_oversize_bundles_are_refused_unread() -> None:
    text = json.dumps(content())
    assert bundle_from_json(text, bytes_max=len(text)).count == 4
    with pytest.raises(ProofError, match="at most 10 are read"):
        bundle_from_json(text, bytes_max=10)


def test_sections_that_json_cannot_carry_are_not_written() -> None:
    bundle = build_bundle(stored(3).promises, sections={"fee": 0.1})
    with pytest.raises(ProofError, match="cannot be written"):
        bundle_to_json(bundle)


def test_dataclass_equality_of_closings_is_by_value() -> None:
    closing = Closing(domain=DOMAIN, count=1, root=DOMAIN)
    assert replace(closing, count=2) != closing
    for change in ({"count": 0}, {"root": b""}, {"domain": b"\1" * 31}):
        with pytest.raises(ProofError):
            replace(closing, **change)
