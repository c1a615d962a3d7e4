import numpy as np
import pytest

from kcompress.data.objects import open_data
from kcompress.errors import DataError, UnsupportedError
from kcompress.training.labelled import labelled
from kcompress.training.losses.model_loss import loss_for
from tests import other_process
from tests.models import keras, seeded

k = keras()
nn = k.layers
X = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
CLASSES = np.array([0, 2, 1, 1, 0, 2])
ONE_HOT = np.eye(3, dtype=np.float32)[CLASSES]
SOFT = 0.9 * ONE_HOT + 0.1 / 3


def model_of(units, activation=None, **compiled):
    model = seeded(k.Sequential([k.Input((4,), name="x"), nn.Dense(units, activation, name="head")]))
    if compiled:
        model.compile(**compiled)
    return model


def data(y):
    return open_data((X, y), "data").unsplit


def per_sample(model, y):
    return np.asarray(loss_for(model, data(y))([y], [model(X)]))


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def cross_entropy(p, target):
    return -(target * np.log(p)).sum(-1)


def test_class_indices_call_for_the_cross_entropy_of_the_right_class():
    for activation in ("softmax", None):
        model = model_of(3, activation)
        p = np.asarray(model(X)) if activation else softmax(np.asarray(model(X)))
        np.testing.assert_allclose(per_sample(model, CLASSES), cross_entropy(p, ONE_HOT), rtol=1e-5)  # float32


@pytest.mark.parametrize("target", [ONE_HOT, SOFT], ids=["one_hot", "soft"])
def test_distributions_as_labels_call_for_cross_entropy(target):
    model = model_of(3, "softmax")
    np.testing.assert_allclose(per_sample(model, target), cross_entropy(np.asarray(model(X)), target), rtol=1e-5)


@pytest.mark.parametrize("activation", ["sigmoid", None])
def test_zero_and_one_call_for_binary_cross_entropy(activation):
    model, y = model_of(1, activation), np.array([0, 1, 1, 0, 1, 0])
    output = np.asarray(model(X))[:, 0]
    p = output if activation else 1 / (1 + np.exp(-output))
    np.testing.assert_allclose(per_sample(model, y), -np.log(np.where(y, p, 1 - p)), rtol=1e-5)


def test_several_labels_at_once_call_for_binary_cross_entropy_of_each():
    model, y = model_of(3, "sigmoid"), np.array([[0, 1, 1], [1, 1, 0]] * 3, np.float32)
    p = np.asarray(model(X))
    np.testing.assert_allclose(per_sample(model, y), -np.log(np.where(y, p, 1 - p)).mean(-1), rtol=1e-5)


def test_values_call_for_the_mean_squared_error():
    model, y = model_of(3), np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32)
    np.testing.assert_allclose(per_sample(model, y), ((np.asarray(model(X)) - y) ** 2).mean(-1), rtol=1e-5)


@pytest.mark.parametrize("after", [lambda x: x, nn.Identity(), nn.Reshape((1,))])
def test_logits_that_look_like_probabilities_are_known_by_the_activation(after):
    inputs = k.Input((4,))
    model = k.Model(inputs, after(nn.Dense(1, kernel_initializer="zeros", bias_initializer=_quarter)(inputs)))
    y, p = np.array([0, 1, 1, 0, 1, 0]), 1 / (1 + np.exp(-0.25))
    np.testing.assert_allclose(per_sample(model, y), -np.log(np.where(y, p, 1 - p)), rtol=1e-5)


def _quarter(shape, dtype=None):
    return k.ops.full(shape, 0.25, dtype)


def test_the_activation_inside_of_a_wrapper_is_found():
    model = k.Sequential([k.Input((5, 4)), nn.TimeDistributed(nn.Dense(1, bias_initializer=_quarter))])
    model.layers[0].layer.kernel.assign(np.zeros((4, 1)))
    y = np.tile([0, 1], (6, 3))[:, :5, None]
    loss = loss_for(model, open_data((np.ones((6, 5, 4), np.float32), y), "data").unsplit)
    assert loss.functions[0].get_config()["from_logits"] is True


