"""`laurels replay`: reads a range of the topics again, off the live group, by the ledger's own path and keys."""

from ops.replay.commands import register

__all__ = ["register"]
