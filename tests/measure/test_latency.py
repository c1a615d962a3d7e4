"""The time per call is taken from calls after a warm-up: many of a fast file, a few of a slow one."""

import time

import numpy as np
import pytest

from kcompress.measure import latency


class Sleeper:
    """A runner that takes a known time, and counts its calls."""

    inputs = {"x": (None, 2)}
    outputs = ("y",)

    def __init__(self, seconds, first=None):
        self.seconds, self.first, self.calls = seconds, first or seconds, 0

    def __call__(self, batch):
        self.calls += 1
        time.sleep(self.seconds if self.calls > latency.WARM_UP else self.first)
        return [batch["x"]]


@pytest.mark.parametrize(("seconds", "limit", "calls"), [(0, 1, 200), (0.02, 0.01, 5)], ids=["fast", "slow"])
def test_calls_are_limited_in_number_and_by_time(seconds, limit, calls, monkeypatch):
    monkeypatch.setattr(latency, "MAX_CALLS", 200)
    runner = Sleeper(seconds)
    found = latency.latency_ms(runner, {"x": np.zeros((1, 2))}, limit)
    assert runner.calls == calls + latency.WARM_UP
    assert found["p50"] >= seconds * 1000
    assert found["p95"] >= found["p50"]


def test_calls_to_warm_up_do_not_count():
    assert latency.latency_ms(Sleeper(0, first=0.3), {"x": np.zeros((1, 2))})["p95"] < 300
