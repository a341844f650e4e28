"""A module batched, padded and recorded does what it does when it is called, or is refused."""

import random
import threading

import numpy as np
import pytest
import torch
from torch import nn

from alone import train_alone
from localgd import NetworkProblem, run
from localgd.networks import ResNet18
from modules import CROSS_ENTROPY, linear, problem_parts

CLASS_WEIGHTS = torch.tensor([1.0, 5.0, 25.0], dtype=torch.float64)


def zero_head() -> nn.Module:
    module = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 3))
    nn.init.zeros_(module[3].weight)
    return module


class ZeroGate(nn.Module):
    """A residual branch behind a gate that starts at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.last = nn.BatchNorm1d(6), nn.Linear(6, 3)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x):
        return self.last(x + torch.tanh(self.norm(x)))


class BatchSize(nn.Linear):
    """Divides by the size of its batch."""

    def __init__(self) -> None:
        super().__init__(6, 3)

    def forward(self, x):
        return super().forward(x) / len(x)


class Frequencies(nn.Module):
    """Scales the gradient of an embedding by how often a word occurs in the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.last = nn.Embedding(5, 6, scale_grad_by_freq=True), nn.Linear(6, 3)

    def forward(self, x):
        return self.last(torch.tanh(self.words(x[:, 0].abs().long() % 5)))


class Named(nn.Module):
    """Returns its outputs in a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.norm, self.last = nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)

    def forward(self, x):
        return {"scores": self.last(torch.tanh(self.norm(self.hidden(x))))}


def balanced(outputs, targets):
    """Weights the samples by their class, in proportion to the batch."""
    weights = CLASS_WEIGHTS[targets]
    return CROSS_ENTROPY(outputs, targets) * weights / weights.mean()


def by_class(outputs, targets):
    """Weights every class alike, whatever its share of the batch."""
    counts = (targets[:, None] == torch.arange(3)).to(outputs.dtype).sum(0)
    return CROSS_ENTROPY(outputs, targets) * (len(targets) / (3 * counts[targets]))


def centred(outputs, targets):
    """Compares with the mean output of the batch."""
    return CROSS_ENTROPY(outputs - 0.5 * outputs.mean(0), targets)


def of_scores(outputs, targets):
    return CROSS_ENTROPY(outputs["scores"], targets)


MIXING = {
    "a head that starts at zero": (zero_head, CROSS_ENTROPY),
    "a gate that starts at zero": (ZeroGate, CROSS_ENTROPY),
    "the size of the batch": (BatchSize, CROSS_ENTROPY),
    "frequencies in the batch": (Frequencies, CROSS_ENTROPY),
    "a dictionary": (Named, of_scores),
    "the loss": (linear, balanced),
}


@pytest.mark.claim("alg1", kind="numeric")
@pytest.mark.parametrize("name", MIXING)
def test_nodes_of_different_size_are_not_padded_where_samples_mix(name):
    make, loss = MIXING[name]
    torch.manual_seed(0)
    module = make().double()
    _, inputs, targets = problem_parts("linear", [3, 6, 5], 4)
    problem = NetworkProblem(module, inputs, targets, loss)
    if name != "frequencies in the batch":  # vmap has no rule for it, so the nodes run alone
        assert [len(chunk.nodes) for chunk in problem.chunks()] == [1, 1, 1]
    trace = run(problem, local_steps=4, step_size=0.05, rounds=3, device="cpu", chunk_size=1)
    alone = train_alone(module, inputs, targets, loss, etas=[0.05] * 3, steps=[4] * 3, rounds=3)
    np.testing.assert_allclose(trace.loss, alone.loss, rtol=1e-9)


@pytest.mark.claim("alg1", kind="numeric")
@pytest.mark.parametrize("loss", [by_class, centred, balanced])
@pytest.mark.parametrize("sizes", [[1, 1, 1, 4, 6], [8, 9, 10]])
def test_mixing_is_seen_where_the_first_samples_are_alike(loss, sizes):
    module, inputs, targets = problem_parts("linear", sizes, 4)
    targets = [target.sort().values for target in targets]  # each node's first have one class
    problem = NetworkProblem(module, inputs, targets, loss)
    assert len(problem.chunks()) == len(set(sizes))
    m = len(sizes)
    trace = run(problem, local_steps=2, step_size=0.02, rounds=2, device="cpu")
    alone = train_alone(module, inputs, targets, loss, etas=[0.02] * m, steps=[2] * m, rounds=2)
    np.testing.assert_allclose(trace.loss, alone.loss, rtol=1e-9)


class Averages(nn.Module):
    """Keeps a running mean of its batches, which no output shows."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(6, 3)
        self.register_buffer("mean", torch.zeros(6))

    def forward(self, x):
        self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
        return self.last(x)


