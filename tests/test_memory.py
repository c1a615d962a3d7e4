"""Peak memory is the rise during the work, not what the process held before or let go."""

import gc

import numpy as np
import pytest

from kcompress import compress
from kcompress.memory import CLEAR, PeakMemory, frozen_heap
from kcompress.progress import Hooks
from tests.models import dense

MEGABYTE = 1_000_000
pytestmark = pytest.mark.skipif(not CLEAR.exists(), reason="only Linux keeps a high-water mark that can be reset")


def test_an_allocation_that_is_freed_again_is_seen():
    earlier = np.ones(300 * MEGABYTE, np.uint8)
    del earlier
    peak = PeakMemory()
    peak.reset()
    work = np.ones(100 * MEGABYTE, np.uint8)
    del work
    rise = peak.rise()
    assert 95 * MEGABYTE < rise < 130 * MEGABYTE


def test_what_was_there_before_does_not_count():
    kept = np.ones(100 * MEGABYTE, np.uint8)
    peak = PeakMemory()
    peak.reset()
    rise = peak.rise()
    assert rise < 20 * MEGABYTE
    assert kept.size


def test_with_a_frozen_heap_only_new_objects_are_looked_through():
    gc.unfreeze()
    with frozen_heap():
        frozen = gc.get_freeze_count()
        assert frozen > 10_000
        with frozen_heap():  # as where one of these is within another
            assert gc.get_freeze_count() == frozen
        assert gc.get_freeze_count() == frozen
    assert gc.get_freeze_count() == 0


def test_what_a_caller_froze_stays_so():
    gc.freeze()
    with frozen_heap():
        pass
    assert gc.get_freeze_count() > 10_000


def test_the_heap_is_frozen_while_the_passes_of_a_run_run(tmp_path):
    counts = []
    gc.unfreeze()
    hooks = Hooks(passed=lambda *_: counts.append(gc.get_freeze_count()))
    compress(dense(), tmp_path / "o.keras", passes=["quantize.float16"], hooks=hooks)
    assert counts[0] > 10_000 and gc.get_freeze_count() == 0
