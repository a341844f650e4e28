"""Take the convolutions of many nodes, each with its own weights, on a GPU.

PyTorch stacks them as the groups of one convolution, a form that cuDNN was not made for.
The same sums are taken as one batched matrix product over nodes and samples, or node by node.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.nn import functional

from localgd.engine.program import calls

aten = torch.ops.aten

#: "grouped": as PyTorch stacks them; "products": one batched matrix product; "alone": one node
#: after the other, each with the convolutions that its module asks for; "alone products": one
#: node after the other, each convolution one large matrix product.
Form = Literal["grouped", "products", "alone", "alone products"]

#: The forms in which a program's convolutions are replaced.
PRODUCTS: tuple[Form, ...] = ("products", "alone products")

#: Convolutions of at most so many output channels are batched over nodes, wider ones run alone.
#: Milliseconds a step of all 10 nodes on one H200 in float32, PyTorch 2.11, cuDNN 9.19:
#:
#:                                      grouped   products   alone products   alone
#:     LeNet, 100 images a node            0.92       0.71              2.9     3.2
#:     LeNet, 6000 images a node             42         31               42     135
#:     ResNet-18, 100 images a node         280          –                –     176
FEW_CHANNELS = 32

_asked: ContextVar[Form | None] = ContextVar("form of convolutions", default=None)


@contextmanager
def convolutions(form: Form) -> Iterator[None]:
    """Let the runs inside take convolutions in this form, wherever they are captured."""
    token = _asked.set(form)
    try:
        yield
    finally:
        _asked.reset(token)


def choose(program: GraphModule) -> Form:
    """Return the form for a problem of which one node runs `program`.

    The choice looks at nothing but its convolutions, so that a run can be repeated.
    """
    found = [node for node in calls(program, aten.convolution.default) if _is_plain(node)]
    if not found:
        return "grouped"
    widest = max(node.meta["val"].shape[1] for node in found)
    return _asked.get() or ("products" if widest <= FEW_CHANNELS else "alone")


def as_products(program: GraphModule) -> GraphModule:
    """Replace the two-dimensional convolutions of `program`, in place, and return it.

    Whatever they have of groups, stride, padding and dilation; transposed ones stay.
    """
    for node in calls(program, aten.convolution.default):
        if _is_plain(node):
            _replace_forward(node)
    for node in calls(program, aten.convolution_backward.default):
        if _is_plain(node):
            _replace_backward(node)
    program.graph.eliminate_dead_code()
    program.recompile()
    return program


def columns(
    x: Tensor,
    groups: int,
    window: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
) -> Tensor:
    """Return the windows of x as columns, (n, g·c, h, w) → (n·g, c·kh·kw, oh·ow)."""
    if any(padding):
        x = functional.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    n, channels, height, width = x.shape
    c = channels // groups
    oh, ow = _output_size(height, width, window, stride, dilation)
    a, b, p, q = x.stride()
    windows = x.as_strided(
        (n, groups, c, *window, oh, ow),
        (a, c * b, b, dilation[0] * p, dilation[1] * q, stride[0] * p, stride[1] * q),
    )
    return windows.reshape(n * groups, c * window[0] * window[1], oh * ow)


def repeated(weight: Tensor, groups: int, n: int) -> Tensor:
    """Return the weights once for every sample, (g·o, c, kh, kw) → (n·g, o, c·kh·kw)."""
    matrices = weight.reshape(groups, weight.shape[0] // groups, -1)
    return matrices.expand(n, *matrices.shape).reshape(n * groups, *matrices.shape[1:])


def convolve(matrices: Tensor, cols: Tensor, shape: list[int], bias: Tensor | None) -> Tensor:
    """Return the convolution of shape (n, g·o, oh, ow) from `repeated` weights and `columns`."""
    result = torch.bmm(matrices, cols).view(shape)
    return result if bias is None else result + bias[:, None, None]


def input_gradient(
    gradient: Tensor,
    matrices: Tensor,
    size: list[int],
    window: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
) -> Tensor:
    """Return the gradient with respect to x, (n, g·c, h, w), h and w being `size`."""
    n = gradient.shape[0]
    rows = gradient.reshape(len(matrices), matrices.shape[1], -1)
    cols = torch.bmm(matrices.transpose(1, 2), rows)
    return _folded(cols.view(n, -1, cols.shape[2]), size, window, stride, padding, dilation)


def weight_gradient(gradient: Tensor, cols: Tensor, shape: list[int], groups: int) -> Tensor:
    """Return the gradient with respect to the weights, of `shape` (g·o, c, kh, kw)."""
    rows = gradient.reshape(len(cols), shape[0] // groups, -1)
    each = torch.bmm(rows, cols.transpose(1, 2))
    return each.view(-1, groups, *each.shape[1:]).sum(0).view(shape)


def bias_gradient(gradient: Tensor) -> Tensor:
    """Return the gradient with respect to the bias, (g·o,)."""
    return gradient.sum((0, 2, 3))


def flat_columns(
    x: Tensor, window: list[int], stride: list[int], padding: list[int], dilation: list[int]
) -> Tensor:
    """Return the windows of x as columns of one matrix, (n, c, h, w) → (c·kh·kw, n·oh·ow)."""
    if any(padding):
        x = functional.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    n, c, height, width = x.shape
    oh, ow = _output_size(height, width, window, stride, dilation)
    a, b, p, q = x.stride()
    windows = x.as_strided(
        (c, *window, n, oh, ow),
        (b, dilation[0] * p, dilation[1] * q, a, stride[0] * p, stride[1] * q),
    )
    return windows.reshape(c * window[0] * window[1], n * oh * ow)


def flat_convolve(weight: Tensor, cols: Tensor, shape: list[int], bias: Tensor | None) -> Tensor:
    """Return the convolution of shape (n, o, oh, ow) from weights and `flat_columns`."""
    n, o, oh, ow = shape
    result = torch.mm(weight.reshape(o, -1), cols).view(o, n, oh, ow).transpose(0, 1)
    return result.contiguous() if bias is None else result + bias[:, None, None]


def flat_input_gradient(
    gradient: Tensor,
    weight: Tensor,
    size: list[int],
    window: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
) -> Tensor:
    """Return the gradient with respect to x, (n, c, h, w), h and w being `size`."""
    n, o = gradient.shape[:2]
    outer = [dilation[k] * (window[k] - 1) - padding[k] for k in (0, 1)]
    if stride == [1, 1] and min(outer) >= 0:  # a convolution again, with the weights turned
        turned = weight.flip(2, 3).transpose(0, 1)
        cols = flat_columns(gradient, window, stride, outer, dilation)
        return flat_convolve(turned, cols, [n, weight.shape[1], *size], None)
    rows = gradient.transpose(0, 1).reshape(o, -1)
    cols = torch.mm(weight.reshape(o, -1).t(), rows)
    each = cols.view(len(cols), n, -1).transpose(0, 1).contiguous()
    return _folded(each, size, window, stride, padding, dilation)


def flat_weight_gradient(gradient: Tensor, cols: Tensor, shape: list[int]) -> Tensor:
    """Return the gradient with respect to the weights, of `shape` (o, c, kh, kw).

    The long sum is taken in parts, in a fixed order: one product of so few entries would leave
    most of a GPU idle.
    """
    rows = gradient.transpose(0, 1).reshape(shape[0], -1)
    length = rows.shape[1]
    parts = next(
        k for k in (32, 16, 8, 4, 2, 1) if length % k == 0 and (length >= 512 * k or k == 1)
    )
    left = rows.view(shape[0], parts, -1).transpose(0, 1)
    right = cols.view(len(cols), parts, -1).permute(1, 2, 0)
    return torch.bmm(left, right).sum(0).view(shape)


def _folded(
    cols: Tensor,
    size: list[int],
    window: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
) -> Tensor:
    """Return the sum of what the windows hold, (n, c·kh·kw, oh·ow) → (n, c, h, w)."""
    pair = [(each[0], each[1]) for each in (size, window, dilation, padding, stride)]
    return functional.fold(cols, *pair)


def _output_size(
    height: int, width: int, window: list[int], stride: list[int], dilation: list[int]
) -> tuple[int, int]:
    return (
        (height - dilation[0] * (window[0] - 1) - 1) // stride[0] + 1,
        (width - dilation[1] * (window[1] - 1) - 1) // stride[1] + 1,
    )


def _is_plain(node: Node) -> bool:
    """Return whether a convolution is two-dimensional and not transposed."""
    arguments: Any = node.args
    backward = node.target is aten.convolution_backward.default
    weight, transposed = (arguments[2], arguments[7]) if backward else (arguments[1], arguments[6])
    return len(weight.meta["val"].shape) == 4 and not transposed


def _replace_forward(node: Node) -> None:
    arguments: Any = node.args
    x, weight, bias, stride, padding, dilation, _, _, groups = arguments
    stride, padding, dilation = (_pair(each) for each in (stride, padding, dilation))
    value = node.meta["val"]
    window = list(weight.meta["val"].shape[2:])
    with node.graph.inserting_before(node):
        if groups == 1:
            cols = _call(node, flat_columns, x, window, stride, padding, dilation)
            result = _call(node, flat_convolve, weight, cols, list(value.shape), bias)
            node.replace_all_uses_with(result)
            node.graph.erase_node(node)
            return
        cols = _call(node, columns, x, groups, window, stride, padding, dilation)
        matrices = _call(node, repeated, weight, groups, value.shape[0])
        result = _call(node, convolve, matrices, cols, list(value.shape), bias)
    node.replace_all_uses_with(result)
    node.graph.erase_node(node)


def _replace_backward(node: Node) -> None:
    arguments: Any = node.args
    gradient, x, weight, _, stride, padding, dilation, _, _, groups, mask = arguments
    stride, padding, dilation = (_pair(each) for each in (stride, padding, dilation))
    shape = list(weight.meta["val"].shape)
    window, (n, _, *size) = shape[2:], x.meta["val"].shape
    parts: list[Node | None] = [None, None, None]
    with node.graph.inserting_before(node):
        if mask[0] and groups == 1:
            parts[0] = _call(
                node,
                flat_input_gradient,
                gradient,
                weight,
                size,
                window,
                stride,
                padding,
                dilation,
            )
        elif mask[0]:
            matrices = _call(node, repeated, weight, groups, n)
            parts[0] = _call(
                node, input_gradient, gradient, matrices, size, window, stride, padding, dilation
            )
        if mask[1] and groups == 1:
            cols = _call(node, flat_columns, x, window, stride, padding, dilation)
            parts[1] = _call(node, flat_weight_gradient, gradient, cols, shape)
        elif mask[1]:
            cols = _call(node, columns, x, groups, window, stride, padding, dilation)
            parts[1] = _call(node, weight_gradient, gradient, cols, shape, groups)
        if mask[2]:
            parts[2] = _call(node, bias_gradient, gradient)
    for item in list(node.users):
        index: Any = item.args[1]
        if item.users:
            item.replace_all_uses_with(parts[index])
        node.graph.erase_node(item)
    node.graph.erase_node(node)


def _call(node: Node, function: Any, *arguments: Any) -> Node:
    """Put a call before `node`, with the shape of what it returns, found without memory."""
    made = node.graph.call_function(function, arguments)
    made.meta["val"] = function(*(_shape_of(each) for each in arguments))
    return made


def _shape_of(value: Any) -> Any:
    if not isinstance(value, Node):
        return value
    known = value.meta["val"]
    return torch.empty_strided(known.shape, known.stride(), dtype=known.dtype, device="meta")


def _pair(values: Any) -> list[int]:
    """Return one number for each of two dimensions: PyTorch lets one stand for both."""
    return [int(each) for each in values] * (1 if len(values) == 2 else 2)
