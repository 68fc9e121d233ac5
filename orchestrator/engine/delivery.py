"""Delivery: which connection a message goes to, and what becomes of those that cannot go anywhere yet.

Messages are hints, the store is the truth. What finds a connection here is sent at once and its outbox row
is removed with a later batch; what finds none stays in the outbox until a member of its group connects,
and what finds no room is tried again shortly.
A message that a connection was given shortly before it closed may never have been read: its tasks are
announced again to whoever is left.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

import structlog

from orchestrator.domain.address import Cast, PollAddress
from orchestrator.engine.batch import Sent
from orchestrator.engine.outgoing import Outgoing
from orchestrator.engine.statistics import Statistics
from orchestrator.engine.validation import address_of
from orchestrator.protocol.commands import TaskReference
from orchestrator.protocol.messages import Cancel, Execute, Message, Unblock

_log = structlog.get_logger(__name__)
Receive = Callable[[Message], object]
"""Takes a message without blocking; False says that it has no room now, and is asked again later."""
MayHearOf = Callable[[str], bool]
"""Tells whether a connection may know of the promise or task with this id."""
RECENT_MAX = 256
"""How many announcements a connection remembers."""


class Connection:
    """A member's open ear. `close` it when the member is gone; closing twice is harmless."""

    def __init__(
        self,
        group: str,
        member: str,
        receive: Receive,
        on_close: Callable[[Connection], None],
        may_hear_of: MayHearOf | None = None,
        *,
        embedded: bool = False,
    ) -> None:
        self.group = group
        self.embedded = embedded
        self.member = member
        self.recent: deque[tuple[str, int]] = deque(maxlen=RECENT_MAX)
        self._receive = receive
        self._on_close = on_close
        self._may_hear_of = may_hear_of

    def may_have(self, message: Message) -> bool:
        """Tell whether the member may know of what a message says."""
        if self._may_hear_of is None:
            return True
        return self._may_hear_of(message.promise.id if isinstance(message, Unblock) else message.task.id)

    def send(self, message: Message) -> bool:
        """Hand over one message; tell whether it was taken."""
        try:
            taken = self._receive(message) is not False
        except Exception as error:  # one ear's fault must not deafen the others
            _log.error("receiver failed", group=self.group, member=self.member, error=str(error))
            return False
        if taken and isinstance(message, Execute):
            self.recent.append((message.task.id, message.task.version))
        return taken

    def close(self) -> None:
        """Take no more messages."""
        self._on_close(self)


class Switchboard:
    """The connections held here, and the outbox rows whose messages have left."""

    def __init__(self, statistics: Statistics) -> None:
        self._groups: dict[str, list[Connection]] = {}
        self._turns: dict[str, int] = {}
        self._statistics = statistics
        self._sent_executes: dict[str, int] = {}
        self._sent_unblocks: dict[tuple[str, str], None] = {}
        self._full: dict[str, None] = {}

    def add(self, connection: Connection) -> None:
        """Open an ear."""
        self._groups.setdefault(connection.group, []).append(connection)
        self._statistics.connections += 1

    def remove(self, connection: Connection) -> bool:
        """Close an ear; tell whether it was open."""
        members = self._groups.get(connection.group, [])
        if connection not in members:
            return False
        members.remove(connection)
        if not members:
            del self._groups[connection.group]
            self._turns.pop(connection.group, None)
        self._statistics.connections -= 1
        return True

    def has_members(self, group: str) -> bool:
        """Tell whether anybody of the group listens here."""
        return group in self._groups

    def connections(self) -> list[Connection]:
        """Return all open connections."""
        return [connection for members in self._groups.values() for connection in members]

    def tell_cancelled(self, cancelled: Iterable[tuple[str, TaskReference]]) -> None:
        """Tell members inside this process which of their tasks are to end; others learn by a heartbeat."""
        for pid, task in cancelled:
            for connection in self.connections():
                if connection.embedded and connection.member == pid:
                    connection.send(Cancel(task=task))

    def deliver(self, outgoing: Iterable[Outgoing], unrouted: list[Outgoing] | None = None) -> list[Outgoing]:
        """Send what can be sent here; return the pushes, which somebody else sends.

        Poll messages that nobody here has taken are added to `unrouted`.
        """
        pushes = []
        for each in outgoing:
            # Its row is a new one: an earlier announcement that has left says nothing about it.
            self._sent_executes.pop(each.key, None)
            address = address_of(each.address)
            if not isinstance(address, PollAddress):
                pushes.append(each)
                continue
            kind = "execute" if isinstance(each.message, Execute) else "unblock"
            candidates = self._candidates(address, each)
            if any(connection.send(each.message) for connection in candidates):
                self._statistics.messages[kind] += 1
                self.mark_sent(each)
                continue
            self._statistics.unroutable[kind] += 1
            if unrouted is not None:
                unrouted.append(each)
            if candidates:
                self._full[address.group] = None
        return pushes

    def _candidates(self, address: PollAddress, outgoing: Outgoing) -> list[Connection]:
        """Return who may take a message, the first choice first; of one held back, the latest comer."""
        connections = self._groups.get(address.group, ())
        members = [each for each in connections if each.may_have(outgoing.message)]
        # The newest of a name wins: an older one is most likely a socket that died half-open.
        named = [each for each in reversed(members) if each.member == address.member][:1]
        if address.cast is Cast.UNI or not members:
            return named
        if outgoing.held:
            return members[::-1]
        turn = self._turns.get(address.group, 0) % len(members)
        if not named:
            self._turns[address.group] = turn + 1
        return named + members[turn:] + members[:turn]

    def reaches(self, address: str) -> bool:
        """Tell whether somebody here may take a message to a poll address."""
        parsed = address_of(address)
        if not isinstance(parsed, PollAddress):
            return False
        members = self._groups.get(parsed.group, [])
        return any(parsed.cast is Cast.ANY or each.member == parsed.member for each in members)

    def take_full(self) -> list[str]:
        """Return, and forget, the groups of which nobody had room for a message."""
        groups = list(self._full)
        self._full.clear()
        return groups

    def mark_sent(self, outgoing: Outgoing) -> None:
        """Remember that a message has left, so that its outbox row is removed with the next batch."""
        if isinstance(outgoing.message, Execute):
            self._sent_executes[outgoing.key] = outgoing.queued_at
        else:
            self._sent_unblocks[outgoing.key, outgoing.address] = None

    def left(self, outgoing: Outgoing) -> bool:
        """Tell whether a message has left already and its outbox row only waits to be removed."""
        if isinstance(outgoing.message, Execute):
            return self._sent_executes.get(outgoing.key, -1) >= outgoing.queued_at
        return (outgoing.key, outgoing.address) in self._sent_unblocks

    def has_sent(self) -> bool:
        """Tell whether outbox rows wait to be removed."""
        return bool(self._sent_executes or self._sent_unblocks)

    def sent(self) -> Sent:
        """Return the outbox rows to remove; they are remembered until `removed` says that they are."""
        return Sent(executes=list(self._sent_executes.items()), unblocks=list(self._sent_unblocks))

    def removed(self, sent: Sent) -> None:
        """Forget rows that are removed; one that was sent once more meanwhile stays."""
        for task_id, queued_at in sent.executes:
            if self._sent_executes.get(task_id) == queued_at:
                del self._sent_executes[task_id]
        for key in sent.unblocks:
            self._sent_unblocks.pop(key, None)
