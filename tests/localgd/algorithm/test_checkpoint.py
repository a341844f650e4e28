"""A run that is stopped at any moment and taken up again ends as if it had not been stopped."""

import io
import os
import random
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from localgd import (
    Checkpoint,
    DivergenceError,
    FixedSteps,
    LeastSquares,
    NetworkProblem,
    Plan,
    PowerLoss,
    Rule,
    UntilStationary,
    run,
)
from localgd.algorithm import checkpoint_file
from localgd.algorithm.checkpoint import Keeper
from localgd.files import write_atomically
from modules import CROSS_ENTROPY, problem_parts

#: Seconds, far more than is needed, for a machine that does other things.
PATIENCE = 600
COLUMNS = ("round", "loss", "grad_norm_sq", "local_steps", "bytes", "x")


def assert_identical(one, two) -> None:
    for name in COLUMNS:
        assert getattr(one, name).tobytes() == getattr(two, name).tobytes(), name
    assert one.reason == two.reason


def network(kind: str = "normalised", seed: int = 0) -> NetworkProblem:
    return NetworkProblem(*problem_parts(kind, [3, 4, 3], seed), CROSS_ENTROPY)


CALL = {"local_steps": [3, 5, 4], "step_size": 0.1, "rounds": 6, "device": "cpu"}


class Stop(Exception):  # noqa: N818 - it is no error
    """Takes the place of a kill."""


class StopAt(FixedSteps):
    """Fixed steps, and an end in the middle of the run, unless there is a word in `calm`."""

    calm: ClassVar[list[str]] = []

    def __init__(self, T, at, error) -> None:
        super().__init__(T)
        self._at, self._error = at, error

    def plan(self, info, num_nodes):
        if info.round == self._at and not self.calm:
            raise self._error
        return super().plan(info, num_nodes)


def stopped_after(monkeypatch, path: Path, writings: int, call: dict) -> None:
    """Start a run that dies right after its checkpoint has been written so many times."""
    write = Keeper.write
    left = [writings]

    def write_and_die(self):
        write(self)
        left[0] -= 1
        if not left[0]:
            raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "write", write_and_die)
        with pytest.raises(Stop):
            run(network(), checkpoint=Checkpoint(path, every_seconds=0), **call)


@pytest.mark.parametrize("rule", [[3, 5, 4], UntilStationary(0.05, 30)], ids=repr)
def test_a_run_can_be_stopped_anywhere(monkeypatch, tmp_path, rule):
    call = CALL | {"local_steps": rule, "rounds": 3}
    whole = run(network(), **call)
    for writings in range(1, 30, 3):
        path = tmp_path / f"{writings}.pt"
        stopped_after(monkeypatch, path, writings, call)
        assert_identical(run(network(), checkpoint=path, **call), whole)


def test_the_automatic_engine_goes_on_as_it_was(monkeypatch, tmp_path):
    from localgd.engine import evaluator

    bound = evaluator.Evaluator("auto", network(), torch.device("cpu")).bind(network().chunks()[0])
    monkeypatch.setattr(evaluator, "COMPILE_AFTER_FLOPS", 25 * bound.flops)
    monkeypatch.setattr(evaluator, "has_compiler", lambda: True)
    compiled = []
    monkeypatch.setattr(evaluator, "_compiled", lambda p, _: compiled.append(1) or p)
    call = CALL | {"local_steps": UntilStationary(1e-9, 4)}
    whole = run(network(), **call)
    programs = len(compiled)
    stopped_after(monkeypatch, tmp_path / "a.pt", 45, call)
    compiled.clear()
    assert_identical(run(network(), checkpoint=tmp_path / "a.pt", **call), whole)
    assert len(compiled) == programs  # the resumed run was compiled from its start


