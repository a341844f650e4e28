"""The server steps against plain NumPy, their fixed points, their errors, and how they resume."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import server_steps
from localgd import (
    AffineSubspace,
    Anderson,
    Average,
    Ball,
    Checkpoint,
    ConjugateGradient,
    DivergenceError,
    Extrapolated,
    HalfSpace,
    LeastSquares,
    Nesterov,
    NetworkProblem,
    Relaxed,
    SaturatedDistance,
    Server,
    SquaredDistance,
    ToOptimum,
    Trace,
    UntilStationary,
    run,
)
from localgd.algorithm.checkpoint import Keeper
from localgd.theory import fewest_rounds, round_map
from modules import CROSS_ENTROPY, problem_parts

ALL = [
    Average(),
    Relaxed(1.2),
    Extrapolated(),
    Extrapolated("fedexp"),
    Nesterov(),
    Nesterov(restart=False),
    Nesterov(condition=9.0),
    Anderson(3),
    Anderson(3, safeguard=False),
    ConjugateGradient(),
]


def consistent(seed: int, m: int, n: int, d: int) -> tuple[LeastSquares, np.ndarray, float]:
    """Least squares whose nodes share the minimiser, a start and a step size."""
    rng = np.random.default_rng(seed)
    A, solution = rng.standard_normal((m, n, d)), rng.standard_normal(d)
    problem = LeastSquares(A, A @ solution)
    return problem, rng.standard_normal(d), float(0.9 / problem.smoothness().max())


def ends(problem: LeastSquares, T: int, eta: float):
    """The nodes' T steps, one by one."""
    A, b = problem.A.numpy(), problem.b.numpy()

    def local(x):
        out = []
        for a, target in zip(A, b, strict=True):
            y = x
            for _ in range(T):
                y = y - eta * 2 / len(target) * a.T @ (a @ y - target)
            out.append(y)
        return np.array(out)

    return local


REFERENCES = [
    (Average(), lambda e, x, n: server_steps.relaxed(e, x, n)),
    (Relaxed(1.3), lambda e, x, n: server_steps.relaxed(e, x, n, 1.3)),
    (Extrapolated("pierra"), lambda e, x, n: server_steps.extrapolated(e, x, n, "pierra")),
    (Extrapolated("fedexp"), lambda e, x, n: server_steps.extrapolated(e, x, n, "fedexp")),
    (Nesterov(), lambda e, x, n: server_steps.nesterov(e, x, n, None)),
    (Nesterov(restart=False), lambda e, x, n: server_steps.nesterov(e, x, n, None, False)),
    (Nesterov(condition=20.0), lambda e, x, n: server_steps.nesterov(e, x, n, 20.0)),
    (Anderson(2, safeguard=False), lambda e, x, n: server_steps.anderson(e, x, n, 2)),
    (Anderson(10, safeguard=False), lambda e, x, n: server_steps.anderson(e, x, n, 10)),
]


def courses(problem, x0, eta, T, server, rounds) -> np.ndarray:
    """x_0, x_1, … of a run, as its rows see them."""
    seen = []
    run(
        problem,
        x0,
        local_steps=T,
        step_size=eta,
        rounds=rounds,
        server=server,
        measure=lambda x: seen.append(x.numpy()) or {},
    )
    return np.array(seen)


@pytest.mark.parametrize(
    ("server", "reference"), REFERENCES, ids=[repr(server) for server, _ in REFERENCES]
)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), m=st.integers(1, 4), n=st.integers(1, 3), T=st.integers(1, 5))
def test_every_server_is_its_plain_loop(server, reference, seed, m, n, T):
    problem, x0, eta = consistent(seed, m, n, 6)
    expected = reference(ends(problem, T, eta), x0, 3)
    found = courses(problem, x0, eta, T, server, 3)
    np.testing.assert_allclose(found, expected[: len(found)], rtol=0, atol=1e-10)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), m=st.integers(1, 4), n=st.integers(2, 3), T=st.integers(1, 5))
