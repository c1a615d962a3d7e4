"""Derivatives of a function of arrays, on whichever backend Keras runs."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Function = Callable[[list[Any]], Any]
"""Takes tensors and gives a scalar tensor."""


def gradients(function: Function, arrays: Sequence[NDArray[Any]]) -> tuple[float, list[NDArray[Any]]]:
    """The value of a scalar function and its gradient by each array, zeros where the value does not depend on it.

    The function is called once, eagerly on TensorFlow and PyTorch, with traced values on JAX. It must be pure.
    """
    import keras

    found = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}[keras.backend.backend()]
    value, slopes = found(function, arrays)
    to_numpy = keras.ops.convert_to_numpy
    derivatives = [
        np.zeros_like(array) if slope is None else np.asarray(to_numpy(slope))
        for array, slope in zip(arrays, slopes, strict=True)
    ]
    return float(to_numpy(value)), derivatives


def _tensorflow(function: Function, arrays: Sequence[NDArray[Any]]) -> tuple[Any, Sequence[Any]]:
    import tensorflow as tf

    tensors = [tf.convert_to_tensor(array) for array in arrays]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(tensors)
        value = function(tensors)
    return value, tape.gradient(value, tensors)


def _jax(function: Function, arrays: Sequence[NDArray[Any]]) -> tuple[Any, Sequence[Any]]:
    import jax

    value, slopes = jax.value_and_grad(function)([jax.numpy.asarray(array) for array in arrays])
    return value, slopes


def _torch(function: Function, arrays: Sequence[NDArray[Any]]) -> tuple[Any, Sequence[Any]]:
    import keras
    import torch

    tensors = [keras.ops.convert_to_tensor(array).detach().requires_grad_() for array in arrays]
    with torch.enable_grad():
        value = function(tensors)
    if not value.requires_grad:
        return value, [None] * len(tensors)
    return value.detach(), torch.autograd.grad(value, tensors, allow_unused=True)
