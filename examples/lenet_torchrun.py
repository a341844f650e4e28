"""LeNet on the first 1000 images of MNIST, ten nodes in as many processes as `torchrun` starts.

    torchrun --nproc-per-node=2 examples/lenet_torchrun.py --local-steps 1 10

Each process makes a problem of the images of its own nodes; `group="world"` is all that is said
about the others.
"""

import argparse

import torch
import torch.distributed as dist

from localgd import NetworkProblem, datasets, run
from localgd.networks import LeNet, seeded

NODES, SAMPLES = 10, 100

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--local-steps", type=int, nargs="+", default=[1, 10])
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--checkpoint", help="where the run is kept, for a restart")
options = parser.parse_args()

dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
rank, size = dist.get_rank(), dist.get_world_size()
own = slice(NODES * rank // size * SAMPLES, NODES * (rank + 1) // size * SAMPLES)
data = datasets.mnist("train", first=NODES * SAMPLES)
images = torch.from_numpy(data.features[own]).reshape(-1, SAMPLES, 1, 28, 28)
labels = torch.from_numpy(data.labels[own]).reshape(-1, SAMPLES)
loss = torch.nn.CrossEntropyLoss(reduction="none")
problem = NetworkProblem(seeded(LeNet, 0), images, labels, loss, data=data.source)

if rank == 0:
    print(f"LeNet on {data.source.kind} MNIST, {NODES} nodes in {size} processes; per round:")
    print("   T    loss   seconds  computing  waiting  communicating   kB")
for T in options.local_steps:
    kept = options.checkpoint and f"{options.checkpoint}.{T}"
    steps = {"local_steps": T, "step_size": 0.1, "rounds": options.rounds}
    trace = run(problem, **steps, engine="eager", group="world", checkpoint=kept)
    if rank == 0:
        seconds, waiting = trace.seconds[1:].mean(), trace.seconds_waiting[1:].mean()
        sending = trace.seconds_communicating[1:].mean()
        parts = f"{seconds - waiting - sending:9.3f} {waiting:8.3f} {sending:14.3f}"
        print(f"{T:4} {trace.loss[-1]:7.4f} {seconds:9.3f}  {parts} {trace.bytes[-1] / 1e3:6.0f}")
dist.destroy_process_group()
