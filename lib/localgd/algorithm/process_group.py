"""Nodes in several processes of a `torch.distributed` group: their messages and their agreements.

Every process holds some of the nodes, in the order of the ranks.  What is decided is decided from
what all have received, so that no process parts from the others.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from localgd import __version__
from localgd.algorithm.communication import (
    Evaluation,
    OneProcess,
    Reply,
    T,
    Told,
    square_moves,
)

Reduction = Literal["sum", "ordered"]
Record = Literal["gradient", "loss"]

#: Numbers of steps are sent as multiples of this and a rest, each exact in float32.
_HIGH = float(2**20)
#: A message is asked for busily for so long, and then once in a while.
_BUSY_SECONDS = 2e-3
_PAUSE_SECONDS = 2e-4


class GroupError(RuntimeError):
    """Another process of the group has ended, or has not answered in time."""


class ProcessGroup(OneProcess):
    """m nodes in the P processes of a `torch.distributed` group; see `OneProcess`.

    With `reduction` "sum" every process adds up its rows and one all-reduce adds up the sums;
    with "ordered" all rows are sent to all processes and averaged there, as in one process.  A
    message from node i to all is a slot that the others fill with zeros.
    """

    shared = True

    def __init__(
        self, group: dist.ProcessGroup, reduction: Reduction, record: Record, timeout: float
    ) -> None:
        self.group, self.reduction, self.record = group, reduction, record
        self.timeout = timeout
        self.rank, self.size = dist.get_rank(group), dist.get_world_size(group)
        self.first = self.rank == 0
        gpu = dist.get_backend(group) == "nccl"
        self.device = torch.device("cuda", torch.cuda.current_device()) if gpu else None
        self._bytes, self._seconds = 0, 0.0
        self._counts = [0] * self.size

    def agree(self, prepare: Callable[[], T], texts: Callable[[T], Mapping[str, str]]) -> T:
        """Return what `prepare` returns, if it returns in all processes, and `texts` are the same.

        `texts`: "nodes", their number, may differ.  Raises in every process what `prepare` raises
        in any, and `ValueError` where texts differ, with the rank.
        """
        error: Exception | None = None
        said: dict[str, str] = {}
        try:
            value = prepare()
            said = dict(texts(value)) | _versions()
        except (ValueError, TypeError, OSError, ImportError) as raised:
            error = raised
        wrong = None if error is None else f"{type(error).__name__}: {error}"
        answers = [json.loads(each) for each in self.tell(json.dumps([wrong, said]).encode())]
        for rank, (what, _) in enumerate(answers):
            if what is not None:
                if rank == self.rank and error is not None:
                    raise error
                raise ValueError(f"rank {rank} of the group cannot run: {what}")
        self._compare([said for _, said in answers])
        if "nodes" in said:
            self._counts = [int(said["nodes"]) for _, said in answers]
            before = sum(self._counts[: self.rank])
            self.num_nodes = sum(self._counts)
            self.own = slice(before, before + self._counts[self.rank])
        self._bytes, self._seconds = 0, 0.0
        return value

    def _compare(self, answers: list[dict[str, str]]) -> None:
        first = answers[0]
        for rank, said in enumerate(answers):
            differing = [
                f"{name} is {said.get(name, 'absent')} there and {first.get(name, 'absent')} on "
                "rank 0"
                for name in sorted({*said, *first} - {"nodes"})
                if said.get(name) != first.get(name)
            ]
            if differing:
                raise ValueError(f"rank {rank} of the group differs: {'; '.join(differing)}")

    def exchange(
        self, x: Tensor, ends: Tensor, num_buffers: int, square_move: bool, told: Told
    ) -> Reply:
        """Average the nodes' ends in one message of d numbers, and six a node beside."""
        high = np.floor(told.steps / _HIGH)
        low = np.where(np.isinf(told.steps), 0.0, told.steps - np.where(np.isinf(high), 0, high) * _HIGH)
        met = np.zeros(len(ends)) if told.met is None else told.met.astype(float)
        column = np.ones(len(ends))
        facts = np.stack(
            [high, low, met, column * (not told.unmoved), column * told.seconds], axis=1
        )
        numbers = torch.as_tensor(facts, dtype=x.dtype, device=x.device)
        if square_move:
            moves = square_moves(x, ends, num_buffers)
            numbers = torch.cat([numbers, moves[:, None]], 1)
        mean, numbers = self._reduce(ends, numbers)
        everything = numbers[:, :5].cpu().numpy().astype(np.float64)
        steps = np.where(np.isinf(everything[:, 0]), np.inf, everything[:, 0] * _HIGH)
        return Reply(
            mean,
            numbers[:, 5].mean(0) if square_move else None,
            0,
            Told(
                steps + everything[:, 1],
                None if told.met is None else everything[:, 2] > 0,
                not everything[:, 3].any(),
                float(everything[:, 4].max()),
            ),
        )

    def evaluation(self, losses: Tensor, gradients: Tensor, norms: Tensor) -> Evaluation:
        """Send the gradients, unless only the loss is recorded, and two numbers a node."""
        numbers = torch.stack([losses, norms], 1)
        if self.record == "loss":
            numbers = self.every_node(numbers)
            return Evaluation(None, numbers[:, 0], numbers[:, 1])
        gradient, numbers = self._reduce(gradients, numbers)
        return Evaluation(gradient, numbers[:, 0], numbers[:, 1])

    def every_node(self, rows: Tensor) -> Tensor:
        """Return what all nodes have computed, (m, k); rows shorter than others end in NaN."""
        widths = [int(each) for each in self.tell(str(rows.shape[1]).encode())]
        kind, rows = rows.dtype, rows.to(torch.float32 if rows.dtype == torch.bool else rows.dtype)
        padded = rows.new_full((max(self._counts), max(widths)), torch.nan)
        padded[: len(rows), : rows.shape[1]] = rows
        gathered = self._gather(padded)
        return torch.cat(
            [each[:count] for each, count in zip(gathered, self._counts, strict=True)]
        ).to(kind)

    def slowest(self, computing: float, communicating: float) -> tuple[float, float]:
        """Return the longest time of a step, and the shortest of a message: nobody was waited for."""
        times = [json.loads(each) for each in self.tell(json.dumps([computing, communicating]).encode())]
        return max(time[0] for time in times), min(time[1] for time in times)

    def decision(self, verdict: bool) -> bool:
        """Return the first process's `verdict`."""
        return json.loads(self.tell(json.dumps(verdict).encode())[0]) is True

    def seconds(self, waiting: float) -> float:
        """Return the seconds in messages since the last call, less those spent `waiting`."""
        seconds, self._seconds = self._seconds, 0.0
        return max(0.0, seconds - waiting)

    def traffic(self, size: int) -> int:
        """Return what all processes have sent and received since the last call."""
        size, self._bytes = self._bytes, 0
        return size

    def tell(self, content: bytes) -> list[bytes]:
        """Return the `content` of every process, in the order of the ranks."""
        sizes = [int(each) for each in self._gather(torch.tensor([len(content)], device=self.device))]
        buffer = torch.zeros(max(sizes), dtype=torch.uint8, device=self.device)
        buffer[: len(content)] = torch.tensor(list(content), dtype=torch.uint8)
        return [
            bytes(each[:size].cpu().numpy().tobytes())
            for each, size in zip(self._gather(buffer), sizes, strict=True)
        ]

    def _reduce(self, vectors: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Return (1/m) Σ v_i and the numbers of all nodes, (m, k), from one message."""
        d = vectors.shape[1]
        if self.reduction == "ordered":
            rows = vectors.new_zeros(max(self._counts), d + numbers.shape[1])
            rows[: len(vectors), :d], rows[: len(vectors), d:] = vectors, numbers
            parts = zip(self._gather(rows), self._counts, strict=True)
            whole = torch.cat([each[:count] for each, count in parts])
            return whole[:, :d].contiguous().mean(0), whole[:, d:]
        slots = numbers.new_zeros(self.num_nodes, numbers.shape[1])
        slots[self.own] = numbers
        message = torch.cat([vectors.sum(0), slots.flatten()])
        self._wait(lambda: dist.all_reduce(message, group=self.group, async_op=True), message)
        return message[:d] / self.num_nodes, message[d:].reshape(slots.shape)

    def _gather(self, rows: Tensor) -> list[Tensor]:
        parts = [torch.empty_like(rows) for _ in range(self.size)]
        self._wait(
            lambda: dist.all_gather(parts, rows.contiguous(), group=self.group, async_op=True),
            *parts,
        )
        return parts

    def _wait(self, start: Callable[[], Any], *received: Tensor) -> None:
        """Wait for a message, open to Ctrl-C, until it is there or the time is over."""
        began = time.perf_counter()
        try:
            work = start()
            while not work.is_completed():
                waited = time.perf_counter() - began
                if waited > self.timeout:
                    raise GroupError(
                        f"rank {self.rank} of {self.size} has waited {self.timeout:g} s for the "
                        "others: one of them hangs, or needs longer for its nodes (timeout=)"
                    )
                time.sleep(0 if waited < _BUSY_SECONDS else _PAUSE_SECONDS)
            work.wait(timedelta(seconds=self.timeout))
        except GroupError:
            raise
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0]
            raise GroupError(
                f"rank {self.rank} of {self.size} has lost another process of the group: {reason}"
            ) from error
        self._seconds += time.perf_counter() - began
        content = sum(each.numel() * each.element_size() for each in received)
        # Each process sends its part and receives what is there after it.
        sent = content if len(received) == 1 else content // self.size
        self._bytes += self.size * (sent + content)


def join(group: Any, reduction: str, record: str, timeout: float) -> ProcessGroup:
    """Return the messages of `group`, "world" or a group that there is already.

    "world" are the processes that `torchrun` has started, or that the program has joined itself.
    Raises `ValueError` or `TypeError` for what is no group, or not this process's, and for another
    reduction, record or timeout.
    """
    if reduction not in get_args(Reduction):
        raise ValueError(f"reduction={reduction!r} must be one of {', '.join(get_args(Reduction))}")
    if record not in get_args(Record):
        raise ValueError(f"record={record!r} must be one of {', '.join(get_args(Record))}")
    if not 0 < timeout < float("inf"):
        raise ValueError(f"timeout={timeout} must be positive and finite, in seconds")
    return ProcessGroup(_of(group, timeout), reduction, record, timeout)  # type: ignore[arg-type]


def _of(group: Any, timeout: float) -> dist.ProcessGroup:
    if hasattr(group, "get_group") and hasattr(group, "ndim"):  # a DeviceMesh
        if group.ndim != 1:
            raise ValueError(f"group is a mesh of {group.ndim} dimensions: take one, mesh['name']")
        group = group.get_group()
    if isinstance(group, dist.ProcessGroup):
        if dist.get_rank(group) < 0:
            raise ValueError("this process is not a member of the group")
        return group
    if group != "world":
        raise TypeError(f"group={group!r} must be None, 'world', a process group or a DeviceMesh")
    if not dist.is_initialized():
        missing = [name for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR") if name not in os.environ]
        if missing:
            raise ValueError(
                "group='world' needs the processes that torchrun starts "
                f"({', '.join(missing)} not set): torchrun --nproc-per-node=2 FILE"
            )
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())
        backend = "nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, timeout=timedelta(seconds=timeout))
    assert dist.group.WORLD is not None
    return dist.group.WORLD


def _versions() -> dict[str, str]:
    return {
        "localgd": __version__,
        "torch": torch.__version__.partition("+")[0],
        "python": ".".join(platform.python_version_tuple()[:2]),
    }
