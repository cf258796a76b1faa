"""What schemathesis does not know by itself: JSON lines are text."""

import schemathesis

schemathesis.serializer.alias("application/jsonl", "text/plain")
