"""The table of rules: every layer of Keras has one or is known to pin, and what is not known pins by name.

Covers: channels/rules/visit.py.
"""

import keras as k  # the names in keras.layers
import numpy as np
import pytest

from kcompress.channels.channels import channels
from kcompress.channels.cut import cut
from kcompress.channels.rules import LAYERS, describes
from tests.channels.cutting import OUTPUT, proved
from tests.models import keras, seeded

keras()
nn, ops = k.layers, k.ops

PINNING = {
    # of data before it is a tensor of channels, or with tables of their own
    *("CategoryEncoding", "Discretization", "HashedCrossing", "Hashing", "IntegerLookup", "StringLookup"),
    *("MelSpectrogram", "Normalization", "Pipeline", "STFTSpectrogram", "TextVectorization", "MaxNumBoundingBoxes"),
    *("AugMix", "AutoContrast", "ContrastLimitedAdaptiveHistogramEqualization", "CutMix", "Equalization", "MixUp"),
    *("RandAugment", "RandomBrightness", "RandomColorDegeneration", "RandomColorJitter", "RandomContrast"),
    "RandomCrop",
    *("RandomElasticTransform", "RandomErasing", "RandomFlip", "RandomGaussianBlur", "RandomGrayscale", "RandomHue"),
    *("RandomInvert", "RandomPerspective", "RandomPosterization", "RandomRotation", "RandomSaturation"),
    *("RandomSharpness", "RandomShear", "RandomTranslation", "RandomZoom", "Solarization"),
    # of code that can't be seen
    *("FlaxLayer", "JaxLayer", "Lambda", "TFSMLayer", "TorchModuleWrapper"),
    # of all channels at once: what is masked depends on every one of them
    "Masking",
}
NO_LAYERS_OF_THEIR_OWN = {
    *("Layer", "Wrapper", "InputLayer", "InputSpec", "Input"),
    *("GRUCell", "LSTMCell", "SimpleRNNCell", "StackedRNNCells"),  # told of the layer that they are in
}


def test_every_layer_of_keras_has_a_rule_or_is_listed_as_one_that_pins():
    classes = {getattr(nn, name).__name__ for name in dir(nn) if name[0].isupper()}
    assert len(classes) > 120
    assert classes - set(LAYERS) == PINNING | NO_LAYERS_OF_THEIR_OWN
    beyond = {"CustomScaleLayer", "LayerScale", "StochasticDepth", "Functional", "Sequential"}
    assert set(LAYERS) - classes == beyond  # of keras.applications, and models


class Doubled(nn.Layer):
    def call(self, x):
        return 2 * x


class Around(nn.Layer):
    """A custom layer with a layer of Keras's own inside that is used elsewhere too."""

    def __init__(self, inner, **settings):
        super().__init__(**settings)
        self.inner = inner

    def call(self, x):
        return self.inner(x)

    def get_config(self):
        return {**super().get_config(), "inner": k.saving.serialize_keras_object(self.inner)}

    @classmethod
    def from_config(cls, config):
        return cls(k.saving.deserialize_keras_object(config.pop("inner")), **config)


class Block(k.Model):
    def __init__(self, **settings):
        super().__init__(**settings)
        self.inner = nn.Dense(7, name="inner")

    def call(self, x):
        return self.inner(x)

    def get_config(self):
        return {"name": self.name}


UNKNOWN = {
    "a custom layer": (lambda: Doubled(name="odd"), "odd, a custom layer, uses it"),
    "a subclassed model": (lambda: Block(name="odd"), "odd, a custom layer, uses it"),
    "a lambda": (lambda: nn.Lambda(lambda x: 2 * x, name="odd"), "odd, of type Lambda, uses it"),
    "masking": (lambda: nn.Masking(name="odd"), "odd, of type Masking, uses it"),
    "an array for each channel": (lambda: nn.Normalization(name="odd"), "odd, of type Normalization, uses it"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_not_known_pins_what_it_touches_by_name_and_the_rest_is_cut(name):
    layer, why = UNKNOWN[name]
    model = k.Sequential([k.Input((4, 6)), nn.Dense(8), nn.Dense(5), layer(), nn.Dense(9), nn.GRU(3)])
    proved(model, 8 + 9, {OUTPUT: 3, why: 5})
    assert not describes(layer())


def test_what_a_custom_layer_does_inside_is_not_known_either():
    """A layer that it shares with the model around it stays as it is, though its other calls are known."""
    x, shared = k.Input((6,)), nn.Dense(6, name="shared")
    y = nn.Dense(5)(shared(nn.Dense(6)(x)))
    model = k.Model(x, nn.Dense(3)(nn.Concatenate()([y, Around(shared, name="odd")(x)])))
    found = channels(seeded(model))
    why = {found.units.pinned.get(int(u)) for u in found.units.of(found.sources[1].ids)}
    assert found.sources[1].layer == "shared" and why == {"odd, a custom layer, uses it"}


def test_a_custom_layer_that_keeps_its_channels_says_nothing_of_those_after_it():
    model = k.Sequential([k.Input((6,)), Doubled(), nn.Dense(8), nn.Dense(3)])
    proved(model, 8, {OUTPUT: 3})


def test_nothing_is_pinned_by_what_the_outputs_do_not_need():
    x = k.Input((6,))
    y = nn.Dense(8)(x)
    Doubled()(y)
    proved(k.Model(x, nn.Dense(3)(y)), 8, {OUTPUT: 3})


def test_a_frozen_layer_is_cut_and_stays_frozen():
    model = k.Sequential([k.Input((6,)), nn.Dense(8, trainable=False), nn.BatchNormalization(), nn.Dense(3)])
    model.layers[1].trainable = False
    found = proved(model, 8, {OUTPUT: 3})
    dropped = np.arange(found.units.count) < 2
    assert [layer.trainable for layer in cut(model, found, dropped).layers] == [False, False, True]
