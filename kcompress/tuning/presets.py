"""What is searched where no recipe says it: one template per output format."""

from typing import Any

from kcompress.data import Splits
from kcompress.formats import Format

LEARNING: dict[str, Any] = {"learning_rate": 0.003, "temperature": 1.0}
SETTLING: dict[str, Any] = {"temperature": 1.0}
"""Trainings: after channels or weights are gone, and through the grid."""
LENGTHS = (20, 2000), (10, 1000)
"""How long they are at full effort: so many epochs, or so many steps where these are fewer."""
BATCH, ENOUGH = 64, 1000
"""The samples in a batch where there are enough in all."""
GROUPS = 3
PACKED: dict[str, Any] = {"search": [4, 8], "step": 4}
BITS: dict[str, dict[str, Any]] = {"tflite": PACKED, "onnx": PACKED, "keras": {"search": [2, 8]}}
"""The bits that make files of a format smaller: others are stored in as many as the next of these."""


def preset(file_format: Format, splits: Splits) -> list[dict[str, Any]]:
    """Entries with marks for a format, without training where there is nothing to train on."""
    bits = {"pass": "quantize.weights", "bits": {**BITS[file_format.name], "groups": GROUPS}}
    learning, settling = _trainings(splits)
    if file_format.name == "keras":
        pruned: dict[str, Any] = {"pass": "prune.magnitude", "sparsity": {"search": [0.3, 0.95]}, "ranking": "global"}
        if learning:
            pruned["schedule"] = "polynomial"
        return [pruned, *learning, {**bits, "scale": "power_of_two"}, *settling]
    labelled = splits.training is not None and splits.training.labelled
    cut = {
        "pass": "prune.structured",
        "parameters": {"search": [0.3, 1.0]},
        "criterion": "taylor" if labelled else "l2",
    }
    return [cut, *learning, {"pass": "fold.batchnorm"}, bits, {"pass": "quantize.int8"}, *settling]


def _trainings(splits: Splits) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The two trainings; none where there is nothing to train on."""
    if splits.training is None:
        return [], []
    samples = splits.training.samples or 0
    batch = {"batch": BATCH} if samples >= ENOUGH else {}
    found = []
    for settings, (epochs, steps) in zip((LEARNING, SETTLING), LENGTHS, strict=True):
        few = 0 < epochs * samples <= steps * BATCH
        length = {"epochs": epochs} if few else {"steps": steps}
        found.append({"pass": "train.distill", **length, **settings, **batch})
    return found[:1], found[1:]
