"""A `dao-scorer serve` process that is killed and started again on the same port and store."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tests.acceptance.nursery import Nursery, Process

KILLED = -9
END_S = 30.0


@dataclass(slots=True, kw_only=True)
class Served:
    """One server by its store; `url` stays what it was first. `kill_at` is the text of a KillPoint, or ""."""

    nursery: Nursery
    folder: Path
    store: str
    name: str = "server"
    url: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    process: Process | None = None
    kill_at: str = ""

    async def start(self, *options: str) -> None:
        """Start, with more options if given, and wait until it is ready."""
        port = urlsplit(self.url).port or 0
        command = ["serve", "--port", str(port), "--store", self.store, *options]
        arguments = [str(self.folder / "journal"), self.kill_at, *command]
        self.process = self.nursery.start(
            self.name, arguments, environment=self.environment, directory=self.folder
        )
        self.url = await self.process.ready()

    async def stop(self) -> int:
        """End it with SIGTERM; return its exit code."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGTERM)
        return await self.process.ended(END_S)

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
