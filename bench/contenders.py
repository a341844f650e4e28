"""A round of local GD as others would write it, and as `localgd` runs it."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

from localgd import NetworkProblem, Problem, Rule
from localgd.algorithm.communication import OneProcess
from localgd.algorithm.rounds import Rounds
from localgd.algorithm.rules import as_rule
from localgd.algorithm.servers import Server
from localgd.algorithm.trace import Recorder
from localgd.engine.division import divide
from localgd.engine.evaluator import Engine, Evaluator

Work = Callable[[], object]
CROSS_ENTROPY = nn.CrossEntropyLoss(reduction="none")


def ours(
    problem: Problem,
    rule: int | Rule,
    eta: float,
    engine: Engine,
    device: torch.device,
    server: Server | None = None,
    communication: OneProcess | None = None,
) -> Work:
    """Rounds of `localgd.run` without its set-up: steps, server step, record."""
    problem = problem.to(device, problem.dtype)
    etas = problem.check_step_size(eta)
    leap = problem.closed_form(etas) if engine == "closed" else None
    x = problem.initial(torch.Generator()).to(device)
    chunks, form = divide(problem, device, None)
    evaluator = Evaluator(engine, problem, device, form)
    recorder = Recorder(problem.num_nodes, {})
    loop = Rounds(
        problem,
        as_rule(rule),
        etas,
        x,
        leap,
        recorder,
        evaluator,
        chunks,
        server=server,
        communication=communication,
    )
    loop.begin()
    return lambda: list(loop.round(1))


def node_by_node(module: nn.Module, inputs: Tensor, targets: Tensor, T: int, eta: float) -> Work:
    """(a) A Python loop over nodes with `nn.Module` and `torch.optim.SGD`."""
    nodes = [copy.deepcopy(module) for _ in inputs]
    optimizers = [torch.optim.SGD(node.parameters(), lr=eta) for node in nodes]

    def work() -> None:
        for node, optimizer, u, v in zip(nodes, optimizers, inputs, targets, strict=True):
            for _ in range(T):
                optimizer.zero_grad()
                torch.autograd.backward(nn.functional.cross_entropy(node(u), v))
                optimizer.step()
        with torch.no_grad():
            for copies in zip(*(node.parameters() for node in nodes), strict=True):
                mean = torch.stack(list(copies)).mean(0)
                for each in copies:
                    each.copy_(mean)

    return work


def plain_vmap(module: nn.Module, inputs: Tensor, targets: Tensor, T: int, eta: float) -> Work:
    """(b) `torch.func.vmap(grad)` over stacked parameters."""
    stacked, _ = stack_module_state([module] * len(inputs))
    state = {"parameters": {name: value.detach().clone() for name, value in stacked.items()}}

    def loss(parameters: dict[str, Tensor], u: Tensor, v: Tensor) -> Tensor:
        return nn.functional.cross_entropy(functional_call(module, parameters, (u,)), v)

    gradients = vmap(grad(loss))

    def work() -> None:
        x = state["parameters"]
        for _ in range(T):
            g = gradients(x, inputs, targets)
            x = {name: x[name] - eta * g[name] for name in x}
        means = {name: value.mean(0) for name, value in x.items()}
        state["parameters"] = {
            name: means[name].expand_as(value).clone() for name, value in x.items()
        }

    return work


def network_contenders(
    module: nn.Module, inputs: Tensor, targets: Tensor, T: int, engines: list[Engine], device: str
) -> dict[str, Work]:
    """Everyone, on the same module, data and device."""
    where, eta = torch.device(device), 0.01
    problem = NetworkProblem(module, inputs, targets, CROSS_ENTROPY)
    module = copy.deepcopy(module).to(where)
    there = (inputs.to(where), targets.to(where))
    return {
        **{f"localgd {engine}": ours(problem, T, eta, engine, where) for engine in engines},
        "loop over nodes": node_by_node(module, *there, T, eta),
        "vmap(grad)": plain_vmap(module, *there, T, eta),
    }
