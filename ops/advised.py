"""The Postgres settings that this workload wants: what we start has them, and `doctor` advises them to others.

An event writes little, and a checkpoint makes the next write to every page a whole page of WAL: rare checkpoints and
compression leave a quarter of the WAL and half again the throughput.
"""

import os
from typing import Final

MEGABYTE: Final = 1024 * 1024

WAL: Final = {"max_wal_size": "8GB", "checkpoint_timeout": "15min", "wal_compression": "lz4"}
SHARED_BUFFERS_BYTES: Final = 2048 * MEGABYTE
"""Advised where the machine has four times as much."""


def shared_buffers() -> str:
    """What this machine can afford of the advised shared buffers: a quarter of its memory at most."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{min(SHARED_BUFFERS_BYTES, memory // 4) // MEGABYTE}MB"


def advised() -> dict[str, str]:
    """Every advised setting, as this machine can afford it."""
    return {**WAL, "shared_buffers": shared_buffers()}
