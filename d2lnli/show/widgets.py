"""Widgets: type a pair of sentences, and see what the model predicts while you type.

They work in a running notebook; a saved notebook keeps a picture of their first state. Any text is
accepted: at worst, a message appears.
"""

import html
from collections.abc import Sequence
from itertools import chain

import ipywidgets as widgets

from ..bert import BERTClassifier, BERTModel, label_names_of, unwrapped
from ..prediction import attention, predict_proba, word_changes
from ..runs.checks import max_positions
from ..truncation import TRUNCATIONS
from ..vocab import Vocab
from .charts import heat_map
from .colors import color_of
from .strips import PLAIN, PairStrip, TruncationStrips

_GOLD_LABELS = {
    ("Two tall women are running in a park.", "Two women are running."): "entailment",
    ("Two tall women are running in a park.", "Two women are sleeping."): "contradiction",
    ("Two tall women are running in a park.", "Two women are running on Monday."): "neutral",
    ("A man is playing a guitar.", "A person is playing an instrument."): "entailment",
    ("A dog is chasing a cat.", "A cat is being chased by a dog."): "entailment",
    ("A dog is chasing a cat.", "A cat is chasing a dog."): "contradiction",
    ("Three girls are not swimming.", "Three girls are swimming."): "contradiction",
}
EXAMPLES = tuple(_GOLD_LABELS)
"""Example pairs, with words of the bundled corpus."""

_MAX_SHADED = 64  # tokens; masking more of them, one at a time, takes too long
_MAX_DRAWN = 40  # tokens; the labels of a larger heat map are unreadable
_LABEL_STYLE = {"description_width": "7em"}  # the same width aligns fields and bars
_FIELD_LAYOUT = {"width": "95%"}
_CELL = "padding:4px 10px;line-height:1.4;text-align:left;"


class _PairWidget(widgets.VBox):
    """A list of examples and two fields, and below them what `show` returns for the pair.

    The drawing also depends on `settings`. They appear below the fields, unless `between` is given.
    """

    def __init__(
        self,
        premise: str,
        hypothesis: str,
        settings: Sequence[widgets.Widget],
        between: Sequence[widgets.Widget] = (),
    ):
        self.premise, self.hypothesis = _field("premise", premise), _field("hypothesis", hypothesis)
        choices = [("choose one to fill the fields", ()), *((" / ".join(p), p) for p in EXAMPLES)]
        self.examples = widgets.Dropdown(
            options=choices, description="examples", style=_LABEL_STYLE, layout=_FIELD_LAYOUT
        )
        self.message, self.drawing = widgets.HTML(), widgets.HTML()
        fields, result = [self.premise, self.hypothesis], [self.message, self.drawing]
        super().__init__([self.examples, *fields, *(between or settings), *result])
        self.examples.observe(self._take_example, "value")
        for control in (*fields, *settings):
            control.observe(self.update, "value")
        self.update()

    def update(self, change: object = None) -> None:
        """Show the pair in the fields, or a message if it is not valid."""
        pair = self.pair()
        if self.examples.value not in ((), pair):
            self.examples.value = ()  # an edited example can then be chosen again
        try:
            if not all(text.strip() for text in pair):
                raise ValueError("Type a premise and a hypothesis.")
            message, self.drawing.value = self.show(*pair)
        except ValueError as error:
            message, self.drawing.value = str(error), ""
        self.message.value = f'<div {PLAIN} role="status">{html.escape(message)}</div>'

    def pair(self) -> tuple[str, str]:
        """Return the two texts; a lone surrogate, which cannot be encoded, becomes `?`."""
        premise, hypothesis = (
            field.value.encode("utf-8", "replace").decode("utf-8")
            for field in (self.premise, self.hypothesis)
        )
        return premise, hypothesis

    def show(self, premise: str, hypothesis: str) -> tuple[str, str]:
        """Return a message as text, and a drawing as HTML."""
        raise NotImplementedError

    def _take_example(self, change: dict) -> None:
        if example := change["new"]:
            self.premise.value, self.hypothesis.value = example
            self.examples.value = example

    def _repr_mimebundle_(self, **kwargs) -> dict:
        """Add a picture, because a saved notebook does not keep the widget."""
        note = "<p><small>This is a picture: run the cell to use the widget.</small></p>"
        return {**super()._repr_mimebundle_(**kwargs), "text/html": self.still() + note}

    def still(self) -> str:
        """Return the HTML that a saved notebook shows instead of the widget."""
        return self.drawing.value

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: run this cell in JupyterLab to use it>"


