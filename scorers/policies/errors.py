"""Why a policy cannot be used, for whoever configures it or wrote it."""

from __future__ import annotations

from scorers.errors import ScorerError


class PolicyError(ScorerError):
    """The policy `name` cannot be used; `reason` says why and what to do."""

    retryable = False

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"policy {self.name}: {self.reason}"


class UnnamedInput(Exception):
    """A policy looked at an input that it does not name: it would see nothing, or another's."""

    retryable = False

    def __init__(self, wanted: str) -> None:
        super().__init__(wanted)
        self.wanted = wanted

    def __str__(self) -> str:
        return f"this policy reads {self.wanted} and does not name it: return it from inputs()"
