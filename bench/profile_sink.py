"""Where the recording path spends its time, by cProfile: `python -m bench.profile_sink --events 50000`.

cProfile makes every call of Python dearer and leaves the time inside Postgres as it is: trust the order of what it
names; the lines at the end are measured without it.
"""

import argparse
import cProfile
import pstats
import sys
import time

from bench.running import open_stand
from bench.sink import record_all
from bench.workload import make_workload


def main() -> None:
    """Profile one connection recording from memory, once without the profiler for comparison."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--lines", type=int, default=40, help="how many functions to print")
    parser.add_argument("--sort", default="tottime", choices=("tottime", "cumulative"))
    parser.add_argument("--cpu", action="store_true", help="count this process's CPU, not the time spent waiting")
    parser.add_argument("--out", help="also write the profile here, for other tools")
    options = parser.parse_args()
    records = list(make_workload(options.events))
    profile = cProfile.Profile(time.process_time) if options.cpu else cProfile.Profile()
    with open_stand(lambda line: print(line, file=sys.stderr), needs_kafka=False) as (stand, _):
        with stand.database() as url:
            cpu_before = time.process_time()
            plain = record_all(url, records, part=0, parts=1)
            cpu = time.process_time() - cpu_before
        with stand.database() as url:
            profile.enable()
            profiled = record_all(url, records, part=0, parts=1)
            profile.disable()
    stats = pstats.Stats(profile)
    if options.out:
        stats.dump_stats(options.out)
    stats.sort_stats(options.sort).print_stats(options.lines)
    print(
        f"plain: {plain:.2f} s, {options.events / plain:,.0f} events/s, {plain / options.events * 1e6:.1f} us an event"
    )
    print(
        f"of it CPU here: {cpu:.2f} s, {cpu / options.events * 1e6:.1f} us an event; the rest is waiting for Postgres"
    )
    print(f"profiled it took {profiled:.2f} s")


if __name__ == "__main__":
    main()
