"""The rewrites of a recorded program change no value but by the order of a sum."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call, grad_and_value

from localgd.engine.cpu_rewrites import aten, pool, pool_backward, pool_backward_in_place, rewrite
from localgd.engine.program import calls, record

shapes = st.tuples(
    st.integers(1, 3), st.integers(1, 3), st.integers(1, 4).map(lambda n: 2 * n), st.just(6)
)


@given(shapes, st.integers(0, 2**20), st.integers(1, 3))
def test_pooling_and_its_gradient_are_pytorchs_ties_included(shape, seed, levels):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(-levels, levels + 1, shape, generator=generator).double()
    x.requires_grad_()
    expected = nn.functional.max_pool2d(x, 2)
    gradient = torch.randn(expected.shape, generator=generator).double()
    expected.backward(gradient)
    assert torch.equal(pool(x.detach()), expected)
    assert torch.equal(pool_backward(gradient, x.detach()), x.grad)
    assert torch.equal(pool_backward_in_place(gradient, x.detach()), x.grad)


def step_of(module: nn.Module):
    """(parameters, inputs) ↦ gradients and loss, and example arguments."""
    parameters = {name: value.detach() for name, value in module.named_parameters()}

    def loss(state, inputs):
        return functional_call(module, state, (inputs,)).square().sum()

    names = list(parameters)

    def step(*arguments):
        state = dict(zip(names, arguments[:-1], strict=True))
        gradients, value = grad_and_value(loss)(state, arguments[-1])
        return value, *gradients.values()

    return step, tuple(parameters.values())


def block(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 3, 3), *layers, nn.Flatten(), nn.LazyLinear(2)).double()


REWRITTEN = {
    "pool": lambda: block(nn.MaxPool2d(2)),
    "relu, then pool": lambda: block(nn.ReLU(), nn.MaxPool2d(2)),
    "pool, then relu": lambda: block(nn.MaxPool2d(2), nn.ReLU()),
    "two pools": lambda: block(nn.ReLU(), nn.MaxPool2d(2), nn.MaxPool2d(2)),
}


@pytest.mark.parametrize("for_compiler", [False, True])
@pytest.mark.parametrize("kind", REWRITTEN)
@settings(max_examples=20)
@given(seed=st.integers(0, 2**20))
def test_a_rewritten_step_gives_the_same_values(kind, for_compiler, seed):
    torch.manual_seed(seed)
    # Whole numbers make ties, which have to be broken as PyTorch breaks them.
    inputs = torch.randint(-1, 2, (4, 2, 10, 10)).double()
    module = REWRITTEN[kind]()
    module(inputs)
    step, parameters = step_of(module)
    program = rewrite(record(step, (*parameters, inputs)), for_compiler=for_compiler)
    assert not calls(program, aten.max_pool2d_with_indices.default)
    assert calls(program, pool)
    for ours, theirs in zip(program(*parameters, inputs), step(*parameters, inputs), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_a_relu_before_a_pool_is_taken_after_it():
    inputs = torch.randn(2, 2, 10, 10).double()
    module = REWRITTEN["relu, then pool"]()
    module(inputs)
    step, parameters = step_of(module)
    program = rewrite(record(step, (*parameters, inputs)))
    (relu,) = calls(program, aten.relu.default)
    assert relu.args[0].target is pool


class SkipsPool(nn.Module):
    """The ReLU's values are wanted beside the pool's."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(2, 3, 3).double()

    def forward(self, x):
        y = torch.relu(self.convolution(x))
        return nn.functional.max_pool2d(y, 2).flatten(1) + y.flatten(1)[:, :48]


UNTOUCHED = {
    "overlapping": lambda: block(nn.MaxPool2d(2, stride=1)),
    "larger": lambda: block(nn.MaxPool2d(3)),
    "padded": lambda: block(nn.MaxPool2d(2, padding=1)),
    "hanging over": lambda: block(nn.MaxPool2d(2, ceil_mode=True), nn.AvgPool2d(2)),
}


@pytest.mark.parametrize("kind", UNTOUCHED)
def test_other_pools_are_left_alone(kind):
    inputs = torch.randn(2, 2, 11, 11).double()
    module = UNTOUCHED[kind]()
    module(inputs)
    step, parameters = step_of(module)
    program = rewrite(record(step, (*parameters, inputs)))
    assert calls(program, aten.max_pool2d_with_indices.default)
    assert not calls(program, pool)
    for ours, theirs in zip(program(*parameters, inputs), step(*parameters, inputs), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_a_relu_that_others_read_stays_where_it_is():
    inputs = torch.randn(2, 2, 10, 10).double()
    step, parameters = step_of(SkipsPool())
    program = rewrite(record(step, (*parameters, inputs)))
    (relu,) = calls(program, aten.relu.default)
    assert relu.args[0].target is aten.convolution.default
    for ours, theirs in zip(program(*parameters, inputs), step(*parameters, inputs), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_the_gradient_of_a_bias_is_summed_outside_the_convolution():
    inputs = torch.randn(2, 2, 10, 10).double()
    module = block()
    module(inputs)
    step, parameters = step_of(module)
    program = rewrite(record(step, (*parameters, inputs)))
    (backward,) = calls(program, aten.convolution_backward.default)
    assert backward.args[-1] == [False, True, False]
    for ours, theirs in zip(program(*parameters, inputs), step(*parameters, inputs), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
