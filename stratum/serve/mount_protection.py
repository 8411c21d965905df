"""What a process asks of the kernel because others wait for it as for a disk.

Room: stratum/serve. May import: nothing of ours. Blocking; before the first thread, since threads inherit it.
"""

import ctypes
import logging
from pathlib import Path

log = logging.getLogger(__name__)

OOM_SCORE = Path("/proc/self/oom_score_adj")
LAST_TO_GO = -900  # of -1000 (never) to 1000; never would leave a machine without memory stuck
PR_SET_IO_FLUSHER = 57  # linux/prctl.h; needs CAP_SYS_RESOURCE


def protect_from_memory_pressure(score: Path = OOM_SCORE) -> None:
    """Let memory reclaim not wait for this process, and let it be killed last. Without the right to: as it is."""
    if ctypes.CDLL(None).prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) != 0:
        log.debug("memory reclaim may wait for the mount: that needs CAP_SYS_RESOURCE")
    try:
        if int(score.read_text()) > LAST_TO_GO:
            score.write_text(f"{LAST_TO_GO}\n")
    except OSError as error:
        log.debug("the kernel may kill this process first when memory is short: %s", error.strerror)
