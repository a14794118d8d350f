"""Widgets, their callbacks called as the browser calls them: by setting the values of fields."""

import re
import subprocess
import sys

import ipywidgets
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

import d2lnli as d2l
import seams
from conftest import SIZES
from seams import EXAMPLES
from test_strips import TAGS, Page

PAIR = "a b c d e", "a b zebra"
VIEW = "application/vnd.jupyter.widget-view+json"
HOSTILE = {
    "a way out": "</bdi></span></div></td></table><h1>",
    "NUL": "a \0 b",
    "half a pair": "a \ud800 b",
    "many words": "a " * 10_000,
    "many letters": "x" * 100_000,
    "white space": "\ta\n\n b\r\n\v c",
    "special tokens": "<sep> <cls> <pad> <mask>",
    "a formula": "$x^$ \\frac{",
    "punctuation": "...!?,;:()''\"",
}


@pytest.fixture(scope="module")
def tiny():
    bert, vocab = d2l.load_pretrained_model("bert.tiny")
    torch.manual_seed(0)
    return d2l.BERTClassifier(bert), vocab


@pytest.fixture(params=["Predictor", "TruncationExplorer", "AttentionExplorer"])
def widget(request, net, vocab):
    model = () if request.param == "TruncationExplorer" else (net,)
    return getattr(d2l, request.param)(*model, vocab, *PAIR)


@pytest.fixture
def predictor(net, vocab):
    return d2l.Predictor(net, vocab, *PAIR)


def shown(predictor, i=0):
    return [bar.value for bar in predictor.models[i].bars]


def expected(predictor, i=0):
    pair = [predictor.premise.value], [predictor.hypothesis.value]
    cut = predictor.max_len.value, predictor.strategy.value
    return d2l.predict_proba(predictor.models[i].net, predictor.models[i].vocab, *pair, *cut)[0]


def drawn(widget):
    return Page(widget.drawing.value).texts["bdi"]


def all_widgets(widget):
    yield widget
    for child in getattr(widget, "children", ()):
        yield from all_widgets(child)


def check_html(widget):
    for part in (w for w in all_widgets(widget) if isinstance(w, ipywidgets.HTML)):
        part.value.encode("utf-8")
        page = Page(part.value)
        assert page.tags <= TAGS | {"table", "thead", "tbody", "tr", "th", "td", "img"}
        assert page.attributes <= {"class", "style", "title", "role", "scope", "alt", "src"}
        images = [attributes for tag, attributes in page.elements if tag == "img"]
        assert all(image["src"].startswith("data:image/png;base64,") for image in images)


def test_the_bars_show_what_predict_proba_gives(predictor):
    np.testing.assert_allclose(shown(predictor), expected(predictor), rtol=1e-6)
    assert [bar.description for bar in predictor.models[0].bars] == list(d2l.LABELS)
    assert [label.value for label in predictor.models[0].numbers] == [
        f"{prob:.3f}" for prob in expected(predictor)
    ]
    assert d2l.LABELS[np.argmax(shown(predictor))] in predictor.message.value


@pytest.mark.parametrize("num_classes", [2, 5])
def test_there_is_a_bar_for_each_class(vocab, num_classes):
    names = [f"<{i}>" for i in range(num_classes)]
    bert = d2l.BERTModel(len(vocab), dropout=0.1, **SIZES)
    predictor = d2l.Predictor(d2l.BERTClassifier(bert, num_classes, names), vocab, *PAIR)
    assert [bar.description for bar in predictor.models[0].bars] == names
    np.testing.assert_allclose(shown(predictor), expected(predictor), rtol=1e-6)
    assert predictor.models[0].prediction == names[expected(predictor).argmax()]
    predictor.button.click()
    check_html(predictor)
    predictor.premise.value = ""
    assert shown(predictor) == [0.0] * num_classes


@pytest.fixture
def two(net, vocab, tiny):
    return d2l.Predictor(net, vocab, *PAIR, other=tiny)


def test_a_second_model_predicts_beside_the_first(two, predictor):
    assert shown(two) == shown(predictor)
    for i, name in enumerate(("The model", "The other model")):
        np.testing.assert_allclose(shown(two, i), expected(two, i), rtol=1e-6)
        prediction = d2l.LABELS[expected(two, i).argmax()]
        assert f"{name} predicts {prediction}." in two.message.value
        assert f"{name} predicts <b>{prediction}</b>." in two._repr_mimebundle_()["text/html"]
        assert f"{name}:" in Page(two.drawing.value).text
    assert drawn(two)[: len(drawn(predictor))] == drawn(predictor)
    assert len(drawn(two)) > len(drawn(predictor))
    check_html(two)


