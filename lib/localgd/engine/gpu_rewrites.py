"""Rewrite a recorded program so that it can be captured on a GPU, and is shorter."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from localgd.engine.program import owners, writes, written

aten = torch.ops.aten

_DEPENDING_ON_VALUES = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)
_INDEXED = (
    aten.index.Tensor,
    aten.index_put.default,
    aten.index_put_.default,
    aten._unsafe_index_put.default,
)


def place_constants(program: GraphModule, device: torch.device) -> GraphModule:
    """Make on `device` what `program` makes or holds elsewhere, in place, and return it.

    A constant that a module makes on the CPU would be copied to the GPU in every step.
    """
    for node in program.graph.find_nodes(op="get_attr"):
        value = getattr(program, str(node.target))
        if isinstance(value, Tensor) and value.device != device:
            setattr(program, str(node.target), value.to(device))
    for node in program.graph.nodes:
        given = node.kwargs.get("device")
        if node.op == "call_function" and given is not None and not node.all_input_nodes:
            node.kwargs = node.kwargs | {"device": device}
    program.recompile()
    return program


_FILLS = {
    aten.zeros_like.default: 0,
    aten.ones_like.default: 1,
    aten.new_zeros.default: 0,
    aten.new_ones.default: 1,
}


def detach_fills(program: GraphModule) -> GraphModule:
    """Make zeros and ones without asking whose shape they have, in place, and return `program`.

    What follows from them and from the data then does not depend on x and need not be repeated.
    """
    overwritten = written(program)
    for node in list(program.graph.nodes):
        value = node.meta.get("val")
        if node.target not in _FILLS or node in overwritten or not value.is_contiguous():
            continue
        with program.graph.inserting_before(node):
            made = program.graph.call_function(
                aten.full.default,
                (list(value.shape), _FILLS[node.target]),
                {"dtype": value.dtype, "device": value.device},
            )
        made.meta["val"] = value
        node.replace_all_uses_with(made)
        program.graph.erase_node(node)
    program.recompile()
    return program


def obstacle(program: GraphModule) -> str | None:
    """Return the operation for which `program` cannot be captured, or None where there is none.

    That is one whose result has a shape that depends on values, or that copies from one
    device to another: both wait for the GPU.
    """
    for node in program.graph.nodes:
        if node.op == "call_function" and (_asks_for_values(node) or _copies_across(node)):
            return str(node.target)
    return None


def merge_repeated(program: GraphModule) -> GraphModule:
    """Let what `program` computes twice be computed once, in place, and return it.

    A backward pass repeats the rearranging of its forward pass.  What is written into stays.
    """
    owner, overwritten = owners(program), written(program)
    first: dict[Hashable, Node] = {}
    for node in list(program.graph.nodes):
        if node.op != "call_function" or writes(node) or owner[node] in overwritten:
            continue
        if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
            continue
        if node.target is aten.mul.Scalar and node.args[1] == 1:
            node.replace_all_uses_with(node.args[0])
            program.graph.erase_node(node)
            continue
        key = (node.target, _frozen(node.args), _frozen(node.kwargs))
        if key in first:
            node.replace_all_uses_with(first[key])
            program.graph.erase_node(node)
        else:
            first[key] = node
    program.graph.eliminate_dead_code()
    program.recompile()
    return program


def _asks_for_values(node: Node) -> bool:
    if node.target in _INDEXED:
        indices: Any = node.args[1]
        types = {each.meta["val"].dtype for each in indices if isinstance(each, Node)}
        return bool(types & {torch.bool, torch.uint8})
    tags = getattr(node.target, "tags", ())
    return any(tag in tags for tag in _DEPENDING_ON_VALUES)


def _copies_across(node: Node) -> bool:
    made = node.meta.get("val")
    if not isinstance(made, Tensor):
        return False
    places = {
        each.meta["val"].device.type
        for each in node.all_input_nodes
        if isinstance(each.meta.get("val"), Tensor) and each.op != "get_attr"
    }
    given = node.kwargs.get("device")
    asked = torch.device(given).type if isinstance(given, str | torch.device) else None
    moved = places and asked is not None and asked not in places
    return bool(moved) or (made.device.type == "cpu" and "cuda" in places)


def _frozen(value: Any) -> Hashable:
    if isinstance(value, list | tuple):
        return (type(value).__name__, *(_frozen(each) for each in value))
    if isinstance(value, dict):
        return tuple((name, _frozen(each)) for name, each in value.items())
    return (type(value).__name__, value)
