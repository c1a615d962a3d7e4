"""Every writer gives the same function back, under the same names, in the runtime that will run the file.

Covers: formats/base.py, formats/batches.py, formats/file_sizes.py, formats/frozen_graph.py,
formats/onnx/description.py, formats/onnx/format.py, formats/onnx/prepare.py, formats/onnx/runner.py,
formats/registry.py, formats/tensorflow_process.py, formats/tflite/description.py, formats/tflite/format.py,
formats/tflite/runner.py.
"""

import os
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from kcompress import compress
from kcompress.formats import WriteOptions, formats, run_batches
from kcompress.formats.keras.runner import KerasRunner
from kcompress.passes import find
from kcompress.passes.base import Context
from kcompress.quantization.plan import FLOAT16, QuantPlan
from tests.conftest import ROOT
from tests.models import BUILDERS, batch_for, residual
from tests.sweep import some

WRITERS = [name for name, file_format in formats().items() if file_format.writes]
FLOAT_TOLERANCE = 1e-5  # float32 sums in another order
FOLDED_HALF_TOLERANCE = 2e-3  # a kernel rounded to float16 before and after a batch normalization was folded into it


@pytest.fixture(scope="module", params=list(BUILDERS))
def model(request):
    return BUILDERS[request.param]()


@pytest.fixture(scope="module")
def float_files(tmp_path_factory):
    """A model in a format, and what its writer said, once for all tests."""
    by_name = {build().name: build for build in BUILDERS.values()}

    @cache
    def write(name, format_name):
        path = tmp_path_factory.mktemp("float") / f"model.{format_name}"
        return path, formats()[format_name].write(by_name[name](), QuantPlan(), path, WriteOptions())

    return write


@pytest.mark.parametrize("format_name", WRITERS)
def test_outputs_equal_those_of_the_source(format_name, model, float_files):
    path, written = float_files(model.name, format_name)
    x = batch_for(model)
    source, artifact = KerasRunner(model), formats()[format_name].open(path)
    assert set(artifact.inputs) == set(source.inputs)
    assert artifact.outputs == source.outputs
    assert written.float_weights == ()
    for ours, theirs in zip(run_batches(artifact, x), source(x), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=FLOAT_TOLERANCE, atol=FLOAT_TOLERANCE)


@pytest.mark.parametrize("format_name", WRITERS)
def test_float16_halves_the_weights_and_keeps_the_function(format_name, model, float_files, tmp_path):
    result = find("quantize.float16")().apply(model, Context())
    plan = QuantPlan(result.formats)
    whole, half = float_files(model.name, format_name)[0], tmp_path / f"half.{format_name}"
    written = formats()[format_name].write(result.model, plan, half, WriteOptions())
    assert written.float_weights == ()
    x = batch_for(model)
    for ours, theirs in zip(
        run_batches(formats()[format_name].open(half), x), KerasRunner(result.model)(x), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=FOLDED_HALF_TOLERANCE, atol=FOLDED_HALF_TOLERANCE)
    if format_name != "keras":  # which compresses whatever it stores
        before, after = (formats()[format_name].describe(path).bits_per_weight for path in (whole, half))
        assert before == 32
        kernels = sum(np.prod(w.shape) for w in model.weights if len(w.shape) > 1)
        share = kernels / model.count_params()
        assert after < 32 - 16 * share + 3  # biases and normalization stay float32


@pytest.mark.parametrize("format_name", ["tflite", "onnx"])
def test_batch_is_dynamic_unless_fixed(format_name, tmp_path):
    model = residual()
    for batch in (None, 4):
        path = tmp_path / f"model{batch}.{format_name}"
        formats()[format_name].write(model, QuantPlan(), path, WriteOptions(batch=batch))
        runner = formats()[format_name].open(path)
        assert runner.inputs == {"image": (batch, 12, 12, 3)}
        assert run_batches(runner, batch_for(model, 10))[0].shape == (10, 3)


