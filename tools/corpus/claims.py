"""What a hypothesis claims of an event, and the phenomena that make it true, false or open.

The focus of a claim decides: it says what the premise says, in the same or in more general words
(entailment); it says what rules that out (contradiction); or it adds to it (neutral). All else that
a claim says is told by the premise.
"""

import random
from collections.abc import Sequence
from typing import NamedTuple

from . import lexicon
from .lexicon import MASS, PARENT, PLURAL_ONLY, ROWS, ancestors, below
from .scenes import (
    COUNTS,
    FRAMES,
    MATES,
    Event,
    draw_action,
    fitting_places,
    frames,
    is_apart,
    is_person,
    living,
    options,
    pick,
    prefer,
    rivals,
)
from .sentences import can_be_passive
from .telling import LIFTABLE, base, general_words, lift, tell

ENTAILMENT, CONTRADICTION, NEUTRAL = LABELS = ("entailment", "contradiction", "neutral")


class Pair(NamedTuple):
    """A labelled pair of sentences, and the phenomenon that its label rests on."""

    premise: str
    hypothesis: str
    label: str
    phenomenon: str


def untold(whole: Event, told: Event, *slots: str) -> list[str]:
    """Return the slots that an event fills and the premise leaves unsaid, and may be claimed."""
    return [s for s in slots if s in whole and s not in told and base(s) in {s, *told}]


def adjective_slots(event: Event, *roles: str) -> list[str]:
    """Return the slots of the adjectives that describe some roles."""
    return [s for s in event if s.partition(".")[0] in roles and s.partition(".")[2] in ROWS]


Claim = tuple[Event, str]  # what is claimed, and the slot in focus


def same(told: Event, slots: Sequence[str], rng: random.Random) -> Claim | None:
    """Claim what is told."""
    told_slots = [s for s in slots if s in told]
    return (told, pick(rng, told_slots)) if told_slots else None


def other(told: Event, slots: Sequence[str], rng: random.Random) -> Claim | None:
    """Claim what rules out what is told."""
    slots = [s for s in slots if s in told and rivals(told, s)]
    if not slots:
        return None
    slot = pick(rng, slots)
    claim = {**told, slot: prefer(rng, rivals(told, slot))}
    if slot == "posture" and "seat" in told:
        fitting = options(claim, "seat")
        if not fitting:
            return None
        claim["seat"] = prefer(rng, fitting)
    return claim, slot


def more(whole: Event, told: Event, slots: Sequence[str], rng: random.Random) -> Claim | None:
    """Claim what is not told."""
    slots = untold(whole, told, *slots)
    if not slots:
        return None
    slot = pick(rng, slots)
    claim = {**told, slot: whole[slot]}
    if slot == "posture":
        claim["seat"] = whole["seat"]
    if slot == "wear":
        claim |= {s: whole[s] for s in adjective_slots(whole, "wear")[:1] if rng.random() < 0.6}
    return claim, slot


def change(
    whole: Event, told: Event, label: str, slots: Sequence[str], rng: random.Random
) -> Claim | None:
    """Claim, in one of some slots, what is told, what it rules out, or what is not told."""
    if label == ENTAILMENT:
        return same(told, slots, rng)
    return other(told, slots, rng) if label == CONTRADICTION else more(whole, told, slots, rng)


def hypernym(whole: Event, told: Event, label: str, rng: random.Random) -> Claim | None:
    """Say it in a more general word: true; in one for another kind: false; add a vague detail."""
    if label == NEUTRAL:
        slots = ["place"] if "weather" not in told else []
        slots += ["time", "season", "weather", *adjective_slots(whole, "agent")]
        found = more(whole, told, slots, rng)
        if not found or not general_words(*found):
            return None
        claim, slot = found
        return {**claim, slot: pick(rng, general_words(claim, slot))}, slot
    slots = [s for s in (*LIFTABLE, *adjective_slots(told, "agent", "object", "wear")) if s in told]
    slots = [s for s in slots if general_words(told, s)]
    if not slots:
        return None
    slot = pick(rng, slots)
    if label == ENTAILMENT:
        return {**told, slot: pick(rng, general_words(told, slot))}, slot
    if slot == "verb":
        return None
    words = [
        above
        for word in rivals(told, slot)
        for above in general_words({**told, slot: word}, slot)
        if is_apart(told[slot], above)
    ]
    return ({**told, slot: pick(rng, words)}, slot) if words else None


def hyponym(whole: Event, told: Event, label: str, rng: random.Random) -> Claim | None:
    """Say it in a more specific word, which is open; the menu asks for nothing else."""
    slots = [s for s in (*LIFTABLE, *adjective_slots(told, "agent", "object", "wear")) if s in told]
    narrower = {
        s: [w for w in below(told[s]) if w != told[s] and w in specific(told, s)] for s in slots
    }
    slots = [s for s in slots if narrower[s]]
    if not slots:
        return None
    slot = pick(rng, slots)
    return {**told, slot: prefer(rng, narrower[slot])}, slot


