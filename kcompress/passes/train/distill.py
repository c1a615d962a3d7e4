"""Train on what a teacher makes of the training data: alpha · distillation loss + (1 − alpha) · label loss."""

import hashlib
import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

from numpy.typing import NDArray
from pydantic import Field, field_validator

from kcompress.data.specs import is_function
from kcompress.errors import UsageError
from kcompress.fields import tunable
from kcompress.model.rebuild import copy
from kcompress.model.signature import signature
from kcompress.passes.base import Context, Need, PassResult
from kcompress.passes.capabilities import CombinesTeachers, ReadsModels, ReplacesModel
from kcompress.passes.selection import patterns
from kcompress.passes.train._training import Setup, Task, TrainingPass, compiled
from kcompress.training.ensembles.joint_teacher import joint_teacher
from kcompress.training.feed import ArrayFeed, Feed
from kcompress.training.labelled import renamed
from kcompress.training.learner import distillation, model_view, precomputed_teacher
from kcompress.training.losses.model_loss import loss_for
from kcompress.training.losses.output_kind import output_kinds
from kcompress.training.losses.soft_targets import feature_loss, soft_targets
from kcompress.training.losses.target_loss import Function, functions, no_loss
from kcompress.training.pairing import pairs
from kcompress.training.student import student_from_function, with_input_names_of
from kcompress.training.teachers import Teacher, cached_outputs, check_shapes, check_teacher
from kcompress.typing import Combination

Array = NDArray[Any]
PREFIX = "teacher/"


