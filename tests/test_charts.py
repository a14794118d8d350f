"""Still figures: the plotted numbers are the numbers given, and words say them too."""

import base64
import io
import re

import matplotlib.image
import numpy as np
import pytest
from matplotlib.colors import to_rgb

import d2lnli as d2l
from seams import COLORS, OTHERS

VALUES = {"first": 0.25, "second": 0.75, "third": 0.5}
LINES = {
    name: {x: (x + i) / 10 for x in range(1, 5)}
    for i, name in enumerate(("one", "two", "three", "four", "five"))
}

DOTS = {
    "seeds": {"first": [0.5, 0.6], "second": [0.7]},
    "this run": {"second": (0.75, 0.7, 0.8), "third": [0.1]},
}


def charts():
    return {
        "bars": d2l.bar_chart(VALUES, "accuracy"),
        "lines": d2l.line_chart(LINES, "epoch", "loss"),
        "heat": d2l.heat_map([[0.1, 0.9]], ["r"], ["c", "d"], "from", "to"),
        "padding": d2l.padding_chart({"mixed": ([3, 5], 8)}),
        "dots": d2l.dot_chart(DOTS, "accuracy", ("chance", 1 / 3)),
    }


@pytest.fixture(params=charts().items(), ids=lambda chart: chart[0])
def chart(request):
    return request.param[1]


def test_a_chart_is_a_white_image_with_a_description(chart):
    found = re.fullmatch(
        r'<img alt="([^"]{20,})" style="max-width:100%" src="data:image/png;base64,([^"]*)">',
        chart._repr_html_(),
    )
    assert found[1] == chart.description
    pixels = matplotlib.image.imread(io.BytesIO(base64.b64decode(found[2])))
    assert pixels.shape[1] == 800
    for corner in (pixels[0, 0], pixels[-1, 0], pixels[0, -1], pixels[-1, -1]):
        assert (corner == 1).all(), "the background must be white, also in the dark theme"
    assert pixels.min() < 0.5
    assert repr(chart) == "<Picture>"


def test_names_in_a_description_are_escaped():
    html = d2l.bar_chart({'"><script>': 1.0}, "<b>")._repr_html_()
    assert "<script>" not in html
    assert "<b>" not in html
    assert html.count('"') == 6


def test_bars_are_as_long_as_their_numbers_the_first_on_top():
    axes = d2l.bar_chart(VALUES, "accuracy").figure.axes[0]
    assert [bar.get_width() for bar in axes.patches] == [0.25, 0.75, 0.5]
    assert [bar.get_x() for bar in axes.patches] == [0, 0, 0]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(VALUES)
    heights = [axes.transData.transform((0, bar.get_y()))[1] for bar in axes.patches]
    assert heights == sorted(heights, reverse=True)
    assert [text.get_text() for text in axes.texts] == ["0.25", "0.75", "0.50"]
    assert axes.get_xlabel() == "accuracy"
    (zero,) = axes.lines
    assert set(zero.get_xdata()) == {0}


def test_bars_are_told_in_words_in_the_format_asked_for():
    picture = d2l.bar_chart({"fp32": 1234.5, "bf16": 99.4}, "pairs/sec", number=",.0f")
    assert "pairs/sec" in picture.description
    assert "fp32 1,234" in picture.description
    assert "bf16 99" in picture.description
    assert [text.get_text() for text in picture.figure.axes[0].texts] == ["1,234", "99"]


def test_a_reference_is_dotted_and_named():
    axes = d2l.line_chart(LINES, "epoch", "loss", ("chance", 0.4)).figure.axes[0]
    assert list(axes.lines[-1].get_ydata()) == [0.4, 0.4]
    assert axes.lines[-1].get_label() == "chance"


def test_lines_go_through_the_points_given():
    picture = d2l.line_chart(LINES, "epoch", "loss")
    axes = picture.figure.axes[0]
    found = {
        line.get_label(): dict(zip(*map(list, line.get_data()), strict=True)) for line in axes.lines
    }
    assert found == LINES
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "loss")
    named = [text.get_text() for text in picture.figure.legends[0].get_texts()]
    assert named == list(LINES)


