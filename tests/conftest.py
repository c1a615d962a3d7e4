"""What all tests share: quiet, reproducible backends, the fixtures' paths, and small models."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import pytest

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "fixtures"


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """The folder of embedded data and models."""
    return FIXTURES


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, also for processes that it starts."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("KCOMPRESS_CACHE", str(folder))
    return folder
