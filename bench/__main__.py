"""Run the benchmarks and print their figures: ``python -m bench [CASE...]``."""

from __future__ import annotations

import argparse
import json
import platform
from dataclasses import asdict
from pathlib import Path

from bench import commands, crowds, traffic
from bench.pairs import Result, measure
from bench.place import place

CASES = {**commands.CASES, **crowds.CASES, **traffic.CASES}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}")
    parser.add_argument("--json", type=Path, help="where to write the figures too")
    options = parser.parse_args()
    results: list[Result] = []
    print(f"{'':44}{'jobctl':>12}{'bare':>12}{'ratio':>8}{'from':>7}{'to':>7}{'goal':>7}")
    for name in options.cases or CASES:
        with place() as there:
            for pair in CASES[name](there):
                results.append(result := measure(pair))
                print(_row(result), flush=True)
        if options.json:  # by case: some take minutes
            found = {"machine": platform.platform(), "results": [asdict(one) for one in results]}
            options.json.write_text(json.dumps(found, indent=2) + "\n")


def _row(one: Result) -> str:
    figures = f"{one.ratio:>8.2f}{one.least:>7.2f}{one.greatest:>7.2f}{one.most:>7.2f}"
    verdict = "" if one.reached else "  missed"
    unit = f"{one.unit:<3}"
    return f"{one.name:44}{one.ours:>8.3f} {unit}{one.theirs:>8.3f} {unit}{figures}{verdict}"


if __name__ == "__main__":
    main()
