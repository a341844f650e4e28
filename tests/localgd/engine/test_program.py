"""What a recorded program knows of itself."""

import pytest
import torch

from localgd.engine.program import UntraceableError, count_flops, peak_bytes, record


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


def test_flops_of_a_product():
    x, y = torch.zeros(3, 4), torch.zeros(4, 5)
    assert count_flops(record(torch.mm, (x, y)), (x, y)) == 2 * 3 * 4 * 5


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x * 2 if x.sum() > 0 else x, "looks at the value of a tensor"),
        (lambda x: x * x.sum().item(), "looks at the value of a tensor"),
        (lambda x: x * torch.rand_like(x), "draws random numbers .*rand"),
        (lambda x: x + torch.zeros(7), "must match the size"),
    ],
)
def test_what_cannot_be_recorded_says_why(function, message):
    with pytest.raises(UntraceableError, match=message):
        record(function, (torch.ones(3),))
