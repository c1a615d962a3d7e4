"""Train the model further on labelled data: minimize the mean loss of its outputs against the labels."""

from kcompress.errors import UsageError
from kcompress.model.signature import signature
from kcompress.passes.train._training import Setup, Task, TrainingPass, compiled
from kcompress.training.learner import model_view
from kcompress.training.losses.model_loss import loss_for
from kcompress.training.losses.target_loss import functions


class TrainFinetune(TrainingPass):
    """Train the model further on labels, to get back what earlier passes cost.

    The loss is the one that the model was compiled with, else one that its outputs and the labels call for. Zeros stay
    zero, and weights on a grid train through it and end on it.
    """

    loss: str | None = None
    """The name of a loss of Keras's, such as categorical_crossentropy, in place of the model's own."""

    def setup(self, task: Task) -> Setup:
        if not task.data.labelled:
            raise UsageError(
                f"{self.name}: {task.data.name} has no labels; give data with an array y, or train.distill"
            )
        found = loss_for(task.student, task.data, self.loss)
        losses = functions(found, self, task.labels, task.data.name, signature(task.student).outputs)
        return task.feed, lambda chosen: compiled(
            model_view(task.student, also=task.quantized.scales.layer), chosen, losses
        )
