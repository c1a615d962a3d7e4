"""Multiply-adds against counts by hand."""

import pytest

from kcompress.errors import ModelError
from kcompress.model.cost import macs, macs_by_layer
from tests.models import BUILDERS, keras

k = keras()
nn = k.layers
IMAGE, SERIES = (8, 8, 4), (7, 5)
CASES = {
    "Dense": (lambda: nn.Dense(5), (4,), 4 * 5),
    "Dense on a series": (lambda: nn.Dense(5), (7, 4), 7 * 4 * 5),
    "EinsumDense": (lambda: nn.EinsumDense("abc,cde->abde", (None, 2, 3)), SERIES, 7 * 5 * 2 * 3),
    "EinsumDense ...": (lambda: nn.EinsumDense("...x,xy->...y", 3), SERIES, 7 * 5 * 3),
    "EinsumDense over two axes": (lambda: nn.EinsumDense("abc,bcd->ad", (3,)), SERIES, 7 * 5 * 3),
    "Conv1D": (lambda: nn.Conv1D(6, 3), (8, 4), 6 * 3 * 4 * 6),
    "Conv1D causal": (lambda: nn.Conv1D(6, 3, padding="causal"), (8, 4), 8 * 3 * 4 * 6),
    "Conv2D": (lambda: nn.Conv2D(6, 3), IMAGE, 6 * 6 * 3 * 3 * 4 * 6),
    "Conv2D with strides": (lambda: nn.Conv2D(6, 3, 2, "same"), IMAGE, 4 * 4 * 3 * 3 * 4 * 6),
    "Conv2D dilated": (lambda: nn.Conv2D(6, 3, dilation_rate=2), IMAGE, 4 * 4 * 3 * 3 * 4 * 6),
    "Conv2D in groups": (lambda: nn.Conv2D(6, 3, groups=2), IMAGE, 6 * 6 * 3 * 3 * 2 * 6),
    "Conv3D": (lambda: nn.Conv3D(3, 2), (4, 4, 4, 2), 3 * 3 * 3 * 2 * 2 * 2 * 2 * 3),
    "DepthwiseConv1D": (lambda: nn.DepthwiseConv1D(3), (8, 4), 6 * 3 * 4),
    "DepthwiseConv2D": (lambda: nn.DepthwiseConv2D(3, depth_multiplier=2), IMAGE, 6 * 6 * 3 * 3 * 4 * 2),
    "SeparableConv1D": (lambda: nn.SeparableConv1D(6, 3), (8, 4), 6 * (3 * 4 + 4 * 6)),
    "SeparableConv2D": (lambda: nn.SeparableConv2D(6, 3), IMAGE, 6 * 6 * (3 * 3 * 4 + 4 * 6)),
    "SeparableConv2D with strides": (lambda: nn.SeparableConv2D(6, 3, 2), IMAGE, 3 * 3 * (3 * 3 * 4 + 4 * 6)),
    "Conv1DTranspose": (lambda: nn.Conv1DTranspose(6, 3), (8, 4), 8 * 3 * 6 * 4),
    "Conv2DTranspose": (lambda: nn.Conv2DTranspose(6, 3, 2), IMAGE, 8 * 8 * 3 * 3 * 6 * 4),
    "Conv3DTranspose": (lambda: nn.Conv3DTranspose(3, 2), (4, 4, 4, 2), 4 * 4 * 4 * 2 * 2 * 2 * 3 * 2),
    "LSTM": (lambda: nn.LSTM(3), SERIES, 7 * (5 * 12 + 3 * 12)),
    "LSTM with states": (lambda: nn.LSTM(3, return_state=True), SERIES, 7 * (5 * 12 + 3 * 12)),
    "GRU": (lambda: nn.GRU(3), SERIES, 7 * (5 * 9 + 3 * 9)),
    "GRU unrolled": (lambda: nn.GRU(3, unroll=True), SERIES, 7 * (5 * 9 + 3 * 9)),
    "SimpleRNN": (lambda: nn.SimpleRNN(3, return_sequences=True), SERIES, 7 * (5 * 3 + 3 * 3)),
    "Bidirectional": (lambda: nn.Bidirectional(nn.SimpleRNN(3)), SERIES, 2 * 7 * (5 * 3 + 3 * 3)),
    "Stacked cells": (
        lambda: nn.RNN([nn.LSTMCell(3), nn.GRUCell(2)]),
        SERIES,
        7 * (5 * 12 + 3 * 12) + 7 * (3 * 6 + 2 * 6),
    ),
    "ConvLSTM2D": (lambda: nn.ConvLSTM2D(3, 3), (5, *IMAGE), 5 * 6 * 6 * (3 * 3 * 4 * 12 + 3 * 3 * 3 * 12)),
    "ConvLSTM2D with strides": (
        lambda: nn.ConvLSTM2D(3, 3, 2, "same", return_sequences=True),
        (5, *IMAGE),
        5 * 4 * 4 * (3 * 3 * 4 * 12 + 3 * 3 * 3 * 12),
    ),
    "TimeDistributed Dense": (lambda: nn.TimeDistributed(nn.Dense(3)), SERIES, 7 * 5 * 3),
    "TimeDistributed Conv2D": (lambda: nn.TimeDistributed(nn.Conv2D(6, 3)), (5, *IMAGE), 5 * 6 * 6 * 3 * 3 * 4 * 6),
    "TimeDistributed twice": (lambda: nn.TimeDistributed(nn.TimeDistributed(nn.Dense(3))), (2, 7, 5), 2 * 7 * 5 * 3),
    "TimeDistributed LSTM": (lambda: nn.TimeDistributed(nn.LSTM(3)), (2, *SERIES), 2 * 7 * (5 * 12 + 3 * 12)),
    "SpectralNormalization": (lambda: nn.SpectralNormalization(nn.Dense(3)), (4,), 4 * 3),
    "Embedding": (lambda: nn.Embedding(9, 3), (5,), 0),
    "ReLU": (nn.ReLU, (4,), 0),
}