def test_the_table_has_the_predictions_of_both_models(two):
    two.button.click()
    ((premise, hypothesis, _, *predictions, _),) = two.rows
    assert (premise, hypothesis) == PAIR
    probs = [expected(two, i) for i in (0, 1)]
    assert predictions[::2] == [d2l.LABELS[p.argmax()] for p in probs]
    assert predictions[1::2] == [f"{p.max():.3f}" for p in probs]
    assert "other prediction" in Page(two.tries.value).text


def test_a_wrong_prediction_for_an_example_is_marked(tiny):
    predictor = d2l.Predictor(*tiny)
    for pair, gold in (
        (("A dog is chasing a cat.", "A cat is chasing a dog."), "contradiction"),
        (("Two tall women are running in a park.", "Two women are running."), "entailment"),
        (("Two tall women are running in a park.", "Two women are running on Monday."), "neutral"),
    ):
        predictor.examples.value = pair
        predictor.button.click()
        prediction = d2l.LABELS[expected(predictor).argmax()]
        wrong = prediction != gold
        assert predictor.rows[-1][2:4] == (gold, f"{'✗ ' * wrong}{prediction}")
        assert f"predicts {prediction}{' (wrong)' * wrong}. " in predictor.message.value
        assert f"The gold label is {gold}." in predictor.message.value
    assert any("✗" in row[3] for row in predictor.rows)
    predictor.hypothesis.value = "A cat is here."
    assert "gold label" not in predictor.message.value


def test_without_the_class_of_an_example_nothing_is_called_wrong(vocab):
    bert = d2l.BERTModel(len(vocab), dropout=0.1, **SIZES)
    two_classes = d2l.BERTClassifier(bert, 2, ["yes", "no"])
    assert "gold" not in d2l.Predictor(two_classes, vocab).message.value


def test_where_one_of_two_models_fails_neither_predicts(two, monkeypatch):
    def fail(*pair):
        raise ValueError("no")

    monkeypatch.setattr(two.models[1], "predict", fail)
    two.premise.value = "a b"
    two.button.click()
    assert shown(two, 0) == shown(two, 1) == [0, 0, 0]
    assert not two.rows


def test_two_models_share_the_positions_that_both_have(two):
    positions = [model.net.encoder.config.max_len for model in two.models]
    assert two.max_len.max == min(positions) < max(positions)


def test_the_bars_follow_every_field(predictor):
    seen = [shown(predictor)]
    for control, value in (
        (predictor.premise, "h g f e d c b a " * 3),
        (predictor.hypothesis, "c d e f"),
        (predictor.max_len, 9),
        (predictor.strategy, "cut_premise"),
    ):
        control.value = value
        np.testing.assert_allclose(shown(predictor), expected(predictor), rtol=1e-6)
        seen.append(shown(predictor))
    assert len(set(map(tuple, seen))) == 5


def test_after_quick_edits_the_last_one_counts(predictor, net, vocab):
    for length in range(1, 11):
        predictor.hypothesis.value = " ".join("abcdefghab"[:length])
    last = d2l.predict_proba(net, vocab, [PAIR[0]], ["a b c d e f g h a b"])[0]
    np.testing.assert_allclose(shown(predictor), last, rtol=1e-6)
    assert drawn(predictor)[-12:] == ["<sep>", *"abcdefghab", "<sep>"]


def test_the_words_carry_their_changes(predictor, net, vocab):
    predictor.max_len.value = 9
    changes = d2l.word_changes(net, vocab, *PAIR, 9)
    strip = d2l.PairStrip(*PAIR, vocab, 9, changes=changes)
    assert predictor.drawing.value == strip._repr_html_()


def test_the_button_keeps_a_row_and_an_empty_field_adds_none(predictor):
    for number, hypothesis in enumerate(("a", "b c", "d"), start=1):
        predictor.hypothesis.value = hypothesis
        predictor.button.click()
        assert len(re.findall("<tr>", predictor.tries.value)) == 1 + number
    table = predictor.tries.value
    row = predictor.rows[-1]
    assert row[:2] == (PAIR[0], "d")
    assert row[2:4] == ("–", d2l.LABELS[expected(predictor).argmax()])
    assert row[4] == f"{expected(predictor).max():.3f}"
    assert all(text in row[5] for text in ("longest_first", str(SIZES["max_len"])))
    assert all(text in Page(table).text for text in row)
    predictor.hypothesis.value = " \n"
    predictor.button.click()
    assert predictor.tries.value == table
    assert len(predictor.rows) == 3


def test_an_example_fills_both_fields(widget):
    before = widget.drawing.value
    for pair in (EXAMPLES[0], EXAMPLES[3]):
        widget.examples.value = pair
        assert (widget.premise.value, widget.hypothesis.value) == pair
        assert widget.drawing.value != before
        before = widget.drawing.value
    widget.examples.index = 0
    assert (widget.premise.value, widget.hypothesis.value) == EXAMPLES[3]


