"""A relay as a process of its own, for tests that kill it: `relaying.py DATABASE_URL BOOTSTRAP_SERVERS`."""

import sys

from sinks.database import connector
from streams.relay import Relay

if __name__ == "__main__":
    Relay(connector(sys.argv[1], name="relay"), {"bootstrap.servers": sys.argv[2]}).run()
