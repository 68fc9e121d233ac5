"""Outcomes as they are stored: results as typed values, failures as type name, message and data.

A failure's JSON is `{"__type": "error", "name", "message", "data"}`, which the published SDKs read, too.
"""

from __future__ import annotations

from typing import Any

from orchestrator.client import codec
from orchestrator.client.sealing import readable
from orchestrator.domain.errors import ApplicationError, PromiseCanceled, PromiseTimedOut
from orchestrator.domain.promise import PromiseRecord, PromiseState, Value

ERROR_TYPE = "error"
CAUSES_MAX = 8
"""How many causes of a failure are stored with it, each the cause of the one before."""


def failure_value(error: BaseException) -> Value:
    """Return an exception as it is stored. Never raises: data without a stored form is left out.

    Its causes, as `raise … from` gives them, go with it.
    """
    return Value(data=codec.to_data(_tree_of(error, CAUSES_MAX)))


def _tree_of(error: BaseException, causes_max: int) -> dict[str, object]:
    name = type(error).__name__
    message = str(error)
    if isinstance(error, ApplicationError):
        message = error.message
        name = error.type_name if error.type_name != ApplicationError.__name__ else name
    tree: dict[str, object] = {"__type": ERROR_TYPE, "name": name, "message": message}
    data = getattr(error, "data", None)
    if data is not None:
        try:
            tree["data"] = codec.encode(data, "data")
        except codec.EncodingError as unfit:
            tree["data"] = f"(left out: {unfit.reason})"
    if error.__cause__ is not None and causes_max:
        tree["cause"] = _tree_of(error.__cause__, causes_max - 1)
    return tree


def error_of(record: PromiseRecord) -> ApplicationError:
    """Return the error that awaiting this settled, unresolved promise raises."""
    what = f"the error of {record.id}"
    tree = codec.from_data(readable(record.value, what), what)
    fields: dict[str, Any] = tree if isinstance(tree, dict) else {"message": tree}
    error = _error(record, fields)
    error.__cause__ = _cause(fields.get("cause"), what, CAUSES_MAX)
    return error


def _error(record: PromiseRecord, fields: dict[str, Any]) -> ApplicationError:
    message = str(fields.get("message") or "")
    name = str(fields.get("name") or ApplicationError.__name__)
    data = codec.decode(fields.get("data"), None, f"the error data of {record.id}")
    if record.state is PromiseState.REJECTED_CANCELED:
        return PromiseCanceled(
            f"promise {record.id} was cancelled" + (f": {message}" if message else ""),
            type_name=PromiseCanceled.__name__,
            data=data,
        )
    if record.state is PromiseState.REJECTED_TIMEDOUT:
        return PromiseTimedOut(
            f"promise {record.id} did not settle before its deadline",
            type_name=PromiseTimedOut.__name__,
            data=data,
        )
    return ApplicationError(
        message or f"promise {record.id} was rejected with {name}", type_name=name, data=data
    )


def _cause(tree: object, what: str, causes_max: int) -> ApplicationError | None:
    if not isinstance(tree, dict) or not causes_max:
        return None
    cause = ApplicationError(
        str(tree.get("message") or ""),
        type_name=str(tree.get("name") or ApplicationError.__name__),
        data=codec.decode(tree.get("data"), None, f"the data of a cause in {what}"),
    )
    cause.__cause__ = _cause(tree.get("cause"), what, causes_max - 1)
    return cause


def result_of(record: PromiseRecord, declared: object) -> Any:
    """Return the result of a settled promise as the type `declared`, or raise the ApplicationError it holds.

    Raises DecodingError if what is stored is not what is declared.
    """
    if record.state is PromiseState.RESOLVED:
        return codec.decode_value(record.value, declared, f"the result of {record.id}")
    raise error_of(record)
