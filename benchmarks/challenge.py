"""What bert.tiny has learnt of each phenomenon, and what a few hundred pairs mend of a shortcut.

bert.tiny is fine-tuned with its recipe on train (`before`), and anew on train with augment once
(`once`) and four times (`after`): 600 pairs are few among 10,000. `challenge.csv` has the accuracy
on the challenge split by kind and label, and how often entailment is predicted; for comparison it
has the dev and the test split. No pair of augment is of the kind `LEFT_OUT`, so this kind shows
whether what was mended carries over. The trainings `without KIND` are like `after`, but leave out
one more kind, one of those that rise. `phenomena.csv` has the accuracy on the test split by
phenomenon and label, before, as the mean of the seeds.
"""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np

import d2lnli as d2l

from . import tiny
from .measure import markdown

COLUMNS = (
    "training", "copies", "split", "kind", "label", "seed", "pairs", "accuracy",
    "predicted_entailment",
)  # fmt: skip
PHENOMENA_COLUMNS = ("phenomenon", "label", "pairs", "accuracy")
LEFT_OUT = "relative"
RISING = ("conjunction", "negation", "number", "order")
COPIES = {  # how often augment is in the training pairs
    "before": 0,
    "once": 1,
    "after": 4,
    **{f"without {kind}": 4 for kind in RISING},
}
SPLITS = ("challenge", "dev", "test")
ENTAILMENT = d2l.LABELS.index("entailment")
DOES = {
    "hypernym": "uses a more general word of the same type or another type, or adds a vague detail",
    "hyponym": "uses a more specific word",
    "modifier": "keeps, changes or adds an adjective, a trait or a manner",
    "antonym": "states the opposite",
    "clothing": "names the same clothes or look, another one, or one that the premise leaves open",
    "posture": "names the same posture or seat, another one, or one that the premise leaves open",
    "location": "names the same place, another one, or one that the premise leaves open",
    "time": "names the same time, day or season, another one, or one that the premise leaves open",
    "weather": "names the same weather, another one, or one that the premise leaves open",
    "number": "gives the same number or *some*, another one, or a number instead of *some*",
    "identity": "names the same person or thing, or another one",
    "action": "names the same action, or another one",
    "detail": "adds an object, a tool or a manner",
    "conjunction": "has one of two parts, both, one more, or one of them with a new one",
    "roles": "keeps who does it to whom, swaps them, or adds a place, time, manner or weather",
    "passive": "is mostly in the passive, where the premise is mostly in the active",
    "paraphrase": "repeats nearly all that is said of one event, and may change or add one thing",
    "negation": "negates something true, something false, or something open",
}
"""What the hypothesis does, for each phenomenon of the test split."""


def predictions(training: str, seed: int, scale: tiny.Scale) -> dict[str, np.ndarray]:
    """Fine-tune, and return the predicted label ids of each split."""
    splits = "train", *["augment"] * COPIES[training]
    left_out = training.partition("without ")[2]
    train_set = tiny.dataset(*splits, most=scale.most, left_out=left_out)
    net = tiny.fine_tune(train_set, seed, num_epochs=scale.num_epochs)
    tests = {split: tiny.dataset(split, most=scale.most) for split in SPLITS}
    return {split: d2l.evaluate(net, test).predictions for split, test in tests.items()}


def measured(
    split: str, found: list[np.ndarray], scale: tiny.Scale
) -> Iterator[tuple[str, str, int, np.ndarray]]:
    """Yield each kind and label, the number of pairs, and what each seed's predictions give.

    That is a row for each seed: the accuracy, and the share of predicted entailment. 'all' kinds or
    labels come last.
    """
    gold = tiny.dataset(split, most=scale.most).labels.numpy()
    labels = np.array(d2l.LABELS)[gold]
    folder = d2l.download_extract(tiny.CORPUS)
    kinds = np.array(d2l.read_phenomena(folder, split, scale.most))
    for kind, label in product((*sorted(set(kinds)), "all"), (*d2l.LABELS, "all")):
        chosen = ((kinds == kind) | (kind == "all")) & ((labels == label) | (label == "all"))
        if chosen.any():
            guessed = np.stack(found)[:, chosen]
            numbers = (guessed == gold[chosen]).mean(1), (guessed == ENTAILMENT).mean(1)
            yield kind, label, int(chosen.sum()), np.stack(numbers, axis=1)


