"""Pairs whose hypothesis has only words of the premise, so that the words do not give the label.

Each kind is a function that draws a premise and hypotheses to it, which put the same words together
in other ways. It builds sentences from plain phrases, so that every label can be read in the code.
"""

import random
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from . import lexicon
from .claims import CONTRADICTION, ENTAILMENT, LABELS, NEUTRAL, Pair
from .lexicon import MASS, PLURAL_ONLY, plural
from .scenes import FRAMES, pick
from .sentences import PRONOUNS, with_article


class Words(NamedTuple):
    """The words of a split; those of `challenge` and of `augment` have none in common."""

    trades: str
    people: str
    kinds: str
    dealings: str
    deeds: str
    colours: str
    garments: str
    numbers: str
    places: str


CHALLENGE = Words(
    trades="nurse sailor farmer tailor chemist guitarist teacher clown boxer waiter pilot dentist",
    people="man girl",
    kinds="animal: cat dog horse|musician: guitarist pianist drummer|medic: nurse dentist",
    dealings="following helping watching",
    deeds="""eating: pear sandwich cake|carrying: box basket bucket|washing: car truck bus
reading: book letter magazine|fixing: radio clock camera|holding: balloon kite mug""",
    colours="red yellow black green",
    garments="hat helmet|boots sandals|shirt sweater",
    numbers="two three five",
    places="in a park|on a street|in a garden|near water|on a bridge|in a school",
)
AUGMENT = Words(
    trades="baker soldier gardener butcher biologist painter librarian juggler runner barber",
    people="woman boy",
    kinds="person: soldier baker barber|performer: juggler dancer|worker: butcher gardener",
    dealings="leading teaching guarding",
    deeds="""slicing: peach melon pie|lifting: bag barrel suitcase|painting: fence wall poster
drawing: flower map cartoon|wiping: table plate window|polishing: ring trophy necklace""",
    colours="blue white brown purple",
    garments="cap beret|sneakers slippers|hoodie tunic",
    numbers="four six seven",
    places="in a field|in a library|in a forest|on a beach|in a plaza|in a museum",
)
Draw = tuple[str, list[tuple[str, str]]]  # a premise, and hypotheses with their labels


class Drawer:
    """Draws phrases from the words of a split."""

    def __init__(self, words: Words, rng: random.Random):
        self.words, self.rng = words, rng

    def one(self, text: str, separator: str | None = None) -> str:
        """Draw one of the words in a text."""
        return pick(self.rng, text.split(separator))

    def some(self, text: str, n: int, separator: str | None = None) -> list[str]:
        """Draw n different ones of the words in a text."""
        words = text.replace("\n", separator or " ").split(separator)
        return [words.pop(int(self.rng.random() * len(words))) for _ in range(n)]

    def beings(self, n: int) -> list[str]:
        """Draw n nouns of whom none could be another; a man may be a nurse."""
        words = self.words.people if n < 3 and self.rng.random() < 0.4 else self.words.trades
        return self.some(words, n)

    def who(self, n: int) -> list[str]:
        """Draw n people, such as `a nurse`."""
        return [with_article(noun) for noun in self.beings(n)]

    def be(self) -> str:
        """Draw a tense."""
        return "is" if self.rng.random() < 0.7 else "was"

    def dealing(self) -> str:
        """Draw what one does to another."""
        return self.one(self.words.dealings)

    def deeds(self, n: int) -> list[tuple[str, str, str]]:
        """Draw n deeds, each with two things that it is done to."""
        found = []
        for row in self.some(self.words.deeds, n, "|"):
            verb, things = row.split(": ")
            one, other = self.some(things, 2)
            found.append((verb, one, other))
        return found

    def thing(self) -> tuple[str, str, str]:
        """Draw a deed to things that may have any colour: the first row is food."""
        rows = self.words.deeds.replace("\n", "|").split("|")[1:]
        verb, things = pick(self.rng, rows).split(": ")
        one, other = self.some(things, 2)
        return verb, one, other

    def colours(self) -> list[str]:
        """Draw two colours."""
        return self.some(self.words.colours, 2)

    def numbers(self, n: int) -> list[str]:
        """Draw n numbers."""
        return self.some(self.words.numbers, n)

    def place(self) -> str:
        """Draw a place."""
        return self.one(self.words.places, "|")

    def garments(self, alike: bool) -> list[str]:
        """Draw two garments, for the same part of the body or for different ones."""
        if alike:
            return self.some(self.one(self.words.garments, "|"), 2)
        return [self.one(row) for row in self.some(self.words.garments, 2, "|")]


