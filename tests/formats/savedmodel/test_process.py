"""A graph runs in a process of its own, which measures itself; however it ends, one line is said of it."""

import time

import numpy as np
import pytest

from kcompress.errors import ModelError
from kcompress.formats import OwnProcess, find
from kcompress.formats.savedmodel import process
from kcompress.measure.files import measure_file
from tests.models import dense, keras


def opened(path, call, *shapes):
    keras()
    import tensorflow as tf

    module = tf.Module()
    module.serve = tf.function(call, input_signature=[tf.TensorSpec(shape, tf.float32) for shape in shapes])
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.serve})
    return find(path).open(path)


def test_it_measures_itself(tmp_path):
    dense().export(tmp_path / "m", format="tf_saved_model", verbose=False)
    figures, runner = measure_file(tmp_path / "m", None)
    assert isinstance(runner, OwnProcess)
    assert 0 < figures.latency_ms["p50"] < 1000
    assert figures.peak_memory_bytes == runner.peak_bytes > 0


def test_its_time_is_that_of_computing_alone(tmp_path):
    dense().export(tmp_path / "m", format="tf_saved_model", verbose=False)
    runner = find(tmp_path / "m").open(tmp_path / "m")
    began, before = time.perf_counter(), runner.seconds
    for _ in range(20):
        runner({name: np.zeros((1, 8)) for name in runner.inputs})
    assert 0 < runner.seconds - before < time.perf_counter() - began


def test_an_error_while_it_runs_is_one_line_and_the_next_call_works(tmp_path):
    import tensorflow as tf

    def call(x):
        with tf.control_dependencies([tf.debugging.assert_greater(tf.size(x), 3, "too few")]):
            return {"y": x + 1}

    runner = opened(tmp_path / "m", call, (None,))
    with pytest.raises(ModelError, match=r"cannot be run \(.*too few.*\); export it again") as told:
        runner({"x": np.zeros(2)})
    assert "\n" not in str(told.value)
    np.testing.assert_array_equal(runner({"x": np.zeros(5)})[0], np.ones(5))


def test_texts_and_half_floats_come_back(tmp_path):
    import tensorflow as tf

    def call(x):
        return {"a": tf.strings.as_string(x, precision=1), "b": tf.cast(x, tf.bfloat16), "c": x > 0}

    runner = opened(tmp_path / "m", call, (None,))
    a, b, c = runner({"x": np.float32([1, -2])})
    assert (a.tolist(), b.tolist(), c.tolist()) == ([b"1.0", b"-2.0"], [1, -2], [True, False])


def test_one_that_never_ends_is_ended(tmp_path, monkeypatch):
    import tensorflow as tf

    def call(x):
        return {"y": tf.while_loop(lambda value: value < 2, lambda value: (value * 1,), (x,))[0]}

    runner = opened(tmp_path / "m", call, ())
    monkeypatch.setattr(process, "MOST_SECONDS", 1.0)
    with pytest.raises(ModelError, match="took more than 1 seconds to load or to run"):
        runner({"x": np.zeros(())})


def test_one_that_wants_all_memory_gets_none(tmp_path):
    import tensorflow as tf

    def call(x):
        return {"y": tf.reduce_sum(tf.fill([40_000, 1_000_000], x))}

    runner = opened(tmp_path / "m", call, ())
    with pytest.raises(ModelError, match=r"cannot be run|ended the process"):
        runner({"x": np.zeros(())})


def test_its_process_ends_with_the_runner(tmp_path):
    dense().export(tmp_path / "m", format="tf_saved_model", verbose=False)
    runner = find(tmp_path / "m").open(tmp_path / "m")
    child = runner._child
    del runner
    assert child.poll() is not None
