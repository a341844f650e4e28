"""CUDA graphs without a GPU: what is captured is run again, and watched for what it reads."""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import MethodType
from typing import Any, ClassVar

import pytest
from torch import Tensor
from torch.fx import GraphModule
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from localgd.engine import cuda_graph, evaluator


class Watching(TorchDispatchMode):
    """Notes every operation that reads memory which is neither given nor made inside."""

    def __init__(self, given: Sequence[Tensor]) -> None:
        super().__init__()
        self._known = {_memory(each) for each in given}
        self._kept: list[Tensor] = []  # so that no memory is given out twice
        self.foreign: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for each in tree_leaves((args, kwargs or {})):
            # Of a number on the CPU a kernel is told the value.
            if isinstance(each, Tensor) and each.numel() and _memory(each) not in self._known:
                self.foreign.append(f"{func} of {tuple(each.shape)}")
        result = func(*args, **(kwargs or {}))
        for each in tree_leaves(result):
            if isinstance(each, Tensor):
                self._known.add(_memory(each))
                self._kept.append(each)
        return result


class Replayed:
    """Stands in for `cuda_graph.Graph`: a replay runs the function on the same memory again."""

    made: ClassVar[list[tuple[Callable[..., Any], tuple[int, ...]]]] = []

    def __init__(
        self, function: Callable[..., Any], arguments: Sequence[Tensor], pool: Any
    ) -> None:
        self.function, self.arguments = function, list(arguments)
        with Watching([*self.arguments, *constants(function)]) as watching:
            function(*self.arguments)
        assert not watching.foreign, watching.foreign
        self.outputs: tuple[Tensor, ...] = ()
        self.replay()
        Replayed.made.append((function, tuple(self.arguments[0].shape)))

    def replay(self) -> None:
        """Run the function on what the arguments hold now."""
        self.outputs = self.function(*self.arguments)


def constants(function: Any) -> list[Tensor]:
    """The constants of the recorded programs that a function calls: the programs keep them."""
    if isinstance(function, partial):
        return [each for part in (function.func, *function.args) for each in constants(part)]
    if isinstance(function, MethodType):
        held = vars(function.__self__).values()
        return [each for part in held if isinstance(part, GraphModule) for each in constants(part)]
    if isinstance(function, GraphModule):
        return [each for each in vars(function).values() if isinstance(each, Tensor)] + [
            *function.buffers(),
            *function.parameters(),
        ]
    return []


@contextmanager
def capturing() -> Iterator[None]:
    """Let every evaluator inside capture what it would on a GPU, with `Replayed` for a graph."""
    build = evaluator.Evaluator.__init__

    def capturing_evaluator(self: evaluator.Evaluator, *arguments: Any) -> None:
        build(self, *arguments)
        self.captures = True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Replayed, "made", [])
        patch.setattr(cuda_graph, "Graph", Replayed)
        patch.setattr(evaluator, "Pool", lambda device: None)
        patch.setattr(evaluator.Evaluator, "__init__", capturing_evaluator)
        yield
    gc.collect()


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