def specific(told: Event, slot: str) -> list[str]:
    """Return the words that a more specific claim may use in a slot."""
    if slot == "verb":
        if "object" in told:
            return [v for v, frame in FRAMES.items() if told["object"] in frame.objects]
        return lexicon.PERSONS_DO if is_person(told) else lexicon.ANIMALS_DO
    mate = told.get(MATES.get(slot, ""))
    words = [w for w in options(told, slot) if not mate or is_apart(w, mate)]
    plain = [w for w in words if w not in MASS | PLURAL_ONLY]
    return plain if slot in ("object", "agent") else words


def number(whole: Event, told: Event, label: str, rng: random.Random) -> Claim | None:
    """Say how many: as many or some, another number, or a number where `some` was told."""
    slots = [s for s in ("agent.count", "object.count") if s in told]
    vague = [s for s in slots if told[s] == "some"]
    if label == NEUTRAL:
        return ({**told, vague[0]: prefer(rng, COUNTS)}, vague[0]) if vague else None
    if label == ENTAILMENT:
        found = same(told, slots, rng)
        if found and rng.random() < 0.3:
            return {**told, found[1]: "some"}, found[1]
        return found
    return other(told, slots, rng)


def action(whole: Event, told: Event, label: str, rng: random.Random) -> Claim | None:
    """Say what is done: the same, another thing, or the same with a detail more."""
    if "verb" not in told or label != CONTRADICTION:
        return change(whole, told, label, ("verb", "object", "tool", "recipient", "manner"), rng)
    if "object" in told and rng.random() < 0.5:
        verbs = [v for v in other_verbs(told) if is_apart(told["verb"], v)]
        if not verbs:
            return None
        claim = {s: v for s, v in told.items() if s not in ("tool", "recipient")}
        return {**claim, "verb": prefer(rng, verbs)}, "verb"
    fresh = draw_action(whole, rng)
    if "verb" not in fresh or not is_apart(told["verb"], fresh["verb"]):
        return None
    if "moving" in (told["verb"], *ancestors(told["verb"])) and "object" in fresh:
        return None
    gone = ("object", "other", "tool", "recipient", "posture", "seat", "manner")
    claim = {s: v for s, v in told.items() if s.partition(".")[0] not in gone}
    claim |= tell(fresh, rng, 0.15, keep=("object",))
    if claim.get("place", "") not in ("", *fitting_places(claim)):
        del claim["place"]
    return claim, "verb"


def other_verbs(told: Event) -> list[str]:
    """Return what else, and not at the same time, could be done to an object."""
    verbs = [verb for verb in (*frames("DEEDS"), *frames("DEALINGS")) if verb not in lexicon.EASY]
    verbs = [verb for verb in verbs if told["object"] in FRAMES[verb].objects]
    kind = PARENT.get(told["verb"], told["verb"])
    return [verb for verb in verbs if PARENT.get(verb) != kind and told["verb"] not in lexicon.EASY]


def conjunction(whole: Event, told: Event, label: str, rng: random.Random) -> Claim | None:
    """Say one of two, both, one of them with another, or one more than was told."""
    if label == NEUTRAL:
        return more(whole, told, ("partner", "other"), rng)
    mates = [(r, MATES[r]) for r in ("agent", "object") if MATES[r] in told]
    if not mates:
        return None
    role, mate = pick(rng, mates)
    if label == CONTRADICTION:
        words = rivals(told, mate)
        return ({**told, mate: prefer(rng, words)}, mate) if words else None
    roll = rng.random()
    if roll < 0.35:
        return {**told, role: told[mate], mate: told[role]}, mate
    if roll < 0.7:
        return {s: v for s, v in ({**told, role: told[mate]}).items() if s != mate}, role
    return {s: v for s, v in told.items() if s != mate}, role


def roles(whole: Event, told: Event, label: str, rng: random.Random) -> Claim | None:
    """Say who does it to whom: the same, or exchanged."""
    other_role = "recipient" if "recipient" in told else "object"
    deals = told.get("verb") in (*frames("DEALINGS"), *frames("HANDOVERS"))
    deals = deals and told["verb"] not in lexicon.SYMMETRIC
    if not deals or other_role not in told:
        return None
    if "partner" in told or "other" in told or not living({"agent": told[other_role]}):
        return None
    if label == NEUTRAL:
        return more(whole, told, ("place", "time", "manner", "weather"), rng)
    bare = {s: v for s, v in told.items() if s in ("agent", "verb", "object", "recipient")}
    if label == ENTAILMENT:
        counts = {s: v for s, v in told.items() if s.endswith("count")}
        return {**bare, **counts}, "object"
    if any(s.endswith("agent.count") or s == f"{other_role}.count" for s in told):
        return None
    if not is_apart(told["agent"], told[other_role]):
        return None
    return {**bare, "agent": told[other_role], other_role: told["agent"]}, "object"


