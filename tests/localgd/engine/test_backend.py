"""Repeatable sums and the precision of products, switched on for a run and back after it."""

import contextlib
import warnings

import pytest
import torch

from localgd.engine.backend import deterministic, is_out_of_memory, memory_errors

CUDA, CPU = torch.device("cuda", 1), torch.device("cpu")
B = torch.backends
NEW_SWITCHES = hasattr(B.cuda.matmul, "fp32_precision")


def state() -> list[object]:
    """All that a run may switch."""
    old = [torch.are_deterministic_algorithms_enabled(), B.cudnn.enabled, B.cudnn.benchmark]
    old += [B.cudnn.deterministic, torch.utils.deterministic.fill_uninitialized_memory]
    if NEW_SWITCHES:
        old += [B.cuda.matmul.fp32_precision, B.cudnn.conv.fp32_precision, B.fp32_precision]
    return old


def test_a_run_on_a_gpu_leaves_cudnn_on_and_makes_it_repeatable():
    before = state()
    with deterministic(CUDA, tf32=False):
        assert B.cudnn.enabled
        assert B.cudnn.deterministic
        assert not B.cudnn.benchmark
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        assert not torch.utils.deterministic.fill_uninitialized_memory
    assert state() == before


def test_a_run_on_a_cpu_switches_nothing():
    before = state()
    with deterministic(CPU, tf32=True):
        assert state() == before


def test_the_switches_go_back_after_an_error():
    before = state()
    with pytest.raises(KeyError), deterministic(CUDA, tf32=True):
        raise KeyError
    assert state() == before


@pytest.mark.skipif(not NEW_SWITCHES, reason="PyTorch before 2.9 has one switch alone")
@pytest.mark.parametrize("tf32", [False, True])
@pytest.mark.parametrize("name", ["matmul", "conv", "all", "old"])
def test_a_caller_may_have_set_the_precision_before(name, tf32):
    kept = B.cuda.matmul.fp32_precision, B.cudnn.conv.fp32_precision, B.fp32_precision
    try:
        if name == "matmul":
            B.cuda.matmul.fp32_precision = "tf32"
        elif name == "conv":
            B.cudnn.conv.fp32_precision = "ieee"
        elif name == "all":
            B.fp32_precision = "ieee"
        else:
            B.cuda.matmul.allow_tf32 = True
        before = state()
        with deterministic(CUDA, tf32):
            expected = "tf32" if tf32 else "ieee"
            assert B.cuda.matmul.fp32_precision == expected
            assert B.cudnn.conv.fp32_precision == expected
        assert state() == before
    finally:
        B.fp32_precision = kept[2]
        B.cuda.matmul.fp32_precision, B.cudnn.conv.fp32_precision = kept[:2]


def test_the_device_of_the_run_is_the_current_one(monkeypatch):
    entered = []

    @contextlib.contextmanager
    def device(asked):
        entered.append(asked)
        yield

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device", device)
    with deterministic(CUDA, tf32=False):
        assert entered == [CUDA]


@pytest.mark.parametrize(
    "text",
    [
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate …",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "CUDA error: out of memory",
    ],
)
def test_every_way_to_run_out_of_memory_says_what_to_do(text):
    kinds = [RuntimeError, torch.OutOfMemoryError]
    kinds += [torch.AcceleratorError] if hasattr(torch, "AcceleratorError") else []
    for kind in kinds:
        with pytest.raises(MemoryError, match="chunk_size=1"), memory_errors(None):
            raise kind(text)


def test_another_error_stays_what_it_is():
    assert not is_out_of_memory(RuntimeError("CUDA error: an illegal memory access"))
    assert not is_out_of_memory(KeyError("out of memory"))
    with pytest.raises(RuntimeError, match="illegal"), memory_errors(2):
        raise RuntimeError("CUDA error: an illegal memory access")


def test_warnings_of_no_concern_are_not_shown():
    with deterministic(CUDA, tf32=False):  # in tests a warning is an error
        warnings.warn("operation uses CuBLAS and CUDA >= 10.2 …", stacklevel=1)
        warnings.warn("max_pool2d_with_indices_backward_cuda does not have …", stacklevel=1)
        with pytest.warns(UserWarning, match="scatter_reduce"):
            warnings.warn("scatter_reduce does not have …", stacklevel=1)
