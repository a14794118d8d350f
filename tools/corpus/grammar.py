"""A seeded grammar that writes inference pairs, and unlabelled text, about everyday scenes.

A scene is an event or a few. A premise tells some of it, and a hypothesis claims something of one
of its events. Text is made the same way: two sentences about one scene.
"""

import random
from collections.abc import Collection, Container, Iterator, Sequence
from typing import NamedTuple

from . import lexicon
from .challenge import make_challenge_text
from .claims import CONTRADICTION, LABELS, MENU, PRESUPPOSED, Claim, Pair, action, claim_of, other
from .lexicon import ROWS, below, generals, plural
from .scenes import (
    ADVERBIALS,
    COUNTS,
    FRAMES,
    Event,
    draw_scene,
    living,
    people,
    pick,
    places,
    related,
    scale,
    workers,
)
from .sentences import sentence
from .telling import lift, tell, tell_scene

RECEIVERS = ("object", "recipient")
CHALLENGES = 0.1  # of the passages are built like those of the challenge split
PAST = 0.3  # how many premises are told in the past


def clouded(told: Sequence[Event], i: int, claim: Event) -> bool:
    """Tell whether a claim about event i may speak of somebody else."""
    agents = [told[i][role] for role in ("agent", "partner") if role in told[i]]
    if len(told) > 1 and not any(related(name, claim["agent"]) for name in agents):
        return True
    names = [name for k, event in enumerate(told) if k != i for name in living(event)]
    if "verb" not in claim:
        names += living({role: name for role, name in told[i].items() if role in RECEIVERS})
    return any(related(name, claimed) for name in names for claimed in living(claim))


def hypothesis(
    scene: Sequence[Event],
    told: Sequence[Event],
    premise: str,
    label: str,
    rng: random.Random,
    seen: Container[str],
    past: bool,
) -> Pair | None:
    """Return a pair with the label, or None if fifty draws give none that is new."""
    for _ in range(50):
        i, name = int(rng.random() * len(scene)), pick(rng, MENU[label])
        found = claim_of(name, scene[i], told[i], label, rng)
        if not found:
            continue
        claim, phenomenon, passive = found
        if clouded(told, i, claim):
            continue
        text = sentence([claim], rng, 0.25, passive, past)
        if text.lower() != premise.lower() and text not in seen:
            return Pair(premise, text, label, phenomenon)
    return None


def make_pairs(num_pairs: int, seed: int, exclude: Collection[str] = ()) -> list[Pair]:
    """Return pairs, three to a premise and one of each label; no sentence is in `exclude`.

    The last premise may have fewer.
    """
    rng, seen, taken = random.Random(seed), set(exclude), frozenset(exclude)
    pairs: list[Pair] = []
    while len(pairs) < num_pairs:
        scene = draw_scene(rng)
        told, past = tell_scene(scene, rng), rng.random() < PAST
        premise = sentence(told, rng, 0.15, past=past, caption=0.3)
        if premise in seen:
            continue
        tried = [hypothesis(scene, told, premise, label, rng, taken, past) for label in LABELS]
        found = [pair for pair in tried if pair]
        if len(found) == len(LABELS):
            seen.add(premise)
            pairs += found
    return pairs[:num_pairs]


class Passage(NamedTuple):
    """A sentence, another that may follow it, and a lookalike that cannot."""

    first: str
    second: str
    lookalike: str


def alter(event: Event, told: Event, first: Event, rng: random.Random) -> Claim | None:
    """Draw one thing anew that two sentences tell of an event, rather a detail than the deed."""
    slots = [slot for slot in told if slot in first and slot != "seat"]
    details = [slot for slot in slots if slot not in ("agent", "verb", "object")]
    slot = pick(rng, details if details and rng.random() < 0.7 else slots)
    if slot == "verb":
        return action(event, told, CONTRADICTION, rng)
    return other(told, [slot], rng)


def follow(event: Event, first: Event, rng: random.Random) -> tuple[Event, Event]:
    """Return what may be told of an event after a first sentence, and what may not.

    Half of the time that is told again which was told, half of the time there is more. A few times
    what is not so is denied.
    """
    no_more = rng.random() < 0.5
    again = tell(first, rng, 0.5) if no_more else tell(event, rng, 0.2)
    found = None
    while not found:
        found = alter(event, again, first, rng)
    alike, slot = found
    deniable = no_more and "verb" in alike and slot.partition(".")[0] not in PRESUPPOSED
    if deniable and rng.random() < 0.3:
        return {**alike, "negated": "not"}, {**again, "negated": "not"}
    return again, alike


def make_text(num_passages: int, seed: int) -> Iterator[Passage]:
    """Yield unlabelled text: two sentences about a scene, and one that is wrong about it."""
    rng = random.Random(seed)
    challenges = make_challenge_text(num_passages, seed)
    for _ in range(num_passages):
        if rng.random() < CHALLENGES:
            yield Passage(*next(challenges))
            continue
        scene = draw_scene(rng)
        told, i = tell_scene(scene, rng), int(rng.random() * len(scene))
        told = [lift(event, rng, 0.1) for event in told]
        pair = follow(scene[i], told[i], rng)
        odds = pick(rng, (0.0, 0.2, 0.6))
        past = rng.random() < PAST
        retold = [lift(e, rng, odds, ("negated",)) for e in pair]
        first = sentence(told, rng, 0.15, past=past, caption=0.3)
        yield Passage(first, *(sentence([event], rng, 0.3, past=past) for event in retold))


FUNCTION_WORDS = """
a an the some is are was were not there in wearing who that with by to being while and or but as
before after he she they , .
"""


def lexicon_words() -> list[str]:
    """Return every word that the grammar can write, lower-cased and sorted."""
    verbs = [*FRAMES, *lexicon.PERSONS_DO, *lexicon.ANIMALS_DO]
    nouns = [*people(), *workers(), *below("animal"), *below("Garment")]
    nouns += [thing for frame in FRAMES.values() for thing in frame.objects]
    nouns += [above for noun in nouns for above in generals(noun)]
    phrases = [FUNCTION_WORDS, *nouns, *map(plural, nouns), *COUNTS, *verbs]
    phrases += [above for verb in verbs for above in generals(verb)]
    phrases += [word for frame in FRAMES.values() for word in (*frame.tools, frame.participle)]
    phrases += [lexicon.PAST[verb] for verb in phrases if verb in lexicon.PAST]
    phrases += [phrase for row in ADVERBIALS.values() for phrase in row]
    phrases += ["indoors", "outdoors", *places(), *lexicon.WEATHER_CLAUSES.values()]
    phrases += [*lexicon.POSTURES, *(seat.replace("|", " ") for seat in lexicon.POSTURES.values())]
    phrases += [adjective for dimension in ROWS for adjective in scale(dimension)]
    words = {word for phrase in phrases for word in phrase.split()}
    return sorted(words | {lexicon.SYNONYM[word] for word in words if word in lexicon.SYNONYM})
