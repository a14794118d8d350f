"""A small seeded grammar that writes inference pairs about everyday scenes.

A scene is one event or a few; an event is a row of slots. The premise tells some slots; a
hypothesis tells some of the same event's slots, and one of them, the focus, decides the label: it
says what the premise says (entailment), rules it out (contradiction), or adds to it (neutral).
"""

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

ENTAILMENT, CONTRADICTION, NEUTRAL = LABELS = ("entailment", "contradiction", "neutral")

# ---- The lexicon: within a row, one thing cannot be two of the words at once --------------------

PEOPLE = "man woman boy girl".split()
ANIMALS = "dog cat horse cow sheep goat duck".split()
KIND = dict.fromkeys(PEOPLE, "person") | dict.fromkeys(ANIMALS, "animal")
IRREGULAR = {"man": "men", "woman": "women", "person": "people", "sheep": "sheep"}
COUNTS = "a two three four five".split()
ADJECTIVES = {
    "person": "tall short|happy sad|blond bald|calm angry".split("|"),
    "animal": "small big|white black brown grey|wet dry".split("|"),
}
COLOURS = "red blue green yellow black white".split()
GARMENTS = "shirt jacket coat sweater hat".split()
MOTIONS = "running walking jumping swimming dancing sitting standing sleeping kneeling".split()
ANIMAL_MOTIONS = "running walking jumping swimming sitting standing sleeping".split()
OBJECTS = {
    "eating": "apple banana pear carrot potato sandwich pizza cake",
    "playing": "guitar violin piano drum flute trumpet",
    "riding": "bicycle motorcycle scooter sled",
    "driving": "car truck bus van",
    "reading": "book newspaper letter magazine",
    "washing": "plate window cup bottle",
    "painting": "fence wall chair table",
    "fixing": "computer radio lamp clock",
    "throwing": "ball frisbee stick stone",
    "pushing": "cart box barrel wheelbarrow",
    "climbing": "ladder tree rock rope",
}
OBJECTS = {verb: nouns.split() for verb, nouns in OBJECTS.items()}
CHASES = "chasing following leading washing feeding".split()
GENERAL = {  # a word, and what it is a kind of
    **KIND,
    **dict.fromkeys("apple banana pear".split(), "fruit"),
    **dict.fromkeys("carrot potato".split(), "vegetable"),
    **dict.fromkeys(OBJECTS["playing"], "instrument"),
    **dict.fromkeys(OBJECTS["driving"], "vehicle"),
    **dict.fromkeys("running walking jumping swimming dancing".split(), "moving"),
}
OUTDOORS = "in a park|on a beach|on a street|on a farm|in a forest|in a field|in a garden"
INDOORS = "in a kitchen|in a library|in an office|in a classroom|in a gym|in a museum|in a shop"
PLACES = {"outdoors": OUTDOORS.split("|"), "indoors": INDOORS.split("|")}
KIND |= {"person": "person", "animal": "animal"}
GENERAL |= {place: general for general, places in PLACES.items() for place in places}
TIMES = "in the morning|at noon|in the afternoon|in the evening|at night".split("|")
MANNERS = "quickly slowly|quietly loudly|carefully carelessly".split("|")
STILL = "sitting standing sleeping kneeling".split()
OTHER_KIND = {"person": "animal", "fruit": "vegetable", "outdoors": "indoors"}
OTHER_KIND |= {other: kind for kind, other in OTHER_KIND.items()}
EXCLUSIVE = {
    "noun": [PEOPLE, ANIMALS],
    "count": [COUNTS[1:]],
    "verb": [MOTIONS, list(OBJECTS), ["following", "leading"]],
    "object": [PEOPLE, ANIMALS, *OBJECTS.values()],
    "time": [TIMES],
    "word": [row.split() for rows in (MANNERS, *ADJECTIVES.values()) for row in rows],
}
SYNONYMS = {
    "bicycle": "bike",
    "stone": "pebble",
    "outdoors": "outside",
    "indoors": "inside",
    "fixing": "repairing",
    "jumping": "leaping",
    "happy": "cheerful",
    "big": "large",
    "small": "little",
    "quickly": "rapidly",
}
LINKS = ("while", "and", "as")
FUNCTION_WORDS = "a an the is are not there in some , .".split()


class Event(NamedTuple):
    """One clause; an empty slot is left unsaid."""

    noun: str
    verb: str
    object: str = ""
    count: str = "a"
    adjective: str = ""
    wear: str = ""
    manner: str = ""
    place: str = ""
    time: str = ""
    negated: bool = False


