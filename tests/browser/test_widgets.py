"""The widgets in JupyterLab, used as people use them: quickly, by keyboard alone, with malice."""

import contextlib
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, TimeoutError, expect

import d2lnli as d2l
from conftest import SPECIALS
from markup import FRAGMENTS, OURS

from .lab import Lab

PREDICTOR = "import d2lnli as d2l; d2l.Predictor(*d2l.load_or_finetune())"
TRUNCATION = (
    "import d2lnli as d2l; d2l.TruncationExplorer(d2l.load_pretrained_model('bert.tiny')[1])"
)
ATTENTION = "import d2lnli as d2l; d2l.AttentionExplorer(*d2l.load_pretrained_model('bert.tiny'))"
HOSTILE = (
    """<img src=x onerror="window.hacked=1">""",
    "<script>window.hacked=1</script>",
    "<img/src='x'onerror=window.hacked=1>",  # without a space it is one token
)
MANY = f"""import random, torch, d2lnli as d2l
from IPython.display import display

rng = random.Random(0)
texts = ["".join(rng.choices({FRAGMENTS!r}, k=rng.randint(1, 8))) for _ in range(30)]
words = [word for text in texts for word in text.split()]
vocab = d2l.Vocab(words, reserved_tokens={SPECIALS!r})
net = d2l.BERTClassifier(d2l.BERTModel(len(vocab), 16, 32, 4, 1, 0.1, 128))
predictor, explorer = d2l.Predictor(net, vocab), d2l.AttentionExplorer(net, vocab)
for text in texts:
    predictor.premise.value, predictor.hypothesis.value = text, "a"
    predictor.keep()
    explorer.hypothesis.value = text
    if text.split():
        display(d2l.TruncationStrips(text, text, vocab, 16))
        display(d2l.heat_map([[1.0]], [text], [text], text, text))
display(predictor, explorer)"""
FOREIGN = """ours => [...document.querySelectorAll('.jp-RenderedHTML, .widget-html-content')]
    .flatMap(part => [...part.querySelectorAll('*')])
    .filter(element => !(element.localName in ours)
        || [...element.attributes].some(a => !ours[element.localName].includes(a.name))
        || (element.localName === 'img' && !element.src.startsWith('data:image/png;base64,')))
    .map(element => element.outerHTML.slice(0, 200))"""
SHOWN = "() => [...document.querySelectorAll('.widget-html')].map(part => part.innerHTML).join()"
NUMBERS = ".widget-hprogress + .widget-label"
CLOSE = """([selector, expected]) => {
    const numbers = [...document.querySelectorAll(selector)].map(label => label.textContent);
    return expected.every((number, i) => Math.abs(numbers[i] - number) < 0.002);
}"""
FOCUS = """() => {
    const focus = document.activeElement;
    return focus.labels?.[0]?.textContent ?? focus.getAttribute('role') ?? focus.textContent;
}"""


def check_numbers(page: Page, expected: list[float]) -> None:
    """The numbers beside the bars of the first model become, or are, those expected."""
    with contextlib.suppress(TimeoutError):  # then the numbers themselves say what is wrong
        page.wait_for_function(CLOSE, arg=[NUMBERS, expected], timeout=10_000)
    numbers = map(float, page.locator(NUMBERS).all_inner_texts()[: len(expected)])
    assert list(numbers) == pytest.approx(expected, abs=0.002)


@contextlib.contextmanager
def seen_to_change(lab: Lab) -> Iterator[None]:
    """Wait until a message, drawing or table of the widget has become another."""
    lab.wait_for_kernel()  # or what was done before would be taken for the change
    before = lab.page.evaluate(SHOWN)
    yield
    lab.page.wait_for_function(f"before => ({SHOWN})() !== before", arg=before)


def press_until(page: Page, key: str, name: str) -> list[str]:
    """Press a key until what is called `name` has the focus; return all names on the way."""
    names = []
    while name not in names and len(names) < 20:
        page.keyboard.press(key)
        names.append(page.evaluate(FOCUS))
    assert name in names
    return names


def test_the_numbers_follow_quick_edits_and_stay(lab, classifier):
    lab.open("notebooks/05_prediction.ipynb")
    lab.run_all()
    widget = lab.widget.first  # the second Predictor, further down, has two models
    premise, hypothesis = (widget.get_by_label(name) for name in ("premise", "hypothesis"))
    for text in ("Two women are sleeping.", "Two tall women are running in a park on Monday."):
        hypothesis.clear()
        hypothesis.press_sequentially(text)
        probs = d2l.predict_proba(*classifier, [premise.input_value()], [text])[0].tolist()
        check_numbers(lab.page, probs)
        lab.wait_for_kernel()
        check_numbers(lab.page, probs)


