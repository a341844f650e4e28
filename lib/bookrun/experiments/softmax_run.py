"""Long runs of Figure 3's softmax layers, by the scores of the samples instead of the weights.

A step of gradient descent on softmax cross-entropy moves the weights within the span of the
node's own samples, W ← W − (η/n) Σ_j u_j (p_j − e_{y_j})ᵀ. Its scores Z = U W follow
Z ← Z − (η/n) (U Uᵀ)(P − Y), which takes one product with a small Gram matrix, and at the end of the
round the sum of all P − Y says where the weights have gone. That is several times as fast as
``localgd.run`` on these layers, and the same run up to rounding.

``python -m bookrun.experiments.softmax_run`` writes ``recorded/fig3-long.json``.
"""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from bookrun.experiments.machine import commit, processor
from bookrun.experiments.softmax_layers import pooled
from bookrun.files import write_atomic
from bookrun.project import Project
from localgd import datasets
from localgd.datasets.dataset import Choice
from localgd.networks import SoftmaxLayer, seeded

FORMAT = "bookrun softmax runs 1"


@dataclass(frozen=True)
class Layer:
    """The samples of one of the two networks, a one appended to each, and PyTorch's start."""

    samples: Tensor  # (n, p), float64
    targets: Tensor  # (n, classes), one-hot, float64
    start: Tensor  # (p, classes), float64

    def smoothness(self, nodes: int) -> float:
        """Return max L_i, with L_i = ½ λ_max of the mean of u uᵀ over node i's samples."""
        shares = self.samples.chunk(nodes)
        return max(float(torch.linalg.matrix_norm(u, 2)) ** 2 / (2 * len(u)) for u in shares)

    def measured(self, weights: Tensor) -> tuple[float, float]:
        """Return f(W) and ‖∇f(W)‖²."""
        scores = self.samples @ weights
        own = (scores * self.targets).sum(1)
        gradient = self.samples.T @ (scores.softmax(1) - self.targets) / len(self.samples)
        return float((scores.logsumexp(1) - own).mean()), float((gradient**2).sum())


def layer(network: str, samples: int = 500, seed: int = 0, source: Choice = "real") -> Layer:
    """Return the layer ``"pooled"`` or ``"pixels"`` on the first images of MNIST.

    Raises `ValueError` for another name, and what ``datasets.mnist`` raises, where the real
    images cannot be had, say.
    """
    if network not in ("pooled", "pixels"):
        raise ValueError(f"network={network!r} must be 'pooled' or 'pixels'")
    data = datasets.mnist("train", first=samples, source=source)
    images = torch.as_tensor((pooled(data) if network == "pooled" else data).features)
    module = seeded(lambda: SoftmaxLayer(images.shape[-1]), seed)
    weight, bias = (p.detach().double() for p in module.parameters())
    flat = images.flatten(1).double()
    return Layer(
        torch.cat([flat, torch.ones(len(flat), 1, dtype=torch.float64)], 1),
        one_hot(torch.as_tensor(data.labels).long(), 10).double(),
        torch.cat([weight, bias[:, None]], 1).T.contiguous(),
    )


def rounds(posed: Layer, nodes: int, step_size: float, local_steps: int) -> Iterator[Tensor]:
    """Yield x_1, x_2, … as weights (p, classes): the samples in file order, equally many a node."""
    size = len(posed.samples) // nodes
    samples = posed.samples.reshape(nodes, size, -1)
    targets = posed.targets.reshape(nodes, size, -1)
    weights = posed.start
    if nodes == 1 and size > samples.shape[2]:  # the weights are the smaller of the two
        back = posed.samples.T.contiguous() * (-step_size / size)
        while True:
            moving = weights.clone()
            for _ in range(local_steps):
                off = (posed.samples @ moving).softmax(1).sub_(posed.targets)
                moving.addmm_(back, off)
            weights = moving
            yield weights
    gram = torch.bmm(samples, samples.transpose(1, 2)) * (-step_size / size)
    while True:
        scores = samples @ weights
        gone = torch.zeros_like(scores)
        for _ in range(local_steps):
            off = scores.softmax(2).sub_(targets)
            gone += off
            scores.baddbmm_(gram, off)
        moved = posed.samples.T @ gone.flatten(0, 1)
        weights = weights - step_size / len(posed.samples) * moved
        yield weights


