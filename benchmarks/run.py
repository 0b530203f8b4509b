"""The long form: measures everything, and puts the tables into docs/performance.md.

    python benchmarks/run.py                                  about 20 minutes on two cores
    python benchmarks/run.py --from benchmarks/results.json   measures nothing
    python benchmarks/run.py --what stream                    measures that alone anew

Other options of `conveyor bench` may follow. Leave the machine alone meanwhile.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from conveyor.cli import bench

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results.json"
PAGE = ROOT / "docs" / "performance.md"
PICTURE = ROOT / "docs" / "images" / "performance.png"

COMMAND = [sys.executable, "-c", "from conveyor.cli import main; main()", "bench"]
# What stands between these two comments is what was measured.
PLACE = re.compile(r"(<!-- measured: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def fill(page: str, report: bench.Report) -> str:
    """The page with every place filled: `measured: sizes` takes all tables of that kind."""
    tables = bench.tables(report)

    def place(found: re.Match[str]) -> str:
        wanted = found[2]
        texts = [t.to_markdown() for t in tables if f"{t.key}/".startswith(f"{wanted}/")]
        if wanted == "about":
            texts = [bench.about(report) + "\n"]
        if wanted == "picture":
            texts = [f"![Time at each size, of conveyor's]({PICTURE.relative_to(PAGE.parent)})\n"]
        return found[1] + "\n" + "\n".join(texts or ["Not measured yet.\n"]) + "\n" + found[3]

    return PLACE.sub(place, page)


def measured(options: list[str]) -> tuple[int, bench.Report | None]:
    """How `conveyor bench` ended, and what it measured: nothing for --help or a mistake."""
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder, "part.json")
        code = subprocess.run([*COMMAND, f"--json={part}", *options], check=False).returncode
        return code, bench.from_json(part.read_text(encoding="utf-8")) if part.exists() else None


def with_kinds_anew(new: bench.Report) -> bench.Report:
    """The results with some experiments in the place of those of the same kind."""
    old = bench.from_json(RESULTS.read_text(encoding="utf-8"))
    kinds = {race.experiment for race in new.races}
    kept = tuple(race for race in old.races if race.experiment not in kinds)
    return replace(old, races=kept + new.races)


def main(options: list[str]) -> int:
    """Measure, and write the results, the picture and the page."""
    if "--from" in options:
        results = Path(options[options.index("--from") + 1])
        command = [*COMMAND, f"--plot={PICTURE}", *options]
        code = subprocess.run(command, check=False).returncode
        report = bench.from_json(results.read_text(encoding="utf-8"))
    else:
        one_kind = "--what" in options
        long_form = [] if one_kind else ["--long", f"--plot={PICTURE}"]
        code, new = measured([*long_form, *options])
        if new is None:
            return code
        report = with_kinds_anew(new) if one_kind else new
        RESULTS.write_text(bench.to_json(report), encoding="utf-8")
    PAGE.write_text(fill(PAGE.read_text(encoding="utf-8"), report), encoding="utf-8")
    return code


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
