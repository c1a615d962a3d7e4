"""The versions of what decides how a file comes out, for reports and for errors."""

import platform
from importlib.metadata import PackageNotFoundError, version

LIBRARIES = ("kcompress", "keras", "tensorflow", "jax", "numpy", "h5py", "onnx", "onnxruntime", "ai-edge-litert")


def versions() -> dict[str, str]:
    """Python's, and those of the libraries that are installed; none of them is imported.

    >>> versions()["python"].startswith("3.")
    True
    """
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
