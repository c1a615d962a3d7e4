"""A folder of class folders of images, which are decoded batch by batch.

The class index is the position of the class folder's name among the sorted names. Images are resized to the model's
input with bilinear interpolation (antialiased where they shrink), without keeping their proportions. As in
`keras.utils.image_dataset_from_directory`, the orientation tag of a photo is not applied and the first frame of a
moving image counts.
"""

import copy
import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from kcompress.data.batches import Batch, in_split
from kcompress.data.dataset import Dataset, Parts
from kcompress.data.keys import TEST_SPLITS
from kcompress.data.source import InputShapes, Leaf, Source
from kcompress.errors import DataError, MissingExtraError

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
DECODERS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
"""Those of Pillow that are used, whatever a file is called: others start programs."""
MOST_PIXELS = 80_000_000
MODES = {1: "L", 3: "RGB", 4: "RGBA"}

Size = tuple[int | None, ...]
"""Height, width and channels, or height and width of images without a channel axis; None: as in the first image."""


class ImageSource(Source):
    """The images of one folder of class folders.

    Their order depends only on their names and mixes the classes, so that the first few hundred are of all classes. x
    is (samples, height, width, channels) uint8, y (samples,) int64.
    """

    def __init__(self, folder: Path, name: str) -> None:
        """List the images.

        Raises:
            DataError: no class folders, or no images in them.
        """
        self.name = name
        self.classes = tuple(sorted(child.name for child in _folders(folder)))
        self.labelled = True
        self.origin = (str(folder.resolve()),)
        self._folder = folder
        self._size: Size = (None, None, None)
        self._index = {label: index for index, label in enumerate(self.classes)}
        paths = [path.relative_to(folder).as_posix() for label in self.classes for path in _images(folder / label)]
        if not paths:
            raise DataError(
                f"{name}: no image in a class folder; give a folder with one folder of images per class, "
                f"as {', '.join(suffix[1:] for suffix in SUFFIXES)}"
            )
        self._paths = sorted(paths, key=lambda path: hashlib.sha256(os.fsencode(path)).digest())
        self.samples: int = len(paths)
        self.spec = {None: Leaf("x", self._size)}

    def fitted(self, inputs: InputShapes) -> "ImageSource":
        """Return the source whose images have the height, width and channels of the only input.

        Raises:
            DataError: an input that images cannot have the shape of.
        """
        shapes = list(inputs.values())
        size = shapes[0][1:]
        if len(shapes) > 1 or len(size) not in (2, 3) or (len(size) == 3 and size[2] not in (None, *MODES)):
            wanted = ", ".join(f"{name!r} {shape[1:]}" for name, shape in inputs.items())
            raise DataError(
                f"{self.name}: the model wants {wanted}; images are one input of height, width and 1, 3 or 4 "
                "channels; give data of that shape in a .npz file"
            )
        source = copy.copy(self)
        source._size = size
        source.spec = {None: Leaf("x", size)}
        return source

    def with_classes(self, classes: tuple[str, ...]) -> "ImageSource":
        """Return the same images with y as indices into these classes."""
        source = copy.copy(self)
        source.classes = classes
        source._index = {label: index for index, label in enumerate(classes)}
        return source

    def stream(self, size: int, cuts: tuple[bool, ...]) -> Iterator[Batch]:
        """Yield the images of these splits; the others are not decoded."""
        paths = np.arange(len(self._paths))
        for test in cuts:
            paths = paths[in_split(0, len(paths), test)]
        return self._read([self._paths[index] for index in paths], size)

    def read(self, size: int) -> Iterator[Batch]:
        """Yield batches of `size` images."""
        return self.stream(size, ())

    def _read(self, paths: list[str], size: int) -> Iterator[Batch]:
        target = self._target()
        with ThreadPoolExecutor() as pool:
            for start in range(0, len(paths), size):
                chosen = paths[start : start + size]
                x = np.stack(list(pool.map(lambda path: self._decode(path, target), chosen)))
                y = np.array([self._index[path.split("/", 1)[0]] for path in chosen], np.int64)
                yield Batch(x, y)

    def _target(self) -> Size:
        """The size to decode to; sizes that the model leaves open are those of the first image."""
        if None not in self._size:
            return self._size
        with self._open(self._paths[0]) as image:
            first = (image.height, image.width, 1 if image.mode in ("1", "L") else 3)
        return tuple(have if want is None else want for want, have in zip(self._size, first, strict=False))

    def _decode(self, path: str, target: Size) -> np.ndarray:
        """Return one image as (height, width, channels) uint8, or (height, width) for a target without channels."""
        with self._open(path) as image:
            self._check_size(path, image, target)
            mode = MODES[target[2] or 0] if len(target) == 3 else "L"
            values = np.asarray(self._convert(path, image, mode, target), np.uint8)
        return values[..., None] if len(target) == 3 and values.ndim == 2 else values

    def _convert(self, path: str, image: Any, mode: str, target: Size) -> Any:
        if image.mode[0] in "IF":
            raise DataError(f"{self._folder / path}: {image.mode} pixels are not 8 bits deep; convert it to 8 bits")
        try:
            if "transparency" in image.info:
                image = image.convert("RGBA")
            image = image.convert(mode)
            size = (target[1], target[0])
            return image if image.size == size else image.resize(size, _pillow().Resampling.BILINEAR)
        except Exception as error:  # of whichever decoder
            raise self._unreadable(path, error) from error

    def _check_size(self, path: str, image: Any, target: Size) -> None:
        """Raise DataError if an axis that the model leaves open differs from the first image's."""
        for want, first, have in zip(self._size, target, (image.height, image.width), strict=False):
            if want is None and first != have:
                raise DataError(
                    f"{self._folder / path}: {image.height} x {image.width} pixels, the first image has "
                    f"{target[0]} x {target[1]}, and no size was asked for; give images of one size"
                )

    def _open(self, path: str) -> Any:
        pillow = _pillow()
        try:
            image = pillow.open(self._folder / path, formats=DECODERS)
        except Exception as error:  # of whichever decoder
            raise self._unreadable(path, error) from error
        if image.width * image.height > MOST_PIXELS:
            image.close()
            raise DataError(
                f"{self._folder / path}: has {image.width:,} x {image.height:,} pixels, at most {MOST_PIXELS:,} in all "
                "are read; give a smaller image"
            )
        return image

    def _unreadable(self, path: str, error: Exception) -> DataError:
        return DataError(
            f"{self._folder / path}: not a readable image ({type(error).__name__}); replace it or take it out"
        )

    def fingerprint(self) -> str:
        """Return a hash of the class names and of each image's relative name, size and time."""
        content = hashlib.sha256(repr(self.classes).encode())
        for path in self._paths:
            try:
                status = (self._folder / path).stat()
            except OSError as error:
                raise DataError(f"{self._folder / path}: it is gone ({error.strerror}); restore it") from error
            content.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
        return content.hexdigest()


def open_images(folder: Path, name: str) -> Parts:
    """Return the data sets of a folder of class folders, or of one with `train/` and `test/` (`val/`, `validation/`).

    Raises:
        DataError: no class folders, or no images in them.
        MissingExtraError: Pillow is not installed.
    """
    _pillow()
    splits = {child.name: child for child in _folders(folder) if child.name in ("train", *TEST_SPLITS)}
    if not any(_folders(child) for child in splits.values()):
        return Parts(unsplit=Dataset(ImageSource(folder, name)))
    sets = {
        split: Dataset(ImageSource(splits[split], f"{name.rstrip('/')}/{split}"))
        for split in ("train", *TEST_SPLITS)
        if split in splits
    }
    held_out = next((sets[split] for split in TEST_SPLITS if split in sets), None)
    return Parts(training=sets.get("train"), test=held_out)


def _pillow() -> Any:
    """Return the module `PIL.Image`."""
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError("data", "reading images") from error
    return Image


def _folders(folder: Path) -> list[Path]:
    try:
        return [child for child in folder.iterdir() if child.is_dir() and not child.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{folder}: it cannot be listed ({error.strerror}); check its permissions") from error


def _images(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()]
