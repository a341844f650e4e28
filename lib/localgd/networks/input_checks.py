"""Refuse modules, losses and samples that cannot be run, before anything is, and by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from localgd.networks.node_function import Loss, copied
from localgd.networks.python_state import reads

#: How many samples a trial takes.
FEW = 5

Node = tuple[Tensor, Tensor]
_ERRORS = (RuntimeError, TypeError, ValueError, LookupError, AttributeError, AssertionError)


def check_module(module: nn.Module) -> None:
    """Raise `ValueError` for a part of `module` that a function of its parameters cannot hold."""
    name = type(module).__name__
    for path, part in module.named_modules():
        where = f"part {path} of {name}" if path else name
        if type(part).__name__ == "OptimizedModule" or getattr(part, "_compiled_call_impl", None):
            raise ValueError(
                f"{where} is compiled by torch.compile: hand over the module itself; "
                "engine='compiled' compiles the step over all nodes"
            )
        if part._backward_hooks or part._backward_pre_hooks:
            raise ValueError(
                f"{where} has backward hooks, which stacked nodes would not call: put into forward "
                "what they do"
            )
        if isinstance(part, nn.Embedding | nn.EmbeddingBag) and part.sparse:
            raise ValueError(f"{where} has sparse gradients: make it with sparse=False")
    for path, parameter in module.named_parameters():
        if isinstance(parameter, UninitializedParameter):
            raise ValueError(
                f"parameter {path} of {name} has no shape yet, as lazy parts have none: call the "
                "module once on some samples"
            )
        if parameter._backward_hooks or getattr(parameter, "_post_accumulate_grad_hooks", None):
            raise ValueError(
                f"parameter {path} of {name} has gradient hooks, which stacked nodes would not "
                "call: mask the parameter in forward instead"
            )


def check_memory(module: nn.Module) -> None:
    """Raise `ValueError` where two parameters or buffers of `module` lie in the same memory.

    A step of one would move the other as well, and a copy of the module would part them.
    """
    named = [*module.named_parameters(), *module.named_buffers()]
    places: dict[int, list[tuple[str, Tensor]]] = {}
    for name, tensor in named:
        for other, before in places.setdefault(tensor.untyped_storage().data_ptr(), []):
            if tensor.numel() and before.numel() and _overlap(tensor, before):
                raise ValueError(
                    f"{other} and {name} of {type(module).__name__} lie in the same memory without "
                    "being one parameter, and each node needs a copy: assign the parameter itself, "
                    "or use one of them in forward in place of the other"
                )
        places[tensor.untyped_storage().data_ptr()].append((name, tensor))


def _overlap(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors in the same storage have an entry in common."""
    entries = torch.arange(one.untyped_storage().nbytes() // one.element_size())
    shared = [entries.as_strided(t.shape, t.stride(), t.storage_offset()) for t in (one, other)]
    return bool(torch.isin(shared[0], shared[1]).any())


def check_samples(module: nn.Module, loss: Loss, nodes: Sequence[Node]) -> None:
    """Raise `ValueError` where module or loss cannot take a node's samples.

    The module is called on a few samples of the first node and of the smallest one, the loss on
    the targets of all.
    """
    counts = [len(targets) for _, targets in nodes]
    for number in dict.fromkeys((0, counts.index(min(counts)))):
        outputs = _outputs(module, nodes[number][0], number)
        if number == 0:
            first = outputs
    check_loss(loss, first, nodes[0][1][:FEW])
    if isinstance(first, Tensor):
        for number, (_, targets) in enumerate(nodes):
            _check_targets(loss, first[:1], targets, number)


def check_loss(loss: Loss, outputs: Any, targets: Tensor) -> None:
    """Raise `ValueError` where `loss` does not return one value a sample, for few or for one."""
    for few in dict.fromkeys((1, len(targets))):
        some = outputs[:few] if isinstance(outputs, Tensor) else outputs
        if some is outputs and few < len(targets):
            return  # no tensor: nothing says where a sample of it is
        with torch.no_grad():
            losses = _called(loss, some, targets[:few])
        if not isinstance(losses, Tensor) or losses.shape != (few,):
            shape = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
            raise ValueError(
                f"the loss returns shape {shape} for {few} samples, expected ({few},): one value a "
                'sample (reduction="none" in PyTorch\'s losses)'
            )
        _refuse_broadcast(loss, some, targets[:few], losses)


def _refuse_broadcast(loss: Loss, outputs: Any, targets: Tensor, losses: Tensor) -> None:
    """Raise `ValueError` where each output of shape (1,) has met the targets of all samples."""
    if not isinstance(outputs, Tensor) or len(targets) < 2:
        return
    if outputs.shape[1:] == (1,) and targets.ndim == 1 and targets.is_floating_point():
        with torch.no_grad():
            alone = torch.cat([loss(outputs[k : k + 1], targets[k : k + 1]) for k in (0, 1)])
        if not torch.allclose(alone, losses[:2], rtol=1e-4, atol=1e-6):
            n = len(targets)
            raise ValueError(
                f"the loss takes outputs of shape ({n}, 1) with targets of shape ({n},), and sets "
                f"each against all {n}: give targets of shape (n, 1), or squeeze the outputs"
            )


def _outputs(module: nn.Module, inputs: Tensor, number: int) -> Any:
    """Return what a copy of the module makes of the first samples of node `number`."""
    few = inputs[:FEW]
    try:
        with torch.no_grad():
            return copied(module)(few.clone())
    except torch.OutOfMemoryError:
        raise
    except _ERRORS as error:
        kind = str(few.dtype).removeprefix("torch.")
        raise ValueError(
            f"{type(module).__name__} cannot be called on the samples of node {number}, which has "
            f"{len(inputs)} ({kind}, of shape {tuple(few.shape[1:])} each): {_first_line(error)}"
        ) from error


def _check_targets(loss: Loss, output: Tensor, targets: Tensor, number: int) -> None:
    with torch.no_grad():
        try:
            loss(output.expand(len(targets), *output.shape[1:]), targets)
        except _ERRORS as error:
            for row, target in enumerate(targets):
                try:
                    loss(output, target[None])
                except _ERRORS as reason:
                    shown = f"target {target.item()}" if target.ndim == 0 else "the target"
                    raise ValueError(
                        f"the loss cannot take {shown} of sample {row} of node {number}: "
                        f"{_first_line(reason)} (classes are counted from 0)"
                    ) from error
            raise ValueError(
                f"the loss cannot take the targets of node {number}: {_first_line(error)}"
            ) from error


def _called(loss: Loss, outputs: Any, targets: Tensor) -> Any:
    try:
        return loss(outputs, targets)
    except _ERRORS as error:
        shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        if isinstance(error, IndexError) and targets.ndim == 1:
            return torch.empty(len(targets))  # a label out of range: named with its node below
        raise ValueError(
            f"the loss cannot take outputs {shape} and targets {tuple(targets.shape)}: "
            f"{_first_line(error)}"
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def check_apart(loss: Loss, module: nn.Module) -> None:
    """Raise `ValueError` where the loss calls `module` or reads a tensor of it.

    The nodes train copies, so that the loss would go on seeing the start.  Other attributes of the
    module may be read.
    """
    parts = {id(part) for part in module.modules()}
    tensors = {id(value) for value in (*module.parameters(), *module.buffers())}
    for name, value, names in reads(loss):
        own = isinstance(value, nn.Module) and id(value) in parts
        asked = [getattr(value, each) for each in names if own and hasattr(value, each)]
        asked = [each for each in asked if isinstance(each, Tensor) or not callable(each)]
        constant = asked and not any(isinstance(each, Tensor) for each in asked)
        if id(value) in tensors or (own and not constant):
            raise ValueError(
                f"the loss reads {name}, which is {type(module).__name__} or a part of it: the "
                "nodes train copies, and it would go on seeing the start. Return from forward what "
                "the loss needs"
            )


def check_untrained(loss: Loss) -> None:
    """Raise `ValueError` where the loss has parameters to train: x holds the module's alone."""
    if not isinstance(loss, nn.Module):
        return
    names = [name for name, value in loss.named_parameters() if value.requires_grad]
    if names:
        raise ValueError(
            f"the loss {type(loss).__name__} has trainable parameters ({', '.join(names)}), and x "
            "holds those of the module alone: make the loss part of the module, or freeze them "
            "(requires_grad_(False))"
        )
