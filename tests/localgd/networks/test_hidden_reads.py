"""What a module or a loss reaches from outside, and what shows only in large nodes."""

import contextvars
import functools
import os
import sys
import types

import numpy as np
import pytest
import torch
from torch import nn

from localgd import NetworkProblem, run
from modules import CROSS_ENTROPY

COUNT = [0]
AT = contextvars.ContextVar("AT", default=0)


def counted():
    COUNT[0] += 1
    return 1 if COUNT[0] <= 60 else 2


IN_A_DICT, IN_A_LIST, PARTIAL = {"count": counted}, [counted], functools.partial(counted)
CACHED = functools.lru_cache(maxsize=0)(counted)
SETTINGS = types.ModuleType("settings_of_the_test")
SETTINGS.inner = types.ModuleType("settings_of_the_test.inner")
SETTINGS.inner.step = 0


def imports():
    from settings_of_the_test import inner

    inner.step += 1
    return inner.step


def nested():
    SETTINGS.inner.step += 1
    return SETTINGS.inner.step


def context():
    AT.set(AT.get() + 1)
    return AT.get()


def environment():
    os.environ["LOCALGD_TEST_STEP"] = str(int(os.environ.get("LOCALGD_TEST_STEP", "0")) + 1)
    return 1


def installed():
    torch.step_of_the_test += 1
    return torch.step_of_the_test


class Calling(nn.Module):
    """Calls a function beside its layer."""

    def __init__(self, function):
        super().__init__()
        self.last, self.function = nn.Linear(6, 3), function

    def forward(self, x):
        return self.last(x) * (1 + 0 * self.function())


class Property(Calling):
    @property
    def scale(self):
        return counted()

    def forward(self, x):
        return self.last(x) * self.scale


class Static(Calling):
    scale = staticmethod(counted)

    def forward(self, x):
        return self.last(x) * self.scale()


def data(*sizes):
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(n, 6, generator=generator, dtype=torch.float64) for n in sizes]
    return inputs, [torch.randint(0, 3, (n,), generator=generator) for n in sizes]


@pytest.mark.parametrize(
    "module",
    [
        Calling(lambda: IN_A_DICT["count"]()),
        Calling(lambda: IN_A_LIST[0]()),
        Calling(lambda: PARTIAL()),
        Calling(lambda: CACHED()),
        Calling(CACHED),
        Property(None),
        Static(None),
        Calling(imports),
        Calling(nested),
        Calling(context),
        Calling(environment),
        Calling(installed),
    ],
    ids=[
        *("dict", "list", "partial", "cache", "attribute", "property", "static"),
        *("import", "nested", "context", "environment", "installed"),
    ],
)
def test_a_count_is_found_through_every_door(monkeypatch, module):
    monkeypatch.setenv("LOCALGD_TEST_STEP", "0")
    monkeypatch.setattr(torch, "step_of_the_test", 0, raising=False)
    monkeypatch.setitem(sys.modules, "settings_of_the_test", SETTINGS)
    monkeypatch.setitem(sys.modules, "settings_of_the_test.inner", SETTINGS.inner)
    with pytest.raises(ValueError, match="changes from call to call"):
        NetworkProblem(module.double(), *data(8, 8), CROSS_ENTROPY)


class Averaging(nn.Module):
    """Keeps a running mean of what it sees, of large batches only."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(6, 3)
        self.register_buffer("mean", torch.zeros(6))

    def forward(self, x):
        if len(x) >= 8:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
        return self.last(x - self.mean)


def test_a_buffer_that_only_a_whole_node_writes_is_carried():
    assert NetworkProblem(Averaging().double(), *data(10, 10), CROSS_ENTROPY).num_buffers == 6


class Centring(nn.Module):
    """Centres large batches."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(6, 3)

    def forward(self, x):
        return self.last(x - x.mean(0) if len(x) >= 16 else x)


def ignoring(outputs, targets):
    each = nn.functional.cross_entropy(outputs, targets, reduction="none")
    return each * len(targets) / (targets != -100).sum()


def hardest(outputs, targets):
    each = CROSS_ENTROPY(outputs, targets)
    return each * (each >= each.topk(min(64, len(each))).values[-1].detach())


