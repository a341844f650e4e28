"""A network on all nodes at once is the network on each node alone."""

import copy
import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from alone import mean_loss, train_alone
from localgd import NetworkProblem, UntilStationary, run
from modules import CROSS_ENTROPY, FACTORIES, mlp, problem_parts

CLOSE = {"rtol": 1e-9, "atol": 1e-10}
kinds = st.sampled_from(sorted(FACTORIES))
sizes = st.lists(st.integers(2, 5), min_size=1, max_size=4)


def assert_same(trace, problem, alone) -> None:
    np.testing.assert_allclose(trace.loss, alone.loss, **CLOSE)
    state = problem.unflatten(trace.x).state_dict()
    assert state.keys() == alone.state.keys()
    for name, value in alone.state.items():
        torch.testing.assert_close(state[name], value, **CLOSE)


@pytest.mark.claim("alg1", kind="numeric")
@pytest.mark.mutation(
    "constant", "etas=etas, steps=steps", "etas=etas, steps=[t + 1 for t in steps]"
)
@pytest.mark.mutation(
    "sign",
    "local_steps=steps, step_size=etas",
    "local_steps=steps, step_size=[eta / 2 for eta in etas]",
)
@settings(max_examples=40)
@given(kinds, sizes, st.integers(0, 2**20), st.integers(1, 4), st.data())
def test_fixed_steps_are_those_of_each_node_alone(kind, sizes, seed, chunk_size, data):
    module, inputs, targets = problem_parts(kind, sizes, seed)
    m = len(sizes)
    steps = data.draw(st.lists(st.integers(1, 5), min_size=m, max_size=m))
    etas = data.draw(st.lists(st.floats(0.01, 0.2), min_size=m, max_size=m))
    problem = NetworkProblem(module, inputs, targets, CROSS_ENTROPY)
    trace = run(
        problem, local_steps=steps, step_size=etas, rounds=3, device="cpu", chunk_size=chunk_size
    )
    alone = train_alone(module, inputs, targets, CROSS_ENTROPY, etas=etas, steps=steps, rounds=3)
    assert_same(trace, problem, alone)


@pytest.mark.claim("alg1", kind="numeric")
@settings(max_examples=25)
@given(kinds, sizes, st.integers(0, 2**20), st.integers(1, 4))
def test_the_threshold_rule_is_that_of_each_node_alone(kind, sizes, seed, chunk_size):
    module, inputs, targets = problem_parts(kind, sizes, seed)
    etas = [0.1] * len(sizes)
    problem = NetworkProblem(module, inputs, targets, CROSS_ENTROPY)
    rule = UntilStationary(0.05, max_steps=80)
    trace = run(
        problem, local_steps=rule, step_size=etas, rounds=2, device="cpu", chunk_size=chunk_size
    )
    alone = train_alone(
        module, inputs, targets, CROSS_ENTROPY, etas=etas, grad_tol=0.05, max_steps=80, rounds=2
    )
    rows = len(trace) - 1  # fewer where nothing moves any more
    assert trace.local_steps[1:].tolist() == alone.local_steps[:rows]
    np.testing.assert_allclose(trace.loss, alone.loss[: rows + 1], **CLOSE)


def test_padding_with_samples_that_count_would_be_seen():
    # The control: a short node padded with a sample of full weight is another problem.
    module, inputs, targets = problem_parts("linear", [2, 4], 0)
    padded = [torch.cat([inputs[0], inputs[0][:1], inputs[0][:1]]), inputs[1]]
    labels = [torch.cat([targets[0], targets[0][:1], targets[0][:1]]), targets[1]]
    right = NetworkProblem(module, inputs, targets, CROSS_ENTROPY)
    wrong = NetworkProblem(module, padded, labels, CROSS_ENTROPY)
    x = right.initial(torch.Generator()).expand(2, -1)
    assert abs(float(right.evaluate(x)[0][0] - wrong.evaluate(x)[0][0])) > 1e-3


