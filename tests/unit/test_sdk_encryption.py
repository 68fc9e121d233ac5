"""The keyring, and what stands between values and the store."""

from __future__ import annotations

import base64
import copy
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import DecryptionError, KeyFault, Keyring, PromiseRecord, PromiseState, Value
from orchestrator.client.encryption import CannotOpen, Sealed
from orchestrator.client.sealing import Seals, readable
from orchestrator.domain.promise import ENCRYPTION_HEADER
from orchestrator.protocol import commands as c
from orchestrator.protocol import schedules as s
from orchestrator.protocol.messages import Unblock

SECRET = bytes(range(32))
RING = Keyring({"k1": SECRET})
PLAIN = Value(headers={"func": "f"}, data=base64.b64encode(b'"secret words"').decode())


def record(promise_id: str, param: Value, value: Value | None = None, **tags: str) -> PromiseRecord:
    return PromiseRecord(
        id=promise_id,
        state=PromiseState.RESOLVED,
        param=param,
        value=value or Value(),
        tags=tags,
        timeout_at=1,
        created_at=0,
    )


@given(st.binary(max_size=200), st.binary(max_size=40))
def test_what_is_encrypted_comes_back(text: bytes, bound_to: bytes) -> None:
    assert RING.decrypt(RING.encrypt(text, bound_to), bound_to) == text


def test_the_format_is_plain_aes_256_gcm_under_a_derived_key() -> None:
    sealed = RING.encrypt(b"words", b"bound")
    key = HKDFExpand(algorithm=SHA256(), length=32, info=b"orchestrator value 1\x00bound").derive(SECRET)
    assert AESGCM(key).decrypt(sealed.text[:12], sealed.text[12:], b"bound") == b"words"


@pytest.mark.parametrize("place", range(0, 33, 4))
def test_a_changed_bit_is_noticed(place: int) -> None:
    sealed = RING.encrypt(b"words", b"bound")
    text = bytearray(sealed.text)
    text[place % len(text)] ^= 1
    with pytest.raises(CannotOpen, match="does not open"):
        RING.decrypt(Sealed(key_id="k1", text=bytes(text)), b"bound")


def test_a_text_that_is_too_short_does_not_open() -> None:
    with pytest.raises(CannotOpen):
        RING.decrypt(Sealed(key_id="k1", text=b""), b"bound")


def test_the_first_key_writes_and_all_read() -> None:
    old = Seals(RING)
    both = Seals(Keyring({"k2": bytes(32), "k1": SECRET}))
    written_before = old.sealed(c.PromiseCreate(id="p", timeout_at=1, param=PLAIN)).param
    written_now = both.sealed(c.PromiseCreate(id="p", timeout_at=1, param=PLAIN)).param
    assert (written_before.key_id, written_now.key_id) == ("k1", "k2")
    for written in (written_before, written_now):
        assert both.opened(record("p", written)).param == PLAIN
    kept = old.opened(record("p", written_now)).param
    with pytest.raises(DecryptionError, match=r"encrypted with key 'k2': this process has only k1"):
        readable(kept, "the param of p")


def sealed_value(promise_id: str) -> Value:
    command = c.PromiseSettle(id=promise_id, state=PromiseState.RESOLVED, value=PLAIN)
    return Seals(RING).sealed(command).value


@pytest.mark.parametrize(
    "moved",
    [record("q", Value(), sealed_value("p")), record("p", sealed_value("p"))],
    ids=["to another promise", "from value to param"],
)
def test_a_value_does_not_open_elsewhere(moved: PromiseRecord) -> None:
    opened = Seals(RING).opened(moved)
    value = opened.value if opened.value.data else opened.param
    with pytest.raises(DecryptionError, match="belongs to another promise"):
        readable(value, "it")


