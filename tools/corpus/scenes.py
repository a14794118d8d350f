"""What happens in a scene of the bundled corpus, and the words that fit each slot of an event."""

import random
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from . import lexicon
from .lexicon import MASS, OPPOSITE, PLURAL_ONLY, ROWS, ancestors, below

Event = dict[str, str]
"""Slots, such as `agent`, `agent.mood`, `verb`, `object`, `place`; what is not told is left out."""


class Frame(NamedTuple):
    """A transitive verb: its settings, its participle, its objects and its tools."""

    settings: str
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
        settings, verb, participle, *classes = left.split()
        found[verb] = Frame(settings, verb, participle, tuple(below(*classes)), (*tools.split(),))
    return found


@cache
def people() -> list[str]:
    """Return men, women and children."""
    return [*below("adult", "child"), "adult", "child"]


@cache
def workers() -> list[str]:
    """Return the trades; a man may have any of them, but nobody has two."""
    return [word for word in below("person") if word not in people()]


def _rows(table: str) -> dict[str, str]:
    """Return what a table says of each word: in `a b: x y`, `x y` of both a and b."""
    lines = (line.split(": ") for line in table.strip().splitlines())
    return {word: rest for words, rest in lines for word in words.split()}


@cache
def places(settings: str = "") -> list[str]:
    """Return the places of settings, such as `hk` for home and kitchen; all if none is named."""
    if not settings:
        return below("outdoors", "indoors")
    rows = [line.split(": ") for line in lexicon.SETTINGS.strip().splitlines()]
    found = [place for name in settings for row, text in rows if row == name
             for place in text.split("|")]  # fmt: skip
    return list(dict.fromkeys(found))


SETTING, HABITATS = _rows(lexicon.SETTING), _rows(lexicon.HABITATS)
TRADES_DO = {trade: deeds.split() for trade, deeds in _rows(lexicon.TRADES_DO).items()}
INSTRUMENTS = dict(map(str.split, lexicon.INSTRUMENTS.strip().splitlines()))


@cache
def settings_of(verb: str) -> str:
    """Return the settings in which something is done."""
    if verb in FRAMES:
        return FRAMES[verb].settings
    return SETTING.get(verb) or "".join(settings_of(word) for word in below(verb) if word != verb)


@cache
def habitats(animal: str) -> str:
    """Return the settings in which an animal lives."""
    return next(HABITATS[kind] for kind in (animal, *ancestors(animal)) if kind in HABITATS)


@cache
def can_do(agent: str, verb: str) -> bool:
    """Tell whether it is plausible that somebody does something."""
    if agent in ("child", *below("child")):
        return verb not in lexicon.CHILDREN_CANNOT
    if agent in below("animal"):
        swims = "a" in habitats(agent) or "dog" in (agent, *ancestors(agent))
        return swims or verb != "swimming"
    return agent not in workers() or verb in (*trade_deeds(agent), *lexicon.EVERYBODY_DOES)


@cache
def trade_deeds(agent: str) -> list[str]:
    """Return what somebody does by trade."""
    return [deed for trade in (agent, *ancestors(agent)) for deed in TRADES_DO.get(trade, ())]


@cache
def could_meet(one: str, two: str) -> bool:
    """Tell whether two animals, or an animal and a person, could have to do with each other."""
    animals = [name for name in (one, two) if name in below("animal")]
    if len(animals) < 2:
        kinds = [kind for name in animals for kind in (name, *ancestors(name)[:-1])]
        return not animals or not {*kinds}.isdisjoint(lexicon.MEET_PEOPLE)
    small = [bool({*lexicon.SMALL} & {name, *ancestors(name)}) for name in animals]
    dog = any("dog" in (name, *ancestors(name)) for name in animals)
    return (dog or small[0] == small[1]) and bool({*habitats(one)} & {*habitats(two)})


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
        return mates(event)
    if slot in ("object", "other"):
        things = [word for frame in uses(event["verb"]) for word in frame.objects]
        return things if is_person(event) else [w for w in things if could_meet(event["agent"], w)]
    if slot == "recipient":
        return people() + workers()
    if slot == "tool":
        return [word for frame in uses(event["verb"]) for word in frame.tools]
    if slot == "posture":
        return list(lexicon.POSTURES) if is_person(event) else lexicon.ANIMAL_POSTURES
    if slot == "seat":
        return seats(event)
    if slot == "place":
        return fitting_places(event)
    return garments(event["agent"]) if slot == "wear" else ADVERBIALS[slot]


def mates(event: Event) -> list[str]:
    """Return who could do what an event says, of the family of who does it."""
    agent, verb = event["agent"], event.get("verb", "")
    if agent in below("animal"):
        return [name for name in below("animal") if could_meet(agent, name)]
    family = next((family for family in (people(), workers()) if agent in family), [])
    return [name for name in family if can_do(name, verb)] if verb in SETTING | FRAMES else family


