"""The errors of commitments.

OrchestratorError
└── CommitmentError
    ├── CanonicalError    the author: a value or a declared type has no canonical form
    └── ProofError        whoever brought the evidence: it is malformed or contradicts itself
"""

from __future__ import annotations

from orchestrator.domain.errors import OrchestratorError


class CommitmentError(OrchestratorError):
    """The root of every error about commitments and proofs."""


class CanonicalError(CommitmentError):
    """A value, or a declared type, has no canonical form.

    `path` names the place inside the value (`votes[3].weight`), `reason` says what to do about it.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if self.path else self.reason

    def prefix(self, segment: str) -> None:
        """Put the container's name of the place before the path, while the error travels outwards."""
        self.path = segment + self.path


class ProofError(CommitmentError):
    """A commitment, a closing or an evidence bundle is malformed or contradicts itself."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
