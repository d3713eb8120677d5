"""Peak memory of this process."""

import re
from pathlib import Path


def peak_bytes() -> int:
    """The most memory that this process has held since it was started, bytes (Linux).

    `getrusage` would also count the memory of the process that started it.
    """
    found = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024
