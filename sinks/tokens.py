"""API tokens: made once and shown once; only the hash of a token's secret is kept.

A token reads `laurels_{prefix}_{secret}`. The prefix finds its row; it is no secret, and lists name tokens by it.
"""

import hmac
import re
import secrets
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, Literal, NamedTuple, cast

from psycopg2.extensions import cursor as Cursor

from sinks.audit import AuditEntry, write_audit

Role = Literal["viewer", "instructor", "operator", "admin"]

_PREFIX_BYTES: Final = 6
_SECRET_BYTES: Final = 32
_TOKEN: Final = re.compile(r"laurels_([0-9a-f]{12})_([0-9a-f]{64})")

_COLUMNS: Final = "prefix, name, role, created_by, created_at, expires_at, revoked_at"

_INSERT: Final = f"""
INSERT INTO api_tokens (prefix, secret_hash, name, role, created_by, expires_at)
VALUES (%s, %s, %s, %s, %s, %s)
RETURNING {_COLUMNS}
"""

_FIND: Final = """
SELECT secret_hash, name, role FROM api_tokens
 WHERE prefix = %s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
"""

_LIST: Final = f"SELECT {_COLUMNS} FROM api_tokens ORDER BY created_at, prefix"

_REVOKE: Final = (
    f"UPDATE api_tokens SET revoked_at = now() WHERE prefix = %s AND revoked_at IS NULL RETURNING {_COLUMNS}"
)


class Token(NamedTuple):
    """A token as everybody may know it."""

    prefix: str
    name: str
    role: Role
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class Bearer(NamedTuple):
    """Whom a token stands for."""

    prefix: str
    name: str
    role: Role


def create_token(
    cursor: Cursor, *, name: str, role: Role, expires_at: datetime | None, actor: str
) -> tuple[Token, str]:
    """Make a token; its text is returned here and nowhere else."""
    prefix, secret = secrets.token_hex(_PREFIX_BYTES), secrets.token_hex(_SECRET_BYTES)
    cursor.execute(_INSERT, (prefix, _hash(secret), name, role, actor, expires_at))
    token = Token(*cast("Any", cursor.fetchone()))
    until = None if expires_at is None else expires_at.isoformat()
    write_audit(cursor, AuditEntry(actor, "tokens.created", prefix, {"name": name, "role": role, "expires_at": until}))
    return token, f"laurels_{prefix}_{secret}"


def find_bearer(cursor: Cursor, text: str) -> Bearer | None:
    """Whom `text` stands for; None where it is no token, or one that is revoked, expired or unknown."""
    match = _TOKEN.fullmatch(text)
    if match is None:
        return None
    cursor.execute(_FIND, (match[1],))
    row: Any = cursor.fetchone()
    if row is None or not hmac.compare_digest(bytes(row[0]), _hash(match[2])):
        return None
    return Bearer(match[1], row[1], row[2])


def list_tokens(cursor: Cursor) -> list[Token]:
    """Every token there ever was, oldest first."""
    cursor.execute(_LIST)
    return [Token(*row) for row in cursor.fetchall()]


def revoke_token(cursor: Cursor, prefix: str, *, actor: str) -> Token | None:
    """End a token at once; None where there is none that could be ended."""
    cursor.execute(_REVOKE, (prefix,))
    row: Any = cursor.fetchone()
    if row is None:
        return None
    write_audit(cursor, AuditEntry(actor, "tokens.revoked", prefix, {"name": row[1], "role": row[2]}))
    return Token(*row)


def _hash(secret: str) -> bytes:
    """A secret of 256 random bits needs no salt and no slow hash: there is nothing to guess."""
    return sha256(secret.encode()).digest()
