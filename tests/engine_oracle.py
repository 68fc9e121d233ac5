"""A second, naive engine: plain dictionaries, one rule an operation, written from the protocol's page.

It imports nothing of the orchestrator on purpose: sharing a table or a helper would make both wrong together.
Requests and answers are the wire's own objects (`kind`, `data`), times Unix milliseconds.

Where the page leaves a choice, the engine's own is taken (docs/engine.md): a promise that is tagged external
may be awaited from everywhere; a timer's task is never announced, and looked at when it is due; a queued
announcement goes when its task is no longer pending; a fence carries no preload. What a limited group does is
written from docs/groups.md.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

RETRY_MS = 30_000
UNNAMED_MS = 3_600_000
TOUCH_MS = 60_000
GRACE_MS = 60_000
RESERVE_MS = 1_000
TOLD_MAX = 256
MONTH_MS = 31 * 86_400_000
PERIODS = {
    "*/10 * * * * *": 10_000,
    "*/30 * * * * ?": 30_000,
    "* * * * *": 60_000,
    "0 */2 * * * * *": 120_000,
}
"""The cron lines that are known here, by their period in milliseconds."""
SETTLED = ("resolved", "rejected", "rejected_canceled")
Json = dict[str, Any]


class No(Exception):
    """The operation is refused with this status."""

    def __init__(self, status: int) -> None:
        super().__init__(str(status))
        self.status = status


class Oracle:
    """Everything that a server remembers."""

    def __init__(self) -> None:
        self.promises: dict[str, Json] = {}
        self.tasks: dict[str, Json] = {}
        self.timers: dict[str, int] = {}
        self.resumed: dict[str, set[str]] = {}
        self.touched: dict[str, int] = {}
        self.callbacks: set[tuple[str, str]] = set()
        self.listeners: set[tuple[str, str]] = set()
        self.executes: dict[str, int] = {}
        self.unblocks: set[tuple[str, str]] = set()
        self.schedules: dict[str, Json] = {}
        self.groups: dict[str, Json] = {}
        self.buckets: dict[str, tuple[int, int]] = {}
        self.places: dict[str, str] = {}
        self.attempts: dict[str, int] = {}
        self.dead: dict[str, Json] = {}
        self.heard = True
        self.stirred: set[str] = set()
        self.ready: set[str] = set()
        self.refused: set[str] = set()
        self.now = 0

    # -- the door

    def batch(self, requests: list[Json], now: int) -> list[tuple[int, Any]]:
        """Carry requests out in order; searches see what all of them did, and so do reads of groups."""
        self.now = now
        answers = [self.early(request) for request in requests]
        self.take_turns()
        return [
            self.one(request) if answer is None else answer
            for request, answer in zip(requests, answers, strict=True)
        ]

    def early(self, request: Json) -> tuple[int, Any] | None:
        kind, data = request["kind"], request["data"]
        if kind in ("group.set", "group.pause", "group.resume") and self.one(request)[0] == 200:
            self.change(kind, data)
        late = kind.endswith("search") or kind.startswith("group.") or kind == "task.dead"
        return None if late else self.one(request)

    def one(self, request: Json) -> tuple[int, Any]:
        """Carry one request out: its status and, if it succeeded, its data."""
        rule = getattr(self, request["kind"].replace(".", "_"))
        try:
            return rule(request["data"])
        except No as no:
            return no.status, None

    # -- promises

    def promise_get(self, data: Json) -> tuple[int, Any]:
        need(good_id(data["id"]))
        self.expire(data["id"])
        return 200, {"promise": self.promise(data["id"])}

    def promise_create(self, data: Json) -> tuple[int, Any]:
        check_create(data)
        self.expire(data["id"])
        if data["id"] not in self.promises:
            self.add(data)
            if self.promises[data["id"]]["state"] == "pending" and data["id"] in self.tasks:
                delay = int(data["tags"].get("resonate:delay", 0))
                self.wait(data["id"], announce=delay <= self.now, at=delay if delay > self.now else None)
        return 200, {"promise": dict(self.promises[data["id"]])}

    def promise_settle(self, data: Json) -> tuple[int, Any]:
        check_settle(data)
        self.expire(data["id"])
        promise = self.promise(data["id"])
        if promise["state"] == "pending":
            self.settle([data["id"]], {data["id"]: (data["state"], data.get("value", {}), self.now)})
        return 200, {"promise": self.promise(data["id"])}

    def promise_cancel(self, data: Json) -> tuple[int, Any]:
        key = data["id"]
        need(good_id(key))
        self.expire(key)
        promise = self.promise(key)
        if promise["state"] == "pending":
            need(self.can_be_told(key), 422)
            if "cancelled" not in self.tasks[key]:
                for each in [key, *self.tree(key)]:
                    if self.can_be_told(each) and "cancelled" not in self.tasks[each]:
                        self.ask_to_end(each)
        return 200, {"promise": promise}

    def promise_terminate(self, data: Json) -> tuple[int, Any]:
        key = data["id"]
        need(good_id(key))
        self.expire(key)
        if self.promise(key)["state"] == "pending":
            keys = [key, *self.tree(key)]
            self.settle(keys, {each: ("rejected_canceled", {}, self.now) for each in keys})
        return 200, {"promise": self.promise(key)}

    def promise_register_callback(self, data: Json) -> tuple[int, Any]:
        awaited, awaiter = data["awaited"], data["awaiter"]
        need(good_id(awaited) and good_id(awaiter) and awaited != awaiter)
        self.expire(awaited, awaiter)
        need(self.may_await(awaited, awaiter))
        promise = self.promise(awaited)
        need(awaiter in self.promises, 422)
        need(awaiter in self.tasks, 422)
        if promise["state"] == "pending":
            if self.promises[awaiter]["state"] == "pending":
                self.callbacks.add((awaited, awaiter))
        elif self.tasks[awaiter]["state"] == "suspended":
            self.resume(awaited, awaiter)
        return 200, {"promise": promise}

    def promise_register_listener(self, data: Json) -> tuple[int, Any]:
        need(good_id(data["awaited"]) and good_address(data["address"]))
        self.expire(data["awaited"])
        promise = self.promise(data["awaited"])
        if promise["state"] == "pending":
            self.listeners.add((data["awaited"], data["address"]))
        return 200, {"promise": promise}

    def promise_search(self, data: Json) -> tuple[int, Any]:
        found = [
            dict(promise)
            for _, promise in sorted(self.promises.items())
            if data.get("state", promise["state"]) == promise["state"]
            and data.get("tags", {}).items() <= promise["tags"].items()
        ]
        return 200, page(found, "promises", data)

    # -- tasks

    def task_get(self, data: Json) -> tuple[int, Any]:
        need(good_id(data["id"]))
        self.expire(data["id"])
        return 200, {"task": self.task(data["id"])}

    def task_create(self, data: Json) -> tuple[int, Any]:
        action = data["action"]["data"]
        need(data["ttl"] >= 1 and data["action"]["kind"] == "promise.create")
        check_create(action)
        tags = action.get("tags", {})
        need("resonate:target" in tags and "resonate:delay" not in tags)
        key = action["id"]
        self.expire(key)
        if key not in self.promises:
            self.add(action)
            if self.promises[key]["state"] == "pending":
                if not self.admits(key):
                    self.wait(key)
                    raise No(409)
                self.hold(key, data["pid"], data["ttl"])
            return 200, self.claimed(key, preload=False)
        need(key in self.tasks, 422)
        state = self.tasks[key]["state"]
        need(state in ("pending", "fulfilled"), 409)
        if state == "pending":
            need(self.admits(key), 409)
            self.hold(key, data["pid"], data["ttl"])
        return 200, self.claimed(key, preload=state == "pending")

    def task_acquire(self, data: Json) -> tuple[int, Any]:
        need(good_id(data["id"]) and data["version"] >= 0 and data["ttl"] >= 1)
        self.expire(data["id"])
        task = self.task(data["id"])
        need(task["state"] == "pending" and task["version"] == data["version"], 409)
        need(self.admits(data["id"]), 409)
        self.hold(data["id"], data["pid"], data["ttl"])
        return 200, self.claimed(data["id"], preload=not data.get("bare", False))

    def task_release(self, data: Json) -> tuple[int, Any]:
        need(good_id(data["id"]) and data["version"] >= 0)
        self.expire(data["id"])
        self.fenced(data)
        self.waste(data["id"], "released")
        return 200, {}

    def task_fulfill(self, data: Json) -> tuple[int, Any]:
        action = data["action"]["data"]
        need(good_id(data["id"]) and data["version"] >= 0 and data["action"]["kind"] == "promise.settle")
        check_settle(action)
        need(action["id"] == data["id"])
        self.expire(data["id"])
        self.fenced(data)
        self.settle([data["id"]], {data["id"]: (action["state"], action.get("value", {}), self.now)})
        return 200, {"promise": self.promise(data["id"])}

    def task_suspend(self, data: Json) -> tuple[int, Any]:
        key, actions = data["id"], [action["data"] for action in data["actions"]]
        need(good_id(key) and data["version"] >= 0 and actions)
        for action, outer in zip(actions, data["actions"], strict=True):
            need(outer["kind"] == "promise.register_callback")
            need(good_id(action["awaited"]) and action["awaited"] != key and action["awaiter"] == key)
        awaited = [action["awaited"] for action in actions]
        self.expire(key, *awaited)
        need(all(self.may_await(one, key) for one in awaited))
        self.fenced(data)
        need(all(one in self.promises for one in awaited), 422)
        self.resumed[key] = set()
        self.attempts[key] = 0
        settled = {one for one in awaited if self.promises[one]["state"] != "pending"}
        told = {"cancelled": True} if data.get("heeds") and "cancelled" in self.tasks[key] else {}
        if settled or told:
            self.touch(key)
            brought = [self.promise(one) for one in dict.fromkeys(awaited) if one in settled]
            if settled and not data.get("bare"):
                brought = self.preload(key, settled)
            return 300, {"preload": brought, **told}
        self.become(key, "suspended")
        self.callbacks |= {(one, key) for one in awaited}
        return 200, {}

    def task_fence(self, data: Json) -> tuple[int, Any]:
        kind, action = data["action"]["kind"], data["action"]["data"]
        need(good_id(data["id"]) and data["version"] >= 0)
        need(kind in ("promise.create", "promise.settle"))
        check_create(action) if kind == "promise.create" else check_settle(action)
        need(action["id"] != data["id"])
        self.expire(data["id"], action["id"])
        self.fenced(data)
        told = {"cancelled": True} if "cancelled" in self.tasks[data["id"]] else {}
        self.touch(data["id"])
        before = self.promises.get(action["id"], {}).get("state")
        status, inner = self.one({"kind": kind, "data": action})
        if self.promises.get(action["id"], {}).get("state") != before:
            self.attempts[data["id"]] = 0
        return 200, {"action": (kind, status, inner), "preload": [], **told}

    def task_heartbeat(self, data: Json) -> tuple[int, Any]:
        wanted = [(reference["id"], reference["version"]) for reference in data["tasks"]]
        need(all(good_id(key) and version >= 0 for key, version in wanted))
        held = {
            key: task["version"]
            for key, task in self.tasks.items()
            if task["state"] == "acquired" and task["pid"] == data["pid"]
        }
        recent = [pair for pair in held.items() if self.now - self.touched[pair[0]] < UNNAMED_MS]
        for key, version in wanted or recent:
            if held.get(key) == version:
                self.timers[key] = self.now + self.tasks[key]["ttl"]
                if wanted:
                    self.touch(key)
        lost = [key for key, version in wanted if held.get(key) != version]
        ending = [key for key, _ in wanted if key not in lost and "cancelled" in self.tasks[key]]
        return 200, {name: keys for name, keys in (("lost", lost), ("cancelled", ending)) if keys}

    def task_halt(self, data: Json) -> tuple[int, Any]:
        need(good_id(data["id"]))
        self.expire(data["id"])
        need(self.task(data["id"])["state"] != "fulfilled", 409)
        self.become(data["id"], "halted")
        return 200, {}

    def task_continue(self, data: Json) -> tuple[int, Any]:
        need(good_id(data["id"]))
        self.expire(data["id"])
        need(self.task(data["id"])["state"] == "halted", 409)
        self.attempts[data["id"]] = 0
        self.become(data["id"], "pending")
        self.wait(data["id"])
        return 200, {}

    def task_search(self, data: Json) -> tuple[int, Any]:
        found = [
            self.task(key)
            for key in sorted(self.tasks)
            if data.get("state", self.tasks[key]["state"]) == self.tasks[key]["state"]
        ]
        return 200, page(found, "tasks", data)

    # -- schedules

    def schedule_get(self, data: Json) -> tuple[int, Any]:
        need(good_id(data["id"]))
        return 200, {"schedule": self.schedule(data["id"])}

    def schedule_create(self, data: Json) -> tuple[int, Any]:
        need(good_id(data["id"]) and "." not in data["id"] and data["cron"] in PERIODS)
        need(good_id(filled(data["promiseId"], data["id"], 0)) and data["promiseTimeout"] >= 0)
        need(data.get("timeZone", "UTC") == "UTC")
        tags = data.get("promiseTags", {})
        need(good_address(tags.get("resonate:target", "")) and "resonate:delay" not in tags)
        self.schedules.setdefault(
            data["id"],
            {
                **{"promiseParam": {}, **{key: value for key, value in data.items() if value != "UTC"}},
                "createdAt": self.now,
                "nextRunAt": after(data, self.now),
            },
        )
        if self.schedules[data["id"]].get("catchUp") == "all":
            del self.schedules[data["id"]]["catchUp"]
        return 200, {"schedule": self.schedule(data["id"])}

    def schedule_delete(self, data: Json) -> tuple[int, Any]:
        need(good_id(data["id"]))
        self.schedule(data["id"])
        del self.schedules[data["id"]]
        return 200, {}

    def schedule_pause(self, data: Json) -> tuple[int, Any]:
        need(good_id(data["id"]))
        self.schedule(data["id"])
        self.schedules[data["id"]]["paused"] = True
        return 200, {"schedule": self.schedule(data["id"])}

    def schedule_resume(self, data: Json) -> tuple[int, Any]:
        need(good_id(data["id"]))
        self.schedule(data["id"])
        schedule = self.schedules[data["id"]]
        if schedule.pop("paused", False):
            schedule["nextRunAt"] = max(schedule["nextRunAt"], after(schedule, self.now))
        return 200, {"schedule": dict(schedule)}

    def schedule_search(self, data: Json) -> tuple[int, Any]:
        found = [
            dict(schedule)
            for _, schedule in sorted(self.schedules.items())
            if data.get("tags", {}).items() <= schedule["promiseTags"].items()
        ]
        return 200, page(found, "schedules", {"limit": 10} | data)

    def run_schedules(self) -> None:
        """Carry out the runs that are due, those of the longest overdue schedule first."""
        running = [each for each in self.schedules.values() if not each.get("paused")]
        for schedule in sorted(running, key=lambda each: (each["nextRunAt"], each["id"])):
            due = []
            while schedule["nextRunAt"] <= self.now:
                due.append(schedule["nextRunAt"])
                schedule["nextRunAt"] = after(schedule, schedule["nextRunAt"])
            if "catchUp" in schedule:
                due = due[-1:]
            if schedule.get("catchUp") == "none" and due and due[0] < self.now - GRACE_MS:
                due = []
            for moment in due:
                schedule["lastRunAt"] = moment
                self.run_schedule(schedule, moment)

    def run_schedule(self, schedule: Json, moment: int) -> None:
        key = filled(schedule["promiseId"], schedule["id"], moment)
        if key in self.promises:
            return
        own = {f"resonate:{name}": key for name in ("origin", "branch", "parent", "prefix")}
        tags = {**schedule["promiseTags"], **own, "resonate:schedule": schedule["id"]}
        timeout = moment + schedule["promiseTimeout"]
        self.add({"id": key, "timeoutAt": timeout, "param": schedule["promiseParam"], "tags": tags}, moment)
        if self.promises[key]["state"] == "pending":
            self.wait(key)

    def schedule(self, key: str) -> Json:
        need(key in self.schedules, 404)
        return dict(self.schedules[key])

    # -- time

    def tick(self, now: int) -> None:
        """Expire promises, all together, then leases and dispatches."""
        self.now = now
        self.expire(*self.promises)
        for key in sorted(self.timers):
            if self.timers.get(key, now + 1) <= now:
                self.due(key)
        self.run_schedules()
        self.take_turns()

    def due(self, key: str) -> None:
        place = self.places.get(key)
        if self.tasks[key]["state"] == "acquired":
            self.waste(key, "lease_ended")
        elif place in ("told", "overlooked"):
            self.timers[key] = self.now + RETRY_MS
            if place == "overlooked":
                self.executes[key] = self.tasks[key]["version"]
            elif self.heard or "@" not in self.target(key):
                self.places[key] = "overlooked"
                self.stirred.add(self.group_of(key))
        else:
            self.wait(key)

    def restart(self, now: int) -> None:
        """Announce again what waits and of which no announcement is queued, then let time pass."""
        self.now = now
        for key, task in self.tasks.items():
            delay = int(self.promises[key]["tags"].get("resonate:delay", 0))
            held_back = delay > now and self.timers.get(key) == delay
            over = self.promises[key]["timeoutAt"] <= now
            if task["state"] == "pending" and key not in self.executes and not held_back and not over:
                self.wait(key)
        self.take_turns()
        self.tick(now)

    def sent(self, *keys: str) -> None:
        """Take it that these announcements have left."""
        for key in keys:
            self.executes.pop(key, None)

    def expire(self, *keys: str) -> None:
        """Settle those of the named promises whose deadline has passed."""
        late = {}
        for key in keys:
            promise = self.promises.get(key)
            if promise and promise["state"] == "pending" and self.now >= promise["timeoutAt"]:
                late[key] = (deadline_state(promise), {}, promise["timeoutAt"])
        if late:
            self.settle(list(late), late)

    # -- what follows

    def settle(self, keys: list[str], ends: dict[str, tuple[str, Json, int]]) -> None:
        for key in keys:
            state, value, at = ends[key]
            self.promises[key].update(state=state, value=value, settledAt=at)
        for key in keys:
            if key in self.tasks:
                self.become(key, "fulfilled")
                self.callbacks = {pair for pair in self.callbacks if pair[1] != key}
        for key in keys:
            for pair in sorted(pair for pair in self.callbacks if pair[0] == key):
                self.callbacks.discard(pair)
                self.resume(*pair)
            for pair in [pair for pair in self.listeners if pair[0] == key]:
                self.listeners.discard(pair)
                self.unblocks.add(pair)

    def resume(self, awaited: str, awaiter: str) -> None:
        promise = self.promises[awaiter]
        if promise["state"] != "pending" or self.now >= promise["timeoutAt"]:
            return
        self.resumed[awaiter].add(awaited)
        if self.tasks[awaiter]["state"] == "suspended":
            self.become(awaiter, "pending")
            self.wait(awaiter)

    def become(self, key: str, state: str) -> None:
        """Change a task's state; what belongs to another state goes."""
        task = self.tasks[key]
        if task["state"] in ("pending", "acquired") and self.limited(self.group_of(key)):
            self.places.pop(key, None)
            self.stirred.add(self.group_of(key))
        if state != "halted":
            self.dead.pop(key, None)
        task["state"] = state
        self.touched.pop(key, None)
        self.timers.pop(key, None)
        self.executes.pop(key, None)
        if state != "acquired":
            task.pop("pid", None)
            task.pop("ttl", None)

    def hold(self, key: str, pid: str, ttl: int) -> None:
        self.become(key, "acquired")
        self.tasks[key].update(version=self.tasks[key]["version"] + 1, pid=pid, ttl=ttl)
        self.timers[key] = self.now + ttl
        self.touched[key] = self.now
        self.resumed[key] = set()
        name = self.group_of(key)
        if self.limited(name):
            self.places[key] = "acquired"
            self.stirred.add(name)
            if "rate" in self.groups[name]:
                self.buckets[name] = self.level(name) - self.groups[name]["period"], self.now

    def touch(self, key: str) -> None:
        """Note that the holder of a task lives, at most once a minute."""
        if self.now - self.touched[key] >= TOUCH_MS:
            self.touched[key] = self.now

    def tree(self, root: str) -> list[str]:
        """Return what is open of a call tree below its root, in order, without what is detached."""
        keys = [
            key
            for key, promise in sorted(self.promises.items())
            if promise["state"] == "pending"
            and key.startswith((root + ":", root + "."))
            and promise["tags"].get("resonate:origin", key) != key
            and not self.detached(key, root)
        ]
        self.expire(*keys)
        return [key for key in keys if self.promises[key]["state"] == "pending"]

    def detached(self, key: str, root: str) -> bool:
        """Tell whether anything from below the root down to here is detached."""
        above = [key[:end] for end in range(len(root) + 1, len(key) + 1) if (key + ":")[end] in ":."]
        tags = [self.promises[each]["tags"] for each in above if each in self.promises]
        names = [each.replace(":", ".").rpartition(".")[2] for each in above]
        return any(each.get("resonate:detached") == "true" for each in tags) or any(
            name[:1] == "d" and 15 <= len(name) <= 17 and set(name[1:]) <= set("0123456789abcdef")
            for name in names
        )

    def can_be_told(self, key: str) -> bool:
        return key in self.tasks and self.promises[key]["tags"].get("resonate:timer") != "true"

    def ask_to_end(self, key: str) -> None:
        task = self.tasks[key]
        task["cancelled"] = True
        if task["state"] in ("pending", "suspended"):
            self.become(key, "pending")
            self.wait(key)

    def wait(self, key: str, *, announce: bool = True, at: int | None = None) -> None:
        """Set a pending task's timer, and announce it."""
        promise = self.promises[key]
        if promise["tags"].get("resonate:timer") == "true":
            self.timers[key] = promise["timeoutAt"]
            return
        self.timers[key] = self.now + RETRY_MS if at is None else at
        if announce:
            self.announce(key)

    def add(self, data: Json, born: int | None = None) -> None:
        """Store a new promise, and the task that its target gives it; not dispatched yet."""
        promise = {
            "id": data["id"],
            "state": "pending",
            "param": data.get("param", {}),
            "value": {},
            "tags": data.get("tags", {}),
            "timeoutAt": data["timeoutAt"],
            "createdAt": min(self.now, data["timeoutAt"]) if born is None else born,
        }
        if self.now >= data["timeoutAt"]:
            promise.update(state=deadline_state(promise), settledAt=data["timeoutAt"])
        self.promises[data["id"]] = promise
        if "resonate:target" in promise["tags"]:
            state = "pending" if promise["state"] == "pending" else "fulfilled"
            self.tasks[data["id"]] = {"id": data["id"], "state": state, "version": 0}
            self.attempts[data["id"]] = 0
            self.resumed[data["id"]] = set()

    # -- groups

    def group_get(self, data: Json) -> tuple[int, Any]:
        need(data["id"] != "")
        return 200, {"group": self.shown(data["id"])}

    group_pause = group_resume = group_get

    def group_set(self, data: Json) -> tuple[int, Any]:
        most = {"concurrency": 100_000, "rate": 10**6, "period": MONTH_MS, "attempts": 10**6}
        given = {name: data[name] for name in most if name in data}
        need(all(value is None or 1 <= value <= most[name] for name, value in given.items()))
        need(("rate" in given) == ("period" in given))
        need((given.get("rate") is None) == (given.get("period") is None))
        return self.group_get(data)

    def group_search(self, data: Json) -> tuple[int, Any]:
        found = [self.shown(name) for name, group in sorted(self.groups.items()) if group]
        return 200, page(found, "groups", data)

    def task_dead(self, data: Json) -> tuple[int, Any]:
        need(data.get("group") != "")
        found = [each for _, each in sorted(self.dead.items())]
        found = [dict(each) for each in found if each["group"] == data.get("group", each["group"])]
        return 200, page(found, "tasks", data)

    def change(self, kind: str, data: Json) -> None:
        """Change what is set about a group, with all that follows for its tasks."""
        name = data["id"]
        before, was = self.groups.get(name, {}), self.limited(name)
        changes = {key: value for key, value in data.items() if key != "id"}
        if kind != "group.set":
            changes = {"paused": kind == "group.pause" or None}
        after = {key: value for key, value in {**before, **changes}.items() if value is not None}
        if after == before:
            return
        self.groups[name] = after
        own = [key for key in self.tasks if self.group_of(key) == name]
        if self.limited(name):
            if not was or any(before.get(half) != after.get(half) for half in ("rate", "period")):
                self.buckets[name] = after.get("rate", 0) * after.get("period", 0), self.now
            if not was:
                for key in own:
                    self.enrol(key)
            self.stirred.add(name)
        elif was:
            for key in own:
                if self.places.pop(key, None) == "waiting":
                    self.timers[key] = self.now + RETRY_MS
                    self.executes[key] = self.tasks[key]["version"]
            self.stirred.discard(name)

    def enrol(self, key: str) -> None:
        task, tags = self.tasks[key], self.promises[key]["tags"]
        later = task["version"] == 0 and int(tags.get("resonate:delay", 0)) > self.now
        if task["state"] == "acquired":
            self.places[key] = "acquired"
        elif task["state"] == "pending" and tags.get("resonate:timer") != "true" and not later:
            self.announce(key)
            self.executes.pop(key, None)

    def announce(self, key: str) -> None:
        """Announce a task; one of a limited group waits for its turn."""
        name = self.group_of(key)
        if self.limited(name):
            self.places[key] = "waiting"
            self.ready.add(key)
            self.stirred.add(name)
        else:
            self.executes[key] = self.tasks[key]["version"]

    def take_turns(self) -> None:
        """Let the first of those who wait be told, as many as may be acquired, and nobody else."""
        for name in self.stirred:
            free = min(self.room(name), TOLD_MAX)
            own = [key for key in self.places if self.group_of(key) == name]
            if not free:
                for key in own:
                    if self.places[key] in ("told", "overlooked"):
                        self.withdraw(key)
            line = sorted((key for key in own if self.places[key] in ("waiting", "told")), key=self.turn)
            for key in line[:free]:
                if self.places[key] == "waiting" or key in self.refused:
                    self.places[key] = "told"
                    self.timers[key] = self.now + RESERVE_MS
                    self.executes[key] = self.tasks[key]["version"]
            for key in line[free:]:
                self.withdraw(key)
                if key in self.ready:
                    self.timers[key] = self.now + RETRY_MS
            token = self.next_token(name)
            if line[free:] and token is not None:
                self.timers[line[free]] = token
        self.stirred, self.ready, self.refused = set(), set(), set()

    def withdraw(self, key: str) -> None:
        self.places[key] = "waiting"
        self.executes.pop(key, None)

    def turn(self, key: str) -> tuple[int, int, str]:
        promise = self.promises[key]
        return -int(promise["tags"].get("resonate:priority", 0)), promise["createdAt"], key

    def waste(self, key: str, reason: str) -> None:
        """End an acquisition without progress."""
        self.attempts[key] += 1
        group = self.groups.get(self.group_of(key), {})
        own = self.promises[key]["tags"].get("resonate:attempts")
        allowed = int(own) if own is not None else group.get("attempts")
        if allowed is not None and self.attempts[key] >= allowed:
            self.become(key, "halted")
            self.dead[key] = {
                "id": key,
                "group": self.group_of(key),
                "version": self.tasks[key]["version"],
                "attempts": self.attempts[key],
                "reason": reason,
                "diedAt": self.now,
            }
        else:
            self.become(key, "pending")
            self.wait(key)

    def admits(self, key: str) -> bool:
        name = self.group_of(key)
        if not self.limited(name) or self.room(name):
            return True
        self.refused.add(key)
        return False

    def limited(self, name: str) -> bool:
        return bool({"paused", "concurrency", "rate"} & self.groups.get(name, {}).keys())

    def level(self, name: str) -> int:
        group, (level, at) = self.groups[name], self.buckets[name]
        return min(group["rate"] * group["period"], level + group["rate"] * max(self.now - at, 0))

    def room(self, name: str) -> int:
        group = self.groups[name]
        held = sum(place == "acquired" and self.group_of(key) == name for key, place in self.places.items())
        free = group["concurrency"] - held if "concurrency" in group else 2**31
        if "rate" in group:
            free = min(free, self.level(name) // group["period"])
        return 0 if "paused" in group else max(free, 0)

    def next_token(self, name: str) -> int | None:
        """Return the first moment at which there is more room than now: left alone, room only grows."""
        now, room = self.now, self.room(name)
        moments = range(now + 1, now + self.groups[name].get("period", 0) + 2)
        place = bisect_right(moments, room, key=lambda moment: self.room_at(name, moment))
        self.now = now
        return moments[place] if place < len(moments) else None

    def room_at(self, name: str, moment: int) -> int:
        self.now = moment
        return self.room(name)

    def target(self, key: str) -> str:
        target: str = self.promises[key]["tags"]["resonate:target"]
        return target

    def group_of(self, key: str) -> str:
        target = self.target(key)
        return target.partition("@")[2].partition("/")[0] if target.startswith("poll:") else target

    def shown(self, name: str) -> Json:
        shown = {"id": name, **self.groups.get(name, {})}
        if self.limited(name):
            places = [place for key, place in self.places.items() if self.group_of(key) == name]
            shown |= {"acquired": places.count("acquired")}
            shown |= {"waiting": len(places) - places.count("acquired")}
        return shown

    # -- looking

    def promise(self, key: str) -> Json:
        need(key in self.promises, 404)
        return dict(self.promises[key])

    def task(self, key: str) -> Json:
        need(key in self.tasks, 404)
        return {**self.tasks[key], "resumes": len(self.resumed[key])}

    def fenced(self, data: Json) -> None:
        task = self.task(data["id"])
        need(task["state"] == "acquired" and task["version"] == data["version"], 409)

    def claimed(self, key: str, *, preload: bool) -> Json:
        found = self.preload(key) if preload else []
        return {"task": self.task(key), "promise": self.promise(key), "preload": found}

    def preload(self, key: str, also: set[str] = frozenset()) -> list[Json]:  # type: ignore[assignment]
        branch = self.promises[key]["tags"].get("resonate:branch", key)
        return [
            dict(promise)
            for child, promise in sorted(self.promises.items())
            if child != key
            and (
                promise["tags"].get("resonate:branch") == branch
                or promise["tags"].get("resonate:parent") == key
                or child in also
            )
        ]

    def may_await(self, awaited: str, awaiter: str) -> bool:
        if any(awaited.partition(mark)[0] == awaiter.partition(mark)[0] for mark in ":."):
            return True
        there = self.promises.get(awaited, {"tags": {}})["tags"]
        here = self.promises.get(awaiter, {"tags": {}})["tags"]
        if there.get("resonate:external") == "true":
            return True
        return "resonate:origin" in there and there["resonate:origin"] == here.get("resonate:origin")

    def snapshot(self) -> Json:
        """Everything that is stored, in one comparable shape."""
        return {
            "promises": self.promises,
            "tasks": {key: self.task(key) for key in self.tasks},
            "timers": self.timers,
            "callbacks": self.callbacks,
            "listeners": self.listeners,
            "executes": self.executes,
            "unblocks": self.unblocks,
            "schedules": self.schedules,
            "groups": {name: group for name, group in self.groups.items() if group},
            "places": self.places,
            "dead": self.dead,
            "buckets": {
                name: self.buckets[name]
                for name, group in self.groups.items()
                if "rate" in group and name in self.buckets
            },
        }


def need(condition: object, status: int = 400) -> None:
    if not condition:
        raise No(status)


def after(schedule: Json, moment: int) -> int:
    period = PERIODS[schedule["cron"]]
    return (moment // period + 1) * period


def filled(template: str, key: str, moment: int) -> str:
    return template.replace("{{.timestamp}}", str(moment)).replace("{{.id}}", key)


def deadline_state(promise: Json) -> str:
    return "resolved" if promise["tags"].get("resonate:timer") == "true" else "rejected_timedout"


def good_id(key: str) -> bool:
    return key != "" and "\0" not in key


def good_address(text: str) -> bool:
    if text.startswith(("http://", "https://")):
        return len(text.split("/", 2)[2]) > 0
    group = text.partition("@")[2].partition("/")[0]
    return text.startswith(("poll://any@", "poll://uni@")) and group != ""


def check_create(data: Json) -> None:
    key, tags = data["id"], data.get("tags", {})
    need(good_id(key) and data["timeoutAt"] >= 0)
    for name in ("resonate:origin", "resonate:branch", "resonate:parent"):
        above = tags.get(name, key)
        need(key == above or key.startswith((above + ":", above + ".")))
    if "resonate:target" in tags:
        need(good_address(tags["resonate:target"]))
    for name, least, most in (("priority", -1_000, 1_000), ("attempts", 1, 10**6)):
        text = tags.get(f"resonate:{name}", "1")
        need(text.removeprefix("-").isdigit() and least <= int(text) <= most)
    if "resonate:delay" in tags:
        need(tags["resonate:delay"].isdigit() and int(tags["resonate:delay"]) < data["timeoutAt"])
        need("resonate:target" in tags)


def check_settle(data: Json) -> None:
    need(good_id(data["id"]) and data["state"] in SETTLED)


def page(found: list[Json], name: str, data: Json) -> Json:
    limit = data.get("limit", 100)
    need(1 <= limit <= 1000)
    rest = [item for item in found if item["id"] > data.get("cursor", "")]
    answer: Json = {name: rest[:limit]}
    if len(rest) > limit:
        answer["cursor"] = rest[limit - 1]["id"]
    return answer
