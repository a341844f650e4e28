"""The `torch.distributed` group that a process shares a run with."""

from __future__ import annotations

import os
import platform
from typing import Any

import torch
import torch.distributed as dist

from localgd import __version__


def process_group(group: Any) -> dist.ProcessGroup:
    """Return the process group that `group` stands for; join "world" where nobody has.

    Raises `ValueError` or `TypeError` for what is no group, or not this process's.
    """
    if hasattr(group, "get_group") and hasattr(group, "ndim"):  # a DeviceMesh
        if group.ndim != 1:
            raise ValueError(
                f"group is a mesh of {group.ndim} dimensions: run takes one of them, mesh['name']"
            )
        group = group.get_group()
    if isinstance(group, dist.ProcessGroup):
        if dist.get_rank(group) < 0:
            raise ValueError("this process is not a member of the group")
        return group
    if not (isinstance(group, str) and group == "world"):
        raise TypeError(
            f"group={group!r} must be None, 'world', a process group, a DeviceMesh or Processes"
        )
    if not dist.is_initialized():
        _join_world()
    world = dist.group.WORLD
    if not isinstance(world, dist.ProcessGroup):
        raise ValueError("this process is not a member of the group")
    return world


def versions() -> dict[str, str]:
    """Return the versions that have to be the same in all processes."""
    return {
        "localgd": __version__,
        "torch": torch.__version__.partition("+")[0],
        "python": ".".join(platform.python_version_tuple()[:2]),
    }


def _join_world() -> None:
    missing = [name for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR") if name not in os.environ]
    if missing:
        raise ValueError(
            "group='world' needs the processes that torchrun starts "
            f"({', '.join(missing)} not set): torchrun --nproc-per-node=2 FILE"
        )
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
