"""What a migrated database needs before the first event: a ruleset to decide by.

The ruleset comes with the code and is identified by its content, so it is not part of a migration, which must never
change: each deployment adds its own default, and activates it only where none is active. Decisions already made keep the
ruleset that their receipts name.
"""

from sqlalchemy import Connection, text

from schemas.ruleset import load_default, to_canonical_json

_ADD = text("""
INSERT INTO rulesets (hash, name, content, published_by)
VALUES (:hash, :name, :content, 'laurels migrate')
ON CONFLICT (hash) DO NOTHING""")

_ACTIVATE = text("""
UPDATE rulesets SET active = true WHERE hash = :hash AND NOT EXISTS (SELECT FROM rulesets WHERE active)""")


def seed_ruleset(connection: Connection) -> list[str]:
    """Add the default ruleset, and activate it where none is; what was done, in words."""
    default = load_default()
    content = to_canonical_json(default.content)
    added = connection.execute(_ADD, {"hash": default.hash, "name": default.content.name, "content": content})
    activated = connection.execute(_ACTIVATE, {"hash": default.hash})
    if activated.rowcount:
        return [f"ruleset {default.hash} ({default.content.name}) is active"]
    if added.rowcount:
        return [f"ruleset {default.hash} is new here; another one is active until `laurels rules publish` says so"]
    return []