def test_conjugate_gradients_are_the_textbooks(seed, m, n, T):
    problem, x0, eta = consistent(seed, m, n, 8)
    A = round_map(problem, T, eta).numpy()
    b = ends(problem, T, eta)(np.zeros(8)).mean(0)
    expected = server_steps.conjugate_gradients(A, b, x0, 3)
    server, x, iterates = ConjugateGradient(), torch.as_tensor(x0), []
    for _ in range(4):
        mean = torch.as_tensor(ends(problem, T, eta)(x.numpy()).mean(0))
        x = server.step(_received(x, mean))
        iterates.append(server.state_dict()["state"][0].numpy())
    np.testing.assert_allclose(iterates, expected, rtol=0, atol=1e-9)


def _received(x, mean):
    from localgd import Received

    return Received(x, mean, None)


@pytest.mark.parametrize("server", ALL, ids=repr)
@pytest.mark.parametrize("T", [4, ToOptimum()], ids=repr)
def test_a_common_minimiser_is_a_fixed_point(server, T):
    problem, _, eta = consistent(3, 3, 2, 8)
    solution = problem.solution_sets()
    start = np.linalg.lstsq(
        np.concatenate(problem.A.numpy()), np.concatenate(problem.b.numpy()), rcond=None
    )[0]
    trace = run(problem, start, local_steps=T, step_size=eta, rounds=5, server=server)
    assert len(solution) == 3
    np.testing.assert_allclose(trace.x, start, atol=1e-12)


@pytest.mark.parametrize("server", ALL, ids=repr)
def test_all_end_at_the_same_point(server):
    problem, x0, eta = consistent(5, 3, 2, 9)
    trace = run(problem, x0, local_steps=3, step_size=eta, rounds=20_000, server=server, stop=1e-20)
    assert trace.reason == "stop"
    A, b = np.concatenate(problem.A.numpy()), np.concatenate(problem.b.numpy())
    nearest = x0 - np.linalg.pinv(A) @ (A @ x0 - b)  # P_S(x_0): all moves are in the row space
    np.testing.assert_allclose(trace.x, nearest, atol=1e-8)


def test_a_safeguarded_run_does_not_end_above_its_start():
    # One local step of η ≤ 1/L: the average never raises the loss, so nothing does.
    for seed in range(5):
        problem = NetworkProblem(*problem_parts("mlp", [4, 4], seed), CROSS_ENTROPY)
        trace = run(problem, local_steps=1, step_size=0.05, rounds=25, server=Anderson(4))
        assert (np.diff(trace.loss) <= 0).all()


@pytest.mark.parametrize("scale", [1.5, 3.0, 6.0])
def test_without_its_safeguard_anderson_may_break(scale):
    """Far from its set a saturated distance is concave: the secant's root is farther out."""
    lines = [AffineSubspace([0.0, 0.0], [[1.0, slope]]) for slope in (0.3, -0.3)]
    problem, start = SaturatedDistance(lines), [0.1 * scale, scale]
    call = {"local_steps": 1, "step_size": 0.25, "rounds": 30}
    guarded = run(problem, start, server=Anderson(3), **call)
    bare = run(problem, start, server=Anderson(3, safeguard=False), **call)
    assert (np.diff(guarded.loss) <= 0).all()
    assert guarded.undone.any()
    assert bare.loss[-1] > bare.loss[0]