class Pair(NamedTuple):
    """A labelled pair of sentences, and the phenomenon that its label rests on."""

    premise: str
    hypothesis: str
    label: str
    phenomenon: str


# ---- Scenes ------------------------------------------------------------------------------------

OPTIONAL = ("adjective", "wear", "manner", "place", "time")


def pick(rng: random.Random, items: Sequence):
    """Return one item; built on `random()` alone, whose sequence Python guarantees."""
    return items[int(rng.random() * len(items))]


def draw_event(rng: random.Random, nouns: Sequence[str]) -> Event:
    """Draw an event with every slot filled that fits its agent."""
    noun = pick(rng, nouns)
    is_person, roll = KIND[noun] == "person", rng.random()
    manner = pick(rng, pick(rng, MANNERS).split())
    if roll < 0.2:
        others = [other for other in PEOPLE + ANIMALS if KIND[other] != KIND[noun]]
        event = Event(noun, pick(rng, CHASES if is_person else CHASES[:3]), pick(rng, others))
    elif is_person and roll < 0.7:
        verb = pick(rng, list(OBJECTS))
        event = Event(noun, verb, pick(rng, OBJECTS[verb]), manner=manner)
    else:
        verb = pick(rng, MOTIONS if is_person else ANIMAL_MOTIONS)
        count = pick(rng, COUNTS[1:]) if rng.random() < 0.5 else "a"
        event = Event(noun, verb, count=count, manner=manner if verb in GENERAL else "")
    return event._replace(
        adjective=pick(rng, pick(rng, ADJECTIVES[KIND[noun]]).split()),
        wear=f"{pick(rng, COLOURS)} {pick(rng, GARMENTS)}" if is_person else "",
        place=pick(rng, pick(rng, list(PLACES.values()))),
        time=pick(rng, TIMES),
    )


def draw_scene(rng: random.Random) -> list[Event]:
    """Draw events whose agents cannot be confused; only the first one says where and when."""
    roll = rng.random()
    size = 1 if roll < 0.9 else 2 if roll < 0.96 else 3 if roll < 0.985 else 4
    events = [draw_event(rng, PEOPLE + ANIMALS)]
    while len(events) < size:
        taken = {word for event in events for word in (event.noun, event.object) if word}
        event = draw_event(rng, [n for n in PEOPLE + ANIMALS if n not in taken])
        if event.object not in taken:
            events.append(event._replace(place="", time=""))
    return events


def leave_out(event: Event, rng: random.Random, odds: float) -> Event:
    """Leave each optional slot unsaid with the given odds."""
    return event._replace(**{slot: "" for slot in OPTIONAL if rng.random() < odds})


def lift(event: Event, rng: random.Random, odds: float) -> Event:
    """Call things by more general names, each with the given odds."""
    for slot in ("noun", "object", "verb", "place"):
        if getattr(event, slot) in GENERAL and rng.random() < odds:
            event = event._replace(**{slot: GENERAL[getattr(event, slot)]})
    return event._replace(count="some") if event.count != "a" and rng.random() < 0.4 else event


# ---- Phenomena: what the focus says for each label -----------------------------------------------

Phenomenon = Callable[[Event, Event, str, random.Random], Event | None]


def rivals(event: Event, slot: str) -> list[str]:
    """Return the words that rule out what an event says in a slot."""
    value = getattr(event, slot)
    if slot == "wear":
        colour, _, garment = value.partition(" ")
        return [f"{other} {garment}" for other in COLOURS if other != colour]
    if slot == "place":
        inside = value == "indoors" or value in PLACES["indoors"]
        return PLACES["outdoors" if inside else "indoors"]
    rows = EXCLUSIVE[slot] if slot in EXCLUSIVE else EXCLUSIVE["word"]
    row = next((row for row in rows if value in row), [])
    return [row[(row.index(value) + step) % len(row)] for step in (-1, 1)] if row else []


def told_again(event: Event, rng: random.Random, **slots: str) -> Event:
    """Return what a hypothesis repeats of an event, with some slots set."""
    return leave_out(event, rng, 0.75)._replace(**slots)


def focus(*slots: str) -> Phenomenon:
    """Return a phenomenon that turns on one of some slots."""

    def phenomenon(whole: Event, told: Event, label: str, rng: random.Random) -> Event | None:
        slot = pick(rng, slots)
        value, truth = getattr(told, slot), getattr(whole, slot)
        if label == NEUTRAL:
            return told_again(told, rng, **{slot: truth}) if value != truth else None
        choice = [value] if label == ENTAILMENT else rivals(told, slot) if value else []
        return told_again(told, rng, **{slot: pick(rng, choice)}) if any(choice) else None

    return phenomenon


