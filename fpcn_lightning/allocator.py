"""Keeps freed memory in the process, because a training on the CPU frees and allocates the same tensors in every step.

The GNU C library returns each large block to the system when it is freed, and the system clears the pages of the next
one. In a training step of EfficientNet-Lite0 (160 px, 42 images) that is half a million page faults, a third of the
processor time. Results do not depend on it.
"""

import ctypes
import sys

# Parameters of mallopt in malloc.h of the GNU C library.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_BLOCK = 1 << 30  # bytes
NEVER_TRIM = (1 << 31) - 1  # the largest value that an int parameter can have


def keep_freed_memory(largest_block: int = LARGEST_BLOCK) -> bool:
    """Keep freed memory for later allocations of this process, where the C library is that of GNU.

    Environment variables of the C library such as `MALLOC_MMAP_THRESHOLD_` have no effect after this call. Another
    allocator that was loaded in its place (jemalloc, tcmalloc) ignores it.

    Args:
        largest_block: bytes; larger blocks still go back to the system when they are freed.

    Returns:
        Whether the C library accepted both settings; False on other systems.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # musl has no such function
        return False
    settings = ((M_MMAP_THRESHOLD, largest_block), (M_TRIM_THRESHOLD, NEVER_TRIM))
    accepted = [mallopt(parameter, value) == 1 for parameter, value in settings]
    return all(accepted)