def seats(event: Event) -> list[str]:
    """Return what fits a posture, the place and the number of those who take it."""
    words = lexicon.POSTURES[event["posture"]].split("|")
    unfit = seats_of(lexicon.FOR_ONE) if {"agent.count", "partner"} & {*event} else []
    if event.get("place") in places():
        outdoors = "outdoors" in ancestors(event["place"])
        table = lexicon.INDOOR_SEATS if outdoors else lexicon.OUTDOOR_SEATS
        unfit = [*unfit, *seats_of(table)]
    return [word for word in words if word not in unfit]


def fitting_places(event: Event) -> list[str]:
    """Return where that which an event says may be."""
    if "verb" in event and is_person(event):
        return places_with((settings_of(event["verb"]),), event.get("seat", ""))
    homes = [habitats(name) for name in living(event) if name in below("animal")]
    return places_with(tuple(homes), event.get("seat", ""))


@cache
def places_with(settings: tuple[str, ...], seat: str) -> list[str]:
    """Return the places that are in all of some settings, and where a seat may be."""
    found = places(settings[0]) if settings else places()
    found = [place for place in found if all(place in places(names) for names in settings)]
    if seat in seats_of(lexicon.INDOOR_SEATS):
        return [place for place in found if "indoors" in ancestors(place)]
    if seat in seats_of(lexicon.OUTDOOR_SEATS):
        return [place for place in found if "outdoors" in ancestors(place)]
    return found


@cache
def seats_of(table: str) -> list[str]:
    """Return the phrases of a table of seats."""
    return table.strip().replace("\n", "|").split("|")


@cache
def garments(agent: str) -> list[str]:
    """Return what somebody may wear."""
    unfit = lexicon.FOR_WOMEN if agent in ("man", "boy") else ()
    return [word for word in ADVERBIALS["wear"] if word not in unfit]


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
    family = people() if roll < 0.55 else workers() if roll < 0.75 else below("animal")
    event = {"agent": prefer(rng, family)}
    roll = rng.random()
    if roll < 0.22:
        event["agent.count"] = draw_count(rng)
    elif roll < 0.4:
        partners = [word for word in mates(event) if is_apart(event["agent"], word)]
        event |= {"partner": prefer(rng, partners)} if partners else {}
    return event


def is_person(event: Event) -> bool:
    """Tell whether a person acts, and not an animal."""
    return event["agent"] not in below("animal")


def draw_action(agent: Event, rng: random.Random) -> Event:
    """Draw what an agent does, often something of their trade."""
    names, verb = [agent[role] for role in ("agent", "partner") if role in agent], ""
    own = trade_deeds(agent["agent"])
    while not verb:
        verb = pick(rng, own) if own and rng.random() < 0.5 else draw_verb(agent, rng)
        if verb in lexicon.POSTURES:
            return draw_posture(agent, verb, rng)
        verb = verb if all(can_do(name, verb) for name in names) else ""
    return (draw_object(agent, FRAMES[verb], rng) if verb in FRAMES else {"verb": verb}) or (
        draw_action(agent, rng)
    )


def draw_verb(agent: Event, rng: random.Random) -> str:
    """Draw a verb for a person or an animal, or a posture."""
    roll = rng.random()
    if not is_person(agent):
        if roll < 0.45:
            return prefer(rng, lexicon.ANIMALS_DO)
        return pick(rng, lexicon.ANIMAL_POSTURES if roll < 0.6 else lexicon.ANIMALS_CAN)
    if roll < 0.16:
        return prefer(rng, lexicon.PERSONS_DO)
    if roll < 0.22:
        return prefer(rng, list(lexicon.POSTURES))
    tables = ("DEALINGS", 0.34), ("HANDOVERS", 0.42), ("DEEDS", 1.0)
    return pick(rng, list(frames(next(name for name, odds in tables if roll < odds))))


def draw_posture(agent: Event, posture: str, rng: random.Random) -> Event:
    """Draw where somebody sits, stands, kneels or lies; of an animal that is not said."""
    if not is_person(agent):
        return {"posture": posture}
    anywhere = {slot: value for slot, value in agent.items() if slot != "place"}
    seat = prefer(rng, seats({**anywhere, "posture": posture}))
    return {"posture": posture, "seat": seat}