#: A run of some ninety steps, and what happens to it at one of them.
STRUCK = """
import itertools, signal, sys, time
sys.path.insert(0, {support!r})
from localgd import Checkpoint, UntilStationary, run
import localgd.algorithm.local_steps
from test_parts import problem

take, steps = localgd.algorithm.local_steps.descend, itertools.count(1)
def slow(*arguments):
    if next(steps) == {step}:
        {happens}
    time.sleep(0.002)
    return take(*arguments)
localgd.algorithm.local_steps.descend = slow
trace = run(problem(), local_steps=UntilStationary(0.02, 60), step_size=0.2, rounds=4, device="cpu",
            checkpoint=Checkpoint({path!r}, every_seconds=0.001))
trace.save({trace!r})
"""
PARTS = """
from localgd import NetworkProblem
from modules import CROSS_ENTROPY, problem_parts

def problem():
    return NetworkProblem(*problem_parts("normalised", [3, 4, 3], 0), CROSS_ENTROPY)
"""


def start(tmp_path: Path, name: str, step: int = 0, happens: str = "pass") -> subprocess.Popen:
    (tmp_path / "test_parts.py").write_text(PARTS)
    code = STRUCK.format(
        support=str(Path(__file__).parents[2] / "support"),
        path=str(tmp_path / f"{name}.pt"),
        trace=str(tmp_path / f"{name}.npz"),
        step=step,
        happens=happens,
    )
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_killed_again_and_again_it_ends_bit_for_bit_the_same(tmp_path):
    from localgd import Trace

    with start(tmp_path, "whole") as whole:
        _, said = whole.communicate(timeout=PATIENCE)
    assert whole.returncode == 0, said
    moments = random.Random(0)
    for _ in range(4):
        # The system's own timer: the process has no say, and takes two steps more at the most.
        alarm = f"signal.setitimer(signal.ITIMER_REAL, {moments.uniform(1e-6, 0.004)})"
        with start(tmp_path, "killed", moments.randint(1, 12), alarm) as victim:
            _, said = victim.communicate(timeout=PATIENCE)
        assert victim.returncode == -signal.SIGALRM, said
    with start(tmp_path, "killed") as last:
        _, said = last.communicate(timeout=PATIENCE)
    assert last.returncode == 0, said
    assert_identical(Trace.load(tmp_path / "killed.npz"), Trace.load(tmp_path / "whole.npz"))


def test_an_interrupt_keeps_what_there_is_and_says_how_to_go_on(tmp_path, capsys, monkeypatch):
    path = tmp_path / "run.pt"
    whole = run(network(), **CALL)
    call = CALL | {"local_steps": StopAt([3, 5, 4], 4, KeyboardInterrupt)}
    trace = run(network(), checkpoint=path, **call)
    assert (trace.reason, len(trace)) == ("interrupted", 4)
    said = capsys.readouterr().err
    assert "Interrupted after round 3" in said
    assert str(path) in said
    run(network(), **call)
    assert "With checkpoint=PATH" in capsys.readouterr().err
    with pytest.raises(ValueError, match="local_steps is StopAt"):
        run(network(), checkpoint=path, **CALL)  # a rule of another class is another run
    with monkeypatch.context() as patch:
        patch.setattr(StopAt, "calm", ["go on"])
        assert_identical(run(network(), checkpoint=path, **call), whole)


def test_a_signal_ends_a_run_with_its_trace(tmp_path):
    wait = 'print("there", flush=True); time.sleep(3600)'
    with start(tmp_path, "signalled", 60, wait) as victim:
        assert victim.stdout.readline() == "there\n"
        victim.send_signal(signal.SIGINT)
        _, said = victim.communicate(timeout=PATIENCE)
    assert victim.returncode == 0, said
    assert "Interrupted after round" in said
    assert (tmp_path / "signalled.npz").exists()


