"""A function of tensors recorded once, as a flat list of PyTorch operations, to be replayed.

The record has no autograd, no `vmap` and no module calls left in it, so that replaying it
costs no more than its operations do; it can be rewritten, compiled, measured and captured.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.flop_counter import FlopCounterMode

from localgd.fingerprint import describe


class UntraceableError(ValueError):
    """A function that cannot be recorded: it looks at values, or draws random numbers."""


def record(function: Callable[..., Any], arguments: Sequence[Tensor]) -> GraphModule:
    """Return `function` as the operations that it performs on tensors of these shapes.

    Raises `UntraceableError` for a function that branches on the values of its arguments,
    uses an operation that cannot be batched, or draws random numbers.
    """
    try:
        with torch.no_grad():
            program = make_fx(lambda *given: function(*given))(*arguments)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, NotImplementedError) as error:
        if "can't allocate memory" in str(error):
            raise
        raise UntraceableError(_reason(str(error))) from error
    _detach_constants(program)
    varying: set[Node] = set()
    for node in program.graph.nodes:
        if node.op == "placeholder" or not varying.isdisjoint(node.all_input_nodes):
            varying.add(node)
        if _has_sizes_of_data(node, varying):
            raise UntraceableError(f"the sizes of its tensors depend on values ({node.target})")
        if _is_random(node):
            raise UntraceableError(f"it draws random numbers ({node.target})")
    if any(node.op == "placeholder" for node in written(program)):
        raise UntraceableError("it writes into its input")
    return program


def _detach_constants(program: GraphModule) -> None:
    """Let no constant require a gradient: the record has its derivatives in it."""
    for node in program.graph.find_nodes(op="get_attr"):
        name = str(node.target)
        value = getattr(program, name)
        if isinstance(value, Tensor) and value.requires_grad:
            delattr(program, name)
            program.register_buffer(name, value.detach())


def identity(program: GraphModule) -> str:
    """Return a text that tells what `program` computes: its operations and its constants."""
    constants = [
        describe(getattr(program, str(node.target)))
        for node in program.graph.find_nodes(op="get_attr")
    ]
    return f"{program.code} {constants}"


def calls(program: GraphModule, target: Any) -> list[Node]:
    """Return the places where `program` calls `target`."""
    return list(program.graph.find_nodes(op="call_function", target=target))


def peak_bytes(program: GraphModule) -> int:
    """Return the memory that the intermediate results take where they take the most.

    A result lives from the operation that makes it to the last one that reads it or a view
    of it; arguments do not count.
    """
    owner = owners(program)
    last = {owner[each]: node for node in owner for each in (node, *node.all_input_nodes)}
    expiring = dict.fromkeys(owner, 0)
    for node, reader in last.items():
        expiring[reader] += size_in_bytes(node)
    alive = peak = 0
    for node in owner:
        alive += size_in_bytes(node) if owner[node] is node else 0
        peak = max(peak, alive)
        alive -= expiring[node]
    return peak


def owners(program: GraphModule) -> dict[Node, Node]:
    """Return for every node, in order, the one whose memory its result is: itself, or another's."""
    owner: dict[Node, Node] = {}
    for node in program.graph.nodes:
        inputs = node.all_input_nodes
        source = inputs[0] if inputs and _shares_memory(node) else node
        owner[node] = owner.get(source, source)
    return owner


def count_flops(program: GraphModule, arguments: Sequence[Tensor]) -> int:
    """Return the floating-point operations of the products and convolutions of one replay."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        program(*arguments)
    return int(counter.get_total_flops())


def written(program: GraphModule) -> set[Node]:
    """Return the nodes whose memory some operation of `program` writes into after it is made."""
    owner = owners(program)
    return {owner[node.all_input_nodes[0]] for node in owner if writes(node)}


def writes(node: Node) -> bool:
    """Return whether the operation writes into its first argument."""
    schema = getattr(node.target, "_schema", None)
    return isinstance(schema, torch.FunctionSchema) and schema.is_mutable


def size_in_bytes(node: Node) -> int:
    """Return the size of the result of an operation, 0 for what is no tensor."""
    value = node.meta.get("val")
    if node.op != "call_function" or not isinstance(value, Tensor):
        return 0
    return value.numel() * value.element_size()


def _reason(message: str) -> str:
    """Return what PyTorch's tracing errors mean, in a few words."""
    looked = re.search(r"value out of a tracing tensor with aten\.(\w+)|vmap.*\.item\(\)", message)
    if looked or "data-dependent control flow" in message:
        return "it looks at the value of a tensor"
    if "dynamic shape" in message:
        return "the sizes of its tensors depend on values"
    if "saved tensor hooks" in message:
        return "it keeps activations by hooks, as torch.utils.checkpoint does"
    unruled = re.search(r"Batching rule not implemented for (\S+?)[;,. ]", message)
    if unruled:
        return f"PyTorch cannot stack {unruled[1]} over nodes; chunk_size=1 runs them one by one"
    return message.strip().split(". ")[0].splitlines()[0]


def _is_random(node: Node) -> bool:
    """Return whether the operation draws random numbers; one whose dropout is 0 does not."""
    if torch.Tag.nondeterministic_seeded not in getattr(node.target, "tags", ()):
        return False
    names = [argument.name for argument in node.target._schema.arguments]  # type: ignore[union-attr]
    given = dict(zip(names, node.args, strict=False)) | node.kwargs
    defaults = {a.name: a.default_value for a in node.target._schema.arguments}  # type: ignore[union-attr]
    return all((defaults | given).get(name) != 0 for name in ("dropout_p", "dropout", "p"))


def _has_sizes_of_data(node: Node, varying: set[Node]) -> bool:
    """Return whether the size of the operation's result depends on values that may change.

    `varying`: the nodes that follow from the arguments of the program.
    """
    if torch.Tag.dynamic_output_shape not in getattr(node.target, "tags", ()):
        return False
    if node.target is torch.ops.aten.index.Tensor:  # a mask picks as many as it has set
        indices = [each for each in node.args[1] if isinstance(each, Node)]  # type: ignore[union-attr]
        return any(
            each in varying and each.meta["val"].dtype in (torch.bool, torch.uint8)
            for each in indices
        )
    if node.target is torch.ops.aten.masked_select.default:
        return node.args[1] in varying
    return not varying.isdisjoint(node.all_input_nodes)


def _shares_memory(node: Node) -> bool:
    """Return whether the result of `node` is a view of its first input or one of its results."""
    if node.op != "call_function":
        return False
    if node.target is operator.getitem:  # one of several results, as `split` has them
        return _shares_memory(node.all_input_nodes[0])
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return False
    return any(value.alias_info is not None for value in schema.returns)
