"""What the numbers were measured on."""

from __future__ import annotations

import os
import platform
import time
from datetime import UTC, datetime
from typing import Any

import torch

from bookrun.experiments.machine import commit, processor
from localgd import __version__


def describe(device: str) -> dict[str, Any]:
    """Return processor, device, threads, versions, commit and date."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if device == "cuda" else "CPU",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "localgd": __version__,
    }


def matmul_gflops(device: str) -> float:
    """The rate of a float32 matrix product here, in GFLOP/s: the best of several tries."""
    n = 1024 if device == "cpu" else 8192
    a, b = (torch.randn(n, n, device=device) for _ in range(2))
    best = 0.0
    for _ in range(12):
        if device == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        torch.mm(a, b)
        if device == "cuda":
            torch.cuda.synchronize()
        best = max(best, 2 * n**3 / (time.perf_counter() - began) / 1e9)
    return best