def test_a_finished_run_is_not_done_again_and_can_be_prolonged(tmp_path):
    path = tmp_path / "run.pt"
    short = run(network(), checkpoint=path, **CALL)
    calls = []
    again = run(network(), checkpoint=path, **CALL, stop=lambda trace: calls.append(1) and False)
    assert_identical(again, short)
    assert len(calls) == 1  # at the end: no round was done
    longer = run(network(), checkpoint=path, **CALL | {"rounds": 9})
    assert_identical(longer, run(network(), **CALL | {"rounds": 9}))
    with pytest.raises(ValueError, match="rounds=2 asks for fewer rounds than the 9"):
        run(network(), checkpoint=path, **CALL | {"rounds": 2})


def test_a_frozen_run_stays_frozen(tmp_path):
    call = {"local_steps": UntilStationary(1e-2), "step_size": 0.25, "rounds": 50}
    problem = LeastSquares([[[1.0]]], [[0.0]])
    one, two = (run(problem, [1.0], checkpoint=tmp_path / "a.pt", **call) for _ in range(2))
    assert one.reason == "frozen"
    assert_identical(one, two)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step_size": 0.2}, r"step_size is \[0.1, 0.1, 0.1\] there and \[0.2, 0.2, 0.2\] here"),
        (
            {"local_steps": 7},
            r"local_steps is FixedSteps\(\[3, 5, 4\]\) .* there and FixedSteps\(7\)",
        ),
        ({"seed": 3}, "seed is 0 there and 3 here"),
        ({"engine": "eager"}, "engine is auto there and eager here"),
        ({"chunk_size": 1}, r"chunks is \[.*\] there and \[1, 1, 1\] here"),
        ({"dtype": torch.float32}, "dtype is float64 there and float32 here"),
    ],
)
def test_resuming_with_other_settings_names_the_difference(tmp_path, change, message):
    path = tmp_path / "run.pt"
    run(network(), checkpoint=path, **CALL)
    content = path.read_bytes()
    with pytest.raises(ValueError, match=f"the checkpoint of another run: .*{message}"):
        run(network(), checkpoint=path, **CALL | change)
    assert path.read_bytes() == content


def test_resuming_with_other_data_or_another_start_names_it(tmp_path):
    path = tmp_path / "run.pt"
    run(network(), checkpoint=path, **CALL)
    module, inputs, targets = problem_parts("normalised", [3, 4, 3], 0)
    inputs[1][0, 0, 0, 0] += 1e-12
    with pytest.raises(ValueError, match="data inputs 1 is"):
        run(NetworkProblem(module, inputs, targets, CROSS_ENTROPY), checkpoint=path, **CALL)
    x0 = network().initial(torch.Generator())
    x0[0] += 1e-12
    with pytest.raises(ValueError, match="x0 is"):
        run(network(), x0, checkpoint=path, **CALL)
    with pytest.raises(ValueError, match="problem is NetworkProblem"):
        run(network("mlp"), checkpoint=path, **CALL)


@pytest.mark.parametrize(
    "content", [b"", b"not a checkpoint", b"hello world", b".", b"\x80", b"PK\x03\x04 half a file"]
)
def test_what_is_no_checkpoint_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "run.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"run\.pt is not a checkpoint of a run"):
        run(network(), checkpoint=path, **CALL)
    assert path.read_bytes() == content


class Evil:
    """What a pickle may do to whoever loads it."""

    def __reduce__(self):
        return os.mkdir, ("was-here",)


def test_a_checkpoint_cannot_run_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    buffer = io.BytesIO()
    torch.save({"rows": Evil()}, buffer)
    (tmp_path / "run.pt").write_bytes(checkpoint_file.sealed(buffer.getvalue()))
    with pytest.raises(ValueError, match="is not a checkpoint of a run"):
        run(network(), checkpoint=tmp_path / "run.pt", **CALL)
    assert not (tmp_path / "was-here").exists()


