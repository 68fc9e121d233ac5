"""The queries of the port about whole trees: their members, and the requests to end one."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.domain.ending import TreeEnding
from orchestrator.store.port import Query


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOpenBetween(Query[list[str]]):
    """Ids of pending promises between `after` and `before`, both left out; in order, at most `limit`.

    All that name an origin other than themselves are among them: others belong to no tree but their own.
    """

    after: str
    before: str
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadEndings(Query[list[TreeEnding]]):
    """The requests to end these trees that are not carried out yet, in no order."""

    ids: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadDueEndings(Query[list[str]]):
    """Ids of at most `limit` trees that were to be ended by `now_ms`, the oldest request first."""

    now_ms: int
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeMember:
    """A promise with an origin, without what it carries: what decides whether it is still needed."""

    origin: str
    id: str
    settled_at: int | None
    value_headers: dict[str, str] | None
    tags: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberPage:
    """Members in order of (origin, id), and up to where that are all (None: to the end)."""

    members: list[TreeMember]
    after: tuple[str, str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTrees(Query[MemberPage]):
    """Promises with an origin behind `after`, in order of (origin, id); `limit` bounds what is read."""

    after: tuple[str, str]
    limit: int
