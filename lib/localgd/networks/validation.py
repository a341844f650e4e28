"""Find out what a module does when it is called, by calling it on a few samples.

A node's loss is evaluated as a function of x that is recorded once and replayed, stacked
with other nodes' and padded.  That is right only for modules and losses that do the same
when they are called plainly; here it is tried.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from localgd.networks.input_checks import FEW
from localgd.networks.node_function import NodeFunction, copied
from localgd.networks.parameter_vector import Layout
from localgd.networks.python_state import python_state
from localgd.networks.samples import cast, pad

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
        trial(inputs.clone())
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


def check_function(function: NodeFunction, inputs: Tensor, targets: Tensor) -> None:
    """Raise `ValueError` where a plain call of the module does not equal the function of x.

    Numbers drawn outside PyTorch, state kept in Python objects that shows in a second call,
    and writes that go round autograd (`.data`) are found that way.  What cannot be batched at
    all is left to the recording, which says why.
    """
    name = type(function.module).__name__
    _refuse_state(name, *_states_around(function, copied(function.module), inputs, targets))
    module = copied(function.module)
    inputs, targets = inputs[:FEW], targets[:FEW]
    before = _python_draws()
    x, first = _trial(function, module, inputs, targets)
    kept = python_state(module, function.loss)
    again = _plain(function, module, x, inputs, targets)
    _refuse_state(name, kept, python_state(module, function.loss))
    same = 1e-12 if x.dtype == torch.float64 else 1e-6
    if before != _python_draws() or not _agree(function.layout, first, again, same):
        raise ValueError(
            f"{name} and its loss give another value, gradient or buffer when they are called "
            "twice with the same parameters and samples: they draw numbers outside PyTorch or "
            "keep state in Python, which batching would freeze. Keep state in buffers"
        )
    moved = _shaken(function, 1e-2, seed=1)
    used, fresh = (
        _plain(function, each, moved, inputs, targets) for each in (module, copied(function.module))
    )
    if not _agree(function.layout, used, fresh, same):
        raise ValueError(
            f"{name} and its loss give another value, gradient or buffer after a call with other "
            "parameters: they keep something of their first call. Keep state in buffers"
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
        if losses.requires_grad or gradients.requires_grad:
            raise ValueError(
                f"{name} and its loss read a tensor that requires a gradient and is no parameter "
                f"of {name}: make it one (nn.Parameter, or the part that has it), or detach it"
            )
        for loss, gradient in zip(losses, gradients, strict=True):
            if not _agree(function.layout, torch.cat([loss[None], gradient]), first):
                if x.dtype != torch.float64 and _agrees_in_double(function, inputs, targets):
                    return  # few samples and many layers: it was rounding
                raise ValueError(
                    f"{name} and its loss give another value, gradient or buffer as a function "
                    "of the parameters than when they are called: write into buffers or assign "
                    "them, not into .data, and do not detach what is to be trained"
                )


def _agrees_in_double(function: NodeFunction, inputs: Tensor, targets: Tensor) -> bool:
    """Return whether a plain call equals the function of x in float64, where it can be called."""
    try:
        exact = function.to(torch.device("cpu"), torch.float64)
        inputs, targets = _double(inputs), _double(targets)
        x, called = _trial(exact, copied(exact.module), inputs, targets)
        weights = _weights(len(targets), 0, x)
        found = _flat(exact.node(x, inputs.clone(), targets, weights))
    except (RuntimeError, ValueError, TypeError, NotImplementedError):
        return False
    return _agree(exact.layout, found, called)


def _states_around(
    function: NodeFunction, module: nn.Module, inputs: Tensor, targets: Tensor
) -> tuple[dict[str, str], dict[str, str]]:
    """Return what is kept in Python after one call with all of a node's samples, and after two."""
    kept = []
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        for _ in range(2):
            function.loss(module(inputs.clone()), targets)
            kept.append(python_state(module, function.loss))
    return kept[0], kept[1]


def _refuse_state(name: str, before: dict[str, str], after: dict[str, str]) -> None:
    """Raise `ValueError` where one more call with the same samples has changed something."""
    for what in sorted({*before, *after}):
        if before.get(what) != after.get(what):
            raise ValueError(
                f"{what} changes from call to call: {name} and its loss keep state in Python, "
                "which batching would freeze. Keep state in buffers of the module"
            )


def padding_is_harmless(function: NodeFunction, nodes: Sequence[Node]) -> bool:
    """Return whether samples of weight zero leave a node's f_i and ∇f_i as they are.

    They do not where samples mix: by BatchNorm, in the loss, through the size of the batch.
    Tried on samples from all over the nodes, and on every node that would be padded, as it would
    be.  What cannot be tried is taken for mixing.
    """
    return _mixture_is_harmless(function, nodes) and all(
        _node_is_harmless(function, *node, max(len(targets) for _, targets in nodes))
        for node in nodes
    )


