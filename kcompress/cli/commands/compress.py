"""`kcompress compress`."""

from pathlib import Path
from typing import Any

from kcompress.cli.options import MODEL, OUTPUT, verb


def declared() -> Any:
    from kcompress.hosts import Hosts
    from kcompress.run.options import CompressOptions

    return CompressOptions, Hosts


@verb(declared)
@MODEL
@OUTPUT
def command(model: Path, output: Path, **given: Any) -> None:
    """Apply passes to MODEL, write OUTPUT (.keras, .tflite or .onnx) and report what it cost.

    Example: kcompress compress model.keras small.tflite --data data.npz --apply quantize.float16
    """
    from kcompress.api.compress import compress
    from kcompress.cli.running import run
    from kcompress.hosts import Hosts

    hosts = Hosts(**{name: given.pop(name) for name in Hosts.model_fields})
    run(compress, model, output, hosts=hosts, **given)