def test_a_large_loss_hides_no_small_buffer():
    torch.manual_seed(0)
    module = Averages().double()
    _, inputs, _ = problem_parts("linear", [3, 6, 5], 4)
    targets = [1e6 + torch.randn(len(u), 3, dtype=torch.float64) for u in inputs]
    problem = NetworkProblem(module, inputs, targets, lambda o, t: ((o - t) ** 2).sum(1))
    assert len(problem.chunks()) == 3


def test_nodes_are_padded_where_samples_do_not_mix():
    # The control: not everything is taken for mixing.
    _, inputs, targets = problem_parts("linear", [3, 6, 5], 4)
    for module in (linear(), nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 3))):
        problem = NetworkProblem(module.double(), inputs, targets, CROSS_ENTROPY)
        assert [len(chunk.nodes) for chunk in problem.chunks()] == [3]


class Assigns(nn.Module):
    """Keeps running values by assigning its buffers anew."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(6, 3)
        self.register_buffer("run", torch.zeros(6))
        self.register_buffer("calls", torch.tensor(0))

    def forward(self, x):
        self.run = 0.9 * self.run + 0.1 * x.mean(0).detach()
        self.calls = self.calls + 1
        return self.last(x - self.run)


class WritesIntoPart(Assigns):
    """Writes its buffers in place, one of them in part."""

    def forward(self, x):
        self.run[:3] = x.mean(0).detach()[:3]
        self.calls += 1
        return self.last(x - self.run)


@pytest.mark.claim("alg1", kind="numeric")
@pytest.mark.parametrize("make", [Assigns, WritesIntoPart])
@pytest.mark.parametrize("chunk_size", [1, 3])
def test_buffers_that_are_assigned_are_carried_like_those_that_are_written(make, chunk_size):
    torch.manual_seed(0)
    module = make().double()
    _, inputs, targets = problem_parts("linear", [4, 4, 4], 1)
    problem = NetworkProblem(module, inputs, targets, CROSS_ENTROPY)
    assert problem.num_buffers == 7
    call = {"local_steps": [2, 4, 3], "step_size": 0.1, "rounds": 3, "device": "cpu"}
    trace = run(problem, chunk_size=chunk_size, **call)
    alone = train_alone(
        module, inputs, targets, CROSS_ENTROPY, etas=[0.1] * 3, steps=[2, 4, 3], rounds=3
    )
    np.testing.assert_allclose(trace.loss, alone.loss, rtol=1e-9)
    state = problem.unflatten(trace.x).state_dict()
    for name, value in alone.state.items():
        torch.testing.assert_close(state[name], value, rtol=1e-9, atol=1e-12)


class Constants(nn.Module):
    """Reads buffers that no real number of x's type could carry."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(6, 3)
        self.register_buffer("phase", torch.tensor([1 + 2j] * 6))
        self.register_buffer("large", torch.tensor(2**24 + 1))
        self.register_buffer("mask", torch.tensor([0.0, 0.0, -torch.inf]))

    def forward(self, x):
        turned = (x * self.phase).imag + (self.large - 2**24)
        return torch.softmax(self.last(turned) + self.mask, 1)


def test_buffers_that_are_only_read_stay_constants_of_any_type():
    torch.manual_seed(0)
    module = Constants()
    inputs, targets = torch.randn(2, 4, 6), torch.randint(0, 3, (2, 4))
    problem = NetworkProblem(module, inputs, targets, CROSS_ENTROPY)
    assert problem.num_buffers == 0
    trace = run(problem, local_steps=3, step_size=0.1, rounds=2, device="cpu")
    alone = train_alone(
        module, list(inputs), list(targets), CROSS_ENTROPY, etas=[0.1] * 2, steps=[3] * 2, rounds=2
    )
    np.testing.assert_allclose(trace.loss, alone.loss, rtol=1e-5)
    trained = dict(problem.unflatten(trace.x).named_buffers())
    for name, value in module.named_buffers():
        assert torch.equal(trained[name], value)


class Reshapes(Assigns):
    """Turns a buffer into one of another shape."""

    def forward(self, x):
        self.run = x.detach()
        return self.last(x)


class Turns(Assigns):
    """Writes a complex buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("phase", torch.ones(6, dtype=torch.complex64))

    def forward(self, x):
        self.phase *= 1j
        return self.last(x)


class CountsInPython(Assigns):
    """Keeps state where no tensor operation sees it."""

    calls_so_far = 0

    def forward(self, x):
        self.calls_so_far += 1
        return self.last(x) * self.calls_so_far


class DrawsElsewhere(Assigns):
    """Draws random numbers that are not PyTorch's."""

    def forward(self, x):
        return self.last(x) * random.random()