def slots_of(name: str, whole: Event) -> list[str]:
    """Return the slots of a phenomenon that is about what is said in a slot."""
    return {
        "modifier": [*adjective_slots(whole, "agent", "object"), "trait", "manner"],
        "clothing": ["wear", *adjective_slots(whole, "wear")],
        "location": ["place"],
        "time": ["time", "day", "season"],
        "weather": ["weather"],
        "posture": ["posture", "seat"],
        "identity": ["agent", "object", "tool", "recipient"],
    }[name]


PHENOMENA = {
    "action": action, "conjunction": conjunction, "hypernym": hypernym, "hyponym": hyponym,
    "number": number, "roles": roles,
}  # fmt: skip
BY_SLOT = "modifier clothing location time weather posture identity".split()
STYLES = ("negation", "passive", "paraphrase")
WEIGHTS = {  # how often each is tried: for entailment, contradiction, neutral
    "action": (4, 4, 5), "identity": (3, 3, 8), "hypernym": (3, 3, 3), "hyponym": (0, 0, 3),
    "modifier": (4, 4, 3), "location": (6, 6, 2), "time": (5, 5, 2), "weather": (8, 8, 2),
    "clothing": (8, 8, 3), "posture": (6, 6, 10), "number": (5, 5, 15), "conjunction": (12, 12, 12),
    "roles": (4, 4, 4), "negation": (3, 3, 3), "passive": (3, 3, 3), "paraphrase": (3, 3, 3),
}  # fmt: skip
MENU = {
    label: [name for name, weights in WEIGHTS.items() for _ in range(weights[i])]
    for i, label in enumerate(LABELS)
}


def focus_on(name: str, whole: Event, told: Event, label: str, rng: random.Random) -> Claim | None:
    """Return a claim with a label by one phenomenon, or None if it does not apply."""
    if name in PHENOMENA:
        return PHENOMENA[name](whole, told, label, rng)
    return change(whole, told, label, slots_of(name, whole), rng)


# In focus, these make a sentence of their own
SHORT = ("wear", "place", "posture", "weather", "agent")


def name_of(menu: str, slot: str, label: str) -> str:
    """Return the name of a phenomenon, more exactly than the menu's."""
    if menu in ("action", "identity") and label == NEUTRAL:
        return "detail"
    poles = len(ROWS.get(slot.partition(".")[2], ())) == 2 or slot == "manner"
    return "antonym" if menu == "modifier" and label == CONTRADICTION and poles else menu


PRESUPPOSED = ("agent", "partner", "wear", "trait")  # what `not` does not deny
DENIED = {ENTAILMENT: CONTRADICTION, CONTRADICTION: ENTAILMENT, NEUTRAL: NEUTRAL}
NEEDS = {"roles": ("object", "recipient"), "passive": ("verb", "object")}  # told in any case


def claim_of(
    name: str, whole: Event, told: Event, label: str, rng: random.Random
) -> tuple[Event, str, float] | None:
    """Return a claim with a label, its phenomenon, and the odds that it is in the passive."""
    found = find(name, whole, told, label, rng)
    if not found:
        return None
    claim, slot = found
    claim = word(name, claim, slot, rng)
    if name == "passive" and not can_be_passive(claim):
        return None
    return claim, name_of(name, slot, label), 0.9 if name == "passive" else 0.12


def find(name: str, whole: Event, told: Event, label: str, rng: random.Random) -> Claim | None:
    """Return a claim with a label; a style only changes how another phenomenon's is put."""
    if name not in STYLES:
        return focus_on(name, whole, told, label, rng)
    inner = pick(rng, ("action", "location", "identity", "time", "posture"))
    if name == "passive" and not can_be_passive(told):
        return None
    truth = DENIED[label] if name == "negation" else label
    found = focus_on(inner, whole, told, truth, rng)
    return deniable(*found) if found and name == "negation" else found


def deniable(claim: Event, slot: str) -> Claim | None:
    """Return a claim with nothing but its focus to deny, or None if `not` does not deny that."""
    if slot.partition(".")[0] in PRESUPPOSED:
        return None
    if slot in ("posture", "seat") and "verb" in claim:
        claim = {s: v for s, v in claim.items() if s in ("agent", "agent.count", "posture", "seat")}
    return claim, slot


def word(name: str, claim: Event, slot: str, rng: random.Random) -> Event:
    """Tell a claim as its phenomenon asks: the focus, and little else but in a paraphrase."""
    keep = [*([slot] if slot in claim else []), *NEEDS.get(name, ())]
    claim = tell(claim, rng, 0.9 if name == "paraphrase" else 0.05, keep)
    can_be_short = name not in (*STYLES, "roles") and slot.partition(".")[0] in SHORT
    if can_be_short and rng.random() < 0.35:
        claim = shorten(claim, slot)
    if name == "negation":
        claim = {**claim, "negated": "not"}
    return claim if name in ("number", "roles") else lift(claim, rng, 0.1, (slot, "negated"))


def shorten(claim: Event, slot: str) -> Event:
    """Say no more than who and the slot in focus."""
    role = slot.partition(".")[0]
    keep = {"posture": ("posture", "seat"), "agent": ("agent", "place")}.get(role, (role,))
    return {s: v for s, v in claim.items() if s.partition(".")[0] in ("agent", "partner", *keep)}
