"""Nodes in several processes of a `torch.distributed` group: their messages and their agreements.

Every process holds some of the nodes, in the order of the ranks.  What is decided is decided from
what all have received, so that no process parts from the others.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from localgd.algorithm.communication import (
    Evaluation,
    OneProcess,
    Reply,
    T,
    Times,
    Told,
    square_moves,
)
from localgd.algorithm.interrupts import Interrupts
from localgd.algorithm.membership import process_group, versions
from localgd.algorithm.processes import Processes, ProcessLostError

#: Numbers of steps are sent as multiples of this and a rest, each exact in float32.
_HIGH = float(2**20)
#: A message is asked for busily for so long, and then once in a while.
_BUSY_SECONDS = 2e-3
_PAUSE_SECONDS = 2e-4
#: The numbers that go with the ends of a node: steps (two), met, moved, interrupted.
_FACTS = 5


class SeveralProcesses(OneProcess):
    """m nodes in the P processes of a `torch.distributed` group; see `OneProcess`.

    With the reduction "sum" every process adds up its rows and one all-reduce adds up the sums;
    what node i tells all is a slot that the other processes fill with zeros.  With "ordered" all
    rows are gathered by all processes.  Each message also says for how long its process has
    computed since the last one: the slowest process is the one that the others have waited for.
    """

    shared = True

    def __init__(self, processes: Processes) -> None:
        self.timeout = processes.timeout_seconds
        self.group = process_group(processes.group)
        self.processes: Processes = processes
        self.rank, self.size = dist.get_rank(self.group), dist.get_world_size(self.group)
        self.first = self.rank == 0
        gpu = dist.get_backend(self.group) == "nccl"
        self.device = torch.device("cuda", torch.cuda.current_device()) if gpu else "cpu"
        self._counts = [0] * self.size
        self._bytes = 0
        self._waiting = self._communicating = 0.0
        self._last = time.perf_counter()  # when the last message had come
        self._interrupts = Interrupts()

    def words(self) -> dict[str, str]:
        """Return the number of processes and the options that the course depends on."""
        return {
            "processes": str(self.size),
            "reduction": self.processes.reduction,
            "record": self.processes.record,
        }

    def agree(self, prepare: Callable[[], T], texts: Callable[[T], Mapping[str, str]]) -> T:
        """Return what `prepare` returns, if it returns in all processes, and `texts` are the same.

        `texts`: "nodes", their number, may differ.  Raises in every process what `prepare` raises
        in any, and `ValueError` where texts differ, with the rank.
        """
        error: Exception | None = None
        said: dict[str, str] = {}
        try:
            value = prepare()
            said = dict(texts(value)) | versions()
        except Exception as raised:  # of any kind: it is raised again, here and everywhere
            error = raised
        wrong = None if error is None else f"{type(error).__name__}: {error}"
        answers = [json.loads(each) for each in self._tell(json.dumps([wrong, said]).encode())]
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
        self.traffic(0)  # what is said before a run is none of its messages
        self.times()
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

    def from_first(self, read: Callable[[], bytes | None]) -> bytes | None:
        """Return what the first process reads; raises in every process what it raises."""
        content = self.agree(lambda: read() if self.first else None, lambda _: {})
        size = torch.tensor([-1 if content is None else len(content)], device=self.device)
        self._receive(size)
        if int(size) < 0:
            self.traffic(0)
            return None
        given = bytearray(content or bytes(int(size)))
        buffer = torch.frombuffer(given, dtype=torch.uint8).to(self.device)
        self._receive(buffer)
        self.traffic(0)
        return buffer.cpu().numpy().tobytes()

    @property
    def interrupted(self) -> bool:
        """Return whether an interrupt was noted, of which the other processes are to be told."""
        return self._interrupts.noted

    def listening(self) -> AbstractContextManager[object]:
        """Note an interrupt instead of raising it; a second one, later, is raised at once."""
        return self._interrupts.listening()

    def exchange(
        self, x: Tensor, ends: Tensor, num_buffers: int, square_move: bool, told: Told
    ) -> Reply:
        """Average the nodes' ends in one message of d numbers, and some for each node.

        Raises `KeyboardInterrupt` in every process where one was interrupted.
        """
        column = np.ones(len(ends))
        whole = np.isinf(told.steps)
        high = np.floor(np.where(whole, 0.0, told.steps) / _HIGH)
        low = np.where(whole, 0.0, told.steps) - high * _HIGH
        met = 0 * column if told.met is None else told.met.astype(float)
        facts = np.stack(
            [
                np.where(whole, np.inf, high),
                low,
                met,
                column * (not told.unmoved),
                column * self.interrupted,
            ],
            axis=1,
        )
        numbers = torch.as_tensor(facts, dtype=x.dtype, device=x.device)
        if square_move:
            moves = square_moves(x, ends, num_buffers)
            numbers = torch.cat([numbers, moves[:, None]], 1)
        mean, numbers = self._reduce(ends, numbers)
        known = numbers[:, :_FACTS].cpu().numpy().astype(np.float64)
        if known[:, 4].any():
            self._interrupts.told = True
            raise KeyboardInterrupt
        return Reply(
            mean,
            numbers[:, _FACTS].contiguous().mean(0) if square_move else None,
            0,
            Told(
                known[:, 0] * _HIGH + known[:, 1],
                None if told.met is None else known[:, 2] > 0,
                not known[:, 3].any(),
            ),
        )

    def evaluation(self, losses: Tensor, gradients: Tensor, norms: Tensor) -> Evaluation:
        """Send the gradients, unless only the loss is recorded, and two numbers a node."""
        numbers = torch.stack([losses, norms], 1)
        if self.processes.record == "loss":
            gradient, numbers = None, self._reduce(gradients[:, :0], numbers)[1]
        else:
            gradient, numbers = self._reduce(gradients, numbers)
        return Evaluation(gradient, numbers[:, 0].contiguous(), numbers[:, 1].contiguous())

    def every_node(self, rows: Tensor) -> Tensor:
        """Return what all nodes have computed, (m, k), the same k everywhere."""
        return self._reduce(rows[:, :0], rows)[1]

    def decision(self, verdict: bool) -> bool:
        """Return the first process's `verdict`."""
        flag = torch.tensor([verdict], dtype=torch.uint8, device=self.device)
        communicating = self._communicating
        self._receive(flag)
        self._communicating = communicating  # it is asked between rounds, and belongs to none
        return bool(flag)

    def times(self) -> Times:
        """Return the seconds spent on messages since the last call."""
        times = Times(self._waiting, self._communicating)
        self._waiting = self._communicating = 0.0
        return times

    def traffic(self, size: int) -> int:
        """Return what all processes have put into messages and taken out since the last call."""
        size, self._bytes = self._bytes, 0
        return size

    def _reduce(self, vectors: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Return (1/m) Σ v_i and the numbers of all nodes, (m, k), from one message."""
        d, home, before = vectors.shape[1], vectors.device, self._communicating
        computed = time.perf_counter() - self._last
        numbers = torch.cat([numbers, numbers.new_full((len(numbers), 1), computed)], 1)
        if self.processes.reduction == "ordered":
            rows = vectors.new_zeros(max(self._counts), d + numbers.shape[1])
            rows[: len(vectors), :d], rows[: len(vectors), d:] = vectors, numbers
            parts = zip(self._gather(rows.to(self.device)), self._counts, strict=True)
            everything = torch.cat([each[:count] for each, count in parts]).to(home)
            mean, numbers = everything[:, :d].contiguous().mean(0), everything[:, d:]
        else:
            slots = numbers.new_zeros(self.num_nodes, numbers.shape[1])
            slots[self.own] = numbers
            message = torch.cat([vectors.sum(0), slots.flatten()]).to(self.device)
            self._wait(lambda: dist.all_reduce(message, group=self.group, async_op=True))
            self._bytes += self.size * 2 * message.numel() * message.element_size()
            message = message.to(home)
            mean, numbers = message[:d] / self.num_nodes, message[d:].reshape(slots.shape)
        waiting = max(0.0, float(numbers[:, -1].max()) - computed)
        waiting = min(waiting, self._communicating - before)
        self._waiting += waiting
        self._communicating -= waiting
        return mean, numbers[:, :-1]

    def _gather(self, rows: Tensor) -> list[Tensor]:
        """Return the rows of every process."""
        parts = [torch.empty_like(rows) for _ in range(self.size)]
        self._wait(lambda: dist.all_gather(parts, rows, group=self.group, async_op=True))
        self._bytes += self.size * (1 + self.size) * rows.numel() * rows.element_size()
        return parts

    def _receive(self, message: Tensor) -> None:
        """Take over the first process's message."""
        first = dist.get_global_rank(self.group, 0)
        self._wait(lambda: dist.broadcast(message, first, group=self.group, async_op=True))
        self._bytes += self.size * message.numel() * message.element_size()

    def _tell(self, content: bytes) -> list[bytes]:
        """Return the `content` of every process, in the order of the ranks."""
        sizes = [int(each) for each in self._gather(torch.tensor([len(content)]).to(self.device))]
        buffer = torch.zeros(max(sizes), dtype=torch.uint8)
        buffer[: len(content)] = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        return [
            each[:size].cpu().numpy().tobytes()
            for each, size in zip(self._gather(buffer.to(self.device)), sizes, strict=True)
        ]

    def _wait(self, start: Callable[[], Any]) -> None:
        """Wait for a message until it is there or the time is over."""
        began = time.perf_counter()
        try:
            work = start()
            while not work.is_completed():
                waited = time.perf_counter() - began
                if waited > self.timeout:
                    raise ProcessLostError(
                        f"rank {self.rank} of {self.size} has waited {self.timeout:g} s for the "
                        "others: one of them hangs, or takes longer for its nodes "
                        "(Processes(timeout_seconds=…))"
                    )
                time.sleep(0 if waited < _BUSY_SECONDS else _PAUSE_SECONDS)
            work.wait()
        except ProcessLostError:
            raise
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0]
            raise ProcessLostError(
                f"rank {self.rank} of {self.size} has lost another process of the group: {reason}"
            ) from error
        self._last = time.perf_counter()
        self._communicating += self._last - began


def join(group: Any) -> SeveralProcesses:
    """Return the messages of `group`: "world", a group that there is already, or `Processes`.

    Raises `ValueError` or `TypeError` for what is no group, or not this process's.
    """
    return SeveralProcesses(group if isinstance(group, Processes) else Processes(group))
