"""Set PyTorch's back-ends for a run, and say so when they run out of memory."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

#: Warnings of PyTorch's deterministic mode that do not concern us: cuBLAS draws on several
#: streams at once only, and the pooling gathers where windows do not overlap.
_NO_CONCERN = (".*CuBLAS.*", ".*max_pool2d_with_indices_backward_cuda.*")

#: How back-ends say that memory ran out, in errors that are not `torch.OutOfMemoryError`.
_OUT_OF_MEMORY = (
    "can't allocate memory",
    "out of memory",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "cudaErrorMemoryAllocation",
)


@contextmanager
def deterministic(device: torch.device, tf32: bool) -> Iterator[None]:
    """Make `device` current and its sums repeatable, with TF32 where it is asked for alone.

    On a GPU PyTorch takes the deterministic version of every operation that has one, and warns
    of the others; all switches are put back on the way out.
    """
    with ExitStack() as stack:
        if device.type == "cuda":
            if torch.cuda.is_available():
                stack.enter_context(torch.cuda.device(device))
            for holder, name, value in (*_repeatable(), *_precision(tf32)):
                stack.callback(setattr, holder, name, getattr(holder, name))
                setattr(holder, name, value)
            stack.callback(
                torch.use_deterministic_algorithms,
                torch.are_deterministic_algorithms_enabled(),
                warn_only=torch.is_deterministic_algorithms_warn_only_enabled(),
            )
            stack.enter_context(warnings.catch_warnings())
            for message in _NO_CONCERN:
                warnings.filterwarnings("ignore", message=message)
            torch.use_deterministic_algorithms(True, warn_only=True)
        yield


def _repeatable() -> list[tuple[Any, str, Any]]:
    """Return what makes convolutions repeatable; cuDNN stays as enabled as it is.

    `torch.backends.cudnn.flags` would switch off what it is not told to leave on.
    """
    cudnn = torch.backends.cudnn
    return [
        (cudnn, "benchmark", False),
        (cudnn, "deterministic", True),
        # In deterministic mode PyTorch fills fresh memory, for nothing here.
        (torch.utils.deterministic, "fill_uninitialized_memory", False),
    ]


def _precision(tf32: bool) -> list[tuple[Any, str, Any]]:
    """Return the switches of TF32: those of PyTorch ≥ 2.9 where they are, else the older ones.

    The older ones raise an error once a caller has used the newer.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    convolution = getattr(cudnn, "conv", None)
    if hasattr(matmul, "fp32_precision") and hasattr(convolution, "fp32_precision"):
        value = "tf32" if tf32 else "ieee"
        return [(matmul, "fp32_precision", value), (convolution, "fp32_precision", value)]
    return [(matmul, "allow_tf32", tf32), (cudnn, "allow_tf32", tf32)]


@contextmanager
def memory_errors(chunk_size: int | None) -> Iterator[None]:
    """Turn a back-end's out-of-memory error into a `MemoryError` that says what to do."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        smaller = "chunk_size=1" if chunk_size is None else f"a chunk_size below {chunk_size}"
        raise MemoryError(
            f"the nodes' intermediate results do not fit into memory: give {smaller}, so that "
            "fewer nodes are evaluated at once"
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether a back-end's error says that memory ran out, on whichever device."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _OUT_OF_MEMORY)
