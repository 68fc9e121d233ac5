"""A `dao-scorer serve` process that is killed and started again on the same port and store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.acceptance.nursery import Nursery, Process

KILLED = -9


@dataclass(slots=True, kw_only=True)
class Served:
    """One server by its store; `url` stays what it was first."""

    nursery: Nursery
    folder: Path
    store: str
    name: str = "server"
    url: str = ""
    process: Process | None = None

    async def start(self) -> None:
        """Start, and wait until it is ready."""
        port = urlsplit(self.url).port or 0
        command = ["serve", "--port", str(port), "--store", self.store]
        arguments = [str(self.folder / "journal"), "", *command]
        self.process = self.nursery.start(self.name, arguments, environment={}, directory=self.folder)
        self.url = await self.process.ready()

    async def kill(self) -> None:
        """End it with SIGKILL."""
        assert self.process is not None
        assert self.process.code is None, f"{self.name} ended by itself: {self.process.words()}"
        await self.process.kill()
        assert self.process.code == KILLED

    async def close(self) -> None:
        """End it however it stands."""
        if self.process is not None:
            await self.process.kill()
