"""The backend is settled before Keras is imported, and nothing that libraries print at their start gets through."""

import os
import subprocess
import sys

import pytest

from kcompress import backend
from kcompress.errors import MissingExtraError, UsageError
from tests.sweep import some


@pytest.fixture
def fresh(monkeypatch):
    """As before Keras was imported, with TensorFlow, JAX and PyTorch installed; returns a way to say otherwise."""
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setenv("KERAS_BACKEND", "")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")

    def only(*modules):
        monkeypatch.setattr(backend, "installed", lambda module: module in modules)

    only(*backend.BACKENDS)
    return only


@pytest.mark.parametrize(
    ("present", "expected"),
    [(("tensorflow", "jax", "torch"), "tensorflow"), (("torch", "jax"), "jax"), (("torch",), "torch")],
)
def test_without_a_choice_the_first_that_is_installed_is_taken(present, expected, fresh):
    fresh(*present)
    assert backend.select() == expected
    assert os.environ["KERAS_BACKEND"] == expected


def test_the_callers_choice_beats_the_environment_which_beats_the_order(fresh, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert backend.select() == "torch"
    assert backend.select("jax") == "jax"
    assert os.environ["KERAS_BACKEND"] == "jax"


def test_an_unknown_name_says_what_is_allowed(fresh):
    with pytest.raises(UsageError) as caught:
        backend.select("tenserflow")
    assert str(caught.value) == "backend=tenserflow is unknown; allowed: tensorflow, jax, torch"
    assert os.environ["KERAS_BACKEND"] == ""


@pytest.mark.parametrize("name", ["tensorflow", "jax"])
def test_a_backend_that_is_not_installed_names_its_extra(name, fresh):
    fresh()
    with pytest.raises(MissingExtraError, match=rf"pip install 'kcompress\[{name}\]'"):
        backend.select(name)


def test_pytorch_has_no_extra_to_name(fresh):
    fresh("tensorflow")
    with pytest.raises(UsageError, match=r"pip install torch$") as caught:
        backend.select("torch")
    assert "kcompress[" not in str(caught.value)


def test_none_at_all_names_an_extra(fresh):
    fresh()
    with pytest.raises(MissingExtraError, match=r"kcompress\[tensorflow\]"):
        backend.select()
    assert os.environ["KERAS_BACKEND"] == ""


def test_a_running_keras_stays_on_its_backend():
    running = backend.load().backend.backend()
    assert backend.select() == backend.select(running) == running
    other = next(name for name in backend.BACKENDS if name != running)
    with pytest.raises(UsageError, match=f"backend={other}, but Keras already runs on {running}"):
        backend.select(other)


def test_installed_imports_nothing():
    program = "import sys; from kcompress.backend import installed; print(installed('keras'), 'keras' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]
    assert not backend.installed("no_such_module")


def test_silenced_drops_what_native_code_writes_and_nothing_else(capfd):
    sys.stderr.write("before\n")
    with backend.silenced():
        os.write(2, b"noise\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "before\nafter\n"


def test_silenced_lets_go_of_standard_error_after_an_exception(capfd):
    with pytest.raises(KeyError), backend.silenced():
        raise KeyError
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_silenced_works_without_a_standard_error():
    program = "import os\nos.close(2)\nfrom kcompress.backend import silenced\nwith silenced():\n    print('inside')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["inside"]


@pytest.mark.slow
@pytest.mark.parametrize("name", some(["tensorflow", "jax"], lambda name: name == "tensorflow"))
def test_loading_prints_nothing(name):
    if not backend.installed(name):
        pytest.skip(f"{name} is not installed")
    environment = {k: v for k, v in os.environ.items() if k not in ("KERAS_BACKEND", "TF_CPP_MIN_LOG_LEVEL")}
    program = f"from kcompress import backend; print(backend.load({name!r}).backend.backend())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert (done.stdout.split(), done.stderr) == ([name], "")


@pytest.mark.parametrize(
    ("variable", "value", "threads"),
    [
        ("XLA_FLAGS", "--other=1 --xla_force_host_platform_device_count=4", "16"),
        ("JAX_NUM_CPU_DEVICES", "2", "8"),
        ("XLA_FLAGS", "--other=1", None),
    ],
)
def test_devices_made_of_a_processor_have_threads_enough_to_wait_for_each_other(
    variable, value, threads, fresh, monkeypatch
):
    for name in ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES", "PJRT_NPROC"):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    monkeypatch.setenv(variable, value)
    backend.select("jax")
    assert os.environ.get("PJRT_NPROC") == threads
    monkeypatch.setenv("PJRT_NPROC", "3")
    backend.select("jax")
    assert os.environ["PJRT_NPROC"] == "3"


def test_a_module_that_was_blocked_is_not_installed(monkeypatch):
    assert backend.installed("json")
    monkeypatch.setitem(sys.modules, "json", None)
    assert not backend.installed("json")
