"""What happens in a scene of the sample corpus, and the words that fit each slot of an event."""

import random
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from . import lexicon
from .lexicon import MASS, OPPOSITE, PLURAL_ONLY, ROWS, ancestors, below

Event = dict[str, str]
"""Slots, such as `agent`, `agent.mood`, `verb`, `object`, `place`; what is not told is left out."""


class Frame(NamedTuple):
    """A transitive verb: where it is done, its participle, its objects and its tools."""

    setting: str
    verb: str
    participle: str
    objects: tuple[str, ...]
    tools: tuple[str, ...]


# ---- What can stand in a slot -------------------------------------------------------------------


@cache
def frames(table: str) -> dict[str, Frame]:
    """Return the frames of a table of verbs."""
    found = {}
    for line in getattr(lexicon, table).strip().splitlines():
        left, _, tools = line.partition("|")
        setting, verb, participle, *classes = left.split()
        found[verb] = Frame(setting, verb, participle, tuple(below(*classes)), (*tools.split(),))
    return found


@cache
def people() -> list[str]:
    """Return men, women and children."""
    return [*below("adult", "child"), "adult", "child"]


@cache
def workers() -> list[str]:
    """Return the trades; a man may have any of them, but nobody has two."""
    return [word for word in below("person") if word not in people()]


@cache
def places(setting: str) -> list[str]:
    """Return the places of a setting: i indoors, o outdoors, b both."""
    return below(*{"i": ["indoors"], "o": ["outdoors"], "b": ["outdoors", "indoors"]}[setting])


@cache
def scale(dimension: str) -> list[str]:
    """Return the adjectives of a dimension with their shades."""
    shades = [shade for word in ROWS[dimension] for shade in below(word) if shade != word]
    return ROWS[dimension] + shades


COUNTS = "two three four five six seven eight nine ten".split()
TRANSITIVE = ("DEEDS", "DEALINGS", "HANDOVERS")
FRAMES = {verb: frame for table in TRANSITIVE for verb, frame in frames(table).items()}
OBJECT_OPTIONAL = "eating drinking reading writing driving painting drawing sewing knitting".split()
SEASONS = [f"in the {name}" for name in ("spring", "summer", "autumn", "winter")]
WEATHERS = ["in good weather", "in bad weather"]
ADVERBIALS = {
    "time": below("Day"),
    "day": lexicon.DAYS.split("|"),
    "season": [*below(*SEASONS), *SEASONS],
    "weather": [*below(*WEATHERS), *WEATHERS],
    "manner": list(OPPOSITE),
    "trait": lexicon.TRAITS.split("|"),
    "wear": below("Garment"),
}


@cache
def uses(verb: str) -> list[Frame]:
    """Return the frames of a verb, or of those that are more specific."""
    return [FRAMES[word] for word in (verb, *below(verb)) if word in FRAMES]


def options(event: Event, slot: str) -> list[str]:
    """Return what could have stood in a slot of an event."""
    detail = slot.partition(".")[2]
    if detail == "count":
        return [*COUNTS, "some"]
    if detail:
        return scale(detail)
    if slot in ("agent", "partner"):
        families = (people(), workers(), below("animal"))
        return next((family for family in families if event["agent"] in family), [])
    if slot in ("object", "other"):
        return [word for frame in uses(event["verb"]) for word in frame.objects]
    if slot == "recipient":
        return people() + workers()
    if slot == "tool":
        return [word for frame in uses(event["verb"]) for word in frame.tools]
    if slot == "posture":
        return list(lexicon.POSTURES) if is_person(event) else lexicon.ANIMAL_POSTURES
    if slot == "seat":
        return lexicon.POSTURES[event["posture"]].split("|")
    if slot == "place":
        return places("b")
    return ADVERBIALS[slot]


@cache
def is_apart(told: str, claimed: str) -> bool:
    """Tell whether one slot cannot hold both words."""
    if "some" in (told, claimed) or told == claimed:
        return False
    if told in ancestors(claimed) or claimed in ancestors(told):
        return False
    if {told, claimed} <= {*below("Garment")}:
        return garment_class(told) == garment_class(claimed)
    if told in OPPOSITE:
        return OPPOSITE[told] == claimed
    if told in ADVERBIALS["trait"]:
        return False
    persons = {*people(), *workers()}
    return not {told, claimed} <= persons or (told in workers()) == (claimed in workers())