def test_nodes_of_different_size_are_one_batch_unless_the_module_mixes_samples():
    for kind, batches in (("mlp", [3]), ("convolutional", [3]), ("normalised", [2, 1])):
        problem = NetworkProblem(*problem_parts(kind, [3, 5, 3], 0), CROSS_ENTROPY)
        assert [len(chunk.nodes) for chunk in problem.chunks()] == batches
    module, inputs, targets = problem_parts("normalised", [3, 5, 3], 0)
    still = NetworkProblem(module.eval(), inputs, targets, CROSS_ENTROPY)
    assert [len(chunk.nodes) for chunk in still.chunks()] == [3]


def test_a_frozen_network_keeps_its_statistics_and_does_not_carry_them():
    module, inputs, targets = problem_parts("normalised", [4, 4], 1)
    module.eval()
    problem = NetworkProblem(module, inputs, targets, CROSS_ENTROPY)
    trace = run(problem, local_steps=3, step_size=0.1, rounds=2, device="cpu")
    assert problem.num_buffers == 0
    trained = dict(problem.unflatten(trace.x).named_buffers())
    for name, value in module.named_buffers():
        assert torch.equal(trained[name], value)


def test_statistics_do_not_count_as_gradients():
    module, inputs, targets = problem_parts("normalised", [5], 2)
    problem = NetworkProblem(module, inputs, targets, CROSS_ENTROPY)
    trace = run(problem, local_steps=1, step_size=0.1, rounds=0, device="cpu")
    alone = copy.deepcopy(module)
    CROSS_ENTROPY(alone(inputs[0]), targets[0]).mean().backward()
    expected = sum(float((p.grad**2).sum()) for p in alone.parameters())
    assert trace.grad_norm_sq[0] == pytest.approx(expected, rel=1e-12)


def test_the_module_that_is_handed_over_is_left_alone():
    module, inputs, targets = problem_parts("normalised", [4], 3)
    before = copy.deepcopy(module.state_dict())
    problem = NetworkProblem(module, inputs, targets, CROSS_ENTROPY)
    run(problem, local_steps=2, step_size=0.1, rounds=2, device="cpu")
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])


@given(kinds, st.integers(0, 2**20))
@settings(max_examples=10)
def test_flatten_and_unflatten_are_inverse(kind, seed):
    module, inputs, targets = problem_parts(kind, [2], seed)
    problem = NetworkProblem(module, inputs, targets, CROSS_ENTROPY)
    x = torch.randn(problem.dim, dtype=torch.float64)
    if problem.num_buffers:
        x[-problem.num_buffers :] = problem.initial(torch.Generator())[-problem.num_buffers :]
    assert torch.equal(problem.flatten(problem.unflatten(x)), x)


def test_another_initialisation_is_another_start():
    module, inputs, targets = problem_parts("mlp", [4, 4], 0)
    problem = NetworkProblem(module, inputs, targets, CROSS_ENTROPY)
    other = problem_parts("mlp", [1], 9)[0]
    trace = run(problem, problem.flatten(other), local_steps=1, step_size=0.1, rounds=1)
    same = run(
        NetworkProblem(other, inputs, targets, CROSS_ENTROPY),
        local_steps=1,
        step_size=0.1,
        rounds=1,
    )
    assert trace.x.tobytes() == same.x.tobytes()


def test_regression_targets_and_any_loss():
    module = nn.Linear(2, 1)
    inputs = np.random.default_rng(0).standard_normal((2, 5, 2)).astype(np.float32)
    problem = NetworkProblem(
        module, inputs, inputs.sum(2), lambda out, target: (out[:, 0] - target) ** 2
    )
    trace = run(problem, local_steps=50, step_size=0.1, rounds=20, device="cpu")
    assert trace.loss[-1] < 1e-6
    np.testing.assert_allclose(trace.x, [1.0, 1.0, 0.0], atol=2e-3)


