"""What modules keep in Python: harmless leftovers are put back, what shows later is refused."""

import itertools
import json
import warnings
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn

from alone import train_alone
from localgd import NetworkProblem, run
from modules import CROSS_ENTROPY


class Twice(nn.Sequential):
    """One layer under two names."""

    def __init__(self) -> None:
        layer = nn.Linear(6, 6)
        super().__init__(layer, nn.Tanh(), layer, nn.Linear(6, 3))


class TiedHeads(nn.Module):
    """Two layers of one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.last = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.last(torch.tanh(self.b(torch.tanh(self.a(x)))))


class SharedNorm(nn.Module):
    """One BatchNorm under two names, called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)
        self.again = self.norm

    def forward(self, x):
        return self.last(self.again(torch.tanh(self.norm(self.first(x)))))


class KeepsHidden(nn.Module):
    """Leaves its hidden layer in an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        self.h = torch.tanh(self.first(x))
        return self.last(self.h)


class KeepsInContainers(nn.Module):
    """Leaves its hidden layer in what its attributes hold."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 6), nn.Linear(6, 3)
        self.named, self.listed, self.inside = {}, [None], ({},)
        self.held = SimpleNamespace(h=None)

    def forward(self, x):
        h = torch.tanh(self.first(x))
        self.named["h"] = self.listed[0] = self.inside[0]["h"] = self.held.h = h
        self.paired = (h, h)
        return self.last(h)


class KeepsLosses(nn.Module):
    """Is a loss that leaves its values in attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.named = {}

    def forward(self, outputs, targets):
        self.last = self.named["last"] = CROSS_ENTROPY(outputs, targets)
        return self.last


class MakesTable(nn.Module):
    """Makes a table at its first call."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.table = nn.Linear(6, 3), None

    def forward(self, x):
        if self.table is None:
            self.table = torch.arange(6, dtype=x.dtype) / 6
        return self.last(x * self.table)


class CentresByFirst(nn.Module):
    """Centres by the mean of the first samples that it sees, which are all that a node has."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.mean = nn.Linear(6, 3), None

    def forward(self, x):
        if self.mean is None:
            self.mean = x.mean(0)
        return self.last(x - self.mean)


class OldWeightNorm(nn.Module):
    """Keeps the weight that it computes as an attribute."""

    def __init__(self) -> None:
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.last = nn.utils.weight_norm(nn.Linear(6, 3))

    def forward(self, x):
        return self.last(x)


def data() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(3, 8, 6, dtype=torch.float64), torch.randint(0, 3, (3, 8))


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # PyTorch's on weight_norm
@pytest.mark.parametrize("called", [False, True])
@pytest.mark.parametrize("chunk_size", [1, None])
@pytest.mark.parametrize(
    "make",
    [
        Twice,
        TiedHeads,
        SharedNorm,
        KeepsHidden,
        KeepsInContainers,
        MakesTable,
        CentresByFirst,
        OldWeightNorm,
    ],
)
def test_what_plain_training_takes_is_taken(make, chunk_size, called):
    inputs, targets = data()
    module = make().double()
    if make is OldWeightNorm:
        expected = NewWeightNorm(module)  # copyable, for the plain loop
    elif called:
        expected = make().double()
        expected.load_state_dict(module.state_dict())
    else:
        expected = module
    # one round: what a node of the loop keeps ends with it
    alone = train_alone(
        expected,
        list(inputs),
        list(targets),
        CROSS_ENTROPY,
        etas=[0.1] * 3,
        steps=[5] * 3,
        rounds=1,
    )
    if called and make not in (CentresByFirst, SharedNorm):  # these would be other modules then
        module(inputs[0])
    problem = NetworkProblem(module, inputs, targets, CROSS_ENTROPY)
    trace = run(problem, local_steps=5, step_size=0.1, rounds=1, chunk_size=chunk_size)
    torch.testing.assert_close(list(trace.loss), alone.loss, rtol=1e-9, atol=0)
    problem.unflatten(trace.x)(inputs[0])


def test_a_loss_may_keep_what_it_computes():
    module, (inputs, targets) = nn.Linear(6, 3).double(), data()
    expected, found = (
        run(NetworkProblem(module, inputs, targets, loss), local_steps=5, step_size=0.1, rounds=2)
        for loss in (CROSS_ENTROPY, KeepsLosses())
    )
    assert list(found.loss) == list(expected.loss)


class NewWeightNorm(nn.Module):
    """The same weights by the parametrization that can be copied."""

    def __init__(self, old: OldWeightNorm) -> None:
        super().__init__()
        self.last = nn.utils.parametrizations.weight_norm(nn.Linear(6, 3).double())
        with torch.no_grad():
            self.last.parametrizations.weight.original0.copy_(old.last.weight_g)
            self.last.parametrizations.weight.original1.copy_(old.last.weight_v)
            self.last.bias.copy_(old.last.bias)

    def forward(self, x):
        return self.last(x)


CALLS = {"so far": 0}


class Linear(nn.Module):
    """What the next ones have in common."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(6, 3)


