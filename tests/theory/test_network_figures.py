"""Figures 4, 6, 7 and 8: what the recorded runs say, read without the book's code for records.

And where the real data are there, the beginnings of LeNet's runs by a plain PyTorch loop.
"""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from localgd import datasets
from localgd.networks import LeNet, seeded

RECORDED = Path(__file__).parents[2] / "recorded"
ETA = 0.2


def curve(name, quantity="loss", **settings):
    """The column of the one recorded run with these settings."""
    cases = json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))["cases"]
    (found,) = [
        each["columns"][quantity]
        for each in cases
        if all(each["case"].get(key) == value for key, value in settings.items())
    ]
    return np.array(found)


def over(name, more, fewer, quantity="loss", **settings):
    """A larger T over a smaller one, in the rounds n ≥ 1 of both."""
    above, below = (curve(name, quantity, local_steps=T, **settings) for T in (more, fewer))
    shared = min(len(above), len(below))
    return above[1:shared] / below[1:shared]


def plain_losses(nodes, T, rounds):
    """f(x_0), f(x_1), … of Algorithm 1 on LeNet, seed 0: one node after the other."""
    data = datasets.mnist("train", first=1000, source="real")
    images, labels = torch.as_tensor(data.features), torch.as_tensor(data.labels)
    shares = list(zip(images.chunk(nodes), labels.chunk(nodes), strict=True))
    module = seeded(LeNet, 0)
    losses = [total_loss(module, images, labels)]
    for _ in range(rounds):
        ends = [local_phase(module, *share, T) for share in shares]
        mean = {key: sum(end[key] for end in ends) / nodes for key in ends[0]}
        module.load_state_dict(mean)
        losses.append(total_loss(module, images, labels))
    return np.array(losses)


def local_phase(module, images, labels, T):
    """The parameters after T steps of gradient descent on one node."""
    node = copy.deepcopy(module)
    optimizer = torch.optim.SGD(node.parameters(), lr=ETA)
    for _ in range(T):
        optimizer.zero_grad()
        nn.functional.cross_entropy(node(images), labels).backward()
        optimizer.step()
    return node.state_dict()


def total_loss(module, images, labels):
    with torch.no_grad():
        return float(nn.functional.cross_entropy(module(images), labels))


def assert_same_descent(losses, recorded):
    """What each round takes off the loss, to a hundredth: on the plateau that is little."""
    np.testing.assert_allclose(losses[0], recorded[0], rtol=1e-5)
    np.testing.assert_allclose(np.diff(losses), np.diff(recorded[: len(losses)]), rtol=1e-2)


needs_mnist = pytest.mark.skipif(
    datasets.fingerprint("mnist") == "stand-in", reason="MNIST cannot be had"
)


@pytest.mark.claim("fig4a")
@pytest.mark.mutation("constant", "ETA = 0.2", "ETA = 0.25", within="ETA")
@pytest.mark.mutation("formula", "/ nodes for key", "/ (nodes + 1) for key", within="plain_losses")
@needs_mnist
@pytest.mark.parametrize(("T", "rounds"), [(1, 3), (10, 1)])
def test_a_plain_loop_descends_as_the_recorded_run_of_ten_nodes(T, rounds):
    found = plain_losses(10, T, rounds)
    assert_same_descent(found, curve("fig4a", nodes=10, local_steps=T, seed=0, rounds=200))


@pytest.mark.claim("fig4a")
@pytest.mark.mutation("formula", "0.001152715", "1.001152715", within="recorded/fig4a.json")
@pytest.mark.mutation("inequality", "(10, 1), (100, 10)", "(1, 10), (10, 100)")
def test_figure_4a_a_larger_t_has_the_smaller_loss_in_every_round():
    for seed in range(3):
        for more, fewer in ((10, 1), (100, 10)):
            assert (over("fig4a", more, fewer, seed=seed) < 1).all()


@pytest.mark.claim("fig4b")
@pytest.mark.mutation("formula", "0.0001084355", "0.1084355", within="recorded/fig4b.json")
@pytest.mark.mutation("inequality", "(10, 1), (100, 10)", "(1, 10), (10, 100)")
def test_figure_4b_a_larger_t_has_the_smaller_loss_in_every_round():
    for name, seed in (("fig4b", 0), ("fig4b-seeds", 1), ("fig4b-seeds", 2)):
        for more, fewer in ((10, 1), (100, 10)):
            assert (over(name, more, fewer, seed=seed) < 1).all()


