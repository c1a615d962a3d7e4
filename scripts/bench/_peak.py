"""Peak memory of another process, sampled from outside; Linux only."""

import subprocess
import sys
import time
from pathlib import Path

SAMPLE_SECONDS = 0.01


def peak_bytes(*arguments: str) -> int:
    """The most resident memory that a process was seen to have."""
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        peak = max([peak, *(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))])
        time.sleep(SAMPLE_SECONDS)
    if process.returncode:
        raise SystemExit(f"failed: {' '.join(arguments)}")
    return peak
