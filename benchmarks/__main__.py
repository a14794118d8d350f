"""The speed table and the figure of how cost grows: `python -m benchmarks [--corpus FOLDER]`.

The corpus is a folder of SNLI's layout, of whose training pairs longer corpora are made; the
bundled corpus if it is left out. `speed.md`, `speed.csv`, `growth.csv` and `growth.png` are written
to this folder, or to another. It takes some 20 minutes, and wants the machine for itself.
"""

import argparse
import csv
from dataclasses import astuple, fields
from pathlib import Path

import d2lnli as d2l

from . import growth
from .measure import machine, markdown
from .speed import SMALL, Row, Scale, table

HEADER = ("what", "the chapter's recipe", "this package", "ratio", "to reach")


def described(folder: Path, scale: Scale) -> str:
    """Tell what corpus the figures hold for."""
    premises, hypotheses, _ = d2l.read_snli(folder, "train", scale.most_pairs)
    words = [word for text in (*premises, *hypotheses) for word in text.lower().split()]
    return (
        f"{len(premises):,} pairs of {folder.name} with {len(set(words)):,} different words, "
        f"{len(words) / len(premises) + 3:.1f} tokens a pair; vocabulary {scale.vocab_size:,}"
    )


def main() -> None:
    """Measure, print and write everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, help="a folder with snli_1.0_train.txt")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent)
    parser.add_argument("--small", action="store_true", help="see that it runs, in a minute")
    args = parser.parse_args()
    scale = SMALL if args.small else Scale()
    folder = Path(args.corpus or d2l.download_extract("Scenes"))
    note = f"Measured on {machine()}; {described(folder, scale)}."
    print(note, flush=True)
    rows = []
    for row in table(folder, scale):
        rows.append(row)
        print(*astuple(row), sep=" | ", flush=True)
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "speed.md").write_text(
        markdown(HEADER, map(astuple, rows), note), encoding="utf-8"
    )
    with (args.output / "speed.csv").open("w", encoding="utf-8", newline="") as file:
        names = [field.name for field in fields(Row)]
        csv.writer(file, lineterminator="\n").writerows([names, *map(astuple, rows)])
    measured = []
    for found in growth.measure(folder, scale):
        measured.append(found)
        print(*found, flush=True)
    growth.write(measured, args.output / "growth")
    print(markdown(HEADER, map(astuple, rows), note))


if __name__ == "__main__":
    main()
