"""The parts of ``gpu-check`` that ask how fast the GPU loop is, and how much memory it takes."""

from __future__ import annotations

import copy
import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

from bookrun.commands.gpu_agreement import FORMS
from localgd import NetworkProblem, datasets, run
from localgd.engine.backend import deterministic
from localgd.engine.convolutions import Form, convolutions
from localgd.networks import LeNet, ResNet18, seeded

CROSS_ENTROPY = nn.CrossEntropyLoss(reduction="none")

#: Floating-point operations of one local step on one sample, products and convolutions.
LENET_FLOPS, RESNET_FLOPS = 1.517e6, 1.67e9

#: At least so many times as fast as a loop over nodes on the same GPU.
LENET_TARGET, SMALL_TARGET = 30.0, 50.0


def lenet() -> dict[str, Any]:
    """LeNet, 10 nodes of 100 images: each form, a loop over nodes, vmap(grad), the roofline."""
    inputs, targets, source = _images("mnist", 10, 100)
    module = seeded(LeNet, 0)
    problem = NetworkProblem(module, inputs, targets, CROSS_ENTROPY)
    forms = _forms(problem, 160, step_size=0.1)
    loop = _loop_ms(module, inputs, targets)
    stacked = _vmap_ms(module, inputs, targets)
    found: dict[str, Any] = {"data": source, "forms": forms, "chosen": _chosen(problem)}
    found |= {"loop_over_nodes_ms": loop, "vmap_grad_ms": stacked}
    return (
        found
        | _compared(forms, found["chosen"], loop, LENET_TARGET)
        | _share(forms, found["chosen"], LENET_FLOPS * 1000, tf32=False)
    )


def small() -> dict[str, Any]:
    """Time a small network, 100 nodes of 20 samples, against a loop over nodes and vmap(grad)."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(100, 20, 32, generator=generator)
    targets = torch.randint(10, (100, 20), generator=generator)
    module = seeded(lambda: nn.Sequential(nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 10)), 0)
    problem = NetworkProblem(module, inputs, targets, CROSS_ENTROPY)
    forms = {"grouped": _measured(problem, 800, step_size=0.1)}
    loop = _loop_ms(module, inputs, targets, repetitions=5)
    stacked = _vmap_ms(module, inputs, targets)
    found = {"forms": forms, "loop_over_nodes_ms": loop, "vmap_grad_ms": stacked}
    return found | _compared(forms, "grouped", loop, SMALL_TARGET)


def resnet() -> dict[str, Any]:
    """ResNet-18 of width 64, 10 nodes of 100 images, T = 17: each form, with its peak memory."""
    problem, source = _resnet()
    forms = _forms(problem, 17, ("alone products", "alone", "grouped"), step_size=0.05)
    chosen = _chosen(problem)
    found = {"data": source, "forms": forms, "chosen": chosen}
    return found | _share(forms, chosen, RESNET_FLOPS * 1000, tf32=False)


def resnet_tf32() -> dict[str, Any]:
    """Time the same with TF32."""
    problem, source = _resnet()
    forms = _forms(problem, 17, ("alone products", "alone"), step_size=0.05, tf32=True)
    chosen = _chosen(problem)
    found = {"data": source, "forms": forms, "chosen": chosen}
    return found | _share(forms, chosen, RESNET_FLOPS * 1000, tf32=True)


def kernels() -> dict[str, Any]:
    """Return where the time of a captured step goes: the kernels of LeNet and of ResNet-18."""
    inputs, targets, _ = _images("mnist", 10, 100)
    small_network = NetworkProblem(seeded(LeNet, 0), inputs, targets, CROSS_ENTROPY)
    return {"lenet": _kernels(small_network, 161), "resnet": _kernels(_resnet()[0], 17)}


def _kernels(problem: NetworkProblem, T: int, top: int = 25) -> list[dict[str, Any]]:
    """Return the kernels that take the most, in microseconds a step, by the profiler."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        run(problem, local_steps=T, step_size=0.05, rounds=6, device="cuda", engine="graph")
    found = [each for each in profiler.key_averages() if each.device_time_total > 0]
    found.sort(key=lambda each: each.device_time_total, reverse=True)
    return [
        {
            "name": each.key[:100],
            "us_a_step": each.device_time_total / (6 * T),
            "calls_a_step": each.count / (6 * T),
        }
        for each in found[:top]
    ]


def all_mnist() -> dict[str, Any]:
    """LeNet on 60,000 images, 10 nodes: each form, and the roofline."""
    inputs, targets, source = _images("mnist", 10, 6000)
    problem = NetworkProblem(seeded(LeNet, 0), inputs, targets, CROSS_ENTROPY)
    forms = _forms(problem, 32, step_size=0.1)
    chosen = _chosen(problem)
    found = {"data": source, "forms": forms, "chosen": chosen}
    return found | _share(forms, chosen, LENET_FLOPS * 60_000, tf32=False)


def resnet_in_full() -> dict[str, Any]:
    """Time the beginning of Figure 4(b) at the paper's scale: rounds of T = 10 for two minutes."""
    problem, source = _resnet()
    until = time.monotonic() + 120
    trace = run(
        problem,
        local_steps=10,
        step_size=0.1,
        rounds=60,
        stop=lambda _: time.monotonic() > until,
        device="cuda",
    )
    return {
        "data": source,
        "rounds": len(trace) - 1,
        "loss": trace.loss.tolist(),
        "grad_norm_sq": trace.grad_norm_sq.tolist(),
        "seconds_a_round": statistics.median(trace.seconds[1:].tolist()),
    }


