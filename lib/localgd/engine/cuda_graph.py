"""Blocks of operations as CUDA graphs: launched at once, without returning to Python."""

from __future__ import annotations

import gc
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress

import torch
from torch import Tensor

from localgd.engine.backend import is_out_of_memory

Function = Callable[..., tuple[Tensor, ...]]

#: How far a replay may be from the plain call, relative to the largest entry: a captured
#: library call may choose another kernel.
_TOLERANCE = 1e-3


class CaptureError(RuntimeError):
    """A function that cannot be captured, or of which the replay gives something else."""


class Pool:
    """The stream and the memory that all graphs of a run share; they never run side by side."""

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self.handle = torch.cuda.graph_pool_handle()


class Graph:
    """`function` captured on `arguments`, which stay where they are; `replay` runs it on them."""

    def __init__(self, function: Function, arguments: Sequence[Tensor], pool: Pool) -> None:
        pool.stream.wait_stream(torch.cuda.current_stream())
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.stream(pool.stream):
            # Libraries choose kernels and take memory in a first, plain call.
            expected = [each.clone() for each in function(*arguments)]
            torch.cuda.synchronize()
            gc.collect()  # what is freed during a capture would invalidate it
            torch.cuda.empty_cache()  # the plain call's memory, for the graph's own
            self.outputs = self._captured(function, arguments, pool)
            for each in self.outputs:
                each.fill_(float("nan") if each.is_floating_point() else 0)
            self._graph.replay()
            if not _agree(self.outputs, expected):
                raise CaptureError("the captured graph gives another result than a plain call")
        torch.cuda.current_stream().wait_stream(pool.stream)

    def replay(self) -> None:
        """Run the captured operations on what the arguments hold now."""
        self._graph.replay()

    def _captured(
        self, function: Function, arguments: Sequence[Tensor], pool: Pool
    ) -> tuple[Tensor, ...]:
        """Capture on the current stream; where it fails, end it and close the pool."""
        # "thread_local": other threads (a progress bar, a notebook's) may do as they like.
        self._graph.capture_begin(pool=pool.handle, capture_error_mode="thread_local")
        try:
            outputs = function(*arguments)
        except BaseException:
            with suppress(RuntimeError):
                self._graph.capture_end()
            self._close(pool)
            raise
        try:
            self._graph.capture_end()
        except RuntimeError:
            self._close(pool)
            raise
        return outputs

    def _close(self, pool: Pool) -> None:
        """Let allocations go to the common memory again, which a failed end does not."""
        with suppress(RuntimeError, AttributeError):
            torch._C._cuda_endAllocateToPool(torch.cuda.current_device(), pool.handle)


class Captures:
    """Functions of (*arguments, *data) that are captured on first use and replayed from then on.

    `data`: of the shapes of what they will be called with.  Arguments and data are copied to
    where the graphs read them, data only where they are others than the last time.  Results
    are copies: they stay valid when a graph is replayed.
    """

    def __init__(self, data: Sequence[Tensor], pool: Pool) -> None:
        self._pool = pool
        self._data = [each.clone() for each in data]
        self._held: Sequence[Tensor] | None = None
        self._graphs: dict[Hashable, tuple[list[Tensor], Graph]] = {}

    def __call__(
        self,
        key: Hashable,
        function: Function,
        arguments: Sequence[Tensor],
        data: Sequence[Tensor],
    ) -> tuple[Tensor, ...]:
        """Return function(*arguments, *data); `key` tells it from the others.

        Raises `CaptureError` where it cannot be captured.
        """
        if self._held is not data:
            for static, given in zip(self._data, data, strict=True):
                static.copy_(given)
            self._held = data
        if key not in self._graphs:
            places = [each.clone(memory_format=torch.contiguous_format) for each in arguments]
            self._graphs[key] = places, _graph(function, [*places, *self._data], self._pool)
        places, graph = self._graphs[key]
        for static, given in zip(places, arguments, strict=True):
            static.copy_(given)
        graph.replay()
        return tuple(each.clone() for each in graph.outputs)


def _graph(function: Function, arguments: Sequence[Tensor], pool: Pool) -> Graph:
    try:
        return Graph(function, arguments, pool)
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        raise CaptureError(f"it cannot be captured as a CUDA graph: {error}") from error


def _agree(outputs: Sequence[Tensor], expected: Sequence[Tensor]) -> bool:
    """Return whether a replay gave what the plain call did."""
    return all(_close_to(one, two) for one, two in zip(outputs, expected, strict=True))


def _close_to(one: Tensor, two: Tensor) -> bool:
    if not two.is_floating_point():
        return torch.equal(one, two)
    if torch.equal(one.isfinite(), two.isfinite()):
        one, two = one.nan_to_num(), two.nan_to_num()
        size = float(two.abs().max()) if two.numel() else 0.0
        return bool(((one - two).abs() <= _TOLERANCE * size).all())
    return False
