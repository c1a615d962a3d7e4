"""kcompress makes trained Keras models smaller and hands them over ready to deploy.

    import kcompress
    passes = [kcompress.PruneMagnitude(sparsity=0.7), kcompress.QuantizeFloat16()]
    report = kcompress.compress("model.keras", "model.tflite", passes=passes, data="data.npz")

Every pass is a class here, named for its group and itself: `prune.magnitude` is `PruneMagnitude`. Importing kcompress
imports no backend, and `dir(kcompress)` lists all names without importing what they stand for.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from kcompress.api.compare import compare
    from kcompress.api.compress import compress
    from kcompress.api.ensemble import ensemble
    from kcompress.api.inspect import inspect
    from kcompress.api.search import search
    from kcompress.api.sensitivity import sensitivity
    from kcompress.api.verify import verify
    from kcompress.hosts import Hosts
    from kcompress.passes.equalize.cross_layer import EqualizeCrossLayer
    from kcompress.passes.fold.batchnorm import FoldBatchNorm
    from kcompress.passes.fuse.average_weights import FuseAverageWeights
    from kcompress.passes.prune.dead import PruneDead
    from kcompress.passes.prune.magnitude import PruneMagnitude
    from kcompress.passes.prune.structured import PruneStructured
    from kcompress.passes.quantize.binary import QuantizeBinary
    from kcompress.passes.quantize.float16 import QuantizeFloat16
    from kcompress.passes.quantize.int8 import QuantizeInt8
    from kcompress.passes.quantize.keras import QuantizeKeras
    from kcompress.passes.quantize.weights import QuantizeWeights
    from kcompress.passes.train.distill import TrainDistill
    from kcompress.passes.train.finetune import TrainFinetune
    from kcompress.progress import Hooks
    from kcompress.report import Report
    from kcompress.tuning.report.report import SearchReport

_PLACES = {
    "Hooks": "kcompress.progress",
    "Hosts": "kcompress.hosts",
    "Report": "kcompress.report",
    "SearchReport": "kcompress.tuning.report.report",
    "compare": "kcompress.api.compare",
    "compress": "kcompress.api.compress",
    "ensemble": "kcompress.api.ensemble",
    "inspect": "kcompress.api.inspect",
    "search": "kcompress.api.search",
    "sensitivity": "kcompress.api.sensitivity",
    "verify": "kcompress.api.verify",
}

__all__ = [
    "EqualizeCrossLayer",
    "FoldBatchNorm",
    "FuseAverageWeights",
    "Hooks",
    "Hosts",
    "PruneDead",
    "PruneMagnitude",
    "PruneStructured",
    "QuantizeBinary",
    "QuantizeFloat16",
    "QuantizeInt8",
    "QuantizeKeras",
    "QuantizeWeights",
    "Report",
    "SearchReport",
    "TrainDistill",
    "TrainFinetune",
    "__version__",
    "compare",
    "compress",
    "ensemble",
    "inspect",
    "search",
    "sensitivity",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used; that of a pass tells its file."""
    import importlib

    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    if name in __all__:
        from kcompress.passes import find, names

        return next(find(title) for title in names() if title.replace(".", "").replace("_", "") == name.lower())
    raise AttributeError(f"module 'kcompress' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