def test_dots_are_where_their_numbers_are_the_first_row_on_top():
    axes = d2l.dot_chart(DOTS, "accuracy", ("chance", 1 / 3)).figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["first", "second", "third"]
    low, high = axes.get_ylim()
    assert low > high
    *found, reference = (line for line in axes.lines if not line.get_label().startswith("_child"))
    rows = [(line.get_label(), list(line.get_xdata()), line.get_ydata()[0]) for line in found]
    assert [row[:2] for row in rows] == [
        ("seeds", [0.5, 0.6]), ("seeds", [0.7]), ("this run", [0.75]), ("this run", [0.1]),
    ]  # fmt: skip
    assert [round(y) for *_, y in rows] == [0, 1, 1, 2]
    assert rows[1][2] < rows[2][2], "the series of a row stand one below the other"
    assert (list(reference.get_xdata()), reference.get_linestyle()) == ([1 / 3] * 2, ":")


def test_a_dot_with_an_interval_has_a_line_through_it():
    axes = d2l.dot_chart(DOTS, "accuracy").figure.axes[0]
    ((start, end),) = axes.collections[0].get_segments()
    assert (start[0], end[0]) == (0.7, 0.8)
    assert len(axes.collections) == 1


def test_series_of_dots_differ_in_more_than_colour_and_are_named_once():
    many = {name: {"a": [0.1], "b": [0.2]} for name in ("one", "two", "three", "four")}
    figure = d2l.dot_chart(many, "accuracy").figure
    lines = [line for line in figure.axes[0].lines if line.get_label() in many]
    assert len({line.get_marker() for line in lines}) == 4
    assert len({to_rgb(line.get_color()) for line in lines}) == 4
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(many)


def test_dots_are_told_in_words():
    words = d2l.dot_chart(DOTS, "accuracy", ("chance", 1 / 3)).description
    for part in (
        "chance: 0.333",
        "seeds, first: 0.500, 0.600",
        "this run, second: 0.750 (0.700 to 0.800)",
    ):
        assert part in words


@pytest.mark.parametrize("names", ["short", "a long name of a series"])
def test_the_names_of_series_fit_into_the_figure(names):
    series = {f"{names} {i}": {"a": [0.1]} for i in range(4)}
    figure = d2l.dot_chart(series, "accuracy").figure
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1


def test_ratios_are_equally_far_apart_where_it_was_asked_for():
    points = {300: 0.5, 1000: 0.6, 10_000: 0.9}
    axes = d2l.line_chart({"a": points}, "pairs", "accuracy", log_x=True).figure.axes[0]
    assert axes.get_xscale() == "log"
    assert list(axes.get_xticks()) == list(points)
    assert [t.get_text() for t in axes.get_xticklabels()] == ["300", "1,000", "10,000"]


def test_lines_are_told_in_words():
    words = d2l.line_chart({"dev": {1: 0.4567, 9: (0.75, 0.7, 0.8)}}, "epoch", "acc").description
    for part in ("dev", "epoch", "acc", "0.457 at 1", "0.75 at 9 (0.7 to 0.8)"):
        assert part in words


def test_lines_differ_in_more_than_colour():
    lines = d2l.line_chart(LINES, "epoch", "loss").figure.axes[0].lines
    assert len({line.get_marker() for line in lines}) == 5
    assert len({line.get_linestyle() for line in lines}) >= 4
    assert len({to_rgb(line.get_color()) for line in lines}) == 5
    long = {name: dict(enumerate(np.linspace(0, 1, 41))) for name in list(LINES)[:4]}
    lines = d2l.line_chart(long, "step", "loss").figure.axes[0].lines
    assert {line.get_marker() for line in lines} == {""}
    assert len({line.get_linestyle() for line in lines}) == 4


def test_lines_have_the_bands_given():
    points = {1: (0.5, 0.4, 0.7), 2: (0.6, 0.5, 0.65)}
    axes = d2l.line_chart({"dev": points, "train": {1: 0.1, 2: 0.2}}, "x", "y").figure.axes[0]
    (band,) = axes.collections
    corners = {tuple(point) for point in band.get_paths()[0].vertices.round(6).tolist()}
    assert corners == {(1, 0.4), (1, 0.7), (2, 0.5), (2, 0.65)}
    assert list(axes.lines[0].get_ydata()) == [0.5, 0.6]


MATRIX = [[0.1, 0.25, 0.05], [0.5, 0.9, 0.95]]