def worn(garment: str, colour: str = "") -> str:
    """Return such as `a red hat` or `boots`."""
    phrase = f"{colour} {garment}".strip()
    return phrase if garment in MASS | PLURAL_ONLY else with_article(phrase)


def roles(draw: Drawer) -> Draw:
    """Swap who does it and to whom it is done; where one word is more general that is open."""
    be, verb, place = draw.be(), draw.dealing(), draw.place()
    form = draw.rng.random()
    if form < 0.5:
        general, kinds = draw.one(draw.words.kinds, "|").split(": ")
        pair = [with_article(general), with_article(draw.one(kinds))]
        a, b = pair if draw.rng.random() < 0.5 else pair[::-1]
        swapped = NEUTRAL
    else:
        (a, b), swapped = draw.who(2), CONTRADICTION
    link = verb if form < 0.75 else f"being {FRAMES[verb].participle} by"
    same, other = f"{a} {be} {link} {b}", f"{b} {be} {link} {a}"
    return f"{same} {place}", [(same, ENTAILMENT), (other, swapped)]


def number(draw: Drawer) -> Draw:
    """Move a number to another noun."""
    are = {"is": "are", "was": "were"}[draw.be()]
    a, b = map(plural, draw.beings(2))
    verb, place = draw.dealing(), draw.place()
    n, m, k = draw.numbers(3)
    form = draw.rng.random()
    if form < 0.3:
        same = f"{n} {a} {are} {verb} {m} {b}"
        return f"{same} {place}", [
            (same, ENTAILMENT),
            (f"{m} {a} {are} {verb} {n} {b}", CONTRADICTION),
        ]
    if form < 0.8:
        same = f"{n} {a} {are} {verb} some {b}"
        vague = f"some {a} {are} {verb} some {b}"
        moved = f"some {a} {are} {verb} {n} {b}"
        return f"{same} {place}", [(pick(draw.rng, (same, vague)), ENTAILMENT), (moved, NEUTRAL)]
    verb, x, y = draw.deeds(1)[0]
    x, y = plural(x), plural(y)
    told = f"{n} {a} {are} {verb} {m} {x} and {k} {y}"
    true = f"{n} {a} {are} {verb} " + pick(draw.rng, (f"{m} {x}", f"{k} {y}"))
    false = f"{n} {a} {are} {verb} " + pick(draw.rng, (f"{k} {x}", f"{m} {y}"))
    return told, [(true, ENTAILMENT), (false, CONTRADICTION)]


def colour(draw: Drawer) -> Draw:
    """Move a colour to another noun."""
    be, place, (a,) = draw.be(), draw.place(), draw.who(1)
    (garment, _), (red, blue) = draw.garments(True), draw.colours()
    verb, x, _ = draw.thing()

    def scene(first: str = "", second: str = "", dressed: bool = True) -> str:
        dress = f" in {worn(garment, first)}" if dressed else ""
        return f"{a}{dress} {be} {verb} {worn(x, second)}"

    form = draw.rng.random()
    if form < 0.5:
        true = pick(draw.rng, (scene(second=blue, dressed=False), scene(red), scene(second=blue)))
        false = pick(draw.rng, (scene(second=red, dressed=False), scene(blue), scene(second=red)))
        return f"{scene(red, blue)} {place}", [(true, ENTAILMENT), (false, CONTRADICTION)]
    told, moved = scene(red), scene(second=red)
    told, moved = (told, moved) if form < 0.75 else (moved, told)
    return f"{told} {place}", [(told, ENTAILMENT), (moved, NEUTRAL)]


def garment(draw: Drawer) -> Draw:
    """Move what one wears to another, who may wear it too, or wears something else."""
    be, verb, (a, b) = draw.be(), draw.dealing(), draw.who(2)
    alike = draw.rng.random() < 0.5
    hat, boots = map(worn, draw.garments(alike))

    def scene(first: str = "", second: str = "") -> str:
        first, second = (f" wearing {dress}" if dress else "" for dress in (first, second))
        return f"{a}{first} {be} {verb} {b}{second}"

    true = pick(draw.rng, (scene(hat), scene(second=boots), scene()))
    moved = pick(draw.rng, (scene(boots), scene(second=hat)))
    label = CONTRADICTION if alike else NEUTRAL
    return scene(hat, boots), [(true, ENTAILMENT), (moved, label)]


