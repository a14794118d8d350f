"""The record of a training run: what it reached, when, and how fast."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from statistics import harmonic_mean
from typing import TYPE_CHECKING

from .labels import LABELS

if TYPE_CHECKING:
    from .show.charts import Picture


@dataclass(frozen=True)
class Record:
    """One point of a run; an epoch has twenty.

    `loss` and `train_acc` are means over the twentieth of an epoch that ends here. `epoch_loss`,
    `epoch_train_acc` and the speed are means since the epoch began, as the book prints them.
    """

    epoch: float
    loss: float
    train_acc: float
    dev_acc: float
    pairs_per_sec: float
    epoch_loss: float
    epoch_train_acc: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Record":
        """Return a record of saved values; earlier versions saved five, the epoch's own means."""
        return cls(*values[:5], *(values[5:] or values[1:3]))

    def means(self) -> str:
        """Return the means since the epoch began, as the book prints them."""
        return f"loss {self.epoch_loss:.3f}, train acc {self.epoch_train_acc:.3f}"


COLUMNS = tuple(column.name for column in fields(Record))


@dataclass
class History:
    """The points of a training run, in order; `dev_acc` is nan where it was not measured.

    `num_classes` determines the accuracy of guessing, and `made_of` describes the training set and
    the settings. The network has the weights of epoch `kept_epoch`, or of the last step if it is
    None.
    """

    records: list[Record] = field(default_factory=list)
    device: str = ""
    precision: str = "fp32"
    interrupted: bool = False
    num_classes: int = len(LABELS)
    made_of: dict = field(default_factory=dict)
    kept_epoch: int | None = None

    def column(self, name: str) -> list[float]:
        """Return one quantity at every point, such as `column('loss')`."""
        if name not in COLUMNS:
            raise ValueError(f"unknown column {name!r}: use one of {', '.join(COLUMNS)}")
        return [getattr(record, name) for record in self.records]

    def columns(self) -> dict[str, list[float]]:
        """Return every quantity by name."""
        return {name: self.column(name) for name in COLUMNS}

    def curve(self, name: str) -> dict[float, float]:
        """Return one quantity by epoch, where it was measured, for `line_chart`."""
        points = zip(self.column("epoch"), self.column(name), strict=True)
        return {epoch: value for epoch, value in points if not math.isnan(value)}

    @property
    def epoch(self) -> float:
        """How many epochs are done, a fraction of the last one included."""
        return self.records[-1].epoch if self.records else 0.0

    @property
    def num_epochs(self) -> int:
        """How many whole epochs are done."""
        return int(self.epoch)

    @property
    def pairs_per_sec(self) -> float:
        """The training speed over all whole epochs, or since the first one began."""
        speeds = [r.pairs_per_sec for r in self.records if r.epoch == int(r.epoch)]
        return harmonic_mean(speeds) if speeds else self.last("pairs_per_sec")

    def last(self, name: str) -> float:
        """Return the last measured value of one quantity, or nan if there is none."""
        return next((v for v in reversed(self.column(name)) if not math.isnan(v)), math.nan)

    def kept(self, name: str) -> float:
        """Return the last measured value of one quantity for the weights that the network has."""
        records = [r for r in self.records if self.kept_epoch in (None, r.epoch)]
        return History(records).last(name)

    def plot(self) -> "Picture":
        """Draw loss and accuracies against epochs."""
        from .show.live import HistoryPicture

        measured = not math.isnan(self.last("dev_acc"))
        picture = HistoryPicture(self.epoch or 1, "dev" if measured else None)
        picture.draw(self)
        return picture

    def with_provisional(self, record: Record) -> "History":
        """Return a history with one more record, for a picture; this one stays as it is."""
        return replace(self, records=[*self.records, record])

    def save(self, path: str | os.PathLike) -> None:
        """Write the points as CSV; the file is replaced whole or not at all."""
        from .store.histories import save_history

        save_history(Path(path), self)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "History":
        """Read the points from a file that `save` wrote.

        In a folder, this is `history.csv`, or else the history in the classifier that it holds.
        """
        from .store.histories import load_history

        return load_history(Path(path))

    @classmethod
    def of_dict(cls, values: dict) -> "History":
        """Return the history from which `dataclasses.asdict` made these values."""
        records = [Record(**record) for record in values["records"]]
        return cls(**{**values, "records": records, "made_of": dict(values.get("made_of", {}))})

    def closing_lines(self, split: str = "dev", accuracy: float | None = None) -> str:
        """Return the two lines with which the book sums up a run.

        The accuracy on `split` is the dev accuracy, unless it is given.
        """
        accuracy = self.kept("dev_acc") if accuracy is None else accuracy
        measured = "" if math.isnan(accuracy) else f", {split} acc {accuracy:.3f}"
        return (
            f"loss {self.kept('epoch_loss'):.3f}, "
            f"train acc {self.kept('epoch_train_acc'):.3f}{measured}\n"
            f"{self.pairs_per_sec:.1f} examples/sec on {self.device}"
        )


def differences(theirs: dict, ours: dict) -> str:
    """Return in words how the settings of one run differ from ours, or an empty text."""
    return "; ".join(
        f"{name}={theirs.get(name)}, not {value}"
        for name, value in ours.items()
        if theirs.get(name) != value
    )
