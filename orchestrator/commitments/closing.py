"""The closing of a workflow's commitments: domain, number of leaves and root, before anything is submitted.

The closing is a step of its own. Its headers stand in the stored promise tree, so that any process can
rebuild the same tree and compare, whichever worker computed it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from orchestrator.commitments import leaf
from orchestrator.commitments.errors import ProofError
from orchestrator.commitments.integers import SAFE_INTEGER_MAX
from orchestrator.commitments.leaf import Commitment

CLOSE_HEADER = "commitment-closing"
CLOSE_VALUE = "true"
DOMAIN_HEADER = "commitment-domain"
COUNT_HEADER = "commitment-count"
ROOT_HEADER = "commitment-root"


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """What is submitted and proven: the domain (32 opaque bytes), the number of leaves, the root."""

    domain: bytes
    count: int
    root: bytes

    def __post_init__(self) -> None:
        leaf.check_hash("domain", self.domain)
        leaf.check_hash("root", self.root)
        leaf.check_number("count", self.count, SAFE_INTEGER_MAX)
        if self.count == 0:
            raise ProofError("a closing needs at least one commitment")

    def to_headers(self) -> dict[str, str]:
        """Return the headers that the settlement of the closing step carries."""
        return {
            leaf.SCHEME_HEADER: leaf.SCHEME,
            CLOSE_HEADER: CLOSE_VALUE,
            DOMAIN_HEADER: leaf.hash_text(self.domain),
            COUNT_HEADER: str(self.count),
            ROOT_HEADER: leaf.hash_text(self.root),
        }

    @classmethod
    def from_headers(cls, headers: Mapping[str, str] | None) -> Self | None:
        """Return the closing in `headers`, None if there is none. Raises ProofError if it is malformed."""
        if headers is None or CLOSE_HEADER not in headers:
            return None
        leaf.check_scheme(headers)
        return cls(
            domain=leaf.hash_from_text(DOMAIN_HEADER, leaf.header(headers, DOMAIN_HEADER)),
            count=leaf.number_from_text(COUNT_HEADER, leaf.header(headers, COUNT_HEADER)),
            root=leaf.hash_from_text(ROOT_HEADER, leaf.header(headers, ROOT_HEADER)),
        )


def close(domain: bytes, commitments: Sequence[Commitment]) -> Closing:
    """Return the closing over `commitments`, in their order. Raises ProofError if there is none."""
    return Closing(domain=domain, count=len(commitments), root=leaf.tree_of(domain, commitments).root)
