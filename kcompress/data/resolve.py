"""From `--data`, `--calibration` and `--test` to the data of a run; test data stays out of training and calibration."""

from dataclasses import replace

from kcompress.data.dataset import Dataset, Parts, Splits
from kcompress.data.objects import open_data
from kcompress.errors import DataError


def resolve(data: object = None, calibration: object = None, test: object = None) -> Splits:
    """Return the data sets for training, calibration and testing.

    Each argument is None, a SPEC string (see `specs`), a path, or one of these:
    an array (x alone); (x, y); ((x_train, y_train), (x_test, y_test)), as `keras.datasets` gives; a dict of arrays
    with a `.npz` file's keys, or of input names; a `tf.data.Dataset`; a `keras.utils.PyDataset`; any re-iterable of
    batches (x, y) or x; a function without arguments that returns one of these or an iterator; a `Dataset`; `Splits`.
    x (and y) may be a dict or a tuple of arrays for several inputs (and outputs); a pair of pairs is always splits.

    Args:
        data: its training split is for training and, unless `calibration` is given, for calibration; its test split
            is the test data unless `test` is given. Without splits, all of it is training data if `test` is given;
            otherwise every fifth sample (index % 5 == 4) is test data, and the others are training data.
        calibration: its training split, or all of it. If it is the same source without splits as `data`, then it is
            what `data` trains on.
        test: its test split, or all of it.

    Raises:
        DataError: data that cannot be read, or test data that is training or calibration data as well.
        UsageError: a string that is no SPEC.
    """
    given = Parts() if data is None else open_data(data, "data")
    training, tested = given.training, given.test
    if test is not None:
        other = open_data(test, "test")
        training, tested = training or given.unsplit, other.test or other.unsplit or other.training
    elif given.unsplit is not None:
        training, tested = given.unsplit.train_test_split()
    calibrating = given.calibration or training
    if calibration is not None:
        other = open_data(calibration, "calibration")
        calibrating = other.calibration or other.training or other.unsplit or other.test
        if test is None and given.unsplit and other.unsplit and given.unsplit.overlaps(other.unsplit):
            calibrating = training
    for use, chosen in (("training", training), ("calibration", calibrating)):
        if chosen is not None and tested is not None and chosen.overlaps(tested):
            raise DataError(
                f"{tested.name}: the same samples were given for {use} and as test data, which would make the test "
                "worthless; give other test data, or leave it out to set every fifth sample apart"
            )
    return _same_classes(Splits(training, calibrating, tested))


def _same_classes(splits: Splits) -> Splits:
    """Make an index mean the same class everywhere: that of the training data, or of the first data there is."""
    known = next((each for each in (splits.training, splits.calibration, splits.test) if each and each.classes), None)
    if known is None:
        return splits
    return Splits(*(_align(each, known) for each in (splits.training, splits.calibration, splits.test)))


def _align(data: Dataset | None, known: Dataset) -> Dataset | None:
    if data is None or data.classes is None or known.classes is None or data.classes == known.classes:
        return data
    unknown = [label for label in data.classes if label not in known.classes]
    if unknown:
        raise DataError(
            f"{data.name}: class {unknown[0]!r} is not among the {len(known.classes)} classes of {known.name}; "
            "rename it, or leave its samples out"
        )
    return replace(data, source=data.source.with_classes(known.classes))
