"""What a recording cannot hold is refused by name: sizes and numbers made of the data."""

import pytest
import torch
from torch import nn

from alone import train_alone
from localgd import NetworkProblem, run
from modules import CROSS_ENTROPY


class Counted(nn.Module):
    """Divides by a count that it takes from its data."""

    def __init__(self) -> None:
        super().__init__()
        self.l = nn.Linear(6, 3)

    def forward(self, x):
        return self.l(x) / len(torch.nonzero(x[:, 0] > 0))


class CountedWeights(Counted):
    """Divides by a count that it takes from its parameters."""

    def forward(self, x):
        return self.l(x) / (1 + len(torch.nonzero(self.l.weight > 0.1)))


class MeanOfPositive(Counted):
    """Averages as many entries as are positive."""

    def forward(self, x):
        h = self.l(x)
        return h / (h[h > 0].mean() + 1)


class Selected(Counted):
    """Averages as many entries as are positive, by another name."""

    def forward(self, x):
        h = self.l(x)
        return h / (torch.masked_select(h, h > 0).mean() + 1)


class Distinct(Counted):
    """Divides by the number of distinct signs."""

    def forward(self, x):
        return self.l(x) / len(torch.unique(torch.sign(x)))


class CountedImage(nn.Module):
    """A convolution of large images, divided by how many pixels are positive."""

    def __init__(self) -> None:
        super().__init__()
        self.c, self.l = nn.Conv2d(1, 8, 3, padding=1), nn.Linear(8, 3)

    def forward(self, x):
        h = torch.relu(self.c(x)).mean((2, 3))
        return self.l(h) * (len(torch.nonzero(x > 0)) / 1000)


class NumberOfTensor(Counted):
    """Takes a number from its data behind the back of whatever records it."""

    def forward(self, x):
        from torch._C._functorch import get_unwrapped, is_functorch_wrapped_tensor
        from torch.utils._python_dispatch import _disable_current_modes

        value = get_unwrapped(x) if is_functorch_wrapped_tensor(x) else x
        with _disable_current_modes():
            scale = sum(abs(number) for row in value.tolist() for number in row)
        return self.l(x) / scale


def data(m: int, *shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(m, 8, *shape, dtype=torch.float64), torch.randint(0, 3, (m, 8))


def test_a_count_taken_from_the_data_is_refused_where_it_gave_wrong_numbers():
    inputs, targets = data(3, 6)
    torch.manual_seed(1)
    module = Counted().double()
    # local steps 3, 3, 3 -> average -> 3, 3, 3 -> average, called plainly
    alone = train_alone(
        module, list(inputs), list(targets), CROSS_ENTROPY, etas=[0.1] * 3, steps=[3] * 3, rounds=2
    )
    torch.testing.assert_close(alone.loss, [1.07755, 1.07345, 1.06947], rtol=0, atol=1e-5)
    for chunk_size in (1, None):
        with pytest.raises(ValueError, match=r"Counted .* sizes .* depend on values \(aten\.nonz"):
            run(
                NetworkProblem(module, inputs, targets, CROSS_ENTROPY),
                local_steps=3,
                step_size=0.1,
                rounds=2,
                chunk_size=chunk_size,
            )


@pytest.mark.parametrize(
    ("make", "m", "shape", "named"),
    [
        (CountedWeights, 1, (6,), "nonzero"),
        (MeanOfPositive, 1, (6,), r"index\.Tensor"),
        (MeanOfPositive, 2, (6,), r"index\.Tensor"),
        (Selected, 1, (6,), "masked_select"),
        (Distinct, 2, (6,), "unique"),
        (CountedImage, 2, (1, 48, 48), "nonzero"),
    ],
)
def test_sizes_that_depend_on_values_are_refused_by_name(make, m, shape, named):
    torch.manual_seed(1)
    problem = NetworkProblem(make().double(), *data(m, *shape), CROSS_ENTROPY)
    with pytest.raises(
        ValueError, match=rf"{make.__name__} .* depend on values \(aten\.\w*{named}"
    ):
        run(problem, local_steps=3, step_size=0.1, rounds=2)


def test_a_number_that_a_recording_would_freeze_is_found_on_the_other_nodes():
    inputs, targets = data(3, 6)
    torch.manual_seed(1)
    problem = NetworkProblem(NumberOfTensor().double(), inputs, targets, CROSS_ENTROPY)
    with pytest.raises(
        ValueError, match=r"NumberOfTensor cannot be recorded .*: node 1 gives some"
    ):
        run(problem, local_steps=1, step_size=0.1, rounds=1, chunk_size=1)
    same = inputs[:1].expand(3, -1, -1)
    problem = NetworkProblem(NumberOfTensor().double(), same, targets, CROSS_ENTROPY)
    run(problem, local_steps=1, step_size=0.1, rounds=1, chunk_size=1)  # the same on all nodes


class ConstantMask(nn.Module):
    """Reads some of its inputs, always the same."""

    def __init__(self) -> None:
        super().__init__()
        self.l = nn.Linear(4, 3)
        self.register_buffer("kept", torch.tensor([True, True, False, True, True, False]))

    def forward(self, x):
        return self.l(x[:, self.kept])


@pytest.mark.parametrize("chunk_size", [1, None])
def test_a_mask_that_is_always_the_same_is_no_obstacle(chunk_size):
    inputs, targets = data(3, 6)
    module = ConstantMask().double()
    trace = run(
        NetworkProblem(module, inputs, targets, CROSS_ENTROPY),
        local_steps=3,
        step_size=0.1,
        rounds=2,
        chunk_size=chunk_size,
    )
    alone = train_alone(
        module, list(inputs), list(targets), CROSS_ENTROPY, etas=[0.1] * 3, steps=[3] * 3, rounds=2
    )
    torch.testing.assert_close(list(trace.loss), alone.loss, rtol=1e-9, atol=0)
