"""Nothing that a person types, and no word of a vocabulary, becomes an element of a page."""

from html.parser import HTMLParser

import pytest
import torch
from hypothesis import strategies as st

import d2lnli as d2l
from conftest import SIZES, SPECIALS, few_or_many
from markup import FRAGMENTS, OURS
from seams import table
from test_fuzzing import CASES, fuzz

MARKUP = st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=8).flatmap(
    lambda parts: st.sampled_from(["", " "]).map(lambda between: between.join(parts))
)


class Elements(HTMLParser):
    """Notes what is no element of ours, and whether all that is opened is closed."""

    def __init__(self, page: str):
        super().__init__(convert_charrefs=True)
        self.foreign, self.open, self.said = [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if not values.keys() <= OURS.get(tag, set()) or tag not in OURS:
            self.foreign.append((tag, values))
        if tag == "img":
            assert values["src"].startswith("data:image/png;base64,")
            self.said.append(values["alt"])
        else:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.said.append(data)

    def handle_comment(self, data):
        self.foreign.append(("comment", data))

    def handle_decl(self, decl):
        self.foreign.append(("declaration", decl))

    unknown_decl = handle_pi = handle_decl


def check_page(page: str) -> str:
    """Find nothing foreign in a page, and return its text."""
    elements = Elements(page)
    assert elements.foreign == [] and elements.open == []
    return " ".join(elements.said)


def model_of(words: list[str]) -> tuple[d2l.BERTClassifier, d2l.Vocab]:
    """A random classifier whose vocabulary is made of markup."""
    vocab = d2l.Vocab(words, reserved_tokens=SPECIALS)
    torch.manual_seed(0)
    sizes = {**SIZES, "num_blks": 1, "max_len": 24}
    return d2l.BERTClassifier(d2l.BERTModel(len(vocab), dropout=0.1, **sizes)).eval(), vocab


@CASES
def test_strips_and_tables_escape_what_they_show(cases):
    @fuzz(cases, MARKUP, MARKUP, st.sampled_from(sorted(d2l.TRUNCATIONS)), st.integers(5, 20))
    def check(premise, hypothesis, strategy, max_len):
        _, vocab = model_of([*premise.split(), "a"])
        if premise.split() and hypothesis.split():
            strips = d2l.TruncationStrips(premise, hypothesis, vocab, max_len)
            check_page(strips._repr_html_())
            words = premise.split()
            shades = [0.5] * (len(words) + 1)
            strip = d2l.PairStrip(words, ["a"], vocab, 200, strategy, padded=True, changes=shades)
            text = check_page(strip._repr_html_())
            shown = [word if len(word) <= 40 else f"{word[:40]}…" for word in words]
            assert all(word.replace("\x00", "\ufffd") in text.replace("\x00", "\ufffd")
                       for word in shown)  # fmt: skip
        assert premise in check_page(table(("premise",), [(premise,)])).replace("  ", " ") or (
            "\x00" in premise
        )


@CASES
def test_names_of_special_tokens_are_escaped_too(cases):
    @fuzz(cases, MARKUP)
    def check(name):
        vocab = d2l.Vocab()
        names = [f"{name}{i}" for i in range(5)]
        vocab.idx_to_token = names
        vocab.token_to_idx = {own: i for i, own in enumerate(SPECIALS)}
        check_page(d2l.PairStrip(["x"], ["y"], vocab, 9, padded=True)._repr_html_())


@few_or_many("cases", 12, 200)
def test_widgets_escape_what_they_show(cases):
    @fuzz(cases, MARKUP, MARKUP)
    def check(premise, hypothesis):
        net, vocab = model_of([*premise.split(), *hypothesis.split()])
        for widget in (
            d2l.Predictor(net, vocab, "a", "a"),
            d2l.TruncationExplorer(vocab, "a", "a"),
            d2l.AttentionExplorer(net, vocab, "a", "a"),
        ):
            widget.premise.value, widget.hypothesis.value = premise, hypothesis
            if isinstance(widget, d2l.Predictor):
                widget.keep()
                check_page(widget.tries.value)
            for page in (widget.message.value, widget.drawing.value, widget.still()):
                check_page(page)


@pytest.mark.filterwarnings("ignore:constrained_layout not applied", "ignore:Glyph")
@few_or_many("cases", 8, 60)
def test_pictures_draw_and_describe_any_word(cases):
    @fuzz(cases, st.lists(MARKUP, min_size=1, max_size=4, unique=True), MARKUP)
    def check(names, label):
        square = [[0.5] * len(names) for _ in names]
        for picture in (
            d2l.bar_chart(dict.fromkeys(names, 0.5), label),
            d2l.dot_chart({label: {name: [0.5] for name in names}}, label, (label, 0.3)),
            d2l.line_chart({name: {1: 0.5, 2: 0.6} for name in names}, label, label),
            d2l.heat_map(square, names, names, label, label),
            d2l.padding_chart({name: ([3, 4], 5) for name in names}),
        ):
            assert check_page(picture._repr_html_())
