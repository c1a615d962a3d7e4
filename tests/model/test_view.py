"""Every layer type's kernels are found with the right axes, under unique names, through every kind of nesting."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcompress.model.view import matches, nodes, nonzero, parameters
from tests.models import BUILDERS, dense, keras, two_in_two_out

k = keras()
nn = k.layers
IMAGE, SERIES, VOLUME = (8, 8, 4), (6, 4), (4, 4, 4, 2)
CONV, TRANSPOSED, DEPTHWISE, MATRIX = ((-2,), (-1,)), ((-1,), (-2,)), ((), (-2, -1)), ((0,), (1,))
SEPARABLE = {"depthwise_kernel": DEPTHWISE, "pointwise_kernel": CONV}
RECURRENT = {"kernel": MATRIX, "recurrent_kernel": MATRIX}
LAYERS = {
    "Dense": (lambda: nn.Dense(3), (4,), {"kernel": MATRIX}),
    "EinsumDense": (lambda: nn.EinsumDense("abc,cde->abde", (None, 2, 3)), SERIES, {"kernel": ((0,), (1, 2))}),
    "EinsumDense ...": (lambda: nn.EinsumDense("...x,xy->...y", 3), SERIES, {"kernel": MATRIX}),
    "EinsumDense merging": (lambda: nn.EinsumDense("abc,bcd->ad", (3,)), SERIES, {"kernel": ((0, 1), (2,))}),
    "Conv1D": (lambda: nn.Conv1D(3, 2), SERIES, {"kernel": CONV}),
    "Conv2D": (lambda: nn.Conv2D(3, 2), IMAGE, {"kernel": CONV}),
    "Conv3D": (lambda: nn.Conv3D(3, 2), VOLUME, {"kernel": CONV}),
    "Conv1DTranspose": (lambda: nn.Conv1DTranspose(3, 2), SERIES, {"kernel": TRANSPOSED}),
    "Conv2DTranspose": (lambda: nn.Conv2DTranspose(3, 2), IMAGE, {"kernel": TRANSPOSED}),
    "Conv3DTranspose": (lambda: nn.Conv3DTranspose(3, 2), VOLUME, {"kernel": TRANSPOSED}),
    "DepthwiseConv1D": (lambda: nn.DepthwiseConv1D(2), SERIES, {"kernel": DEPTHWISE}),
    "DepthwiseConv2D": (lambda: nn.DepthwiseConv2D(2), IMAGE, {"kernel": DEPTHWISE}),
    "SeparableConv1D": (lambda: nn.SeparableConv1D(3, 2), SERIES, SEPARABLE),
    "SeparableConv2D": (lambda: nn.SeparableConv2D(3, 2), IMAGE, SEPARABLE),
    "Embedding": (lambda: nn.Embedding(9, 3), (5,), {"embeddings": ((), (1,))}),
    "LSTM": (lambda: nn.LSTM(3), SERIES, RECURRENT),
    "GRU": (lambda: nn.GRU(3), SERIES, RECURRENT),
    "SimpleRNN": (lambda: nn.SimpleRNN(3), SERIES, RECURRENT),
    "ConvLSTM2D": (lambda: nn.ConvLSTM2D(3, 2), (5, *IMAGE), {"kernel": CONV, "recurrent_kernel": CONV}),
    "TimeDistributed": (lambda: nn.TimeDistributed(nn.Dense(3)), SERIES, {"kernel": MATRIX}),
    "SpectralNormalization": (lambda: nn.SpectralNormalization(nn.Dense(3)), (4,), {"kernel": MATRIX}),
    "BatchNormalization": (nn.BatchNormalization, (4,), {}),
    "PReLU": (nn.PReLU, (4,), {}),
}


def layer_named(model, name):
    return next(node for node in nodes(model) if node.name == name)


@pytest.mark.parametrize("kind", LAYERS)
def test_kernels_and_their_axes(kind):
    build, shape, expected = LAYERS[kind]
    model = k.Sequential([k.Input(shape), build()])
    found = {w.name: (w.axes.inputs, w.axes.outputs) for node in nodes(model) for w in node.kernels}
    assert found == expected


@pytest.mark.parametrize("kind", LAYERS)
def test_axes_have_the_sizes_of_what_they_stand_for(kind):
    """As many outputs as a bias has entries, where there is one per output."""
    build, shape, _ = LAYERS[kind]
    for node in nodes(k.Sequential([k.Input(shape), build()])):
        bias = [w for w in node.weights if w.role == "bias"]
        for kernel in node.kernels if bias and "depthwise_kernel" not in [w.name for w in node.kernels] else ():
            outputs = np.prod([kernel.variable.shape[axis] for axis in kernel.axes.outputs])
            assert outputs == bias[0].variable.shape[-1] or outputs == np.prod(bias[0].variable.shape)


@pytest.mark.parametrize(
    "attention", [lambda: nn.MultiHeadAttention(2, 3, name="a"), lambda: nn.GroupQueryAttention(3, 2, 1, name="a")]
)
def test_attention_has_its_four_projections(attention):
    inputs = k.Input(SERIES)
    found = {node.name: node.kernels for node in nodes(k.Model(inputs, attention()(inputs, inputs))) if node.kernels}
    assert set(found) == {"a/query", "a/key", "a/value", "a/attention_output"}
    for name, (kernel,) in found.items():
        assert kernel.axes.inputs == ((0, 1) if name == "a/attention_output" else (0,))
        assert kernel.axes.outputs == ((2,) if name == "a/attention_output" else (1, 2))


def test_an_embedding_used_in_reverse_has_both_its_kernels():
    inputs = k.Input((5,), dtype="int32")
    layer = nn.ReversibleEmbedding(9, 3, tie_weights=False, name="e")
    model = k.Model(inputs, layer(layer(inputs), reverse=True))
    found = {w.name: (w.axes.inputs, w.axes.outputs) for w in layer_named(model, "e").kernels}
    assert found == {"embeddings": ((), (1,)), "reverse_embeddings": MATRIX}


@pytest.mark.parametrize("name", BUILDERS)
def test_every_variable_belongs_to_exactly_one_uniquely_named_layer(name):
    model = BUILDERS[name]()
    found = nodes(model)
    names = [node.name for node in found]
    assert len(names) == len(set(names))
    variables = [id(w.variable) for node in found for w in node.weights]
    assert sorted(variables) == sorted(map(id, model.weights))
    qualified = [node.qualified(w) for node in found for w in node.weights]
    assert len(qualified) == len(set(qualified))


def test_names_are_qualified_through_models_wrappers_and_cells():
    assert {"shared", "inner", "inner/shared", "inner/out"} <= {node.name for node in nodes(two_in_two_out())}
    series = {node.name for node in nodes(BUILDERS["recurrent"]())}
    assert {"both/forward_lstm/lstm_cell", "attention/query", "gru/gru_cell"} <= series


def test_a_name_leads_from_the_model_to_the_layer():
    model = two_in_two_out()
    for node in nodes(model):
        layer = model
        for part in node.name.split("/"):
            layer = layer.get_layer(part)
        assert layer is node.layer


def test_both_directions_and_time_steps_are_there():
    layers = [
        k.Input((5, *IMAGE)),
        nn.TimeDistributed(nn.Conv2D(2, 3, name="conv"), name="each"),
        nn.TimeDistributed(nn.Flatten()),
        nn.Bidirectional(nn.LSTM(3, name="lstm"), name="both"),
    ]
    kernels = [node.qualified(w) for node in nodes(k.Sequential(layers)) for w in node.kernels]
    assert kernels == [
        "each/conv/kernel",
        "both/forward_lstm/lstm_cell/kernel",
        "both/forward_lstm/lstm_cell/recurrent_kernel",
        "both/backward_lstm/lstm_cell/kernel",
        "both/backward_lstm/lstm_cell/recurrent_kernel",
    ]


def test_cells_in_a_stack_have_names_of_their_own():
    cells = [nn.LSTMCell(3, name="cell"), nn.GRUCell(2, name="cell")]
    model = k.Sequential([k.Input(SERIES), nn.RNN(nn.StackedRNNCells(cells, name="stack"), name="r")])
    assert [node.name for node in nodes(model) if node.kernels] == ["r/stack/cell", "r/stack/cell#2"]


def test_a_shared_layer_appears_once_under_its_first_path():
    shared = nn.Dense(4, name="shared")
    inner = k.Sequential([k.Input((4,)), shared], name="inner")
    inputs = k.Input((4,), name="x")
    model = k.Model(inputs, inner(shared(inner(inputs))))
    assert [node.name for node in nodes(model)] == ["x", "inner", "inner/shared"]


class Tied(nn.Layer):
    """Uses the kernel of another layer, and has weights of its own that share a name."""

    def __init__(self, other, **kwargs):
        super().__init__(**kwargs)
        self.other_kernel = other.kernel

    def build(self, shape):
        self.first = self.add_weight(shape=(4, 2), name="w")
        self.second = self.add_weight(shape=(2,), name="w")
        self.state = self.add_weight(shape=(2, 2), name="state", trainable=False)

    def call(self, x):
        return x @ k.ops.transpose(self.other_kernel) @ self.first + self.second


def tied():
    inputs = k.Input((4,))
    first = nn.Dense(3, name="first")
    x = first(inputs)
    return k.Model(inputs, Tied(first, name="tied")(x))


def test_a_variable_of_two_layers_belongs_to_the_first():
    variables = [id(w.variable) for node in nodes(tied()) for w in node.weights]
    assert len(variables) == len(set(variables)) == len(tied().weights)
    assert [w.name for w in layer_named(tied(), "first").weights] == ["kernel", "bias"]


def test_a_custom_layer_has_no_kernels_but_uniquely_named_weights():
    node = layer_named(tied(), "tied")
    assert node.is_custom
    assert node.kernels == ()
    assert [(w.name, w.role, w.learned) for w in node.weights] == [
        ("w", "other", True),
        ("w#2", "other", True),
        ("state", "other", False),
    ]


def test_a_subclass_of_a_keras_layer_is_custom():
    class Mine(nn.Dense):
        pass

    (node,) = nodes(k.Sequential([k.Input((4,)), Mine(3)]))
    assert node.is_custom
    assert node.kernels == ()


@pytest.mark.parametrize("frozen", [False, True])
def test_roles_are_the_same_whether_a_layer_is_frozen_or_not(frozen):
    model = k.Sequential([k.Input((4,)), nn.Dense(3, name="d"), nn.BatchNormalization(name="bn")])
    for layer in model.layers:
        layer.trainable = not frozen
    assert {node.qualified(w): (w.role, w.learned) for node in nodes(model) for w in node.weights} == {
        "d/kernel": ("kernel", True),
        "d/bias": ("bias", True),
        "bn/gamma": ("normalization", True),
        "bn/beta": ("normalization", True),
        "bn/moving_mean": ("other", False),
        "bn/moving_variance": ("other", False),
    }


@pytest.mark.parametrize(
    "layer", [nn.BatchNormalization, nn.LayerNormalization, nn.RMSNormalization, lambda: nn.GroupNormalization(2)]
)
def test_scales_and_offsets_of_every_normalization_have_that_role(layer):
    (node,) = nodes(k.Sequential([k.Input((4,)), layer()]))
    assert {w.role for w in node.weights if w.learned} == {"normalization"}


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [("block1*", True), ("block1/conv", True), ("block1", True), ("*conv", True), ("conv", False), ("block2*", False)],
)
def test_patterns_fit_a_name_or_what_contains_it(pattern, fits):
    assert matches("block1/conv", pattern) is fits


names = st.lists(st.text("abc_1", min_size=1, max_size=4), min_size=1, max_size=4).map("/".join)


@given(names, st.data())
def test_every_container_and_star_fits_and_nothing_longer_does(name, data):
    parts = name.split("/")
    above = "/".join(parts[: data.draw(st.integers(1, len(parts)))])
    assert matches(name, above)
    assert matches(name, "*")
    assert matches(name, above[:1] + "*")
    assert not matches(name, name + "1")
    assert not matches(name, "x" + name)


def test_weights_and_those_that_are_not_zero_are_counted():
    model = dense()
    assert parameters(model) == nonzero(model) == 8 * 16 + 16 + 16 * 3 + 3
    kernel = model.layers[0].kernel
    kernel.assign(np.where(np.arange(16) < 4, 0, kernel.numpy()))
    assert parameters(model) - nonzero(model) == 8 * 4
