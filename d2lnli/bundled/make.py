"""Make what is bundled: `python -m d2lnli.bundled.make corpus|bert [--out DIR]`."""

import argparse
from pathlib import Path


def main(argv: list[str] | None = None) -> None:
    """Write the sample corpus or the tiny pretrained BERT."""
    parser = argparse.ArgumentParser(prog="python -m d2lnli.bundled.make", description=__doc__)
    parser.add_argument("what", choices=("corpus", "bert"), help="what to make")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(__file__).parent,
        metavar="DIR",
        help="the folder to write into (default: the package's own)",
    )
    args = parser.parse_args(argv)
    if args.what == "corpus":
        from .corpus import write_corpus

        write_corpus(args.out / "SNLI-sample")
    else:
        from .pretraining import pretrain

        pretrain(args.out / "bert.tiny")


if __name__ == "__main__":
    main()
