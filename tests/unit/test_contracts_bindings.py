"""The bindings say what the compiled ABI says, and refuse what is not of it."""

from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from contracts.artifacts import load
from contracts.bindings import (
    ContractError,
    DecodeError,
    EncodeError,
    ErrorType,
    Event,
    Function,
    Log,
    MalformedLogError,
    decode_error,
    deploy_data,
    proposal_scores,
    reputation_dao,
)

MODULES = (reputation_dao, proposal_scores)
VOTER = "0x" + "ab" * 20
TOPIC_OF_GOVERNORS_VOTE_CAST = "b8e138887d0aa13bab447e82de9d5c1777041ecd21ca36ba824ff1e6c07ddda4"


def entries(module: ModuleType, kind: str) -> list[dict[str, Any]]:
    return [dict(each) for each in load(module.NAME).abi if each["type"] == kind]


def members(module: ModuleType, kind: type) -> list[Any]:
    return [each for each in vars(module).values() if isinstance(each, kind)]


def abi_type(parameter: dict[str, Any]) -> str:
    """The canonical type: a struct is the tuple of its members."""
    if not parameter["type"].startswith("tuple"):
        return str(parameter["type"])
    inner = ",".join(abi_type(each) for each in parameter["components"])
    return f"({inner}){parameter['type'].removeprefix('tuple')}"


def vote_log() -> Log:
    return Log(
        address="0x" + "11" * 20,
        topics=(reputation_dao.VOTE_CAST.topic0, encode(["address"], [VOTER])),
        data=encode(["uint256", "uint8", "uint256", "string"], [2**255, 1, 2**200, "because"]),
        block_number=7,
        block_hash=b"\x02" * 32,
        transaction_hash=b"\x03" * 32,
        log_index=4,
    )


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.NAME)
def test_functions_are_those_of_the_abi(module: ModuleType) -> None:
    compiled = {
        f"{each['name']}({','.join(abi_type(item) for item in each['inputs'])})": tuple(
            abi_type(item) for item in each["outputs"]
        )
        for each in entries(module, "function")
    }
    functions = members(module, Function)
    assert len(functions) > 15
    for function in functions:
        assert compiled[function.signature] == function.outputs, function.signature
        assert function.selector == keccak(text=function.signature)[:4]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.NAME)
def test_events_are_those_of_the_abi(module: ModuleType) -> None:
    compiled = {
        each["name"]: [(item["name"], item["type"], item["indexed"]) for item in each["inputs"]]
        for each in entries(module, "event")
    }
    for event in members(module, Event):
        found = [(each.name, each.type, each.indexed) for each in event.parameters]
        assert compiled.pop(event.name) == found, event.name
    library = ("Role", "DefaultAdmin", "Paused", "Unpaused")
    assert [name for name in compiled if not name.startswith(library)] == []


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.NAME)
def test_errors_are_exactly_those_of_the_abi(module: ModuleType) -> None:
    compiled = {
        each["name"]: tuple((item["type"], item["name"]) for item in each["inputs"])
        for each in entries(module, "error")
    }
    assert {each.name: each.parameters for each in module.ERRORS} == compiled


def test_the_vote_is_governors_own_event() -> None:
    assert reputation_dao.VOTE_CAST.topic0.hex() == TOPIC_OF_GOVERNORS_VOTE_CAST


def test_call_data_and_results() -> None:
    data = reputation_dao.CAST_VOTE.encode(5, reputation_dao.Support.FOR)
    assert data == keccak(text="castVote(uint256,uint8)")[:4] + encode(["uint256", "uint8"], [5, 1])
    state = reputation_dao.STATE.decode(encode(["uint8"], [7]))
    assert state is reputation_dao.ProposalState.EXECUTED
    assert reputation_dao.PROPOSE.decode(encode(["uint256"], [2**256 - 1])) == 2**256 - 1
    assert reputation_dao.CANCEL.decode(b"") is None
    votes = reputation_dao.PROPOSAL_VOTES.decode(encode(["uint256"] * 3, [1, 2, 3]))
    assert votes == reputation_dao.ProposalVotes(against=1, for_=2, abstain=3)


