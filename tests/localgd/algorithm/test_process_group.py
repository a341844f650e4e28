"""Nodes in several processes: the same run as in one, its messages, its errors and its losses.

Processes cost seconds to start, so that each group carries out all that is asked of it, and the
tests read what its processes have left.  They talk over the loopback interface alone.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import group_cases
import group_worker
from group_cases import ALIKE, CASES, SPREAD, carry_out
from localgd import DivergenceError, Processes, run
from localgd.engine.evaluator import has_compiler

WORKER = Path(group_worker.__file__)
SUPPORT = str(WORKER.parent)
#: Far more than is needed, for a machine that does other things.
LIMIT = 600
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "GLOO_SOCKET_IFNAME": "lo" if sys.platform == "linux" else "lo0",
    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",  # a restart finds no addresses of the dead
}


def start(*command: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        env={**os.environ, **ENVIRONMENT},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def group_of(size: int, job: str, folder: Path) -> list["subprocess.Popen[str]"]:
    folder.mkdir()
    return [start(WORKER, job, folder, rank, size) for rank in range(size)]


def ended_well(processes: list["subprocess.Popen[str]"], *among: int) -> None:
    """Wait for the processes, or for those among them that live; the others are killed."""
    try:
        for number in among or range(len(processes)):
            output = processes[number].communicate(timeout=LIMIT)[0]
            assert processes[number].returncode == 0, output
    finally:
        for process in processes:
            process.kill()
            if not process.stdout.closed:
                process.communicate()


@pytest.fixture(scope="module")
def groups(tmp_path_factory):
    """The folders of groups of 1 to 4 processes; a larger group takes up a smaller one's run."""
    folder = tmp_path_factory.mktemp("groups")
    for size in SPREAD:
        ended_well(group_of(size, "equality", folder / str(size)))
    return {size: folder / str(size) for size in SPREAD}


@pytest.fixture(scope="module")
def alone():
    """The same runs in one process, each carried out once."""
    known = {}

    def trace(name):
        if name not in known:
            known[name] = carry_out((CASES | ALIKE)[name])
        return known[name]

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the processes of a group: the bits depend on it
    yield trace
    torch.set_num_threads(threads)


def said(folder: Path, name: str, rank: int):
    return json.loads((folder / f"{name} {rank}.json").read_text(encoding="utf-8"))


def assert_same_course(trace, other) -> None:
    """All that does not depend on the clock, bit for bit."""
    for name in ("round", "loss", "grad_norm_sq", "local_steps", "met", "undone", "bytes", "x"):
        np.testing.assert_array_equal(getattr(trace, name), getattr(other, name), name)
    assert trace.reason == other.reason


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("size", SPREAD)
def test_several_processes_end_where_one_does_to_rounding(groups, alone, size, name):
    one = alone(name)
    number = list(CASES).index(name)
    traces = [group_worker.load(groups[size], f"sum {number} {rank}") for rank in range(size)]
    for trace in traces:
        assert_same_course(trace, traces[0])
    many = traces[0]
    assert (many.reason, len(many)) == (one.reason, len(one))
    for column in ("x", "loss", "grad_norm_sq"):
        got, expected = getattr(many, column), getattr(one, column)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(got, expected, rtol=1e-7, atol=1e-9 * scale, err_msg=column)
    np.testing.assert_array_equal(many.local_steps, one.local_steps)
    for column in ("met", "undone"):
        np.testing.assert_array_equal(getattr(many, column), getattr(one, column), column)
    for measure, values in one.measures.items():
        np.testing.assert_allclose(many.measures[measure], values, rtol=1e-9)


@pytest.mark.parametrize("name", ALIKE)
@pytest.mark.parametrize("size", [size for size in SPREAD if group_cases.NODES % size == 0])
def test_in_the_order_of_the_nodes_all_bits_are_those_of_one_process(groups, alone, size, name):
    one, number = alone(name), list(ALIKE).index(name)
    for rank in range(size):
        many = group_worker.load(groups[size], f"ordered {number} {rank}")
        for column in ("x", "loss", "grad_norm_sq", "local_steps", "met"):
            np.testing.assert_array_equal(getattr(many, column), getattr(one, column), column)


@pytest.mark.skipif(not has_compiler(), reason="there is no C++ compiler")
def test_compiled_steps_of_two_processes_end_where_those_of_one_do(groups, alone):
    one = alone("network, ragged")
    for rank in (0, 1):
        many = group_worker.load(groups[2], f"compiled {rank}")
        assert many.provenance["settings"]["engine"] == "compiled"
        for column in ("x", "loss", "grad_norm_sq"):
            np.testing.assert_allclose(getattr(many, column), getattr(one, column), rtol=1e-7)


