"""How we know a statement: a proof that names its steps, exact arithmetic, or numbers."""

import pytest

from bookrun.ledger.basis import basis
from bookrun.ledger.claims import Row
from bookrun.ledger.proofs import steps
from findings import evidence

STATEMENT = Row("lem1", "Lemma 1", "It decreases.")
STEPPED = Row(
    "lem1", "Lemma 1", "It decreases.", steps={"expand": ("test_expand", "α"), "sum": ("test_sum",)}
)
EXPAND = [
    evidence("symbolic", name="test_expand[2]", is_test=True),
    evidence("symbolic", name="test_expand[3]", is_test=True),
    evidence("symbolic", name="α"),
]


def test_one_identity_that_holds_proves_nothing() -> None:
    found = basis(STATEMENT, [evidence("symbolic"), evidence(cases=1000)])
    assert found.text == "numerical, 1,000 cases"
    assert basis(STATEMENT, [evidence("symbolic")]).text == "exact arithmetic, 1 check"
    assert basis(STATEMENT, []).text == "no evidence"


def test_controls_and_counterexamples_say_nothing_for_ours() -> None:
    items = [evidence("control", cases=7), evidence("counterexample", cases=9)]
    assert basis(STATEMENT, items).text == "no evidence"
    assert basis(STATEMENT, [*items, evidence("corrected", cases=3)]).text == "numerical, 3 cases"


def test_a_proof_counts_the_steps_that_a_machine_checked() -> None:
    named = ("expand", "average", "sum")
    assert basis(STEPPED, EXPAND, named).text == "proof in the text, 1 of 3 steps by machine"
    assert basis(STATEMENT, EXPAND, named).text == "proof in the text"


@pytest.mark.parametrize("outcome", ["not checked", "skipped"])
@pytest.mark.parametrize("piece", range(3))
def test_a_step_needs_all_of_its_checks(piece: int, outcome: str) -> None:
    items = list(EXPAND)
    items[piece] = evidence("symbolic", outcome, name=items[piece].name, is_test=piece < 2)
    assert basis(STEPPED, items, ("expand",)).text == "proof in the text"


def test_what_fails_takes_the_proof_down() -> None:
    assert basis(STEPPED, [*EXPAND, evidence(outcome="failed")], ("expand",)).text == "no evidence"


def test_steps_are_named_in_proofs_and_nowhere_else() -> None:
    text = """\
{step}`lem1 outside` Not in a proof.

````{prf:proof}
{step}`lem1 expand the
square` One. {step}`thm2 sum` Two.

```{math}
x
```

{step}`lem1 average` Three. {step}`lem1 average` Again.
````

{step}`lem1 after`
"""
    other = ":::{prf:proof}\n{step}`lem1 more` Four.\n:::\n"
    assert steps([text, other]) == {
        "lem1": ("expand the square", "average", "more"), "thm2": ("sum",),
    }  # fmt: skip