def test_conjugate_gradients_refuse_what_is_not_affine():
    ball = SquaredDistance([Ball([0.0, 0.0], 1.0), HalfSpace([1.0, 0.0], 0.5)])
    call = {"step_size": 0.25, "rounds": 3, "server": ConjugateGradient()}
    with pytest.raises(ValueError, match="SquaredDistance has no constant Hessians"):
        run(ball, [3.0, 1.0], local_steps=ToOptimum(), **call)
    problem, x0, eta = consistent(0, 2, 2, 5)
    with pytest.raises(ValueError, match="the steps of a round depend on x"):
        run(problem, x0, local_steps=UntilStationary(1e-3), **call | {"step_size": eta})


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Relaxed(0.0), ValueError, "omega=0.0 must be positive"),
        (lambda: Relaxed(float("nan")), ValueError, "omega=nan"),
        (lambda: Relaxed(1.0, safeguard=1), TypeError, "safeguard=1 must be True or False"),
        (lambda: Extrapolated("pierre"), ValueError, "kind='pierre' must be one of pierra"),
        (lambda: Nesterov(0.5), ValueError, "condition=0.5 must be finite and ≥ 1"),
        (lambda: Nesterov(float("inf")), ValueError, "condition=inf"),
        (lambda: Nesterov(restart="no"), TypeError, "restart='no'"),
        (lambda: Anderson(0), ValueError, "memory=0 must be an integer ≥ 1"),
        (lambda: Anderson(True), ValueError, "memory=True"),
        (lambda: Anderson(2.5), ValueError, r"memory=2\.5"),
        (lambda: Anderson(safeguard=None), TypeError, "safeguard=None"),
    ],
)
def test_parameters_are_checked(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_what_is_no_server_is_refused():
    problem, x0, eta = consistent(0, 2, 2, 5)
    with pytest.raises(TypeError, match="server='mean' must be a Server"):
        run(problem, x0, local_steps=1, step_size=eta, rounds=1, server="mean")


@pytest.mark.parametrize("server", ALL, ids=repr)
def test_one_object_serves_any_number_of_runs(server):
    problem, x0, eta = consistent(1, 3, 2, 8)
    before = copy.deepcopy(vars(server))
    call = {"local_steps": 2, "step_size": eta, "rounds": 6, "server": server}
    one, two = (run(problem, x0, **call) for _ in range(2))
    assert one.x.tobytes() == two.x.tobytes()
    assert vars(server) == before
    assert one.provenance["settings"]["server"] == repr(server)


class Stop(Exception):  # noqa: N818 - it is no error
    """Takes the place of a kill."""


@pytest.mark.parametrize("server", ALL[:-1], ids=repr)
def test_a_run_is_taken_up_bit_for_bit(monkeypatch, tmp_path, server):
    problem = NetworkProblem(*problem_parts("normalised", [3, 4, 3], 0), CROSS_ENTROPY)
    call = {"local_steps": [2, 3, 1], "step_size": 0.1, "rounds": 6, "server": server}
    whole = run(problem, **call)
    for writings in (2, 9):
        path = tmp_path / f"{writings}.pt"
        _stop_after(monkeypatch, path, writings, lambda p: run(problem, checkpoint=p, **call))
        assert_same(run(problem, checkpoint=path, **call), whole)


def test_conjugate_gradients_are_taken_up_bit_for_bit(monkeypatch, tmp_path):
    problem, x0, eta = consistent(1, 3, 2, 8)
    call = {"local_steps": 2, "step_size": eta, "rounds": 6, "server": ConjugateGradient()}
    whole = run(problem, x0, **call)
    for writings in (1, 3):
        path = tmp_path / f"{writings}.pt"
        _stop_after(monkeypatch, path, writings, lambda p: run(problem, x0, checkpoint=p, **call))
        assert_same(run(problem, x0, checkpoint=path, **call), whole)


def _stop_after(monkeypatch, path: Path, writings: int, go) -> None:
    write, left = Keeper.write, [writings]

    def write_and_die(self):
        write(self)
        left[0] -= 1
        if not left[0]:
            raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "write", write_and_die)
        with pytest.raises(Stop):
            go(Checkpoint(path, every_seconds=0))


def assert_same(one: Trace, two: Trace) -> None:
    for name in ("loss", "grad_norm_sq", "local_steps", "bytes", "x"):
        assert getattr(one, name).tobytes() == getattr(two, name).tobytes(), name
    assert (one.undone is None) == (two.undone is None)
    assert one.undone is None or (one.undone == two.undone).all()


def test_another_server_is_another_run(tmp_path):
    problem, x0, eta = consistent(1, 3, 2, 8)
    call = {"local_steps": 2, "step_size": eta, "rounds": 3, "checkpoint": tmp_path / "a.pt"}
    run(problem, x0, server=Anderson(3), **call)
    with pytest.raises(ValueError, match=r"server is Anderson\(memory=3\)"):
        run(problem, x0, server=Anderson(4), **call)