class DrawsFromNumPy(Assigns):
    """Draws random numbers from NumPy."""

    def forward(self, x):
        return self.last(x) * float(np.random.rand())  # noqa: NPY002


class DropsLayers(Assigns):
    """Leaves a layer out now and then, as Python's random numbers will have it."""

    def forward(self, x):
        return self.last(x if random.random() > 1e-12 else -x)


class Fades(Assigns):
    """Fades a little from call to call."""

    calls_so_far = 0

    def forward(self, x):
        self.calls_so_far += 1
        return self.last(x) * (1 - 1e-4 * self.calls_so_far)


class Masked(Assigns):
    """Has a gradient hook."""

    def __init__(self) -> None:
        super().__init__()
        self.last.weight.register_hook(lambda gradient: gradient * 0)


class Counts(Assigns):
    """Counts higher than float32 can."""

    def __init__(self) -> None:
        super().__init__()
        self.calls += 20_000_000


class GoesRound(Assigns):
    """Writes where autograd does not look."""

    def forward(self, x):
        self.last.weight.data.mul_(0.5)
        return self.last(x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Reshapes, r"turns its buffer run from .*\(6,\) into .*\(4, 6\)"),
        (Turns, r"turns its buffer phase .* must stay real"),
        (CountsInPython, "attribute calls_so_far of CountsInPython changes.*keep state in Python"),
        (DrawsElsewhere, "draw numbers outside PyTorch"),
        (DrawsFromNumPy, "draw numbers outside PyTorch"),
        (DropsLayers, "draw numbers outside PyTorch"),
        (Fades, "keep state in Python"),
        (Masked, r"parameter last\.weight of Masked has gradient hooks"),
        (Counts, "buffer calls holds 20000000, more than torch.float32 counts"),
        (GoesRound, r"GoesRound changes its parameter last\.weight"),
    ],
)
def test_what_batching_would_lose_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        NetworkProblem(make(), torch.randn(2, 4, 6), torch.zeros(2, 4).long(), CROSS_ENTROPY)


def test_a_deep_network_on_few_samples_is_not_refused_for_its_rounding():
    torch.manual_seed(1)  # in float32 the two ways of calling it differ by more than 1e-3
    data = torch.randn(2, 5, 3, 32, 32), torch.randint(0, 3, (2, 5))
    NetworkProblem(ResNet18(), *data, CROSS_ENTROPY)


def test_a_tensor_to_train_that_is_no_parameter_is_refused():
    class Unlisted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = torch.randn(6, 6).requires_grad_()
            self.last = nn.Linear(6, 3)

        def forward(self, x):
            return self.last(torch.tanh(x @ self.first))

    data = torch.randn(2, 4, 6), torch.zeros(2, 4).long()
    with pytest.raises(ValueError, match="requires a gradient and is no parameter of Unlisted"):
        NetworkProblem(Unlisted(), *data, CROSS_ENTROPY)
    module = nn.Linear(6, 3)

    def decayed(outputs, targets):
        return CROSS_ENTROPY(outputs, targets) + module.weight.square().sum()

    with pytest.raises(ValueError, match="the loss reads module, which is Linear"):
        NetworkProblem(module, *data, decayed)


class Whitens(nn.Module):
    """Is defined for positive-definite matrices only, and starts near their border."""

    def __init__(self) -> None:
        super().__init__()
        self.gram, self.last = nn.Parameter(0.05 * torch.eye(6)), nn.Linear(6, 3)

    def forward(self, x):
        return self.last(x @ torch.linalg.cholesky(self.gram))


def test_a_module_is_tried_and_recorded_where_it_is_defined():
    _, inputs, targets = problem_parts("linear", [4, 4], 1)
    torch.manual_seed(0)
    module = Whitens().double()
    problem = NetworkProblem(module, inputs, targets, CROSS_ENTROPY)
    trace = run(problem, local_steps=2, step_size=1e-4, rounds=2, device="cpu")
    alone = train_alone(
        module, inputs, targets, CROSS_ENTROPY, etas=[1e-4] * 2, steps=[2] * 2, rounds=2
    )
    np.testing.assert_allclose(trace.loss, alone.loss, rtol=1e-9)


def test_the_loss_moves_with_the_module():
    module, inputs, targets = problem_parts("mlp", [4, 4], 0)
    loss = nn.CrossEntropyLoss(weight=CLASS_WEIGHTS, reduction="none")
    problem = NetworkProblem(module, inputs, targets, loss)
    call = {"local_steps": 2, "step_size": 0.1, "rounds": 2, "device": "cpu"}
    single = run(problem, dtype=torch.float32, **call)
    np.testing.assert_allclose(single.x, run(problem, **call).x, rtol=1e-4, atol=1e-6)