COMMANDS: list[Any] = [
    c.PromiseCreate(id="p", timeout_at=1, param=PLAIN),
    c.PromiseSettle(id="p", state=PromiseState.RESOLVED, value=PLAIN),
    c.PromiseRecordStep(
        id="p", timeout_at=1, created_at=0, state=PromiseState.RESOLVED, param=PLAIN, value=PLAIN
    ),
    c.PromiseProgress(id="p", value=PLAIN),
    c.TaskCreate(pid="w", ttl=1, action=c.PromiseCreate(id="p", timeout_at=1, param=PLAIN)),
    c.TaskFulfill(
        id="p", version=1, action=c.PromiseSettle(id="p", state=PromiseState.REJECTED, value=PLAIN)
    ),
    c.TaskFence(id="p", version=1, action=c.PromiseCreate(id="p:1", timeout_at=1, param=PLAIN)),
    s.ScheduleCreate(
        id="s", cron="* * * * *", promise_id="x", promise_timeout=1, promise_param=PLAIN, promise_tags={}
    ),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
def test_no_command_carries_a_plain_value(command: Any) -> None:
    sealed = Seals(RING).sealed(command)
    assert msgspec.json.encode(command).count(PLAIN.data.encode()) > 0  # type: ignore[union-attr]
    assert PLAIN.data.encode() not in msgspec.json.encode(sealed)  # type: ignore[union-attr]
    assert b'"func":"f"' in msgspec.json.encode(sealed), "headers stay plain"


def carries_values(kind: type, seen: frozenset[type] = frozenset()) -> bool:
    """Tell from the declared types whether a command has a Value anywhere."""
    for field in msgspec.structs.fields(kind):  # type: ignore[arg-type]
        for part in parts_of(field.type):
            if part is Value or (part not in seen and carries_values(part, seen | {part})):
                return True
    return False


def parts_of(declared: Any) -> list[type]:
    if isinstance(declared, type) and issubclass(declared, msgspec.Struct):
        return [declared]
    return [part for argument in getattr(declared, "__args__", ()) for part in parts_of(argument)]


def test_every_command_that_carries_values_is_among_the_samples() -> None:
    carrying = {kind for kind in c.COMMANDS.values() if carries_values(kind)}
    # These travel inside a fence and have no kind of their own there.
    assert carrying | {c.PromiseRecordStep, c.PromiseProgress} == {type(command) for command in COMMANDS}


def test_answers_and_messages_are_opened_wherever_records_stand() -> None:
    written = record("p", Seals(RING).sealed(c.PromiseCreate(id="p", timeout_at=1, param=PLAIN)).param)
    plain = record("p", PLAIN)
    seals = Seals(RING)
    assert seals.opened(c.PromisePage(promises=[written, written])).promises == [plain, plain]
    assert seals.opened(c.FenceAnswer(promise=None, preload=[written])).preload == [plain]
    assert seals.opened(Unblock(promise=written)).promise == plain


def test_a_scheduled_run_opens_the_param_of_its_schedule_and_nobody_elses() -> None:
    seals = Seals(RING)
    scheduled = seals.sealed(COMMANDS[-1]).promise_param
    run = record("s-1", scheduled, **{"resonate:schedule": "s"})
    other = record("t-1", scheduled, **{"resonate:schedule": "t"})
    assert seals.opened(run).param == PLAIN
    assert seals.opened(other).param.key_id == "k1"


def test_data_that_is_no_base64_survives() -> None:
    odd = Value(data="not base64 at all: é")
    seals = Seals(RING)
    sealed = seals.sealed(c.PromiseCreate(id="p", timeout_at=1, param=odd)).param
    assert seals.opened(record("p", sealed)).param == odd


def test_no_key_is_ever_shown() -> None:
    encoded = base64.b64encode(SECRET).decode()
    assert repr(RING) == "<Keyring writes with 'k1', reads k1>"
    assert encoded not in f"{RING!r}{RING}"
    assert SECRET.hex() not in f"{RING!r}"
    with pytest.raises(TypeError, match="holds keys"):
        copy.copy(RING)


FAULTS = {
    "": "no encryption key",
    "# only a comment": "no encryption key",
    "k1": "expected ID:BASE64",
    "k1:c2hvcnQ=": "has 5 bytes: AES-256 needs 32",
    "k1:not-base64!": "is not base64",
    "k 1:AAAA": "expected ID:BASE64",
    f"k1:{base64.b64encode(SECRET).decode()} k1:{base64.b64encode(bytes(32)).decode()}": "comes twice",
    f"-:{base64.b64encode(SECRET).decode()}": "id must be",
}


@pytest.mark.parametrize("text", FAULTS)
def test_bad_keys_are_refused_without_repeating_them(text: str) -> None:
    with pytest.raises(KeyFault, match=FAULTS[text]) as caught:
        Keyring.parse(text)
    assert base64.b64encode(SECRET).decode() not in str(caught.value)


def test_a_key_file_and_its_faults(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# the newest first\n{Keyring.new_line('k2')}\n{Keyring.new_line('k1')}\n")
    file.chmod(0o644)
    with pytest.raises(KeyFault, match="chmod 600"):
        Keyring.from_file(file)
    file.chmod(0o600)
    assert repr(Keyring.from_file(file)) == "<Keyring writes with 'k2', reads k2, k1>"
    with pytest.raises(KeyFault, match="cannot be read: FileNotFoundError"):
        Keyring.from_file(tmp_path / "none")


def test_keys_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyFault, match="is not set"):
        Keyring.from_environment("SOME_KEYS")
    monkeypatch.setenv("SOME_KEYS", f"{Keyring.new_line('b')},{Keyring.new_line('a')}")
    assert Keyring.from_environment("SOME_KEYS").writing == "b"


def test_an_encrypted_value_without_any_keyring_says_so() -> None:
    assert ENCRYPTION_HEADER == "encryption"
    with pytest.raises(DecryptionError, match="this process has no keys; give an encryptor"):
        readable(sealed_value("p"), "the result of p")