def number(whole: Event, told: Event, label: str, rng: random.Random) -> Event | None:
    """Say how many: as many or `some`, another number, or a number where `some` was told."""
    if whole.count == "a":
        return None
    if told.count == "some":
        return told_again(told, rng, count=whole.count) if label == NEUTRAL else None
    choice = {ENTAILMENT: [told.count, "some"], CONTRADICTION: rivals(told, "count")}
    return told_again(told, rng, count=pick(rng, choice[label])) if label in choice else None


def verb(whole: Event, told: Event, label: str, rng: random.Random) -> Event | None:
    """Say what is done: another thing, or the same with a detail more or less."""
    if label != CONTRADICTION:
        return focus("manner", "time", "place")(whole, told, label, rng)
    others = rivals(told, "verb")
    if not others:
        return None
    other = pick(rng, others)
    thing = pick(rng, OBJECTS[other]) if other in OBJECTS else told.object
    return told_again(told, rng, verb=other, object=thing, manner="")


def hypernym(whole: Event, told: Event, label: str, rng: random.Random) -> Event | None:
    """Say it in a more general word: true; of another kind: false; the other way round: open."""
    slot = pick(rng, ("noun", "object", "place", "verb"))
    value, truth = getattr(told, slot), getattr(whole, slot)
    if label == NEUTRAL:
        return told_again(told, rng, **{slot: truth}) if value and value != truth else None
    general = GENERAL.get(truth)
    if label == CONTRADICTION:
        general = "moving" if truth in STILL else OTHER_KIND.get(general)
    return told_again(told, rng, **{slot: general}) if general and value else None


def negation(whole: Event, told: Event, label: str, rng: random.Random) -> Event | None:
    """Deny what is true, what is false, or what is open."""
    denied = {ENTAILMENT: CONTRADICTION, CONTRADICTION: ENTAILMENT, NEUTRAL: NEUTRAL}[label]
    event = pick(rng, (verb, focus("place", "time", "manner")))(whole, told, denied, rng)
    return event and event._replace(negated=True)


def roles(whole: Event, told: Event, label: str, rng: random.Random) -> Event | None:
    """Say who does it to whom: the same, exchanged, or with a detail more."""
    if told.verb not in CHASES:
        return None
    if label != CONTRADICTION:
        return focus("adjective", "place", "time")(whole, told, label, rng)
    return told_again(told, rng, noun=told.object, object=told.noun, adjective="", wear="")


PHENOMENA: dict[str, Phenomenon] = {
    "modifier": focus("adjective", "wear"),
    "location": focus("place"),
    "time": focus("time"),
    "manner": focus("manner"),
    "number": number,
    "identity": focus("noun", "object"),
    "verb": verb,
    "hypernym": hypernym,
    "negation": negation,
    "roles": roles,
}

# A little as people do who write such pairs: a more general word for what is true, another deed for
# what is false, a detail more for what is open. More of that, and a hypothesis tells its label.
MENU = {
    ENTAILMENT: "hypernym hypernym number roles negation modifier location verb time manner",
    CONTRADICTION: "verb identity location number roles negation modifier time manner hypernym",
    NEUTRAL: "time manner modifier number roles negation location hypernym verb",
}
MENU = {label: names.split() for label, names in MENU.items()}

# ---- Sentences ---------------------------------------------------------------------------------


def with_article(phrase: str) -> str:
    """Put `a` or `an` before a phrase."""
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def plural(noun: str) -> str:
    """Return the plural of a noun."""
    return IRREGULAR.get(noun) or noun + ("es" if noun.endswith("s") else "s")


def clause(event: Event, definite: bool = False, there: bool = False) -> str:
    """Write one event, such as `a tall man in a red hat is running quickly in a park at night`."""
    many = event.count != "a"
    agent = f"{event.adjective} {plural(event.noun) if many else event.noun}".strip()
    agent = f"{event.count} {agent}" if many else with_article(agent)
    if definite:
        agent = agent.replace("some ", "the ") if many else "the " + agent.split(" ", 1)[1]
        agent = agent if agent.startswith("the ") else "the " + agent
    if event.wear:
        agent += " in " + (plural(event.wear) if many else with_article(event.wear))
    be = "are" if many else "is"
    start = f"there {be} {agent}" if there else f"{agent} {be}{' not' * event.negated}"
    parts = [start, event.verb, with_article(event.object) if event.object else ""]
    return " ".join(filter(None, [*parts, event.manner, event.place, event.time]))


