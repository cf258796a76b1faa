"""Rulesets in the database: found by hash, stored, made the active one."""

from typing import Any, Final

from psycopg2.extensions import cursor as Cursor

from schemas.ruleset import Ruleset, from_canonical_json, to_canonical_json
from sinks.audit import AuditEntry, write_audit

_FIND: Final = "SELECT content FROM rulesets WHERE starts_with(hash, %s) ORDER BY hash"
_STORED: Final = "SELECT count(*) FROM rulesets WHERE hash = %s"
_ACTIVE: Final = "SELECT hash FROM rulesets WHERE active FOR NO KEY UPDATE"
_ADD: Final = """
INSERT INTO rulesets (hash, name, content, published_by) VALUES (%s, %s, %s, %s) ON CONFLICT (hash) DO NOTHING
"""
_RETIRE: Final = "UPDATE rulesets SET active = false WHERE active AND hash <> %s"
_ACTIVATE: Final = "UPDATE rulesets SET active = true WHERE hash = %s AND NOT active"


def find_rulesets(cursor: Cursor, prefix: str) -> list[Ruleset]:
    """The stored rulesets whose hash begins with `prefix`; all of them for an empty one."""
    cursor.execute(_FIND, (prefix,))
    return [from_canonical_json(content) for (content,) in cursor.fetchall()]


def is_stored(cursor: Cursor, hash_: str) -> bool:
    """Whether receipts can name the ruleset."""
    cursor.execute(_STORED, (hash_,))
    row: Any = cursor.fetchone()
    return bool(row[0])


def store_ruleset(cursor: Cursor, ruleset: Ruleset, actor: str) -> None:
    """Store `ruleset` unless it is; which one is active stays as it is."""
    cursor.execute(_ADD, (ruleset.hash, ruleset.content.name, to_canonical_json(ruleset.content), actor))


def publish_ruleset(cursor: Cursor, ruleset: Ruleset, actor: str) -> str | None:
    """Store `ruleset` and make it the active one; the hash of the one that was. What is recorded keeps its own."""
    cursor.execute(_ACTIVE)
    row: Any = cursor.fetchone()
    before = None if row is None else str(row[0])
    store_ruleset(cursor, ruleset, actor)
    cursor.execute(_RETIRE, (ruleset.hash,))
    cursor.execute(_ACTIVATE, (ruleset.hash,))
    if cursor.rowcount:
        detail = {"name": ruleset.content.name, "before": before}
        write_audit(cursor, AuditEntry(actor, "ruleset.published", f"ruleset {ruleset.hash}", detail))
    return before
