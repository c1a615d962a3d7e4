"""Keras's GPTQ and AWQ on any model with Dense layers, though they were made for blocks of a language model.

Keras calibrates block by block: it hooks the layers that a block has, calls the block on its input, and quantizes them.
Here all layers are one block, whose call runs the whole model on the calibration data, once.
"""

import contextlib
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kcompress.model.kernels import einsum_axes
from kcompress.model.patching import patched


class Block:
    """The layers as Keras wants a block: it lists them, and is called while they are hooked."""

    def __init__(self, layers: Sequence[Any], run: Callable[[], None]) -> None:
        self.layers, self.run, self.done = list(layers), run, False

    def _flatten_layers(self) -> list[Any]:
        return self.layers

    def __call__(self, given: Any) -> list[Any]:
        """Run the model once; Keras calls again for what it would hand to the next block, which needs nothing.

        Calls of the layers are led past `call`, which Keras 3.15 hooks, though a quantized layer runs `quantized_call`.
        """
        if not self.done:
            self.done = True
            with contextlib.ExitStack() as stack:
                for layer in self.layers:
                    stack.enter_context(patched(layer, "quantized_call", layer.call))
                self.run()
        return [given]


def calibrate(model: Any, layers: Sequence[Any], mode: str, block_size: int, run: Callable[[], None]) -> None:
    """Quantize these layers of a model, in place. `run` runs the model on all calibration data."""
    import keras

    kinds: dict[str, Any] = {"gptq": keras.quantizers.GPTQConfig, "awq": keras.quantizers.AWQConfig}
    structure = {"pre_block_layers": [], "sequential_blocks": [Block(layers, run)]}
    # Keras's own calibration data are tokens; these are one, which the blocks take no notice of.
    config = kinds[mode](
        dataset=[np.zeros(1, np.int32)],
        tokenizer=str,
        num_samples=1,
        sequence_length=1,
        group_size=block_size,
        quantization_layer_structure=structure,
    )
    chosen = set(map(id, layers))
    with contextlib.redirect_stdout(io.StringIO()):  # a progress bar
        model.quantize(mode, config=config, filters=lambda layer: id(layer) in chosen)
    config.quantization_layer_structure = None  # or the model could not be saved


def misread(layer: Any) -> bool:
    """Whether Keras would take the wrong axes of an EinsumDense's kernel for its inputs: it guesses by their sizes."""
    if type(layer).__name__ != "EinsumDense":
        return False
    shape, inputs = [int(size) for size in layer.kernel.shape], einsum_axes(layer.equation).inputs
    if len(shape) == 2:
        return inputs != (0,)
    return len(shape) != 3 or inputs != ((0,) if shape.index(max(shape)) == 0 else (0, 1))