def conjunction(draw: Drawer) -> Draw:
    """Join other halves; and take one of two of which `or` leaves open which."""
    be, (a, b), place = draw.be(), draw.who(2), draw.place()
    (verb, x, y), (verb_2, z, _) = draw.deeds(2)
    x, y, z = map(worn, (x, y, z))
    form = draw.rng.random()
    if form < 0.5:
        first, second = f"{a} {be} {verb} {x}", f"{b} {be} {verb_2} {z}"
        mixed = pick(draw.rng, (f"{a} {be} {verb_2} {z}", f"{b} {be} {verb} {x}"))
        true = pick(draw.rng, (first, second))
        return f"{first} and {second}", [(true, ENTAILMENT), (mixed, CONTRADICTION)]
    if form < 0.75:
        deed = f"{be} {verb} {x}"
        return f"{a} or {b} {deed} {place}", [
            (f"{b} or {a} {deed}", ENTAILMENT),
            (pick(draw.rng, (f"{a} {deed}", f"{b} {deed}")), NEUTRAL),
        ]
    return f"{a} {be} {verb} {x} or {y} {place}", [
        (f"{a} {be} {verb} {y} or {x}", ENTAILMENT),
        (f"{a} {be} {verb} {pick(draw.rng, (x, y))}", NEUTRAL),
    ]


def negation(draw: Drawer) -> Draw:
    """Take away `not`, move it, or leave out what may be the thing that is denied."""
    be, (a,), place, red = draw.be(), draw.who(1), draw.place(), draw.colours()[0]
    verb, x, y = draw.thing()
    if draw.rng.random() < 0.4:
        x, y = worn(x), worn(y)
        true = pick(draw.rng, (f"{a} {be} {verb} {y}", f"{a} {be} not {verb} {x}"))
        false = pick(draw.rng, (f"{a} {be} {verb} {x}", f"{a} {be} not {verb} {y}"))
        return f"{a} {be} not {verb} {x} but {y}", [(true, ENTAILMENT), (false, CONTRADICTION)]
    hat = draw.garments(True)[0]
    dressed = f"{a} in {worn(hat, red)}"
    deed, red_deed = f"{verb} {worn(x)}", f"{verb} {worn(x, red)}"
    true = pick(draw.rng, (f"{a} {be} not {red_deed} {place}", f"{a} {be} not {deed} {place}"))
    false = pick(draw.rng, (f"{a} {be} {red_deed} {place}", f"{a} {be} {deed} {place}"))
    open_ = pick(draw.rng, (f"{a} {be} not {deed}", f"{a} {be} {deed}"))
    return f"{dressed} {be} not {deed} {place}", [
        (true, ENTAILMENT),
        (false, CONTRADICTION),
        (open_, NEUTRAL),
    ]


def relative(draw: Drawer) -> Draw:
    """Take what is said in a relative clause, or outside of it, of the other one."""
    be, verb, (a, b) = draw.be(), draw.dealing(), draw.who(2)
    deed, x, _ = draw.deeds(1)[0]
    hat = worn(draw.garments(True)[0])
    does = f"{be} {deed} {worn(x)}"
    form = draw.rng.random()
    if form < 0.3:
        true = pick(draw.rng, (f"{a} {does}", f"{a} {be} {verb} {b}"))
        false = pick(draw.rng, (f"{b} {does}", f"{b} {be} {verb} {a}"))
        return f"{a} who {be} {verb} {b} {does}", [(true, ENTAILMENT), (false, CONTRADICTION)]
    if form < 0.6:
        true = pick(draw.rng, (f"{a} {does}", f"{b} {be} {verb} {a}"))
        false = pick(draw.rng, (f"{b} {does}", f"{a} {be} {verb} {b}"))
        return f"{a} that {b} {be} {verb} {does}", [(true, ENTAILMENT), (false, CONTRADICTION)]
    dressed = f"{a} wearing {hat}"
    true = pick(draw.rng, (f"{a} {be} {verb} {b} wearing {hat}", f"{a} {does}"))
    open_ = pick(draw.rng, (f"{dressed} {does}", f"{dressed} {be} {verb} {b}"))
    return f"{a} who {be} {verb} {b} wearing {hat} {does}", [(true, ENTAILMENT), (open_, NEUTRAL)]


