"""`python -m kcompress.formats._child MODEL JOB`: write one file on TensorFlow, for a parent on another backend."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from kcompress import backend
from kcompress.formats.base import WriteOptions, formats
from kcompress.layers.plan import QuantPlan


def main(source: str, job: str) -> None:
    keras = backend.load("tensorflow")
    document = json.loads(Path(job).read_text())
    model = keras.saving.load_model(source, compile=False)
    written = formats()[document["format"]].write(
        model, QuantPlan.from_json(document["plan"]), Path(document["output"]), WriteOptions(batch=document["batch"])
    )
    Path(job).write_text(json.dumps(asdict(written)))


if __name__ == "__main__":
    main(*sys.argv[1:])
