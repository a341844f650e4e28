"""`python -m bench.worst_case [--most K] [--output FILE]`: exact worst cases, with provenance.

Loss and residual after n rounds of T local steps for every n and T with nT up to K, and for
step sizes on both sides of 1/L with nT up to 16. The quick ones come first, each is written as
soon as it is there, and the same command goes on after an interruption. About 5 minutes on a
quiet core for K = 24, and 40 for K = 40.
"""

from __future__ import annotations

import argparse
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.machine import describe
from localgd.files import write_atomically
from localgd.theory import worst_case_any_nodes
from localgd.theory.worst_case import Measure

LOCAL_STEPS = range(1, 11)
STEP_SIZES = (0.25, 0.5, 0.75, 1.25, 1.5, 1.75, 1.9)
MOST_ELSEWHERE = 16  # nT where η is not 1/L
MOST_ROUNDS = 20
MEASURES: tuple[Measure, ...] = ("loss", "grad_norm_sq")

Setting = tuple[float, int, int]  # η, T, n


def settings(most: int) -> list[Setting]:
    """Return the (η, T, n) of the table, the quick ones first."""
    found = [
        (eta, T, n)
        for eta in (1.0, *STEP_SIZES)
        for T in LOCAL_STEPS
        for n in range(1, MOST_ROUNDS + 1)
        if n * T <= (most if eta == 1.0 else min(most, MOST_ELSEWHERE))
    ]
    return sorted(found, key=lambda setting: setting[1] * setting[2])


def row(setting: Setting) -> dict[str, Any]:
    """Return the two worst cases of one setting, as upper bounds from the dual, and the gap."""
    eta, T, n = setting
    found = {measure: worst_case_any_nodes(n, T, eta, measure) for measure in MEASURES}
    return {
        "step_size": eta,
        "local_steps": T,
        "rounds": n,
        **{measure: case.value for measure, case in found.items()},
        "gap": max(abs(case.value - case.attained) for case in found.values()),
    }


def main() -> None:
    """Compute what is missing from the table."""
    parser = argparse.ArgumentParser(prog="bench.worst_case", description=__doc__)
    parser.add_argument("--most", type=int, default=40, help="the largest nT at η = 1/L")
    parser.add_argument("--output", type=Path, default=Path("build/worst-case.json"))
    options = parser.parse_args()
    made_with = describe("cpu") | {name: version(name) for name in ("clarabel", "numpy")}
    rows: list[dict[str, Any]] = []
    if options.output.is_file():
        rows = json.loads(options.output.read_text(encoding="utf-8"))["rows"]
    there = {(r["step_size"], r["local_steps"], r["rounds"]) for r in rows}
    for setting in settings(options.most):
        if setting in there:
            continue
        rows.append(row(setting) | {"commit": made_with["commit"]})
        print(rows[-1], flush=True)
        text = json.dumps({"machine": made_with, "rows": rows}, indent=1)
        write_atomically(options.output, (text + "\n").encode())
    print(f"{options.output} holds {len(rows)} rows")


if __name__ == "__main__":
    main()
