"""`python -m bench [CASE …] [--repeats N] [--output FILE]`: measure, print a table, write JSON."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch

from bench.cases import CASES, Row, Setting, lenet_profile, roofline
from bench.machine import describe, matmul_gflops
from localgd.files import write_atomically


def main() -> int:
    """Run the cases that were asked for."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("cases", nargs="*", default=list(CASES), metavar="CASE")
    parser.add_argument("--repeats", type=int, default=15, help="turns of each contender")
    parser.add_argument("--output", type=Path, default=Path("build/bench.json"))
    options = parser.parse_args()
    unknown = [case for case in options.cases if case not in CASES]
    if unknown or options.repeats < 3:
        parser.error(f"cases are {', '.join(CASES)}, and --repeats is 3 or more")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    machine = describe(device)
    machine["matmul_gflops"] = round(matmul_gflops(device), 1)
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    print(f"{'case':30} {'localgd':16} {'ms':>9}  {'against':18} {'ratio':>8}  quartiles    target")
    rows = []
    for case in options.cases:
        for row in CASES[case](Setting(device, options.repeats)):
            record = row._asdict()
            if case == "1":
                record["roofline"] = round(roofline(record, machine["matmul_gflops"]), 3)
            rows.append(record)
            print(_line(row, record), flush=True)
    result = {"machine": machine, "repeats": options.repeats, "rows": rows}
    if "1" in options.cases:
        result["lenet_profile"] = lenet_profile(Setting(device, options.repeats))
        print(f"shares of a LeNet step: {result['lenet_profile']}")
    text = json.dumps(result, indent=1)
    write_atomically(options.output, (text + "\n").encode())
    print(f"written to {options.output}")
    return 0


def _line(row: Row, record: dict[str, object]) -> str:
    verdict = {True: "met", False: "MISSED", None: ""}[row.met]
    share = f"  {record['roofline']:.0%} of the limit" if "roofline" in record else ""
    return (
        f"{row.case:30} {row.what:16} {row.milliseconds:9.3f}  {row.against:18} {row.ratio:8.2f}  "
        f"{row.low:.2f}–{row.high:.2f}  {row.target} {verdict}{share}"
    )


if __name__ == "__main__":
    sys.exit(main())