def order(draw: Drawer) -> Draw:
    """Swap what comes first; of two things that both come later the order is open."""
    noun = draw.beings(1)[0]
    who = PRONOUNS.get(noun, "they")
    a = with_article(noun) if noun in PRONOUNS else f"{draw.numbers(1)[0]} {plural(noun)}"
    first, second, third = (
        f"{lexicon.PAST[verb]} {worn(thing)}" for verb, thing, _ in draw.deeds(3)
    )
    word = pick(draw.rng, ("before", "after"))
    told = f"{a} {first} {word} {who} {second}"
    swapped = f"{a} {second} {word} {who} {first}"
    if draw.rng.random() < 0.5:
        front = f"{word} {who} {second} , {a} {first}"
        return front, [(told, ENTAILMENT), (swapped, CONTRADICTION)]
    true = pick(draw.rng, (f"{a} {first} {word} {who} {third}", told))
    open_ = pick(
        draw.rng, (f"{a} {second} {word} {who} {third}", f"{a} {third} {word} {who} {second}")
    )
    return f"{told} and {third}", [(true, ENTAILMENT), (swapped, CONTRADICTION), (open_, NEUTRAL)]


KINDS: dict[str, Callable[[Drawer], Draw]] = {
    kind.__name__: kind
    for kind in (roles, number, colour, garment, conjunction, negation, relative, order)
}
LEFT_OUT = "relative"  # the kind that `augment` does not have


def written(text: str) -> str:
    """Return a phrase as a sentence, with one space between words and the stop."""
    return f"{text[0].upper()}{text[1:]} ."


def make_challenge(
    kinds: Collection[str], words: Words, num_pairs: int, seed: int, exclude: Collection[str] = ()
) -> list[Pair]:
    """Return pairs of some kinds, as many of each kind and label; no sentence is in `exclude`."""
    draw, pairs = Drawer(words, random.Random(seed)), []
    seen = set(exclude)
    cells = [(kind, label) for label in LABELS for kind in kinds]
    quota = {cell: num_pairs // len(cells) for cell in cells}
    for cell in cells[: num_pairs % len(cells)]:
        quota[cell] += 1
    for kind in kinds:
        while any(quota[kind, label] for label in LABELS):
            told, claims = KINDS[kind](draw)
            premise = written(told)
            for text, label in claims:
                fresh = quota[kind, label] and written(text) not in seen and premise not in seen
                if fresh and {*text.split()} <= {*told.split()}:
                    pairs.append(Pair(premise, written(text), label, kind))
                    quota[kind, label] -= 1
            seen.update(pair[k] for pair in pairs[-len(claims) :] for k in (0, 1))
    return pairs


def make_challenge_text(num_passages: int, seed: int) -> Iterator[tuple[str, str, str]]:
    """Yield unlabelled text with the same constructions, for a model to have met them.

    The second sentence follows from the first; the third has another word in it.
    """
    rng = random.Random(seed)
    drawers = [Drawer(words, rng) for words in (CHALLENGE, AUGMENT)]
    rows = [field for words in (CHALLENGE, AUGMENT) for field in (
        words.trades, words.people, words.colours, words.numbers, words.dealings,
        *(row.split(": ")[1] for row in words.deeds.replace("\n", "|").split("|")),
        *words.garments.split("|"),
    )]  # fmt: skip
    made = 0
    while made < num_passages:
        told, claims = KINDS[pick(rng, list(KINDS))](pick(rng, drawers))
        true = claims[0][0].split()
        places = [(i, row.split()) for i, word in enumerate(true) for row in rows
                  if word in row.split() and {*row.split()} - {*told.split()}]  # fmt: skip
        if places:
            i, row = pick(rng, places)
            other = pick(rng, [word for word in row if word not in told.split()])
            false = [*true[:i], other, *true[i + 1 :]]
            yield written(told), written(" ".join(true)), written(" ".join(false))
            made += 1
