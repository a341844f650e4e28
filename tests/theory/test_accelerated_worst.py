"""In the worst case momentum on the server, and one local step, beat the average at every T."""

import math

import pytest
import sympy as sp

from localgd import Anderson, Average, Extrapolated, Nesterov, Relaxed, Server, run
from localgd.theory import worst_case, worst_case_any_nodes

MOMENTUM = Nesterov(restart=False)


def floor(n: int) -> float:
    """What the average leaves in the worst case after n rounds at least, whatever T is."""
    return (2 * n) ** (2 * n) / (2 * n + 1) ** (2 * n + 1) / 2


@pytest.mark.claim("accelerated-worst", kind="symbolic")
@pytest.mark.mutation("exponent", "(n + 1) ** 2", "(n + 1)")
@pytest.mark.mutation("constant", "n = 21 + k", "n = 19 + k")
def test_from_round_21_on_the_guarantee_is_below_the_floor():
    # 2/(n + 1)² < 1/(2e(2n + 1)), and (1 + 1/2n)^2n < e
    k = sp.symbols("k", nonnegative=True)
    n = 21 + k
    gap = sp.Poly(sp.expand((n + 1) ** 2 - 4 * sp.E * (2 * n + 1)), k)
    assert all(sp.N(c) > 0 for c in gap.all_coeffs())
    assert all((1 + 1 / (2 * n)) ** (2 * n) < math.e for n in range(1, 200))


@pytest.mark.claim("accelerated-worst")
@pytest.mark.mutation("hypothesis", "server=MOMENTUM).value", "server=Average()).value")
@pytest.mark.parametrize("n", [14, 15, 17])
def test_from_round_14_on_the_computed_loss_is_below_the_floor(n):
    assert worst_case_any_nodes(n, 1, server=MOMENTUM).value < floor(n)


@pytest.mark.claim("accelerated-worst", kind="control")
def test_a_round_before_it_is_not():
    assert worst_case_any_nodes(13, 1, server=MOMENTUM).value > floor(13)


@pytest.mark.claim("accelerated-worst")
@pytest.mark.parametrize("n", [1, 3, 8, 12])
def test_the_mean_keeps_the_known_guarantee(n):
    """f(y_n) ≤ 2/(n + 1)² of Beck & Teboulle, L = d = 1, for the points x_n as well."""
    assert worst_case_any_nodes(n, 1, server=MOMENTUM).value <= 2 / (n + 1) ** 2


@pytest.mark.claim("accelerated-worst")
@pytest.mark.parametrize("server", [Average(), Relaxed(1.3), MOMENTUM, Nesterov(9.0)], ids=repr)
@pytest.mark.parametrize(("n", "T"), [(3, 1), (2, 2), (2, 3)])
def test_the_general_program_and_the_small_one_agree(server, n, T):
    small = worst_case_any_nodes(n, T, server=server).value
    assert worst_case(n, T, 2, server=server).value == pytest.approx(small, abs=1e-7)


@pytest.mark.claim("accelerated-worst")
@pytest.mark.parametrize("server", [Relaxed(1.3), MOMENTUM, Nesterov(9.0)], ids=repr)
@pytest.mark.parametrize(("n", "T"), [(3, 1), (2, 3)])
def test_runs_attain_the_worst_cases_of_their_servers(server, n, T):
    case = worst_case_any_nodes(n, T, server=server, margin=1e-8)
    call = {"local_steps": T, "step_size": 1.0, "rounds": n, "server": server}
    trace = run(case.problem(), case.start, **call)
    assert -1e-9 <= case.value - trace.loss[-1] <= 1e-6


@pytest.mark.claim("accelerated-worst", kind="control")
def test_near_twice_the_average_more_local_steps_are_not_safe():
    by_rounds = {T: [worst_case_any_nodes(n, T, server=Relaxed(1.9)).value for n in (1, 2, 3)]
                 for T in (1, 3)}  # fmt: skip
    assert by_rounds[1] == sorted(by_rounds[1], reverse=True)
    assert by_rounds[3] == sorted(by_rounds[3])


@pytest.mark.parametrize(
    "server", [Nesterov(), Anderson(3), Extrapolated(), Relaxed(1.5, safeguard=True)], ids=repr
)
@pytest.mark.parametrize("program", [worst_case, worst_case_any_nodes])
def test_a_server_that_is_not_linear_is_refused(program, server: Server):
    with pytest.raises(ValueError, match="is not linear in the points"):
        program(2, 1, server=server)
