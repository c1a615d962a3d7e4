"""A Keras model as a flat TensorFlow function; conversion in a child process where Keras runs on another backend."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kcompress.errors import ModelError, UnsupportedError
from kcompress.formats.base import WriteOptions, Written
from kcompress.graph.signature import signature
from kcompress.layers.plan import QuantPlan


def input_specs(model: Any, batch: int | None) -> list[Any]:
    """One named tf.TensorSpec per input, in order; the batch axis is `batch`, or unknown if that is None."""
    import tensorflow as tf

    sign = signature(model)
    return [
        tf.TensorSpec((batch, *shape[1:]), sign.dtypes[name], name=name.replace("/", "_"))
        for name, shape in sign.inputs.items()
    ]


def frozen_function(model: Any, batch: int | None) -> Any:
    """The model's inference pass as a concrete function with flat inputs and outputs and its weights as constants.

    Freezing first lets the converter skip the SavedModel on disk, which takes most of its time.
    """
    import keras
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    sign = signature(model)

    def call(*tensors: Any) -> list[Any]:
        outputs = model(sign.pack(tensors), training=False)
        return [tf.identity(o) for o in keras.tree.flatten(outputs)]

    eager = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)  # inlines Keras's compiled grouped convolution, which no converter reads
    try:
        concrete = tf.function(call, autograph=False).get_concrete_function(*input_specs(model, batch))
    finally:
        tf.config.run_functions_eagerly(eager)
    return convert_variables_to_constants_v2(concrete, lower_control_flow=False)


def on_tensorflow() -> bool:
    import keras

    return bool(keras.backend.backend() == "tensorflow")


def in_child(form: str, model: Any, plan: QuantPlan, path: Path, options: WriteOptions) -> Written:
    """Write `path` from a child process that runs Keras on TensorFlow."""
    with tempfile.TemporaryDirectory() as folder:
        source, job = Path(folder, "model.keras"), Path(folder, "job.json")
        model.save(source)
        task = {"plan": plan.to_json(), "format": form, "batch": options.batch, "output": str(path)}
        job.write_text(json.dumps(task))
        command = [sys.executable, "-m", "kcompress.formats._child", str(source), str(job)]
        environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no message"]
            raise ModelError(f"{path}: conversion in a TensorFlow process failed: {lines[-1]}")
        answer = json.loads(job.read_text())
        return Written(tuple(answer["float_weights"]), tuple(answer["notes"]))


def explain_failure(path: Path, error: Exception, names: Callable[[str], list[str]]) -> UnsupportedError:
    """A converter's exception as one line that names the operators it could not express."""
    found = sorted(set(names(str(error))))
    what = f"operators without a counterpart: {', '.join(found)}" if found else str(error).strip().splitlines()[0][:200]
    return UnsupportedError(f"{path}: cannot be converted ({what}); give another output format or replace the layers")
