"""What can be wrong with a server before it serves: the operator must act."""

from __future__ import annotations

from orchestrator.domain.errors import OrchestratorError


class ServerMisconfigured(OrchestratorError):
    """The server will not start like this. `faults` lists everything that is wrong, each with a remedy."""

    def __init__(self, *faults: str) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults
