"""The settings that every training has: how long, how fast, in what precision, and when to stop.

Declared once, as fields of a model that the training passes inherit from.
"""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from kcompress.fields import tunable

DEFAULT_EPOCHS = 3
VALIDATION = 0.1


class TrainingSettings(BaseModel):
    """How to train; frozen and keyword-only."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    epochs: int | None = tunable(None, 1, 10, whole_model=True, ge=1)
    """The number of times to go through the training data, such as 5. Default 3."""
    steps: int | None = Field(None, ge=1)
    """The number of batches to train on in all, such as 1000, in place of epochs."""
    batch: int | None = Field(None, ge=1)
    """The number of samples in a batch, such as 64; a model of a fixed batch size keeps that. Default 32, or all the
    samples there are."""
    optimizer: str = "adam"
    """The name of an optimizer of Keras's, such as adam, sgd or adamw."""
    learning_rate: float = tunable(1e-3, 1e-4, 1e-2, whole_model=True, gt=0, allow_inf_nan=False)
    """The learning rate to start from, such as 0.001."""
    momentum: float | None = Field(None, ge=0, lt=1)
    """The momentum of an optimizer that has one, such as 0.9 for sgd. Default Keras's own."""
    weight_decay: float | None = Field(None, ge=0, allow_inf_nan=False)
    """The weight decay of the optimizer, such as 0.0001. Default Keras's own."""
    schedule: Literal["constant", "step", "exponential", "inverse_time", "polynomial", "cosine"] = "cosine"
    """The way the learning rate a goes on, t being epochs and T all of them: constant; a * decay^floor(t / every),
    step; a * decay^(t / every), exponential; a / (1 + decay * t / every), inverse_time; a * (1 - t / T)^power,
    polynomial; a * (1 + cos(pi * t / T)) / 2, cosine."""
    decay: float = Field(0.5, gt=0, allow_inf_nan=False)
    """The factor of the schedules step, exponential and inverse_time, such as 0.5."""
    every: float = Field(1.0, gt=0, allow_inf_nan=False)
    """The number of epochs that decay is for, such as 1."""
    power: float = Field(1.0, gt=0, allow_inf_nan=False)
    """The exponent of the schedule polynomial, such as 2."""
    warmup: float = Field(0.0, ge=0, allow_inf_nan=False)
    """The number of epochs in which the learning rate rises from 0, such as 0.5."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """The share of each label that is spread over all classes, such as 0.1."""
    class_weights: Literal["none", "balanced"] = "none"
    """Whether classes that are rare in the training data weigh more (balanced): samples / (classes * of this class)."""
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    """The type to compute in; weights stay in float32."""
    accumulate: int = Field(1, ge=1)
    """The number of batches whose gradients are put together for one update, such as 4."""
    validation: float | None = Field(None, ge=0, lt=1)
    """The share of the training data to judge epochs by instead of training on it, such as 0.1, so that the best
    weights are kept. Default 0, or 0.1 with patience."""
    patience: int | None = Field(None, ge=1)
    """The number of epochs without a lower loss on the validation data after which training stops, such as 2."""
    checkpoint: float | None = Field(None, gt=0, allow_inf_nan=False)
    """The number of minutes after which the state is written within an epoch, such as 10, so that a run that is killed
    goes on from there. It is always written at the end of an epoch."""
    batchnorm: Literal["estimate", "keep"] = "estimate"
    """Whether batch normalization gets its means and variances anew from training data in the end, or keeps moving
    ones."""

    @model_validator(mode="after")
    def _lengths(self) -> Self:
        if self.epochs is not None and self.steps is not None:
            raise ValueError("epochs and steps exclude each other; give one of them")
        if self.patience is not None and self.validation == 0:
            raise ValueError("patience goes with validation data; give validation a share, such as 0.1")
        return self

    @property
    def validation_share(self) -> float:
        """The share of the data set apart."""
        if self.validation is not None:
            return self.validation
        return 0.0 if self.patience is None else VALIDATION
