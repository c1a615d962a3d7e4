"""No code from a model file runs: what names anything but Keras's own classes is refused before anything is built.

One table for every way that a file could try, and every published advisory of Keras. Each command runs under a hook
that sees programs started, connections and files outside of the folder; and nothing in the folder changes.
"""

import json
from pathlib import Path

import pytest

from tests.hostile.files import (
    LAMBDA,
    archive,
    dense,
    edited,
    entry,
    function,
    h5,
    lambda_of_keras2,
    layers,
    members,
    sequential,
    with_layer,
    with_setting,
)
from tests.hostile.watch import VARIABLE
from tests.shell import assert_refused, kcompress

FOREIGN = "which is not part of Keras"
QUANTIZER = {
    "class_name": "QuantizeLayer",
    "config": {"name": "q", "quantizer": lambda_of_keras2(), "dtype": "float32", "trainable": True},
}


def wrapped(kind, **config):
    return {"class_name": kind, "config": {"name": "wrapped", "layer": dense(), **config}}


KERAS = {  # what is done to a model's config, and words of the refusal
    # CVE-2024-3660, CVE-2025-9905: bytecode in a Lambda layer
    "Lambda": (with_layer(entry("keras.layers", "Lambda", name="evil", function=LAMBDA)), "runs code from the file"),
    "lambda as an activation": (with_setting("activation", LAMBDA), "runs code from the file"),
    "lambda as an initializer": (with_setting("kernel_initializer", LAMBDA), "runs code from the file"),
    # CVE-2025-1550: any function of any module
    "function of os": (with_setting("activation", function("os", "system")), FOREIGN),
    "function of builtins": (with_setting("activation", function("builtins", "exec")), FOREIGN),
    "class of subprocess": (with_layer(entry("subprocess", "Popen", args=["touch", "canary.txt"])), FOREIGN),
    # CVE-2025-8747: functions of Keras that reach out
    # CVE-2024-55459, CVE-2025-12060 and GHSA-hqp4-2352-xf5r: get_file, which writes outside of its folder
    "keras.utils.get_file": (with_setting("activation", function("keras.utils", "get_file")), FOREIGN),
    "keras.utils.plot_model": (with_setting("activation", function("keras.utils", "plot_model")), FOREIGN),
    "keras.utils.save_img": (with_setting("activation", function("keras.utils", "save_img")), FOREIGN),
    "keras.models.load_model": (with_setting("activation", function("keras.models", "load_model")), FOREIGN),
    "keras.losses.deserialize": (with_setting("activation", function("keras.losses", "deserialize")), FOREIGN),
    # CVE-2025-9906: safe mode switched off by the file
    "enable_unsafe_deserialization": (
        with_setting("activation", function("keras.config", "enable_unsafe_deserialization")),
        FOREIGN,
    ),
    # CVE-2025-49655, CVE-2026-1462: layers that hold code or fetch a model
    "TorchModuleWrapper": (with_layer(entry("keras.layers", "TorchModuleWrapper", module="x")), "runs code"),
    "TFSMLayer": (with_layer(entry("keras.layers", "TFSMLayer", name="t", filepath="/x")), "runs code"),
    "JaxLayer": (with_layer(entry("keras.layers", "JaxLayer", name="j", call_fn=LAMBDA)), "runs code"),
    "FlaxLayer": (with_layer(entry("keras.layers", "FlaxLayer", name="f", module="x")), "runs code"),
    "Lambda by its module": (
        with_layer(entry("keras.src.layers.core.lambda_layer", "Lambda", name="evil", function=LAMBDA)),
        "runs code from the file",
    ),
    "a name with a dot": (with_layer(entry("keras", "layers.Dense", name="evil", units=2)), FOREIGN),
    # CVE-2025-12058: vocabularies at paths and addresses
    "StringLookup of a path": (with_layer(entry("keras.layers", "StringLookup", vocabulary="/etc/passwd")), "another"),
    "IntegerLookup of a path": (with_layer(entry("keras.layers", "IntegerLookup", vocabulary="v.txt")), "another"),
    "TextVectorization of an address": (
        with_layer(entry("keras.layers", "TextVectorization", vocabulary="http://127.0.0.1/v")),
        "another",
    ),
    # CVE-2026-12479: a name becomes a path where a layer's files are saved
    "a name that is a path": (with_setting("name", "../../canary"), "names a file"),
    "an address in any setting": (with_setting("name", "gs://bucket/file"), "names a file"),
    "callback": (with_layer(entry("keras.callbacks", "CSVLogger", filename="canary.txt")), FOREIGN),
    "RemoteMonitor": (with_layer(entry("keras.callbacks", "RemoteMonitor", root="http://127.0.0.1")), FOREIGN),
    "export": (with_layer(entry("keras.export", "ExportArchive")), FOREIGN),
    "file editor": (with_layer(entry("keras.saving", "KerasFileEditor", filepath="m.keras")), FOREIGN),
    "class that is no layer": (with_layer(entry("keras.utils", "Progbar", target=1)), FOREIGN),
    "module of Keras that has no such class": (with_layer(entry("keras.src.utils.io_utils", "Dense")), FOREIGN),
    "another name registered": (with_layer(entry("keras.layers", "Dense", "evil>Layer", units=2)), FOREIGN),
    "another function registered": (with_setting("activation", function("keras.activations", "relu", "exec")), FOREIGN),
    "type of TensorFlow": (
        with_setting("activation", {**entry("tensorflow.python.framework", "__typespec__"), "spec_name": "x"}),
        FOREIGN,
    ),
    "class name that is none": (with_layer({"class_name": ["Lambda"], "config": {}}), "no name"),
    "function name that is none": (with_setting("activation", function("builtins", ["exec"])), "no name of a function"),
    "within a wrapper": (
        with_layer(entry("keras.layers", "TimeDistributed", layer=entry("keras.layers", "Lambda", function=LAMBDA))),
        "runs code from the file",
    ),
    "within a nested model": (
        with_layer(entry("keras", "Sequential", name="n", layers=[entry("keras.layers", "Lambda", function=LAMBDA)])),
        "runs code from the file",
    ),
    "in the compile state": (
        lambda config: config["compile_config"].update(loss=LAMBDA),
        "runs code from the file",
    ),
    "in the compile state, behind a custom loss": (
        lambda config: config["compile_config"].update(loss=function("builtins", "mine"), metrics=[[LAMBDA]]),
        "runs code from the file",
    ),
    "in the compile state of a layer": (
        lambda config: layers(config)[1].update(compile_config={"loss": LAMBDA}),
        "runs code from the file",
    ),
    "in the build config": (
        lambda config: layers(config)[1]["build_config"].update(x=LAMBDA),
        "runs code from the file",
    ),
    "where nothing is read": (lambda config: config.update(note=[{"deep": LAMBDA}]), "runs code from the file"),
}
FILES = {  # a file, made in a folder, and words of the refusal
    **{f"{name}, in .keras": (lambda f, c=change: edited(f / "m.keras", c), w) for name, (change, w) in KERAS.items()},
    "in the metadata": (
        lambda f: edited(f / "m.keras", lambda m: m.update(note=LAMBDA), "metadata.json"),
        "runs code from the file",
    ),
    "a member outside the archive": (lambda f: archive(f / "m.keras", {**members(), "../x": b""}), "outside"),
    # .h5: what stock Keras 3 reads, and what Keras 2 does
    "Lambda of Keras 2": (lambda f: h5(f / "m.h5", sequential(lambda_of_keras2())), "runs code from the file"),
    "Lambda of Keras 3": (
        lambda f: h5(f / "m.h5", sequential(entry("keras.layers", "Lambda", name="evil", function=LAMBDA))),
        "runs code from the file",
    ),
    "Lambda as a wrapped layer": (
        lambda f: h5(f / "m.h5", sequential(wrapped("TimeDistributed", layer=lambda_of_keras2()))),
        "runs code from the file",
    ),
    "code in the training config": (
        lambda f: h5(f / "m.h5", sequential(dense()), {"loss": LAMBDA, "optimizer_config": {}}),
        "runs code from the file",
    ),
    "code in a quantizer that is taken off": (
        lambda f: h5(f / "m.h5", sequential(QUANTIZER)),
        "runs code from the file",
    ),
    "code in a quantize config": (
        lambda f: h5(f / "m.h5", sequential(wrapped("QuantizeWrapperV2", quantize_config=lambda_of_keras2()))),
        "runs code from the file",
    ),
    "code in a schedule of pruning": (
        lambda f: h5(f / "m.h5", sequential(wrapped("PruneLowMagnitude", pruning_schedule=lambda_of_keras2()))),
        "runs code from the file",
    ),
    "class of another module, wrapped": (
        lambda f: h5(f / "m.h5", sequential(wrapped("PruneLowMagnitude", pruning_schedule=entry("os", "system")))),
        FOREIGN,
    ),
    "operator that writes": (
        lambda f: h5(f / "m.h5", sequential({"class_name": "TFOpLambda", "config": {"function": "io.write_file"}})),
        FOREIGN,
    ),
    "operator in a node": (
        lambda f: h5(f / "m.h5", sequential({"class_name": "TensorFlowOpLayer", "config": {"node_def": "ReadFile"}})),
        FOREIGN,
    ),
    "layer of Keras 2 that builds any class": (
        lambda f: h5(f / "m.h5", sequential({"class_name": "ClassMethod", "config": {"cls_ref": "os"}})),
        FOREIGN,
    ),
    "function where a class is": (
        lambda f: h5(f / "m.h5", sequential({"class_name": "deserialize", "config": {"config": {}}})),
        FOREIGN,
    ),
    "class of a module, in .h5": (lambda f: h5(f / "m.h5", sequential(entry("subprocess", "Popen"))), FOREIGN),
    "vocabulary, in .h5": (
        lambda f: h5(f / "m.h5", sequential({"class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}})),
        "another file",
    ),
}
COMMANDS = {"inspect": ["inspect"], "compress": ["compress", "o.keras"], "compare": ["compare"]}


def listing(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def run(folder: Path, *arguments: object, code: int, words: tuple[str, ...]) -> None:
    """A command on hostile files: refused on one line, nothing done besides."""
    place, log = folder / "place", folder / "log"
    (folder / "tmp").mkdir(exist_ok=True)
    before = listing(place)
    done = kcompress(*arguments, cwd=place, **{VARIABLE: str(log)})
    assert_refused(done, code, *words)
    assert log.read_text() == ""
    assert listing(place) == before


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_would_do_more_than_be_a_model_is_refused(case, place):
    make, words = FILES[case]
    path = make(place)
    run(place.parent, "inspect", path.name, code=3, words=(path.name, words))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_it(command, place):
    path = edited(place / "m.keras", KERAS["lambda as an activation"][0])
    name, *others = COMMANDS[command]
    run(place.parent, name, path.name, *others, code=3, words=("runs code from the file",))


def test_what_is_refused_runs_code_where_it_is_trusted(place):
    """So the file is one that would have, and the hook one that would have seen it."""
    edited(place / "m.keras", KERAS["Lambda"][0])
    log = place.parent / "log"
    kcompress("inspect", "m.keras", "--trust", "keras.layers.Lambda", cwd=place, **{VARIABLE: str(log)})
    assert (place / "canary.txt").exists()
    assert "marshal.loads" in log.read_text()


def test_a_custom_loss_is_no_code_and_the_model_is_read_without_it(place):
    edited(place / "m.keras", lambda config: config["compile_config"].update(loss=function("builtins", "my_loss")))
    done = kcompress("inspect", "m.keras", "--json", cwd=place)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["parameters"] == 23
