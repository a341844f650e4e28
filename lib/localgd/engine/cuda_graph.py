"""A block of local steps as one CUDA graph: launched at once, without returning to Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_WARM_UP = 3  # runs before the capture, in which libraries choose kernels and take memory


class Capture:
    """`function`, captured on arguments of the shapes of `example`; call it with others.

    Memory is planned once, at the capture, and reused by every replay.  Results are copies:
    they stay valid when the capture is replayed.
    """

    def __init__(
        self, function: Callable[..., tuple[Tensor, ...]], example: Sequence[Tensor]
    ) -> None:
        self._inputs = [each.clone() for each in example]
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP):
                function(*self._inputs)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._outputs = function(*self._inputs)

    def __call__(self, *arguments: Tensor) -> tuple[Tensor, ...]:
        """Return what `function` returns for `arguments`."""
        for static, given in zip(self._inputs, arguments, strict=True):
            static.copy_(given)
        self._graph.replay()
        return tuple(each.clone() for each in self._outputs)
