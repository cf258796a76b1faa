"""Every kind of alert: what it means, how bad it is, what explains it and which runbook mends it."""

from collections.abc import Mapping
from datetime import timedelta
from hashlib import sha256
from typing import Final

from msgspec import Struct, field

from schemas.messages import AlertSeverity


class AlertKind(Struct, frozen=True, kw_only=True):
    """A kind of alert.

    `sentence` is what must hold, or for OPS what happened. `explain` is the command that shows more, with labels of
    the alert in braces. `quiet_after` is for what happens rather than lasts: such an alert is resolved once it has not
    been seen again for that long; every other alert resolves when what it says is true again.
    """

    id: str
    severity: AlertSeverity
    sentence: str
    explain: str
    quiet_after: timedelta | None = None

    @property
    def runbook(self) -> str:
        """Where the runbook stands in the documentation."""
        return f"docs/runbooks/{self.id.lower()}.md"


class AlertSeen(Struct, frozen=True, kw_only=True):
    """Something that an alert must be raised for, as whoever noticed it says it.

    Kind and subject ("user 5", "tournament 227", "tournament-results/3") identify the alert. `severity` only where it
    differs from the kind's.
    """

    kind: str
    subject: str
    expected: str
    found: str
    labels: dict[str, str] = field(default_factory=dict)
    severity: AlertSeverity | None = None

    @property
    def fingerprint(self) -> str:
        """What identifies the alert."""
        return fingerprint(self.kind, self.subject)

    def annotations(self) -> dict[str, str]:
        """Say what whoever gets the alert is told."""
        kind = ALERT_KINDS[self.kind]
        return {
            "summary": kind.sentence,
            "expected": self.expected,
            "found": self.found,
            "explain": kind.explain.format_map(_Labels(self.labels, subject=self.subject)),
            "runbook": kind.runbook,
        }


class _Labels(dict[str, str]):
    """Labels to fill into a command; a missing one leaves its name, since an alert must not fail for its hint."""

    def __missing__(self, label: str) -> str:
        return label.upper()


def fingerprint(kind: str, subject: str) -> str:
    """32 hex digits that identify the alert of `kind` about `subject`."""
    return sha256(f"{kind}\0{subject}".encode()).hexdigest()[:32]


_USER: Final = "laurels explain user {user_id}"
_DAY: Final = timedelta(days=1)

_KINDS: Final = (
    AlertKind(
        id="INV-R01",
        severity="critical",
        sentence="A user's XP balance is the sum of their XP transactions and the opening balance.",
        explain=_USER,
    ),
    AlertKind(
        id="INV-R02",
        severity="critical",
        sentence="A user's credit balance is the sum of their credit transactions and the opening balance.",
        explain=_USER,
    ),
    AlertKind(
        id="INV-R03",
        severity="critical",
        sentence="Every receipt has exactly the entries its grant says, and no entry of ours lacks a receipt.",
        explain=_USER,
    ),
    AlertKind(
        id="INV-R04",
        severity="warning",
        sentence="A finished tournament's results match its roster: no one missing, no one twice, no stranger.",
        explain="laurels reconcile --invariant INV-R04",
    ),
    AlertKind(
        id="INV-R05",
        severity="warning",
        sentence="Badges match the participations that earn them, one per user, tournament and type.",
        explain=_USER,
    ),
    AlertKind(
        id="INV-R06",
        severity="warning",
        sentence="A license's skill ratings equal the ratings recomputed from the participations.",
        explain=_USER,
    ),
    AlertKind(
        id="INV-R07",
        severity="critical",
        sentence="A completed transfer has two legs that sum to zero.",
        explain="laurels explain entry {event_key}",
    ),
    AlertKind(
        id="INV-R08",
        severity="warning",
        sentence="Progress has the XP earned in its specialization, and the level that XP and commands give.",
        explain=_USER,
    ),
    AlertKind(
        id="INV-R09",
        severity="critical",
        sentence="Positions never go back, no committed record is stepped over, log and receipts agree.",
        explain="laurels positions list",
    ),
    AlertKind(
        id="SYNC-01",
        severity="critical",
        sentence="Progress and license hold the same level.",
        explain="laurels sync find --user {user_id}",
    ),
    AlertKind(
        id="SYNC-02",
        severity="critical",
        sentence="Where there is progress there is a license.",
        explain="laurels sync find --user {user_id}",
    ),
    AlertKind(
        id="SYNC-03",
        severity="critical",
        sentence="Where there is a license there is progress.",
        explain="laurels sync find --user {user_id}",
    ),
    AlertKind(
        id="SYNC-04",
        severity="critical",
        sentence="No level is above the maximum of its specialization.",
        explain="laurels sync find --user {user_id}",
    ),
    AlertKind(
        id="SYNC-05",
        severity="critical",
        sentence="A license's highest level is at least its current level.",
        explain="laurels sync find --user {user_id}",
    ),
    AlertKind(
        id="OPS-01",
        severity="critical",
        sentence="An event came again under the same key and revision with another payload; the first one stands.",
        explain="laurels explain entry {event_key}",
        quiet_after=_DAY,
    ),
    AlertKind(
        id="OPS-02",
        severity="warning",
        sentence="Events that can never be applied were set aside as dead letters.",
        explain="laurels dlq list --topic {topic} --status open",
    ),
    AlertKind(
        id="OPS-03",
        severity="info",
        sentence="A worker that had lost its partition tried to write and was refused.",
        explain="laurels positions list --topic {topic}",
        quiet_after=timedelta(hours=1),
    ),
    AlertKind(
        id="OPS-04",
        severity="critical",
        sentence="A partition has records to read and its position does not move.",
        explain="laurels positions list --topic {topic}",
    ),
    AlertKind(
        id="OPS-05",
        severity="warning",
        sentence="The outbox holds more messages than the relay gets rid of.",
        explain="laurels doctor",
    ),
    AlertKind(
        id="OPS-06",
        severity="warning",
        sentence="A correction left a user with a negative credit balance: a debt.",
        explain=_USER,
    ),
    AlertKind(
        id="OPS-07",
        severity="critical",
        sentence="A topic was deleted and made anew while records of the old one were still unread.",
        explain="laurels positions list --topic {topic}",
        quiet_after=7 * _DAY,
    ),
    AlertKind(
        id="OPS-08",
        severity="critical",
        sentence="A partition's log begins after our position: records are gone unread, and the partition is stopped.",
        explain="laurels positions list --topic {topic}",
    ),
    AlertKind(
        id="OPS-09",
        severity="warning",
        sentence="A publisher does not partition by murmur2 of the key, so a user's events may be out of order.",
        explain="laurels alerts list --kind OPS-09 --json",
        quiet_after=_DAY,
    ),
    AlertKind(
        id="OPS-10",
        severity="critical",
        sentence="A worker stopped because of something it may not pass over.",
        explain="laurels doctor",
        quiet_after=timedelta(hours=1),
    ),
    AlertKind(
        id="OPS-11",
        severity="critical",
        sentence="The ledger is as it was sealed: no row changed, removed or inserted, no seal gone, no trigger off.",
        explain="laurels ledger verify-chain",
    ),
)

ALERT_KINDS: Final[Mapping[str, AlertKind]] = {kind.id: kind for kind in _KINDS}