class TrainDistill(TrainingPass, CombinesTeachers, ReplacesModel, ReadsModels):
    """Train the model on the outputs of a teacher, with or without labels.

    Source: Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015. The teacher is the model
    that the run started from, or those given with --teacher, combined into one. Its outputs are computed once and kept
    on disk, where the data is the same each time. Zeros stay zero, and weights on a grid train through it and end on
    it.
    """

    needs = frozenset({Need.TRAINING, Need.TEACHER})

    temperature: float = Field(3.0, gt=0, le=100)
    """The number that logits are divided by, such as 3; more shows more of how the teacher ranks wrong classes."""
    alpha: float = tunable(0.9, 0.5, 1.0, whole_model=True, ge=0, le=1)
    """The weight of the teacher's outputs against the labels, such as 0.9. Without labels it is 1."""
    combine: Combination = "average"
    """The way that several teachers become one: the average of their probabilities; the likeliest weighted one on a
    share of the training data; or stacked, a dense layer on what all say, trained on that share."""
    student: str | None = None
    """A model of another architecture to train in place of the one before it: a saved model, or MODULE:FUNCTION, which
    takes no arguments and returns a Keras model."""
    features: tuple[str, ...] = ()
    """Layers whose outputs are compared too, each STUDENT=TEACHER or one name for both; auto for the last of each
    spatial size."""
    feature_loss: Literal["similarity", "mse", "cosine_similarity"] = "similarity"
    """The way that features are compared: by which samples they make alike (similarity), which suits any two shapes, or
    value by value."""
    feature_weight: float = Field(1.0, gt=0, allow_inf_nan=False)
    """The weight of each pair of features against that of the outputs, such as 1."""
    loss: str | None = None
    """The name of a loss of Keras's for the labels, in place of the model's own."""

    _features_to_tuple = field_validator("features", mode="before")(patterns)

    def model_files(self) -> tuple[Path, ...]:
        return () if self.student is None or is_function(self.student) else (Path(self.student),)

    @property
    def replaces_model(self) -> bool:
        return self.student is not None

    @property
    def combination(self) -> Combination | None:
        return self.combine if "combine" in self.model_fields_set else None

    def combining(self, how: Combination) -> Self:
        return type(self)(**{"combine": how, **self.config()})

    def apply(self, model: Any, ctx: Context) -> PassResult:
        """Train the model, or the student in its place; without other teachers, the model before it is one."""
        if not ctx.training.teachers:
            teacher = Teacher("the model before it", "", partial(copy, model))
            ctx = replace(ctx, training=replace(ctx.training, teachers=(teacher,)))
        return super().apply(model if self.student is None else self.replacement(self.student, model, ctx), ctx)

    def replacement(self, spec: str, model: Any, ctx: Context) -> Any:
        """The student as a model that fits into the place of the given one."""
        if ctx.plan:
            raise UsageError(f"{self.name}: student={spec} takes the place of a model that was quantized; put it first")
        student = student_from_function(spec, ctx.seed) if is_function(spec) else ctx.read(Path(spec))
        check_shapes(spec, student, model, "student", "model")
        return with_input_names_of(student, model)

    def learns_labels(self, labelled: bool) -> bool:
        return labelled and self.alpha < 1

    def setup(self, task: Task) -> Setup:
        student = task.student
        source = joint_teacher(task.ctx.training.teachers, self.combine, student, task.data, task.ctx.seed)
        teacher = source.load()
        check_teacher(source.name, teacher, student)
        together = pairs(student, teacher, self.features, self.feature_loss != "similarity")
        if together and self.feature_loss == "similarity":
            task.ctx.training.devices.require_whole_batches("feature_loss=similarity")
        found = loss_for(student, task.data, self.loss) if task.data.labelled else None
        own_kinds, teacher_kinds = output_kinds(
            (student, teacher), task.feed.batch(0)[0], found.kinds if found else None
        )
        inputs = signature(student).inputs
        keys = list(renamed(signature(teacher).inputs, dict(zip(inputs, inputs, strict=True))).values())
        view = model_view(teacher, [theirs for _, theirs in together], teacher_kinds, keys)
        read: Feed = task.feed
        if isinstance(read, ArrayFeed):
            dtypes = dict(zip(keys, signature(teacher).dtypes.values(), strict=True))
            key = [source.digest, list(dtypes.items()), teacher_kinds, [theirs.name for _, theirs in together]]
            size = signature(teacher).batch or read.size
            read = replace(read, more=self.teacher_outputs(task, view, dtypes, size, key if source.digest else None))
            view = precomputed_teacher(list(read.more))
        elif signature(teacher).batch not in (None, read.size):
            raise UsageError(
                f"{source.name}: the teacher has a fixed batch of {signature(teacher).batch}, and runs in every step "
                f"here, with {read.size} samples; give batch={signature(teacher).batch}"
            )
        losses: list[Function] = [no_loss] * len(own_kinds)
        if read_labels := self.learns_labels(task.data.labelled):
            assert found is not None
            losses = functions(found, self, task.labels, task.data.name, signature(task.student).outputs)
        count = len(together)
        terms = soft_targets(own_kinds, count, self.temperature)
        weights = [1.0] * len(terms) + [self.feature_weight] * count
        terms += [feature_loss(len(own_kinds), count, number, self.feature_loss) for number in range(count)]
        own_view = model_view(student, [mine for mine, _ in together], also=task.quantized.scales.layer)

        def make(chosen: Any) -> Any:
            share = 1 - self.alpha if read_labels else 0.0
            distiller = distillation(view, own_view, terms, weights, share, count)
            return compiled(distiller, chosen, [*losses, *[no_loss] * count])

        return read, make

    def teacher_outputs(self, task: Task, view: Any, dtypes: dict[str, str], size: int, asked: Any) -> dict[str, Array]:
        """What the teacher's view gives for all samples, as more inputs; kept if `asked` says what that was."""
        assert isinstance(task.feed, ArrayFeed)
        text = json.dumps([asked, task.data.fingerprint(), list(signature(task.student).inputs.items())])
        key = hashlib.sha256(text.encode()).hexdigest()[:32] if asked else ""
        with task.ctx.progress(f"{self.name}: running the teacher", task.feed.count) as advance:
            arrays = cached_outputs(view, dtypes, task.feed, size, key, task.folder, advance)
        return {f"{PREFIX}{number}": array for number, array in enumerate(arrays)}
