"""From events to English sentences."""

import random
import re
from collections.abc import Sequence

from . import lexicon
from .lexicon import MASS, PLURAL_ONLY, ROWS, plural
from .scenes import FRAMES, Event, is_person, living, pick


def with_article(phrase: str) -> str:
    """Put `a` or `an` before a phrase."""
    vowel = phrase[0] in "aeiou" and not phrase.startswith(("use", "uni", "uku"))
    return f"{'an' if vowel else 'a'} {phrase}"


def noun_phrase(event: Event, role: str, definite: bool = False, many: bool = False) -> str:
    """Write who or what plays a role, such as `an old man` or `three red apples`."""
    words = [event[f"{role}.{name}"] for name in ROWS if f"{role}.{name}" in event]
    count, noun = event.get(f"{role}.count"), event[role]
    many = many or count is not None
    phrase = " ".join([*words, plural(noun) if many else noun])
    if definite:
        return f"the {phrase}" if count in (None, "some") else f"the {count} {phrase}"
    if count or many or noun in MASS | PLURAL_ONLY:
        return f"{count} {phrase}" if count else phrase
    return with_article(phrase)


def subject(event: Event, rng: random.Random, definite: bool, bare: bool) -> str:
    """Write who acts, with what they wear and how they sit; `bare` leaves that to the predicate."""
    many = "agent.count" in event
    phrase = noun_phrase(event, "agent", definite)
    if "partner" in event:
        mate = event["partner"]
        return f"{phrase} and {f'the {mate}' if definite else with_article(mate)}"
    be = "are" if many else "is"
    if "trait" in event:
        phrase += f" with {event['trait']}"
    if "wear" in event and not (bare and wears(event)):
        sits = "posture" in event and "verb" in event
        who = "in" if sits else pick(rng, ("in", "in", "wearing", f"who {be} wearing"))
        phrase += f" {who} {noun_phrase(event, 'wear', many=many)}"
    if "posture" in event and "verb" in event:
        who = "" if "wear" in event else pick(rng, ("", f"who {be} " if is_person(event) else ""))
        phrase += f" {who}{event['posture']}" + (f" {event['seat']}" if "seat" in event else "")
    return phrase


def wears(event: Event) -> bool:
    """Tell whether an event says of its agent no more than what they wear."""
    said = {slot.partition(".")[0] for slot in event}
    return said <= {"agent", "wear", "trait", "negated"}


def adverbials(event: Event) -> list[str]:
    """Return what an event says of where and when."""
    return [event[s] for s in ("weather", "place", "time", "day", "season") if s in event]


def predicate(event: Event, rng: random.Random, passive: bool) -> list[str]:
    """Write what an event says of its subject, without `is`."""
    tool = [f"with {with_article(event['tool'])}"] if "tool" in event else []
    to = [f"to {with_article(event['recipient'])}"] if "recipient" in event else []
    manner = [event["manner"]] if "manner" in event else []
    if "verb" not in event:
        if "posture" in event:
            return [event["posture"], event.get("seat", "")]
        many = "agent.count" in event
        return [f"wearing {noun_phrase(event, 'wear', many=many)}"] if wears(event) else []
    if passive:
        agent = subject(event, rng, False, False)
        return [f"being {FRAMES[event['verb']].participle}", *to, f"by {agent}", *tool, *manner]
    thing = [noun_phrase(event, "object")] if "object" in event else []
    if "other" in event:
        thing.append(f"and {with_article(event['other'])}")
    action = [event["verb"], *thing, *to, *tool]
    early = manner and manner[0].endswith("ly") and rng.random() < 0.4
    return [*manner, *action] if early else [*action, *manner]


def clause(event: Event, rng: random.Random, definite: bool, passive: bool, there: bool) -> str:
    """Write one event, such as `a tall man in a red hat is running quickly in a park at night`."""
    negation = ["not"] if "negated" in event else []
    said = {slot.partition(".")[0] for slot in event}
    if said <= {"agent", "partner", "trait"} and not negation:
        be = "are" if "agent.count" in event else "is"
        return f"there {be} {subject(event, rng, False, False)}"
    if passive:
        start = noun_phrase(event, "object", definite)
        many = "object.count" in event or "other" in event or event["object"] in PLURAL_ONLY
        start += f" and {with_article(event['other'])}" if "other" in event else ""
    else:
        start = subject(event, rng, definite, True)
        many = "agent.count" in event or "partner" in event
    be = "are" if many else "is"
    if there:
        be = "are" if many and "partner" not in event else "is"
        start, be = f"there {be}", start
    rest = [*negation, *predicate(event, rng, passive), *adverbials(event)]
    return " ".join(filter(None, [start, be, *rest]))


