"""Rounds by server on colon-cancer, MNIST and LeNet: what the recorded runs say.

The counts of colon-cancer at T = ∞ are made again by a loop over projections, in NumPy.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from localgd import datasets

RECORD = Path(__file__).parents[2] / "recorded" / "acceleration.json"
PIERRA = "Extrapolated('pierra', safeguard=True)"
FEDEXP = "Extrapolated('fedexp', safeguard=True)"


def rows(**settings):
    """The recorded rows with these settings."""
    found = json.loads(RECORD.read_text(encoding="utf-8"))["rows"]
    return [row for row in found if all(row.get(key) == v for key, v in settings.items())]


def rounds(T, server):
    """Rounds on colon-cancer, two nodes in file order."""
    (row,) = rows(part="colon", nodes=2, seed=0, local_steps=T, server=server)
    return row["rounds"]


@pytest.mark.claim("accelerated-rounds")
@pytest.mark.mutation("constant", "20 *", "70 *")
@pytest.mark.mutation("constant", "1.25 *", "0.95 *")
@pytest.mark.parametrize("T", [1, 10, "inf"])
def test_on_colon_cancer_anderson_needs_a_twentieth_and_conjugate_gradients_the_least(T):
    assert 20 * rounds(T, "Anderson(memory=10)") <= rounds(T, "Average()")
    (best,) = rows(part="colon", nodes=2, seed=0, local_steps=T, server="ConjugateGradient()")
    assert best["fewest"] <= best["rounds"] <= 1.25 * best["fewest"]


@pytest.mark.claim("accelerated-rounds")
@pytest.mark.mutation("inequality", "is None for", "is not None for")
@pytest.mark.parametrize("T", [1, "inf"])
def test_on_mnist_only_conjugate_gradients_get_there(T):
    found = {row["server"]: row for row in rows(part="mnist", local_steps=T)}
    best = found.pop("ConjugateGradient()")
    assert best["rounds"] <= 1.25 * best["fewest"]
    assert len(found) == 6
    assert all(row["rounds"] is None for row in found.values())


@pytest.mark.claim("accelerated-rounds")
@pytest.mark.mutation("formula", "sum(pulls) / 2", "sum(pulls) / 3")
@pytest.mark.skipif(
    datasets.fingerprint("colon-cancer") == "stand-in", reason="colon-cancer cannot be had"
)
def test_the_averages_rounds_are_those_of_a_loop_over_projections():
    data = datasets.colon_cancer("real").with_intercept()
    A, b = data.split(2)
    bases = [np.linalg.svd(a, full_matrices=False)[2] for a in A]
    fits = [np.linalg.lstsq(a, y, rcond=None)[0] for a, y in zip(A, b, strict=True)]
    x, n = np.zeros(data.features.shape[1]), 0
    while sum(square_gradient(A, b, x)) > 1e-8:
        pulls = [q.T @ (q @ (fit - x)) for q, fit in zip(bases, fits, strict=True)]
        x, n = x + sum(pulls) / 2, n + 1
        assert n <= 2000
    assert abs(n - rounds("inf", "Average()")) <= 1


def square_gradient(A, b, x):
    """‖∇f(x)‖² of f = ½ Σ_i |A_i x − b_i|² / n_i, coordinate by coordinate."""
    mean = sum(2 * a.T @ (a @ x - y) / len(y) for a, y in zip(A, b, strict=True)) / 2
    return mean * mean


@pytest.mark.claim("accelerated-steps")
@pytest.mark.mutation("constant", ">= 0.1", ">= 0.2")
@pytest.mark.mutation("constant", "<= 0.01", "<= -0.01")
def test_ten_steps_pay_with_the_average_and_hardly_with_conjugate_gradients():
    def pays_below(server):
        one, ten = rounds(1, server), rounds(10, server)
        return max(0, one - ten) / (10 * ten - one)

    assert pays_below("Average()") >= 0.1
    assert pays_below("ConjugateGradient()") <= 0.01


@pytest.mark.claim("accelerated-lenet")
@pytest.mark.mutation("inequality", "end[FEDEXP] < end", "end[FEDEXP] > end")
@pytest.mark.mutation("hypothesis", "== PIERRA", "== FEDEXP")
def test_on_lenet_the_servers_differ_as_is_said():
    pierra_above, anderson_below = [], []
    for seed in range(3):
        found = {row["server"]: row for row in rows(part="lenet", seed=seed)}
        end = {server: row["loss"][-1] for server, row in found.items()}
        low = {server: min(row["loss"]) for server, row in found.items()}
        assert end[FEDEXP] < end["Average()"]
        assert min(low, key=low.get) == PIERRA
        assert found[PIERRA]["undone"]
        pierra_above.append(end[PIERRA] > end["Average()"])
        anderson_below.append(end["Anderson(memory=10)"] < end["Average()"])
    assert any(pierra_above)
    assert any(anderson_below)
    assert not all(anderson_below)
