"""The full audit: a bundle's arithmetic, its place on the chain, and everything rebuilt from public data."""

from __future__ import annotations

from dataclasses import dataclass

from contracts.rpc import Node
from orchestrator.commitments import Bundle, Check, verify_bundle
from scorers.arithmetic import verify_scoring
from scorers.differences import Difference
from scorers.evidence import examine


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What was asked, and every place where the bundle says something else than the chain."""

    checks: list[Check]
    differences: list[Difference]

    @property
    def ok(self) -> bool:
        """Tell whether everything holds."""
        return not self.differences and all(check.ok for check in self.checks)

    @property
    def faults(self) -> tuple[str, ...]:
        """What does not hold, each in one line."""
        return tuple(f"{check.name}: {check.detail}" for check in self.checks if not check.ok)


async def audit(node: Node, bundle: Bundle) -> Audit:
    """Return the audit of a bundle. Raises RpcError only where the node gives no usable answer."""
    found = await examine(node, bundle)
    return Audit(
        checks=[*verify_bundle(bundle), *verify_scoring(bundle), *found.checks],
        differences=found.differences,
    )
