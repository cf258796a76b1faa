"""A template database, migrated once per run, and its clones, one per test."""

import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import psycopg2

from sinks.migration import migrate_to_head
from tests.services.run import ROOT, Service

LEGACY: Final = ROOT / "tests" / "data" / "legacy_academy.sql"


def template_names(name: str) -> Service:
    """Two templates: one migrated, one an academy's own that has not been adopted."""
    return {"template": name, "legacy": f"{name}_legacy"}


def make_templates(service: Service) -> None:
    """Make both, once per run."""
    for template in ("template", "legacy"):
        execute(service["url"], f'CREATE DATABASE "{service[template]}"')
    migrate_to_head(on(service["url"], service["template"]))
    execute(on(service["url"], service["legacy"]), LEGACY.read_text(encoding="utf-8"))


@contextmanager
def cloned(service: Service, template: str) -> Iterator[str]:
    """A fresh copy of `template`, gone afterwards whoever is still connected."""
    name = f"{service['template']}_{secrets.token_hex(4)}"
    execute(service["url"], f'CREATE DATABASE "{name}" TEMPLATE "{service[template]}"')
    try:
        yield on(service["url"], name)
    finally:
        execute(service["url"], f'DROP DATABASE "{name}" WITH (FORCE)')


def drop_templates(service: Service) -> None:
    """Leave a server that was given to us as it was."""
    for template in ("template", "legacy"):
        execute(service["url"], f'DROP DATABASE IF EXISTS "{service[template]}" WITH (FORCE)')


def on(url: str, database: str) -> str:
    """The same server, another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


def execute(url: str, statement: str) -> None:
    """Run `statement`, outside any transaction."""
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
