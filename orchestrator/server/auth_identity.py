"""Who asks, and what they may touch: the outcome of every authentication.

Invariant: an identity with a prefix touches only ids that start with it; nothing that is not stated by id
(searches of more than one call graph, metrics) is open to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.domain.errors import Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A caller. `prefix` "" may touch everything; `expires_at` (Unix seconds) ends what it holds open."""

    prefix: str = ""
    expires_at: float | None = None

    def may_touch(self, promise_id: str) -> bool:
        """Tell whether a promise or task is within the prefix."""
        return promise_id.startswith(self.prefix)

    def require_all(self, promise_ids: Iterable[str]) -> None:
        """Raise Refused(403) unless every one of these ids is within the prefix."""
        if not self.prefix:
            return
        for promise_id in promise_ids:
            if not self.may_touch(promise_id):
                raise Refused(
                    403,
                    f"Forbidden: this token is for ids that start with {self.prefix!r}, "
                    f"not for {promise_id[:128]!r}",
                )

    def require_everything(self, subject: str) -> None:
        """Raise Refused(403) unless the identity is limited by no prefix."""
        if self.prefix:
            raise Refused(
                403,
                f"Forbidden: {subject} is not limited to the prefix {self.prefix!r} of this token: "
                "ask for a token without a prefix",
            )


EVERYBODY = Identity()
"""Who may do everything, for as long as they like."""
