"""The core of the library with nothing but PyTorch and NumPy."""

from absent import alone

OTHERS = (
    "pandas",
    "scipy",
    "sklearn",
    "pooch",
    "tqdm",
    "requests",
    "matplotlib",
    "yaml",
    "IPython",
)

RUNS = """
import numpy as np
import torch
from localgd import (Ball, FixedSteps, LeastSquares, NetworkProblem, SquaredDistance, ToOptimum,
                     UntilStationary, run)
rng = np.random.default_rng(0)
A = [rng.standard_normal((2, 5)) for _ in range(3)]
linear = LeastSquares(A, [each.sum(1) for each in A])
eta = 1 / linear.smoothness().max()
for rule in (FixedSteps(3), UntilStationary(1e-3), ToOptimum()):
    trace = run(linear, local_steps=rule, step_size=eta, rounds=2)
balls = SquaredDistance([Ball(np.zeros(3), 1.0), Ball(np.ones(3), 1.0)])
run(balls, local_steps=2, step_size=0.5, rounds=2)
network = NetworkProblem(torch.nn.Linear(3, 2), torch.rand(2, 4, 3),
                         torch.zeros(2, 4, dtype=torch.int64),
                         torch.nn.CrossEntropyLoss(reduction="none"))
run(network, local_steps=2, step_size=0.1, rounds=2, device="cpu")
"""


def test_runs_need_pytorch_and_numpy_alone():
    ended = alone(RUNS, *OTHERS)
    assert ended.returncode == 0, ended.stderr


def test_what_needs_more_says_what():
    ended = alone(RUNS + "trace.to_frame()", *OTHERS)
    assert "Trace.to_frame needs pandas: pip install pandas" in ended.stderr
    ended = alone(
        RUNS + "run(linear, local_steps=1, step_size=eta, rounds=1, progress=True)", *OTHERS
    )
    assert "progress=True needs tqdm: pip install tqdm" in ended.stderr


def test_the_gpu_is_checked_with_pytorch_and_numpy_alone():
    ended = alone("import bookrun.commands.gpu_check, bookrun.commands.record", *OTHERS)
    assert ended.returncode == 0, ended.stderr
