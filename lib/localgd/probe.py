"""What a module does when it is called, found out by calling it on a few samples.

A node's loss is evaluated as a function of x that is recorded once and replayed, stacked
with other nodes' and padded.  That is right only for modules and losses that do the same
when they are called plainly; here it is tried.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from localgd.layout import Layout
from localgd.node_function import Loss, NodeFunction, copied
from localgd.samples import pad

#: How many samples a trial takes, and how many it pads them with.
FEW, PADDING = 5, 3

Node = tuple[Tensor, Tensor]


def written_buffers(module: nn.Module, inputs: Tensor) -> list[str]:
    """Return the names of the buffers that a call of `module` writes or assigns anew.

    Raises `ValueError` for one that takes another shape or type or is complex, and for a
    module that writes its parameters.
    """
    trial = copied(module)
    weights = {name: value.detach().clone() for name, value in trial.named_parameters()}
    before = {name: (b, b._version, b.clone()) for name, b in trial.named_buffers()}
    with torch.no_grad():
        trial(inputs[:FEW].clone())
    for name, parameter in trial.named_parameters():
        if not _same(parameter.detach(), weights[name]):
            raise ValueError(
                f"a call of {type(module).__name__} changes its parameter {name}: only the "
                "gradient steps may"
            )
    written = []
    for name, after in trial.named_buffers(remove_duplicate=False):
        if name not in before:
            continue
        buffer, version, value = before.pop(name)
        if after is buffer and after._version == version and _same(after, value):
            continue
        if after.shape != value.shape or after.dtype != value.dtype or after.is_complex():
            raise ValueError(
                f"a call of {type(module).__name__} turns its buffer {name} from "
                f"{value.dtype} {tuple(value.shape)} into {after.dtype} {tuple(after.shape)}: "
                "buffers that are written must stay real and of one shape and type, since they "
                "are averaged with the parameters"
            )
        written.append(name)
    if before:
        raise ValueError(
            f"a call of {type(module).__name__} removes its buffers {', '.join(before)}"
        )
    return written


def check_loss(module: nn.Module, loss: Loss, inputs: Tensor, targets: Tensor) -> None:
    """Raise `ValueError` where `loss` does not return one value a sample."""
    few = min(len(targets), FEW)
    with torch.no_grad():
        losses = loss(copied(module)(inputs[:few].clone()), targets[:few])
    if not isinstance(losses, Tensor) or losses.shape != (few,):
        shape = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
        raise ValueError(
            f"the loss returns shape {shape} for {few} samples, expected ({few},): one value a "
            'sample (reduction="none" in PyTorch\'s losses)'
        )


def check_function(function: NodeFunction, inputs: Tensor, targets: Tensor) -> None:
    """Raise `ValueError` where a plain call of the module does not equal the function of x.

    Numbers drawn outside PyTorch, state kept in Python objects, and writes that go round
    autograd (`.data`) are found that way.  What cannot be batched at all is left to the
    recording, which says why.
    """
    inputs, targets = inputs[:FEW], targets[:FEW]
    name = type(function.module).__name__
    x = _shaken(function)
    module = copied(function.module)
    first, again = (_plain(function, module, x, inputs, targets) for _ in range(2))
    if not _agree(first, again):
        raise ValueError(
            f"{name} and its loss give another value, gradient or buffer when they are called "
            "twice with the same parameters and samples: they draw numbers outside PyTorch or "
            "keep state in Python, which batching would freeze. Keep state in buffers"
        )
    if _draws(function, inputs, targets):
        return  # the recording refuses it, and says by which operation
    weights = _weights(len(targets), 0, x)
    for copies in (1, 2):
        stack = [each.expand(copies, *each.shape).clone() for each in (x, inputs, targets, weights)]
        try:
            losses, gradients = function.nodes(*stack)
        except (RuntimeError, NotImplementedError):
            return
        for loss, gradient in zip(losses, gradients, strict=True):
            if not _agree(torch.cat([loss[None], gradient]), first):
                raise ValueError(
                    f"{name} and its loss give another value, gradient or buffer as a function "
                    "of the parameters than when they are called: write into buffers or assign "
                    "them, not into .data, and do not detach what is to be trained"
                )


def padding_is_harmless(function: NodeFunction, nodes: Sequence[Node]) -> bool:
    """Whether f_i and ∇f_i stay what they are when samples of weight zero are added to a node.

    They do not where samples mix: by BatchNorm, in the loss, through the size of the batch.
    What cannot be tried in float64 is taken for mixing.
    """
    try:
        exact = function.to(torch.device("cpu"), torch.float64)
        x = _shaken(exact)
        for inputs, targets in nodes:
            few = min(len(targets), FEW)
            u, v = (_double(each[:few]) for each in (inputs, targets))
            alone = torch.cat(_flat(exact.node(x, u.clone(), v, _weights(few, 0, x))))
            longer = (pad(u, few + PADDING), pad(v, few + PADDING), _weights(few, PADDING, x))
            padded = torch.cat(_flat(exact.node(x, *longer)))
            if not bool(torch.isfinite(alone).all()) or not _agree(padded, alone):
                return False
    except (RuntimeError, ValueError, TypeError, NotImplementedError):
        return False
    return True


def _plain(
    function: NodeFunction, module: nn.Module, x: Tensor, inputs: Tensor, targets: Tensor
) -> Tensor:
    """The mean loss, its gradient and the buffers after a plain call of `module` at x."""
    layout = Layout(module, function.layout.written)
    layout.load(module, x)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        loss = function.loss(module(inputs.clone()), targets).mean()
    trainable = [value for value in module.parameters() if value.requires_grad]
    gradients = torch.autograd.grad(loss, trainable, allow_unused=True)
    flat = [
        torch.zeros_like(value).flatten() if gradient is None else gradient.flatten()
        for gradient, value in zip(gradients, trainable, strict=True)
    ]
    buffers = layout.flatten(module)[layout.size - layout.num_buffers :]
    return torch.cat([loss.detach()[None], *flat, buffers])


def _draws(function: NodeFunction, inputs: Tensor, targets: Tensor) -> bool:
    """Whether a call draws PyTorch's random numbers."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        before = torch.random.get_rng_state()
        function.loss(copied(function.module)(inputs.clone()), targets)
        return not torch.equal(before, torch.random.get_rng_state())


def _shaken(function: NodeFunction) -> Tensor:
    """The module's x with its parameters moved at random, so that nothing hides behind a zero."""
    x = function.layout.flatten(function.module)
    split = function.layout.size - function.layout.num_buffers
    noise = torch.randn(split, generator=torch.Generator().manual_seed(0), dtype=x.dtype)
    x[:split] += 0.1 * noise * (x[:split].abs() + 0.1)
    return x


def _weights(count: int, padding: int, like: Tensor) -> Tensor:
    return torch.cat([like.new_full((count,), 1.0 / count), like.new_zeros(padding)])


def _double(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def _flat(value_and_gradient: tuple[Tensor, Tensor]) -> list[Tensor]:
    value, gradient = value_and_gradient
    return [value[None], gradient]


def _agree(one: Tensor, two: Tensor) -> bool:
    """Whether two results are equal to rounding, measured by the largest entry."""
    if not bool(torch.isfinite(two).all()):
        return True  # a start that is no start: `run` says so
    tolerance = 1e-9 if two.dtype == torch.float64 else 1e-3
    return bool((one - two).abs().max() <= tolerance * two.abs().max())


def _same(one: Tensor, two: Tensor) -> bool:
    return one.shape == two.shape and bool(torch.equal(one.nan_to_num(), two.nan_to_num()))