class Predictor(_PairWidget):
    """Type a premise and a hypothesis to see the prediction, and the words that it depends on.

    The prediction changes while you type; the button adds it to a table. `other` is a second
    classifier and its vocabulary, which then predicts beside the first. The gold labels of the
    examples are known, so a wrong prediction is marked.
    """

    def __init__(
        self,
        net: BERTClassifier,
        vocab: Vocab,
        premise: str = EXAMPLES[0][0],
        hypothesis: str = EXAMPLES[0][1],
        other: tuple[BERTClassifier, Vocab] | None = None,
    ):
        pairs = [("The model", net, vocab)] + ([("The other model", *other)] if other else [])
        self.models = [_Model(*pair) for pair in pairs]
        self.rows: list[tuple[str, ...]] = []
        self.strategy = widgets.Dropdown(
            options=list(TRUNCATIONS), description="truncation", style=_LABEL_STYLE
        )
        longest = min(max_positions(model.net) for model in self.models)
        self.max_len = _slider("max_len", longest, 5, longest)
        self.button = widgets.Button(description="Predict and keep")
        self.tries = widgets.HTML()
        limits = [self.strategy, self.max_len]
        limits_row, bars = (
            widgets.HBox(row, layout={"flex_flow": "row wrap"}) for row in (limits, self.models)
        )
        if other:
            for model in self.models:
                model.children = (widgets.Label(f"{model.name}:"), *model.children)
        super().__init__(premise, hypothesis, limits, [limits_row, self.button, bars])
        self.children += (self.tries,)
        self.button.on_click(self.keep)

    def update(self, change: object = None) -> None:
        """Show the predictions, and the probabilities as bars, which may be empty."""
        super().update()
        for model in self.models:
            model.draw(predicted=bool(self.drawing.value))

    def show(self, premise: str, hypothesis: str) -> tuple[str, str]:
        """Return the predictions with notes on them, and the strips."""
        limits, gold = (self.max_len.value, self.strategy.value), self.gold_label()
        results = [model.predict(premise, hypothesis, *limits) for model in self.models]
        predictions = [
            f"{m.name} predicts {m.prediction}{' (wrong)' if m.is_wrong(gold) else ''}."
            for m in self.models
        ]
        known = [f"The gold label is {gold}."] if gold else []
        notes = dict.fromkeys(note for notes, _ in results for note in notes)
        strips = [strip._repr_html_() for _, strip in results]
        if len(strips) > 1:
            named = zip(self.models, strips, strict=True)
            strips = [f"<p><small>{model.name}:</small></p>{strip}" for model, strip in named]
        return " ".join([*predictions, *known, *notes]), "".join(strips)

    def gold_label(self) -> str | None:
        """Return the gold label of an example, if the models know this class."""
        gold = _GOLD_LABELS.get(self.pair())
        return gold if all(gold in model.label_names for model in self.models) else None

    def keep(self, button: object = None) -> None:
        """Predict again and add the predictions to the table."""
        self.update()
        if self.models[0].prediction is None:
            return
        gold = self.gold_label()
        pair = (text if len(text) <= 80 else f"{text[:80]}…" for text in self.pair())
        limits = f"{self.strategy.value}, {self.max_len.value}"
        predictions = [
            (f"{'✗ ' if m.is_wrong(gold) else ''}{m.prediction}", f"{max(m.probs):.3f}")
            for m in self.models
        ]
        self.rows.append((*pair, gold or "–", *chain(*predictions), limits))
        columns = ["prediction", "probability", "other prediction", "probability"]
        columns = ["gold label", *columns[: 2 * len(predictions)], "truncation"]
        self.tries.value = _table(("premise", "hypothesis", *columns), self.rows)

    def still(self) -> str:
        """Return the pair without the models' numbers, because they differ between machines."""
        if self.models[0].prediction is None:
            return self.message.value
        return "".join(
            f"<p>{model.name} predicts <b>{model.prediction}</b>.</p>"
            + model.unshaded_strip._repr_html_()
            for model in self.models
        )