def test_another_saved_thing_is_not_a_checkpoint(tmp_path):
    buffer = io.BytesIO()
    torch.save({"x": torch.zeros(3)}, buffer)
    for content in (buffer.getvalue(), checkpoint_file.sealed(buffer.getvalue())):
        (tmp_path / "run.pt").write_bytes(content)
        with pytest.raises(ValueError, match="is not a checkpoint of a run"):
            run(network(), checkpoint=tmp_path / "run.pt", **CALL)


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> bytes:
    """The file of a run that was stopped."""
    path = tmp_path_factory.mktemp("kept") / "run.pt"
    problem = LeastSquares([np.eye(3)] * 2, [np.ones(3)] * 2)
    run(problem, local_steps=1, step_size=0.1, rounds=5, checkpoint=path)
    return path.read_bytes()


def test_no_flipped_bit_is_accepted(tmp_path, kept):
    path, draws = tmp_path / "run.pt", random.Random(0)
    places = {*range(8 * 120), *(draws.randrange(8 * len(kept)) for _ in range(2000))}
    for place in places:
        content = bytearray(kept)
        content[place // 8] ^= 1 << place % 8
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"run\.pt is (damaged|not a checkpoint)"):
            checkpoint_file.load(path)


def test_no_truncated_or_lengthened_file_is_accepted(tmp_path, kept):
    path = tmp_path / "run.pt"
    lengths = {0, 1, 20, 21, 85, 86, 87, len(kept) // 2, *range(len(kept) - 60, len(kept))}
    for content in (*(kept[:n] for n in lengths), kept + b"\0", kept + kept):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"run\.pt is (damaged|not a checkpoint)"):
            checkpoint_file.load(path)
    path.write_bytes(kept)
    assert len(checkpoint_file.load(path)["rows"]) == 6


def count_writings(monkeypatch, settings: Checkpoint) -> int:
    writings = []
    write = Keeper._replace
    monkeypatch.setattr(Keeper, "_replace", lambda self: (writings.append(1), write(self)))
    run(network(), checkpoint=settings, **CALL)
    return len(writings)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"every_seconds": 1e9}, 1 + 1),  # at the start and at the end
        ({"every_seconds": 1e9, "every_rounds": 2}, 1 + 1 + 3),  # rows 2, 4 and 6 of 7
        ({"every_seconds": 1e9, "every_rounds": 1}, 1 + 1 + 6),
    ],
)
def test_it_is_written_as_often_as_asked_for(monkeypatch, tmp_path, settings, expected):
    assert count_writings(monkeypatch, Checkpoint(tmp_path / "a.pt", **settings)) == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"every_seconds": -1}, "every_seconds=-1 must be ≥ 0"),
        ({"every_seconds": float("nan")}, "every_seconds=nan must be ≥ 0"),
        ({"every_rounds": 0}, "every_rounds=0 must be ≥ 1"),
    ],
)
def test_intervals_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        Checkpoint("a.pt", **settings)


def test_a_run_that_diverges_keeps_its_last_checkpoint(tmp_path):
    problem = PowerLoss([[[1.0]], [[1.0]]], [[0.0], [0.0]])
    call = {"local_steps": [1, 3], "step_size": [1e-3, 1.0], "rounds": 50}
    with pytest.raises(DivergenceError):
        run(problem, [3.0], checkpoint=Checkpoint(tmp_path / "a.pt", every_seconds=0), **call)
    assert (tmp_path / "a.pt").exists()
    with pytest.raises(DivergenceError, match="diverged in round 2 at node 1"):
        run(problem, [3.0], checkpoint=tmp_path / "a.pt", **call)


def test_the_provenance_is_that_of_the_start(tmp_path):
    first = run(network(), checkpoint=tmp_path / "a.pt", **CALL)
    longer = run(network(), checkpoint=tmp_path / "a.pt", **CALL | {"rounds": 8})
    assert longer.provenance["started"] == first.provenance["started"]
    assert longer.provenance["settings"]["rounds"] == 8
    np.testing.assert_array_equal(longer.seconds[:7], first.seconds)


