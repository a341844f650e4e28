"""What can be captured is known from the recording, and constants are where they are needed."""

import pytest
import torch

from localgd.engine.gpu_rewrites import obstacle, place_constants
from localgd.engine.program import record

X = torch.arange(4.0)
MASK = torch.tensor([True, False, True, True])


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda x: (x[MASK],), "index"),
        (lambda x: (x.clone().index_put((x > 1,), torch.tensor(0.0)),), "index_put"),
        (lambda x: (torch.masked_select(x, MASK),), "masked_select"),
        (lambda x: (x[MASK.nonzero()[:, 0]],), "nonzero"),
    ],
)
def test_what_waits_for_values_is_not_captured(function, name):
    found = obstacle(record(function, (X,)))
    assert found is not None
    assert name in found


@pytest.mark.parametrize(
    "function",
    [
        lambda x: (x[torch.tensor([0, 2])],),
        lambda x: (torch.where(x > 1, x, 0.0),),
        lambda x: (x.masked_fill(x > 1, 0.0),),
    ],
)
def test_what_waits_for_nothing_is(function):
    assert obstacle(record(function, (X,))) is None


def test_a_copy_to_another_device_is_not_captured():
    program = record(lambda x: (x.to("meta"),), (X,))
    assert "_to_copy" in str(obstacle(program))


def test_constants_are_moved_once_and_not_in_every_step():
    table = torch.tensor([1.0, 2.0, 3.0, 4.0])
    program = record(lambda x: (x * table + torch.zeros(4) + torch.tensor(3.0),), (X,))
    place_constants(program, torch.device("meta"))
    held = [value for value in vars(program).values() if isinstance(value, torch.Tensor)]
    held += [*program.buffers()]
    assert held
    assert {value.device.type for value in held} == {"meta"}
    made = [node.kwargs["device"] for node in program.graph.nodes if "device" in node.kwargs]
    assert made
    assert {str(each) for each in made} == {"meta"}
