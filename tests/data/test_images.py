import sys

import numpy as np
import pytest

from kcompress.data import resolve
from kcompress.errors import DataError, MissingExtraError

Image = pytest.importorskip("PIL.Image")


def paint(path, value, size=(6, 4), mode="RGB"):
    """Write an image of one colour; size is width, height."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path)


def photos(folder, counts):
    """Write so many images for each class; class number k is painted in the grey 10 * k."""
    for number, (label, count) in enumerate(sorted(counts.items())):
        for index in range(count):
            paint(folder / label / f"{index}.png", (10 * number,) * 3)
    return folder


def all_of(data, size=4):
    batches = list(data.batches(size))
    return np.concatenate([batch.x for batch in batches]), np.concatenate([batch.y for batch in batches])


def test_the_class_is_the_position_of_the_folder_among_the_sorted_names(tmp_path):
    data = resolve(test=str(photos(tmp_path, {"cat": 3, "ant": 2, "bee": 4}))).test
    assert data.classes == ("ant", "bee", "cat")
    x, y = all_of(data)
    assert sorted(y.tolist()) == [0, 0, 1, 1, 1, 1, 2, 2, 2]
    assert np.array_equal(x[:, 0, 0, 0], 10 * y)
    assert (x.dtype, x.shape, data.samples, data.labelled) == (np.uint8, (9, 4, 6, 3), 9, True)


def test_images_are_decoded_to_the_shape_of_the_input(tmp_path):
    paint(tmp_path / "a" / "0.jpg", 100, (20, 10), "L")
    paint(tmp_path / "b" / "0.bmp", (100, 100, 100), (5, 7))
    data = resolve(test=str(tmp_path)).test
    for shape in [(8, 9, 3), (8, 9, 1), (8, 9, 4), (8, 9)]:
        x = next(data.fit_to({"image": (None, *shape)}).batches(2)).x["image"]
        assert x.shape == (2, *shape)
        assert np.all(np.abs(x[..., 0].astype(int) - 100) <= 1)  # JPEG may be off by one


def test_every_allowed_kind_of_file_is_read(tmp_path):
    for suffix in ("png", "jpg", "JPEG", "bmp", "webp", "gif"):
        paint(tmp_path / "all" / f"0.{suffix}", (200, 200, 200))
    (tmp_path / "all" / "notes.txt").write_text("not an image")
    x, _ = all_of(resolve(test=str(tmp_path)).test)
    assert len(x) == 6
    assert np.all(np.abs(x.astype(int) - 200) <= 3)  # lossy formats


def test_transparent_palette_images_are_read(tmp_path):
    image = Image.new("P", (4, 4), 0)
    image.putpalette([50, 60, 70])
    (tmp_path / "a").mkdir()
    image.save(tmp_path / "a" / "0.png", transparency=b"\x80\xff")
    x = next(resolve(test=str(tmp_path)).test.batches(1)).x
    assert x[0, 0, 0].tolist() == [50, 60, 70]


def test_the_first_images_are_of_several_classes(tmp_path):
    data = resolve(test=str(photos(tmp_path, {"ant": 30, "bee": 30}))).test
    assert set(next(data.batches(12)).y.tolist()) == {0, 1}


def test_train_and_test_folders_are_the_splits(tmp_path):
    photos(tmp_path / "train", {"ant": 3, "bee": 3})
    photos(tmp_path / "test", {"ant": 1, "bee": 1})
    photos(tmp_path / "val", {"ant": 2, "bee": 2})
    splits = resolve(str(tmp_path))
    assert (splits.training.samples, splits.test.samples) == (6, 2)
    assert splits.test.name.endswith("/test")


def test_a_class_called_train_is_a_class(tmp_path):
    assert resolve(test=str(photos(tmp_path, {"bus": 2, "train": 2}))).test.classes == ("bus", "train")


def test_a_class_that_the_test_folder_lacks_does_not_shift_the_others(tmp_path):
    photos(tmp_path / "train", {"ant": 2, "bee": 2, "cat": 2})
    paint(tmp_path / "test" / "cat" / "0.png", (0, 0, 0))
    _, y = all_of(resolve(str(tmp_path)).test)
    assert y.tolist() == [2]


def test_a_class_that_only_the_test_folder_has_is_refused(tmp_path):
    photos(tmp_path / "train", {"ant": 2})
    photos(tmp_path / "test", {"ant": 2, "dog": 1})
    with pytest.raises(DataError, match=r"/test: class 'dog' is not among the 1 classes of .*/train"):
        resolve(str(tmp_path))


def test_every_fifth_image_is_test_data_and_no_other_is(tmp_path):
    splits = resolve(str(photos(tmp_path, {"ant": 6, "bee": 7})))
    everything = np.concatenate([all_of(splits.training)[1], all_of(splits.test)[1]])
    assert (splits.training.samples, splits.test.samples) == (11, 2)
    assert np.bincount(everything).tolist() == [6, 7]
    whole = all_of(resolve(test=str(tmp_path)).test)[1]
    assert np.array_equal(all_of(splits.test)[1], whole[4::5])


def test_the_fingerprint_follows_the_files(tmp_path):
    data = resolve(test=str(photos(tmp_path, {"ant": 2}))).test
    first = data.fingerprint()
    assert first == data.fingerprint()
    paint(tmp_path / "ant" / "0.png", (1, 2, 3), (60, 40))
    assert data.fingerprint() != first


def test_a_broken_image_is_named(tmp_path):
    photos(tmp_path, {"ant": 1})
    broken = tmp_path / "ant" / "1.png"
    broken.write_bytes((tmp_path / "ant" / "0.png").read_bytes()[:45])
    with pytest.raises(DataError, match=r"1\.png: not a readable image"):
        list(resolve(test=str(tmp_path)).test.batches(2))


def test_deep_pixels_are_refused_rather_than_clipped(tmp_path):
    paint(tmp_path / "a" / "0.png", 40_000, mode="I;16")
    data = resolve(test=str(tmp_path)).test.fit_to({"image": (None, 4, 6, 1)})
    with pytest.raises(DataError, match=r"0\.png: I;16 pixels are not 8 bits deep"):
        next(data.batches(1))


def test_images_of_several_sizes_need_a_size_to_be_decoded_to(tmp_path):
    paint(tmp_path / "a" / "0.png", (0, 0, 0), (6, 4))
    paint(tmp_path / "a" / "1.png", (0, 0, 0), (8, 4))
    data = resolve(test=str(tmp_path)).test
    with pytest.raises(DataError, match="give images of one size"):
        list(data.batches(2))
    with pytest.raises(DataError, match="give images of one size"):
        list(data.fit_to({"image": (None, 4, None, 3)}).batches(2))
    assert next(data.fit_to({"image": (None, 4, 7, 3)}).batches(2)).samples == 2


@pytest.mark.parametrize("inputs", [{"x": (None, 3, 8, 8)}, {"x": (None, 5)}, {"a": (None, 8, 8, 3), "b": (None, 1)}])
def test_inputs_that_are_no_image_are_refused(tmp_path, inputs):
    data = resolve(test=str(photos(tmp_path, {"ant": 1}))).test
    with pytest.raises(DataError, match="images are one input of height, width and 1, 3 or 4 channels"):
        data.fit_to(inputs)


def test_a_folder_without_class_folders_is_refused(tmp_path):
    paint(tmp_path / "0.png", (0, 0, 0))
    with pytest.raises(DataError, match="no image in a class folder; give a folder with one folder of images per"):
        resolve(str(tmp_path))


def test_without_pillow_the_extra_is_named_at_once(tmp_path, monkeypatch):
    photos(tmp_path, {"ant": 1})
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r"reading images needs the 'data' extra"):
        resolve(test=str(tmp_path))
