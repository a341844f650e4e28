"""The cost of a run for each rule that chooses T, over that of the best fixed T in hindsight.

A round of T steps costs 1 + rT, in units of one communication.  `python -m
bookrun.experiments.hindsight` measures all settings and writes ``recorded/choosing.json``.
"""

import json
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bookrun.experiments.machine import commit, processor
from bookrun.experiments.records import code_digest
from bookrun.experiments.settings import SETTINGS, Setting
from bookrun.files import write_atomic
from localgd import Average, BalancedSteps, FittedSteps, FixedSteps, Rule, Server, Trace, run
from localgd.algorithm.baselines import AdaComm, AdaptiveTau, PaddleAdaptive

#: r = C_g/C_c of the tables.
COST_RATIOS = (1.0, 0.1, 0.01, 0.001)
#: Neighbouring T of the search differ by one or by so much.
GRID_RATIO = 1.15
#: A run goes on so far beyond the residual's goal, by when the loss's goal should be met too.
_BEYOND = 10.0
_GIVE_UP = 4.0  # times the best cost, beyond which a rule is not followed


@dataclass(frozen=True)
class Outcome:
    """The cost of a run when its goals were met, in communications; inf where they were not."""

    loss: float  # until f(x_n) ≤ the setting's share of f(x_0)
    residual: float  # until ‖∇f(x_n)‖² ≤ the setting's share of its first value
    rounds: int  # until the loss
    steps: tuple[int, ...]  # local steps of each of those rounds


def outcome(setting: Setting, trace: Trace, cost_ratio: float) -> Outcome:
    """Return what the rounds of `trace` cost until each goal of the setting was met."""
    steps = trace.local_steps[1:, 0]
    spent = np.cumsum(1 + cost_ratio * steps)

    def until(met: Any) -> tuple[float, int]:
        rows = np.flatnonzero(met[1:])
        return (float(spent[rows[0]]), int(rows[0]) + 1) if rows.size else (math.inf, len(steps))

    loss, rounds = until(trace.loss <= setting.loss_share * trace.loss[0])
    residual, _ = until(trace.grad_norm_sq <= setting.residual_share * trace.grad_norm_sq[0])
    return Outcome(loss, residual, rounds, tuple(int(T) for T in steps[:rounds]))


def follow(setting: Setting, rule: Rule, rounds: int, server: Server | None = None) -> Trace:
    """Run until ‖∇f(x_n)‖² is a tenth of its goal; a loss that has not met its goal costs ∞."""
    problem = setting.problem()
    start = run(problem, setting.start, local_steps=1, step_size=setting.step_size(), rounds=0)
    return run(
        problem,
        setting.start,
        local_steps=rule,
        step_size=setting.step_size(),
        rounds=rounds,
        server=server or Average(),
        stop=setting.residual_share / _BEYOND * float(start.grad_norm_sq[0]),
        device="cpu",
    )


@dataclass(frozen=True)
class Best:
    """The fixed T of least cost, for the loss and for the residual."""

    steps: int
    cost: float
    residual_steps: int
    residual_cost: float
    rounds: int


def best_fixed(
    setting: Setting, ratios: Sequence[float] = COST_RATIOS, server: Server | None = None
) -> dict[float, Best]:
    """Search the fixed T of least cost for every r, on a grid with the ratio `GRID_RATIO`."""
    found: dict[int, Trace] = {}
    least = dict.fromkeys(ratios, (math.inf, math.inf))
    T, beyond = 1, 0
    while beyond < 3 and setting.most_steps >= T:
        cap = max(_most_rounds(least[r], T, r) for r in ratios)
        trace = found[T] = follow(setting, FixedSteps(T), cap, server)
        costs = {r: outcome(setting, trace, r) for r in ratios}
        dear = all(
            costs[r].loss > 1.02 * least[r][0] and costs[r].residual > 1.02 * least[r][1]
            for r in ratios
        )
        beyond = beyond + 1 if dear else 0
        for r in ratios:
            least[r] = (min(least[r][0], costs[r].loss), min(least[r][1], costs[r].residual))
        T = max(T + 1, round(GRID_RATIO * T))
    return {r: _best(setting, found, r) for r in ratios}