def test_where_the_activation_is_not_known_the_outputs_tell():
    for scale, from_logits in ((1.0, False), (3.0, True)):
        inputs = k.Input((4,))
        parts = [nn.Dense(3, "softmax")(inputs) for _ in range(2)]
        model = seeded(k.Model(inputs, nn.Average()(parts) * scale))
        assert loss_for(model, data(CLASSES)).functions[0].get_config()["from_logits"] is from_logits


def test_the_softmax_of_a_nested_model_under_an_identity_is_found():
    inner = k.Sequential([k.Input((4,)), nn.Dense(3), nn.Softmax()])
    inputs = k.Input((4,))
    model = seeded(k.Model(inputs, nn.Dropout(0.5)(inner(inputs))))
    assert loss_for(model, data(CLASSES)).functions[0].get_config()["from_logits"] is False


def test_the_loss_that_a_model_was_compiled_with_goes_before_any_choice():
    model = model_of(3, "softmax", loss="mse")
    np.testing.assert_allclose(per_sample(model, ONE_HOT), ((np.asarray(model(X)) - ONE_HOT) ** 2).mean(-1), rtol=1e-5)


def test_labels_without_the_last_axis_of_one_are_not_spread():
    model, y = (
        model_of(1, loss=lambda y, output: (y - output) ** 2),
        np.random.default_rng(1).normal(size=6).astype(np.float32),
    )
    np.testing.assert_allclose(per_sample(model, y), (np.asarray(model(X))[:, 0] - y) ** 2, rtol=1e-5)


def test_a_loss_that_takes_indices_without_saying_so_gets_them():
    model = model_of(3, "softmax", loss=k.losses.CategoricalGeneralizedCrossEntropy(q=0.5))
    right = np.asarray(model(X))[np.arange(6), CLASSES]
    np.testing.assert_allclose(per_sample(model, CLASSES), (1 - right**0.5) / 0.5, rtol=1e-5)


def test_a_loss_of_ones_own_takes_labels_of_any_shape():
    model = model_of(3, loss=lambda y, output: k.ops.sum(output, -1) * y[:, 0, 0])
    y = np.arange(12, dtype=np.float32).reshape(6, 2, 1)
    np.testing.assert_allclose(per_sample(model, y), np.asarray(model(X)).sum(-1) * y[:, 0, 0], rtol=1e-5)


def test_crossentropy_without_a_kind_is_chosen_by_the_labels():
    model = model_of(3, "softmax", loss="crossentropy")
    np.testing.assert_allclose(per_sample(model, CLASSES), cross_entropy(np.asarray(model(X)), ONE_HOT), rtol=1e-5)


def two_outputs(names=("a", "b"), **compiled):
    inputs = k.Input((4,))
    model = seeded(k.Model(inputs, [nn.Dense(3, "softmax", name=names[0])(inputs), nn.Dense(2, name=names[1])(inputs)]))
    if compiled:
        model.compile(**compiled)
    return model


def both(model, y):
    return np.asarray(loss_for(model, data(dict(zip(("a", "b"), y, strict=True))))(y, model(X)))


VALUES = np.random.default_rng(2).normal(size=(6, 2)).astype(np.float32)


def test_the_losses_of_several_outputs_are_summed():
    model = two_outputs()
    p, values = map(np.asarray, model(X))
    expected = cross_entropy(p, ONE_HOT) + ((values - VALUES) ** 2).mean(-1)
    np.testing.assert_allclose(both(model, [CLASSES, VALUES]), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("loss", "weights", "factors"),
    [
        ({"a": "mse", "b": "mae"}, {"a": 0.5, "b": 2.0}, (0.5, 2.0)),
        (["mse", "mae"], [3.0, 1.0], (3.0, 1.0)),
        (["mse", "mae"], None, (1.0, 1.0)),
        ({"a": None, "b": "mae"}, None, (0.0, 1.0)),
    ],
)
def test_losses_and_weights_go_to_their_outputs(loss, weights, factors):
    model = two_outputs(loss=loss, loss_weights=weights)
    a, b = map(np.asarray, model(X))
    expected = factors[0] * ((a - ONE_HOT) ** 2).mean(-1) + factors[1] * np.abs(b - VALUES).mean(-1)
    np.testing.assert_allclose(both(model, [ONE_HOT, VALUES]), expected, rtol=1e-5)