@pytest.mark.parametrize("case", CASES)
def test_a_layer(case):
    build, shape, expected = CASES[case]
    assert macs(k.Sequential([k.Input(shape), build()])) == expected


@pytest.mark.parametrize("by_name", [False, True])
def test_multi_head_attention(by_name):
    query, value = k.Input((7, 8)), k.Input((4, 6))
    layer = nn.MultiHeadAttention(2, 3, value_dim=5, output_shape=9, name="a")
    model = k.Model([query, value], layer(value=value, query=query) if by_name else layer(query, value))
    assert macs_by_layer(model) == {
        "a/query": 7 * 8 * 2 * 3,
        "a/key": 4 * 6 * 2 * 3,
        "a/value": 4 * 6 * 2 * 5,
        "a/attention_output": 7 * 2 * 5 * 9,
        "a": 7 * 4 * 2 * (3 + 5),
    }


def test_grouped_query_attention():
    inputs = k.Input((7, 8))
    model = k.Model(inputs, nn.GroupQueryAttention(3, 4, 2, name="a")(inputs, inputs))
    assert macs_by_layer(model) == {
        "a/query": 7 * 8 * 4 * 3,
        "a/key": 7 * 8 * 2 * 3,
        "a/value": 7 * 8 * 2 * 3,
        "a/attention_output": 7 * 4 * 3 * 8,
        "a": 7 * 7 * 4 * (3 + 3),
    }


def test_dot_product_attention():
    query, value = k.Input((7, 8)), k.Input((4, 8))
    assert macs(k.Model([query, value], nn.Attention()([query, value]))) == 7 * 4 * (8 + 8)


def test_an_embedding_costs_only_in_reverse():
    inputs = k.Input((5,), dtype="int32")
    layer = nn.ReversibleEmbedding(9, 3)
    assert macs(k.Model(inputs, layer(layer(inputs), reverse=True))) == 5 * 3 * 9


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (lambda: nn.TimeDistributed(nn.Dense(3)), SERIES, 7 * 5 * 3),
        (lambda: nn.Conv2DTranspose(6, 3), IMAGE, 8 * 8 * 3 * 3 * 6 * 4),
        (lambda: nn.Dense(3), (4,), 4 * 3),
    ],
)
def test_a_tensor_given_by_name_counts_as_well(layer, shape, expected):
    inputs = k.Input(shape)
    assert macs(k.Model(inputs, layer()(inputs=inputs))) == expected


