"""The explorer of the trade-off chapter: book/assets/explorer.js, inlined by the chapter."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from draws import decades, decay_factors
from localgd import AffineSubspace
from localgd.geometry import separation_constant, sigma_min
from localgd.theory import ExactRate, optimal_steps_linear, optimal_steps_power, total_cost

BOOK = Path(__file__).parents[2] / "book"
SCRIPT = BOOK / "assets" / "explorer.js"
TEXT = SCRIPT.read_text(encoding="utf-8")
NODE = shutil.which("node")


def test_it_is_small_and_asks_for_nothing():
    assert len(TEXT.splitlines()) < 240
    assert "</script" not in TEXT.lower()  # it is inlined
    assert not re.search(r"https?:|//\w+\.|\b(fetch|import|require|XMLHttpRequest)\b", TEXT)
    assert not re.search(r"\.src\b|url\(", TEXT)


def test_the_chapter_inlines_it_with_all_that_it_looks_for():
    chapter = (BOOK / "tradeoff.md").read_text(encoding="utf-8")
    assert "assets/explorer.js" in chapter
    sought = set(re.findall(r'getElementById\("([\w-]+)"\)', TEXT))
    assert sought == {"localgd-explorer", "localgd-explorer-reference"}
    assert all(f'id="{name}"' in chapter for name in sought)
    assert "<noscript>" in chapter


def test_every_slider_has_a_label_in_words_and_a_spoken_value():
    sliders = TEXT[TEXT.index("const SLIDERS") : TEXT.index("const STYLE")]
    names = re.findall(r'name: "([^"]+)"', sliders)
    assert len(names) == len(re.findall(r"\bid: ", sliders)) == 6
    assert all(len(name.split()) >= 3 for name in names)
    assert re.search(r"<label[^`]*\$\{s\.name\}[^`]*<input type=\"range\"", TEXT)
    assert "aria-valuetext" in TEXT
    assert '<svg role="img">' in TEXT


def reference_rows():
    rng = np.random.default_rng(12)
    beta, r = decay_factors(rng, 600), decades(rng, -12, 3, 600)
    rows = [
        {"kind": "linear", "beta": b, "a": 1.0, "r": price, "steps": steps}
        for b, price, steps in zip(
            beta.tolist(), r.tolist(), optimal_steps_linear(beta, r).tolist(), strict=True
        )
    ]
    a, beta = decades(rng, -6, 6, 600), 1 + decades(rng, -9, 2, 600)
    steps = optimal_steps_power(a, beta, r)
    found = zip(a.tolist(), beta.tolist(), r.tolist(), steps.tolist(), strict=True)
    return rows + [
        {"kind": "power", "beta": b, "a": speed, "r": price, "steps": steps}
        for speed, b, price, steps in found
    ]


@pytest.mark.skipif(NODE is None, reason="node is not installed; the page itself compares, too")
def test_it_agrees_with_localgd():
    rows = reference_rows()
    altered = [{**rows[0], "steps": rows[0]["steps"] * (1 + 1e-5)}]
    program = f"""{TEXT}
const explorer = globalThis.localgdExplorer;
const many = {json.dumps(rows)};
console.log(JSON.stringify([
  explorer.disagreement(many),
  explorer.disagreement({json.dumps(altered)}),
  explorer.optimalStepsLinear(0.5, 1e-4) - explorer.optimalStepsPower(1, 2, 1e-4),
]));"""
    ran = subprocess.run(
        [str(NODE), "-"], input=program, capture_output=True, text=True, check=True
    )
    agreement, control, difference = json.loads(ran.stdout)
    assert agreement < 1e-10
    assert control > 1e-6  # what makes the page switch the explorer off
    assert difference == pytest.approx(optimal_steps_linear(0.5, 1e-4) - 100.0, rel=1e-9)


TWO_LINES = BOOK / "assets" / "two_lines.js"


def test_the_figure_of_two_lines_is_small_and_asks_for_nothing():
    text = TWO_LINES.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 200
    assert "</script" not in text.lower()  # it is inlined
    assert not re.search(r"https?:|//\w+\.|\b(fetch|import|require|XMLHttpRequest)\b", text)
    chapter = (BOOK / "linear.md").read_text(encoding="utf-8")
    assert "assets/two_lines.js" in chapter
    assert "<noscript>" in chapter
    sought = set(re.findall(r'getElementById\("([\w-]+)"\)', text))
    assert len(sought) == 2
    assert all(f'id="{name}"' in chapter for name in sought)


@pytest.mark.skipif(NODE is None, reason="needs node")
@pytest.mark.parametrize("phi", [0.02, 0.2, 0.5, 0.75])
def test_its_factors_are_those_of_the_library(phi):
    lines = [AffineSubspace([0.0, 0.0], [[np.cos(a), np.sin(a)]]) for a in (phi, -phi)]
    sigma = sigma_min(lines)
    row = {"phi": phi, "exact": 1 - sigma, "corrected": (1 - sigma) ** 0.5}
    row["printed"] = (1 - 1 / separation_constant(lines).c) ** 0.5
    script = f"{TWO_LINES.read_text(encoding='utf-8')}\n"
    script += f"console.log(localgdTwoLines.disagreement({json.dumps([row])}),"
    script += f"localgdTwoLines.disagreement({json.dumps([row | {'exact': 1.001 * (1 - sigma)}])}))"
    found = subprocess.run([NODE, "-e", script], capture_output=True, text=True, check=True)
    right, wrong = map(float, found.stdout.split())
    assert right < 1e-5 < wrong


@pytest.mark.skipif(NODE is None, reason="node is not installed; the page itself compares, too")
@pytest.mark.parametrize(
    ("q", "sigma", "price"), [(0.995, 0.1, 1e-3), (0.9, 0.01, 1e-4), (0.5, 0.5, 1)]
)
def test_its_exact_optimum_costs_what_the_best_whole_number_does(q, sigma, price):
    program = f"{TEXT}\nconst p = {{soft: {1 - q}, sigma: {sigma}, r: {price}}};"
    program += "console.log(globalThis.localgdExplorer.optimalStepsExact(p));"
    ran = subprocess.run(
        [str(NODE), "-"], input=program, capture_output=True, text=True, check=True
    )
    law = ExactRate(lambda n: 1 - sigma * (1 - q**n))
    whole = np.arange(1.0, 5000.0)
    found = total_cost(float(ran.stdout), price, law)
    assert found <= total_cost(whole, price, law).min() * (1 + 1e-12)
    assert abs(float(ran.stdout) - whole[total_cost(whole, price, law).argmin()]) <= 1
