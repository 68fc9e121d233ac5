"""What is said to the database about incidents, skipped logs and implementations, within a transaction."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from listener.errors import IncidentError
from listener.incidents import Decision, Incident, IncidentKind, Report
from listener.settings import Source
from listener.store.port import Cursor, Implementation
from listener.store.schema import implementations, incidents, skipped_logs
from listener.store.statements import key, of, read_cursor, set_back

VANISHED_KEPT = 1_000


def record(connection: sa.Connection, source: Source, report: Report, now_ms: int) -> Incident:
    """Record an incident unless one of its kind is open for the source; return the open one."""
    for each in read(connection, source, open_only=True):
        if each.report.kind is report.kind:
            return each
    place = {
        name: getattr(report, name)
        for name in (
            "kind",
            "detail",
            "block_number",
            "block_hash",
            "log_index",
            "ancestor_number",
            "ancestor_hash",
        )
    }
    vanished = msgspec.json.encode(report.vanished[:VANISHED_KEPT]).decode()
    row = {**key(source), **place, "vanished": vanished, "opened_at_ms": now_ms}
    number = connection.execute(sa.insert(incidents).values(row)).inserted_primary_key
    assert number is not None  # noqa: S101 - SQLite gives each new row its number
    return Incident(id=number[0], source=source, report=report, opened_at_ms=now_ms)


def read(connection: sa.Connection, source: Source | None, *, open_only: bool) -> list[Incident]:
    """Return incidents, the oldest first."""
    query = sa.select(incidents).order_by(incidents.c.id)
    if source is not None:
        query = query.where(of(incidents, source))
    if open_only:
        query = query.where(incidents.c.resolved_at_ms.is_(None))
    return [_incident(row) for row in connection.execute(query)]


def _incident(row: sa.Row[tuple[object, ...]]) -> Incident:
    fields = row._mapping
    report = Report(
        kind=IncidentKind(fields["kind"]),
        detail=fields["detail"],
        block_number=fields["block_number"],
        block_hash=fields["block_hash"],
        log_index=fields["log_index"],
        ancestor_number=fields["ancestor_number"],
        ancestor_hash=fields["ancestor_hash"],
        vanished=tuple(msgspec.json.decode(fields["vanished"], type=list[str])),
    )
    return Incident(
        id=fields["id"],
        source=Source(chain_id=fields["chain_id"], dao=fields["dao"], name=fields["name"]),
        report=report,
        opened_at_ms=fields["opened_at_ms"],
        resolved_at_ms=fields["resolved_at_ms"],
        decision=None if fields["decision"] is None else Decision(fields["decision"]),
    )


def decide(connection: sa.Connection, incident_id: int, decision: Decision, now_ms: int) -> Incident:
    """Carry out a decision and close the incident. Raises IncidentError."""
    row = connection.execute(sa.select(incidents).where(incidents.c.id == incident_id)).one_or_none()
    if row is None:
        raise IncidentError(incident_id, "does not exist: dao-scorer incident list shows those that do")
    incident = _incident(row)
    incident.check(decision)
    if decision is Decision.REWIND:
        set_back(connection, incident.source, _ancestor(connection, incident))
    elif decision is Decision.SKIP:
        _skip(connection, incident)
    closed = {"resolved_at_ms": now_ms, "decision": decision}
    connection.execute(sa.update(incidents).where(incidents.c.id == incident_id).values(**closed))
    return _incident(connection.execute(sa.select(incidents).where(incidents.c.id == incident_id)).one())


def _ancestor(connection: sa.Connection, incident: Incident) -> Cursor | None:
    stands, report = read_cursor(connection, incident.source), incident.report
    if stands is None or report.ancestor_number is None or report.ancestor_hash is None:
        return None
    return Cursor(
        block_number=report.ancestor_number,
        block_hash=report.ancestor_hash,
        first_block=stands.first_block,
    )


def _skip(connection: sa.Connection, incident: Incident) -> None:
    place = {"block_hash": incident.report.block_hash, "log_index": incident.report.log_index}
    connection.execute(insert(skipped_logs).values(**key(incident.source), **place).on_conflict_do_nothing())


def read_skipped(connection: sa.Connection, source: Source) -> frozenset[tuple[bytes, int]]:
    """Return the logs to pass over."""
    query = sa.select(skipped_logs.c.block_hash, skipped_logs.c.log_index).where(of(skipped_logs, source))
    return frozenset((row.block_hash, row.log_index) for row in connection.execute(query))


def read_implementation(connection: sa.Connection, source: Source) -> Implementation | None:
    """Return what stood at the source's address at the last look."""
    columns = (implementations.c.code_hash, implementations.c.implementation)
    row = connection.execute(sa.select(*columns).where(of(implementations, source))).one_or_none()
    return None if row is None else Implementation(**row._mapping)


def note_implementation(connection: sa.Connection, source: Source, seen: Implementation) -> None:
    """Note what stands at the source's address."""
    place = {"code_hash": seen.code_hash, "implementation": seen.implementation}
    statement = insert(implementations).values(**key(source), **place)
    connection.execute(
        statement.on_conflict_do_update(index_elements=["chain_id", "dao", "name"], set_=place)
    )
