"""What stops a measure."""

from schemas.errors import LaurelsError


class BenchFailed(LaurelsError):
    """A measure could not be taken; the message says why."""
