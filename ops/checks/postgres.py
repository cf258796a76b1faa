"""Postgres: whether it answers, who we are there, how far it is migrated, how it is set."""

from collections.abc import Iterator
from typing import Final

import psycopg2
from psycopg2.extensions import cursor as Cursor
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from ops.advised import WAL, advised
from ops.checks.finding import Finding, failed, warning, well
from schemas.logs import redact
from schemas.settings import Settings
from sinks.condition import Role, fetch_bytes, fetch_role, fetch_settings
from sinks.coupling.enforcement import Mode, fetch_mode
from sinks.database import connector
from sinks.migration import current_revision, find_drift, revisions

OLDEST_VERSION: Final = 14


def check_postgres(settings: Settings) -> Iterator[Finding]:
    """Everything about Postgres, as far as it answers."""
    try:
        connection = connector(settings.database_url, name="laurels doctor")()
    except psycopg2.Error as error:
        yield failed(
            "Postgres", redact(" ".join(str(error).split())), "start it, or mend DATABASE_URL (see docs/settings.md)"
        )
        return
    try:
        connection.autocommit = True
        yield check_version(connection.server_version // 10_000)
        with connection.cursor() as cursor:
            role = check_role(fetch_role(cursor))
            yield role
            yield from check_advice(cursor)
            yield _check_coupling(fetch_mode(cursor))
    finally:
        connection.close()
    if role.state != "failed":  # who may do nothing may not look, either
        yield from _check_schema(settings.sqlalchemy_url)


def check_version(found: int) -> Finding:
    """The oldest that the statements work on."""
    if found < OLDEST_VERSION:
        return failed("Postgres", f"version {found}", f"upgrade to Postgres {OLDEST_VERSION} or later")
    return well("Postgres", f"version {found}")


def check_role(role: Role) -> Finding:
    """A worker needs its role and nothing more."""
    name = "Postgres role"
    if role.superuser:
        return warning(
            name, f"{role.name} is a superuser", "let workers log in as a user that is granted laurels_worker only"
        )
    if role.owner or role.owner is None:
        return well(name, f"{role.name} may migrate")
    if role.worker:
        return well(name, f"{role.name} has laurels_worker")
    return failed(name, f"{role.name} may do nothing here", f"GRANT laurels_worker TO {role.name}")


def check_advice(cursor: Cursor) -> Iterator[Finding]:
    """The settings that this workload wants."""
    wanted = advised()
    found = fetch_settings(cursor, wanted)
    for name, value in wanted.items():
        shown = f"{name} = {found[name]}"
        if _is_enough(cursor, name, found[name], value):
            yield well("Postgres setting", shown)
        else:
            yield warning("Postgres setting", shown, f"ALTER SYSTEM SET {name} = '{value}'{_restart(name)}")


def _is_enough(cursor: Cursor, name: str, found: str, wanted: str) -> bool:
    match name:
        case "wal_compression":
            return found != "off"
        case "checkpoint_timeout":
            return _minutes(found) >= _minutes(wanted)
        case _:
            return fetch_bytes(cursor, found) >= fetch_bytes(cursor, wanted)


def _minutes(interval: str) -> float:
    number = int("".join(filter(str.isdecimal, interval)))
    factors = {"ms": 1 / 60_000, "s": 1 / 60, "min": 1, "h": 60, "d": 1440}
    return number * factors[interval.lstrip("0123456789")]


def _restart(name: str) -> str:
    return ", then SELECT pg_reload_conf()" if name in WAL else ", then restart Postgres"


def _check_schema(url: str) -> Iterator[Finding]:
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        newest = revisions()[-1]
        current = current_revision(connection)
        if current != newest:
            yield failed(
                "migrations",
                f"at {current or 'none'}, the newest is {newest}",
                "laurels migrate --plan, then laurels migrate",
            )
            return
        yield well("migrations", f"at {current}, the newest")
        drift = find_drift(connection)
        if drift:
            yield failed(
                "schema", f"differs in {len(drift)} places, first: {drift[0]}", "undo what was changed by hand"
            )
        else:
            yield well("schema", "as the migrations made it")


def _check_coupling(mode: Mode) -> Finding:
    match mode:
        case "observe":
            return well("coupling", "observed: desyncs raise alerts")
        case "enforce":
            return well("coupling", "enforced: no transaction can part progress and license")
        case "partly":
            return failed("coupling", "only some of its triggers are on", "laurels coupling enforce, or observe")
