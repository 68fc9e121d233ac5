"""The bearer token of a client: fixed, or renewed when the server believes it no more. Never logged."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

from orchestrator.domain.errors import Unavailable

Token = str | Path | Callable[[], str] | Callable[[], Awaitable[str]]
"""A token, the file that holds it, or a function (plain or async) that returns one."""
ASK_S = 30.0


class NoToken(Unavailable):
    """Where the token is to come from there is none, for now."""


class TokenSource:
    """Gives the token, and asks for another one after a refusal. Use within one event loop."""

    def __init__(self, token: Token | None) -> None:
        self._given = token
        self._current = token if isinstance(token, str) else None
        self._asking = asyncio.Lock()

    def __repr__(self) -> str:
        kind = type(self._given).__name__ if self._given is not None else "no token"
        return f"<TokenSource {kind}>"

    async def current(self) -> str | None:
        """Return the token as last known. Raises NoToken if there has been none and none is to be had."""
        if self._current is None and self._given is not None:
            await self.renewed(None)
        return self._current

    async def renewed(self, refused: str | None) -> bool:
        """Ask for a token after `refused` was; tell whether it is another one. Raises NoToken."""
        if self._given is None or isinstance(self._given, str):
            return False
        async with self._asking:
            if self._current == refused:
                self._current = await self._ask()
        return self._current != refused

    async def _ask(self) -> str:
        given = self._given
        try:
            async with asyncio.timeout(ASK_S):
                if isinstance(given, Path):
                    return (await asyncio.to_thread(given.read_text, "utf-8")).strip()
                if inspect.iscoroutinefunction(given):
                    return str(await given())
                answer = await asyncio.to_thread(cast("Callable[[], str | Awaitable[str]]", given))
                return await answer if inspect.isawaitable(answer) else answer
        except Exception as error:
            # What an error of somebody else's says may hold the token: its type has to do.
            raise NoToken(
                f"no token to be had from {_name(given)} ({type(error).__name__}); it is asked again"
            ) from error


def authorization(token: str | None) -> dict[str, str]:
    """Return the header that carries a token."""
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def _name(given: object) -> str:
    return str(given) if isinstance(given, Path) else getattr(given, "__qualname__", type(given).__name__)