def sentence(events: Sequence[Event], rng: random.Random, definite: float = 0.0) -> str:
    """Write events as one sentence, one space between words and the stop."""
    there = len(events) == 1 and not events[0].negated and rng.random() < 0.15
    parts = [clause(e, not there and rng.random() < definite, there) for e in events]
    text = parts[0]
    for part in parts[1:]:
        text += f" {pick(rng, LINKS)} {part}"
    words = [SYNONYMS.get(w, w) if rng.random() < 0.3 else w for w in text.split()]
    return " ".join([words[0].capitalize(), *words[1:], "."])


def tell(scene: Sequence[Event], rng: random.Random, odds: float) -> list[Event]:
    """Leave out optional slots with the given odds; a lone event may be told in general words."""
    told = [leave_out(event, rng, odds) for event in scene]
    return [lift(told[0], rng, 0.1)] if len(told) == 1 else told


def clouded(scene: Sequence[Event], i: int, claim: Event) -> bool:
    """Tell whether a claim about event i may speak of another event of the scene."""
    others = [w for k, e in enumerate(scene) if k != i for w in (e.noun, e.object) if w]
    words = {claim.noun, claim.object} - {scene[i].noun, scene[i].object}
    return any(w in others or w in {GENERAL.get(o) for o in others} for w in words)


def make_pairs(num_pairs: int, seed: int, exclude: Sequence[str] = ()) -> list[Pair]:
    """Return pairs, three to a premise and one of each label; no premise is in `exclude`."""
    rng, seen, pairs = random.Random(seed), set(exclude), []
    while len(pairs) < num_pairs:
        scene = draw_scene(rng)
        told = tell(scene, rng, 0.4)
        premise = sentence(told, rng)
        if premise in seen:
            continue
        seen.add(premise)
        found = [hypothesis(scene, told, premise, label, rng) for label in LABELS]
        pairs += found if all(found) else []
    return pairs[:num_pairs]


def hypothesis(
    scene: Sequence[Event], told: Sequence[Event], premise: str, label: str, rng: random.Random
) -> Pair | None:
    """Return a pair with the label, or None if fifty draws of a phenomenon give none."""
    for _ in range(50):
        i, name = int(rng.random() * len(scene)), pick(rng, MENU[label])
        claim = PHENOMENA[name](scene[i], told[i], label, rng)
        if claim and not clouded(scene, i, claim):
            text = sentence([claim], rng, definite=0.3)
            if text != premise:
                return Pair(premise, text, label, name)
    return None


class Passage(NamedTuple):
    """A sentence, another about the same scene, and one about a scene that differs in a thing."""

    first: str
    second: str
    lookalike: str


def alter(event: Event, rng: random.Random) -> tuple[Event, tuple[str, ...]]:
    """Draw one thing of an event anew; return the event and the slots that changed."""
    other = draw_event(rng, PEOPLE if KIND[event.noun] == "person" else ANIMALS)
    slots = pick(rng, [("noun",), ("verb", "object", "count"), *zip(OPTIONAL)])
    changed = event._replace(**{slot: getattr(other, slot) for slot in slots})
    return (changed, slots) if changed != event else alter(event, rng)


def make_text(num_passages: int, seed: int) -> list[Passage]:
    """Return unlabelled text: sentences about scenes, each telling what it likes."""
    rng, text = random.Random(seed), []
    while len(text) < num_passages:
        scene = draw_scene(rng)
        event = pick(rng, scene)
        other, slots = alter(event, rng)
        again = leave_out(event, rng, 0.7)
        alike = again._replace(**{slot: getattr(other, slot) for slot in slots})
        first = sentence(tell(scene, rng, 0.4), rng)
        retold = (sentence([lift(e, rng, 0.2)], rng, definite=0.3) for e in (again, alike))
        text.append(Passage(first, *retold))
    return text


def lexicon() -> list[str]:
    """Return every word that the grammar can write, lower-cased and sorted."""
    nouns = [*KIND, *GARMENTS]
    rows = [*OBJECTS, *OBJECTS.values(), *CHASES, *GENERAL, *GENERAL.values(), *MOTIONS, *TIMES]
    rows += [*MANNERS, *COLOURS, *COUNTS, *LINKS, *FUNCTION_WORDS, *SYNONYMS.values()]
    rows += [*map(plural, nouns), *nouns, *(r for rs in ADJECTIVES.values() for r in rs)]
    return sorted({w for row in rows for w in (row.split() if isinstance(row, str) else row)})
