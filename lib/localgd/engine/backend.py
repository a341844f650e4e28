"""What a run asks of PyTorch's back-ends, and what it says when they run out of memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def deterministic(device: torch.device, tf32: bool) -> Iterator[None]:
    """On a GPU: deterministic convolutions, and TF32 where it is asked for and nowhere else."""
    with ExitStack() as stack:
        if device.type == "cuda":
            stack.enter_context(
                torch.backends.cudnn.flags(benchmark=False, deterministic=True, allow_tf32=tf32)
            )
            before = torch.backends.cuda.matmul.allow_tf32
            torch.backends.cuda.matmul.allow_tf32 = tf32
            stack.callback(setattr, torch.backends.cuda.matmul, "allow_tf32", before)
        yield


@contextmanager
def memory_errors(chunk_size: int | None) -> Iterator[None]:
    """Turn a back-end's out-of-memory error into a `MemoryError` that says what to do."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(
            error
        ):
            raise
        smaller = "chunk_size=1" if chunk_size is None else f"a chunk_size below {chunk_size}"
        raise MemoryError(
            f"the nodes' intermediate results do not fit into memory: give {smaller}, so that "
            "fewer nodes are evaluated at once"
        ) from error
