"""A sweep's point may be a run in several processes, under `torchrun`."""

from pathlib import Path

import pytest

import trial
from bookrun.sweeps import sweep
from bookrun.sweeps.points import OK

#: Starts as many processes as its parameter says, each with its share of four nodes.
CELL = '''\
import os, subprocess, sys
from pathlib import Path
from bookrun import report
from localgd import Trace
program = """
import sys
import numpy as np
import torch.distributed as dist
from localgd import LeastSquares, run
dist.init_process_group("gloo")
rank, share = dist.get_rank(), 4 // dist.get_world_size()
A = np.random.default_rng(0).standard_normal((4, 3, 5))[rank * share : (rank + 1) * share]
problem = LeastSquares(A, A.sum(2))
trace = run(problem, local_steps=7, step_size=0.01, rounds=20, group="world")
if rank == 0:
    trace.save(sys.argv[1])
dist.destroy_process_group()
"""
Path(f"share-{processes}.py").write_text(program)
subprocess.run(
    [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1",
     f"--nproc-per-node={processes}", f"share-{processes}.py", f"{processes}.npz"],
    env={**os.environ, **({"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {})},
    check=True,
)
trace = Trace.load(f"{processes}.npz")
report("loss", float(trace.loss[-1]))
report("run", trace)'''


def test_points_that_run_in_several_processes_end_where_one_process_does(tmp_path: Path) -> None:
    chapter = trial.chapter_text("One", CELL, parameters="processes = 1")
    project = trial.make_project(tmp_path, {"intro": "# A", "one": chapter})
    grid = project.root / "sweeps" / "trial.yaml"
    grid.parent.mkdir(exist_ok=True)
    grid.write_text("chapter: one\ngrid: {processes: [1, 2, 4]}\n", encoding="utf-8")
    frame = sweep(grid, jobs=2).frame.set_index("processes")
    assert set(frame["status"]) == {OK}
    for count in (2, 4):
        assert frame["loss"][count] == pytest.approx(frame["loss"][1], rel=1e-10)