class Activated(torch.nn.Module):
    """A module whose activation does not show in its name."""

    def __init__(self, activation) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner, self.outer = torch.nn.Linear(6, 4).double(), torch.nn.Linear(4, 3).double()
        self.outer.bias.requires_grad_(False)
        self.activation = activation

    def forward(self, x):
        return self.outer(self.activation(self.inner(x)))


def other_problem(kind: str) -> NetworkProblem:
    _, inputs, targets = problem_parts("mlp", [3, 4, 3], 0)
    module, loss = Activated(torch.relu if kind == "activation" else torch.tanh), CROSS_ENTROPY
    if kind == "frozen":
        with torch.no_grad():
            module.outer.bias += 1e-9
    if kind == "loss":
        loss = torch.nn.CrossEntropyLoss(torch.tensor([1.0, 1.0, 2.0]).double(), reduction="none")
    if kind == "lambda":
        loss = lambda o, t: 2.0 * CROSS_ENTROPY(o, t)  # noqa: E731
    return NetworkProblem(module, inputs, targets, loss)


@pytest.mark.parametrize("kind", ["activation", "frozen", "loss", "lambda"])
def test_resuming_with_another_function_is_refused(tmp_path, kind):
    path = tmp_path / "run.pt"
    run(other_problem("none"), checkpoint=path, **CALL)
    run(other_problem("none"), checkpoint=path, **CALL)  # the same, made anew
    with pytest.raises(ValueError, match="program is"):
        run(other_problem(kind), checkpoint=path, **CALL)


FRESH = """
import functools, sys
sys.path.insert(0, {support!r})
import torch
from localgd import NetworkProblem, run
from modules import CROSS_ENTROPY, problem_parts

class Weighted:
    def __init__(self, weight):
        self.weight = weight
    def __call__(self, scale, outputs, targets):
        return scale * self.weight * CROSS_ENTROPY(outputs, targets)

loss = functools.partial(Weighted(0.5), 2.0)
problem = NetworkProblem(*problem_parts("mlp", [3, 4, 3], 0), loss)
trace = run(problem, local_steps=2, step_size=0.1, rounds={rounds}, device="cpu",
            checkpoint={path!r}, stop=lambda trace: False)
print(len(trace), trace.provenance)
"""


def test_a_run_goes_on_in_a_new_process_whatever_its_loss_is(tmp_path):
    said = []
    for rounds in (2, 3):
        code = FRESH.format(
            support=str(Path(__file__).parents[2] / "support"),
            path=str(tmp_path / "run.pt"),
            rounds=rounds,
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert [text.split()[0] for text in said] == ["3", "4"]
    assert " at 0x" not in said[0]


def test_a_path_that_cannot_be_written_is_found_out_before_the_first_step(tmp_path):
    (tmp_path / "file").write_text("")
    steps = []

    class Counted(FixedSteps):
        def plan(self, info, num_nodes):
            steps.append(info.round)
            return super().plan(info, num_nodes)

    with pytest.raises(OSError, match="file"):
        run(
            network(), checkpoint=tmp_path / "file" / "run.pt", **CALL | {"local_steps": Counted(2)}
        )
    assert not steps


def test_a_path_of_something_else_than_a_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match=f"checkpoint={tmp_path} is there and no file"):
        run(network(), checkpoint=tmp_path, **CALL)


def test_a_disk_that_fails_in_between_costs_no_run(monkeypatch, tmp_path):
    from localgd.algorithm import checkpoint

    whole, written = run(network(), **CALL), []

    def fail_once(path, content):
        written.append(path)
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        write_atomically(path, content)

    monkeypatch.setattr(checkpoint, "write_atomically", fail_once)
    settings = Checkpoint(tmp_path / "a.pt", every_seconds=1e9, every_rounds=1)
    with pytest.warns(RuntimeWarning, match="cannot be written .*No space left"):
        trace = run(network(), checkpoint=settings, **CALL)
    assert_identical(trace, whole)
    assert len(written) > 4  # it was tried again