def sentence(
    events: Sequence[Event],
    rng: random.Random,
    definite: float = 0.0,
    passive: float = 0.12,
    past: bool = False,
    caption: float = 0.0,
) -> str:
    """Write events as one sentence, or one and more of its subject, with spaces between words.

    `definite`, `passive` and `caption` are odds: of `the`, of the passive, and of leaving out `is`.
    """
    first, negated = events[0], "negated" in events[0]
    first, more = set_apart(first, rng) if caption and len(events) == 1 else (first, "")
    voice = [can_be_passive(e) and not more and rng.random() < passive for e in events]
    there = not negated and not voice[0] and "posture" not in first and rng.random() < 0.12
    first, front, back = (first, "", "") if more else move_weather(first, rng)
    if not (negated or front or there):
        first, front = move_adverbial(first, rng)
    parts = [
        clause(e, rng, not there and is_definite(e, definite, rng), v, there and i == 0)
        for i, (e, v) in enumerate(zip([first, *events[1:]], voice, strict=True))
    ]
    text = front + parts[0]
    for part in parts[1:]:
        text += f" {pick(rng, ('while', 'and', ', and', 'as', 'while'))} {part}"
    text += back + more
    if past:
        text = in_past(text, rng.random() < 0.6)
    elif can_be_caption(text) and not (len(events) > 1 or there or more) and rng.random() < caption:
        text = without_be(text)
    return finish(text, rng)


def is_definite(event: Event, odds: float, rng: random.Random) -> bool:
    """Draw whether an event gets `the`, which must not hide how many there are: `the sheep ran`."""
    return NUMBERLESS.isdisjoint(event.values()) and rng.random() < odds


PRONOUNS = {"man": "he", "boy": "he", "woman": "she", "girl": "she"}


def set_apart(event: Event, rng: random.Random) -> tuple[Event, str]:
    """Say in a clause of its own what somebody wears, or how they sit; return the rest and it.

    Its subject is a pronoun, so nobody else may be there whom it could stand for.
    """
    pronoun = "they" if "agent.count" in event else PRONOUNS.get(event["agent"])
    roles = [role for role in ("wear", "posture") if role in event and "verb" in event]
    if not pronoun or not roles or len(living(event)) > 1 or rng.random() < 0.4:
        return event, ""
    role = pick(rng, roles)
    apart = {s: v for s, v in event.items() if s.partition(".")[0] == role}
    apart |= {"seat": event["seat"]} if role == "posture" else {}
    rest = {slot: value for slot, value in event.items() if slot not in apart}
    be = "are" if pronoun == "they" else "is"
    who = {slot: value for slot, value in event.items() if slot in ("agent", "agent.count")}
    said = predicate(who | apart, rng, False)
    return rest, " ".join([pick(rng, (" .", " while")), pronoun, be, *filter(None, said)])


SIMPLE_PAST = re.compile(rf"(?<!who )\b(is|are) ((?:\w+ly )?)({'|'.join(lexicon.PAST)})\b")
NUMBERLESS = {noun for noun, form in lexicon.IRREGULAR.items() if noun == form}
BE = re.compile(r"(?<!who) (is|are)\b")


def in_past(text: str, simple: bool) -> str:
    """Put a sentence into the past: `was eating`, or `ate` where nothing is in between."""
    if simple:
        text = SIMPLE_PAST.sub(lambda found: found[2] + lexicon.PAST[found[3]], text)
    past = {"is": "was", "are": "were"}
    return " ".join(past.get(word, word) for word in text.split())


def can_be_caption(text: str) -> bool:
    """Tell whether there is one `is`, and one noun before it that the rest can belong to."""
    return not re.search(r"\bwho\b|\bsun\b|\bit\b|\band\b", text)


def without_be(text: str) -> str:
    """Make a caption of a sentence: `two dogs running in a park`."""
    return BE.sub("", text, count=1)


def move_weather(event: Event, rng: random.Random) -> tuple[Event, str, str]:
    """Move the weather into a clause in front or at the back, or leave it; return all three."""
    sky = lexicon.WEATHER_CLAUSES.get(event.get("weather", ""))
    if not sky or "verb" not in event or "negated" in event or rng.random() >= 0.6:
        return event, "", ""
    rest = {slot: value for slot, value in event.items() if slot != "weather"}
    if rng.random() < 0.5:
        return rest, f"{sky} {pick(rng, ('and', 'while'))} ", ""
    return rest, "", f" while {sky}"


def move_adverbial(event: Event, rng: random.Random) -> tuple[Event, str]:
    """Move where or when to the front, or leave it; return the rest and the front."""
    slots = [s for s in ("time", "day", "season", "place") if s in event]
    if not slots or len(event) <= 3 or rng.random() >= 0.25:
        return event, ""
    slot = pick(rng, slots)
    return {s: value for s, value in event.items() if s != slot}, f"{event[slot]} , "


def finish(text: str, rng: random.Random) -> str:
    """Put in synonyms, and set articles, capitals and the stop right."""
    words = [
        lexicon.SYNONYM[w] if w in lexicon.SYNONYM and rng.random() < 0.2 else w
        for w in text.split()
    ]
    for i, word in enumerate(words[:-1]):
        if word in ("a", "an"):
            words[i] = with_article(words[i + 1]).split()[0]
    starts = [i == 0 or words[i - 1] == "." for i in range(len(words))]
    capital = [start or word in lexicon.NAMES for start, word in zip(starts, words, strict=True)]
    words = [w.capitalize() if up else w for w, up in zip(words, capital, strict=True)]
    return " ".join([*words, "."])


def can_be_passive(event: Event) -> bool:
    """Tell whether an event can be written in the passive."""
    return event.get("verb") in FRAMES and "object" in event and "posture" not in event