def _forms(
    problem: NetworkProblem, T: int, forms: tuple[Form, ...] = FORMS, **call: Any
) -> dict[str, Any]:
    """Return what each form of convolution costs, or how it fails."""
    found: dict[str, Any] = {}
    for form in forms:
        try:
            with convolutions(form):
                found[form] = _measured(problem, T, **call)
        except Exception as error:
            found[form] = {"error": f"{type(error).__name__}: {error}"[:500]}
        torch.cuda.empty_cache()
    return found


def _measured(problem: NetworkProblem, T: int, rounds: int = 4, **call: Any) -> dict[str, Any]:
    """Milliseconds a local step of all nodes, those of capturing, and the peak of memory."""
    gc.collect()  # what a failed part has left
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    trace = run(problem, local_steps=T, rounds=rounds, device="cuda", engine="graph", **call)
    seconds = trace.seconds[1:]  # of the rounds; the first of them captures
    best = float(statistics.median(seconds[1:].tolist()))
    return {
        "ms_a_step": 1e3 * best / T,
        "capture_ms": 1e3 * float(seconds[0] - best),
        "start_ms": 1e3 * float(trace.seconds[0]),
        "peak_gib": torch.cuda.max_memory_allocated() / 2**30,
        "reserved_gib": torch.cuda.max_memory_reserved() / 2**30,
        "loss": trace.loss.tolist(),
    }


def _chosen(problem: NetworkProblem) -> str:
    """Return the form that a run takes by itself."""
    trace = run(problem, local_steps=1, step_size=1e-3, rounds=0, device="cuda")
    return str(trace.provenance["settings"]["convolutions"])


def _compared(forms: dict[str, Any], chosen: str, loop_ms: float, target: float) -> dict[str, Any]:
    speedups = {
        form: loop_ms / each["ms_a_step"] for form, each in forms.items() if "ms_a_step" in each
    }
    reached = speedups.get(chosen, 0.0)
    return {"times_the_loop": speedups, "target": target, "passed": reached >= target}


def _share(forms: dict[str, Any], chosen: str, flops: float, *, tf32: bool) -> dict[str, Any]:
    """Return the chosen form's share of what this GPU does of one large matrix product."""
    peak = _product_flops(tf32)
    reached = {
        form: flops / (1e-3 * each["ms_a_step"])
        for form, each in forms.items()
        if "ms_a_step" in each
    }
    return {
        "product_tflops": peak / 1e12,
        "reached_tflops": {form: value / 1e12 for form, value in reached.items()},
        "share_of_product": reached.get(chosen, 0.0) / peak,
    }


def _product_flops(tf32: bool) -> float:
    """Operations a second of an 8192×8192 matrix product."""
    n = 8192
    a = torch.rand(n, n, device="cuda")
    with deterministic(torch.device("cuda", torch.cuda.current_device()), tf32):
        ms = _milliseconds(lambda: torch.mm(a, a), 5)
    return 2.0 * n**3 / (1e-3 * ms)


def _loop_ms(module: nn.Module, inputs: Tensor, targets: Tensor, repetitions: int = 20) -> float:
    """Time a step of a Python loop over nodes, `nn.Module` and `torch.optim.SGD`."""
    nodes = [copy.deepcopy(module).cuda() for _ in inputs]
    optimizers = [torch.optim.SGD(node.parameters(), lr=0.1) for node in nodes]
    data = list(zip(inputs.cuda(), targets.cuda(), strict=True))

    def step() -> None:
        for node, optimizer, (u, v) in zip(nodes, optimizers, data, strict=True):
            optimizer.zero_grad()
            torch.autograd.backward(nn.functional.cross_entropy(node(u), v))
            optimizer.step()

    return _milliseconds(step, repetitions)


def _vmap_ms(module: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    """Time a step of `vmap(grad)` over stacked parameters, in Python."""
    nodes = [copy.deepcopy(module).cuda() for _ in inputs]
    state, _ = stack_module_state(nodes)
    parameters = {name: value.detach() for name, value in state.items()}
    u, v = inputs.cuda(), targets.cuda()

    def loss(values: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return nn.functional.cross_entropy(functional_call(nodes[0], values, (x,)), y)

    gradient = vmap(grad(loss))

    def step() -> None:
        for name, value in gradient(parameters, u, v).items():
            parameters[name] = parameters[name] - 0.1 * value

    return _milliseconds(step, 20)


def _milliseconds(work: Callable[[], object], repetitions: int) -> float:
    """Return the median time of one call, after three calls that warm up."""
    for _ in range(3):
        work()
    times = []
    for _ in range(repetitions):
        torch.cuda.synchronize()
        began = time.perf_counter()
        work()
        torch.cuda.synchronize()
        times.append(1e3 * (time.perf_counter() - began))
    return statistics.median(times)


def _resnet() -> tuple[NetworkProblem, str]:
    inputs, targets, source = _images("cifar10", 10, 100)
    return NetworkProblem(seeded(ResNet18, 0), inputs, targets, CROSS_ENTROPY), source


def _images(name: str, nodes: int, samples: int) -> tuple[Tensor, Tensor, str]:
    """Training images and labels for every node: real ones where they are here, else noise."""
    try:
        read = datasets.mnist if name == "mnist" else datasets.cifar10
        data = read("train", first=nodes * samples, source="real")
    except Exception as error:
        shape = (1, 28, 28) if name == "mnist" else (3, 32, 32)
        generator = torch.Generator().manual_seed(0)
        inputs = torch.rand(nodes, samples, *shape, generator=generator)
        targets = torch.randint(10, (nodes, samples), generator=generator)
        return inputs, targets, f"uniform noise in the shape of {name} ({type(error).__name__})"
    features, labels = torch.as_tensor(data.features), torch.as_tensor(data.labels)
    inputs = features.view(nodes, samples, *features.shape[1:])
    targets = labels.view(nodes, samples)
    return inputs, targets, f"real: {data.source.description}"
