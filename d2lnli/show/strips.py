"""Strips: a pair of sentences drawn token by token, as BERT reads it.

A second sign repeats the meaning of every colour. Text and background colours are both set, so that
a strip is readable in any theme. The user's text is escaped.
"""

import html
import math
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from ..truncation import TRUNCATIONS, cut
from ..vocab import Vocab, tokens_of
from .colors import COLORS

_BOX = "display:inline-block;margin:2px 1px;padding:1px 4px;border-radius:4px;"
_SEGMENTS = (  # the line below a token is solid or dashed
    f"color:#0d2240;background:#d6e6ff;border-bottom:3px solid {COLORS['premises']};",
    f"color:#40220a;background:#ffe3c7;border-bottom:3px dashed {COLORS['hypotheses']};",
)
_CUT = _BOX + "color:#6b1f1f;background:#eeeeee;border-bottom:3px dotted #777777;"
_PAD = _BOX + "color:#555555;background:#ffffff;border:1px dotted #888888;font-size:60%;"
_DROP, _RISE = (232, 168, 0), (178, 132, 235)  # amber and violet, mixed with white
PLAIN = 'class="mathjax_ignore tex2jax_ignore"'
"""For elements with words: otherwise Jupyter draws text between dollar signs as a formula."""

_MAX_LETTERS = 40  # letters of a token
_MAX_CUT = 60  # drawn tokens of a truncated run; the others are counted


class Piece(NamedTuple):
    """One token of a strip; `kind` is 'special', 'word', 'unknown', 'cut' or 'pad'."""

    text: str
    segment: int
    kind: str
    change: float = math.nan


class PairStrip:
    """A pair as BERT reads it, with coloured segments; truncated tokens are struck out.

    A question mark flags an unknown word. `padded` adds the padding up to `max_len`. `changes` has
    a number for each word that is not truncated; it is written beside the word and shades it.
    """

    def __init__(
        self,
        premise: str | list[str],
        hypothesis: str | list[str],
        vocab: Vocab,
        max_len: int = 128,
        truncation: str = "longest_first",
        padded: bool = False,
        changes: Sequence[float] = (),
    ):
        sides = tokens_of(vocab, (premise, hypothesis))
        self.lens = list(map(len, sides))
        parts = [int(number) for number in cut(self.lens[0], self.lens[1], max_len, truncation)]
        self.kept = [sum(parts[:2]), sum(parts[2:])]
        cls, sep, self.pad, self.unk = vocab.to_tokens(vocab[["<cls>", "<sep>", "<pad>", "<unk>"]])
        self.pieces, numbers = [Piece(cls, 0, "special")], iter(changes)
        for segment, tokens in enumerate(sides):
            head, tail = parts[2 * segment : 2 * segment + 2]
            for i, token in enumerate(tokens):
                if head <= i < len(tokens) - tail:
                    self.pieces.append(Piece(token, segment, "cut"))
                else:
                    kind = "unknown" if vocab[token] == vocab.unk else "word"
                    self.pieces.append(Piece(token, segment, kind, next(numbers, math.nan)))
            self.pieces.append(Piece(sep, segment, "special"))
        if padded:
            self.pieces += [Piece(self.pad, 0, "pad")] * (max_len - sum(self.kept) - 3)
        if len(changes) not in (0, sum(self.kept)):
            raise ValueError(
                f"{len(changes)} changes for {sum(self.kept)} tokens: give one for each token"
            )

    def count(self, kind: str) -> int:
        """Return the number of tokens of one kind."""
        return sum(piece.kind == kind for piece in self.pieces)

    def unknown_note(self) -> str:
        """Return a sentence that counts the unknown words, or an empty text if there are none."""
        unknown, tokens = self.count("unknown"), sum(self.kept)
        note = f"Not in the vocabulary: {unknown} of {tokens} tokens; the model reads {self.unk}."
        return note if unknown else ""

    def row(self) -> str:
        """Return the tokens as HTML, without the legend."""
        runs = groupby(self.pieces, key=lambda piece: piece.kind == "cut")
        drawn = (_draw_cut(list(run)) if is_cut else map(_draw, run) for is_cut, run in runs)
        tokens = " ".join(token for run in drawn for token in run)
        return f'<div {PLAIN} style="line-height:1.9;">{tokens}</div>'

    def legend(self) -> str:
        """Return the legend of the signs in the row, as HTML."""
        names = ("premise, solid line", "hypothesis, dashed line")
        sides = zip(names, self.kept, self.lens, strict=True)
        signs = [f"{name}: {kept} of {length} tokens" for name, kept, length in sides]
        if any(not math.isnan(piece.change) for piece in self.pieces):
            signs.append(
                "number: change in the predicted class's probability when the word is masked"
                " (amber: drop, violet: rise)"
            )
        if self.count("cut"):
            signs.append("struck out: truncated")
        if self.count("unknown"):
            signs.append(f"?: not in the vocabulary, read as {html.escape(self.unk)}")
        if padding := self.count("pad"):
            signs.append(f"dotted: {padding} times {html.escape(self.pad)}")
        return f'<div {PLAIN} style="line-height:1.4;"><small>{" · ".join(signs)}</small></div>'

    def _repr_html_(self) -> str:
        return self.row() + self.legend()

    def __repr__(self) -> str:
        words = []
        for kind, run in groupby(self.pieces, key=lambda piece: piece.kind):
            texts = [piece.text for piece in run]
            cut_or_pad = {"cut": f"[{' '.join(texts)}]", "pad": f"{self.pad} ({len(texts)} times)"}
            words.append(cut_or_pad.get(kind, " ".join(texts)))
        return " ".join(words)


