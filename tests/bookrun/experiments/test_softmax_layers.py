"""The two networks of Figure 3 are what the paper says, and their L bounds the curvature."""

import numpy as np
import torch
from torch import nn

from bookrun.experiments.softmax_layers import network, pooled, smoothness
from localgd import datasets
from localgd.networks import SoftmaxLayer, seeded

DATA = datasets.mnist("train", first=40, source="stand-in")


def test_pooling_beforehand_is_pooling_inside():
    inside = seeded(lambda: SoftmaxLayer(28, pools=2), 0)
    beforehand = seeded(lambda: SoftmaxLayer(7), 0)
    with torch.no_grad():
        one = inside(torch.as_tensor(DATA.features))
        two = beforehand(torch.as_tensor(pooled(DATA).features))
    torch.testing.assert_close(one, two)
    assert network(pooled(DATA), 4).dim == 500


def test_no_gradient_changes_faster_than_the_constant_says():
    data = pooled(DATA)
    problem = network(data, 4).to(torch.device("cpu"), torch.float64)
    L, rng = smoothness(data, 4), np.random.default_rng(0)
    x = torch.as_tensor(rng.standard_normal((4, problem.dim)))
    for size in (1e-3, 1.0):
        y = x + size * torch.as_tensor(rng.standard_normal((4, problem.dim)))
        change = (problem.evaluate(x)[1] - problem.evaluate(y)[1]).norm(dim=1)
        assert (change <= L * (x - y).norm(dim=1)).all()


def test_seed_nought_keeps_the_file_order():
    first = network(DATA, 2).contents()["targets 0"].flatten()
    assert first.tolist() == list(DATA.labels)
    assert network(DATA, 2, 1).contents()["targets 0"].flatten().tolist() != list(DATA.labels)
    assert isinstance(network(DATA, 2).module, nn.Module)
