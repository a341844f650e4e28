"""What a recorded program knows of itself."""

import operator

import pytest
import torch

from localgd.engine.program import UntraceableError, count_flops, peak_bytes, record, written


def test_peak_bytes_of_a_chain():
    # a = 2x (800 B) lives until b = a + 1 (800 B) is there; then c = sum (8 B) with b.
    program = record(lambda x: (2 * x + 1).sum(), (torch.zeros(100, dtype=torch.float64),))
    assert peak_bytes(program) == 1600


def test_views_take_no_memory_and_keep_what_they_look_at_alive():
    def function(x):
        a = 2 * x  # 800 B, alive through its view until the end
        b = (x + 1).sum()  # 800 B, then 8 B
        return a.view(10, 10)[0].sum() + b

    program = record(function, (torch.zeros(100, dtype=torch.float64),))
    assert peak_bytes(program) == 1600 + 8


def test_one_of_several_results_is_memory_of_its_own_unless_it_is_a_view():
    def function(x):
        values, places = (2 * x).sort()  # 800 B each, in place of 2x
        left, right = values.split(50)
        return left.mul_(3).sum() + right.sum() + places.sum()  # 8 B each

    program = record(function, (torch.zeros(100, dtype=torch.float64),))
    assert peak_bytes(program) == 1600 + 16
    values = next(node for node in program.graph.nodes if node.target is operator.getitem)
    assert written(program) == {values}


def test_flops_of_a_product():
    x, y = torch.zeros(3, 4), torch.zeros(4, 5)
    assert count_flops(record(torch.mm, (x, y)), (x, y)) == 2 * 3 * 4 * 5


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x * 2 if x.sum() > 0 else x, "looks at the value of a tensor"),
        (lambda x: x * x.sum().item(), "looks at the value of a tensor"),
        (lambda x: x * torch.rand_like(x), "draws random numbers .*rand"),
        (lambda x: x.mul_(2), "writes into its input"),
        (lambda x: x.view(3, 1)[1:].detach().mul_(2), "writes into its input"),
        (lambda x: x.split([1, 2])[1].clamp_(0, 1), "writes into its input"),
        (lambda x: x.unbind()[0].add_(1), "writes into its input"),
        (lambda x: x + torch.zeros(7), "must match the size"),
    ],
)
def test_what_cannot_be_recorded_says_why(function, message):
    with pytest.raises(UntraceableError, match=message):
        record(function, (torch.ones(3),))
