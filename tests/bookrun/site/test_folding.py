"""Code cells are folded to a line that says what they do."""

from typing import Any

import pytest

from bookrun.site.folding import fold, title


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("# Both networks, side by side\nx = 1", "Both networks, side by side"),
        ("\n\n#  two   \nx = 1", "two"),
        ("def residual(x):\n    '''‖∇f(x)‖² of a point.'''\n    return x", "‖∇f(x)‖² of a point"),
        ("x = 1\ndef f(x):\n    return x\ndef g(x):\n    return x", "Code: f, g"),
        ("x = 1\n\ny = 2", "Code, 2 lines"),
        ("%time x = 1", "Code, 1 line"),
        ("#", "Code"),
        ("# " + "word " * 40, "word " * 17 + "word…"),
    ],
)
def test_a_cell_is_called_by_what_it_says_of_itself(source: str, name: str) -> None:
    assert title(source) == name


def code(*tags: str, **metadata: Any) -> dict[str, Any]:
    cell = {"cell_type": "code", "source": "x = 1", "metadata": {"tags": list(tags), **metadata}}
    fold(cell)
    return cell["metadata"]


def test_code_is_folded_and_results_are_not() -> None:
    found = code()
    assert found["tags"] == ["hide-input"]
    assert found["mystnb"]["code_prompt_show"] == "Code, 1 line"
    assert code("parameters")["mystnb"]["code_prompt_hide"] == "Parameters"


def test_what_the_cell_sets_itself_stays() -> None:
    figure = {"figure": {"name": "fig-1"}, "code_prompt_show": "Draw"}
    found = code(mystnb=figure)["mystnb"]
    assert (found["figure"], found["code_prompt_show"]) == (figure["figure"], "Draw")
    for tag in ("remove-input", "remove-cell", "hide-input"):
        assert code(tag) == {"tags": [tag]}
