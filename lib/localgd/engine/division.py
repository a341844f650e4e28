"""Divide the nodes into chunks: as many together as memory holds, or one after the other."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.fx import GraphModule

from localgd.engine.convolutions import PRODUCTS, Form, as_products, choose
from localgd.engine.program import UntraceableError, calls, peak_bytes, record
from localgd.problem import Chunk, Problem

#: On a CPU, a node whose intermediate results take more than this is convolved by itself:
#: grouped convolutions of that size are slower than one after another.
ALONE_BYTES = 2**19
#: On a CPU, what the nodes of a chunk may take together: more falls out of the caches.
CACHE_BYTES = 2**25
#: The share of a machine's memory that the intermediate results of one step may take.
MEMORY_SHARE = 0.5
#: On a GPU, what libraries take for themselves, in bytes.
WORKSPACE_BYTES = 2**30
#: On a GPU, how often x is held: by the run, where graphs read it, in a step, as results.
X_COPIES = 6
_GROUPED: Form = "grouped"


class Division(NamedTuple):
    """The chunks of nodes that are evaluated together, and how they convolve."""

    chunks: list[Chunk]
    form: Form


def divide(problem: Problem, device: torch.device, chunk_size: int | None) -> Division:
    """Return chunks of `chunk_size` nodes at most, and the form of their convolutions.

    None divides by the memory that one node takes: as many nodes together as half of the
    machine's memory holds, on a CPU as many as its caches do, and one at a time where their
    convolutions are large.  It depends on nothing but the problem and the machine.
    """
    whole = problem.chunks()
    given = chunk_size is not None and device.type == "cpu"
    if given or not all(chunk.traceable for chunk in whole):
        return Division(problem.chunks(chunk_size), "grouped")
    size, form = problem.num_nodes, _GROUPED
    memory = int(MEMORY_SHARE * memory_bytes(device))
    for chunk in whole:
        one = chunk.take(torch.zeros(1, dtype=torch.int64, device=device))
        x = start(problem, 1, device)
        program = recorded(problem, one, (x, *one.tensors))
        if device.type == "cpu":
            fitting = fitting_on_cpu(program, x, one, memory)
        else:
            form, fitting = fitting_on_gpu(program, x, one, memory)
        size = min(size, max(1, fitting))
    if chunk_size is not None:
        return Division(problem.chunks(min(chunk_size, size)), form)
    parts = math.ceil(problem.num_nodes / size)
    return Division(problem.chunks(math.ceil(problem.num_nodes / parts)), form)  # few sizes


def fitting_on_cpu(program: GraphModule, x: Tensor, one: Chunk, memory: int) -> int:
    """Return how many nodes like `one` a CPU takes together; `memory` in bytes."""
    need = max(1, peak_bytes(program))
    if need > ALONE_BYTES and calls(program, torch.ops.aten.convolution.default):
        return 1
    held = bytes_of([x, x, *one.tensors])  # the model, its gradient, the data
    return min(memory // need, CACHE_BYTES // (need + held))


def fitting_on_gpu(program: GraphModule, x: Tensor, one: Chunk, memory: int) -> tuple[Form, int]:
    """Return the form of convolutions on a GPU, and how many nodes like `one` go together.

    A captured step reads copies of x and of the data and leaves copies of x.
    """
    form = choose(program)
    if form in ("alone", "alone products"):
        return form, 1
    need = max(1, peak_bytes(program))
    if form in PRODUCTS:
        need = max(need, peak_bytes(as_products(program)))
    held = bytes_of([x] * X_COPIES) + bytes_of([*one.tensors] * 2)
    return form, (memory - WORKSPACE_BYTES) // (need + held)


def start(problem: Problem, count: int, device: torch.device) -> Tensor:
    """Return the problem's own start for so many nodes.

    Recording evaluates, and not at any point.
    """
    x = problem.initial(torch.Generator()).to(device, problem.dtype)
    return x.expand(count, -1).clone()


def recorded(problem: Problem, chunk: Chunk, arguments: tuple[Tensor, ...]) -> GraphModule:
    """Return the evaluation of a chunk as it is recorded.

    Raises `ValueError` for a module that cannot be, with the reason.
    """
    try:
        return record(chunk.evaluate, arguments)
    except UntraceableError as error:
        name = type(getattr(problem, "module", problem)).__name__
        raise ValueError(
            f"{name} cannot be batched over nodes: {error}. Its forward and its loss must be "
            "tensor operations that do not look at values (no .item(), no branch on a tensor) "
            "and draw no random numbers (call .eval() on dropout)"
        ) from error


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """Return the memory of some tensors' entries."""
    return sum(each.numel() * each.element_size() for each in tensors)


def memory_bytes(device: torch.device) -> int:
    """Return the memory of the machine, or of the GPU."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