def rows(training: str, found: list[dict], scale: tiny.Scale) -> Iterator[tuple]:
    """Yield the rows of `challenge.csv` from the predictions of each seed."""
    for split in SPLITS:
        by_seed = [predicted[split] for predicted in found]
        for kind, label, count, numbers in measured(split, by_seed, scale):
            if split == "challenge" or kind == "all":
                what = training, COPIES[training], split, kind, label
                each = *zip(scale.seeds, numbers, strict=True), ("mean", numbers.mean(axis=0))
                for seed, pair in each:
                    yield (*what, seed, count, *(f"{number:.4f}" for number in pair))


def write(folder: Path, scale: tiny.Scale) -> None:
    """Train on each mixture with every seed, and write both tables."""
    calls = [(training, seed, scale) for training in COPIES for seed in scale.seeds]
    each = tiny.each(predictions, calls, scale.jobs)
    found = {training: [next(each) for _ in scale.seeds] for training in COPIES}
    table = [row for training in COPIES for row in rows(training, found[training], scale)]
    tiny.write_csv(folder / "challenge.csv", COLUMNS, table)
    table = [
        (kind, label, count, f"{numbers[:, 0].mean():.4f}")
        for kind, label, count, numbers in measured(
            "test", [by["test"] for by in found["before"]], scale
        )
    ]
    tiny.write_csv(folder / "phenomena.csv", PHENOMENA_COLUMNS, table)


def cells(table: list[dict[str, str]], number: str = "accuracy") -> list[str]:
    """Return a number of all pairs and of each label, as a Markdown table shows them."""
    by_label = {row["label"]: f"{float(row[number]):.2f}" for row in table}
    return [by_label.get(label, "") for label in ("all", *d2l.LABELS)]


def shown(folder: Path) -> str:
    """Return what the challenge split's kinds show before and after, as Markdown."""
    means = [row for row in tiny.read_csv(folder / "challenge.csv") if row["seed"] == "mean"]
    lines = []
    for split, kind in dict.fromkeys((row["split"], row["kind"]) for row in means):
        chosen = [row for row in means if (row["split"], row["kind"]) == (split, kind)]
        before, after = (
            [r for r in chosen if r["training"] == name] for name in ("before", "after")
        )
        name = f"`{kind}`" if kind != "all" else f"all of {split}"
        pairs = next(row["pairs"] for row in before if row["label"] == "all")
        entailment = (cells(table, "predicted_entailment")[0] for table in (before, after))
        numbers = (*cells(before), *cells(after))
        lines.append([name, f"{int(pairs):,}", *numbers, *entailment])
    header = ("before", "E", "C", "N", "after", "E", "C", "N", "E predicted before", "after")
    times = next(row["copies"] for row in means if row["training"] == "after")
    note = (
        f"After: trained on train and {times} × augment, which has no pair of `{LEFT_OUT}`. "
        "E, C, N: accuracy on pairs with this label."
    )
    return markdown(["kind", "pairs", *header], lines, note)


def shown_phenomena(folder: Path) -> str:
    """Return the accuracy on the test split by phenomenon, as Markdown."""
    table = tiny.read_csv(folder / "phenomena.csv")
    lines = []
    for name in dict.fromkeys(row["phenomenon"] for row in table):
        chosen = [row for row in table if row["phenomenon"] == name]
        pairs = next(row["pairs"] for row in chosen if row["label"] == "all")
        told = [f"`{name}`", DOES.get(name, "")] if name != "all" else ["all", ""]
        lines.append([*told, f"{int(pairs):,}", *cells(chosen)])
    header = ("kind", "what the hypothesis does", "pairs", "accuracy", "E", "C", "N")
    return markdown(header, lines, "E, C, N: accuracy on pairs with this label.")
