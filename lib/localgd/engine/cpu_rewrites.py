"""Rewrites of a recorded program into operations that PyTorch does faster on a CPU.

Each leaves every value as it was, up to the order of a sum: the same maxima, the same
choice among equal ones, the same gradients.

Max-pooling is exchanged here and not by a `torch.autograd.Function` with a rule for stacked
nodes: a function sees the pooling alone, and could not put it before the ReLU that feeds it,
nor write its gradient into place, which `vmap` does not allow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from localgd.engine.program import calls, owners, written

aten = torch.ops.aten


def rewrite(program: GraphModule, *, for_compiler: bool = False) -> GraphModule:
    """Apply all rewrites to `program`, in place, and return it.

    `for_compiler`: the program will be compiled, which is better at putting parts together
    than at writing them into place.
    """
    backward = pool_backward if for_compiler else pool_backward_in_place
    for node in calls(program, aten.detach.default):
        _replace(node, node.args[0])
    owner, overwritten = owners(program), written(program)
    for node in calls(program, aten.max_pool2d_with_indices.default):
        if _is_two_by_two(node) and not _is_overwritten(node, owner, overwritten):
            _rewrite_pool(node, backward)
    for node in calls(program, aten.convolution_backward.default):
        _rewrite_bias(node)
    program.graph.eliminate_dead_code()
    program.recompile()
    return program


def pool(x: Tensor) -> Tensor:
    """Return the maxima over 2×2 windows, (…, 2h, 2w) → (…, h, w), four vectors at a time.

    PyTorch's own kernel on a CPU takes one window after another.
    """
    a, b, c, d = _corners(x)
    return torch.maximum(torch.maximum(a, b), torch.maximum(c, d))


def pool_backward(gradient: Tensor, x: Tensor) -> Tensor:
    """Return the gradient of `pool` at `x`: all of it to the first of the largest entries."""
    upper, lower, left, right = _shares(gradient, x)
    a, c = upper * left, lower * right
    top = torch.stack((a, upper - a), -1).flatten(-2)
    bottom = torch.stack((c, lower - c), -1).flatten(-2)
    return torch.stack((top, bottom), -2).flatten(-3, -2)


def pool_backward_in_place(gradient: Tensor, x: Tensor) -> Tensor:
    """Return what `pool_backward` does, written straight to where it belongs."""
    upper, lower, left, right = _shares(gradient, x)
    result = torch.empty_like(x)
    a, b, c, d = _corners(result)
    torch.sub(upper, torch.mul(upper, left, out=a), out=b)
    torch.sub(lower, torch.mul(lower, right, out=c), out=d)
    return result


def _shares(gradient: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return what goes to each window's upper and lower half, and whether to its left."""
    a, b, c, d = _corners(x)
    upper = gradient * (torch.maximum(a, b) >= torch.maximum(c, d))
    return upper, gradient - upper, a >= b, c >= d


def _corners(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    even, odd = x[..., ::2, :], x[..., 1::2, :]
    return even[..., ::2], even[..., 1::2], odd[..., ::2], odd[..., 1::2]


def _is_overwritten(node: Node, owner: dict[Node, Node], overwritten: set[Node]) -> bool:
    """Return whether a pooling's input or result, read again on the way back, is written into."""
    read = [*node.users, *node.all_input_nodes]
    read += [each for source in node.all_input_nodes for each in source.all_input_nodes]
    return any(owner.get(each) in overwritten for each in read)


def _is_two_by_two(node: Node) -> bool:
    """Return whether a pooling has windows 2×2 that neither overlap nor hang over the edge."""
    arguments: Any = node.args
    source, window, *rest = arguments
    x = source.meta["val"]
    stride = rest[0] if rest and rest[0] else window
    plain = all(tuple(value) == default for value, default in zip(rest[1:3], _NO, strict=False))
    return (
        tuple(window) == tuple(stride) == (2, 2)
        and plain
        and x.shape[-1] % 2 == x.shape[-2] % 2 == 0
    )


_NO = ((0, 0), (1, 1))  # no padding, no dilation


def _rewrite_pool(node: Node, backward: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Put `pool` and its `backward` in the place of PyTorch's, and before a ReLU.

    max(relu(x)) = relu(max(x)), and a quarter of the ReLUs remain.
    """
    values = [user for user in node.users if user.args[1] == 0]
    indices = [user for user in node.users if user.args[1] == 1]
    readers = [reader for item in indices for reader in item.users]
    if any(r.target is not aten.max_pool2d_with_indices_backward.default for r in readers):
        return
    source: Any = node.args[0]
    relu, masks = _relu_before(source, node, readers)
    graph = node.graph
    with graph.inserting_before(node):
        result = graph.call_function(pool, (relu.args[0] if relu else source,))
        if relu:
            result = graph.call_function(aten.relu.default, (result,))
    for item in values:
        _replace(item, result)
    for reader in readers:
        if not relu:
            with graph.inserting_before(reader):
                _replace(reader, graph.call_function(backward, (reader.args[0], source)))
    for mask in masks:
        behind: Any = mask.args[0]
        with graph.inserting_before(mask):
            passed = graph.call_function(
                aten.threshold_backward.default, (behind.args[0], result, 0)
            )
            _replace(mask, graph.call_function(backward, (passed, relu.args[0])))


def _relu_before(source: Node, node: Node, readers: list[Node]) -> tuple[Any, list[Node]]:
    """Return the ReLU that feeds a pooling and its backward masks, where nothing else reads it."""
    if source.target is not aten.relu.default:
        return None, []
    masks = [user for user in source.users if user.target is aten.threshold_backward.default]
    alone = set(source.users) == {node, *readers, *masks}
    behind_pool = all(mask.args[0] in readers and mask.args[2] == 0 for mask in masks)
    one_each = all(list(reader.users) == [m] for reader, m in zip(readers, masks, strict=False))
    if alone and behind_pool and one_each and len(masks) == len(readers):
        return source, masks
    return None, []


def _rewrite_bias(node: Node) -> None:
    """Sum the gradient of a bias outside the convolution, which is slow at it."""
    mask: Any = node.args[-1]
    items = [user for user in node.users if user.args[1] == 2]
    if not mask[2] or not any(item.users for item in items):
        return
    gradient: Any = node.args[0]
    graph = node.graph
    with graph.inserting_before(node):
        summed = graph.call_function(
            aten.sum.dim_IntList,
            (gradient, [0, *range(2, gradient.meta["val"].ndim)]),
        )
    for item in items:
        _replace(item, summed)
    node.args = (*node.args[:-1], [mask[0], mask[1], False])


def _replace(node: Node, other: Any) -> None:
    """Let everything that reads `node` read `other`, and drop it."""
    if "val" in node.meta and isinstance(other, Node):
        other.meta.setdefault("val", node.meta["val"])
    node.replace_all_uses_with(other)
    node.graph.erase_node(node)
