"""What depends on the data alone is computed once."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from localgd import NetworkProblem
from localgd.engine.invariants import hoist
from localgd.engine.program import record
from localgd.problem import Chunk
from modules import CROSS_ENTROPY, FACTORIES, problem_parts

X, DATA = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([4.0, 5.0, 6.0])


def both(function, limit_bytes=10**6):
    program = record(function, (X, DATA))
    prepare, body = hoist(program, limit_bytes)
    prepared = prepare(DATA)
    assert torch.equal(body(X, DATA, *prepared), program(X, DATA))
    return prepared


def test_only_what_the_body_needs_is_handed_over():
    (prepared,) = both(lambda x, data: x * (data.exp() + 1).sin())
    assert torch.equal(prepared, (DATA.exp() + 1).sin())


def test_nothing_is_hoisted_where_everything_varies():
    assert both(lambda x, data: (x * data).exp()) == ()


def test_what_is_too_large_stays_where_it_is():
    assert both(lambda x, data: x * data.exp(), limit_bytes=11) == ()
    assert len(both(lambda x, data: x * data.exp(), limit_bytes=12)) == 1


def test_a_view_of_the_data_takes_no_memory():
    assert len(both(lambda x, data: x * data[None], limit_bytes=0)) == 1


def test_what_the_body_writes_into_is_made_anew():
    def function(x, data):
        total = data.clone()
        total.add_(x)
        return total

    program = record(function, (X, DATA))
    prepare, body = hoist(program, 10**6)
    prepared = prepare(DATA)
    for _ in range(2):
        assert torch.equal(body(X, DATA, *prepared), X + DATA)


def test_constants_of_the_module_are_found_in_both_parts():
    constant = torch.tensor([7.0, 8.0, 9.0])
    (prepared,) = both(lambda x, data: x * constant + data * constant)
    assert torch.equal(prepared, DATA * constant)


@settings(max_examples=20)
@given(st.sampled_from(sorted(FACTORIES)), st.integers(0, 2**20))
def test_a_networks_step_stays_the_same(kind, seed):
    problem = NetworkProblem(*problem_parts(kind, [3, 3], seed), CROSS_ENTROPY)
    chunk: Chunk = problem.chunks()[0]
    x = problem.initial(torch.Generator()).repeat(2, 1)
    program = record(chunk.evaluate, (x, *chunk.tensors))
    prepare, body = hoist(program, 10**6)
    prepared = prepare(*chunk.tensors)
    assert prepared  # the labels' part of cross-entropy
    for _ in range(2):
        for ours, theirs in zip(
            body(x, *chunk.tensors, *prepared), program(x, *chunk.tensors), strict=True
        ):
            assert torch.equal(ours, theirs)