def test_an_example_that_was_edited_can_be_chosen_again(predictor):
    _, (_, example), *_ = predictor.examples.options
    predictor.examples.value = example
    assert predictor.examples.value == example
    predictor.hypothesis.value = "a dog"
    assert predictor.examples.value == ()
    predictor.examples.value = example
    assert predictor.hypothesis.value == example[1]


def test_the_saved_picture_of_an_empty_predictor_is_its_message(predictor):
    predictor.premise.value = " "
    saved = predictor._repr_mimebundle_()["text/html"]
    assert "None" not in saved and "Type a premise" in saved


@pytest.mark.parametrize("strategy", d2l.TRUNCATIONS)
def test_the_strip_follows_strategy_and_length(predictor, vocab, strategy):
    predictor.premise.value, predictor.hypothesis.value = "a b c d e f g h", "c d e f"
    predictor.strategy.value, predictor.max_len.value = strategy, 10
    strip = d2l.PairStrip("a b c d e f g h", "c d e f", vocab, 10, strategy)
    assert drawn(predictor) == [piece.text for piece in strip.pieces]
    kept = [tag for tag, _ in Page(predictor.drawing.value).elements if tag == "del"]
    assert len(kept) == strip.count("cut") == 5
    assert "5 of 12 tokens" in predictor.message.value


@pytest.mark.parametrize("name", ["premise", "hypothesis"])
def test_an_empty_field_gives_a_message_and_empty_bars(widget, name):
    field, before = getattr(widget, name), (widget.message.value, widget.drawing.value)
    typed = field.value
    for nothing in ("", " ", "\n\t ", "\u00a0\u3000"):
        field.value = nothing
        assert "Type a premise and a hypothesis" in widget.message.value
        assert widget.drawing.value == ""
        if isinstance(widget, d2l.Predictor):
            assert shown(widget) == [0, 0, 0]
            assert {label.value for label in widget.models[0].numbers} == {"0.000"}
    field.value = typed
    assert (widget.message.value, widget.drawing.value) == before


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_does_no_harm(widget, text, monkeypatch):
    if "$" not in text:  # which matplotlib reads as a formula; other text it draws as it is
        monkeypatch.setattr(Figure, "savefig", lambda self, png, **how: png.write(b"png"))
    for field in (widget.premise, widget.hypothesis):
        field.value = text
        if isinstance(widget, d2l.Predictor):
            widget.button.click()
            assert sum(shown(widget)) == pytest.approx(1, abs=1e-5)
        check_html(widget)
        assert widget.message.value
        for part in widget._repr_mimebundle_().values():
            str(part).encode("utf-8")
    if isinstance(widget, d2l.Predictor):
        assert len(widget.rows) == 2
        assert len(widget.tries.value) < 5000


def test_an_error_of_the_model_becomes_a_message(widget, monkeypatch):
    def fail(*pair):
        raise ValueError("<b>no</b>")

    monkeypatch.setattr(type(widget), "show", fail)
    widget.update()
    assert "&lt;b&gt;no&lt;/b&gt;" in widget.message.value
    assert widget.drawing.value == ""


def test_typed_text_is_split_as_in_snli(tiny):
    predictor = d2l.Predictor(*tiny, "It's a dog.", "A man isn't (really) here!")
    assert drawn(predictor) == [
        "<cls>", "it", "'s", "a", "dog", ".", "<sep>",
        "a", "man", "is", "n't", "-lrb-", "really", "-rrb-", "here", "!", "<sep>",
    ]  # fmt: skip


def test_unknown_words_are_counted(predictor):
    assert "1 of 8 tokens" in predictor.message.value
    predictor.premise.value = "zebra a quokka"
    assert "3 of 6 tokens" in predictor.message.value
    predictor.premise.value, predictor.hypothesis.value = "a b", "c"
    assert "Unknown" not in predictor.message.value


def test_many_words_are_not_shaded_but_predicted(tiny):
    predictor = d2l.Predictor(*tiny, "a dog is running " * 20, "a dog is running")
    assert "More than 64 tokens" in predictor.message.value
    np.testing.assert_allclose(shown(predictor), expected(predictor), rtol=1e-6)
    assert not re.search(r"[+-]\d\.\d\d", predictor.drawing.value)
    predictor.max_len.value = 64
    assert "More than 64 tokens" not in predictor.message.value
    assert re.search(r"[+-]\d\.\d\d", predictor.drawing.value)


def test_an_edit_asks_the_net_no_more_than_twice(tiny):
    net, vocab = tiny
    predictor, calls = d2l.Predictor(net, vocab), []
    asked = net.register_forward_hook(lambda *_: calls.append(0))
    for _, hypothesis in EXAMPLES:
        calls.clear()
        predictor.hypothesis.value = hypothesis
        assert len(calls) <= 2
    asked.remove()


