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

CONSOLE: Final = "/console"
"""Where the console is mounted."""

_API: Final[Mapping[tuple[str, str], Role]] = {
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

_SHOWN: Final = (
    ("GET", "/alerts"),
    ("GET", "/alerts/{fingerprint}"),
    ("POST", "/alerts/{fingerprint}/ack"),
    ("POST", "/alerts/{fingerprint}/silence"),
    ("GET", "/dead-letters"),
    ("GET", "/dead-letters/{id}"),
    ("POST", "/dead-letters/{id}/retry"),
    ("POST", "/dead-letters/{id}/drop"),
    ("GET", "/replays"),
    ("GET", "/replays/{id}"),
    ("GET", "/positions"),
    ("GET", "/users/{user_id}/entries"),
    ("GET", "/explanation"),
)
"""What the console shows and does as the API's route of the same name does, and so for the same roles."""

ACCESS: Final[Mapping[tuple[str, str], Role]] = {
    **_API,
    **{(method, CONSOLE + path): _API[method, "/api/v1" + path] for method, path in _SHOWN},
    ("GET", "/"): Role.PUBLIC,
    ("GET", CONSOLE): Role.PUBLIC,
    ("GET", f"{CONSOLE}/"): Role.VIEWER,
    ("GET", f"{CONSOLE}/search"): Role.VIEWER,
    ("GET", f"{CONSOLE}/login"): Role.PUBLIC,
    ("POST", f"{CONSOLE}/login"): Role.PUBLIC,
    ("POST", f"{CONSOLE}/logout"): Role.VIEWER,
    ("GET", f"{CONSOLE}/static/{{name}}"): Role.PUBLIC,
}
