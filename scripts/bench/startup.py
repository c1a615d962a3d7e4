"""Time commands that must answer at once: whole processes, median of several runs.

python scripts/bench/startup.py     # about 15 s; the goal is 0.4 s for each of the first three
"""

import statistics
import subprocess
import sys
import time

RUNS = 9
COMMANDS = {
    "--help": ["--help"],
    "passes": ["passes"],
    "argument error": ["compress", "a.keras", "b.keras", "--apply", "prune.magnitude:sparsity=1.4"],
    "passes NAME": ["passes", "prune.magnitude"],
    "check, 10 files": ["check", *["fixtures/resnet8.keras", "fixtures/mobilenet.keras"] * 5, "--max-size", "4MB"],
}


def seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "kcompress.cli", *command], capture_output=True, check=False)
    return time.perf_counter() - started


bare = statistics.median(seconds(["--version"]) for _ in range(RUNS))
print(f"{'kcompress --version':22} {bare:.3f} s")
for name, command in COMMANDS.items():
    times = sorted(seconds(command) for _ in range(RUNS))
    print(f"{name:22} {statistics.median(times):.3f} s (from {times[0]:.3f} to {times[-1]:.3f})")
