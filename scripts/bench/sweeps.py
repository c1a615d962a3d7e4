"""All cases of the sweeps of which `scripts/test.sh` takes a few: more models, more settings, more seeds.

    python scripts/bench/sweeps.py                # about 15 minutes on two cores
    python scripts/bench/sweeps.py -k integer     # arguments go to pytest

Prints how many cases there are, how many of them run in every test, and what pytest says of all.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.sweep import VARIABLE

files = sorted(str(path) for path in (ROOT / "tests").rglob("test_*.py") if "tests.sweep" in path.read_text())
pytest = [sys.executable, "-m", "pytest", "-q", *files]


def count(environment: dict[str, str]) -> int:
    listed = subprocess.run([*pytest, "--collect-only"], env=environment, cwd=ROOT, capture_output=True, text=True)
    return sum("::" in line for line in listed.stdout.splitlines())


few = {name: value for name, value in os.environ.items() if name != VARIABLE}
every = {**few, VARIABLE: "1"}
print(f"{count(every)} cases in {len(files)} files, of which {count(few)} run in every test", flush=True)
done = subprocess.run([*pytest, "-n", "2", "--dist", "worksteal", *sys.argv[1:]], env=every, cwd=ROOT, check=False)
sys.exit(done.returncode)
