"""Capturing on a machine without a GPU: PyTorch's graphs replaced by ones that can fail."""

import contextlib
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from captures import Watching, capturing
from localgd.engine import cuda_graph
from localgd.engine.cuda_graph import CaptureError, Captures, Graph, Pool


class Tape(TorchDispatchMode):
    """The operations of a capture, to be done again on the same memory."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[Any] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.operations.append((func, args, kwargs or {}, result))
        return result

    def replay(self) -> None:
        for func, args, kwargs, result in self.operations:
            again = func(*args, **kwargs)
            for place, value in zip(tree_leaves(result), tree_leaves(again), strict=True):
                if place is not value:
                    place.copy_(value)


class Driver:
    """What `torch.cuda` does for a graph, noted in `calls`, and going wrong where it is asked."""

    def __init__(self, *, empty: bool = False, fails_at_end: bool = False) -> None:
        self.calls: list[str] = []
        self.stream = "the caller's"
        self.empty, self.fails_at_end = empty, fails_at_end

    def install(self, patch: pytest.MonkeyPatch) -> None:
        driver = self

        class FakeGraph:
            def capture_begin(self, pool: Any, capture_error_mode: str) -> None:
                driver.calls.append("begin")
                self.tape = Tape()
                self.tape.__enter__()

            def capture_end(self) -> None:
                self.tape.__exit__(None, None, None)
                driver.calls.append("end")
                if driver.fails_at_end:
                    raise RuntimeError("operation failed due to a previous error during capture")

            def replay(self) -> None:
                if not driver.empty:
                    self.tape.replay()

        class FakeStream:
            def __init__(self, device: Any = None) -> None:
                pass

            def wait_stream(self, other: Any) -> None:
                pass

        @contextlib.contextmanager
        def stream(which: Any) -> Any:
            before, driver.stream = driver.stream, "a side stream"
            try:
                yield
            finally:
                driver.stream = before

        patch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
        patch.setattr(torch.cuda, "Stream", FakeStream)
        patch.setattr(torch.cuda, "stream", stream)
        patch.setattr(torch.cuda, "current_stream", FakeStream)
        patch.setattr(torch.cuda, "graph_pool_handle", lambda: "a pool")
        patch.setattr(torch.cuda, "synchronize", lambda: None)
        patch.setattr(torch.cuda, "empty_cache", lambda: None)
        patch.setattr(torch.cuda, "current_device", lambda: 0)
        patch.setattr(
            torch._C,
            "_cuda_endAllocateToPool",
            lambda device, pool: driver.calls.append(f"close {pool}"),
            raising=False,
        )


def double(x: torch.Tensor) -> tuple[torch.Tensor]:
    return (2 * x,)


def test_a_graph_gives_what_the_function_does_for_what_the_arguments_hold(monkeypatch):
    Driver().install(monkeypatch)
    place = torch.ones(3)
    graph = Graph(double, [place], Pool(torch.device("cuda")))
    place.fill_(4.0)
    graph.replay()
    assert graph.outputs[0].tolist() == [8.0, 8.0, 8.0]


def test_a_graph_that_stays_empty_is_found_out(monkeypatch):
    """As on a device that is not the current one: every replay would give the first result."""
    Driver(empty=True).install(monkeypatch)
    with pytest.raises(CaptureError, match="another result than a plain call"):
        Graph(double, [torch.ones(3)], Pool(torch.device("cuda", 1)))


def test_a_capture_that_fails_ends_it_and_closes_the_pool(monkeypatch):
    driver = Driver()
    driver.install(monkeypatch)
    calls = 0

    def fails_when_captured(x: torch.Tensor) -> tuple[torch.Tensor]:
        nonlocal calls
        calls += 1
        if calls > 1:  # the first call is the plain one
            raise RuntimeError("operation not permitted when stream is capturing")
        return (2 * x,)

    with pytest.raises(RuntimeError, match="not permitted"):
        Graph(fails_when_captured, [torch.ones(3)], Pool(torch.device("cuda")))
    assert driver.calls == ["begin", "end", "close a pool"]
    assert driver.stream == "the caller's"


def test_an_end_that_fails_closes_the_pool(monkeypatch):
    driver = Driver(fails_at_end=True)
    driver.install(monkeypatch)
    with pytest.raises(RuntimeError, match="previous error"):
        Graph(double, [torch.ones(3)], Pool(torch.device("cuda")))
    assert driver.calls == ["begin", "end", "close a pool"]
    assert driver.stream == "the caller's"


def test_a_failure_says_that_it_cannot_be_captured(monkeypatch):
    Driver(fails_at_end=True).install(monkeypatch)
    captures = Captures((), Pool(torch.device("cuda")))
    with pytest.raises(CaptureError, match="cannot be captured as a CUDA graph: operation failed"):
        captures("key", double, (torch.ones(3),), ())


def test_memory_that_runs_out_in_a_capture_stays_a_memory_error(monkeypatch):
    def runs_out(*_: Any) -> Any:
        raise RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")

    monkeypatch.setattr(cuda_graph, "Graph", runs_out)
    with pytest.raises(RuntimeError, match="ALLOC_FAILED") as caught:
        Captures((), None)("key", double, (torch.ones(3),), ())  # type: ignore[arg-type]
    assert not isinstance(caught.value, CaptureError)


def test_results_stay_when_the_graph_is_replayed_on_other_data():
    def scaled(x: torch.Tensor, data: torch.Tensor) -> tuple[torch.Tensor]:
        return (x * data,)

    with capturing():
        one, two = (torch.tensor([2.0]),), (torch.tensor([3.0]),)
        captures = Captures(one, None)  # type: ignore[arg-type]
        first = captures("key", scaled, (torch.tensor([5.0]),), one)
        second = captures("key", scaled, (torch.tensor([5.0]),), two)
        third = captures("key", scaled, (torch.tensor([7.0]),), one)
    assert (float(first[0]), float(second[0]), float(third[0])) == (10.0, 15.0, 14.0)
    assert float(one[0]) == 2.0


def test_reading_what_is_not_given_is_noticed():
    outside, given = torch.ones(3, 1), torch.ones(3, 2)
    with Watching([given]) as watching:
        torch.addcmul(given, outside, given)
    assert watching.foreign == ["aten.addcmul.default of (3, 1)"]
