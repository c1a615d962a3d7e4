"""What the training passes share: which layers learn, how a model is fitted, and what is kept meanwhile."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from numpy.typing import NDArray
from pydantic import model_validator

from kcompress.data import Dataset
from kcompress.errors import UsageError
from kcompress.leftovers import temporary_folder
from kcompress.model.view import Node, nodes
from kcompress.passes.base import Change, Context, Goal, Need, Pass, PassResult, Skip
from kcompress.passes.capabilities import GradualPruning, TrainsModel
from kcompress.passes.movement import describe_movement
from kcompress.passes.train._fake_quantized import FakeQuantized
from kcompress.passes.train._gradual import PruningInTraining
from kcompress.passes.train._scopes import computing_in, named_errors, only_learning
from kcompress.quantization.fake_quantized import bake
from kcompress.training import batchnorm
from kcompress.training.checkpoints import Checkpoint
from kcompress.training.distribution import Devices
from kcompress.training.feed import ArrayFeed, Feed, StreamFeed, feed
from kcompress.training.loop import Watch, fit, jit, seeded
from kcompress.training.masks import Masks, within
from kcompress.training.outcome import Epoch, Outcome, TrainingSchedule
from kcompress.training.schedules import optimizer
from kcompress.training.settings import DEFAULT_EPOCHS, TrainingSettings

IN_EPOCHS = ("warmup", "every")
"""Settings that are shortened with the training."""
ESTIMATED = 2048
"""Samples that the statistics of batch normalization are found from."""


@dataclass(frozen=True)
class Task:
    """All that a learner is made from: the student, its data, a folder for files."""

    student: Any
    data: Dataset
    feed: ArrayFeed | StreamFeed
    folder: Path
    ctx: Context
    quantized: FakeQuantized

    @property
    def labels(self) -> list[NDArray[Any]] | None:
        """All labels of each output, where they are known beforehand."""
        return list(self.feed.y) if isinstance(self.feed, ArrayFeed) else None


Setup = tuple[Feed, Callable[[Any], Any]]
"""The batches to train on, and a function that takes an optimizer and makes the compiled Keras model to fit."""


class TrainingPass(Pass, TrainingSettings, TrainsModel):
    """Base of the passes that train."""

    needs = frozenset({Need.TRAINING})

    @model_validator(mode="after")
    def _rules_only_skip(self) -> Self:
        for rule in self.rules:
            if rule.overrides:
                field = next(iter(rule.overrides))
                raise ValueError(
                    f"rule for '{rule.layers[0]}': {field} is for the whole training; a rule can only skip"
                )
        return self

    def shortened(self, share: float) -> Self:
        if share == 1:
            return self
        unit = "epochs" if self.steps is None else "steps"
        whole = getattr(self, unit) or DEFAULT_EPOCHS
        length = max(1, round(whole * share))
        config = {name: value * length / whole if name in IN_EPOCHS else value for name, value in self.config().items()}
        return type(self)(**{**config, unit: length})

    def concerns(self, node: Node, named: bool) -> bool | str:
        learned = [weight for weight in node.weights if weight.learned]
        if not learned:
            return False
        if not node.layer.trainable:
            return "it is frozen: its trainable is false"
        if getattr(node.layer, "quantization_mode", None):
            return "it was quantized by Keras, which can't be trained through"
        whole = [w for w in learned if not w.variable.dtype.startswith(("float", "bfloat"))]
        return f"{whole[0].name} is stored as {whole[0].variable.dtype}, which can't be trained" if whole else True

    def run(self, model: Any, ctx: Context) -> PassResult:
        student = ctx.training.devices.copy(model)
        selection = self.select(student)
        if not selection.chosen:
            return PassResult(ctx.training.devices.home(student), (), selection.skipped)
        if ctx.data.training is None:
            raise UsageError(f"{self.name}: needs training data; give it with --data")
        with temporary_folder() as folder, ExitStack() as stack:
            stack.enter_context(named_errors(self.name))
            data = ctx.data.training
            labels = self.learns_labels(data.labelled)
            read = feed(student, data, self.batch, ctx.seed, Path(folder), labels, ctx.training.devices.parts)
            stack.enter_context(only_learning({node.name for node, _ in selection.chosen}, student))
            stack.enter_context(computing_in(student, self.precision))
            stack.enter_context(seeded(student, ctx.seed))
            with ctx.training.devices.scope():
                pruning = None if ctx.training.pruning is None else ctx.training.pruning.gradually(student)
                quantized = FakeQuantized.of(student, ctx, pruning)
                outcome = self.train(Task(student, data, read, Path(folder), ctx, quantized), pruning)
            formats, sparse = quantized.formats(student), set(quantized.sparse(student))
        student = ctx.training.devices.home(student)
        bake(student, ctx.plan.updated(formats))
        before = {node.name: node for node in nodes(model)}
        names = {node.name for node, _ in selection.chosen}
        chosen = [node for node in nodes(student) if node.name in names]
        if not outcome.epochs:
            reason = f"training was given up: {_why(outcome, self)}"
            skipped = tuple(Skip(node.name, reason) for node in chosen)
            return PassResult(student, (), (*selection.skipped, *skipped), goals=self.goals(outcome))
        activations = quantized.activations(student)
        changes = tuple(Change(n.name, f"trained{describe_movement(before[n.name], n, sparse)}") for n in chosen)
        goals, history = self.goals(outcome), _history(outcome)
        return PassResult(student, changes, selection.skipped, formats, goals, activations, history)

    def train(self, task: Task, gradual: GradualPruning | None) -> Outcome:
        """Train the student in place."""
        student, ctx, quantized = task.student, task.ctx, task.quantized
        read, make = self.setup(task)
        training, validation = self.split(task.data, read, ctx.training.devices)
        plan = TrainingSchedule.of(self, training)
        chosen = optimizer(self, plan.steps, plan.per_epoch)
        masks = Masks(chosen)
        pruning = None if gradual is None else PruningInTraining(gradual, quantized.scales.layer, plan.steps)
        variables = [*student.variables, *quantized.scales.layer.variables]
        with ExitStack() as stack:
            stack.enter_context(batchnorm.quicker(student))
            stack.enter_context(quantized.computing(student))
            stack.enter_context(masks.on(quantized.sparse(student).values(), pruning.shown if pruning else ()))
            if pruning is not None:
                stack.enter_context(pruning.on(student))
            stack.enter_context(within(quantized.signs(student)))
            learner = make(chosen)
            advance = stack.enter_context(ctx.progress(self.name, plan.steps))
            watch = _TrainingWatch(ctx, self.name, advance, pruning, masks)
            with ctx.training.devices.placed(learner, chosen):
                outcome = fit(
                    learner,
                    variables,
                    training,
                    validation,
                    plan,
                    self.patience,
                    watch,
                    Checkpoint(ctx.training.checkpoint),
                    self.checkpoint or math.inf,
                )
            if pruning is not None:
                pruning.end()
            if outcome.epochs and self.batchnorm == "estimate":
                batchnorm.estimate(student, _inputs(task.feed))
            return outcome

    def split(self, data: Dataset, read: Feed, devices: Devices) -> tuple[Feed, Feed | None]:
        """The samples to train on and those to validate on, as this process reads them."""
        if not self.validation_share:
            return devices.share(read), None
        if not isinstance(read, ArrayFeed):
            raise UsageError(
                f"{self.name}: no validation data can be set apart from {data.name}, which is another each time "
                "it is read; leave validation and patience out"
            )
        training, validation = read.apart(self.validation_share)
        return devices.share(training), None if validation is None else devices.share(validation)

    def learns_labels(self, labelled: bool) -> bool:
        """Whether labels are read; `labelled` tells whether there are some."""
        return labelled

    def setup(self, task: Task) -> Setup:
        """What to fit, and on what."""
        raise NotImplementedError

    def goals(self, outcome: Outcome) -> tuple[Goal, ...]:
        if not outcome.diverged:
            return ()
        return (Goal("epochs_lost", 0, outcome.planned - len(outcome.epochs), _why(outcome, self)),)


class _TrainingWatch(Watch):
    """Logs each epoch through a context, and prunes when it is time to."""

    def __init__(
        self, ctx: Context, name: str, advance: Callable[[int], None], pruning: PruningInTraining | None, masks: Masks
    ) -> None:
        self.ctx, self.name, self._advance = ctx, name, advance
        self.pruning, self.masks = pruning, masks
        self.settled = 0 if pruning is None else pruning.settled

    def due(self, step: int) -> bool:
        return self.pruning is not None and self.pruning.due(step)

    def change(self, step: int, of: int) -> None:
        assert self.pruning is not None
        self.pruning.change(self.masks, step, of)

    def advance(self, steps: int) -> None:
        self._advance(steps)

    def epoch(self, number: int, of: int, result: Epoch) -> None:
        judged = "" if result.validation is None else f", on validation data {result.validation:.4f}"
        self.ctx.log(f"{self.name}: epoch {number} of {of}: loss {result.loss:.4f}{judged}, {result.seconds:.1f} s")


def _history(outcome: Outcome) -> tuple[dict[str, float | None], ...]:
    return tuple(
        {"loss": epoch.loss, "validation_loss": epoch.validation, "seconds": epoch.seconds} for epoch in outcome.epochs
    )


def _why(outcome: Outcome, settings: TrainingSettings) -> str:
    return (
        f"the loss was no finite number at step {outcome.diverged:,}, so the weights are those after epoch "
        f"{outcome.best}; give a learning_rate below {settings.learning_rate:g}"
    )


def _inputs(read: Feed) -> Iterator[dict[str, NDArray[Any]]]:
    for number in range(min(read.per_epoch, -(-ESTIMATED // read.size))):
        yield read.batch(number)[0]


def compiled(learner: Any, chosen: Any, losses: Sequence[Any]) -> Any:
    """The learner, compiled with an optimizer and a loss for each of its outputs."""
    learner.compile(optimizer=chosen, loss=tuple(losses), jit_compile=jit())
    return learner