def test_a_layer_or_model_called_twice_counts_twice():
    inner = k.Sequential([k.Input((4,)), nn.Dense(4, name="d")], name="inner")
    shared = nn.Dense(4, name="shared")
    inputs = k.Input((4,))
    model = k.Model(inputs, inner(inner(shared(shared(inputs)))))
    assert macs_by_layer(model) == {"shared": 32, "inner/d": 32}


def test_a_shared_layer_costs_what_its_inputs_ask_for():
    shared = nn.Conv1D(6, 3, name="shared")
    short, long = k.Input((8, 4)), k.Input((20, 4))
    assert macs_by_layer(k.Model([short, long], [shared(short), shared(long)])) == {"shared": (6 + 18) * 3 * 4 * 6}


def test_a_model_per_time_step_counts_for_each():
    inner = k.Sequential([k.Input((5,)), nn.Dense(3, name="d")], name="inner")
    model = k.Sequential([k.Input(SERIES), nn.TimeDistributed(inner, name="each")])
    assert macs_by_layer(model) == {"each/inner/d": 7 * 5 * 3}


def test_a_fixed_batch_gives_the_same_figure_for_one_sample():
    inputs = k.Input((7, 5), batch_size=4)
    model = k.Model(inputs, nn.Dense(2)(nn.LSTM(3, stateful=True)(inputs)))
    assert macs(model) == 7 * (5 * 12 + 3 * 12) + 3 * 2


def test_what_derives_from_a_layer_of_keras_counts_as_that_layer():
    class Mine(nn.Conv2D):
        pass

    assert macs(k.Sequential([k.Input(IMAGE), Mine(6, 3)])) == 6 * 6 * 3 * 3 * 4 * 6


class ConvBlock2D(nn.Layer):
    """Its name begins and ends like that of a convolution, which it is not."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.conv = nn.Conv2D(6, 3, name="conv")

    def call(self, x):
        return self.conv(x)


def test_a_custom_layer_counts_through_the_layers_inside_it():
    model = k.Sequential([k.Input(IMAGE), ConvBlock2D(name="block")])
    assert macs_by_layer(model) == {"block/conv": 6 * 6 * 3 * 3 * 4 * 6}


class DenseCell(nn.Layer):
    """A recurrent cell made of a layer."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.state_size = self.output_size = units
        self.dense = nn.Dense(units)

    def build(self, shape):
        self.dense.build((None, shape[-1]))

    def call(self, x, states, training=False):
        state = self.dense(x) + states[0]
        return state, [state]


def test_a_layer_inside_a_cell_counts_once_per_step():
    assert macs(k.Sequential([k.Input(SERIES), nn.RNN(DenseCell(3))])) == 7 * 5 * 3


@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_a_model_that_keras_has_quantized_costs_as_much(mode):
    inputs = k.Input(SERIES)
    x = nn.MultiHeadAttention(2, 3)(inputs, inputs)
    model = k.Model(inputs, nn.Dense(4)(nn.Dense(6)(x)))
    before = macs(model)
    for layer in model._flatten_layers():
        if isinstance(layer, (nn.Dense, nn.EinsumDense)):
            layer.quantize(mode)
    assert macs(model) == before


def test_an_open_size_gives_no_figure():
    assert macs(k.Sequential([k.Input((None, 4)), nn.Dense(3)])) is None


@pytest.mark.parametrize("name", BUILDERS)
def test_counting_leaves_the_model_as_it_was(name):
    model = BUILDERS[name]()
    first = macs_by_layer(model)
    assert not [layer.name for layer in model._flatten_layers() if {"call", "quantized_call"} & vars(layer).keys()]
    assert macs_by_layer(model) == first


def test_a_layer_that_cannot_run_leaves_no_trace():
    class Fails(nn.Layer):
        def call(self, x):
            if not isinstance(x, k.KerasTensor) and getattr(self, "armed", False):
                raise RuntimeError("no")
            return x

    layer = Fails()
    model = k.Sequential([k.Input((4,)), nn.Dense(3), layer])
    layer.armed = True
    with pytest.raises(ModelError):
        macs(model)
    assert "call" not in vars(model.layers[0])


@pytest.mark.slow
def test_mobilenet_v2_costs_what_its_paper_says():
    """300 million in the paper's table 4; 300,774,272 exactly, summed over its layers."""
    assert macs(k.applications.MobileNetV2(weights=None)) == 300_774_272
