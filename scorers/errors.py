"""The errors of the application, for the operator who must act.

ScorerError
├── SettingsError      the configuration
├── NotReady           the surroundings: key, funds, role, addresses
├── UnknownPromise     an id that the server does not have
├── DatasetError       a replay file
├── PolicyError        a policy (scorers.policies.errors)
├── ProofFileError     a file that should hold a proof
└── ScenarioError      a demo or replay that did not come out as it must
"""


class ScorerError(Exception):
    """The root of the application's errors."""


class SettingsError(ScorerError):
    """The configuration cannot be used; the message lists every fault with the place to mend it."""


class NotReady(ScorerError):
    """A service cannot do its work here; the message says what is missing and who gives it."""


class UnknownPromise(ScorerError):
    """The server has no promise of this id."""

    def __init__(self, promise_id: str, server: str) -> None:
        super().__init__(promise_id, server)
        self.promise_id = promise_id
        self.server = server

    def __str__(self) -> str:
        return (
            f"there is no promise {self.promise_id} at {self.server}: "
            "dao-scorer promise search lists those that exist"
        )


class UnknownRecord(ScorerError):
    """The server has no task or schedule of this id."""

    def __init__(self, kind: str, record_id: str, server: str) -> None:
        super().__init__(kind, record_id, server)
        self.kind = kind
        self.record_id = record_id
        self.server = server

    def __str__(self) -> str:
        return (
            f"there is no {self.kind} {self.record_id} at {self.server}: "
            f"dao-scorer {self.kind} search lists those that exist"
        )


class DatasetError(ScorerError):
    """The replay file cannot be used; the message names the line."""


class ProofFileError(ScorerError):
    """The file is missing or holds no evidence bundle; the message names it and the place in it."""


class ScenarioError(ScorerError):
    """A demo or replay did not come out as it must; the message says where it stopped."""
