"""How an entry came about, in whole: the ledger's account, the record that its receipt names, and the rule in words."""

from contextlib import closing
from datetime import datetime
from typing import Any

from psycopg2.extensions import cursor as Cursor

from schemas.events import EVENT_TOPICS, CreditTransfer, Event, SessionAttendance, Skill, TournamentResult
from schemas.parse import read_event, without_frame
from schemas.rewards import Refused
from schemas.ruleset import from_canonical_json
from schemas.settings import Settings
from sinks.batch import Coordinates
from sinks.database import connector
from sinks.explanation import Explained, Row, explain_entry, fetch_source_row
from sinks.ledger.rulesets import fetch_levels
from streams.payloads import Payload, fetch_payload
from streams.reasons import reason_for


def explain(settings: Settings, named: str) -> dict[str, Any] | None:
    """Gather what there is to say of an entry, from the ledger and from the topic; None where there is no such thing."""
    connect = connector(settings.database_url, name="laurels explain")
    with closing(connect()) as connection, connection.cursor() as cursor:
        explained = explain_entry(cursor, named)
        if explained is None:
            return None
        row = None if explained.receipt is None else fetch_source_row(cursor, explained.receipt)
        specializations = frozenset(fetch_levels(cursor))
    of_event = explained.source or explained.receipt
    payload = _payload(settings, of_event)
    event = _event_in(payload, of_event, specializations) or _event_of(row, explained.receipt)
    return {
        **_told(explained, event),
        "payload": None if payload.value is None else without_frame(payload.value).decode(errors="replace"),
        "payload_missing": payload.missing,
    }


def explain_from_ledger(cursor: Cursor, named: str) -> dict[str, Any] | None:
    """Gather what the ledger alone says of an entry, without waiting for a topic; None where there is no such thing.

    The rule is known where the event left a row: not for commands and transfers.
    """
    explained = explain_entry(cursor, named)
    if explained is None:
        return None
    row = None if explained.receipt is None else fetch_source_row(cursor, explained.receipt)
    return _told(explained, _event_of(row, explained.receipt))


def _told(explained: Explained, event: Event | None) -> dict[str, Any]:
    return {
        "entry": None if explained.entry is None else {"table": explained.table, **explained.entry},
        "rule": _rule(event, explained),
        "ruleset": explained.ruleset,
        "receipt": explained.receipt,
        "run": explained.run,
        "source": explained.source,
        "history": [receipt["event_key"] for receipt in explained.history],
    }


def _payload(settings: Settings, receipt: Row | None) -> Payload:
    if receipt is None:
        return Payload(None, "no receipt: the entry came with the academy's database, or by somebody else's SQL")
    if receipt["topic"] is None:
        return Payload(None, f"the receipt's origin is {receipt['origin']}: it was not read from a topic")
    if settings.kafka is None:
        return Payload(None, "KAFKA_BOOTSTRAP_SERVERS is not set")
    where = Coordinates(receipt["topic"], receipt["partition"], receipt["offset"], receipt["log_id"])
    return fetch_payload(settings.librdkafka(), where, topic_prefix=settings.topic_prefix)


def _event_in(payload: Payload, receipt: Row | None, specializations: frozenset[str]) -> Event | None:
    if payload.value is None or receipt is None or receipt["topic"] not in EVENT_TOPICS:
        return None
    event = read_event(receipt["topic"], payload.value, specializations)
    return None if isinstance(event, Refused) else event


def _event_of(row: Row | None, receipt: Row | None) -> Event | None:
    """Say the event again from the row that it left, where its topic does not hold it any more."""
    if row is None or receipt is None:
        return None
    said = {
        "event_id": receipt["event_key"],
        "user_id": row["user_id"],
        "revision": row["revision"],
        "status": row["status"],
        "specialization": row["specialization_id"],
        "skills": tuple(Skill(**skill) for skill in row["skills"]),
        "occurred_at": datetime.fromisoformat(receipt["occurred_at"]),
    }
    if "semester_id" in row:
        places = {"placement": row["placement"], "participants": row["participants"]}
        return TournamentResult(tournament_id=row["semester_id"], **places, **said)
    return SessionAttendance(session_id=row["session_id"], **said)


def _rule(event: Event | None, explained: Explained) -> str | None:
    if explained.receipt is not None and explained.receipt["origin"] == "adopted":
        return "adopted: what the academy had counts as given"
    if event is None or explained.ruleset is None or explained.receipt is None:
        return None
    reason = reason_for(event, from_canonical_json(explained.ruleset["content"])) + _unmet(event, explained.receipt)
    if explained.receipt["corrects"] is None:
        return reason
    if explained.run is not None:
        return f"replay {explained.run['id']} decided again: {reason}; less what was given before"
    return f"revision {explained.receipt['revision']}: {reason}; less what was given before"


def _unmet(event: Event, receipt: Row) -> str:
    """What to add where the event is an order that was not met."""
    if "refused" in receipt["grant"]:
        return f"; refused: {receipt['grant']['refused']}"
    return "; it did not" if isinstance(event, CreditTransfer) and "credits" not in receipt["grant"] else ""