class _Model(widgets.VBox):
    """The prediction of one model: a bar and a number for each class."""

    def __init__(self, name: str, net: BERTClassifier, vocab: Vocab):
        self.name, self.net, self.vocab = name, net, vocab
        self.label_names = label_names_of(net)
        self.prediction: str | None = None
        self.bars = [
            widgets.FloatProgress(
                max=1, description=label, style={**_LABEL_STYLE, "bar_color": color_of(label)}
            )
            for label in self.label_names
        ]
        self.numbers = [widgets.Label() for _ in self.bars]
        rows = map(widgets.HBox, zip(self.bars, self.numbers, strict=True))
        super().__init__(list(rows))

    def predict(
        self, premise: str, hypothesis: str, max_len: int, truncation: str
    ) -> tuple[list[str], PairStrip]:
        """Predict the class of a pair; return notes on it, and the strip."""
        pair, limits, notes = (premise, hypothesis), (max_len, truncation), []
        probs = predict_proba(self.net, self.vocab, [premise], [hypothesis], *limits)[0]
        self.unshaded_strip = strip = PairStrip(*pair, self.vocab, *limits)
        if sum(strip.kept) <= _MAX_SHADED:
            changes = word_changes(self.net, self.vocab, *pair, *limits)
            strip = PairStrip(*pair, self.vocab, *limits, changes=changes)
        else:
            notes.append(f"More than {_MAX_SHADED} tokens: the changes are not computed.")
        if unknown := strip.unknown_note():
            notes.append(unknown)
        if truncated := strip.count("cut"):
            notes.append(f"Truncated: {truncated} of {sum(strip.lens)} tokens.")
        self.prediction, self.probs = self.label_names[probs.argmax()], probs.tolist()
        return notes, strip

    def is_wrong(self, gold: str | None) -> bool:
        """Return whether the prediction differs from the gold label, if that is known."""
        return gold not in (None, self.prediction)

    def draw(self, predicted: bool) -> None:
        """Show the probabilities, or empty bars."""
        if not predicted:
            self.prediction, self.probs = None, [0.0] * len(self.bars)
        for bar, number, prob in zip(self.bars, self.numbers, self.probs, strict=True):
            bar.value, number.value = prob, f"{prob:.3f}"


class TruncationExplorer(_PairWidget):
    """A pair truncated to `max_len` by every strategy, as strips below each other."""

    def __init__(
        self,
        vocab: Vocab,
        premise: str = "A tall man in a red shirt is playing a guitar in a park on Monday.",
        hypothesis: str = "A man in a shirt is playing an instrument outdoors.",
        max_len: int = 16,
    ):
        self.vocab, self.max_len = vocab, _slider("max_len", max_len, 5, 128)
        super().__init__(premise, hypothesis, [self.max_len])

    def show(self, premise: str, hypothesis: str) -> tuple[str, str]:
        """Return how many tokens exceed `max_len`, and the strips."""
        strips = TruncationStrips(premise, hypothesis, self.vocab, self.max_len.value)
        length = sum(strips.strips["longest_first"].lens)
        too_many = max(0, length + 3 - self.max_len.value)
        limit = f"max_len {self.max_len.value}"
        message = f"{length} tokens and 3 special tokens: {too_many} too many for {limit}."
        return message, strips._repr_html_()


class AttentionExplorer(_PairWidget):
    """The attention weights between the tokens of a pair, for one attention head at a time."""

    def __init__(
        self,
        bert: BERTModel | BERTClassifier,
        vocab: Vocab,
        premise: str = EXAMPLES[3][0],
        hypothesis: str = EXAMPLES[3][1],
        block: int = 0,
        head: int = 0,
    ):
        self.bert, self.vocab = bert, vocab
        config = unwrapped(bert).encoder.config
        self.block = _slider("block", block, 0, config.num_blks - 1)
        self.head = _slider("head", head, 0, config.num_heads - 1)
        super().__init__(premise, hypothesis, [self.block, self.head])

    def show(self, premise: str, hypothesis: str) -> tuple[str, str]:
        """Return the block and head, and the heat map."""
        tokens, weights = attention(self.bert, self.vocab, premise, hypothesis)
        if len(tokens) > _MAX_DRAWN:
            raise ValueError(
                f"{len(tokens)} tokens, but at most {_MAX_DRAWN} can be drawn: shorten a sentence."
            )
        shown = weights[self.block.value, self.head.value]
        place = f"block {self.block.value}, head {self.head.value}"
        axes, title = ("from this token", "to that token"), f"Attention weights: {place}"
        picture = heat_map(shown, tokens, tokens, *axes, title=title)
        message = f"Attention weights of {place}."
        unknown = self.vocab.to_tokens(self.vocab.unk)
        if unknown in tokens:
            message += f" Words that are not in the vocabulary appear as {unknown}."
        return message, picture._repr_html_()


def _field(description: str, text: str) -> widgets.Textarea:
    return widgets.Textarea(
        text,
        description=description,
        placeholder=f"type a {description}",
        rows=2,
        style=_LABEL_STYLE,
        layout=_FIELD_LAYOUT,
    )


def _slider(name: str, value: int, low: int, high: int) -> widgets.IntSlider:
    return widgets.IntSlider(value, low, high, description=name, style=_LABEL_STYLE)


def _table(names: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a table as HTML, with all cells escaped."""
    head = "".join(f'<th scope="col" style="{_CELL}">{name}</th>' for name in names)
    cells = ("".join(f'<td style="{_CELL}">{html.escape(x)}</td>' for x in row) for row in rows)
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    return f"<table {PLAIN}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
