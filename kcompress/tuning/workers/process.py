"""`python -m kcompress.tuning.workers.process JOB NUMBER`: carry out trials of a study until none is left."""

import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from kcompress.codec import decode
from kcompress.errors import KCompressError
from kcompress.tuning.evaluation import CandidateEvaluator
from kcompress.tuning.job import Job
from kcompress.tuning.storage import open_storage, quiet_optuna
from kcompress.tuning.study import Study
from kcompress.tuning.trials import StudySettings
from kcompress.tuning.workers.work import work

TERMINATED = 143


def main(path: str, number: str) -> None:
    document = json.loads(Path(path).read_text())
    job, plan = decode(Job, document["job"]), decode(StudySettings, document["plan"])
    name = f"{socket.gethostname()} {os.getpid()} {number}"
    with quiet_optuna():
        study = Study(open_storage(document["storage"]), plan, job.template.dimensions, name)
        if not study.finished:
            work(CandidateEvaluator(job), study, lambda: None)


def end_when_terminated() -> None:
    """Have SIGTERM end the process as an interrupt does, so that the trial is left to others.

    What is raised while Python deletes an object is lost, so it is raised again each second, where there are alarms.
    """

    def terminate(_signal: int, _frame: Any) -> None:
        alarm(1)
        raise SystemExit(TERMINATED)

    for name in ("SIGTERM", "SIGALRM"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), terminate)


def alarm(seconds: int) -> None:
    """Have a SIGALRM come after so many seconds; 0 cancels it. Not every system has alarms."""
    if hasattr(signal, "alarm"):
        signal.alarm(seconds)


if __name__ == "__main__":
    end_when_terminated()
    try:
        main(*sys.argv[1:])
    except KCompressError as error:
        sys.exit(f"Error: {error}")
    finally:
        alarm(0)