def test_steps_and_averages_come_in_order(groups):
    # f_1 = (x − 1)², f_2 = (x − 3)², η = 1/4: a step halves the distance to 1, or to 3.
    # A point is noted where its gradient is taken; the end of a round has no gradient of its own.
    # 17 → 9 → 5 → 3 → (2);  17 → 10 → 6.5 → 4.75 → (3.875);  average 2.9375, after 4 steps
    # 2.9375 → …, 1 + 1.9375/16 and 3 − 0.0625/16;  average 2.05859375, after 8
    # 2.05859375 → …, 1 + 1.05859375/16 and 3 − 0.94140625/16;  average 2.003662109375, after 12
    averages = [17.0, 2.9375, 2.05859375, 2.003662109375]
    for rank, centre in enumerate([1.0, 3.0]):
        expected = [[averages[0]], averages[0]]
        for n in range(3):
            on_the_way = [centre + (averages[n] - centre) / 2**t for t in (1, 2, 3)]
            expected += [[*on_the_way, averages[n + 1]], averages[n + 1]]
        assert said(groups[2], "steps", rank) == expected
    assert expected[2] == [10.0, 6.5, 4.75, 2.9375]


@pytest.mark.parametrize("size", SPREAD)
def test_the_bytes_of_a_round_are_those_of_its_messages(groups, size):
    d, m, number = 12, group_cases.NODES, 8
    # Beside the ends: steps (two numbers), met, moved, interrupted, seconds; beside the gradients:
    # loss, norm, seconds.
    ends, views = d + 6 * m, d + 3 * m
    sent = said(groups[size], "messages", 0)
    both = 2 * size * number  # every process puts a message in and takes a sum out
    assert sent["sum"] == [both * views, *[both * (ends + views)] * 3]
    assert sent["loss"] == [both * 3 * m, *[both * (ends + 3 * m)] * 3]
    assert sent["safeguard"] == sent["sum"]  # which compares losses that are sent anyway
    most = max(SPREAD[size])
    gathered = size * (1 + size) * number * most
    assert sent["ordered"] == [gathered * (d + 3), *[gathered * (2 * d + 9)] * 3]


@pytest.mark.parametrize("size", SPREAD)
def test_only_the_loss_is_recorded_where_that_is_asked_for(groups, size):
    one = run(group_cases.linear(group_cases.WHOLE), local_steps=2, step_size=0.02, rounds=3)
    many = group_worker.load(groups[size], "loss 0")
    np.testing.assert_allclose(many.loss, one.loss, rtol=1e-10)
    np.testing.assert_allclose(many.x, one.x, rtol=1e-10)
    assert np.isnan(many.grad_norm_sq).all()


@pytest.mark.parametrize("size", SPREAD)
def test_the_seconds_of_a_round_are_split(groups, size):
    number = list(CASES).index("stop when told")  # which takes a message between rounds
    many = group_worker.load(groups[size], f"sum {number} 0")
    spent = many.seconds_waiting + many.seconds_communicating
    assert (many.seconds_waiting >= 0).all()
    assert (many.seconds_communicating > 0).all()
    assert (spent <= many.seconds).all()
    assert many.dist is None
    assert many.provenance["processes"] == str(size)


def test_a_checkpoint_is_taken_up_by_another_number_of_processes(groups):
    one = carry_out(group_worker.RESUMED)
    begun = group_worker.load(groups[1], "kept 0")
    assert (len(begun), begun.reason) == (4, "rounds")
    for size in (2, 3, 4):
        for rank in range(size):
            many = group_worker.load(groups[size], f"kept {rank}")
            np.testing.assert_array_equal(many.loss[:4], begun.loss)
            np.testing.assert_allclose(many.loss, one.loss, rtol=1e-7)
            np.testing.assert_allclose(many.x, one.x, rtol=1e-7)


