"""`torchrun -m bench.ranks OUTPUT ROUNDS`: the seconds of LeNet's rounds on one rank's threads.

Ten nodes with 100 images each, T = 10, in as many processes as there are; the first one writes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch.distributed as dist

from bench.contenders import CROSS_ENTROPY
from bench.images import images
from localgd import NetworkProblem, run
from localgd.networks import LeNet, seeded


def main() -> None:
    """Run, and leave the seconds round by round."""
    output, rounds = Path(sys.argv[1]), int(sys.argv[2])
    dist.init_process_group("gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    own = slice(10 * rank // size, 10 * (rank + 1) // size)
    inputs, targets = images(10, 100)
    problem = NetworkProblem(seeded(LeNet, 0), inputs[own], targets[own], CROSS_ENTROPY)
    trace = run(
        problem,
        local_steps=10,
        step_size=0.01,
        rounds=rounds,
        engine="eager",
        device="cpu",
        group="world",
    )
    if rank == 0:
        output.write_text(json.dumps(trace.seconds[1:].tolist()), encoding="utf-8")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
