"""What models of Keras's own layers name is allowed, whatever they are made of; the rest is tests/hostile.

Covers: formats/allowed.py, formats/trusted.py.
"""

import inspect
import json
from pathlib import Path

import pytest

from kcompress.errors import ModelError, UnsafeError
from kcompress.formats.allowed import RUNS_CODE, keras2, keras3
from kcompress.formats.gate import MOST_BYTES, NAMES_FILES, ForeignError, check_document, is_own, parsed
from kcompress.formats.trusted import LAMBDA, Trusted, trusting
from tests.models import BUILDERS, keras
from tests.passes.models import everything
from tests.sweep import some

k = keras()
PATH = Path("m.keras")


def document(model):
    return json.loads(json.dumps(k.saving.serialize_keras_object(model)))


@pytest.mark.parametrize("build", BUILDERS.values())
def test_models_of_keras_s_layers_are_allowed(build):
    model = build()
    model.compile(k.optimizers.Adam(k.optimizers.schedules.CosineDecay(0.1, 10)), "mse", metrics=["mae"])
    check_document(PATH, document(model), keras3(), Trusted())


def test_every_type_of_layer_and_operation_is_allowed_but_those_of_others():
    with pytest.raises(ForeignError, match=r"'custom' \(Projection\) comes from"):
        check_document(PATH, document(everything()), keras3(), Trusted())
    check_document(PATH, document(everything()), keras3(), Trusted.of(["tests.passes.models"]))


ARCHITECTURES = ["MobileNetV3Small", "EfficientNetV2B0", "ConvNeXtTiny", "InceptionResNetV2", "NASNetMobile"]


@pytest.mark.slow
@pytest.mark.parametrize("name", some(ARCHITECTURES, lambda name: name in ("MobileNetV3Small", "ConvNeXtTiny")))
def test_real_architectures_are_allowed(name):
    check_document(PATH, document(getattr(k.applications, name)(weights=None)), keras3(), Trusted())


def test_what_runs_code_is_not_in_the_list_and_all_other_public_layers_are():
    public = {name for name, item in vars(k.layers).items() if inspect.isclass(item) and issubclass(item, k.Layer)}
    assert public - set(keras3().classes) == set(RUNS_CODE)
    assert not {"get", "deserialize", "serialize"} & set(keras3().functions)
    pytest.importorskip("tf_keras")
    assert not {"Lambda", "SlicingOpLambda", "TensorFlowOpLayer", "ClassMethod"} & set(keras2().classes)


def test_no_setting_of_a_layer_is_a_path_but_those_that_the_gate_looks_at():
    """A new version of Keras that has others fails here."""
    words, found = ("file", "path", "url", "dir", "vocab", "uri"), set()
    for name in keras3().classes:
        item = getattr(k.layers, name, None)
        if inspect.isclass(item):
            found |= {each for each in inspect.signature(item.__init__).parameters if any(w in each for w in words)}
    assert found == {"vocabulary", "vocabulary_dtype"}
    assert "vocabulary" in NAMES_FILES


def test_a_loss_of_others_is_no_code():
    foreign = {"loss": {"class_name": "function", "module": "builtins", "config": "mine", "registered_name": "mine"}}
    assert not is_own(PATH, foreign, keras3())
    assert is_own(PATH, {"loss": "mse", "optimizer": document(k.optimizers.SGD())}, keras3())


def test_documents_have_limits():
    deep = "[" * 300 + "]" * 300
    with pytest.raises(ModelError, match=r"m.keras: its config has lists or mappings more than 200 deep"):
        check_document(PATH, json.loads(deep), keras3(), Trusted())
    with pytest.raises(ModelError, match=r"config\.json has lists or mappings more than"):
        parsed(PATH, "[" * 100_000, "config.json")
    with pytest.raises(ModelError, match=r"config.json takes 16,000,001 bytes, at most 16,000,000 are read"):
        parsed(PATH, b"1" * (MOST_BYTES + 1), "config.json")
    for broken in (b"{", b"\xff\xfe", b"[1e5,", b"1" * 5000):
        with pytest.raises(ModelError, match=r"config\.json is no JSON"):
            parsed(PATH, broken, "config.json")


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module that defines a layer, and holds a function of another one."""
    (tmp_path / "mine.py").write_text(
        "from os import system\nimport keras\n\n"
        "class Layer(keras.layers.Layer):\n    def call(self, x):\n        return x\n\n"
        "@keras.saving.register_keras_serializable('pack')\ndef scaled(x):\n    return x\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return "mine"


def test_a_trusted_module_opens_what_it_defines_and_nothing_else(module):
    trusted = Trusted.of([module])
    layer = {"class_name": "Layer", "module": "mine", "registered_name": "Layer", "config": {}}
    scaled = {"class_name": "function", "module": "mine", "config": "scaled", "registered_name": "pack>scaled"}
    check_document(PATH, [layer, scaled], keras3(), trusted)
    assert set(trusted.objects) == {"Layer", "scaled"}
    system = {"class_name": "function", "module": "builtins", "config": "system", "registered_name": "system"}
    for other in (system, {**layer, "module": "other", "class_name": "Other", "registered_name": None}):
        with pytest.raises(UnsafeError):
            check_document(PATH, other, keras3(), trusted)
    with pytest.raises(UnsafeError, match="runs code from the file"):
        check_document(PATH, {"class_name": "__lambda__", "config": {}}, keras3(), trusted)
    check_document(PATH, {"class_name": "__lambda__", "config": {}}, keras3(), Trusted.of([LAMBDA]))


def test_trusted_classes_are_built(module):
    layer = {"class_name": "Layer", "module": "mine", "registered_name": "Layer", "config": {"name": "own"}}
    with trusting([module]):
        assert k.saving.deserialize_keras_object(layer).name == "own"
    with pytest.raises(TypeError):
        k.saving.deserialize_keras_object(layer)
