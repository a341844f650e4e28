"""`python -m bench.acceleration [--parts P …] [--output FILE]`: rounds by server, with provenance.

colon: least squares on colon-cancer with an intercept, rounds to ‖∇f‖² ≤ 1e-8 for every server, T,
number of nodes and split, beside the fewest rounds that any server could take.  mnist: the same
for the first 500 images of MNIST on ten nodes, in file order, T = 1 and ∞, the digit as the number
to be predicted.  lenet: Figure 4(a)'s problem at T = 1, loss and residual round by round, for
several seeds.  Each row is written as soon as it is there, and the same command goes on after an
interruption.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.machine import describe
from bookrun import Case, network_problem
from localgd import (
    Anderson,
    Average,
    ConjugateGradient,
    Extrapolated,
    LeastSquares,
    Nesterov,
    ToOptimum,
    datasets,
    run,
)
from localgd.algorithm.servers import Server
from localgd.files import write_atomically
from localgd.theory import fewest_rounds

TOL = 1e-8
STEPS = (1, 10, 100, math.inf)
ENDS = (1, math.inf)
SERVERS: tuple[Server, ...] = (
    ConjugateGradient(),
    Anderson(10),
    Anderson(5),
    Nesterov(),
    Extrapolated("fedexp"),
    Extrapolated("pierra"),
    Average(),
)
ON_LENET: tuple[Server, ...] = (
    Average(),
    Anderson(10),
    Extrapolated("pierra", safeguard=True),
    Extrapolated("fedexp", safeguard=True),
)
PARTS = ("colon", "mnist", "lenet")
#: Rounds after which a run on the part's problem is given up.
MOST = {"colon": 20_000, "mnist": 1000}
LENET = Case("lenet", samples=1000, nodes=10, step_size=0.2, rounds=30, local_steps=1)

Setting = dict[str, Any]


def settings(part: str) -> Iterator[Setting]:
    """Yield what tells the rows of a part from each other."""
    if part == "lenet":
        for seed in range(3):
            for server in ON_LENET:
                yield {"part": part, "seed": seed, "local_steps": 1, "server": repr(server)}
        return
    splits = [(2, 0), (2, 1), (2, 2), (5, 0), (10, 0)] if part == "colon" else [(10, 0)]
    for m, seed in splits:
        for T in STEPS if part == "colon" else ENDS:
            for server in SERVERS:
                steps = "inf" if math.isinf(T) else int(T)
                yield {
                    "part": part,
                    "nodes": m,
                    "seed": seed,
                    "local_steps": steps,
                    "server": repr(server),
                }


def least_squares(part: str, nodes: int, seed: int) -> LeastSquares:
    """Return the problem in the coordinates of its samples' span; seed 0 is file order."""
    if part == "colon":
        data = datasets.colon_cancer(source="real").with_intercept()
    else:
        images = datasets.mnist("train", first=500, source="real")
        pixels = images.features.reshape(len(images.features), -1)
        data = replace(images, features=pixels).with_intercept()
    problem = LeastSquares(*data.split(nodes, seed or None), data=data.source)
    return problem.reduced()[0]


def on_least_squares(setting: Setting) -> Setting:
    """Return how many rounds the setting takes; None where it takes more than is waited for."""
    problem = least_squares(setting["part"], setting["nodes"], setting["seed"])
    eta = float(1 / problem.smoothness().max())
    T = float(setting["local_steps"])
    server = next(s for s in SERVERS if repr(s) == setting["server"])
    trace = run(
        problem,
        local_steps=ToOptimum() if math.isinf(T) else int(T),
        step_size=eta,
        rounds=MOST[setting["part"]],
        server=server,
        stop=TOL,
    )
    found: Setting = {
        "rounds": len(trace) - 1 if trace.reason == "stop" else None,
        "grad_norm_sq": float(trace.grad_norm_sq[-1]),
        "undone": 0 if trace.undone is None else int(trace.undone.sum()),
    }
    if isinstance(server, ConjugateGradient):  # once for every T, beside the first server
        found["fewest"] = fewest_rounds(problem, T, eta, TOL)
        if setting["part"] == "colon":
            found["fewest_individual"] = fewest_rounds(problem, T, eta, TOL, replies="individual")
    return found


def on_lenet(setting: Setting) -> Setting:
    """Return loss and residual round by round."""
    server = next(s for s in ON_LENET if repr(s) == setting["server"])
    case = Case(**{**vars(LENET), "seed": setting["seed"]})
    trace = run(
        network_problem(case, "real"),
        local_steps=case.rule,
        step_size=case.step_size,
        rounds=case.rounds,
        seed=case.seed,
        server=server,
        engine="eager",
    )
    return {
        "loss": trace.loss.tolist(),
        "grad_norm_sq": trace.grad_norm_sq.tolist(),
        "undone": [] if trace.undone is None else trace.undone.nonzero()[0].tolist(),
    }


def main() -> None:
    """Compute what is missing from the record."""
    parser = argparse.ArgumentParser(prog="bench.acceleration", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--output", type=Path, default=Path("build/acceleration.json"))
    options = parser.parse_args()
    made_with = describe("cpu")
    rows: list[Setting] = []
    if options.output.is_file():
        rows = json.loads(options.output.read_text(encoding="utf-8"))["rows"]
    for part in options.parts:
        for setting in settings(part):
            if any(setting.items() <= row.items() for row in rows):
                continue
            work = on_lenet if part == "lenet" else on_least_squares
            rows.append(setting | work(setting) | {"commit": made_with["commit"]})
            print({name: rows[-1].get(name) for name in (*setting, "rounds")}, flush=True)
            text = json.dumps({"machine": made_with, "rows": rows}, indent=1)
            write_atomically(options.output, (text + "\n").encode())
    print(f"{options.output} holds {len(rows)} rows")


if __name__ == "__main__":
    main()
