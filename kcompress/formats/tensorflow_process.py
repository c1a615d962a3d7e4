"""Write a file from a process of its own that runs Keras on TensorFlow, for a parent on another backend.

`in_child` is the parent's end; `python -m kcompress.formats.tensorflow_process MODEL JOB` runs the child's.
"""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from kcompress import backend
from kcompress.child_processes import command, environment
from kcompress.codec import decode, plain
from kcompress.data import resolve
from kcompress.errors import ModelError
from kcompress.formats.base import WriteOptions, Written
from kcompress.formats.registry import formats
from kcompress.keras_internals import any_layer_name
from kcompress.leftovers import temporary_folder
from kcompress.model.signature import signature
from kcompress.quantization.plan import QuantPlan

CALIBRATION = "calibration.npz"


def on_tensorflow() -> bool:
    import keras

    return bool(keras.backend.backend() == "tensorflow")


def in_child(format_name: str, model: Any, plan: QuantPlan, path: Path, options: WriteOptions) -> Written:
    """Write `path` from a child process that runs Keras on TensorFlow."""
    with temporary_folder() as folder:
        source, job = Path(folder, "model.keras"), Path(folder, "job.json")
        model.save(source)
        if plan.activations is not None and plan.activations.mode == "static" and options.calibration is not None:
            samples = next(options.calibration.inputs(plan.activations.samples, limit=plan.activations.samples))
            np.savez(Path(folder, CALIBRATION), allow_pickle=False, **samples)
        task = {"plan": plain(plan), "format": format_name, "batch": options.batch, "output": str(path)}
        job.write_text(json.dumps(task))
        own = environment(KERAS_BACKEND="tensorflow", TF_CPP_MIN_LOG_LEVEL="3")
        child = command("kcompress.formats.tensorflow_process", str(source), str(job))
        done = subprocess.run(child, capture_output=True, text=True, env=own, check=False)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no message"]
            raise ModelError(f"{path}: conversion in a TensorFlow process failed: {lines[-1]}")
        answer = json.loads(job.read_text())
        return Written(tuple(answer["float_weights"]), tuple(answer["notes"]), answer["float_operators"])


def main(source: str, job: str) -> None:
    """Write the file that `job` describes; what the writer returns takes the place of the description."""
    keras = backend.load("tensorflow")
    document = json.loads(Path(job).read_text())
    with any_layer_name():
        model = keras.saving.load_model(source, compile=False)
    arrays = Path(source).with_name(CALIBRATION)
    calibration = None
    if arrays.exists():
        with np.load(arrays) as file:
            calibration = resolve(calibration=dict(file)).calibration
        assert calibration is not None
        calibration = calibration.fit_to(signature(model).inputs)
    with any_layer_name():
        written = formats()[document["format"]].write(
            model,
            decode(QuantPlan, document["plan"]),
            Path(document["output"]),
            WriteOptions(document["batch"], calibration),
        )
    Path(job).write_text(json.dumps(asdict(written)))


if __name__ == "__main__":
    main(*sys.argv[1:])