def test_of_two_runs_on_one_path_the_second_keeps_it(tmp_path):
    path, others = tmp_path / "a.pt", []

    class Interloper(FixedSteps):
        def plan(self, info, num_nodes):
            if info.round == 3 and not others:
                others.append(None)
                others[0] = run(network(), checkpoint=path, **CALL | {"local_steps": rule})
            return super().plan(info, num_nodes)

    rule = Interloper([3, 5, 4])
    settings = Checkpoint(path, every_seconds=1e9, every_rounds=1)
    with pytest.warns(RuntimeWarning, match="has been written by another run"):
        first = run(network(), checkpoint=settings, **CALL | {"local_steps": rule})
    assert_identical(first, others[0])
    assert len(checkpoint_file.load(path)["rows"]) == 7


def test_numbers_of_any_kind_are_kept(tmp_path):
    class Known(LeastSquares):
        def distance(self, x):
            return np.float64(super().distance(x))

        def provenance(self):
            return dict(super().provenance()) | {"scale": np.float32(2), "by": torch.tensor(3.0)}

    problem = Known([[[1.0, 2.0]], [[0.0, 1.0]]], [[1.0], [2.0]])
    call = {"local_steps": 2, "step_size": 0.1, "stop": np.float32(1e-30), "seed": np.int64(3)}
    short = run(problem, rounds=3, checkpoint=tmp_path / "a.pt", **call)
    longer = run(problem, rounds=5, checkpoint=tmp_path / "a.pt", **call)
    np.testing.assert_array_equal(longer.dist[:4], short.dist)
    assert longer.provenance["problem"]["scale"] == 2.0
    longer.save(tmp_path / "a.npz")


def test_what_was_measured_is_kept(tmp_path):
    def measure(x):
        return {"size": x.norm()}

    whole = run(network(), measure=measure, **CALL)
    run(network(), measure=measure, checkpoint=tmp_path / "a.pt", **CALL | {"rounds": 3})
    trace = run(network(), measure=measure, checkpoint=tmp_path / "a.pt", **CALL)
    np.testing.assert_array_equal(trace.measures["size"], whole.measures["size"])
    with pytest.raises(ValueError, match=r"has measured \['size'\]: going on takes the same"):
        run(network(), checkpoint=tmp_path / "a.pt", **CALL | {"rounds": 9})
    with pytest.raises(ValueError, match="measure returned"):
        run(
            network(),
            measure=lambda x: {"other": 0.0},
            checkpoint=tmp_path / "a.pt",
            **CALL | {"rounds": 9},
        )


class Growing(Rule):
    """One step more in every round, counted by the rule itself."""

    def __init__(self) -> None:
        self.steps = 0
        self.ladder = {(1, 2): np.arange(2000)}  # of any kind: it is described, not written

    def plan(self, info, num_nodes):
        self.steps += 1
        return Plan(np.full(num_nodes, self.steps))


class Remembering(Growing):
    """The same, saying what it has to remember."""

    def state_dict(self):
        return {"steps": self.steps}

    def load_state_dict(self, state):
        self.steps = state["steps"]


class Cycling(Rule):
    """Draws its steps from an iterator, which has no attributes."""

    def __init__(self) -> None:
        self.draws = np.random.default_rng(0)

    def plan(self, info, num_nodes):
        return Plan(self.draws.integers(1, 5, num_nodes))


class HalfWay(Growing):
    """Says what it has to remember and not how to go on with it."""

    def state_dict(self):
        return {"steps": self.steps}


class Forgetful(Growing):
    """Has a state that a checkpoint cannot hold."""

    def state_dict(self):
        return {"self": self}

    def load_state_dict(self, state):
        raise AssertionError("it cannot have been written")