def test_float64_on_request():
    problem = NetworkProblem(*problem_parts("mlp", [4, 4], 0), CROSS_ENTROPY)
    single = run(problem, local_steps=2, step_size=0.1, rounds=2, dtype=torch.float32)
    double = run(problem, local_steps=2, step_size=0.1, rounds=2)
    assert (single.x.dtype, double.x.dtype) == (np.float32, np.float64)
    np.testing.assert_allclose(single.x, double.x, rtol=1e-4, atol=1e-6)
    module, inputs, targets = problem_parts("mlp", [3, 7], 0)
    module = module.float()  # 1/3 and 1/7 are to be rounded to float64 then, not to float32
    upcast = run(
        NetworkProblem(module, inputs, targets, CROSS_ENTROPY),
        local_steps=1,
        step_size=0.1,
        rounds=0,
        dtype=torch.float64,
    )
    loss = mean_loss(module.double(), inputs, targets, CROSS_ENTROPY)
    assert upcast.loss[0] == pytest.approx(loss, rel=1e-14)
    with pytest.raises(ValueError, match=r"dtype=torch\.int64 must be torch\.float32 or"):
        run(problem, local_steps=1, step_size=0.1, rounds=1, dtype=torch.int64)


class LooksAtValues(nn.Linear):
    """A forward pass that branches on a value."""

    def forward(self, x):
        return super().forward(x) * (2.0 if float(x.detach().sum()) > 1e9 else 1.0)


@pytest.mark.parametrize("nodes", [1, 2])
def test_a_module_that_cannot_be_batched_says_what_to_do(nodes):
    _, inputs, targets = problem_parts("linear", [3] * nodes, 0)
    problem = NetworkProblem(LooksAtValues(6, 3).double(), inputs, targets, CROSS_ENTROPY)
    with pytest.raises(ValueError, match=r"LooksAtValues cannot be batched.*no \.item\(\)"):
        run(problem, local_steps=1, step_size=0.1, rounds=1, device="cpu")


def test_what_cannot_be_stacked_runs_node_by_node():
    _, inputs, targets = problem_parts("linear", [3, 3], 0)
    torch.manual_seed(0)
    module = nn.utils.parametrizations.spectral_norm(nn.Linear(6, 3)).double()
    problem = NetworkProblem(module, inputs, targets, CROSS_ENTROPY)
    call = {"local_steps": 2, "step_size": 0.1, "rounds": 2, "device": "cpu"}
    with pytest.raises(ValueError, match=r"cannot stack aten::\S+ over nodes; chunk_size=1"):
        run(problem, **call)
    trace = run(problem, chunk_size=1, **call)
    alone = train_alone(
        module, inputs, targets, CROSS_ENTROPY, etas=[0.1] * 2, steps=[2] * 2, rounds=2
    )
    assert_same(trace, problem, alone)


@pytest.mark.parametrize(
    "module",
    [LooksAtValues(6, 3), nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3, momentum=None))],
    ids=["a branch", "a cumulative mean"],
)
def test_a_look_at_a_value_is_named_as_such(module):
    _, inputs, targets = problem_parts("linear", [3, 3], 0)
    problem = NetworkProblem(module.double(), inputs, targets, CROSS_ENTROPY)
    with pytest.raises(ValueError, match="over nodes: it looks at the value of a tensor"):
        run(problem, local_steps=1, step_size=0.1, rounds=1, device="cpu")


@pytest.mark.parametrize("nodes", [1, 2])
def test_dropout_is_refused_until_it_is_switched_off(nodes):
    _, inputs, targets = problem_parts("linear", [3] * nodes, 0)
    module = nn.Sequential(nn.Linear(6, 3), nn.Dropout(0.5)).double()
    call = {"local_steps": 1, "step_size": 0.1, "rounds": 1, "device": "cpu"}
    with pytest.raises(ValueError, match=r"Sequential cannot be batched.*random.*\.eval\(\)"):
        run(NetworkProblem(module, inputs, targets, CROSS_ENTROPY), **call)
    module[1].eval()
    run(NetworkProblem(module, inputs, targets, CROSS_ENTROPY), **call)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": []}, "inputs holds 0 nodes and targets 2"),
        ({"targets": torch.zeros(3, 4)}, "inputs holds 2 nodes and targets 3"),
        ({"targets": [[0, 1, 2], [0, 1]]}, "node 1 has 4 inputs and 2 targets|node 0 has 4"),
        ({"inputs": [torch.ones(4, 6), torch.ones(4, 5)]}, "inputs of node 1 has samples of shape"),
        ({"inputs": [torch.ones(4, 6), torch.ones(0, 6)]}, "node 1 is empty"),
        ({"inputs": torch.full((2, 4, 6), torch.nan)}, "inputs of node 0 holds nan at index"),
        ({"loss": nn.CrossEntropyLoss()}, r"shape \(\) for 1 samples, expected \(1,\)"),
        ({"loss": lambda out, _: out}, r"shape \(1, 3\) for 1 samples, expected \(1,\)"),
        ({"loss": lambda out, _: 1.0}, "shape float for 1 samples"),
        ({"module": nn.Flatten()}, "Flatten has no trainable parameters"),
        (
            {"module": nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 3).double())},
            "of type float32, float64",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(change, message):
    call = {
        "module": mlp(),
        "inputs": torch.ones(2, 4, 6),
        "targets": torch.zeros(2, 4, dtype=torch.int64),
        "loss": CROSS_ENTROPY,
    } | change
    with pytest.raises(ValueError, match=message):
        NetworkProblem(**call)


