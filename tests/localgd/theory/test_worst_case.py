"""Worst cases by performance estimation: values, multipliers, attained runs, and bad input."""

import subprocess
import sys

import numpy as np
import pytest

from localgd import run
from localgd.theory import worst_case, worst_case_any_nodes


def flow(case, node, point):
    """What the multipliers take into a point less what they take out of it."""
    into = sum(w for (i, _, b), w in case.multipliers.items() if (i, b) == (node, point))
    return into - sum(w for (i, a, _), w in case.multipliers.items() if (i, a) == (node, point))


def test_own_step_counts_and_sizes_of_the_nodes():
    options = {"local_steps": [1, 3], "step_size": [1.0, 0.5]}
    case = worst_case(1, **options, margin=1e-8)
    trace = run(case.problem(), case.start, **options, rounds=1)
    assert trace.loss[-1] == pytest.approx(case.value, abs=1e-6)
    assert [len(points) for points in case.points] == [2, 4]
    for node, last in enumerate((1, 3)):
        flows = [flow(case, node, k) for k in range(last + 1)]
        assert flows == pytest.approx([0] * last + [0.5], abs=1e-6)  # f = (f_1 + f_2)/2


@pytest.mark.parametrize(
    ("measure", "n", "T", "mu", "expected"),
    [
        ("distance", 1, 2, 0.1, 0.9**4),
        ("distance", 2, 1, 0.0, 1.0),
        ("best_grad_norm_sq", 2, 1, 0.0, 1 / 9),
        ("grad_norm_sq", 1, 2, 0.0, 1 / 9),
    ],
)
def test_measures_with_known_values(measure, n, T, mu, expected):
    small = worst_case_any_nodes(n, T, 1.0, measure, strong_convexity=mu)
    general = worst_case(n, T, 2, 1.0, measure, strong_convexity=mu)
    assert small.value == pytest.approx(expected, abs=1e-6)
    assert general.value == pytest.approx(expected, abs=1e-6)
    assert abs(small.value - small.attained) < 1e-6


@pytest.mark.parametrize("L", [0.25, 8.0])
def test_values_scale_with_the_smoothness(L):
    loss = worst_case_any_nodes(1, 2, 1 / L, smoothness=L).value
    residual = worst_case_any_nodes(1, 2, 1 / L, "grad_norm_sq", smoothness=L).value
    assert loss == pytest.approx(L / 10, rel=1e-6)
    assert residual == pytest.approx(L**2 / 9, rel=1e-6)


def test_strongly_convex_functions_found_attain_the_value():
    case = worst_case_any_nodes(2, 2, 1.0, strong_convexity=0.2, margin=1e-8)
    trace = run(case.problem(), case.start, local_steps=2, step_size=1.0, rounds=2)
    assert trace.loss[-1] == pytest.approx(case.value, abs=1e-6)
    assert np.linalg.norm(case.start) == pytest.approx(1, abs=1e-6)


def test_a_second_solver_agrees():
    assert worst_case(1, 2, solver="SCS").value == pytest.approx(0.1, abs=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rounds": 0}, "rounds=0 must be a whole number"),
        ({"local_steps": 1.5}, "local_steps=1.5 at node 0 must be a whole number"),
        ({"local_steps": [1, 2, 3]}, "local_steps holds 3 numbers, expected one or 2"),
        ({"num_nodes": 0}, "num_nodes=0 must be a whole number"),
        ({"step_size": [1.0, -1.0]}, "step_size=-1.0 at node 1 must be positive"),
        ({"smoothness": 0.0}, "smoothness=0.0 must be positive"),
        ({"strong_convexity": 1.0}, "strong_convexity=1.0 must lie in"),
        ({"measure": "speed"}, "measure='speed' is not one of loss, grad_norm_sq"),
        ({"margin": -1e-8}, "margin=-1e-08 must not be negative"),
        ({"quadratic": True, "common_minimiser": False}, "needs common_minimiser=True"),
    ],
)
def test_bad_input_is_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        worst_case(**({"rounds": 1, "local_steps": 1} | options))


def test_the_small_program_refuses_the_same():
    with pytest.raises(ValueError, match="local_steps=0 at node 0"):
        worst_case_any_nodes(1, 0)
    with pytest.raises(ValueError, match="margin=-1"):
        worst_case_any_nodes(1, 1, margin=-1)


@pytest.mark.parametrize(
    ("module", "solve"), [("PEPit", worst_case), ("clarabel", worst_case_any_nodes)]
)
def test_without_the_solver_a_sentence_says_what_to_install(monkeypatch, module, solve):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=f"need {module}.*pip install"):
        solve(1, 1)


def test_the_library_does_not_load_them_by_itself():
    code = (
        "import sys, localgd.theory, localgd.algorithm;"
        "sys.exit(any(m in sys.modules for m in ('PEPit', 'cvxpy', 'clarabel')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
