"""Checks the GPU loop on the GPU that is here: same numbers, no waiting, how fast.

Each part is saved as it ends, so that a machine that is lent for minutes leaves what it found.
It needs what the core of ``localgd`` needs, PyTorch and NumPy, and nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from bookrun.commands import gpu_agreement, gpu_group, gpu_speed
from localgd.files import write_atomically

FORMAT = "bookrun gpu-check 1"

#: The parts in the order of their importance.
PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "networks": gpu_agreement.networks,
    "group": gpu_group.group,
    "lenet": gpu_speed.lenet,
    "resnet": gpu_speed.resnet,
    "small": gpu_speed.small,
    "no_waiting": gpu_agreement.no_waiting,
    "repeated": gpu_agreement.repeated,
    "resumed": gpu_agreement.resumed,
    "cudnn": gpu_agreement.cudnn,
    "convex": gpu_agreement.convex,
    "kernels": gpu_speed.kernels,
    "all_mnist": gpu_speed.all_mnist,
    "resnet_tf32": gpu_speed.resnet_tf32,
    "resnet_in_full": gpu_speed.resnet_in_full,
}


def check(path: Path, minutes: float, only: list[str]) -> dict[str, Any]:
    """Carry out the parts, as many as ``minutes`` hold, and write each to ``path`` as it ends.

    Parts that are there already, of the same GPU and versions, stay until they are done again.
    """
    began = time.monotonic()
    made = _made()
    found: dict[str, Any] = {"format": FORMAT, "made": made, "parts": _kept(path, made)}
    asked = only or list(PARTS)
    for name in asked:
        left = 60 * minutes - (time.monotonic() - began)
        if left <= 0:
            print(f"{name}: left out, the {minutes:g} minutes are over", flush=True)
            continue
        found["parts"][name] = _carried_out(PARTS[name])
        write_atomically(path, (json.dumps(found, indent=1, default=str) + "\n").encode())
        print(f"{name}: {json.dumps(found['parts'][name], default=str)}", flush=True)
    return found


def _kept(path: Path, made: dict[str, Any]) -> dict[str, Any]:
    """Return the parts that ``path`` holds of this machine."""
    if not path.is_file():
        return {}
    there = json.loads(path.read_text(encoding="utf-8"))
    same = there.get("format") == FORMAT and there.get("made") == made
    return dict(there["parts"]) if same else {}


def _carried_out(part: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what a part found, or how it failed, with its seconds and its warnings."""
    began, started = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("default")
        try:
            result = part()
        except Exception as error:  # the next part may still tell something
            result = {"error": repr(error), "traceback": traceback.format_exc()}
    torch.cuda.empty_cache()
    texts = sorted({str(each.message)[:300] for each in warned})
    return (
        result
        | {"started": started, "seconds": round(time.monotonic() - began, 2)}
        | ({"warnings": texts} if texts else {})
    )


def _made() -> dict[str, Any]:
    properties = torch.cuda.get_device_properties(0)
    return {
        "device": torch.cuda.get_device_name(0),
        "memory_gib": round(properties.total_memory / 2**30, 1),
        "processors": properties.multi_processor_count,
        "host_cores": os.cpu_count(),
        "versions": {
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
            "python": platform.python_version(),
        },
        "cudnn_enabled": torch.backends.cudnn.enabled,
    }


def main(arguments: list[str] | None = None) -> int:
    """Check from the command line; 1 where a part failed."""
    parser = argparse.ArgumentParser(prog="gpu-check", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("recorded"), help="a directory")
    parser.add_argument("--minutes", type=float, default=10, help="start no part after so many")
    parser.add_argument("--only", nargs="*", default=[], choices=list(PARTS), metavar="PART")
    asked = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("gpu-check: PyTorch sees no GPU here, so there is nothing to check.")
        return 0
    found = check(asked.output / "gpu-check.json", asked.minutes, asked.only)
    failed = [
        name
        for name, part in found["parts"].items()
        if "error" in part or part.get("passed") is False
    ]
    print(f"failed: {', '.join(failed)}" if failed else "all parts passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