class CountsInAttribute(Linear):
    """Doubles its outputs after fifty calls."""

    calls = 0

    def forward(self, x):
        self.calls += 1
        return self.last(x) * (1 if self.calls <= 50 else 2)


class CountsInClass(Linear):
    """Counts in its class."""

    calls = 0

    def forward(self, x):
        CountsInClass.calls += 1
        return self.last(x) * (1 if self.calls <= 50 else 2)


class CountsInGlobal(Linear):
    """Counts in a global."""

    def forward(self, x):
        CALLS["so far"] += 1
        return self.last(x) * (1 if CALLS["so far"] <= 50 else 2)


class CountsInDefault(Linear):
    """Counts in a default argument."""

    def forward(self, x, calls=[0]):  # noqa: B006
        calls[0] += 1
        return self.last(x) * (1 if calls[0] <= 50 else 2)


class CountsInIterator(Linear):
    """Counts with an iterator in an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = itertools.count()

    def forward(self, x):
        return self.last(x) * (1 if next(self.calls) < 50 else 2)


class CountsInList(Linear):
    """Keeps all that it has put out."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: list[torch.Tensor] = []

    def forward(self, x):
        self.outputs.append(self.last(x))
        return self.outputs[-1] * (1 if len(self.outputs) <= 50 else 2)


class CountsInHook(Linear):
    """Counts in the closure of a hook."""

    def __init__(self) -> None:
        super().__init__()
        calls = []

        def hook(_module, _inputs, output):
            calls.append(None)
            return output * (1 if len(calls) <= 50 else 2)

        self.last.register_forward_hook(hook)

    def forward(self, x):
        return self.last(x)


def halved(outputs):
    """Count in an attribute of the function itself."""
    halved.calls = getattr(halved, "calls", 0) + 1
    return outputs * (1 if halved.calls <= 50 else 0.5)


class CountsInHelper(Linear):
    """Calls a function that counts."""

    def forward(self, x):
        return halved(self.last(x))


class CountsInGlobalOfHelper(Linear):
    """Calls a function that calls a function that counts in a global."""

    def forward(self, x):
        return self.last(x) * factor()


def factor():
    return counted()


def counted():
    CALLS["so far"] += 1
    return 1 if CALLS["so far"] <= 50 else 2


class Elsewhere:
    """Where somebody else counts."""

    calls = 0


class CountsInOtherClass(Linear):
    """Counts in a class that is not its own."""

    def forward(self, x):
        Elsewhere.calls += 1
        return self.last(x) * (1 if Elsewhere.calls <= 50 else 2)


ELSEWHERE = ModuleType("elsewhere")
ELSEWHERE.calls = 0


