"""Fashion-MNIST as the Debian package dataset-fashion-mnist has it: 60,000 images to train on, 10,000 for tests."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

INSTALLED = Path("/usr/share/datasets/fashion-mnist")
HEADERS = {"images-idx3": 16, "labels-idx1": 8}
"""Bytes in front of the values."""


def part(name: str) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Images (N, 28, 28, 1) and labels (N,) of `train` or `t10k`, as uint8; None without the package."""
    if not INSTALLED.is_dir():
        return None
    images, labels = (
        np.frombuffer(gzip.decompress((INSTALLED / f"{name}-{kind}-ubyte.gz").read_bytes()), np.uint8, offset=header)
        for kind, header in HEADERS.items()
    )
    return images.reshape(-1, 28, 28, 1), labels
