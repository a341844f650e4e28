"""Convolutions as matrix products, against PyTorch's own, and which form is taken when."""

import pytest
import torch
from torch import nn
from torch.func import grad_and_value, vmap
from torch.nn import functional

from localgd.engine.convolutions import as_products, choose, convolutions
from localgd.engine.gpu_rewrites import detach_fills, merge_repeated
from localgd.engine.program import record
from localgd.networks import LeNet, ResNet18, seeded

#: Nodes, samples, channels in and out, groups, window, stride, padding, dilation.
SHAPES = [
    (3, 4, 2, 6, 1, 3, 1, 0, 1),
    (3, 4, 2, 6, 2, 3, 2, 1, 1),
    (2, 3, 4, 4, 4, (3, 5), (1, 2), (2, 1), (2, 1)),
    (1, 5, 3, 7, 1, 1, 2, 0, 1),
    (1, 4, 2, 6, 1, 3, 1, 1, 1),
    (1, 4, 2, 6, 1, (3, 5), 1, (1, 2), (2, 1)),
    (1, 4, 2, 6, 1, 3, 2, 1, 1),
    (1, 64, 2, 6, 1, 3, 1, 4, 1),  # padding wider than the window: no convolution on the way back
]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_convolution_and_its_gradients_as_products(shape, bias):
    m, n, c, o, groups, window, stride, padding, dilation = shape
    size = (window, window) if isinstance(window, int) else window
    generator = torch.Generator().manual_seed(0)

    def draw(*sizes):
        return torch.randn(*sizes, generator=generator, dtype=torch.float64)

    x, weight, shift = draw(m, n, c, 11, 13), draw(m, o, c // groups, *size), draw(m, o)

    def node(x, weight, shift):
        def value(x, weight, shift):
            added = shift if bias else None
            result = functional.conv2d(x, weight, added, stride, padding, dilation, groups)
            return (result.sin() ** 2).sum()

        gradients, loss = grad_and_value(value, argnums=(0, 1, 2))(x, weight, shift)
        return loss, *gradients

    def alone(*given):
        return tuple(each[None] for each in node(*(each[0] for each in given)))

    program = record(vmap(node) if m > 1 else alone, (x, weight, shift))
    expected = program(x, weight, shift)
    as_products(program)
    assert "aten.convolution" not in program.code
    for found, wanted in zip(program(x, weight, shift), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-11)


def test_transposed_convolutions_stay():
    weight = torch.ones(2, 3, 3, 3)
    program = record(lambda x: (functional.conv_transpose2d(x, weight),), (torch.ones(1, 2, 5, 5),))
    assert "aten.convolution" in as_products(program).code


def test_what_is_repeated_is_computed_once_and_what_is_written_stays():
    def function(x):
        one, two = (x * 2).sin(), (x * 2).sin()
        three, four = torch.zeros_like(x), torch.zeros_like(x)
        three.add_(1)
        return one + two, three + four, torch.ones_like(x) * 1

    x = torch.arange(3.0)
    program = record(function, (x,))
    expected = program(x)
    merge_repeated(detach_fills(program))
    for found, wanted in zip(program(x), expected, strict=True):
        assert torch.equal(found, wanted)
    assert program.code.count("aten.sin") == 1
    assert program.code.count("aten.mul.Scalar") == 0


def one_node(module: nn.Module, *shape: int):
    return record(lambda x: (module(x),), (torch.zeros(2, *shape),))


def test_few_channels_are_batched_and_many_taken_node_by_node():
    lenet = one_node(seeded(LeNet, 0), 1, 28, 28)
    resnet = one_node(seeded(lambda: ResNet18(width=64), 0).eval(), 3, 8, 8)
    assert choose(lenet) == "products"
    assert choose(resnet) == "alone"
    assert choose(one_node(nn.Linear(3, 2), 3)) == "grouped"
    with convolutions("alone products"):
        assert choose(lenet) == "alone products"
        assert choose(one_node(nn.Linear(3, 2), 3)) == "grouped"
    assert choose(lenet) == "products"
