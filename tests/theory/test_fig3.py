"""Figure 3: what its plateau is, and what its contrast comes from.

The pooled network's residual goes on falling, and stops under weight decay. With one step size for
both networks the contrast between them is reversed.
"""

import math
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import CrossEntropyLoss

from bookrun.experiments import softmax_run
from localgd import NetworkProblem, datasets, run
from localgd.networks import SoftmaxLayer, seeded
from softmax import Share, best_margin, gradient, images, loss, margins, smoothness
from softmax_nodes import course, federations

SOURCES = ["stand-in"]
if datasets.fingerprint("mnist") != "stand-in":
    SOURCES.append("real")
NODES, T = 10, 100


def network(data, m, layer=SoftmaxLayer, criterion=None):
    criterion = criterion or CrossEntropyLoss(reduction="none")
    module = seeded(lambda: layer(data.features.shape[-1]), 0)
    return NetworkProblem(module, *data.split(m), criterion)


def step_size(data, share=0.5):
    rows = images(data) / 255
    parts = np.array_split(np.arange(len(rows)), NODES)
    return share / max(smoothness(Share(rows[part], data.labels[part])) for part in parts)


@pytest.fixture(scope="module", params=SOURCES)
def small(request):
    data = datasets.mnist("train", first=500, source=request.param)
    pooled = images(data, pools=2)[:, :-1].reshape(-1, 1, 7, 7) / np.float32(255)
    return replace(data, features=pooled.astype(np.float32))


@pytest.fixture(scope="module")
def runs(small):
    return {
        m: run(network(small, m), local_steps=T, step_size=step_size(small), rounds=50)
        for m in (NODES, 1)
    }


# Curvature and gradient vanish with the loss.


@pytest.mark.claim("fig3", kind="numeric")
@pytest.mark.mutation(
    "constant", "<= 2 * L * value * (1 + 1e-9)", "<= 0.001 * L * value * (1 + 1e-9)"
)
@settings(max_examples=200)
@given(federations(), st.floats(0, 6))
def test_curvature_and_gradient_vanish_with_the_loss(case, scale):
    nodes, W, _ = case
    share = nodes[0]
    V, L = scale * W, smoothness(share)
    value, slope = loss(V, share), gradient(V, share)
    assert float((slope**2).sum()) <= 2 * L * value * (1 + 1e-9) + 1e-300
    # ⟨v, ∇²f v⟩ ≤ 2 f(V) max‖u‖² ‖v‖²
    p = share.U @ V.T
    p = np.exp(p - np.logaddexp.reduce(p, axis=1, keepdims=True))
    rng = np.random.default_rng(0)
    v = rng.standard_normal(V.shape)
    z = share.U @ v.T
    curvature = float(((p * z**2).sum(1) - (p * z).sum(1) ** 2).mean())
    largest = float((share.U**2).sum(1).max())
    # the variance is computed by a difference: leave room for its rounding
    assert curvature <= 2 * value * largest * float((v**2).sum()) + 1e-12 * float((z**2).max())


# The figure.


@pytest.mark.claim("fig3", kind="numeric")
def test_the_library_runs_the_same(small):
    rows = images(small) / 255
    parts = np.array_split(np.arange(500), NODES)
    nodes = [Share(rows[part], small.labels[part]) for part in parts]
    problem = network(small, NODES)
    weight, bias = (p.detach().double().numpy() for p in problem.module.parameters())
    x, eta = np.hstack([weight, bias[:, None]]), step_size(small)
    trace = run(problem, local_steps=20, step_size=eta, rounds=3, dtype=torch.float64)
    _, losses = course(nodes, x, eta, 20, 4)
    np.testing.assert_allclose(trace.loss, losses, rtol=1e-5)  # the start is float32


@pytest.mark.claim("fig3", kind="numeric")
@pytest.mark.mutation("inequality", "ratio[50] > ratio[10] > 1", "ratio[50] < ratio[10] < 1")
def test_ten_nodes_keep_the_larger_residual(runs):
    ratio = runs[NODES].grad_norm_sq / runs[1].grad_norm_sq
    assert ratio[50] > 1.5
    assert ratio[50] > ratio[10] > 1