def _marks(last: int) -> list[int]:
    """Some forty rounds a decade, all of the first, and the last."""
    return sorted({round(10 ** (k / 40)) for k in range(int(40 * np.log10(last)) + 1)} | {last})


def follow(posed: Layer, nodes: int, step_size: float, local_steps: int, last: int) -> "Course":
    """Return what some forty rounds a decade of a run look like, the first, 0, and the last too."""
    marks, found = _marks(last), [posed.measured(posed.start)]
    for n, weights in enumerate(rounds(posed, nodes, step_size, local_steps), 1):
        if n in marks:
            found.append(posed.measured(weights))
        if n == last:
            break
    loss, residual = np.array(found).T
    return Course(np.array([0, *marks]), loss, residual)


def _carried_out(network: str, nodes: int, last: int) -> dict[str, Any]:
    posed, began = layer(network), time.monotonic()
    eta = 1 / posed.smoothness(10)
    course = follow(posed, nodes, eta, 100, last)
    return {
        "network": network, "nodes": nodes, "step_size": eta, "local_steps": 100, "seed": 0,
        "seconds": round(time.monotonic() - began), "round": course.round.tolist(),
        "loss": [float(f"{v:.7g}") for v in course.loss],
        "grad_norm_sq": [float(f"{v:.7g}") for v in course.grad_norm_sq],
    }  # fmt: skip


def main() -> None:
    """Write the record of both networks on ten nodes and on one."""
    torch.set_num_threads(1)
    project = Project(Path.cwd())
    made = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(project.root), "device": f"the CPU ({processor()})", "threads": 1,
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
    }  # fmt: skip
    source = datasets.mnist("train", first=500, source="real").source
    runs = []
    for network, nodes, last in [
        ("pooled", 10, 4000), ("pooled", 1, 4000), ("pixels", 10, 300), ("pixels", 1, 300),
    ]:  # fmt: skip
        runs.append(_carried_out(network, nodes, last))
        print(network, nodes, runs[-1]["seconds"], "s", file=sys.stderr, flush=True)
    lines = ",\n".join("  " + json.dumps(each, separators=(",", ":")) for each in runs)
    head = {"format": FORMAT, "data": source.describe(), "made": made}
    text = json.dumps(head, ensure_ascii=False, indent=1)[:-2] + f',\n "runs": [\n{lines}\n ]\n}}\n'
    write_atomic(project.recorded("fig3-long"), text)


@dataclass(frozen=True)
class Course:
    """One recorded run: the rounds at which it was looked at, f(x_n) and ‖∇f(x_n)‖² there."""

    round: np.ndarray
    loss: np.ndarray
    grad_norm_sq: np.ndarray


def load(path: str | Path) -> tuple[dict[tuple[str, int], Course], str]:
    """Return the recorded runs by network and number of nodes, and a sentence of provenance."""
    found = json.loads(Path(path).read_text(encoding="utf-8"))
    runs = {
        (each["network"], each["nodes"]): Course(
            *(np.asarray(each[name]) for name in ("round", "loss", "grad_norm_sq"))
        )
        for each in found["runs"]
    }
    made, minutes = found["made"], sum(each["seconds"] for each in found["runs"]) / 60
    return runs, (
        f"Recorded {made['started'][:10]} on {made['device']}, in {minutes:.0f} min of computing, "
        f"at commit {made['commit']}, with PyTorch {made['versions']['torch']}; "
        f"{found['data']['description']}."
    )


if __name__ == "__main__":
    main()