@pytest.mark.parametrize(
    ("module", "loss", "sizes", "ignored"),
    [
        (nn.Linear(6, 3), ignoring, (20, 30), True),
        (nn.Linear(6, 3), hardest, (100, 120), False),
        (Centring(), CROSS_ENTROPY, (20, 30), False),
    ],
    ids=["ignored", "hardest", "centred"],
)
def test_samples_that_mix_in_whole_nodes_are_not_padded(module, loss, sizes, ignored):
    inputs, targets = data(*sizes)
    if ignored:
        for each in targets:
            each[3:8] = -100
    module = module.double()
    found = run(
        NetworkProblem(module, inputs, targets, loss), local_steps=1, step_size=0.1, rounds=0
    )
    with torch.no_grad():
        alone = [float(loss(module(u), v).mean()) for u, v in zip(inputs, targets, strict=True)]
    np.testing.assert_allclose(found.loss[0], np.mean(alone), rtol=1e-12)


class Taught(nn.Module):
    """Is compared with another network, which is not trained."""

    def __init__(self, teacher, how):
        super().__init__()
        self.last, self.answer = nn.Linear(6, 3), lambda x: how(teacher, x)

    def forward(self, x):
        return self.last(x) - self.answer(x)


def squared(outputs, targets):
    return (outputs**2).sum(1)


def without_gradient(teacher, x):
    with torch.no_grad():
        return teacher(x)


@pytest.mark.parametrize("how", [without_gradient, lambda teacher, x: teacher(x).detach()])
def test_a_teacher_that_is_not_trained_may_have_parameters_that_could_be(how):
    torch.manual_seed(0)
    teacher, (inputs, _) = nn.Linear(6, 3).double(), data(10, 10)
    module = Taught(teacher, how).double()
    call = {"local_steps": 3, "step_size": 0.05, "rounds": 2}
    eager, frozen = (
        run(NetworkProblem(module, inputs, [torch.zeros(10)] * 2, squared), **call)
        for _ in map(teacher.requires_grad_, (True, False))
    )
    np.testing.assert_array_equal(eager.loss, frozen.loss)
    assert eager.loss[-1] < 0.5 * eager.loss[0]


class Keeping(nn.Module):
    """Keeps its hidden layer."""

    classes = 3

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        self.hidden = torch.tanh(self.first(x))
        return self.last(self.hidden)


@pytest.mark.parametrize(
    "make",
    [
        lambda m: lambda o, t: CROSS_ENTROPY(o, t) + m.hidden.pow(2).mean(),
        lambda m: lambda o, t: CROSS_ENTROPY(o, t) + m.last.weight.data.norm(),
        lambda m: lambda o, t: CROSS_ENTROPY(o, t) + m(o.new_ones(1, 6)).sum(),
        lambda m: functools.partial(lambda w, o, t: CROSS_ENTROPY(o, t) + w.norm(), m.last.weight),
    ],
    ids=["hidden", "weight", "call", "partial"],
)
def test_a_loss_that_sees_the_module_of_the_start_is_refused(make):
    module = Keeping().double()
    with torch.no_grad():
        module(torch.ones(1, 6, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"the loss reads \w+, which is Keeping or a part of it"):
        NetworkProblem(module, *data(8, 8), make(module))


def test_a_loss_may_read_a_constant_of_the_module():
    module = Keeping().double()
    NetworkProblem(module, *data(8, 8), lambda o, t: CROSS_ENTROPY(o, t) / module.classes)


class Written(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.last = nn.Linear(6, 3)
        self.register_buffer("seen", torch.tensor(value))

    def forward(self, x):
        self.seen.fill_(1)
        return self.last(x)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (False, "buffer seen is written and holds truth values"),
        (-float("inf"), "buffer seen is written and holds a NaN or an infinity"),
    ],
)
def test_a_buffer_that_has_no_mean_is_named(value, message):
    with pytest.raises(ValueError, match=message):
        NetworkProblem(Written(value).double(), *data(8, 8), CROSS_ENTROPY)


def test_a_parameter_that_is_no_number_is_named():
    module = nn.Linear(6, 3).double()
    with torch.no_grad():
        module.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match="parameter weight holds a NaN or an infinity"):
        NetworkProblem(module, *data(8, 8), CROSS_ENTROPY)
