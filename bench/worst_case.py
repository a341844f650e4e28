"""`python -m bench.worst_case [--output FILE]`: the exact worst cases that a chapter shows.

Loss and residual after n rounds of T local steps for every n and T with nT up to a bound, and
for step sizes on both sides of 1/L. Some 40 minutes on one core; solved by Clarabel to a gap
of 1e-9.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.machine import describe
from localgd.files import write_atomically
from localgd.theory import worst_case_any_nodes
from localgd.theory.worst_case import Measure

LOCAL_STEPS = range(1, 11)
STEP_SIZES = (0.25, 0.5, 0.75, 1.25, 1.5, 1.75, 1.9)
MOST_STEPS = 40  # nT, at η = 1/L
MOST_STEPS_ELSEWHERE = 16  # at another η
MOST_ROUNDS = 20
MEASURES: tuple[Measure, ...] = ("loss", "grad_norm_sq")


def settings() -> Iterator[tuple[float, int, int]]:
    """Yield (η, T, n), the quick ones first."""
    found = [
        (eta, T, n)
        for eta in (1.0, *STEP_SIZES)
        for T in LOCAL_STEPS
        for n in range(1, MOST_ROUNDS + 1)
        if n * T <= (MOST_STEPS if eta == 1.0 else MOST_STEPS_ELSEWHERE)
    ]
    return iter(sorted(found, key=lambda s: s[1] * s[2]))


def row(eta: float, T: int, n: int) -> dict[str, Any]:
    """Return the two worst cases of one setting, upper bounds from the dual, and their gaps."""
    found = {measure: worst_case_any_nodes(n, T, eta, measure) for measure in MEASURES}
    return {
        "step_size": eta,
        "local_steps": T,
        "rounds": n,
        **{measure: case.value for measure, case in found.items()},
        "gap": max(abs(case.value - case.attained) for case in found.values()),
    }


def main() -> None:
    """Compute the table and write it."""
    parser = argparse.ArgumentParser(prog="bench.worst_case", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("build/worst-case.json"))
    options = parser.parse_args()
    made_with = describe("cpu") | {name: version(name) for name in ("clarabel", "numpy")}
    began, rows = time.perf_counter(), []
    for setting in settings():
        rows.append(row(*setting))
        print(f"{time.perf_counter() - began:7.0f} s  {rows[-1]}", flush=True)
    rows.sort(key=lambda r: (r["step_size"], r["local_steps"], r["rounds"]))
    text = json.dumps({"machine": made_with, "rows": rows}, indent=1)
    write_atomically(options.output, (text + "\n").encode())
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