def test_another_module_cannot_be_flattened():
    problem = NetworkProblem(*problem_parts("mlp", [3], 0), CROSS_ENTROPY)
    with pytest.raises(ValueError, match=r"Linear has other parameters than Sequential: weight is"):
        problem.flatten(nn.Linear(6, 3))
    with pytest.raises(ValueError, match=r"x has shape \(3,\), expected \(53,\)"):
        problem.unflatten(np.zeros(3))


def test_provenance_names_module_loss_and_sizes():
    problem = NetworkProblem(*problem_parts("normalised", [3, 4], 0), CROSS_ENTROPY)
    record = problem.provenance()
    assert record["module"] == "Sequential"
    assert record["loss"] == "CrossEntropyLoss()"
    assert record["samples"] == [3, 4]
    assert record["num_buffers"] == 2 * (3 + 3 + 1)
    partial = NetworkProblem(
        *problem_parts("mlp", [3], 0),
        functools.partial(nn.functional.cross_entropy, reduction="none"),
    )
    assert "cross_entropy" in partial.provenance()["loss"]


class WritesIntoInput(nn.Linear):
    """Shifts its input in place."""

    def forward(self, x):
        x -= 0.5
        return super().forward(x)


@pytest.mark.parametrize("nodes", [1, 2])
def test_a_module_that_writes_into_its_input_is_refused_and_the_data_stay(nodes):
    _, inputs, targets = problem_parts("linear", [3] * nodes, 0)
    before = [u.clone() for u in inputs]
    problem = NetworkProblem(WritesIntoInput(6, 3).double(), inputs, targets, CROSS_ENTROPY)
    with pytest.raises(ValueError, match="it writes into its input"):
        run(problem, local_steps=1, step_size=0.1, rounds=1, device="cpu")
    assert all(torch.equal(u, v) for u, v in zip(inputs, before, strict=True))


class WritesAroundPool(nn.Module):
    """Writes in place into the pool's result, or into what went into the ReLU before it."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where, self.convolution = where, nn.Conv2d(1, 3, 3, padding=1)
        self.head = nn.Linear(48, 3)

    def forward(self, x):
        h = self.convolution(x)
        y = nn.functional.max_pool2d(torch.relu(h), 2)
        if self.where == "result":
            y -= 0.5
        else:
            h.mul_(-1)
            y = y + nn.functional.max_pool2d(torch.relu(h), 2)
        return self.head(y.flatten(1))


@pytest.mark.parametrize("where", ["result", "input"])
@pytest.mark.parametrize("chunk_size", [1, 2])
def test_a_module_that_writes_around_its_pool_is_that_of_each_node_alone(where, chunk_size):
    _, inputs, targets = problem_parts("convolutional", [4, 4], 0)
    torch.manual_seed(0)
    module = WritesAroundPool(where).double()
    problem = NetworkProblem(module, inputs, targets, CROSS_ENTROPY)
    call = {"local_steps": 3, "step_size": 0.1, "rounds": 2, "device": "cpu"}
    trace = run(problem, chunk_size=chunk_size, **call)
    alone = train_alone(
        module, inputs, targets, CROSS_ENTROPY, etas=[0.1] * 2, steps=[3] * 2, rounds=2
    )
    assert_same(trace, problem, alone)
