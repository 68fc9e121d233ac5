"""Requests that are refused, or answered, by script."""

from typing import Any

from hardhat_free_chain.errors import ScriptedError
from hardhat_free_chain.faults.rule import Proceed, Rule, Scene
from hardhat_free_chain.rpc.dispatch import Request


class Refusal(Rule, frozen=True, kw_only=True):
    """Any error in place of the result; with `executed` the request was carried out all the same."""

    code: int = -32603
    message: str = "Internal error"
    data: str | dict[str, Any] | None = None
    status: int = 200
    executed: bool = False

    def answer(self, request: Request, scene: Scene, proceed: Proceed) -> object:
        """Refuse."""
        if self.executed:
            proceed(request)
        raise ScriptedError(self.code, self.message, self.data, status=self.status)


class FixedResult(Rule, frozen=True, kw_only=True):
    """The same result whatever the chain's is: for answers that no other rule gives."""

    result: Any

    def answer(self, request: Request, scene: Scene, proceed: Proceed) -> object:
        """Answer without the chain."""
        return self.result
