"""Make what is bundled: `python -m tools.data [corpus|bert] [--out DIR]`."""

import argparse
from pathlib import Path


def main(argv: list[str] | None = None) -> None:
    """Write the corpus `Scenes` (in seconds) and the tiny pretrained BERT (in half an hour)."""
    parser = argparse.ArgumentParser(prog="python -m tools.data", description=__doc__)
    parser.add_argument(
        "what", nargs="?", choices=("corpus", "bert"), help="what to make (default: both)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("d2lnli", "data"),
        metavar="DIR",
        help="the folder to write into (default: the package's own)",
    )
    args = parser.parse_args(argv)
    if args.what != "bert":
        from .corpus.splits import write_corpus

        write_corpus(args.out / "Scenes")
    if args.what != "corpus":
        from .pretraining import pretrain

        pretrain(args.out / "bert.tiny")


if __name__ == "__main__":
    main()
