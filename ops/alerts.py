"""`laurels alerts`: alerts, and what an operator does about them."""

from datetime import timedelta
from typing import Annotated

import typer
from msgspec import json
from psycopg2.extensions import cursor as Cursor
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from ops.options import Actor, AsJson, acting
from schemas.alerts import ALERT_KINDS
from schemas.errors import LaurelsError
from schemas.messages import AlertStatus
from schemas.settings import load_settings
from sinks.alert_desk import (
    AlertFilter,
    NoPeriod,
    Row,
    acknowledge,
    end_silence,
    fetch_alert,
    list_alerts,
    list_silences,
    parse_period,
    silence,
)
from sinks.database import Connect, connector, transaction

Fingerprint = Annotated[str, typer.Argument(metavar="FINGERPRINT", help="Or how it begins, if that is unmistakable.")]
Kind = Annotated[str | None, typer.Option(help="Only of this kind, such as INV-R01.")]
Subject = Annotated[str | None, typer.Option(help='Only about this, such as "user 5".')]


def register(app: typer.Typer) -> None:
    """Add `alerts` to the command line."""
    alerts = typer.Typer(no_args_is_help=True)
    alerts.callback()(_alerts)
    alerts.command("list")(list_)
    alerts.command()(show)
    alerts.command()(ack)
    alerts.command("silence")(silence_)
    alerts.command()(unsilence)
    app.add_typer(alerts, name="alerts")


def _alerts() -> None:
    """Look at alerts, silence and acknowledge them."""


def list_(
    *,
    status: Annotated[AlertStatus | None, typer.Option(help="Only in this state.")] = "firing",
    everything: Annotated[bool, typer.Option("--all", help="The resolved ones too.")] = False,
    kind: Kind = None,
    subject: Subject = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="So many at most.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List alerts, the worst first, and the silences that last.

    Example: laurels alerts list --kind SYNC-01
    """
    with transaction(_connect()) as cursor:
        alerts = list_alerts(cursor, AlertFilter(None if everything else status, _known(kind), subject), limit=limit)
        silences = list_silences(cursor)
    if as_json:
        typer.echo(json.encode({"alerts": alerts, "silences": silences}))
        return
    since = Column("since", no_wrap=True)
    table = Table(Column("fingerprint", no_wrap=True), "severity", "kind", "subject", since, "found")
    for alert in alerts:
        state = alert["severity"] if alert["status"] == "firing" else "resolved"
        found = Text(alert["annotations"].get("found", ""))
        began = _minute(alert["first_seen"])
        table.add_row(alert["fingerprint"][:8], state, alert["kind"], alert["subject"], began, found)
    console = Console()
    console.print(table)
    for one in silences:
        what = " ".join(filter(None, (one["kind"], one["subject"]))) or "everything"
        console.print(
            f"silence {one['id']}: {what} until {_minute(one['expires_at'])} by {one['created_by']}: {one['reason']}"
        )


def show(fingerprint: Fingerprint, *, as_json: AsJson = False) -> None:
    """Show one alert whole: what was expected, what was found, what explains it, and its runbook.

    Example: laurels alerts show 3f2a
    """
    with transaction(_connect()) as cursor:
        alert = _alert(cursor, fingerprint)
    if as_json:
        typer.echo(json.encode(alert))
        return
    annotations = alert.pop("annotations")
    for name, value in {**alert, **annotations}.items():
        typer.echo(f"{name}: {value if isinstance(value, str) else json.encode(value).decode()}")


def ack(fingerprint: Fingerprint, *, actor: Actor = None, as_json: AsJson = False) -> None:
    """Say that somebody is at it: no more heartbeats of this alert until it fires anew.

    Example: laurels alerts ack 3f2a
    """
    with transaction(_connect()) as cursor:
        alert = acknowledge(cursor, _alert(cursor, fingerprint)["fingerprint"], actor=acting(actor))
    if alert is None:
        message = f"alert {fingerprint} does not fire"
        raise LaurelsError(message)
    typer.echo(json.encode(alert) if as_json else f"{alert['kind']} about {alert['subject']}: acknowledged")


def silence_(
    *,
    because: Annotated[str, typer.Option(help="Why; kept with the silence.")],
    lasting: Annotated[str, typer.Option("--for", help="How long: 30m, 4h, 2d.")],
    kind: Kind = None,
    subject: Subject = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Announce nothing of a kind, about a subject, or both, for a while. Alerts still stand in the table.

    Example: laurels alerts silence --kind INV-R06 --for 4h --because "ratings are being recomputed"
    """
    if not because.strip():
        raise typer.BadParameter("a silence needs a reason", param_hint="--because")
    with transaction(_connect()) as cursor:
        made = silence(
            cursor, kind=_known(kind), subject=subject, lasting=_period(lasting), reason=because, actor=acting(actor)
        )
    typer.echo(json.encode(made) if as_json else f"silence {made['id']} until {_minute(made['expires_at'])}")


def unsilence(
    id_: Annotated[int, typer.Argument(metavar="ID", min=1)], *, actor: Actor = None, as_json: AsJson = False
) -> None:
    """End a silence before its time.

    Example: laurels alerts unsilence 3
    """
    with transaction(_connect()) as cursor:
        ended = end_silence(cursor, id_, actor=acting(actor))
    if ended is None:
        message = f"there is no silence {id_} that lasts"
        raise LaurelsError(message)
    typer.echo(json.encode(ended) if as_json else f"silence {id_} ended")


def _minute(time: str) -> str:
    """A time to the minute, in UTC as the whole command line has it."""
    return time[:16].replace("T", " ")


def _connect() -> Connect:
    return connector(load_settings().database_url, name="laurels alerts")


def _alert(cursor: Cursor, fingerprint: str) -> Row:
    alert = fetch_alert(cursor, fingerprint)
    if alert is None:
        message = f"no alert, or more than one, has a fingerprint that begins with {fingerprint}"
        raise LaurelsError(message)
    return alert


def _known(kind: str | None) -> str | None:
    if kind is not None and kind not in ALERT_KINDS:
        message = f"{kind} is not one of {', '.join(ALERT_KINDS)}"
        raise typer.BadParameter(message, param_hint="--kind")
    return kind


def _period(text: str) -> timedelta:
    try:
        return parse_period(text)
    except NoPeriod as error:
        raise typer.BadParameter(str(error), param_hint="--for") from error