@pytest.mark.claim("fig4b", kind="difference")
@pytest.mark.mutation(
    "constant", "[23,23,30,28,35,", "[23,23,30,28,3500,", within="recorded/fig4b.json"
)
def test_figure_4b_the_threshold_takes_tens_of_steps_and_not_thousands():
    for name, seed in (("fig4b", 0), ("fig4b-seeds", 1), ("fig4b-seeds", 2)):
        assert curve(name, "local_steps", grad_tol=1e-2, seed=seed)[1].max() < 100
    assert curve("fig4b-threshold", "local_steps", grad_tol=1e-6)[1].min() > 900


@pytest.mark.claim("fig6")
@pytest.mark.mutation("constant", "ETA = 0.2", "ETA = 0.25", within="ETA")
@needs_mnist
@pytest.mark.parametrize("nodes", [2, 5])
def test_a_plain_loop_descends_as_the_recorded_runs_of_two_and_five_nodes(nodes):
    found = plain_losses(nodes, 10, 1)
    assert_same_descent(found, curve("fig6", nodes=nodes, local_steps=10, seed=0))


@pytest.mark.claim("fig6")
@pytest.mark.mutation("formula", "0.0001210719", "1.0001210719", within="recorded/fig6.json")
@pytest.mark.mutation("inequality", "(10, 1), (100, 10)", "(1, 10), (10, 100)")
def test_figure_6_a_larger_t_has_the_smaller_loss_in_every_round():
    for nodes in (2, 5):
        for seed in range(3):
            for more, fewer in ((10, 1), (100, 10)):
                assert (over("fig6", more, fewer, nodes=nodes, seed=seed) < 1).all()


def rounds_to(level, nodes, T, seed):
    """The first of the 40 shared rounds with a loss of at most the level."""
    settings = {"nodes": nodes, "local_steps": T, "seed": seed}
    loss = curve("fig4a" if nodes == 10 else "fig6", **settings)[:41]
    return int(np.argmax(loss <= level)) if (loss <= level).any() else 41


@pytest.mark.claim("fig7")
@pytest.mark.mutation("constant", "3 * needed[0]", "6 * needed[0]")
@pytest.mark.mutation("inequality", "(2, 5, 10)", "(10, 5, 2)")
def test_figure_7_more_nodes_need_more_rounds_at_100_steps():
    for seed in range(3):
        for level in (0.1, 0.03, 0.01):
            needed = [rounds_to(level, nodes, 100, seed) for nodes in (2, 5, 10)]
            assert needed[0] < needed[1] < needed[2]
        assert 3 * needed[0] <= needed[2] <= 40


@pytest.mark.claim("fig7", kind="control")
def test_at_one_step_the_number_of_nodes_changes_nothing():
    for seed in range(3):
        two, five = (curve("fig6", nodes=m, local_steps=1, seed=seed)[:41] for m in (2, 5))
        np.testing.assert_allclose(two, five, rtol=1e-3)


@pytest.mark.claim("fig8")
@pytest.mark.mutation("formula", "0.02263303", "1.02263303", within="recorded/fig8.json")
@pytest.mark.mutation("inequality", "(10, 1), (100, 10)", "(1, 10), (10, 100)")
def test_figure_8_a_larger_t_has_the_smaller_losses_in_every_round():
    for nodes in (5, 10):
        for quantity in ("loss", "test_loss"):
            for more, fewer in ((10, 1), (100, 10)):
                assert (over("fig8", more, fewer, quantity, nodes=nodes) < 1).all()
    assert curve("fig8", nodes=5, local_steps=10).shape == (61,)


@pytest.mark.claim("fig8", kind="control")
def test_figure_8_counted_in_gradients_a_hundred_steps_win_in_two_of_ten():
    smaller = [
        curve("fig8", nodes=m, local_steps=100)[k] < curve("fig8", nodes=m, local_steps=10)[10 * k]
        for m in (5, 10)
        for k in range(2, 7)
    ]
    assert sum(smaller) == 2