def garment_class(word: str) -> str:
    """Return the part of the body that a garment is for, such as `Headwear`."""
    return next(above for above in ancestors(word) if above[0].isupper())


MATES = {"agent": "partner", "object": "other"}
MATES |= {mate: role for role, mate in MATES.items()}


def rivals(event: Event, slot: str) -> list[str]:
    """Return what rules out what an event says in a slot."""
    mate = event.get(MATES.get(slot, ""))
    words = [word for word in options(event, slot) if is_apart(event[slot], word)]
    words = [word for word in words if not mate or is_apart(mate, word)]
    counted = f"{slot}.count" in event or mate
    return [word for word in words if not counted or word not in MASS | PLURAL_ONLY]


# ---- Scenes -------------------------------------------------------------------------------------


def pick(rng: random.Random, items: Sequence):
    """Return one item; built on `random()` alone, whose sequence Python guarantees."""
    return items[int(rng.random() * len(items))]


def prefer(rng: random.Random, items: Sequence):
    """Return one item, the first ones more often, as some words are more common than others."""
    return items[int(rng.random() ** 1.8 * len(items))]


def draw_agent(rng: random.Random) -> Event:
    """Draw who acts."""
    roll = rng.random()
    family = people() if roll < 0.55 else workers() if roll < 0.78 else below("animal")
    event = {"agent": prefer(rng, family)}
    roll = rng.random()
    if roll < 0.25:
        event["agent.count"] = draw_count(rng)
    elif roll < 0.45:
        partners = [word for word in family if is_apart(event["agent"], word)]
        event["partner"] = prefer(rng, partners)
    return event


def is_person(event: Event) -> bool:
    """Tell whether a person acts, and not an animal."""
    return event["agent"] not in below("animal")


def draw_action(agent: Event, rng: random.Random) -> tuple[Event, str]:
    """Draw what an agent does, and where it may be done (i, o or b)."""
    person, roll = is_person(agent), rng.random()
    if roll < (0.12 if person else 0.25):
        verb = prefer(rng, lexicon.PERSONS_DO if person else lexicon.ANIMALS_DO)
        return {"verb": verb}, lexicon.SETTING.get(verb, "b")
    if roll < (0.18 if person else 0.45):
        posture = prefer(rng, list(lexicon.POSTURES))
        if not person:
            return {"posture": pick(rng, lexicon.ANIMAL_POSTURES)}, "b"
        return {"posture": posture, "seat": prefer(rng, options({"posture": posture}, "seat"))}, "b"
    if roll < 0.32 or not person:
        frame = frames("DEALINGS")[
            prefer(rng, lexicon.ANIMALS_CAN if not person else list(frames("DEALINGS")))
        ]
    elif roll < 0.42:
        frame = pick(rng, list(frames("HANDOVERS").values()))
    else:
        frame = pick(rng, list(frames("DEEDS").values()))
    found = draw_object(agent, frame, rng)
    return (found, frame.setting) if found else draw_action(agent, rng)


def draw_object(agent: Event, frame: Frame, rng: random.Random) -> Event | None:
    """Draw what a transitive verb is done to, with what and to whom; None if nothing is left."""
    taken = [agent[role] for role in ("agent", "partner") if role in agent]
    things = apart_from(taken, frame.objects)
    if not things:
        return None
    action = {"verb": frame.verb, "object": prefer(rng, things)}
    if frame.verb in frames("HANDOVERS"):
        receivers = apart_from(taken, people() + workers())
        if not receivers:
            return None
        action["recipient"] = prefer(rng, receivers)
    if action["object"] not in MASS | PLURAL_ONLY:
        action |= draw_more(action, things, rng)
    if frame.tools:
        action["tool"] = pick(rng, frame.tools)
    return action


def apart_from(taken: Sequence[str], words: Sequence[str]) -> list[str]:
    """Return the words that none of those taken could stand for."""
    return [word for word in words if all(is_apart(name, word) for name in taken)]


