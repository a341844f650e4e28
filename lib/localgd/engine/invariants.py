"""Compute once, and not in every step, what a recorded program computes from the data alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch.fx import Graph, GraphModule, Node

from localgd.engine.program import owners, size_in_bytes, writes, written


def hoist(program: GraphModule, limit_bytes: int) -> tuple[GraphModule, GraphModule]:
    """Split `program` into a preparation and a body, body(x, *data, *preparation(*data)).

    `program` takes x first and the data after it.  Results that do not depend on x and that
    the body needs are handed over, unless the body writes into them, or they take more than
    `limit_bytes` together: then nothing is.
    """
    nodes = list(program.graph.nodes)
    arguments = [node for node in nodes if node.op == "placeholder"]
    varying = _reached_from(arguments[0], nodes)
    owner = owners(program)
    fixed = [n for n in nodes if n.op == "call_function" and n not in varying]
    handed = [n for n in fixed if any(user in varying for user in n.users)]
    kept = {owner[node] for node in handed}
    if kept & written(program) or sum(size_in_bytes(node) for node in kept) > limit_bytes:
        fixed, handed = [], []
    constants = [node for node in nodes if node.op == "get_attr"]
    moved = set(fixed)
    return (
        _part(program, arguments[1:], [*constants, *fixed], handed),
        _part(program, [*arguments, *handed], [n for n in nodes if n not in moved], None),
    )


def second_alone(program: GraphModule) -> GraphModule:
    """Return what `program` does for the second of its two results, in a tuple of one."""
    nodes = list(program.graph.nodes)
    inputs = [node for node in nodes if node.op == "placeholder"]
    results: Any = nodes[-1].args[0]
    part = _part(program, inputs, nodes[:-1], [results[1]])
    part.graph.eliminate_dead_code()
    part.recompile()
    return part


def _reached_from(start: Node, nodes: Iterable[Node]) -> set[Node]:
    """`start`, what depends on it, what writes, and the output."""
    reached = {start}
    for node in nodes:
        if node.op == "output" or writes(node) or reached.intersection(node.all_input_nodes):
            reached.add(node)
    return reached


def _part(
    program: GraphModule, inputs: list[Node], nodes: list[Node], outputs: list[Node] | None
) -> GraphModule:
    """Return the operations `nodes` as a program that returns `outputs`, or what they do."""
    graph, place = Graph(), dict[Node, Node]()
    for node in inputs:
        place[node] = graph.placeholder(node.name)
        place[node].meta = dict(node.meta)
    for node in nodes:
        if node not in place:
            place[node] = graph.node_copy(node, place.__getitem__)
    if outputs is not None:
        graph.output(tuple(place[node] for node in outputs))
    return GraphModule(program, graph)
