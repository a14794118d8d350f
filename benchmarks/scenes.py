"""Make every table anew that stands on the bundled corpus and bert.tiny.

    python -m benchmarks.scenes [--only learning_curve challenge truncation] [--seeds 0 1 2]

`challenge` also makes `phenomena.csv`, of the same classifiers. All together takes 40 minutes on
two cores, and wants them for itself. At the end the pages that show a table are brought up to
date, between its markers. `--output FOLDER` writes the tables there, and leaves the pages alone.
"""

import argparse
import re
import time
from dataclasses import replace
from pathlib import Path

from d2lnli.store.results import RESULTS

from . import challenge, learning_curve, truncation
from .tiny import Scale

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / page for page in ("d2lnli/data/README.md", "docs/performance.md")]
TABLES = {
    "learning_curve": learning_curve.write,
    "challenge": challenge.write,
    "truncation": truncation.write,
}
SHOWN = {
    "learning_curve": learning_curve.shown,
    "challenge": challenge.shown,
    "phenomena": challenge.shown_phenomena,
}
SMALL = Scale(seeds=(0, 1), num_epochs=1, most=96, pairs=(48, 96), max_lens=(10,))


def rendered(page: str, folder: Path = RESULTS) -> str:
    """Return a page, its tables made anew from `<!-- table: NAME -->` to `<!-- end -->`."""

    def table(match: re.Match) -> str:
        return f"{match[1]}\n{SHOWN[match[2]](folder)}\n{match[3]}"

    return re.sub(r"(<!-- table: (\w+) -->).*?(<!-- end -->)", table, page, flags=re.DOTALL)


def main() -> None:
    """Make the tables, tell how long each took, and show them where they are shown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=TABLES, default=list(TABLES), metavar="NAME")
    parser.add_argument("--small", action="store_true", help="see that it runs, in a minute")
    parser.add_argument("--seeds", type=int, nargs="+")
    parser.add_argument("--jobs", type=int, help="processes, with a thread each")
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args()
    if args.small and args.output == RESULTS:
        parser.error("--small makes no table to keep: name another folder with --output")
    args.output.mkdir(parents=True, exist_ok=True)
    given = {"seeds": args.seeds and tuple(args.seeds), "jobs": args.jobs}
    scale = replace(SMALL if args.small else Scale(), **{k: v for k, v in given.items() if v})
    began = time.perf_counter()
    for name in args.only:
        start = time.perf_counter()
        TABLES[name](args.output, scale)
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
    print(f"all together: {time.perf_counter() - began:.0f} s")
    if args.output == RESULTS:
        for page in PAGES:
            text = rendered(page.read_text(encoding="utf-8"))
            page.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
