"""Data of any kind as one type: a re-iterable stream of batches.

`resolve` turns what `--data`, `--calibration` and `--test` say into `Splits` of `Dataset`s. Whatever the source, only
a batch of it is in memory at a time.
"""

from kcompress.data.batches import Arrays, Batch
from kcompress.data.dataset import Dataset, Splits
from kcompress.data.resolve import resolve

__all__ = ["Arrays", "Batch", "Dataset", "Splits", "resolve"]
