"""What `apply` checks: a pass that breaks a promise is told so, whichever promise it is."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kcompress.errors import ContractError, KCompressError
from kcompress.model.rebuild import copy, fingerprint
from kcompress.passes.base import Change, Context, Pass, PassResult, Skip
from kcompress.quantization.plan import FLOAT16, QuantPlan
from tests.models import dense, keras, seeded

k = keras()
nn = k.layers
DONE = (Change("hidden", "done"), Change("head", "done"))


class Free(Pass):
    """Does what a test says; every layer with kernels is a target."""

    work: Any = None
    """A function of the model that returns a result."""

    def concerns(self, node: Any, named: bool) -> bool | str:
        return bool(node.kernels)

    def run(self, model: Any, ctx: Context) -> PassResult:
        return self.work(model)


def apply(work: Callable[[Any], PassResult], model: Any = None, **context: Any) -> PassResult:
    return Free(work=work).apply(model or dense(), Context(**context))


def changed(model: Any, edit: Callable[[Any], None], **result: Any) -> PassResult:
    """A result whose copy of the model was edited."""
    new = copy(model)
    edit(new)
    return PassResult(new, DONE, **result)


def times(factor: float) -> Callable[[Any], None]:
    """An edit that multiplies the first kernel."""
    return lambda new: new.layers[0].kernel.assign(new.layers[0].kernel * factor)


def half_zero() -> Any:
    """The dense model after pruning: half of the first kernel is zero."""
    model = dense()
    kernel = model.layers[0].kernel
    kernel.assign(np.where(np.arange(16) < 8, 0, kernel.numpy()))
    return model


def test_a_pass_that_keeps_every_promise_is_let_through():
    model = dense()
    before = fingerprint(model)
    assert apply(lambda m: changed(m, times(0.5)), model).changes == DONE
    assert fingerprint(model) == before


def test_the_same_model_is_no_result():
    with pytest.raises(ContractError, match="test_promises: modified the model that it was given"):
        apply(lambda m: PassResult(m, DONE))


@pytest.mark.parametrize(
    "harm",
    [
        lambda m: m.layers[0].kernel.assign(m.layers[0].kernel * 2),
        lambda m: m.layers[1].bias.assign(m.layers[1].bias + 1),
        lambda m: setattr(m.layers[0], "trainable", False),
        lambda m: setattr(m.layers[0], "name", "another"),
        lambda m: setattr(m.layers[0], "activation", k.activations.tanh),
        lambda m: m.compile("sgd", "mse"),
    ],
    ids=["kernel", "bias", "frozen", "renamed", "activation", "compiled"],
)
def test_the_given_model_must_not_be_touched(harm):
    def work(model: Any) -> PassResult:
        new = copy(model)
        harm(model)
        return PassResult(new, DONE)

    with pytest.raises(ContractError, match="modified the model that it was given"):
        apply(work)


@pytest.mark.parametrize(
    "make",
    [
        lambda new: k.Model(new.inputs, nn.Dense(3, name="more")(new.outputs[0])),
        lambda new: k.Model(new.inputs, nn.Dense(4, name="head")(new.layers[0].output)),
        lambda new: k.Model(new.inputs, [new.outputs[0], new.layers[0].output]),
        lambda new: k.Model(new.inputs, new.layers[0].output),
        lambda new: k.Sequential([k.Input((8,), name="y"), *new.layers]),
        lambda new: k.Sequential([k.Input((8,), batch_size=1, name="x"), *new.layers]),
        lambda new: k.Sequential([k.Input((8,), dtype="float64", name="x"), *new.layers]),
        lambda new: k.Sequential([k.Input((8,), name="x"), new.layers[0], nn.Dense(3, dtype="float64", name="head")]),
    ],
    ids=["output name", "output shape", "more", "another", "input name", "batch", "input type", "output type"],
)
def test_inputs_and_outputs_keep_their_names_shapes_and_types(make):
    with pytest.raises(ContractError, match="changed the model's inputs or outputs"):
        apply(lambda m: PassResult(make(copy(m)), DONE))


@pytest.mark.parametrize(
    ("changes", "skipped", "named"),
    [
        (DONE[:1], (), "head"),
        ((), (), "head, hidden"),
        (DONE[:1], (Skip("hidden", "twice"),), "head"),
        ((*DONE, Change("another", "unknown")), (), "another"),
        ((*DONE, DONE[0]), (), "hidden"),
        (DONE, (Skip("hidden", "twice"),), "hidden"),
    ],
    ids=["one missing", "all missing", "one twice, one missing", "unknown", "twice changed", "changed and skipped"],
)
def test_every_targeted_layer_is_accounted_for_exactly_once(changes, skipped, named):
    with pytest.raises(ContractError, match=rf"neither or twice accounted for: .*{named}"):
        apply(lambda m: PassResult(copy(m), changes, skipped))


def test_a_layer_may_be_changed_or_skipped():
    result = apply(lambda m: PassResult(copy(m), DONE[:1], (Skip("head", "small"),)))
    assert result.skipped == (Skip("head", "small"),)


def test_zeros_of_earlier_passes_must_stay_zero():
    def fill(new: Any) -> None:
        kernel = new.layers[0].kernel
        kernel.assign(np.where(kernel.numpy() == 0, 1e-9, kernel.numpy()))

    with pytest.raises(ContractError, match="zeros of hidden/kernel did not stay zero"):
        apply(lambda m: changed(m, fill), half_zero())
    apply(lambda m: changed(m, times(2)), half_zero())


def test_zeros_in_nested_models_count_as_well():
    inner = k.Sequential([k.Input((4,)), nn.Dense(4, name="hidden")], name="inner")
    model = seeded(k.Sequential([k.Input((4,)), inner, nn.Dense(2, name="head")]))
    inner.layers[0].kernel.assign(np.eye(4))

    def work(given: Any) -> PassResult:
        new = copy(given)
        new.get_layer("inner").layers[0].kernel.assign(np.ones((4, 4)))
        return PassResult(new, (Change("inner/hidden", "done"), Change("head", "done")))

    with pytest.raises(ContractError, match="zeros of inner/hidden/kernel"):
        apply(work, model)


def test_zeros_of_biases_may_be_trained_away():
    model = dense()
    model.layers[0].bias.assign(np.zeros(16))
    apply(lambda m: changed(m, lambda new: new.layers[0].bias.assign(np.ones(16))), model)


@pytest.mark.parametrize(("factor", "kept"), [(0.5, True), (0.3, False)])
def test_weights_on_a_planned_grid_must_stay_on_it(factor, kept):
    model, plan = dense(), QuantPlan({"hidden/kernel": FLOAT16})
    model.layers[0].kernel.assign(FLOAT16.nearest(model.layers[0].kernel.numpy()))
    if kept:  # half of a float16 is one as well
        apply(lambda m: changed(m, times(factor)), model, plan=plan)
    else:
        with pytest.raises(ContractError, match="hidden/kernel left its grid"):
            apply(lambda m: changed(m, times(factor)), model, plan=plan)


def test_a_pass_cannot_plan_a_grid_that_its_weights_do_not_lie_on():
    with pytest.raises(ContractError, match="head/kernel left its grid"):
        apply(lambda m: changed(m, lambda new: None, formats={"head/kernel": FLOAT16}))


def test_a_broken_contract_is_one_line_and_an_error_of_kcompress():
    with pytest.raises(KCompressError) as caught:
        apply(lambda m: PassResult(m, DONE))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
