"""Values as a `jsonb` column takes them."""

import re
from typing import Any, Final

import msgspec

_NUL: Final = re.compile(r"(\\\\)|\\u0000")
"""An escaped NUL; an escaped backslash comes first, since what follows one is plain text."""


def as_jsonb(value: Any) -> str:
    """`value` as JSON, without the NULs in its texts: Postgres has no place for them."""
    encoded = msgspec.json.encode(value).decode()
    return _NUL.sub(r"\1", encoded) if r"\u0000" in encoded else encoded