def test_every_control_says_what_it_is(widget):
    kinds = (
        ipywidgets.Textarea, ipywidgets.Dropdown, ipywidgets.IntSlider, ipywidgets.Button,
        ipywidgets.FloatProgress,
    )  # fmt: skip
    controls = [part for part in all_widgets(widget) if isinstance(part, kinds)]
    assert {widget.premise, widget.hypothesis, widget.examples} < set(controls)
    names = [part.description for part in controls]
    assert all(names)
    assert len(set(names)) == len(names)


def test_a_saved_notebook_keeps_a_picture(widget):
    bundle = widget._repr_mimebundle_()
    assert type(widget).__name__ in bundle["text/plain"]
    assert not re.search(r"\d", bundle["text/plain"])
    assert bundle[VIEW]["model_id"] == widget.model_id
    assert Page(bundle["text/html"]).tags & {"img", "span"}
    assert widget.drawing.value in bundle["text/html"] or isinstance(widget, d2l.Predictor)


def test_the_saved_picture_of_a_predictor_has_no_trained_numbers(predictor):
    saved = predictor._repr_mimebundle_()["text/html"]
    text = Page(saved).text
    assert predictor.models[0].prediction in text
    assert not re.search(r"\d\.\d", text)
    assert Page(saved).texts["bdi"] == drawn(predictor)
    assert re.search(r"[+-]\d\.\d\d", predictor.drawing.value)


def test_the_sliders_of_attention_reach_every_block_and_head(net, vocab):
    explorer = d2l.AttentionExplorer(net, vocab, *PAIR)
    assert explorer.block.max == SIZES["num_blks"] - 1
    assert explorer.head.max == SIZES["num_heads"] - 1
    assert explorer.block.min == explorer.head.min == 0
    pictures = {explorer.drawing.value}
    explorer.head.value = explorer.head.max
    pictures.add(explorer.drawing.value)
    explorer.block.value = explorer.block.max
    pictures.add(explorer.drawing.value)
    assert len(pictures) == 3
    assert "block 1, head 3" in explorer.message.value


def test_the_picture_of_attention_holds_the_chosen_head(net, vocab):
    seen = seams.heat_maps_are_kept()
    explorer = d2l.AttentionExplorer(net, vocab, *PAIR)
    explorer.head.value, explorer.block.value = 2, 1
    tokens, weights = d2l.attention(net, vocab, *PAIR)
    matrix, rows, columns, *_, more = seen[-1]
    assert more == {"title": "Attention weights: block 1, head 2"}
    np.testing.assert_array_equal(matrix, weights[1, 2])
    assert rows == columns == tokens


def test_attention_says_what_an_unknown_word_is_drawn_as(net, vocab):
    explorer = d2l.AttentionExplorer(net, vocab, "a b", "c")
    assert "unk" not in explorer.message.value
    explorer.premise.value = "a zebra"
    assert "as &lt;unk&gt;" in explorer.message.value


def test_too_many_tokens_for_the_heat_map_give_a_message(tiny):
    explorer = d2l.AttentionExplorer(*tiny)
    for number, drawn_at_all in ((36, True), (37, False), (500, False)):
        explorer.premise.value, explorer.hypothesis.value = "a " * number, "dog"
        assert bool(explorer.drawing.value) == drawn_at_all
        assert ("at most 40 can be drawn" in explorer.message.value) != drawn_at_all


def test_the_strips_of_the_explorer_follow_max_len(vocab):
    explorer = d2l.TruncationExplorer(vocab, "a b c d e f g h a b", "c d e f")
    seen = set()
    for max_len in (17, 12, 5):
        explorer.max_len.value = max_len
        strips = d2l.TruncationStrips("a b c d e f g h a b", "c d e f", vocab, max_len)
        assert explorer.drawing.value == strips._repr_html_()
        assert f"{17 - max_len} too many for max_len {max_len}." in explorer.message.value
        seen.add(explorer.drawing.value)
    assert len(seen) == 3
    assert all(f"<b>{name}</b>" in explorer.drawing.value for name in d2l.TRUNCATIONS)


def test_ipywidgets_is_imported_with_the_first_widget():
    code = (
        "import sys, d2lnli; before = 'ipywidgets' in sys.modules; d2lnli.Predictor; "
        "print(before, 'ipywidgets' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False True\n"


def test_the_package_has_the_names_that_it_lists_and_no_others():
    assert all(getattr(d2l, name) is not None for name in d2l.__all__)
    assert len(set(d2l.__all__)) == len(d2l.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        d2l.nonsense  # noqa: B018
