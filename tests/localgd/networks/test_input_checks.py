"""What cannot be run is refused before anything is, with the node, the value and what to do."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from alone import train_alone
from localgd import NetworkProblem, run
from modules import CROSS_ENTROPY, mlp

SQUARES = nn.MSELoss(reduction="none")


def data(*sizes: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    torch.manual_seed(0)
    return [torch.randn(n, 6) for n in sizes], [torch.randint(0, 3, (n,)) for n in sizes]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32])
def test_labels_of_any_whole_type_give_the_same_run(dtype):
    inputs, targets = data(8, 8)
    module = mlp()
    call = {"local_steps": 3, "step_size": 0.1, "rounds": 2, "device": "cpu"}
    expected = run(NetworkProblem(module, inputs, targets, CROSS_ENTROPY), **call)
    small = [each.to(dtype) for each in targets]
    found = run(NetworkProblem(module, inputs, small, CROSS_ENTROPY), **call)
    np.testing.assert_array_equal(found.loss, expected.loss)


@pytest.mark.parametrize("label", [3, -1])
@pytest.mark.parametrize("node", [0, 1])
def test_a_label_out_of_range_is_named_with_its_node(node, label):
    inputs, targets = data(8, 8)
    targets[node][6] = label
    message = rf"target {label} of sample 6 of node {node}: Target {label} is out of bounds.*from 0"
    with pytest.raises(ValueError, match=message):
        NetworkProblem(mlp(), inputs, targets, CROSS_ENTROPY)


def test_labels_that_count_from_one_are_named():
    inputs, targets = data(8, 8)
    with pytest.raises(ValueError, match=r"cannot take target 3 .*node 0.*counted from 0"):
        NetworkProblem(mlp(), inputs, [each + 1 for each in targets], CROSS_ENTROPY)


@pytest.mark.parametrize(
    ("inputs", "targets", "message"),
    [
        ({"a": 1}, torch.zeros(1, 4), "inputs is a dict, expected one array"),
        ([{"a": torch.zeros(4, 6)}], torch.zeros(1, 4), "inputs of node 0 holds a dict"),
        (
            [(torch.zeros(4, 6), torch.zeros(4, 6))],
            torch.zeros(1, 4),
            "node 0 is a tuple of tensors",
        ),
        (
            torch.zeros(4, 6),
            torch.zeros(4),
            r"targets of node 0 is a single number.*targets\[None\]",
        ),
        (torch.zeros(1, 4, 6).to_sparse(), torch.zeros(1, 4), "inputs of node 0 is sparse"),
        ([["a", "b"]], torch.zeros(1, 2), "inputs of node 0 holds <U1, expected numbers"),
        (
            torch.nested.nested_tensor([torch.zeros(2, 6), torch.zeros(3, 6)], layout=torch.jagged),
            torch.zeros(2, 2),
            "inputs is a nested tensor, expected one array",
        ),
        (5, torch.zeros(1, 2), "inputs is a int, expected one array"),
    ],
)
def test_samples_of_another_kind_are_refused(inputs, targets, message):
    with pytest.raises(ValueError, match=message):
        NetworkProblem(nn.Linear(6, 1), inputs, targets, SQUARES)


def test_inputs_that_the_module_cannot_take_are_refused_with_their_type_and_shape():
    images = torch.zeros(2, 4, 1, 8, 8, dtype=torch.uint8)
    module = nn.Sequential(nn.Conv2d(1, 3, 8), nn.Flatten())
    message = r"Sequential cannot be called on the samples of node 0, which has 4 \(uint8, of shape"
    with pytest.raises(ValueError, match=message):
        NetworkProblem(module, images, torch.zeros(2, 4), CROSS_ENTROPY)


def test_a_node_of_one_sample_is_named_where_a_batch_is_needed():
    module = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    message = (
        r"Sequential cannot be called on the samples of node 2, which has 1 .*more than 1 value"
    )
    with pytest.raises(ValueError, match=message):
        NetworkProblem(module, *data(8, 8, 1, 8), CROSS_ENTROPY)
    run(
        NetworkProblem(module.eval(), *data(8, 8, 1, 8), CROSS_ENTROPY),
        local_steps=1,
        step_size=0.1,
        rounds=1,
    )


class Checkpointed(nn.Module):
    """Computes its activations twice to save memory."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        return self.last(checkpoint(self.first, x, use_reentrant=False))