def test_a_heat_map_shows_the_matrix_with_a_name_for_each_row_and_column():
    picture = d2l.heat_map(MATRIX, ["r0", "r1"], ["c0", "c1", "c2"], "true", "predicted")
    axes = picture.figure.axes[0]
    np.testing.assert_array_equal(axes.images[0].get_array(), MATRIX)
    assert axes.images[0].get_clim() == (0, 1)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["r0", "r1"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["c0", "c1", "c2"]
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("true", "predicted")
    for part in ("true", "predicted", "0.95", "r1", "c2"):
        assert part in picture.description
    assert len(axes.texts) == 0


def test_a_heat_map_writes_each_number_into_its_cell():
    picture = d2l.heat_map(
        np.array(MATRIX), ["r0", "r1"], ["c0", "c1", "c2"], "y", "x", numbers=True
    )
    axes = picture.figure.axes[0]
    found = {text.get_position()[::-1]: text.get_text() for text in axes.texts}
    assert found == {(i, j): f"{MATRIX[i][j]:.2f}" for i in range(2) for j in range(3)}
    colours = {text.get_text(): text.get_color() for text in axes.texts}
    assert (colours["0.05"], colours["0.95"]) == ("black", "white")


def test_a_heat_map_is_white_at_zero_and_darker_at_more():
    (image,) = d2l.heat_map(MATRIX, ["a", "b"], ["c", "d", "e"], "y", "x").figure.axes[0].images
    light = [sum(image.cmap(image.norm(value))[:3]) for value in np.linspace(0, 1, 11)]
    assert light == sorted(light, reverse=True)
    assert light[0] > 2.9


def test_a_heat_map_has_the_counts_beside_its_numbers():
    counts = [[1, 25, 5], [50, 90, 1900]]
    names = ["r0", "r1"], ["c0", "c1", "c2"]
    picture = d2l.heat_map(MATRIX, *names, "y", "x", counts=counts)
    found = {text.get_position()[::-1]: text.get_text() for text in picture.figure.axes[0].texts}
    assert (found[0, 1], found[1, 2]) == ("0.25 (25)", "0.95 (1,900)")
    assert "r1 and c2 0.95 (1,900)" in picture.description


def test_without_numbers_a_heat_map_describes_the_largest_of_each_row():
    words = d2l.heat_map(MATRIX, ["r0", "r1"], ["c0", "c1", "c2"], "from", "to").description
    assert words.endswith("the largest of each row, r0 and c1 0.25, r1 and c2 0.95.")


TITLED = {
    "bars": lambda title: d2l.bar_chart(VALUES, "accuracy", title=title),
    "lines": lambda title: d2l.line_chart(LINES, "epoch", "loss", title=title),
    "line": lambda title: d2l.line_chart({"one": LINES["one"]}, "epoch", "loss", title=title),
    "heat": lambda title: d2l.heat_map([[0.1, 0.9]], ["r"], ["c", "d"], "y", "x", title=title),
    "padding": lambda title: d2l.padding_chart({"mixed": ([3, 5], 8)}, title=title),
    "dots": lambda title: d2l.dot_chart(DOTS, "accuracy", title=title),
}


@pytest.mark.parametrize("draw", TITLED.values(), ids=TITLED)
def test_a_title_is_drawn_and_begins_the_description(draw):
    picture = draw("What is seen")
    figure = picture.figure
    above = [figure.get_suptitle(), *(legend.get_title().get_text() for legend in figure.legends)]
    assert "What is seen" in above
    assert picture.description == f"What is seen. {draw('').description}"


def test_one_series_is_named_by_the_title_and_needs_no_legend():
    assert not TITLED["line"]("The only one").figure.legends
    assert TITLED["line"]("").figure.legends


THINGS = [*d2l.LABELS, "train", "dev", "test", "challenge", *d2l.TRUNCATIONS]
COLORS_OF_THINGS = {name: to_rgb(COLORS[name]) for name in THINGS}


def test_a_thing_has_one_colour_in_every_figure_whatever_its_place():
    places = ("other", *THINGS), (*reversed(THINGS), "other")
    for names in places:
        lines = d2l.line_chart({name: {1: 0.1, 2: 0.2} for name in names}, "x", "y").figure.axes[0]
        dots = d2l.dot_chart({name: {"row": [0.5]} for name in names}, "x").figure.axes[0]
        bars = d2l.bar_chart(dict.fromkeys(names, 0.5), "x").figure.axes[0].patches
        for axes in (lines, dots):
            found = {line.get_label(): to_rgb(line.get_color()) for line in axes.lines}
            assert {name: found[name] for name in THINGS} == COLORS_OF_THINGS
        found = {name: bar.get_facecolor()[:3] for name, bar in zip(names, bars, strict=True)}
        assert {name: found[name] for name in THINGS} == COLORS_OF_THINGS
    predicted = d2l.line_chart({"predicted neutral": {1: 0.1}}, "x", "y").figure.axes[0].lines[0]
    assert to_rgb(predicted.get_color()) == COLORS_OF_THINGS["neutral"]


def contrast_on_white(rgb):
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    return 1.05 / (np.dot(linear, [0.2126, 0.7152, 0.0722]) + 0.05)


def test_colours_can_be_seen_and_told_apart():
    assert len(set(COLORS_OF_THINGS.values())) == len(THINGS)
    assert min(map(contrast_on_white, COLORS_OF_THINGS.values())) > 3
    assert min(map(contrast_on_white, map(to_rgb, OTHERS))) > 3


SHARES = {"first": (1.0, 0.98, 1.0), "second": (0.0, 0.0, 0.01)}


def test_no_axis_of_shares_goes_beyond_0_and_1():
    dots = d2l.dot_chart({"a": SHARES}, "share").figure.axes[0]
    bars = d2l.bar_chart({"a": 1.0, "b": 0.5}, "share").figure.axes[0]
    line = d2l.line_chart({"a": {1: 0.0, 2: 1.0}}, "x", "share").figure.axes[0]
    assert dots.get_xlim() == bars.get_xlim() == line.get_ylim() == (0, 1)
    assert not any(drawn.get_clip_on() for drawn in (dots.lines[0], line.lines[0]))
    differences = d2l.dot_chart({"a": {"row": [-0.1, 0.1]}}, "difference").figure.axes[0]
    assert differences.get_xlim()[0] < -0.1


def test_a_negative_bar_has_its_number_on_its_own_side():
    figure = d2l.bar_chart({"up": 0.4, "down": -0.3}, "change", number="+.2f").figure
    axes = figure.axes[0]
    figure.draw_without_rendering()
    zero = axes.transData.transform((0, 0))[0]
    up, down = (text.get_window_extent() for text in axes.texts)
    assert down.x1 < axes.transData.transform((-0.3, 0))[0] < zero < up.x0
    assert down.x0 >= axes.bbox.x0


def test_many_points_are_told_by_the_first_the_highest_and_the_last():
    points = {x: 10 - abs(x - 30) / 10 for x in range(60)}
    words = d2l.line_chart({"a": points}, "x", "y").description
    assert words == "Lines of y against x: a 7 at 0, 10 at 30, 7.1 at 59."


def test_large_numbers_on_an_axis_have_separators():
    axes = d2l.bar_chart({"a": 120_000_000.0}, "parameters", number=",.0f").figure.axes[0]
    assert axes.xaxis.get_major_formatter()(20_000_000) == "20,000,000"


def test_padding_is_drawn_behind_the_tokens_and_its_share_is_said():
    batches = {"mixed": ([3, 5, 10], 10), "sorted": ([7, 8], 8)}
    picture = d2l.padding_chart(batches)
    assert [axes.get_title() for axes in picture.figure.axes] == [
        "mixed\n40 % padding",
        "sorted\n6 % padding",
    ]
    for title in ("mixed: 40 % padding", "sorted: 6 % padding"):
        assert title in picture.description
    for axes, (lens, width) in zip(picture.figure.axes, batches.values(), strict=True):
        tokens, padding = axes.containers
        assert [bar.get_width() for bar in tokens] == lens
        assert [bar.get_x() for bar in padding] == lens
        assert [bar.get_x() + bar.get_width() for bar in padding] == [width] * len(lens)
        assert {bar.get_hatch() for bar in padding} == {"///"}
        assert {bar.get_hatch() for bar in tokens} == {None}
    named = [text.get_text() for text in picture.figure.legends[0].get_texts()]
    assert named == ["tokens", "padding"]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: d2l.bar_chart({}, "x"),
        lambda: d2l.line_chart({}, "x", "y"),
        lambda: d2l.heat_map([], [], [], "y", "x"),
        lambda: d2l.padding_chart({}),
    ],
)
def test_nothing_to_draw_is_an_error_that_says_so(draw):
    with pytest.raises(ValueError, match="nothing to draw"):
        draw()


def test_padding_of_real_minibatches(toy_pairs, vocab):
    data = d2l.SNLIBERTDataset(toy_pairs, 32, vocab)
    lens = data.valid_lens[:16].tolist()
    share = 1 - sum(lens) / (16 * max(lens))
    picture = d2l.padding_chart({"batch": (lens, max(lens))})
    assert f"batch: {100 * share:.0f} % padding" in picture.description
