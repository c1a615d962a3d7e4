"""A student of another architecture: made by a function, and called by the names of the model whose place it takes."""

from typing import Any

from kcompress.data.specs import load_function
from kcompress.errors import ModelError
from kcompress.keras_internals import producer
from kcompress.model.rebuild import copy
from kcompress.model.signature import signature
from kcompress.process_state import seeded_process


def student_from_function(spec: str, seed: int) -> Any:
    """The Keras model that MODULE:FUNCTION returns, whose random weights the seed decides.

    Raises ModelError if it fails, or returns something else; DataError if there is no such function.
    """
    import keras

    function = load_function(spec)
    try:
        with seeded_process(seed):
            model = function()
    except Exception as error:
        line = (str(error).strip().splitlines() or [""])[0][:200]
        raise ModelError(f"{spec}: calling it failed with {type(error).__name__} ({line}); correct the code") from error
    if not isinstance(model, keras.Model):
        raise ModelError(f"{spec}: it returned {type(model).__name__}; return a Keras model with fixed inputs")
    return model


def with_input_names_of(student: Any, model: Any) -> Any:
    """The student with inputs of the model's names, so that the same data goes to both; a copy if they differ."""
    mine, other = signature(student), signature(model)
    if list(mine.inputs) == list(other.inputs):
        return student
    if isinstance(mine.structure, dict):
        raise ModelError(
            f"'{student.name}' has inputs named {', '.join(mine.inputs)}, the model {', '.join(other.inputs)}; give "
            "them the same names"
        )
    renamed = copy(student)
    for tensor, name in zip(renamed.inputs, other.inputs, strict=True):
        producer(tensor).name = name
    return copy(renamed)  # built anew, so that nothing in it knows the old names