class SameMemory(nn.Module):
    """An encoder and a decoder whose weights lie in one memory, without being one parameter."""

    def __init__(self, *, turned: bool) -> None:
        super().__init__()
        self.code, self.back = nn.Linear(6, 6), nn.Linear(6, 6)
        self.last = nn.Linear(6, 3)
        weight = self.code.weight.data
        self.back.weight.data = weight.t() if turned else weight

    def forward(self, x):
        return self.last(torch.tanh(self.back(torch.tanh(self.code(x)))))


class OneBlock(nn.Module):
    """Parameters that are the columns and the rest of one block of memory: each its own."""

    def __init__(self) -> None:
        super().__init__()
        block = 0.1 * torch.randn(7, 6)
        self.even = nn.Parameter(block[:6, 0::2])
        self.odd = nn.Parameter(block[:6, 1::2])
        self.bias = nn.Parameter(block[6, :3])

    def forward(self, x):
        return x @ self.even + torch.tanh(x @ self.odd) + self.bias


def test_parameters_in_one_block_of_memory_are_each_their_own():
    start = OneBlock()
    inputs, targets = data(8, 8)
    call = {"local_steps": 2, "step_size": 0.1, "rounds": 3, "device": "cpu"}
    found = run(NetworkProblem(start, inputs, targets, CROSS_ENTROPY), **call)
    expected = train_alone(
        start, inputs, targets, CROSS_ENTROPY, etas=[0.1] * 2, rounds=3, steps=[2] * 2
    )
    np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-5)


def hooked() -> nn.Module:
    module = mlp()
    module[0].register_full_backward_hook(lambda *_: None)
    return module


def compiled_inside() -> nn.Module:
    module = mlp()
    module[0].compile()
    return module


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (hooked, "part 0 of Sequential has backward hooks"),
        (lambda: torch.compile(mlp()), "OptimizedModule is compiled by torch.compile"),
        (
            lambda: SameMemory(turned=False),
            r"code\.weight and back\.weight of SameMemory lie in the same memory",
        ),
        (lambda: SameMemory(turned=True), r"code\.weight and back\.weight of SameMemory lie in"),
        (lambda: nn.LazyLinear(3), "parameter weight of LazyLinear has no shape yet"),
        (compiled_inside, "part 0 of Sequential is compiled by torch.compile"),
        (
            lambda: nn.Sequential(nn.Embedding(9, 3, sparse=True), nn.Flatten()),
            "part 0 of Sequential has sparse gradients: make it with sparse=False",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore")  # torch.compile's own, when it is first asked for
def test_a_part_that_cannot_be_stacked_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        NetworkProblem(make(), *data(4, 4), CROSS_ENTROPY)


def test_activation_checkpoints_are_named():
    with pytest.raises(
        ValueError, match=r"keeps activations by hooks, as torch\.utils\.checkpoint"
    ):
        run(
            NetworkProblem(Checkpointed(), *data(4, 4), CROSS_ENTROPY),
            local_steps=1,
            step_size=0.1,
            rounds=1,
        )


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (SQUARES, r"the loss returns shape \(5, 5\) for 5 samples|takes outputs of shape|returns"),
        (lambda o, t: ((o - t) ** 2).mean(1), r"takes outputs of shape \(5, 1\) with targets of"),
        (lambda o, t: ((o - t) ** 2).mean(0), r"takes outputs of shape \(5, 1\) with targets of"),
        (lambda o, t: ((o[:, 0] - t) ** 2).squeeze(), r"returns shape \(\) for 1 samples"),
        (lambda o, t: ((o[:, 0] - t) ** 2).sum(), r"returns shape \(\) for 1 samples"),
    ],
)
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_a_loss_that_sets_every_output_against_every_target_is_refused(loss, message):
    inputs, _ = data(8, 8)
    with pytest.raises(ValueError, match=message):
        NetworkProblem(nn.Linear(6, 1), inputs, torch.randn(2, 8), loss)
    NetworkProblem(nn.Linear(6, 1), inputs, torch.randn(2, 8), lambda o, t: (o[:, 0] - t) ** 2)
