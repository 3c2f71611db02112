"""Memory that a process on CPU frees and needs again in the next step."""

import ctypes

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Names of glibc's malloc.h."""
LARGEST = 1 << 30
"""Bytes of a piece that is kept at most."""


def keep_freed_memory() -> None:
    """Let this process keep what it frees, where the C library is glibc.

    That gives larger pieces back to the system, and so every step gets its feature maps anew, filled with zeros page
    by page: an eighth of the time of training two small ResNet-18, and of a pass in eval mode with large batches more.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(MMAP_THRESHOLD, LARGEST)
        mallopt(TRIM_THRESHOLD, 2**31 - 1)
