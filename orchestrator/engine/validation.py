"""What is wrong with a command, before anything is looked up: every refusal here has status 400.

Pure. The limits keep one caller from making everybody's rows large.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from orchestrator.domain import tags as tag
from orchestrator.domain.address import Address, parse_address
from orchestrator.domain.cron import InvalidCron, parse_cron
from orchestrator.domain.errors import Refused
from orchestrator.domain.group import ATTEMPTS_MAX, fault_of_attempts, fault_of_priority
from orchestrator.domain.ids import CHILD_SEPARATOR, ID_LENGTH_MAX, extends, fault_of_id
from orchestrator.domain.promise import PromiseState, Value
from orchestrator.domain.schedule import RUN_TAGS, promise_id_of
from orchestrator.domain.transitions import SETTLING_EVENTS, TIME_MS_MAX
from orchestrator.protocol import commands as c
from orchestrator.protocol import groups as g
from orchestrator.protocol import schedules as s

TAGS_MAX = 64
TAG_LENGTH_MAX = 4_096
PID_LENGTH_MAX = 1_024
LIST_MAX = 10_000
LIMIT_MAX = 1_000
HEADERS_MAX = 64
DATA_LENGTH_MAX = 16 * 1024 * 1024
TTL_MS_MAX = 2**53 - 1
GROUP_LENGTH_MAX = 1_024
CONCURRENCY_MAX = 100_000
RATE_MAX = 1_000_000
_ANCESTORS = (tag.ORIGIN, tag.BRANCH, tag.PARENT)
_NUMBERS = ((tag.PRIORITY, fault_of_priority), (tag.ATTEMPTS, fault_of_attempts))
PERIOD_MS_MAX = 31 * 24 * 60 * 60 * 1_000


def refuse(condition: object, message: str) -> None:
    """Raise Refused(400, message) if `condition` holds."""
    if condition:
        raise Refused(400, message)


@lru_cache(maxsize=4096)
def address_of(text: str) -> Address:
    """Parse an address. Raises ValueError."""
    return parse_address(text)


def check_id(promise_id: str) -> None:
    """Refuse an id that no store could hold."""
    # Written out, as every command names some.
    if promise_id and len(promise_id) <= ID_LENGTH_MAX and "\x00" not in promise_id:
        return
    raise Refused(400, f"Invalid id: {fault_of_id(promise_id)}")


def _check_value(name: str, value: Value) -> None:
    data, headers = value.data, value.headers
    if data is not None and len(data) > DATA_LENGTH_MAX:
        raise Refused(
            413, f"{name}.data has more than {DATA_LENGTH_MAX} characters; store the value elsewhere"
        )
    if headers:
        if len(headers) > HEADERS_MAX:
            raise Refused(400, f"{name} has more than {HEADERS_MAX} headers")
        if _may_be_long(headers):
            _check_texts(f"{name}.headers", headers)


def _may_be_long(texts: dict[str, str]) -> bool:
    """Tell whether keys and values are longer together than each may be: only then is each looked at."""
    return len("".join((*texts, *texts.values()))) > TAG_LENGTH_MAX


def _check_texts(name: str, texts: dict[str, str]) -> None:
    for key, text in texts.items():
        # Conditions of the hot path are written out: the message of `refuse` is made before it is needed.
        if len(key) > TAG_LENGTH_MAX or len(text) > TAG_LENGTH_MAX:
            raise Refused(400, f"{name}: {key[:64]!r} is longer than {TAG_LENGTH_MAX} characters")


def _check_time(name: str, moment: int) -> None:
    if not 0 <= moment <= TIME_MS_MAX:
        raise Refused(400, f"{name} must be between 0 and {TIME_MS_MAX}, not {moment}")


def _check_tags(command: c.PromiseCreate | c.PromiseRecordStep) -> None:
    tags = command.tags
    if len(tags) > TAGS_MAX:
        raise Refused(400, f"more than {TAGS_MAX} tags")
    if _may_be_long(tags):
        _check_texts("tags", tags)
    checked = None
    for name in _ANCESTORS:
        ancestor = tags.get(name)
        if ancestor is None or ancestor == checked:
            continue  # mostly they are one and the same
        if not extends(command.id, ancestor):
            raise Refused(400, f"the id {command.id!r} does not extend its {name} {ancestor!r}")
        checked = ancestor
    _check_numbers(tags)
    # resonate:prefix may hold anything: an SDK of the old id dialect that is called from a graph of the
    # new one names the id of its own workflow there, dots included.


def _check_numbers(tags: dict[str, str]) -> None:
    for name, fault_of in _NUMBERS:
        if name in tags:
            fault = fault_of(tags[name])
            refuse(fault is not None, f"Invalid tag: {fault}")


def check_create(command: c.PromiseCreate) -> None:
    """Check promise.create, alone or inside another command."""
    check_id(command.id)
    _check_time("timeoutAt", command.timeout_at)
    _check_value("param", command.param)
    if command.tags:
        _check_tags(command)
        _check_target(command.tags.get(tag.TARGET))
        _check_delay(command)


def _check_target(target: str | None) -> None:
    if target is not None:
        try:
            address_of(target)
        except ValueError as error:
            raise Refused(400, f"Invalid resonate:target address: {error}") from error


def _check_delay(command: c.PromiseCreate) -> None:
    text = command.tags.get(tag.DELAY)
    if text is None:
        return
    refuse(not (text.isascii() and text.isdigit()), f"{tag.DELAY} must be whole milliseconds, not {text!r}")
    # The length is compared first: int() of a very long text is slow, and refused by Python.
    late = len(text) > 19 or int(text) >= command.timeout_at
    refuse(late, f"{tag.DELAY} must lie before timeoutAt")
    refuse(tag.TARGET not in command.tags, f"{tag.DELAY} needs {tag.TARGET}")


def _check_outcome(state: PromiseState) -> None:
    if state not in SETTLING_EVENTS:
        raise Refused(400, f"state must be resolved, rejected or rejected_canceled, not {state}")


def check_settle(command: c.PromiseSettle) -> None:
    """Check promise.settle, alone or inside another command."""
    check_id(command.id)
    _check_outcome(command.state)
    _check_value("value", command.value)


def _check_record(command: c.PromiseRecordStep) -> None:
    check_id(command.id)
    _check_time("timeoutAt", command.timeout_at)
    _check_time("createdAt", command.created_at)
    _check_outcome(command.state)
    _check_value("param", command.param)
    _check_value("value", command.value)
    _check_tags(command)
    if tag.TARGET in command.tags:
        raise Refused(400, "a recorded step has no task: it must not carry resonate:target")


def _check_named(command: Any) -> None:
    check_id(command.id)


def _check_callback(command: c.PromiseRegisterCallback) -> None:
    check_id(command.awaited)
    check_id(command.awaiter)
    refuse(command.awaited == command.awaiter, "a promise cannot await itself")


def _check_listener(command: c.PromiseRegisterListener) -> None:
    check_id(command.awaited)
    refuse(len(command.address) > TAG_LENGTH_MAX, "the address is too long")
    try:
        address_of(command.address)
    except ValueError as error:
        raise Refused(400, f"Invalid address: {error}") from error


def _check_limit(limit: int) -> None:
    refuse(not 1 <= limit <= LIMIT_MAX, f"limit must be between 1 and {LIMIT_MAX}, not {limit}")


def _check_promise_search(command: c.PromiseSearch) -> None:
    _check_limit(command.limit)
    refuse(len(command.tags) > TAGS_MAX, f"more than {TAGS_MAX} tags")
    _check_cursor(command.cursor)


def _check_task_search(command: c.TaskSearch) -> None:
    _check_limit(command.limit)
    _check_cursor(command.cursor)


def _check_cursor(cursor: str | None) -> None:
    refuse(cursor is not None and fault_of_id(cursor) is not None, "Invalid cursor: take it from a page")


def _check_lease(pid: str, ttl: int) -> None:
    refuse(len(pid) > PID_LENGTH_MAX or "\x00" in pid, "Invalid pid: it is too long, or contains NUL")
    if not 1 <= ttl <= TTL_MS_MAX:
        raise Refused(400, f"ttl must be between 1 and {TTL_MS_MAX} ms, not {ttl}")


def _check_version(task_id: str, version: int) -> None:
    check_id(task_id)
    if not 0 <= version <= TIME_MS_MAX:
        raise Refused(400, f"version must be 0 or more, not {version}")


def _check_task_create(command: c.TaskCreate) -> None:
    _check_lease(command.pid, command.ttl)
    check_create(command.action)
    refuse(tag.TARGET not in command.action.tags, f"task.create needs a promise with {tag.TARGET}")
    refuse(tag.DELAY in command.action.tags, f"task.create takes no {tag.DELAY}")


def _check_acquire(command: c.TaskAcquire) -> None:
    _check_version(command.id, command.version)
    _check_lease(command.pid, command.ttl)


def _check_release(command: c.TaskRelease) -> None:
    _check_version(command.id, command.version)


def _check_fulfill(command: c.TaskFulfill) -> None:
    _check_version(command.id, command.version)
    check_settle(command.action)
    refuse(command.action.id != command.id, "task.fulfill settles its own promise: the ids must be equal")


def _check_suspend(command: c.TaskSuspend) -> None:
    _check_version(command.id, command.version)
    refuse(not 1 <= len(command.actions) <= LIST_MAX, f"actions must be 1 to {LIST_MAX}")
    for action in command.actions:
        _check_callback(action)
        refuse(action.awaiter != command.id, f"the awaiter {action.awaiter!r} is not the task {command.id!r}")


def _check_forgets(task_id: str, forgets: list[str]) -> None:
    refuse(len(forgets) > LIST_MAX, f"forgets may be {LIST_MAX} at most")
    for promise_id in forgets:
        check_id(promise_id)
        below = extends(promise_id, task_id) and promise_id != task_id
        refuse(not below, f"{promise_id!r} is no descendant of {task_id!r}, which therefore cannot forget it")


def _check_fence(command: c.TaskFence) -> None:
    _check_version(command.id, command.version)
    action = command.action
    match action:
        case c.PromiseRecordStep():  # first, being the most frequent
            _check_record(action)
            if action.forgets:
                _check_forgets(command.id, action.forgets)
        case c.PromiseCreate():
            check_create(action)
        case c.PromiseSettle():
            check_settle(action)
        case c.PromiseProgress():
            check_id(action.id)
            _check_value("value", action.value)
            return
    refuse(action.id == command.id, "task.fence acts on another promise than its own")


def _check_heartbeat(command: c.TaskHeartbeat) -> None:
    _check_lease(command.pid, 1)
    refuse(len(command.tasks) > LIST_MAX, f"more than {LIST_MAX} tasks")
    for reference in command.tasks:
        _check_version(reference.id, reference.version)


def _check_schedule_create(command: s.ScheduleCreate) -> None:
    check_id(command.id)
    refuse(CHILD_SEPARATOR in command.id, f"Invalid id: a schedule's must not contain {CHILD_SEPARATOR!r}")
    try:
        parse_cron(command.cron, command.time_zone)
    except InvalidCron as error:
        raise Refused(400, f"Invalid cron: {error}") from error
    fault = fault_of_id(promise_id_of(command.promise_id, command.id, TIME_MS_MAX))
    refuse(fault is not None, f"Invalid promiseId: {fault}")
    _check_time("promiseTimeout", command.promise_timeout)
    _check_value("promiseParam", command.promise_param)
    tags = command.promise_tags
    refuse(len(tags) > TAGS_MAX - len(RUN_TAGS), f"more than {TAGS_MAX - len(RUN_TAGS)} promiseTags")
    _check_texts("promiseTags", tags)
    _check_numbers(tags)
    refuse(tag.TARGET not in tags, f"promiseTags must include {tag.TARGET}")
    _check_target(tags[tag.TARGET])
    refuse(tag.DELAY in tags, f"promiseTags take no {tag.DELAY}: a run starts at its moment")


def _check_schedule_search(command: s.ScheduleSearch) -> None:
    _check_limit(command.limit)
    refuse(len(command.tags) > TAGS_MAX, f"more than {TAGS_MAX} tags")
    _check_cursor(command.cursor)


def _check_group(command: g.GroupGet | g.GroupChange) -> None:
    _check_group_name(command.id)


def _check_group_name(name: str) -> None:
    refuse(
        not 1 <= len(name) <= GROUP_LENGTH_MAX or "\x00" in name,
        f"Invalid group: its name must have 1 to {GROUP_LENGTH_MAX} characters and no NUL",
    )


def _check_group_set(command: g.GroupSet) -> None:
    _check_group_name(command.id)
    for name, most in (
        ("concurrency", CONCURRENCY_MAX),
        ("rate", RATE_MAX),
        ("period", PERIOD_MS_MAX),
        ("attempts", ATTEMPTS_MAX),
    ):
        value = getattr(command, name)
        refuse(
            isinstance(value, int) and not 1 <= value <= most,
            f"{name} must be between 1 and {most}, or null for no limit, not {value}",
        )
    halves = command.rate, command.period
    together = all(isinstance(half, int) for half in halves) or command.rate is command.period
    refuse(not together, "rate and period (milliseconds) belong together: give both, or null for both")


def _check_group_search(command: g.GroupSearch) -> None:
    _check_limit(command.limit)
    _check_group_cursor(command.cursor)


def _check_group_cursor(cursor: str | None) -> None:
    refuse(
        cursor is not None and (not cursor or len(cursor) > GROUP_LENGTH_MAX or "\x00" in cursor),
        "Invalid cursor: take it from a page",
    )


def _check_dead(command: g.TaskDead) -> None:
    _check_limit(command.limit)
    _check_cursor(command.cursor)
    if command.group is not None:
        _check_group_name(command.group)


_CHECKS: dict[type[c.Command[Any]], Callable[[Any], None]] = {
    c.PromiseGet: _check_named,
    c.PromiseCreate: check_create,
    c.PromiseSettle: check_settle,
    c.PromiseCancel: _check_named,
    c.PromiseTerminate: _check_named,
    c.PromiseRegisterCallback: _check_callback,
    c.PromiseRegisterListener: _check_listener,
    c.PromiseSearch: _check_promise_search,
    c.TaskGet: _check_named,
    c.TaskCreate: _check_task_create,
    c.TaskAcquire: _check_acquire,
    c.TaskRelease: _check_release,
    c.TaskFulfill: _check_fulfill,
    c.TaskSuspend: _check_suspend,
    c.TaskFence: _check_fence,
    c.TaskHeartbeat: _check_heartbeat,
    c.TaskHalt: _check_named,
    c.TaskContinue: _check_named,
    c.TaskSearch: _check_task_search,
    s.ScheduleGet: _check_named,
    s.ScheduleCreate: _check_schedule_create,
    s.ScheduleDelete: _check_named,
    s.ScheduleSearch: _check_schedule_search,
    s.SchedulePause: _check_named,
    s.ScheduleResume: _check_named,
    g.GroupGet: _check_group,
    g.GroupSet: _check_group_set,
    g.GroupPause: _check_group,
    g.GroupResume: _check_group,
    g.GroupSearch: _check_group_search,
    g.TaskDead: _check_dead,
}


def validate(command: c.Command[Any]) -> None:
    """Raise Refused(400) that names what is wrong with a command, if anything is."""
    check = _CHECKS.get(type(command))
    if check is None:
        raise Refused(400, f"Unknown operation: {command.KIND}")
    check(command)