def _most_rounds(least: tuple[float, float], T: int, r: float) -> int:
    """Return how many rounds of T steps may be of interest, given the least costs so far."""
    if not math.isfinite(max(least)):
        return 20_000
    return math.ceil(1.3 * max(least) / (1 + r * T)) + 1


def _best(setting: Setting, found: Mapping[int, Trace], r: float) -> Best:
    all_of = {T: outcome(setting, trace, r) for T, trace in found.items()}
    loss = min(all_of, key=lambda T: all_of[T].loss)
    residual = min(all_of, key=lambda T: all_of[T].residual)
    return Best(loss, all_of[loss].loss, residual, all_of[residual].residual, all_of[loss].rounds)


def rules(setting: Setting, cost_ratio: float, budget: float) -> dict[str, Rule]:
    """Return the rules that are compared, by name; `budget` is told to the one that uses it."""
    balanced = max(1, math.ceil(1 / cost_ratio))
    return {
        "BalancedSteps": BalancedSteps(cost_ratio),
        "BalancedSteps, f* unknown": BalancedSteps(cost_ratio, optimum=None),
        "FittedSteps": FittedSteps(cost_ratio),
        "T = ⌈1/r⌉": FixedSteps(balanced),
        "T = 1": FixedSteps(1),
        "QSR (T = 4)": FixedSteps(4),
        "AdaComm": AdaComm(balanced),
        "adaptive τ": AdaptiveTau(cost_ratio, max(budget, 4.0), setting.curvature()),
        "Paddle": PaddleAdaptive(16),
    }


def compare(
    setting: Setting,
    ratios: Sequence[float] = COST_RATIOS,
    *,
    names: Sequence[str] | None = None,
    server: Server | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """Return a row for each r and rule: its cost over the least of all fixed T, for both goals."""
    best, rows = best_fixed(setting, ratios, server), []
    on = f"{setting.name}, {server or Average()!r}"
    tell(f"{on}: best fixed T {[each.steps for each in best.values()]}")
    for r in ratios:
        for name, rule in rules(setting, r, best[r].cost).items():
            if names is not None and name not in names:
                continue
            most = math.ceil(_GIVE_UP * max(best[r].cost, best[r].residual_cost) / (1 + r)) + 1
            cost = outcome(setting, follow(setting, rule, most, server), r)
            row = {
                "setting": setting.name,
                "server": repr(server or Average()),
                "loss_share": setting.loss_share,
                "residual_share": setting.residual_share,
                "r": r,
                "rule": name,
                "best": best[r].steps,
                "rounds": best[r].rounds,
                "cost": best[r].cost,
                "ratio": cost.loss / best[r].cost,
                "best_residual": best[r].residual_steps,
                "ratio_residual": cost.residual / best[r].residual_cost,
                "median_steps": float(np.median(cost.steps)),
                "last_steps": cost.steps[-1],
            }
            rows.append(row)
            tell(f"{on} r={r:g} {name}: {row['ratio']:.3f} {row['ratio_residual']:.3f}")
    return rows


def main(arguments: Sequence[str]) -> None:
    """Measure the settings named, or all, and write them to ``recorded/choosing.json``."""
    at, code = commit(Path(__file__).parent), code_digest()
    path, began = Path("recorded/choosing.json"), time.monotonic()
    kept = json.loads(path.read_text())["rows"] if path.is_file() else []
    rows: list[dict[str, Any]] = []
    for setting in SETTINGS.values():
        if arguments and setting.name not in arguments:
            rows += [row for row in kept if row["setting"] == setting.name]
            continue
        made = {"commit": at, "code": code, "started": datetime.now(UTC).isoformat("T", "seconds")}
        for server in setting.servers:
            found = compare(setting, setting.ratios, server=server, tell=_say)
            rows += [row | made for row in found]
            write_atomic(path, json.dumps(_record(rows), indent=0, ensure_ascii=False) + "\n")
    _say(f"{time.monotonic() - began:.0f} s")


def _record(rows: list[dict[str, Any]]) -> dict[str, Any]:
    digits = [{k: _short(value) for k, value in row.items()} for row in rows]
    on = {"processor": processor(), "torch": torch.__version__, "threads": torch.get_num_threads()}
    return {"format": "bookrun choosing 1", "grid_ratio": GRID_RATIO, "made": on, "rows": digits}


def _short(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return float(f"{value:.5g}") if math.isfinite(value) else None


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