def _node_is_harmless(function: NodeFunction, inputs: Tensor, targets: Tensor, size: int) -> bool:
    """Return whether a node with copies of its first sample has the f_i and ∇f_i that it has."""
    missing = size - len(targets)
    if not missing:
        return True
    dtype = function.layout.dtype
    inputs, targets = cast(inputs, dtype), cast(targets, dtype)
    x = function.layout.flatten(function.module)
    try:
        weights = _weights(len(targets), 0, x)
        alone = _flat(function.node(x, inputs.clone(), targets, weights))
        weights = _weights(len(targets), missing, x)
        padded = _flat(function.node(x, pad(inputs, size), pad(targets, size), weights))
    except (RuntimeError, ValueError, TypeError, NotImplementedError, IndexError):
        return False
    return _agree(function.layout, padded, alone)


def _mixture_is_harmless(function: NodeFunction, nodes: Sequence[Node]) -> bool:
    """Return whether some samples of weight zero leave others as they are, in float64."""
    try:
        exact = function.to(torch.device("cpu"), torch.float64)
        inputs, targets = _mixture(nodes)
        if bool((inputs == inputs[:1]).all()):
            return False  # padding cannot show
        size = (len(targets) + 1) // 2
        module = copied(exact.module)
        x, _ = _trial(exact, module, inputs[:size], targets[:size])
        weights = _weights(size, 0, x)
        alone = _flat(exact.node(x, inputs[:size].clone(), targets[:size], weights))
        weights = _weights(size, len(targets) - size, x)
        padded = _flat(exact.node(x, inputs.clone(), targets, weights))
    except (RuntimeError, ValueError, TypeError, NotImplementedError, IndexError):
        return False
    return bool(torch.isfinite(alone).all()) and _agree(exact.layout, padded, alone)


def _mixture(nodes: Sequence[Node]) -> Node:
    """Samples from the beginning, the middle and the end of some nodes, in mixed order."""
    chosen = [nodes[round(k * (len(nodes) - 1) / 4)] for k in range(5)]
    places = [
        (inputs[place], targets[place])
        for inputs, targets in chosen
        for place in {0, len(targets) // 2, len(targets) - 1}
    ]
    order = torch.randperm(len(places), generator=torch.Generator().manual_seed(0)).tolist()
    inputs, targets = zip(*(places[k] for k in order), strict=True)
    return _double(torch.stack(inputs)), _double(torch.stack(targets))


def _trial(
    function: NodeFunction, module: nn.Module, inputs: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """Return a point near the module's own where it can be called, and `_plain` there."""
    for noise in (0.1, 1e-3):
        x = _shaken(function, noise)
        try:
            result = _plain(function, module, x, inputs, targets)
        except (RuntimeError, ValueError):
            continue  # outside the module's domain
        if bool(torch.isfinite(result).all()):
            return x, result
    x = _shaken(function, 0.0)
    return x, _plain(function, module, x, inputs, targets)


def _plain(
    function: NodeFunction, module: nn.Module, x: Tensor, inputs: Tensor, targets: Tensor
) -> Tensor:
    """Return the mean loss, its gradient and the buffers after a plain call of `module` at x."""
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
    """Return whether a call draws PyTorch's random numbers."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        before = torch.random.get_rng_state()
        function.loss(copied(function.module)(inputs.clone()), targets)
        return not torch.equal(before, torch.random.get_rng_state())


def _shaken(function: NodeFunction, noise: float, seed: int = 0) -> Tensor:
    """Return the module's x, its parameters moved at random: nothing hides behind a zero."""
    x = function.layout.flatten(function.module)
    split = function.layout.size - function.layout.num_buffers
    directions = torch.randn(split, generator=torch.Generator().manual_seed(seed), dtype=x.dtype)
    x[:split] += noise * directions * (x[:split].abs() + noise)
    return x


def _weights(count: int, padding: int, like: Tensor) -> Tensor:
    return torch.cat([like.new_full((count,), 1.0 / count), like.new_zeros(padding)])


def _double(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def _flat(value_and_gradient: tuple[Tensor, Tensor]) -> Tensor:
    value, gradient = value_and_gradient
    return torch.cat([value[None], gradient])


def _python_draws() -> tuple[str, str]:
    """Return where Python's and NumPy's global random numbers stand."""
    return repr(random.getstate()), repr(np.random.get_state())  # noqa: NPY002


def _agree(layout: Layout, one: Tensor, two: Tensor, tolerance: float | None = None) -> bool:
    """Return whether two results agree to rounding, each gradient and buffer by its own size."""
    if not bool(torch.isfinite(two).all()):
        return True  # a start that is no start: `run` says so
    if tolerance is None:
        tolerance = 1e-9 if two.dtype == torch.float64 else 1e-3
    split = 1 + layout.size - layout.num_buffers
    largest = float(two[1:split].abs().max())
    sizes = [1, *(math.prod(shape) for shape in layout.shapes.values())]
    start = 0
    for a, b in zip(torch.split(one, sizes), torch.split(two, sizes), strict=True):
        gradient = 1 <= start < split
        # Rounding of the whole may show in a gradient that is zero, or nearly.
        floor = 1e-2 * largest if gradient else 1e-3
        if a.numel() and float((a - b).abs().max()) > tolerance * max(float(b.abs().max()), floor):
            return False
        start += a.numel()
    return True


def _same(one: Tensor, two: Tensor) -> bool:
    return one.shape == two.shape and bool(torch.equal(one.nan_to_num(), two.nan_to_num()))
