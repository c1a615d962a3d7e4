"""HDF5 files that are compact and always the same: no time stamps, small groups, the smallest exact float type."""

from pathlib import Path
from typing import Any

import numpy as np

from kcompress.numerics.storage import on_float16_grid


def repack(source: Path, target: Path) -> None:
    """Copy an HDF5 weights file, each float32 data set in the smallest float type that holds it exactly."""
    import h5py

    with h5py.File(source, "r") as old, _create(target) as new:
        timeless = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
        timeless.set_obj_track_times(False)

        def visit(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                values = item[()]
                if getattr(values, "dtype", None) == np.float32 and on_float16_grid(values):
                    values = values.astype(np.float16)
                copy = new.create_dataset(name, data=values)
            else:
                copy = h5py.Group(h5py.h5g.create(new.id, name.encode(), gcpl=timeless))
            if "dtype" in item.attrs:  # all that Keras reads; layer names differ where Keras numbers them itself
                copy.attrs["dtype"] = item.attrs["dtype"]

        old.visititems(visit)


def _create(path: Path) -> Any:
    """A new file in the layout of HDF5 1.10, whose groups are compact and which every h5py of Keras 3 reads.

    Only the low-level interface can tell the root group not to keep times.
    """
    import h5py

    creation, access = h5py.h5p.create(h5py.h5p.FILE_CREATE), h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    creation.set_obj_track_times(False)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    return h5py.File(h5py.h5f.create(str(path).encode(), h5py.h5f.ACC_TRUNC, creation, access))
