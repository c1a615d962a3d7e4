"""`python -m kcompress.formats.child MODEL JOB`: write one file on TensorFlow, for a parent on another backend."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np

from kcompress import backend
from kcompress.data import resolve
from kcompress.formats.base import WriteOptions, formats
from kcompress.formats.tensorflow import CALIBRATION
from kcompress.model.signature import signature
from kcompress.quantization.plan import QuantPlan


def main(source: str, job: str) -> None:
    keras = backend.load("tensorflow")
    document = json.loads(Path(job).read_text())
    model = keras.saving.load_model(source, compile=False)
    arrays = Path(source).with_name(CALIBRATION)
    calibration = None
    if arrays.exists():
        with np.load(arrays) as file:
            calibration = resolve(calibration=dict(file)).calibration
        assert calibration is not None
        calibration = calibration.fit_to(signature(model).inputs)
    written = formats()[document["format"]].write(
        model,
        QuantPlan.from_json(document["plan"]),
        Path(document["output"]),
        WriteOptions(document["batch"], calibration),
    )
    Path(job).write_text(json.dumps(asdict(written)))


if __name__ == "__main__":
    main(*sys.argv[1:])