def draw_more(action: Event, things: Sequence[str], rng: random.Random) -> Event:
    """Draw how many things something is done to, or another thing beside them, or neither."""
    roll = rng.random()
    if roll < 0.25:
        return {"object.count": draw_count(rng)}
    if roll >= 0.35 or action["verb"] in frames("DEALINGS"):
        return {}
    others = apart_from([action["object"]], things)
    others = [word for word in others if word not in MASS | PLURAL_ONLY]
    return {"other": prefer(rng, others)} if others else {}


def draw_count(rng: random.Random) -> str:
    """Draw a number, or `some`."""
    return prefer(rng, COUNTS) if rng.random() < 0.8 else "some"


def dimensions(word: str) -> list[str]:
    """Return the dimensions on which a thing can be described."""
    above = {word, *ancestors(word)}
    rows = lexicon.DIMENSIONS.items()
    return next(row for kinds, row in rows if not kinds or above & {*kinds.split()}).split()


def describe(event: Event, role: str, rng: random.Random) -> Event:
    """Draw two adjectives for who or what plays a role in an event."""
    names = dimensions(event[role])
    first = int(rng.random() * len(names))
    second = (first + 1 + int(rng.random() * (len(names) - 1))) % len(names)
    return {f"{role}.{names[i]}": prefer(rng, scale(names[i])) for i in (first, second)}


def draw_event(rng: random.Random) -> Event:
    """Draw an event with every slot filled that fits the others."""
    event = draw_agent(rng)
    action, setting = draw_action(event, rng)
    event |= action
    if "partner" not in event:
        event |= describe(event, "agent", rng)
        if is_person(event):
            if "agent.count" not in event:
                event["trait"] = pick(rng, traits(event))
            event |= {"wear": prefer(rng, ADVERBIALS["wear"])}
            event |= describe(event, "wear", rng)
            if event.get("verb") in lexicon.STATIONARY:
                event["posture"] = prefer(rng, list(lexicon.POSTURES))
                event["seat"] = prefer(rng, options(event, "seat"))
    if "object" in event and "other" not in event:
        event |= describe(event, "object", rng)
    if "verb" in event and event["verb"] not in below("resting"):
        event["manner"] = pick(rng, manners(event))
    event["place"] = prefer(rng, places(setting))
    event |= {slot: prefer(rng, ADVERBIALS[slot]) for slot in ("time", "day", "season")}
    if "outdoors" in ancestors(event["place"]):
        event["weather"] = prefer(rng, fitting_weather(event))
    return event


def traits(event: Event) -> list[str]:
    """Return what somebody may have with them or on them."""
    is_bald = event.get("agent.hair") == "bald"
    unfit = ("a ponytail", "a braid") if is_bald else ()
    return [trait for trait in ADVERBIALS["trait"] if trait not in unfit]


def manners(event: Event) -> list[str]:
    """Return how an event may be done."""
    if not is_person(event):
        return lexicon.ANIMAL_MANNERS
    many = "agent.count" in event or "partner" in event
    return [word for word in OPPOSITE if word != ("alone" if many else "together")]


def fitting_weather(event: Event) -> list[str]:
    """Return the weather that fits the time and the season of an event."""
    cold, dark = ({event[s], *ancestors(event[s])} for s in ("season", "time"))
    unfit = [] if "in the winter" in cold else ["in the snow", "in a blizzard"]
    unfit += ["in the sunshine"] if "at night" in dark else []
    return [word for word in ADVERBIALS["weather"] if word not in unfit]


def related(a: str, b: str) -> bool:
    """Tell whether two agents could be confused."""
    return not is_apart(a, b)


def draw_scene(rng: random.Random) -> list[Event]:
    """Draw events whose agents cannot be confused; only the first one says where and when."""
    roll = rng.random()
    size = 1 + sum(roll > odds for odds in (0.84, 0.955, 0.985, 0.993, 0.997))
    events = [draw_event(rng)]
    while len(events) < size:
        event = draw_event(rng)
        names = [name for e in events for name in living(e)]
        if not any(related(a, b) for a in living(event) for b in names):
            shared = ("place", "time", "day", "season", "weather")
            events.append({slot: value for slot, value in event.items() if slot not in shared})
    return events


def living(event: Event) -> list[str]:
    """Return everybody who plays a part in an event."""
    names = [event.get(role) for role in ("agent", "partner", "object", "recipient")]
    return [n for n in names if n and ({"person", "animal"} & {n, *ancestors(n)})]