@pytest.mark.claim("fig3", kind="difference")
def test_but_it_is_still_falling_like_a_power(runs):
    residual = runs[NODES].grad_norm_sq
    assert math.log(residual[50] / residual[25]) / math.log(2) < -0.5
    assert runs[NODES].loss[50] < 0.9 * runs[NODES].loss[25]


@pytest.mark.claim("fig3", kind="difference")
def test_late_in_the_run_ten_nodes_are_as_good_as_one(small):
    # a separating layer, scaled up until its loss is small
    whole = Share(images(small) / 255, small.labels)
    x = best_margin(whole, 10).W
    assert margins(x, *whole).min() > 0
    while loss(x, whole) > 1e-5:
        x = 1.5 * x
    start = np.concatenate([x[:, :-1].ravel(), x[:, -1]])
    setting = {"local_steps": T, "step_size": step_size(small), "dtype": torch.float64}
    ends = {m: run(network(small, m), start, rounds=3, **setting) for m in (NODES, 1)}
    gains = {m: trace.loss[0] - trace.loss[3] for m, trace in ends.items()}
    assert gains[NODES] / gains[1] == pytest.approx(1, abs=0.02)


# Negative controls: where the nodes disagree for good.

DECAY = 0.1


class Decayed(SoftmaxLayer):
    """The logits, and ½λ‖x‖² in one more column."""

    def forward(self, images):
        penalty = DECAY / 2 * sum((p**2).sum() for p in self.parameters())
        return torch.cat([super().forward(images), penalty.expand(len(images), 1)], 1)


def decayed_loss(outputs, labels):
    entropy = CrossEntropyLoss(reduction="none")
    return entropy(outputs[:, :-1], labels) + outputs[:, -1]


@pytest.mark.claim("fig3", kind="control")
def test_with_weight_decay_the_residual_stops(small):
    eta = step_size(small, 0.45)
    L = 0.45 / eta + DECAY
    assert eta * L <= 1
    q = (1 - eta * DECAY) ** T
    setting = {"local_steps": T, "step_size": eta, "dtype": torch.float64}
    residual = {}
    for m in (NODES, 1):
        problem = network(small, m, Decayed, decayed_loss)
        trace = run(problem, rounds=30, **setting)
        after = run(problem, trace.x, rounds=1, **setting)
        radius = q / (1 - q) * float(np.linalg.norm(after.x - trace.x))
        residual[m] = after.grad_norm_sq[1]
        if m == NODES:  # proved: the limit has a gradient
            assert math.sqrt(residual[m]) - L * radius > 0.9 * math.sqrt(residual[m])
    assert residual[1] < 1e-9 * residual[NODES]


@pytest.mark.claim("fig3", kind="control")
def test_with_one_local_step_weight_decay_does_no_harm(small):
    # T = 1 is gradient descent on f: 100 rounds on ten nodes are one round of T = 100 on one
    eta = step_size(small, 0.45)
    setting = {"step_size": eta, "dtype": torch.float64}
    ten = run(network(small, NODES, Decayed, decayed_loss), local_steps=1, rounds=100, **setting)
    one = run(network(small, 1, Decayed, decayed_loss), local_steps=100, rounds=1, **setting)
    np.testing.assert_allclose(ten.x, one.x, atol=1e-7)  # the weights 1/n_i are float32


# One step size for both networks.


@pytest.mark.claim("necessity", kind="counterexample")
@pytest.mark.mutation("hypothesis", 'ratio["pixels"] > 3', 'ratio["pixels"] < 3')
@pytest.mark.mutation(
    "hypothesis", 'layers["pixels"].smoothness(NODES)', 'layers["pooled"].smoothness(NODES)'
)
@pytest.mark.skipif("real" not in SOURCES, reason="needs MNIST")
def test_with_one_step_size_the_contrast_is_reversed():
    layers = {name: softmax_run.layer(name) for name in ("pooled", "pixels")}
    eta, ratio = 1 / layers["pixels"].smoothness(NODES), {}
    for name, posed in layers.items():
        ends = [
            posed.measured(next(islice(softmax_run.rounds(posed, m, eta, T), 24, None)))[1]
            for m in (NODES, 1)
        ]
        ratio[name] = ends[0] / ends[1]
    assert ratio["pooled"] < 1.5
    assert ratio["pixels"] > 3
