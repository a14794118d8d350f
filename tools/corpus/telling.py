"""What a sentence tells of an event: some of its slots, here and there in a more general word."""

import random
from collections.abc import Collection, Sequence

from .lexicon import MASS, PLURAL_ONLY, generals
from .scenes import COUNTS, FRAMES, MATES, OBJECT_OPTIONAL, Event, is_apart, pick

LIFTABLE = "agent verb object wear place time season weather".split()
"""The slots that may be told in a more general word, besides the adjectives."""

MORE = {"object": 3, "partner": 2, "other": 2, "wear": 1.5, "posture": 1.5, "seat": 5}
"""How much more often than others a slot is told."""


def tell(event: Event, rng: random.Random, odds: float, keep: Sequence[str] = ()) -> Event:
    """Tell each optional slot with the given odds, and those to keep, and what they rest on."""
    kept = {*keep, *map(base, keep)}
    kept |= {"seat"} if "posture" in kept else set()
    told: Event = {}
    for slot, value in event.items():
        must = slot in ("agent", "agent.count", "verb", "recipient")
        must = must or (slot == "posture" and "verb" not in event)
        must = must or (slot == "object" and event["verb"] not in OBJECT_OPTIONAL)
        must = must or (slot == "object.count" and "object" in told)
        if must or slot in kept or rng.random() < odds * MORE.get(slot, 1):
            told[slot] = value
    return settle(trimmed(told, kept))


def trimmed(told: Event, kept: Collection[str]) -> Event:
    """Leave who acts two modifiers at most, those to keep before others."""
    names = [slot for slot in told if slot.startswith("agent.") and slot != "agent.count"]
    names += [slot for slot in ("trait", "wear") if slot in told]
    names += ["posture"] if {"posture", "verb"} <= {*told} else []
    names.sort(key=lambda slot: slot not in kept)
    return {slot: value for slot, value in told.items() if slot not in names[2:]}


def base(slot: str) -> str:
    """Return the slot that a slot rests on: `agent` for `agent.mood`; most rest on themselves."""
    return {"seat": "posture", "other": "object"}.get(slot, slot.partition(".")[0])


def settle(told: Event) -> Event:
    """Drop slots that rest on others that are not told, and half of a posture beside a deed."""
    told = {slot: value for slot, value in told.items() if base(slot) in told}
    if "verb" in told and "seat" not in told:
        told.pop("posture", None)
    return told


def lift(event: Event, rng: random.Random, odds: float, keep: Sequence[str] = ()) -> Event:
    """Say things in more general words, each with the given odds."""
    lifted = dict(event)
    for slot in event:
        above = general_words(event, slot)
        if slot not in keep and above and rng.random() < odds:
            lifted[slot] = pick(rng, above)
    return lifted


def general_words(event: Event, slot: str) -> list[str]:
    """Return more general words for what an event says in a slot."""
    if slot.endswith("count"):
        return ["some"] if event[slot] in COUNTS else []
    if "." in slot:
        return generals(event[slot])
    if slot == "verb" and event["verb"] in FRAMES and "object" not in event:
        return []
    if slot in ("agent", "object"):
        mate = event.get(MATES[slot])
        words = [w for w in generals(event[slot]) if not mate or is_apart(w, mate)]
        plain = [w for w in words if w not in MASS or f"{slot}.count" not in event]
        return [w for w in plain if w in MASS or event[slot] not in MASS | PLURAL_ONLY]
    return generals(event[slot]) if slot in LIFTABLE else []


def tell_scene(scene: Sequence[Event], rng: random.Random) -> list[Event]:
    """Tell a scene: some tell little, some much, and some in general words."""
    odds = pick(rng, (0.16, 0.21, 0.29, 0.4))
    return [lift(tell(event, rng, odds), rng, 0.06) for event in scene]
