"""What others may read, and what they may do."""

from __future__ import annotations

from examples.gallery.example import Example
from examples.stage import Crash, Stage
from orchestrator import Keyring

TITLE = "Trust"
PATIENT = "Lovelace"


async def encrypted_payloads(stage: Stage) -> str:
    """Crash between the two steps; then look for the name in the files of the store."""
    keys = stage.folder / "keys"
    keys.touch(mode=0o600)
    keys.write_text(Keyring.new_line("2026-01"), encoding="utf-8")
    said = await stage.run(
        "encrypted_payloads/patient.py", "keys", "1", PATIENT, crash=Crash(step="file_away")
    )
    stored = b"".join(path.read_bytes() for path in stage.folder.glob("patients.db*"))
    return f"{said}; {'readable' if PATIENT.encode() in stored else 'nothing to read'} in the store"


async def tenants(stage: Stage) -> str:
    """Crash between the two steps of Ada's note, which Bob may not read."""
    program = "tenants/notes.py"
    await (await stage.start(program, "sign", "ada", "bob")).result()
    url = await stage.server("--jwt-public-key", str(stage.folder / "public.pem"))
    kept = await stage.run(program, "keep", "--at", url, "ada", "1", "to be", crash=Crash(step="count"))
    read = await stage.start(program, "read", "--at", url, "bob", "ada.note-1")
    return f"{kept}; {await read.result()}"


EXAMPLES = (
    Example(
        folder="encrypted_payloads",
        problem="Values that neither database nor server can read",
        crash="between two steps",
        root="patient-1",
        store="patients.db",
        play=encrypted_payloads,
        caption="As it is seen without the key.",
    ),
    Example(
        folder="tenants",
        problem="Tenants of one server, of whom none reaches another's",
        crash="between two steps",
        root="ada.note-1",
        store="server.db",
        play=tenants,
    ),
)
