"""Parameters are read, parsed and checked by the declared type before anything runs."""

import pytest

import trial
from bookrun.errors import BookError
from bookrun.source.parameters import assignments, declared, overrides

CELL = """\
rounds: int = 2000  # rounds
step_size: float = 1
tol = 1e-8
label = "a"
quick: bool = True
local_steps = [1, 10]
offset = -3
"""


def test_declared_reads_names_types_and_defaults() -> None:
    found = declared(CELL, "one")
    assert {name: (p.kind, p.default) for name, p in found.items()} == {
        "rounds": (int, 2000),
        "step_size": (float, 1.0),
        "tol": (float, 1e-8),
        "label": (str, "a"),
        "quick": (bool, True),
        "local_steps": (list, [1, 10]),
        "offset": (int, -3),
    }
    assert isinstance(found["step_size"].default, float)


@pytest.mark.parametrize(
    ("cell", "complaint"),
    [
        ("x = y", "the default of x must be a literal, not `y`"),
        ("x = 1 +", "line 1"),
        ("import math", "only `name = literal` may stand there"),
        ("a.b = 1", "only `name = literal` may stand there"),
        ("x = {1: 2}", "must be a bool, int, float, str"),
        ("x = None", "must be a bool, int, float, str"),
        ("x: float = 'a'", "is not a float"),
    ],
)
def test_declared_refuses(cell: str, complaint: str) -> None:
    with pytest.raises(BookError, match=r"chapter one, parameters cell") as caught:
        declared(cell, "one")
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("rounds", "500", 500),
        ("rounds", "-1", -1),
        ("tol", "1e-3", 1e-3),
        ("tol", "2", 2.0),
        ("step_size", ".5", 0.5),
        ("label", "007", "007"),
        ("label", "1e-3", "1e-3"),
        ("quick", "false", False),
        ("local_steps", "[1, 100]", [1, 100]),
        ("local_steps", "5", [5]),
    ],
)
def test_text_is_parsed_by_the_declared_type(name: str, text: str, value: object) -> None:
    found = overrides(declared(CELL, "one"), {name: text}, "here")[name]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rounds", "007"),
        ("rounds", "1e3"),
        ("rounds", "many"),
        ("rounds", 1.5),
        ("rounds", True),
        ("tol", "nan"),
        ("tol", "0x1"),
        ("tol", False),
        ("quick", "1"),
        ("quick", 1),
        ("label", 7),
        ("local_steps", "1,x"),
        ("local_steps", 3),
        ("local_steps", [1, True]),
    ],
)
def test_a_value_of_the_wrong_type_is_an_error(name: str, value: object) -> None:
    with pytest.raises(BookError, match=r"^here: \w+=.* is not an? "):
        overrides(declared(CELL, "one"), {name: value}, "here")


def test_an_int_does_for_a_float_and_yaml_text_for_a_number() -> None:
    given = {"tol": 1, "step_size": "1e-3"}
    assert overrides(declared(CELL, "one"), given, "here") == {"tol": 1.0, "step_size": 1e-3}


def test_an_unknown_parameter_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(BookError, match="here: no parameter speed; it has: rounds, "):
        overrides(declared(CELL, "one"), {"speed": 1}, "here")


@pytest.mark.parametrize("words", [["rounds"], ["=1"], ["a-b=1"], ["a=1", "a=2"]])
def test_assignments_refuses(words: list[str]) -> None:
    with pytest.raises(BookError, match="parameter"):
        assignments(words)


def test_assignments_splits_at_the_first_equals_sign() -> None:
    assert assignments(["a=1", "b=x=y"]) == {"a": "1", "b": "x=y"}


def test_a_profile_is_a_set_of_parameters() -> None:
    extra = "bookrun:\n  profiles:\n    paper: {rounds: 100000, tol: 1e-3}\n"
    chapter = trial.chapter(extra=extra, parameters=CELL.strip())
    assert chapter.profile("quick") == {}
    assert chapter.profile("paper") == {"rounds": 100000, "tol": 1e-3}
    with pytest.raises(BookError, match="PROFILE=huge is not one of quick, paper"):
        chapter.profile("huge")


@pytest.mark.parametrize(
    ("extra", "complaint"),
    [
        ("bookrun:\n  profiles:\n    paper: {speed: 1}\n", "profile paper: no parameter speed"),
        ("bookrun:\n  profiles:\n    paper: {rounds: 1.5}\n", "rounds=1.5 .* is not an int"),
        ("bookrun:\n  profiles:\n    huge: {}\n", "profile huge in its header"),
        ("bookrun:\n  dataset: [a]\n", "takes data, profiles and allowed_numbers"),
    ],
)
def test_a_wrong_header_is_an_error_under_every_profile(extra: str, complaint: str) -> None:
    chapter = trial.chapter(extra=extra, parameters="rounds = 1")
    with pytest.raises(BookError, match=complaint):
        chapter.profile("quick")