class CountsInModule(Linear):
    """Counts in a module that its own imports."""

    def forward(self, x):
        ELSEWHERE.calls += 1
        return self.last(x) * (1 if ELSEWHERE.calls <= 50 else 2)


class CountsInGenerator(Linear):
    """Asks a generator, which cannot be copied, and which its forward reads from outside."""

    def forward(self, x):
        return self.last(x) * next(FACTORS)


FACTORS = (1 if number < 50 else 2 for number in itertools.count())


class CachesWeights(Linear):
    """Keeps something of its first parameters."""

    size = None

    def forward(self, x):
        if self.size is None:
            self.size = self.last.weight.detach().norm()
        return self.last(x) / self.size


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (CountsInAttribute, "attribute calls of CountsInAttribute changes from call to call"),
        (CountsInClass, "attribute calls of class CountsInClass changes from call to call"),
        (CountsInGlobal, "CALLS, which CountsInGlobal reads, changes from call to call"),
        (
            CountsInDefault,
            r"a default argument or attribute of CountsInDefault\.forward changes from call",
        ),
        (CountsInIterator, "attribute calls of CountsInIterator changes from call to call"),
        (CountsInList, "attribute outputs of CountsInList changes from call to call"),
        (CountsInHelper, "a default argument or attribute of halved changes from call to call"),
        (
            CountsInGlobalOfHelper,
            "CALLS, which counted, .* calls, reads, changes from call to call",
        ),
        (CountsInOtherClass, "attribute calls of class Elsewhere changes from call to call"),
        (CountsInModule, r"ELSEWHERE\.calls, which CountsInModule reads, changes from call to"),
        (CountsInGenerator, "FACTORS, which CountsInGenerator reads, changes from call to call"),
        (CountsInHook, r"calls, which a hook of CountsInHook\.last reads, changes from call to"),
        (CachesWeights, "CachesWeights and its loss .* keep something of their first call"),
    ],
)
def test_state_that_shows_after_some_calls_is_refused_at_once(make, message):
    with pytest.raises(ValueError, match=message):
        NetworkProblem(make().double(), *data(), CROSS_ENTROPY)


def test_a_loss_that_counts_is_refused():
    calls = []

    def loss(outputs, targets):
        calls.append(None)
        return CROSS_ENTROPY(outputs, targets) * (1 if len(calls) <= 50 else 2)

    with pytest.raises(ValueError, match="calls, which the loss reads, changes from call to call"):
        NetworkProblem(Keepless().double(), *data(), loss)


class CountsInside(nn.Module):
    """A loss whose part counts, in Python or in a buffer."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.part = nn.Module()
        self.part.calls, self.kind = 0, kind
        self.part.register_buffer("seen", torch.zeros(()))

    def forward(self, outputs, targets):
        losses = CROSS_ENTROPY(outputs, targets)
        if self.kind == "buffer":
            self.part.seen = self.part.seen + 1
            return losses * torch.where(self.part.seen <= 50, 1, 2)
        self.part.calls += 1
        return losses * (1 if self.part.calls <= 50 else 2)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("python", r"attribute calls of the loss\.part changes from call to call"),
        ("buffer", r"buffer part\.seen of the loss changes from call to call"),
    ],
)
def test_a_part_of_a_loss_that_counts_is_refused(kind, message):
    with pytest.raises(ValueError, match=message):
        NetworkProblem(Keepless().double(), *data(), CountsInside(kind))


def test_helpers_of_installed_packages_may_keep_what_they_like(monkeypatch):
    class Asks(Linear):
        def forward(self, x):
            return self.last(x) * json.calls()

    def calls(counts=[0]):  # noqa: B006
        counts[0] += 1
        return 1

    calls.__module__ = "json"
    monkeypatch.setattr(json, "calls", calls, raising=False)
    NetworkProblem(Asks().double(), *data(), CROSS_ENTROPY)


class Keepless(Linear):
    """Keeps nothing."""

    def forward(self, x):
        return self.last(x)