def test_structs_are_encoded_field_by_field() -> None:
    status = proposal_scores.Status.SCORED
    submission = proposal_scores.Submission(proposal_id=9, status=status, score=-3, root=b"\x01" * 32)
    expected = encode(["(uint256,uint8,int32,bytes32,bytes32)[]"], [[(9, 1, -3, b"\x01" * 32, bytes(32))]])
    assert proposal_scores.SUBMIT_SCORES.encode([submission])[4:] == expected


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (reputation_dao.CAST_VOTE, (1,)),
        (reputation_dao.CAST_VOTE, (1, 256)),
        (reputation_dao.CAST_VOTE, (-1, 1)),
        (reputation_dao.CAST_VOTE, (2**256, 1)),
        (reputation_dao.CAST_VOTE, ("1", 1)),
        (reputation_dao.CAST_VOTE, (1.0, 1)),
        (reputation_dao.PROPOSE, (b"\x01" * 33,)),
        (reputation_dao.GET_VOTES, ("0x12",)),
        (proposal_scores.SUBMIT_SCORE, (1, 1, 2**31, bytes(32))),
        (proposal_scores.SUBMIT_SCORES, (7,)),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    function: Function[Any], arguments: tuple[object, ...]
) -> None:
    with pytest.raises(EncodeError) as caught:
        function.encode(*arguments)
    assert function.name in str(caught.value)


@pytest.mark.parametrize(
    ("function", "data", "reason"),
    [
        (reputation_dao.CLOCK, b"", "is there such a contract"),
        (reputation_dao.CLOCK, b"\x01", "cannot decode the result of clock()"),
        (reputation_dao.CLOCK, b"\xff" * 32, "cannot decode the result of clock()"),
        (reputation_dao.STATE, encode(["uint8"], [8]), "8 is not a valid ProposalState"),
        (reputation_dao.CLOCK_MODE, encode(["bytes"], [b"\xff"]), "CLOCK_MODE()"),
        (reputation_dao.CLOCK_MODE, encode(["uint256"], [2**255]), "CLOCK_MODE()"),
        (reputation_dao.HAS_VOTED, encode(["uint8"], [2]), "hasVoted"),
        (proposal_scores.SCORE_OF, encode(["uint8"] * 5, [9, 0, 0, 0, 0]), "9 is not a valid Status"),
    ],
)
def test_results_that_are_none_are_refused(function: Function[Any], data: bytes, reason: str) -> None:
    with pytest.raises(DecodeError) as caught:
        function.decode(data)
    assert reason in str(caught.value)


def test_a_log_becomes_its_dataclass() -> None:
    expected = reputation_dao.VoteCast(
        voter=VOTER, proposal_id=2**255, support=1, weight=2**200, reason="because"
    )
    assert reputation_dao.VOTE_CAST.decode(vote_log()) == expected


@pytest.mark.parametrize(
    "change",
    [
        {"topics": ()},
        {"topics": (reputation_dao.PROPOSAL_CREATED.topic0, bytes(32))},
        {"topics": (reputation_dao.VOTE_CAST.topic0,)},
        {"topics": (reputation_dao.VOTE_CAST.topic0, bytes(32), bytes(32))},
        {"topics": (reputation_dao.VOTE_CAST.topic0, b"\xff" * 32)},
        {"data": b""},
        {"data": vote_log().data[:100]},
    ],
)
def test_a_log_that_is_not_of_the_event_is_refused_with_its_place(change: dict[str, Any]) -> None:
    with pytest.raises(DecodeError) as caught:
        reputation_dao.VOTE_CAST.decode(replace(vote_log(), **change))
    assert "event VoteCast(address,uint256,uint8,uint256,string) at log 4 of block 7" in str(caught.value)


