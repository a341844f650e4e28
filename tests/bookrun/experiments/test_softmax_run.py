"""The fast run of a softmax layer is the library's run, and its record is read back."""

import json
from itertools import islice

import numpy as np
import pytest
import torch
from torch.nn import CrossEntropyLoss

from bookrun.experiments import softmax_run
from bookrun.experiments.softmax_run import Layer, rounds
from localgd import NetworkProblem, run
from localgd.networks import SoftmaxLayer, seeded


@pytest.mark.parametrize("nodes", [1, 2, 5])
def test_it_is_the_run_of_the_library(nodes):
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(20, 1, 4, 4)).astype(np.float32)
    labels = rng.integers(0, 10, 20)
    module = seeded(lambda: SoftmaxLayer(4), 0)
    weight, bias = (p.detach().double() for p in module.parameters())
    flat = torch.as_tensor(images).flatten(1).double()
    posed = Layer(
        torch.cat([flat, torch.ones(20, 1, dtype=torch.float64)], 1),
        torch.nn.functional.one_hot(torch.as_tensor(labels), 10).double(),
        torch.cat([weight, bias[:, None]], 1).T.contiguous(),
    )
    parts = np.split(images, nodes), np.split(labels, nodes)
    problem = NetworkProblem(module, *map(list, parts), CrossEntropyLoss(reduction="none"))
    trace = run(problem, local_steps=7, step_size=0.2, rounds=4, dtype=torch.float64)
    found = [posed.measured(posed.start)]
    found += [posed.measured(w) for w in islice(rounds(posed, nodes, 0.2, 7), 4)]
    np.testing.assert_allclose([loss for loss, _ in found], trace.loss, rtol=1e-6)
    np.testing.assert_allclose([g for _, g in found], trace.grad_norm_sq, rtol=1e-5)


def test_its_smoothness_is_the_largest_over_the_nodes():
    samples = torch.tensor([[3.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    posed = Layer(samples, torch.eye(2, dtype=torch.float64), torch.zeros(2, 2))
    assert posed.smoothness(2) == pytest.approx(4.5)
    assert posed.smoothness(1) == pytest.approx(9 / 4)


def test_a_record_is_read_back(tmp_path):
    one = {
        "network": "pooled", "nodes": 10, "seconds": 120,
        "round": [0, 1], "loss": [2.0, 1.0], "grad_norm_sq": [0.5, 0.25],
    }  # fmt: skip
    made = {"started": "2026-01-02T03:04:05+00:00", "commit": "abc", "device": "the CPU"}
    whole = {"made": made | {"versions": {"torch": "2"}}, "data": {"description": "digits"}}
    path = tmp_path / "runs.json"
    path.write_text(json.dumps(whole | {"runs": [one]}))
    runs, sentence = softmax_run.load(path)
    assert runs["pooled", 10].loss.tolist() == [2.0, 1.0]
    assert all(word in sentence for word in ("2026-01-02", "2 min", "abc"))
