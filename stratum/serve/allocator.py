"""Keep the memory of large buffers instead of giving it back to the kernel after each use.

Room: stratum/serve. May import: nothing of ours.

Bytes come and go in pieces of a mebibyte. By itself glibc hands such a piece back when it is freed, so the next one is
256 page faults again: measured, a sequential write through the mount took 40 % more time in the kernel.
"""

import ctypes

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h
KEPT_BYTES = 64 * 1024**2  # free memory at the end of the heap, before some is given back
LARGE_BYTES = 64 * 1024**2  # pieces from here on are still given back at once
PAD_BYTES = 4 * 1024**2  # taken from the kernel beyond what is needed


def keep_memory() -> bool:
    """Tell malloc(3) so. Returns whether it understood: other C libraries than glibc do not."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    told = [(M_MMAP_THRESHOLD, LARGE_BYTES), (M_TRIM_THRESHOLD, KEPT_BYTES), (M_TOP_PAD, PAD_BYTES)]
    refused = [what for what, size in told if not mallopt(what, size)]
    return not refused