class TruncationStrips:
    """One pair truncated by every strategy, as strips below each other."""

    def __init__(
        self, premise: str | list[str], hypothesis: str | list[str], vocab: Vocab, max_len: int
    ):
        self.strips = {
            name: PairStrip(premise, hypothesis, vocab, max_len, name) for name in TRUNCATIONS
        }

    def _repr_html_(self) -> str:
        strips = ((name, strip._repr_html_()) for name, strip in self.strips.items())
        return "".join(f"<div><b>{name}</b> {strip}</div>" for name, strip in strips)

    def __repr__(self) -> str:
        return "\n".join(f"{name:<16}{strip}" for name, strip in self.strips.items())


def _draw(piece: Piece) -> str:
    """Return one token as HTML; `<bdi>` isolates right-to-left text."""
    shown = piece.text if len(piece.text) <= _MAX_LETTERS else f"{piece.text[:_MAX_LETTERS]}…"
    text = f"<bdi>{html.escape(shown.encode('utf-8', 'replace').decode('utf-8'))}</bdi>"
    if piece.kind == "cut":
        return f'<del style="{_CUT}">{text}</del>'
    if piece.kind == "pad":
        return f'<span style="{_PAD}">{text}</span>'
    style = _BOX + _SEGMENTS[piece.segment]
    if not math.isnan(piece.change):
        style += f"background:{_shade(piece.change)};"
        text += f" <small>{round(piece.change, 2) + 0.0:+.2f}</small>"
    if piece.kind == "unknown":
        return f'<span style="{style}" title="not in the vocabulary">{text}<sup>?</sup></span>'
    return f'<span style="{style}">{text}</span>'


def _draw_cut(run: list[Piece]) -> list[str]:
    """Return a truncated run of tokens as HTML; a long run is shortened in the middle."""
    if len(run) <= _MAX_CUT:
        return list(map(_draw, run))
    half = _MAX_CUT // 2
    middle = f'<del style="{_CUT}">… {len(run) - _MAX_CUT:,} more …</del>'
    return [*map(_draw, run[:half]), middle, *map(_draw, run[-half:])]


def _shade(change: float) -> str:
    """Return a colour from white, for no change, to amber for a drop or violet for a rise."""
    hue, strength = _DROP if change < 0 else _RISE, min(1.0, 1.5 * abs(change))
    return "#" + "".join(f"{round(255 - strength * (255 - part)):02x}" for part in hue)