def test_the_mean_of_a_batch_is_what_keras_computes():
    model = two_outputs(loss=["categorical_crossentropy", "mse"], loss_weights=[0.3, 0.7])
    theirs = float(model.compute_loss(y=[ONE_HOT, VALUES], y_pred=model(X)))
    assert both(model, [ONE_HOT, VALUES]).mean() == pytest.approx(theirs, rel=1e-5)  # float32


def test_positions_of_a_sequence_are_averaged():
    inputs = k.Input((5, 4))
    model = seeded(k.Model(inputs, nn.Dense(3, "softmax")(inputs)))
    x = np.random.default_rng(3).normal(size=(6, 5, 4)).astype(np.float32)
    y = np.random.default_rng(3).integers(0, 3, (6, 5))
    loss = np.asarray(loss_for(model, open_data((x, y), "data").unsplit)([y], [model(x)]))
    np.testing.assert_allclose(loss, cross_entropy(np.asarray(model(x)), np.eye(3)[y]).mean(1), rtol=1e-5)


@pytest.mark.parametrize(
    ("model", "y", "told"),
    [
        (lambda: model_of(3), CLASSES + 1, "label 3 does not fit the 3 classes"),
        (lambda: model_of(3), np.zeros((6, 2)), "do not fit output"),
        (lambda: model_of(3, loss="mse"), CLASSES, "values of the output's shape"),
        (lambda: model_of(3, loss="sparse_categorical_crossentropy"), ONE_HOT, "give class indices"),
        (lambda: model_of(3, loss="sparse_categorical_crossentropy"), CLASSES - 1, "label -1 does not fit"),
        (lambda: model_of(3, loss=lambda y, o: k.ops.matmul(o, y)), CLASSES, "can't be computed from these labels"),
    ],
)
def test_labels_that_do_not_fit_are_refused_in_one_line(model, y, told):
    with pytest.raises(DataError, match=told) as raised:
        loss_for(model(), data(y))
    assert "\n" not in str(raised.value)


def test_labels_that_the_own_loss_is_told_to_ignore_are_fine():
    loss = k.losses.SparseCategoricalCrossentropy(ignore_class=255)
    model, y = model_of(3, "softmax", loss=loss), np.where(CLASSES == 1, 255, CLASSES)
    assert (per_sample(model, y) == 0).tolist() == (y == 255).tolist()


def test_several_losses_for_one_output_are_refused():
    with pytest.raises(UnsupportedError, match="2 losses or weights for 1 output"):
        loss_for(model_of(3, loss=["mse", "mae"]), data(ONE_HOT))


def test_data_without_labels_are_refused():
    with pytest.raises(DataError, match="has no labels"):
        loss_for(model_of(3), open_data(X, "data").unsplit)


def test_later_batches_are_checked_too():
    loss = loss_for(model_of(3), data(CLASSES))
    loss.check("later", ["head"], [CLASSES])
    with pytest.raises(DataError, match="later: label 7 does not fit"):
        loss.check("later", ["head"], [np.array([0, 7])])


def test_jax_gives_the_same_losses():
    pytest.importorskip("jax")
    names = (
        test_class_indices_call_for_the_cross_entropy_of_the_right_class,
        test_values_call_for_the_mean_squared_error,
        test_the_losses_of_several_outputs_are_summed,
        test_a_loss_of_ones_own_takes_labels_of_any_shape,
    )
    for name in names:
        other_process.call("jax", name)


def test_a_fixed_batch_is_filled_up_and_tells_how_many_samples_it_holds():
    model = k.Sequential([k.Input((4,), batch_size=4, name="x"), nn.Dense(3, name="head")])
    first, last = labelled(model, data(CLASSES), 32)
    assert (first.samples, last.samples) == (4, 2)
    assert last.inputs["x"].shape == (4, 4)
    assert last.labels[0].tolist() == [*CLASSES[4:], *CLASSES[4:]]


def test_a_limit_of_samples_is_kept():
    assert [batch.samples for batch in labelled(model_of(3), data(CLASSES), 4, limit=5)] == [4, 1]
