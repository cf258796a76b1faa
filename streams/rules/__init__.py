"""The academy's rules: what every event does to a user, to the number. Pure: no clock, no I/O, no randomness."""

from streams.rules.dispatch import adjust, base_key, decide
from streams.rules.history import results_needed

__all__ = ["adjust", "base_key", "decide", "results_needed"]
