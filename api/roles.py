"""Who may do what: one table from every route to the role it takes. A route that is not in it cannot be served."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Final


class Role(IntEnum):
    """What a caller may do; each role may do what the ones before it may."""

    PUBLIC = 0
    VIEWER = 1
    INSTRUCTOR = 2
    OPERATOR = 3
    ADMIN = 4


_SYNC: Final = "/api/v1/licenses/admin/sync"

ACCESS: Final[Mapping[tuple[str, str], Role]] = {
    ("GET", "/livez"): Role.PUBLIC,
    ("GET", "/readyz"): Role.PUBLIC,
    ("GET", "/metrics"): Role.PUBLIC,
    ("GET", "/version"): Role.PUBLIC,
    ("GET", "/openapi.json"): Role.PUBLIC,
    ("POST", "/api/v1/events/{topic}"): Role.OPERATOR,
    ("POST", "/api/v1/transfers"): Role.OPERATOR,
    ("POST", "/api/v1/level-commands"): Role.OPERATOR,
    ("GET", "/api/v1/users/{user_id}/balances"): Role.VIEWER,
    ("GET", "/api/v1/users/{user_id}/entries"): Role.VIEWER,
    ("GET", "/api/v1/users/{user_id}/progress"): Role.VIEWER,
    ("GET", "/api/v1/users/{user_id}/explanation"): Role.VIEWER,
    ("GET", "/api/v1/explanation"): Role.VIEWER,
    ("GET", "/api/v1/alerts"): Role.VIEWER,
    ("GET", "/api/v1/alerts/{fingerprint}"): Role.VIEWER,
    ("POST", "/api/v1/alerts/{fingerprint}/ack"): Role.OPERATOR,
    ("POST", "/api/v1/alerts/{fingerprint}/silence"): Role.OPERATOR,
    ("GET", "/api/v1/dead-letters"): Role.OPERATOR,
    ("GET", "/api/v1/dead-letters/{id}"): Role.OPERATOR,
    ("POST", "/api/v1/dead-letters/{id}/retry"): Role.OPERATOR,
    ("POST", "/api/v1/dead-letters/{id}/drop"): Role.OPERATOR,
    ("GET", "/api/v1/replays"): Role.VIEWER,
    ("GET", "/api/v1/replays/{id}"): Role.VIEWER,
    ("GET", "/api/v1/positions"): Role.VIEWER,
    ("GET", f"{_SYNC}/desync-issues"): Role.INSTRUCTOR,
    ("POST", f"{_SYNC}/user/{{user_id}}"): Role.INSTRUCTOR,
    ("POST", f"{_SYNC}/user/{{user_id}}/all"): Role.INSTRUCTOR,
    ("POST", f"{_SYNC}/all"): Role.ADMIN,
}
