"""`make check`'s look at a database: migrated from empty, it must be what `sinks.tables` says."""

import sys
import tempfile
from pathlib import Path

from sqlalchemy import create_engine, make_url
from sqlalchemy.pool import NullPool

from ops.embedded.postgres import SPEED_OVER_SAFETY, EmbeddedPostgres
from sinks.migration import find_drift, migrate_to_head


def main() -> None:
    """Exit with the differences, if there are any."""
    with tempfile.TemporaryDirectory(prefix="laurels-drift-") as name:
        Path(name).chmod(0o755)  # Postgres may have to run as somebody else
        server = EmbeddedPostgres(Path(name), settings=SPEED_OVER_SAFETY)
        try:
            url = server.start()
            migrate_to_head(url)
            engine = create_engine(make_url(url).set(drivername="postgresql+psycopg2"), poolclass=NullPool)
            with engine.connect() as connection:
                drift = find_drift(connection)
        finally:
            server.stop()
    if drift:
        sys.exit("\n".join(["migrations and sinks.tables differ:", *drift]))
    print("migrations and sinks.tables agree")


if __name__ == "__main__":
    main()
