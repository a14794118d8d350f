"""Strips: they show the pair as BERT reads it, in safe HTML that can be read in any theme."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

import d2lnli as d2l
from conftest import SPECIALS

VOCAB = d2l.Vocab("a b c d e f g h".split(), reserved_tokens=SPECIALS)
WORDS = st.lists(st.sampled_from("a b c d e f g h".split()), min_size=1, max_size=25)
LENGTHS = st.integers(5, 30)
STRATEGIES = st.sampled_from(sorted(d2l.TRUNCATIONS))
TAGS = {"div", "span", "del", "small", "bdi", "sup", "b", "p"}
PROPERTIES = {  # the ones of ours that JupyterLab's sanitizer keeps
    "display", "margin", "padding", "border-radius", "color", "background", "border-bottom",
    "border", "font-size", "line-height", "text-align",
}  # fmt: skip


class Page(HTMLParser):
    """HTML taken apart: its elements, their styles, and the text of each `<bdi>` and `<small>`."""

    def __init__(self, html):
        super().__init__()
        self.open, self.elements, self.text = [], [], ""
        self.texts = {"bdi": [], "small": []}
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag == "img":
            return
        self.open.append(tag)
        if tag in self.texts:
            self.texts[tag].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        for tag in self.texts:
            if tag in self.open:
                self.texts[tag][-1] += data

    def unknown_decl(self, data):
        raise AssertionError(data)

    handle_comment = handle_decl = handle_pi = unknown_decl

    @property
    def tags(self):
        return {tag for tag, _ in self.elements}

    @property
    def attributes(self):
        return {name for _, attributes in self.elements for name in attributes}

    @property
    def styles(self):
        return [attributes["style"] for _, attributes in self.elements if "style" in attributes]


def style_of(html):
    """Return the last value of each CSS property of the first styled element."""
    return dict(declaration.split(":") for declaration in Page(html).styles[0][:-1].split(";"))


def token_of(strip, kind, segment=0):
    """Return the style of the first token of one kind and segment, drawn alone."""
    drawn = Page(strip.row())
    tokens = [(tag, a) for tag, a in drawn.elements if "border" in a.get("style", "")]
    where = next(i for i, p in enumerate(strip.pieces) if (p.kind, p.segment) == (kind, segment))
    tag, attributes = tokens[where]
    return style_of(f'<{tag} style="{attributes["style"]}"></{tag}>')


def luminance(colour):
    channels = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (
        x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(style):
    low, high = sorted(luminance(style[name]) for name in ("color", "background"))
    return (high + 0.05) / (low + 0.05)


def as_read(premise, hypothesis, max_len, strategy):
    """Return the tokens, segments and valid length that the fine-tuning dataset gives."""
    dataset = d2l.SNLIBERTDataset(([premise], [hypothesis], [0]), max_len, VOCAB, strategy)
    (token_ids, segments, valid_len), _ = dataset[0]
    pieces = list(zip(VOCAB.to_tokens(token_ids.tolist()), segments.tolist(), strict=True))
    return pieces, int(valid_len)


@given(WORDS, WORDS, LENGTHS, STRATEGIES)
def test_what_is_not_cut_is_what_the_dataset_holds(premise, hypothesis, max_len, strategy):
    pieces, valid_len = as_read(premise, hypothesis, max_len, strategy)
    for padded, expected in ((False, pieces[:valid_len]), (True, pieces)):
        strip = d2l.PairStrip(premise, hypothesis, VOCAB, max_len, strategy, padded)
        kept = [(piece.text, piece.segment) for piece in strip.pieces if piece.kind != "cut"]
        assert kept == expected
    assert strip.count("pad") == max_len - valid_len
    assert strip.count("special") == 3


@given(WORDS, WORDS, LENGTHS, STRATEGIES)
def test_no_word_is_lost_and_none_changes_its_place(premise, hypothesis, max_len, strategy):
    strip = d2l.PairStrip(premise, hypothesis, VOCAB, max_len, strategy)
    sides = [
        [p.text for p in strip.pieces if p.segment == segment and p.kind in ("word", "cut")]
        for segment in (0, 1)
    ]
    assert sides == [premise, hypothesis]
    assert strip.lens == [len(premise), len(hypothesis)]
    assert sum(strip.lens) - sum(strip.kept) == strip.count("cut")


def test_a_typed_sentence_is_drawn_as_the_model_reads_it():
    strip = d2l.PairStrip("A B's c.", "D", VOCAB)
    assert [(piece.text, piece.kind) for piece in strip.pieces] == [
        ("<cls>", "special"),
        ("a", "word"),
        ("b", "word"),
        ("'s", "unknown"),
        ("c", "word"),
        (".", "unknown"),
        ("<sep>", "special"),
        ("d", "word"),
        ("<sep>", "special"),
    ]


def test_unknown_words_are_flagged_and_explained():
    strip = d2l.PairStrip("a zebra b", "zebra", VOCAB)
    assert [piece.text for piece in strip.pieces if piece.kind == "unknown"] == ["zebra"] * 2
    assert strip.count("unknown") == 2
    page = Page(strip._repr_html_())
    flagged = [attributes for _, attributes in page.elements if "title" in attributes]
    assert len(flagged) == [tag for tag, _ in page.elements].count("sup") == 2
    assert "not in the vocabulary" in strip.legend()
    assert "not in the vocabulary" not in d2l.PairStrip("a b", "c", VOCAB)._repr_html_()


@given(WORDS, WORDS, LENGTHS, STRATEGIES, st.data())
def test_changes_land_on_the_kept_words_in_order(premise, hypothesis, max_len, strategy, data):
    number = sum(d2l.PairStrip(premise, hypothesis, VOCAB, max_len, strategy).kept)
    some = st.lists(st.floats(-1, 1), min_size=number, max_size=number)
    changes = data.draw(some)
    strip = d2l.PairStrip(premise, hypothesis, VOCAB, max_len, strategy, changes=changes)
    landed = [(piece.kind, piece.change) for piece in strip.pieces if piece.change == piece.change]
    assert landed == [("word", change) for change in changes]
    shown = [text for text in Page(strip.row()).texts["small"] if text]
    assert shown == [f"{round(change, 2) + 0.0:+.2f}" for change in changes]


TOKENS = st.text(min_size=1, max_size=20).filter(lambda text: text.split() == [text])


@given(st.lists(TOKENS, min_size=1, max_size=9), LENGTHS, STRATEGIES)
def test_any_text_survives_the_round_trip_through_html(words, max_len, strategy):
    strip = d2l.PairStrip(words, words, VOCAB, max_len, strategy, padded=True)
    page = Page(strip._repr_html_())
    assert page.texts["bdi"] == [piece.text for piece in strip.pieces]
    assert page.tags <= TAGS
    assert page.attributes <= {"class", "style", "title"}


@pytest.mark.parametrize("strategy", d2l.TRUNCATIONS)
def test_ten_thousand_words_make_a_short_page_that_counts_them(strategy):
    strip = d2l.PairStrip(["a"] * 10_000, ["b"] * 10_000, VOCAB, 128, strategy)
    html = strip._repr_html_()
    assert len(html.encode()) < 100_000
    more = [int(n.replace(",", "")) for n in re.findall(r"([\d,]+) more", html)]
    drawn = len(Page(html).texts["bdi"]) - strip.count("special") - strip.count("word")
    assert sum(more) + drawn == strip.count("cut") == 20_000 - 125
    assert max(more) > 9000


def test_a_stretch_is_drawn_whole_or_with_the_number_left_out():
    for length, more in ((60, []), (61, ["1 more"]), (100, ["40 more"])):
        strip = d2l.PairStrip(["a"] * (length + 9), ["b"], VOCAB, 13)
        assert strip.count("cut") == length
        assert re.findall(r"\d+ more", strip.row()) == more


def test_a_very_long_word_is_shortened():
    html = d2l.PairStrip(["a" * 100_000], ["b"], VOCAB)._repr_html_()
    assert len(html) < 2000
    assert re.search("a{10,}…", html)
    assert "…" not in d2l.PairStrip(["a" * 20], ["b"], VOCAB)._repr_html_()


def every_kind():
    words = [*"abcd", "zebra", *"efgh"]
    strip = d2l.PairStrip(words, ["zebra", "a"], VOCAB, 9)
    padded = d2l.PairStrip(["a"], ["b"], VOCAB, 9, padded=True)
    return {
        "premise": token_of(strip, "word"),
        "cls": token_of(strip, "special"),
        "hypothesis": token_of(strip, "word", 1),
        "unknown": token_of(strip, "unknown", 1),
        "cut": token_of(strip, "cut"),
        "pad": token_of(padded, "pad"),
    }


def test_every_colour_has_a_second_sign():
    kinds = every_kind()
    lines = {
        name: re.search("solid|dashed|dotted", style.get("border-bottom") or style["border"])[0]
        for name, style in kinds.items()
    }
    assert lines == {
        "premise": "solid",
        "cls": "solid",
        "hypothesis": "dashed",
        "unknown": "dashed",
        "cut": "dotted",
        "pad": "dotted",
    }
    strip = d2l.PairStrip([*"abcd", "zebra", *"efgh"], ["a"], VOCAB, 9)
    deleted = [attributes for tag, attributes in Page(strip.row()).elements if tag == "del"]
    assert len(deleted) == strip.count("cut") == 4
    assert kinds["pad"]["font-size"].endswith("%")


def test_text_and_ground_are_both_coloured_and_can_be_told_apart():
    for name, style in every_kind().items():
        assert contrast(style) >= 4.5, name


@pytest.mark.parametrize("change", [-5.0, -1.0, -0.6, -0.3, 0.0, 0.3, 0.6, 1.0, 5.0])
def test_shaded_words_can_be_read(change):
    strip = d2l.PairStrip(["a"], ["b"], VOCAB, changes=[change, change])
    styles = [token_of(strip, "word", segment) for segment in (0, 1)]
    assert all(contrast(style) >= 4.5 for style in styles)
    assert styles[0]["background"] == styles[1]["background"]
    assert (styles[0]["background"] == "#ffffff") == (change == 0)


def test_there_must_be_a_change_for_every_kept_word():
    with pytest.raises(ValueError, match="1 changes for 2 tokens"):
        d2l.PairStrip(["a"], ["b"], VOCAB, changes=[0.5])


def test_the_shade_tells_the_sign_and_grows_with_the_change():
    changes = [-0.6, -0.3, 0.0, 0.3, 0.6]
    strip = d2l.PairStrip(list("abcd"), ["f"], VOCAB, changes=changes)
    pages = [style for style in Page(strip.row()).styles if style.count("background") == 2]
    shades = [re.findall("background:(#.{6})", style)[1] for style in pages]
    lights = [luminance(shade) for shade in shades]
    assert lights[0] < lights[1] < lights[2] > lights[3] > lights[4]
    blue_over_red = [int(shade[5:], 16) > int(shade[1:3], 16) for shade in shades]
    assert blue_over_red == [False, False, False, True, True]


def test_the_sanitizer_of_jupyterlab_keeps_every_style():
    strip = d2l.PairStrip(
        ["a", "zebra"] * 50, ["b"] * 100, VOCAB, 12, "head_tail", changes=[0.1] * 9
    )
    padded = d2l.PairStrip(["a"], ["b"], VOCAB, 12, padded=True)
    for drawn in (strip, padded, d2l.TruncationStrips(["a"] * 9, ["b"] * 9, VOCAB, 12)):
        styles = Page(drawn._repr_html_()).styles
        found = {line.split(":")[0] for style in styles for line in style.split(";") if line}
        assert "background" in found
        assert found <= PROPERTIES


def test_the_legend_counts_the_tokens_of_each_side():
    legend = d2l.PairStrip(["a"] * 9, ["b"] * 2, VOCAB, 10)._repr_html_()
    assert "5 of 9 tokens" in legend
    assert "2 of 2 tokens" in legend
    assert "struck out: truncated" in legend
    padded = d2l.PairStrip(["a"], ["b"], VOCAB, 12, padded=True).legend()
    assert "7 times &lt;pad&gt;" in padded
    assert "cut" not in padded


def test_as_text_the_cut_words_stand_in_brackets():
    assert repr(d2l.PairStrip("a b c d e", "f g", VOCAB, 8)) == "<cls> a b c [d e] <sep> f g <sep>"
    both_ends = d2l.PairStrip("a b c d e f", "g", VOCAB, 7, "head_tail")
    assert repr(both_ends) == "<cls> a b [c d e] f <sep> g <sep>"
    padded = d2l.PairStrip("a zebra", "g", VOCAB, 10, padded=True)
    assert repr(padded) == "<cls> a zebra <sep> g <sep> <pad> (4 times)"


def test_there_is_one_strip_for_every_strategy():
    pair = "a b c d e f g h a b".split(), "c d e f".split()
    strips = d2l.TruncationStrips(*pair, VOCAB, 10)
    assert list(strips.strips) == list(d2l.TRUNCATIONS)
    html, text = strips._repr_html_(), repr(strips).splitlines()
    for name, line in zip(d2l.TRUNCATIONS, text, strict=True):
        alone = d2l.PairStrip(*pair, VOCAB, 10, name)
        assert line.split() == [name, *repr(alone).split()]
        assert alone._repr_html_() in html
        assert f"<b>{name}</b>" in html
    assert len(set(text)) == 5


def test_a_length_or_strategy_that_there_is_not_is_named():
    with pytest.raises(ValueError, match="max_len=4"):
        d2l.PairStrip("a", "b", VOCAB, 4)
    with pytest.raises(ValueError, match=r"'middle'.*head_tail"):
        d2l.PairStrip("a", "b", VOCAB, truncation="middle")