def draw_object(agent: Event, frame: Frame, rng: random.Random) -> Event | None:
    """Draw what a transitive verb is done to, with what and to whom; None if nothing is left."""
    if frame.verb == "guarding" and not is_person(agent) and "dog" not in (
        agent["agent"], *ancestors(agent["agent"])
    ):  # fmt: skip
        return None
    taken = [agent[role] for role in ("agent", "partner") if role in agent]
    things = apart_from(taken, options({**agent, "verb": frame.verb}, "object"))
    own = INSTRUMENTS.get(agent["agent"])
    things = [own] if own in things else things
    if not things:
        return None
    action = {"verb": frame.verb, "object": prefer(rng, things)}
    if frame.verb in frames("HANDOVERS"):
        receivers = apart_from(taken, people() + workers())
        if not receivers:
            return None
        action["recipient"] = prefer(rng, receivers)
    if action["object"] not in MASS | PLURAL_ONLY and frame.verb not in lexicon.ONE_AT_A_TIME:
        action |= draw_more(agent, action, things, rng)
    if frame.tools and is_person(agent):
        action["tool"] = pick(rng, frame.tools)
    return action


def apart_from(taken: Sequence[str], words: Sequence[str]) -> list[str]:
    """Return the words that none of those taken could stand for."""
    return [word for word in words if all(is_apart(name, word) for name in taken)]


def draw_more(agent: Event, action: Event, things: Sequence[str], rng: random.Random) -> Event:
    """Draw how many things something is done to, or another thing beside them, or neither."""
    roll = rng.random()
    if roll < (0.08 if "agent.count" in agent else 0.25):
        return {"object.count": draw_count(rng)}
    if roll >= 0.35 or action["verb"] in frames("DEALINGS"):
        return {}
    others = apart_from([action["object"]], things)
    others = [word for word in others if word not in MASS | PLURAL_ONLY]
    return {"other": prefer(rng, others)} if others else {}


def draw_count(rng: random.Random) -> str:
    """Draw a number, or `some`."""
    return COUNTS[int(rng.random() ** 2.5 * len(COUNTS))] if rng.random() < 0.8 else "some"


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
    event |= draw_action(event, rng)
    event["place"] = prefer(rng, fitting_places(event) or places("g"))
    if "partner" not in event:
        event |= describe(event, "agent", rng)
        if is_person(event):
            event |= draw_looks(event, rng)
    if "object" in event and "other" not in event:
        event |= describe(event, "object", rng)
    if "verb" in event and event["verb"] not in below("resting"):
        event["manner"] = pick(rng, manners(event))
    event |= {slot: prefer(rng, ADVERBIALS[slot]) for slot in ("time", "day", "season")}
    if "outdoors" in ancestors(event["place"]):
        event["weather"] = prefer(rng, fitting_weather(event))
    return event


def draw_looks(event: Event, rng: random.Random) -> Event:
    """Draw what a person wears and has about them, and how they sit or stand."""
    looks: Event = {}
    if "agent.count" not in event:
        looks["trait"] = pick(rng, traits(event))
    if event.get("verb") not in ("swimming", *below("sleeping")):
        looks["wear"] = prefer(rng, garments(event["agent"]))
        looks |= describe(looks, "wear", rng)
    if event.get("verb") in lexicon.STATIONARY:
        posture = prefer(rng, list(lexicon.POSTURES))
        if fitting := seats({**event, "posture": posture}):
            looks |= {"posture": posture, "seat": prefer(rng, fitting)}
    return looks


def traits(event: Event) -> list[str]:
    """Return what somebody may have with them or on them."""
    unfit = ["a ponytail", "a braid"] if event.get("agent.hair") == "bald" else []
    if event["agent"] in ("child", *below("child")):
        unfit = [trait for trait in ADVERBIALS["trait"] if trait not in ("a ponytail", "a braid")]
    return [trait for trait in ADVERBIALS["trait"] if trait not in unfit]


def manners(event: Event) -> list[str]:
    """Return how an event may be done."""
    many = "agent.count" in event or "partner" in event
    verb = event["verb"]
    if not is_person(event):
        words = lexicon.ANIMAL_MANNERS
    elif verb in below("moving"):
        words = lexicon.MOVING_MANNERS
    elif verb in below("Voice"):
        words = lexicon.VOICE_MANNERS
    else:
        social = verb in (*frames("DEALINGS"), *frames("HANDOVERS"))
        words = lexicon.SOCIAL_MANNERS if social else lexicon.CAREFUL_MANNERS
    return [word for word in words if word != ("alone" if many else "together")]


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
    for _ in range(20 * (size - 1)):
        event = draw_event(rng)
        names = [name for e in events for name in living(e)]
        fits = events[0]["place"] in fitting_places(event)
        if fits and not any(related(a, b) for a in living(event) for b in names):
            shared = ("place", "time", "day", "season", "weather")
            events.append({slot: value for slot, value in event.items() if slot not in shared})
        if len(events) == size:
            break
    return events


def living(event: Event) -> list[str]:
    """Return everybody who plays a part in an event."""
    names = [event.get(role) for role in ("agent", "partner", "object", "recipient")]
    return [n for n in names if n and ({"person", "animal"} & {n, *ancestors(n)})]