def test_the_slider_of_max_len_cuts_the_strips(lab):
    lab.open_new(TRUNCATION)
    message, cut = lab.widget.get_by_role("status"), lab.widget.locator("del")
    expect(message).to_contain_text("too many for max_len 16")
    expect(cut).not_to_have_count(0)
    cut_at_first = cut.count()
    lab.widget.get_by_role("slider").press("ArrowLeft")
    expect(message).to_contain_text("too many for max_len 15")
    expect(cut).to_have_count(cut_at_first + len(d2l.TRUNCATIONS))


@pytest.mark.parametrize("name", ["block", "head"])
def test_the_sliders_of_attention_redraw_the_heat_map(lab, name):
    lab.open_new(ATTENTION)
    picture, message = lab.widget.get_by_role("img"), lab.widget.get_by_role("status")
    slider = lab.widget.locator(".widget-slider", has_text=name).get_by_role("slider")
    before = [picture.get_attribute(attribute) for attribute in ("src", "alt")]
    slider.press("ArrowRight")
    expect(picture).not_to_have_attribute("src", before[0])
    expect(picture).not_to_have_attribute("alt", before[1])
    expect(message).to_contain_text(f"{name} 1", ignore_case=True)


@pytest.mark.parametrize("source", [PREDICTOR, TRUNCATION, ATTENTION])
def test_what_is_typed_is_never_taken_for_html(lab, classifier, source):
    lab.open_new(source)
    created = lab.widget.locator("script, img:not([src^='data:image/png'])")
    for text in HOSTILE:
        for field in ("premise", "hypothesis"):
            for typed in ("", text):
                with seen_to_change(lab):
                    lab.widget.get_by_label(field).fill(typed)
        if source == PREDICTOR:
            lab.widget.get_by_role("button").click()
            expect(lab.widget.get_by_role("cell", name=text)).to_have_count(2)
        if source != ATTENTION:
            expect(lab.widget.locator("bdi", has_text="hacked=1")).not_to_have_count(0)
        expect(created).to_have_count(0)
    lab.wait_for_kernel()
    assert lab.page.evaluate("() => window.hacked") is None


def test_no_markup_of_many_kinds_becomes_an_element(lab):
    lab.open_new(MANY)
    lab.wait_for_kernel()
    drawn = lab.page.locator(".jp-RenderedHTML bdi, .widget-html-content td")
    expect(drawn.filter(has_text="hacked").first).to_be_attached()
    assert drawn.count() > 500
    ours = {name: sorted(attributes) for name, attributes in OURS.items()}
    assert lab.page.evaluate(FOREIGN, ours) == []
    for element in lab.page.locator(".jp-RenderedHTML span, .jp-RenderedHTML del").all()[:40]:
        element.dispatch_event("mouseover")
        element.dispatch_event("click")
    assert lab.page.evaluate("() => window.hacked") is None


def test_fields_lists_and_button_have_names(lab, classifier):
    lab.open_new(PREDICTOR)
    for role, name in (
        ("combobox", "examples"),
        ("textbox", "premise"),
        ("textbox", "hypothesis"),
        ("combobox", "truncation"),
        ("button", "Predict and keep"),
    ):
        expect(lab.widget.get_by_role(role, name=name, exact=True)).to_be_visible()


@pytest.mark.parametrize("width", [1150, 800])
def test_the_predictor_fits_a_screen_of_900_pixels(lab, classifier, width):
    lab.page.set_viewport_size({"width": width, "height": 900})
    lab.open_new("import d2lnli as d2l; two = d2l.load_or_finetune()", "d2l.Predictor(*two)")
    lab.widget.scroll_into_view_if_needed()
    expect(lab.widget).to_be_in_viewport(ratio=1)
    assert lab.page.evaluate("() => document.body.scrollWidth") <= width


def test_the_keyboard_alone_works_the_predictor(lab, classifier):
    lab.open_new(PREDICTOR)
    lab.page.keyboard.press("Escape")  # command mode: the cell has the focus, then its toolbar
    press_until(lab.page, "Tab", "examples")
    stops = press_until(lab.page, "Tab", "Predict and keep")
    assert stops == ["premise", "hypothesis", "truncation", "slider", "128", "Predict and keep"]
    # Space opens a list: while it is closed JupyterLab takes ArrowDown, and goes to the next cell.
    for way, name, keys in (
        ("Shift+Tab", "examples", "Space ArrowDown ArrowDown Enter"),
        ("Tab", "premise", "x"),
        ("Tab", "hypothesis", "x"),
        ("Tab", "slider", "Home PageUp"),
        ("Shift+Tab", "truncation", "Space ArrowDown ArrowDown Enter"),
        ("Tab", "Predict and keep", "Enter"),
        ("Shift+Tab", "slider", "ArrowLeft"),
        ("Tab", "Predict and keep", "Space"),
    ):
        press_until(lab.page, way, name)
        with seen_to_change(lab):
            for key in keys.split():
                lab.page.keyboard.press(key)
