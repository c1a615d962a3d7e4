"""HDF5 weight files that compress well and are always the same, for the HDF5 that Keras itself reads.

A float32 data set is stored in the smallest type that holds it exactly: float16, or for planned weights also the upper
byte of a float16, a float of 8 bits (E5M2). A planned kernel lies channel by channel, as chunks without an index: a
channel has few distinct values, which a compressor learns fast. There are no empty groups and no time
stamps.
"""

import hashlib
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.numerics.storage import on_float8_grid, on_float16_grid

Layouts = Mapping[str, tuple[int, ...]]
"""Digest of a planned weight's values to the axes of its channels."""
META_BLOCK_BYTES = 1 << 16  # what describes the data lies in blocks of this size, apart from the data
MOST_CHUNKS = 8192  # more of them are slow to read
ALIGNMENT_BYTES = 4  # so that the compressor can tell the bytes of a number apart


def digest(values: NDArray[Any]) -> str:
    """Tells whether two arrays hold the same; names do not, for Keras has other names for weights inside a file."""
    return hashlib.blake2b(np.ascontiguousarray(values).data, digest_size=16).hexdigest() + str(values.shape)


def repack(source: Path, target: Path, layouts: Layouts) -> None:
    """Copy an HDF5 weights file so that it compresses well."""
    import h5py

    with h5py.File(source, "r") as old, _create(target) as new:

        def visit(name: str, item: Any) -> None:
            if not isinstance(item, h5py.Dataset):
                return
            values = item[()]
            axes = layouts.get(digest(values)) if isinstance(values, np.ndarray) else None
            copy = _write(new, name, values, axes)
            if "dtype" in item.attrs:  # all that Keras reads; layer names differ where Keras numbers them itself
                copy.attrs["dtype"] = item.attrs["dtype"]

        old.visititems(visit)


def _write(file: Any, name: str, values: Any, axes: tuple[int, ...] | None) -> Any:
    """One data set, with the groups on its path. `axes` are a planned weight's channels."""
    import h5py

    group = file
    for part in name.split("/")[:-1]:
        group = group[part] if part in group else h5py.Group(h5py.h5g.create(group.id, part.encode(), gcpl=_timeless()))
    leaf = name.rsplit("/", 1)[-1]
    small = getattr(values, "dtype", None) == np.float32 and on_float16_grid(values)
    if small:
        values = values.astype(np.float16)
    if axes is None or not small or not values.size:
        return group.create_dataset(leaf, data=values)
    kind = h5py.h5t.IEEE_F16LE
    if on_float8_grid(values):
        kind, values = _float8(), np.ascontiguousarray(values.view(np.uint8).reshape(*values.shape, 2)[..., 1])
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_obj_track_times(False)
    if axes and math.prod(values.shape[axis] for axis in axes) <= MOST_CHUNKS:
        layout.set_chunk(tuple(1 if axis in axes else size for axis, size in enumerate(values.shape)))
        layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)  # chunks in order, which then need no index
        layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    space = h5py.h5s.create_simple(values.shape)
    made = h5py.h5d.create(group.id, leaf.encode(), kind, space, layout)
    made.write(space, space, values, mtype=kind)
    return h5py.Dataset(made)


def _float8() -> Any:
    """The upper byte of a float16 as HDF5 describes it: sign, 5 bits of exponent, 2 of mantissa; read as float16."""
    import h5py

    kind = h5py.h5t.IEEE_F16LE.copy()
    kind.set_fields(7, 2, 5, 0, 2)
    kind.set_precision(8)
    kind.set_size(1)
    return kind


def _timeless() -> Any:
    import h5py

    properties = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
    properties.set_obj_track_times(False)
    return properties


def _create(path: Path) -> Any:
    """A new file in the layout of HDF5 1.10, whose groups are compact and which every h5py of Keras 3 reads.

    Only the low-level interface can tell the root group not to keep times.
    """
    import h5py

    creation, access = h5py.h5p.create(h5py.h5p.FILE_CREATE), h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    creation.set_obj_track_times(False)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    access.set_meta_block_size(META_BLOCK_BYTES)
    access.set_alignment(2 * ALIGNMENT_BYTES, ALIGNMENT_BYTES)
    return h5py.File(h5py.h5f.create(os.fsencode(path), h5py.h5f.ACC_TRUNC, creation, access))
