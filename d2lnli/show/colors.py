"""One colour for one thing: a class, a split, a strategy and a side look the same in every figure.

All have a contrast of at least 3 on white. Markers, dashes and names repeat what colours say.
"""

COLORS = {
    "entailment": "#2e8b57",
    "contradiction": "#c62828",
    "neutral": "#757575",
    "train": "#8e44ad",
    "dev": "#0097a7",
    "test": "#795548",
    "challenge": "#37474f",
    "premises": "#2b62b8",
    "hypotheses": "#b85c00",
    "hypothesis": "#b85c00",  # the training "hypothesis only"
    "longest_first": "#4d4d4d",
    "proportional": "#3949ab",
    "cut_premise": "#d6408a",
    "cut_hypothesis": "#6d8b00",
    "head_tail": "#a87900",
    "run": "#000000",  # "this run", beside recorded ones
}
OTHERS = ("#3949ab", "#d6408a", "#6d8b00", "#a87900", "#4d4d4d")


def color_of(name: str, place: int = 0) -> str:
    """Return the colour of the first word of `name` that has one, or else of its place."""
    own = (COLORS[word] for word in name.split() if word in COLORS)
    return next(own, OTHERS[place % len(OTHERS)])
