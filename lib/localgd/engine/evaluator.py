"""Evaluate a chunk of nodes: operation by operation, compiled, or as a CUDA graph.

All engines compute the same function; they differ in what a step costs and in the order in
which sums are taken.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.fx import GraphModule

from localgd.engine.convolutions import PRODUCTS, Form, as_products
from localgd.engine.cpu_rewrites import rewrite
from localgd.engine.cuda_graph import Captures, Pool
from localgd.engine.division import bytes_of, memory_bytes, recorded, start
from localgd.engine.gpu_rewrites import (
    detach_fills,
    merge_repeated,
    obstacle,
    place_constants,
)
from localgd.engine.invariants import hoist, second_alone
from localgd.engine.program import count_flops, identity
from localgd.fingerprint import short_sha
from localgd.problem import Chunk, Evaluate, Gradients, Problem

Engine = Literal["auto", "closed", "eager", "compiled", "graph"]

#: Eager work after which compiling pays, in FLOP: some two minutes on two CPU cores.
COMPILE_AFTER_FLOPS = 10**13
#: On a GPU, the share of its memory that what follows from the data alone may take.
PREPARED_SHARE = 1 / 16


class Bound:
    """A chunk with its evaluation: functions of x, shape (c, d), alone."""

    def __init__(
        self,
        evaluator: Evaluator,
        chunk: Chunk,
        program: Program | None,
        captures: Captures | None = None,
    ) -> None:
        self.chunk, self.flops = chunk, program.flops if program else 0
        self.nodes: NDArray[np.int64] = chunk.nodes.cpu().numpy()  # their numbers, on the host
        self.rows = chunk.nodes.to(evaluator.device)
        #: What has been captured for chunks of this shape; None where steps are not captured.
        self.captures = captures
        #: What `function` and `descent` take after x.
        self.data = chunk.tensors
        if program is not None:
            self.data += tuple(program.prepare(*chunk.tensors))
        #: (x, *data) ↦ losses and gradients.
        self.function: Evaluate = program.function if program else chunk.evaluate
        #: (x, *data) ↦ gradients.
        self.descent: Gradients = chunk.gradients if program is None else self._gradients_alone
        self._last = program.descent if program else None
        self._evaluator = evaluator

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """f_i(x_i), shape (c,), and ∇f_i(x_i), shape (c, d)."""
        self._evaluator.work += self.flops
        if self.captures is None:
            return self.function(x.contiguous(), *self.data)
        losses, gradients = self.captures("evaluate", self.function, (x,), self.data)
        return losses, gradients

    def gradients(self, x: Tensor) -> Tensor:
        """∇f_i(x_i), shape (c, d)."""
        self._evaluator.work += self.flops
        return self.descent(x, *self.data)

    def _gradients_alone(self, x: Tensor, *data: Tensor) -> Tensor:
        return (self._last or self.function)(x, *data)[-1]


class Program(NamedTuple):
    """A recorded evaluation for chunks of one shape."""

    prepare: Callable[..., tuple[Tensor, ...]]  # data ↦ what follows from the data alone
    function: Evaluate  # (x, *data, *prepared) ↦ losses and gradients
    flops: int  # of one evaluation, products and convolutions only
    obstacle: str | None = None  # the operation for which it cannot be captured
    descent: Callable[..., tuple[Tensor, ...]] | None = None  # gradients alone, where it pays


class Evaluator:
    """Binds chunks to their evaluation, recording and compiling once for each shape of chunk."""

    def __init__(
        self, kind: Engine, problem: Problem, device: torch.device, form: Form = "grouped"
    ) -> None:
        if kind == "graph" and device.type != "cuda":
            raise ValueError(f"engine='graph' captures CUDA graphs and cannot run on {device.type}")
        if kind == "compiled" and device.type == "cpu" and not has_compiler():
            raise ValueError("engine='compiled' needs a C++ compiler on a CPU, and there is none")
        self.work = 0  # FLOP spent so far
        self.compiles = kind == "compiled"
        self._free = kind in ("auto", "closed")
        traceable = all(chunk.traceable for chunk in problem.chunks())
        self.captures = kind == "graph" or (self._free and traceable and device.type == "cuda")
        self._problem, self.device, self._form = problem, device, form
        self._programs: dict[Any, Program] = {}
        self._captures: dict[Any, Captures] = {}
        self._recorded: list[str] = []

    @cached_property
    def _pool(self) -> Pool:
        return Pool(self.device)

    @property
    def identity(self) -> str:
        """Return what the programs recorded so far compute, as a digest."""
        return short_sha(" ".join(self._recorded).encode())

    def bind(self, chunk: Chunk) -> Bound:
        """Return `chunk` with its evaluation.

        Raises `ValueError` for a chunk that has to be recorded and cannot be.
        """
        if not (chunk.traceable or self.compiles):
            bound = Bound(self, chunk, None)
            if self.captures:
                bound.captures = Captures(bound.data, self._pool)
            return bound
        key = (len(chunk.nodes), *((each.shape, each.dtype) for each in chunk.tensors))
        if key not in self._programs:
            self._programs[key] = self._build(chunk)
        program = self._programs[key]
        bound = Bound(self, chunk, program)
        if self.captures and program.obstacle is None:
            if key not in self._captures:
                self._captures[key] = Captures(bound.data, self._pool)
            bound.captures = self._captures[key]
        return bound

    def reconsider(self, bound: Sequence[Bound], planned: int) -> bool:
        """Compile from now on, if the engine is free to and the work is enough; say if so.

        `planned`: the local steps that every node is known to have still before it.  The
        decision counts work and never asks the clock, so that a run can be repeated.
        """
        if self.compiles or not self._free or self.device.type != "cpu":
            return False
        work = self.work + planned * sum(each.flops for each in bound)
        if work < COMPILE_AFTER_FLOPS or not has_compiler():
            return False
        self.compile()
        return True

    def compile(self) -> None:
        """Compile from now on."""
        self.compiles = True
        self._programs.clear()
        self._captures.clear()

    def _build(self, chunk: Chunk) -> Program:
        x = start(self._problem, len(chunk.nodes), self.device)
        arguments = (x, *chunk.tensors)
        program = recorded(self._problem, chunk, arguments)
        self._recorded.append(identity(program))
        flops = count_flops(program, arguments)
        most = bytes_of(chunk.tensors)
        if self.device.type == "cpu":
            rewrite(program, for_compiler=self.compiles)
        else:
            detach_fills(place_constants(program, self.device))
            if self._form in PRODUCTS:
                as_products(program)
            merge_repeated(program)
            most = max(most, int(PREPARED_SHARE * memory_bytes(self.device)))
        prepare, body = hoist(program, most)
        if not self.compiles:
            hindrance = obstacle(body) if self.captures else None
            if hindrance is not None and not self._free:
                raise ValueError(
                    f"engine='graph' cannot capture {hindrance}: it waits for the GPU, or copies "
                    "between devices; engine='auto' runs such a module step by step"
                )
            descent = second_alone(body) if self.captures and hindrance is None else None
            return Program(prepare, body, flops, hindrance, descent)
        try:
            return Program(prepare, _compiled(body, (*arguments, *prepare(*chunk.tensors))), flops)
        except (RuntimeError, OSError):
            if not self._free:
                raise
            return Program(prepare, body, flops)


def has_compiler() -> bool:
    """Return whether PyTorch finds a C++ compiler to build programs for the CPU with."""
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        return shutil.which(get_cpp_compiler()) is not None
    except RuntimeError:
        return False


def _compiled(program: GraphModule, arguments: tuple[Tensor, ...]) -> Any:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # they are the compiler's, not the caller's
        from torch import _inductor

        # One thread: the workers it would start otherwise outlive the call and take the cores.
        with _inductor.config.patch(compile_threads=1, layout_optimization=False):
            compiled = _inductor.compile(program, list(arguments))
            compiled(*arguments)
    return compiled