def test_attention_without_dropout_draws_nothing():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(6, 2, 8, dropout=0.0, batch_first=True)
    module = nn.Sequential(layer, nn.Flatten(), nn.Linear(18, 3)).double()
    inputs = torch.randn(2, 4, 3, 6, dtype=torch.float64)
    targets = torch.randint(0, 3, (2, 4))
    problem = NetworkProblem(module, inputs, targets, CROSS_ENTROPY)
    trace = run(problem, local_steps=3, step_size=0.1, rounds=2, device="cpu")
    alone = train_alone(
        module, list(inputs), list(targets), CROSS_ENTROPY, etas=[0.1] * 2, steps=[3] * 2, rounds=2
    )
    np.testing.assert_allclose(trace.loss, alone.loss, rtol=1e-9)
    noisy = nn.TransformerEncoderLayer(6, 2, 8, dropout=0.2, batch_first=True)
    module = nn.Sequential(noisy, nn.Flatten(), nn.Linear(18, 3)).double()
    with pytest.raises(ValueError, match="random"):
        run(
            NetworkProblem(module, inputs, targets, CROSS_ENTROPY),
            local_steps=1,
            step_size=0.1,
            rounds=1,
        )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_type_that_numpy_cannot_average_is_refused(dtype):
    module, inputs, targets = problem_parts("mlp", [4, 4], 0)
    with pytest.raises(ValueError, match="expected all float32 or all float64"):
        NetworkProblem(module.to(dtype), inputs, targets, CROSS_ENTROPY)
    problem = NetworkProblem(module.double(), inputs, targets, CROSS_ENTROPY)
    with pytest.raises(ValueError, match=r"must be torch\.float32 or torch\.float64"):
        run(problem, local_steps=1, step_size=0.1, rounds=1, dtype=dtype)


def test_a_module_that_cannot_be_copied_says_so():
    module = nn.Linear(6, 3)
    module.lock = threading.Lock()
    with pytest.raises(ValueError, match="Linear cannot be copied"):
        NetworkProblem(module, torch.randn(2, 4, 6), torch.zeros(2, 4).long(), CROSS_ENTROPY)


class Elsewhere(nn.Linear):
    """A layer that says on which device it is, like one on a GPU."""

    place = "a GPU"

    def cpu(self):
        moved = super().cpu()
        moved.place = "the CPU"
        return moved

    def forward(self, x):
        if self.place != "the CPU":
            raise RuntimeError("Expected all tensors to be on the same device")
        return super().forward(x)


def test_a_module_may_be_on_a_gpu_when_it_is_handed_over():
    module = Elsewhere(6, 3)
    problem = NetworkProblem(module, torch.ones(2, 4, 6), torch.zeros(2, 4).long(), CROSS_ENTROPY)
    assert problem.module.place == "the CPU"
    assert module.place == "a GPU"


class WeightsElsewhere(nn.CrossEntropyLoss):
    """A loss that is on a GPU."""

    place = "a GPU"

    def cpu(self):
        moved = super().cpu()
        moved.place = "the CPU"
        return moved

    def forward(self, outputs, targets):
        if self.place != "the CPU":
            raise RuntimeError("Expected all tensors to be on the same device")
        return super().forward(outputs, targets)


def test_a_loss_may_be_on_a_gpu_when_it_is_handed_over():
    loss = WeightsElsewhere(weight=CLASS_WEIGHTS.float(), reduction="none")
    NetworkProblem(nn.Linear(6, 3), torch.ones(2, 4, 6), torch.zeros(2, 4).long(), loss)
    assert loss.place == "a GPU"


class Weighted(nn.Module):
    """A loss with a weight of its own."""

    def __init__(self, trained: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()), requires_grad=trained)

    def forward(self, outputs, targets):
        return self.weight * CROSS_ENTROPY(outputs, targets)


def test_a_loss_with_parameters_to_train_is_refused():
    data = torch.ones(2, 4, 6), torch.zeros(2, 4).long()
    with pytest.raises(ValueError, match=r"loss Weighted has trainable parameters \(weight\)"):
        NetworkProblem(nn.Linear(6, 3), *data, Weighted(trained=True))
    problem = NetworkProblem(nn.Linear(6, 3), *data, Weighted(trained=False))
    call = {"local_steps": 2, "step_size": 0.1, "rounds": 2, "device": "cpu"}
    plain = NetworkProblem(problem.module, *data, CROSS_ENTROPY)
    np.testing.assert_allclose(run(problem, **call).x, run(plain, **call).x, rtol=1e-6)
