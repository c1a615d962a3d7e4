"""What is searched where no recipe says it: one template per output format."""

from typing import Any

from kcompress.data import Splits
from kcompress.formats import Format

EPOCHS = 6
"""Of each training at full effort; a trial does a third of them."""
GROUPS = 3
PACKED: dict[str, Any] = {"search": [4, 8], "step": 4}
BITS: dict[str, dict[str, Any]] = {"tflite": PACKED, "onnx": PACKED, "keras": {"search": [2, 8]}}
"""The bits that make files of a format smaller: others are stored in as many as the next of these."""


def preset(form: Format, splits: Splits) -> list[dict[str, Any]]:
    """Steps with marks for a format, without training where there is nothing to train on."""
    bits = {"pass": "quantize.weights", "bits": {**BITS[form.name], "groups": GROUPS}}
    training: list[dict[str, Any]] = []
    if splits.training is not None:
        training = [{"pass": "train.distill", "epochs": EPOCHS}]
    if form.name == "keras":
        pruned: dict[str, Any] = {"pass": "prune.magnitude", "sparsity": {"search": [0.3, 0.95]}, "ranking": "global"}
        if training:
            pruned["schedule"] = "polynomial"
        return [pruned, *training, {**bits, "scale": "power_of_two"}, *training]
    labelled = splits.training is not None and splits.training.labelled
    cut = {
        "pass": "prune.structured",
        "parameters": {"search": [0.3, 1.0]},
        "criterion": "taylor" if labelled else "l2",
    }
    return [cut, *training, {"pass": "fold.batchnorm"}, bits, {"pass": "quantize.int8"}, *training]