def test_a_filter_narrows_by_indexed_fields_alone() -> None:
    event = proposal_scores.SCORE_SUBMITTED
    topic0 = "0x" + event.topic0.hex()
    scorer = "0x" + encode(["address"], [VOTER]).hex()
    assert event.topics() == [topic0]
    assert event.topics(proposal_id=5) == [topic0, f"0x{5:064x}"]
    assert event.topics(scorer=VOTER) == [topic0, None, scorer]
    with pytest.raises(EncodeError, match="not indexed: root"):
        event.topics(root=bytes(32))
    with pytest.raises(EncodeError, match="ScoreSubmitted"):
        event.topics(proposal_id="five")


def rpc_log() -> dict[str, object]:
    log = vote_log()
    return {
        "address": "0x" + "11" * 20,
        "topics": ["0x" + topic.hex() for topic in log.topics],
        "data": "0x" + log.data.hex(),
        "blockNumber": "0x7",
        "blockHash": "0x" + "02" * 32,
        "transactionHash": "0x" + "03" * 32,
        "transactionIndex": "0x0",
        "logIndex": "0x4",
        "removed": False,
    }


def test_a_log_is_parsed_from_json_rpc() -> None:
    assert Log.from_rpc(rpc_log()) == vote_log()
    checksummed = {**rpc_log(), "address": "0x" + "Ab" * 20}
    assert Log.from_rpc(checksummed).address == "0x" + "ab" * 20


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("address", None),
        ("address", "0x11"),
        ("address", "11" * 20),
        ("topics", None),
        ("topics", "0x11"),
        ("topics", ["0x11"]),
        ("data", "0x1"),
        ("data", "0xzz"),
        ("data", b"11"),
        ("blockNumber", None),
        ("blockNumber", 7),
        ("blockNumber", "0x"),
        ("blockNumber", "0x-7"),
        ("blockNumber", "0x1_0"),
        ("blockHash", None),
        ("transactionHash", "0x" + "03" * 31),
        ("logIndex", "four"),
    ],
)
def test_a_malformed_log_is_refused_and_the_field_named(field: str, value: object) -> None:
    with pytest.raises(MalformedLogError, match=f"field {field} is"):
        Log.from_rpc({**rpc_log(), field: value})


def test_refusals_are_read_and_told_on_one_line() -> None:
    data = keccak(text="NotFinal(uint256)")[:4] + encode(["uint256"], [7])
    found = decode_error(data)
    assert found == ContractError(name="NotFinal", arguments={"proposalId": 7})
    assert str(found) == "NotFinal(proposalId=7)"
    text = decode_error(keccak(text="Error(string)")[:4] + encode(["string"], ["no\nway"]))
    assert str(text) == r"Error(message='no\nway')"
    panic = decode_error(keccak(text="Panic(uint256)")[:4] + encode(["uint256"], [0x11]))
    assert str(panic) == "Panic(code=0x11 (arithmetic overflow))"
    role = {"account": VOTER, "neededRole": b"\x01" * 32}
    refused = ContractError(name="AccessControlUnauthorizedAccount", arguments=role)
    assert "neededRole=0x0101" in str(refused)


@pytest.mark.parametrize("data", [b"", b"\x01", b"\xff" * 36, keccak(text="NotFinal(uint256)")[:4]])
def test_bytes_that_are_no_refusal_of_ours_are_none(data: bytes) -> None:
    assert decode_error(data) is None


def test_no_two_refusals_share_a_selector() -> None:
    declared = {each.signature: each.selector for module in MODULES for each in module.ERRORS}
    assert len(set(declared.values())) == len(declared)
    assert ErrorType("EmptyBatch()").parameters == ()


def test_deploying_appends_the_constructors_arguments() -> None:
    artifact = load("ReputationDao")
    unit = reputation_dao.ClockUnit.TIMESTAMP
    expected = artifact.bytecode + encode(["address", "uint48", "uint8"], [VOTER, 9, 1])
    assert deploy_data(artifact, VOTER, 9, unit) == expected
    with pytest.raises(EncodeError, match="the constructor of ReputationDao"):
        deploy_data(artifact, VOTER)
    with pytest.raises(EncodeError, match="the constructor of ReputationDao"):
        deploy_data(artifact, VOTER, 2**48, unit)
