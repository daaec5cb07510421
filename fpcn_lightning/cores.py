"""How many processor cores there are for this process."""

import os


def usable_cores() -> int:
    """The cores that this process may use: a cluster or `taskset` may have given it a part of those of the machine.

    macOS and Windows cannot tell, so there it is all of them.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