class Heavy(Server):
    """Momentum that is not in its state."""

    def __init__(self) -> None:
        self.before = None

    def step(self, received):
        before, self.before = self.before, received.x
        return received.mean if before is None else received.mean + 0.3 * (received.x - before)


def test_a_server_that_hides_its_state_is_refused_with_a_checkpoint(tmp_path):
    problem, x0, eta = consistent(1, 3, 2, 8)
    call = {"local_steps": 2, "step_size": eta, "rounds": 5, "server": Heavy()}
    run(problem, x0, **call)
    with pytest.raises(TypeError, match="Heavy changes its attributes"):
        run(problem, x0, checkpoint=tmp_path / "a.pt", **call)


@pytest.mark.parametrize("server", [Anderson(3), Nesterov(), Extrapolated("fedexp")], ids=repr)
def test_buffers_are_averaged_whatever_the_server_does(server):
    problem = NetworkProblem(*problem_parts("normalised", [3, 4, 3], 0), CROSS_ENTROPY)
    carried = problem.num_buffers
    assert carried
    call = {"local_steps": 1, "step_size": 0.1, "rounds": 1}
    plain, other = run(problem, **call), run(problem, server=Server0(), **call)
    assert plain.x[-carried:].tobytes() == other.x[-carried:].tobytes()
    assert not np.allclose(plain.x[:-carried], other.x[:-carried])
    run(problem, server=server, **call | {"rounds": 3})


class Server0(Relaxed):
    """Far from the average."""

    def __init__(self) -> None:
        super().__init__(3.0)


def test_bytes_count_what_a_server_asks_for():
    problem, x0, eta = consistent(1, 3, 2, 8)
    call = {"local_steps": 2, "step_size": eta, "rounds": 2}
    plain = 2 * 3 * 8 * 8
    assert run(problem, x0, **call).bytes.tolist() == [0, plain, plain]
    assert run(problem, x0, server=Extrapolated(), **call).bytes[1] == plain + 3 * 8
    assert run(problem, x0, server=Anderson(2), **call).bytes[1] == plain + 3 * 8


def test_an_undone_step_is_counted_and_leaves_the_average():
    problem, x0, eta = consistent(1, 3, 2, 8)
    call = {"local_steps": 2, "step_size": eta, "rounds": 4}
    undone = run(problem, x0, server=Relaxed(500.0, safeguard=True), **call)
    plain = run(problem, x0, **call)
    assert undone.undone.tolist() == [False, True, True, True, True]
    assert undone.x.tobytes() == plain.x.tobytes()
    assert (undone.bytes - plain.bytes)[1:].tolist() == [3 * 8 * 2 + 3 * 8 * 8] * 4
    frame = undone.to_frame()
    assert frame["undone"].sum() == 4


def test_undone_steps_are_saved_with_the_trace(tmp_path):
    problem, x0, eta = consistent(1, 3, 2, 8)
    call = {"local_steps": 2, "step_size": eta, "rounds": 2}
    trace = run(problem, x0, server=Relaxed(500.0, safeguard=True), **call)
    trace.save(tmp_path / "a.npz")
    assert Trace.load(tmp_path / "a.npz").undone.tolist() == trace.undone.tolist()


def test_a_run_that_diverges_says_so():
    problem, x0, eta = consistent(1, 3, 2, 8)
    with pytest.raises(DivergenceError):
        run(problem, x0, local_steps=2, step_size=eta, rounds=400, server=Relaxed(500.0))


def test_rounding_costs_conjugate_gradients_no_round():
    values = np.r_[np.geomspace(1e-7, 1e-2, 15), np.linspace(0.1, 1.0, 25)]
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((40, 40)))[0]
    problem = LeastSquares([np.sqrt(40 * values)[:, None] * basis.T], [np.sqrt(40 * values)])
    eta, tol = float(1 / problem.smoothness().max()), 1e-14
    trace = run(
        problem,
        local_steps=1,
        step_size=eta,
        rounds=200,
        server=ConjugateGradient(),
        stop=tol,
    )
    assert len(trace) - 1 <= fewest_rounds(problem, 1, eta, tol) + 2
