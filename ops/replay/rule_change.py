"""The ruleset that a replay is asked to decide by again: chosen, kept with the request, stored when it is applied."""

from msgspec import structs
from psycopg2.extensions import cursor as Cursor

from ops.named_ruleset import find_ruleset
from ops.replay.request import Request
from schemas.ruleset import Ruleset, from_canonical_json, to_canonical_json
from sinks.batch import RuleChange
from sinks.ledger.rulesets import fetch_rulesets
from sinks.ruleset_store import is_stored, store_ruleset

NO_RUN = "0" * 8
"""In place of a run's id, which only applying takes."""


def choose(cursor: Cursor, request: Request, named: str, *, allow_decrease: bool) -> Request:
    """`request`, deciding again by the ruleset called `named`."""
    ruleset = find_ruleset(cursor, named)
    content = None if is_stored(cursor, ruleset.hash) else to_canonical_json(ruleset.content)
    return structs.replace(request, ruleset=ruleset.hash, ruleset_content=content, allow_decrease=allow_decrease)


def keep(cursor: Cursor, request: Request, actor: str) -> Request:
    """`request`, its ruleset stored where it was not, so that receipts can name it. It does not become active."""
    if request.ruleset_content is not None:
        store_ruleset(cursor, from_canonical_json(request.ruleset_content), actor)
    return structs.replace(request, ruleset_content=None)


def rule_change(cursor: Cursor, request: Request, run_id: str = NO_RUN) -> RuleChange | None:
    """What the request asks for, None where every receipt's own ruleset stays."""
    if request.ruleset is None:
        return None
    return RuleChange(run_id, _ruleset(cursor, request.ruleset, request.ruleset_content), request.allow_decrease)


def _ruleset(cursor: Cursor, hash_: str, content: str | None) -> Ruleset:
    return fetch_rulesets(cursor, {hash_})[hash_] if content is None else from_canonical_json(content)