def test_a_rule_that_remembers_goes_on_as_it_was(monkeypatch, tmp_path):
    call = CALL | {"local_steps": Remembering()}
    whole = run(network(), **call)
    for writings in range(2, 24, 4):
        path = tmp_path / f"{writings}.pt"
        stopped_after(monkeypatch, path, writings, CALL | {"local_steps": Remembering()})
        assert_identical(
            run(network(), checkpoint=path, **CALL | {"local_steps": Remembering()}), whole
        )
    with pytest.raises(TypeError, match=r"Growing changes its attributes .* state_dict"):
        run(network(), checkpoint=tmp_path / "a.pt", **CALL | {"local_steps": Growing()})
    with pytest.raises(TypeError, match="Cycling changes its attributes"):
        run(network(), checkpoint=tmp_path / "c.pt", **CALL | {"local_steps": Cycling()})
    with pytest.raises(TypeError, match="HalfWay overrides one of"):
        run(network(), checkpoint=tmp_path / "d.pt", **CALL | {"local_steps": HalfWay()})
    with pytest.raises(TypeError, match="the state_dict of Forgetful holds what a checkpoint"):
        run(network(), checkpoint=tmp_path / "b.pt", **CALL | {"local_steps": Forgetful()})
    run(network(), **CALL | {"local_steps": Growing()})  # without a checkpoint it may


def test_two_rules_that_differ_in_a_large_array_are_not_taken_for_the_same(tmp_path):
    class Listed(FixedSteps):
        def __init__(self, entry):
            super().__init__(3)
            self.table = np.zeros(5000)
            self.table[2500] = entry

    run(network(), checkpoint=tmp_path / "a.pt", **CALL | {"local_steps": Listed(0.0)})
    with pytest.raises(ValueError, match="local_steps is"):
        run(network(), checkpoint=tmp_path / "a.pt", **CALL | {"local_steps": Listed(1.0)})


def test_an_error_of_the_callers_own_keeps_what_was_computed(tmp_path):
    def stop(trace):
        if len(trace) == 4:
            raise ZeroDivisionError
        return False

    with pytest.raises(ZeroDivisionError):
        run(
            network(),
            checkpoint=Checkpoint(tmp_path / "a.pt", every_seconds=1e9),
            stop=stop,
            **CALL,
        )
    assert len(checkpoint_file.load(tmp_path / "a.pt")["rows"]) == 4
    assert_identical(run(network(), checkpoint=tmp_path / "a.pt", **CALL), run(network(), **CALL))


def test_an_interrupt_of_the_last_writing_loses_nothing(monkeypatch, tmp_path, capsys):
    from localgd.algorithm import checkpoint

    written = []

    def interrupted_once(path, content):
        written.append(path)
        if len(written) == 2:
            raise KeyboardInterrupt
        write_atomically(path, content)

    monkeypatch.setattr(checkpoint, "write_atomically", interrupted_once)
    settings = Checkpoint(tmp_path / "a.pt", every_seconds=1e9)
    trace = run(network(), checkpoint=settings, **CALL)
    assert (trace.reason, len(trace), len(written)) == ("interrupted", 7, 3)
    assert "goes on from there" in capsys.readouterr().err
    assert list(tmp_path.glob(".*.tmp")) == []


def test_an_interrupt_right_after_the_renaming_is_an_interrupt(monkeypatch, tmp_path, recwarn):
    from localgd import files

    replaced = []

    def interrupted_once(source, target):
        os.rename(source, target)
        replaced.append(target)
        if len(replaced) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "replace", interrupted_once)
    settings = Checkpoint(tmp_path / "a.pt", every_seconds=1e9, every_rounds=1)
    trace = run(network(), checkpoint=settings, **CALL)
    assert (trace.reason, len(replaced)) == ("interrupted", 4)  # the file is known as its own
    assert not recwarn
    assert_identical(run(network(), checkpoint=settings, **CALL), run(network(), **CALL))
