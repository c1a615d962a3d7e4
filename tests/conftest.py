"""What all tests share: quiet, reproducible backends, the fixtures' paths, and small models."""

import gc
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
import pytest
from hypothesis import settings

from tests.quick import work_less

settings.register_profile("same", derandomize=True, deadline=None)  # the same examples each time, however slow
settings.load_profile("same")
ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "fixtures"


FREEZE_SECONDS = 5.0
frozen_at = 0.0


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Each test, with the fixtures that it is the first to use, draws the same random numbers whichever ran before.

    Python's generator is where Keras takes the seeds of its initializers from. What earlier tests left behind is not
    looked through each time that a run frees its memory: that took most of a run's time, and more with each test.
    """
    global frozen_at
    random.seed(0)
    np.random.seed(0)
    if time.monotonic() - frozen_at > FREEZE_SECONDS:
        gc.collect()
        gc.freeze()
        frozen_at = time.monotonic()


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """The folder of embedded data and models."""
    return FIXTURES


@pytest.fixture(autouse=True, scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache for what fixtures of modules do, before a test has its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KCOMPRESS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True, scope="session")
def quick() -> Iterator[None]:
    """Less work than users get."""
    with pytest.MonkeyPatch.context() as patch:
        work_less(patch.setattr)
        yield


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, also for processes that it starts."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("KCOMPRESS_CACHE", str(folder))
    return folder