@pytest.mark.slow
@pytest.mark.parametrize("format_name", WRITERS)
@pytest.mark.parametrize("name", some(BUILDERS, lambda name: name == "residual"))
def test_same_model_gives_same_bytes_read_once_or_twice(format_name, name, tmp_path):
    """Read twice from one file, since Keras numbers inner layers without names of their own anew each time."""
    BUILDERS[name]().save(tmp_path / "source.keras")
    models = [formats()["keras"].read(tmp_path / "source.keras") for _ in range(2)]
    found = []
    for number, model in enumerate([models[0], *models]):
        path = tmp_path / f"{number}.{format_name}"
        formats()[format_name].write(model, QuantPlan(), path, WriteOptions())
        found.append(path.read_bytes())
        if number == 0:
            time.sleep(1.1)  # past the resolution of time stamps
    assert found[0] == found[1] == found[2]


@pytest.mark.slow
def test_other_processes_give_same_bytes(tmp_path):
    """Python hashes text differently in each process, and so walks sets in another order."""
    names = some(("residual", "recurrent"), lambda name: name == "residual")
    for name in names:
        BUILDERS[name]().save(tmp_path / f"{name}.keras")
    outputs = [f"{name}.{format_name}" for name in names for format_name in WRITERS]
    program = (
        "from tests.formats.test_roundtrip import written_again; from tests.quick import work_less; import sys\n"
        "work_less(); written_again(*sys.argv[1:])"
    )
    command = [sys.executable, "-c", program, str(tmp_path), "there", *outputs]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": "1"}, check=True)
    written_again(tmp_path, "here", *outputs)
    for output in outputs:
        assert (tmp_path / f"here-{output}").read_bytes() == (tmp_path / f"there-{output}").read_bytes()


def written_again(folder, prefix, *outputs):
    for output in outputs:
        compress(Path(folder, output).with_suffix(".keras"), Path(folder, f"{prefix}-{output}"))


def test_recurrent_tflite_says_that_its_batch_is_fixed(float_files):
    path, written = float_files("recurrent", "tflite")
    assert "batch size is fixed at 1" in written.notes[0]
    assert formats()["tflite"].open(path).inputs["series"][0] == 1


@pytest.mark.parametrize("format_name", ["tflite", "onnx"])
def test_a_planned_weight_that_is_not_in_the_file_is_named(format_name, tmp_path):
    """The plan is matched by content, so a weight that no output depends on cannot be found in the file."""
    from tests.models import keras, seeded

    k = keras()
    inputs = k.Input((4,), name="x")
    unused = k.layers.Dense(7, name="unused")(inputs)
    used = k.layers.Dense(3, name="used")(inputs)
    model = seeded(k.Model(inputs, used + 0 * k.ops.sum(unused * 0, axis=-1, keepdims=True), name="m"))
    plan = QuantPlan({"used/kernel": FLOAT16, "unused/kernel": FLOAT16})
    written = formats()[format_name].write(model, plan, tmp_path / f"m.{format_name}", WriteOptions())
    assert "used/kernel" not in written.float_weights


def test_onnx_file_passes_the_checker_with_standard_operators(tmp_path):
    import onnx

    for name, build in BUILDERS.items():
        path = tmp_path / f"{name}.onnx"
        formats()["onnx"].write(build(), QuantPlan(), path, WriteOptions())
        proto = onnx.load(path)
        onnx.checker.check_model(proto, full_check=True)
        assert {node.domain for node in proto.graph.node} <= {"", "ai.onnx"}
        assert next(o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")) >= 18


def test_tflite_file_has_a_named_signature(tmp_path):
    from ai_edge_litert.interpreter import Interpreter

    path: Path = tmp_path / "model.tflite"
    formats()["tflite"].write(BUILDERS["two_in_two_out"](), QuantPlan(), path, WriteOptions())
    signatures = Interpreter(model_path=str(path)).get_signature_list()
    assert signatures == {"serving_default": {"inputs": ["left", "right"], "outputs": ["kind", "score"]}}