DIFFERENCES = {
    "no nodes": ("TypeError", "problem=None must be a Problem"),
    "another module": ("ValueError", "rank 1 of the group differs:", "module is Linear"),
    "another type": ("ValueError", "dtype is float32 there and float64 on rank 0"),
    "another T": ("ValueError", "local_steps is FixedSteps(3) there and FixedSteps(2) on rank 0"),
    "another server": ("ValueError", "server is Relaxed(omega=1.5)"),
    "another start": ("ValueError", "rank 1 of the group differs: x0 is"),
    "another number of rounds": ("ValueError", "rounds is 3 there and 2 on rank 0"),
    "a step size too large": ("ValueError", "step_size=50 is not below 2/L"),
    "another reduction": ("ValueError", "reduction is ordered there and sum on rank 0"),
    "a tolerance that nobody knows": ("ValueError", "record='loss' leaves out"),
    "one checkpoint": ("ValueError", "checkpoint is given there and none on rank 0"),
    "a damaged checkpoint": ("ValueError", "is not a checkpoint of a run"),
    "a folder that is none": ("Error", "damaged.pt"),
    "no group": ("TypeError", "group=7 must be None, 'world', a process group"),
    "other data": ("ValueError", "the checkpoint is of other data: its loss is"),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_bad_input_is_an_error_of_every_process(groups, name):
    for rank in (0, 1):
        error = said(groups[2], "errors", rank)[name]
        for words in DIFFERENCES[name]:
            assert words in error, error
    if name in ("no nodes", "a step size too large"):  # on the other one, with the rank
        other = said(groups[2], "errors", 0)[name]
        assert "rank 1 of the group cannot run: " in other


def test_divergence_is_seen_by_every_process_and_blamed_on_one_node(groups):
    first, second = (said(groups[2], "errors", rank)["divergence"] for rank in (0, 1))
    with pytest.raises(DivergenceError) as caught:
        run(
            group_worker.without_limits(group_cases.WHOLE),
            local_steps=40,
            step_size=[0.02] * 4 + [1e9] * 2,
            rounds=30,
        )
    assert first == second == [str(caught.value), caught.value.node, len(caught.value.trace)]


def test_an_interrupt_of_one_process_ends_all_and_loses_no_round(groups):
    whole = group_worker.load(groups[2], f"sum {list(CASES).index('network, ragged')} 0")
    for rank in (0, 1):
        cut = group_worker.load(groups[2], f"interrupted {rank}")
        assert (cut.reason, len(cut)) == ("interrupted", 4)
        np.testing.assert_array_equal(cut.loss, whole.loss[:4])
        assert_same_course(group_worker.load(groups[2], f"taken up {rank}"), whole)
        assert said(groups[2], "handler", rank) is True


def test_the_rows_of_a_mesh_run_side_by_side(groups):
    for rank in range(4):
        one = carry_out(CASES["least squares, closed"], local_steps=7 + rank // 2)
        many = group_worker.load(groups[4], f"mesh {rank}")
        np.testing.assert_allclose(many.x, one.x, rtol=1e-10)
        assert "a mesh of 2 dimensions" in said(groups[4], "mesh", rank)


def test_a_process_that_is_lost_ends_the_others_within_the_timeout(tmp_path):
    processes = group_of(4, "lost", tmp_path / "lost")
    ended_well(processes, 0, 2)
    gone, seconds = said(tmp_path / "lost", "lost", 0)
    assert gone.startswith("ProcessLostError: rank 0 of 2 has lost another process of the group")
    assert seconds < LIMIT
    hung, seconds = said(tmp_path / "lost", "lost", 2)
    assert hung.startswith("ProcessLostError: rank 0 of 2 has waited 4 s for the others")
    assert seconds >= 4


def test_a_run_killed_ten_times_and_restarted_ends_with_the_same_bits(tmp_path, groups):
    launch = ["--standalone", "--local-addr=127.0.0.1", "--nproc-per-node=2", "--max-restarts=10"]
    process = start("-m", "torch.distributed.run", *launch, WORKER, "killed", tmp_path)
    ended_well([process])
    assert len(list(tmp_path.glob("kill *"))) == 10
    for rank in (0, 1):
        undisturbed = group_worker.load(groups[2], f"undisturbed {rank}")
        assert len(undisturbed) == group_worker.MANY + 1
        assert_same_course(group_worker.load(tmp_path, f"killed {rank}"), undisturbed)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"reduction": "mean"}, "reduction='mean' must be one of sum, ordered"),
        ({"record": "all"}, "record='all' must be one of gradient, loss"),
        ({"timeout_seconds": 0.0}, "timeout_seconds=0.0 must be positive and finite"),
    ],
)
def test_bad_options_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        Processes(**options)


def test_the_world_needs_torchrun(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match="needs the processes that torchrun starts"):
        carry_out(CASES["no rounds"], group="world")


def test_one_process_imports_nothing_of_this():
    code = (
        "import sys; from localgd import LeastSquares, run; "
        "run(LeastSquares([[[1.0]]], [[1.0]]), local_steps=1, step_size=0.1, rounds=1); "
        "assert 'localgd.algorithm.process_group' not in sys.modules"
    )
    ended_well([start("-c", code)])
