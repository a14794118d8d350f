"""Read the sentences of the sample corpus into clauses: who does what to what, where and when.

It is the first half of the judge of the corpus, and knows the tables of words, and nothing of what
wrote the sentences. A sentence becomes plainer step by step: the past becomes the present, each
choice of an `or` a text of its own, and each text the clauses that it joins, which a reader reads.
"""

import re
from collections.abc import Container
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import combinations, pairwise, product
from typing import Any

from seams import lexicon

MASS, PLURAL_ONLY = lexicon.MASS, lexicon.PLURAL_ONLY
ancestors, below, plural = lexicon.ancestors, lexicon.below, lexicon.plural

Noun = dict[str, Any]  # the noun, its count, its adjectives, its trait, what it wears (a Noun), ...


@dataclass
class Clause:
    """Who does what to whom, and where, when and how."""

    nouns: dict[str, list[Noun]] = field(default_factory=dict)  # agent, object, recipient
    slots: dict[str, str] = field(default_factory=dict)  # verb, tool, place, manner, ...
    given: list[Noun] | None = None  # the agents without what is denied of them, if it is denied
    turn: int = 0  # or 1, if it comes after another clause


# ---- The words, from the tables ------------------------------------------------------------------

USUAL = {b: a for a, b in lexicon.SYNONYM.items()} | {"an": "a"}


def usual(text: str) -> str:
    """Return a text in lower case, with the usual word for each synonym."""
    return " ".join(USUAL.get(word, word) for word in text.lower().split())


def taxonomy(*names: str) -> list[str]:
    """Return names and all that stands below them."""
    return [*names, *below(*names)]


def either(words) -> str:
    """Return a pattern for one of the words or phrases."""
    return f"(?:{'|'.join(sorted(words, key=len, reverse=True))})(?!\\S)"


FRAMES = (lexicon.DEEDS + lexicon.DEALINGS + lexicon.HANDOVERS).split("\n")
FRAMES = [line.partition("|") for line in FRAMES if line]
VERB_OF = {left.split()[2]: left.split()[1] for left, _, _ in FRAMES}  # eaten -> eating
VERBS = {*VERB_OF.values(), *lexicon.PERSONS_DO, *lexicon.ANIMALS_DO}
VERBS |= {above for verb in VERBS for above in ancestors(verb) if above.islower()}
PAST = {(usual(past), usual(verb)) for verb, past in lexicon.PAST.items()}
DOING = dict(PAST)  # ate -> eating
if len(DOING) < len(PAST):
    raise ValueError("two verbs have the same past")

NOUNS = lexicon.PEOPLE + lexicon.JOBS + lexicon.ANIMALS + lexicon.THINGS
NOUNS = {word.rstrip("~+:") for word in NOUNS.split() if word.islower()}
NOUN_OF = {form: noun for noun in NOUNS for form in (noun, plural(noun))}  # geese -> goose
GARMENTS = {*below("Garment")}
PRONOUNS = {  # and who is not called so
    "he": {"woman", "girl", *taxonomy("animal")},
    "she": {"man", "boy", *taxonomy("animal")},
    "it": {*taxonomy("person")},
    "they": set(),
    "same": set(),  # the one that is not named in `and painted a wall`
}
BEINGS = {*taxonomy("person", "animal"), *PRONOUNS}
DIMENSION = {word: name for name, row in lexicon.ROWS.items() for word in taxonomy(*row)}
NUMBERS = "two three four five six seven eight nine ten".split()
DETERMINERS = ["a", "the", "some", *NUMBERS]
UNCOUNTED = MASS | PLURAL_ONLY
NOUN_PHRASE = {*DETERMINERS, *DIMENSION, *NOUN_OF}  # the words that one begins with
FINITE = ("is", "are", "did")
TENSE = {"is": "present", "are": "present", "was": "past", "were": "past", "did": "past"}
PRESENT = {"was": "is", "were": "are"}

ADVERBIALS = "manner place time day season weather".split()
FIXED = {  # the phrases that always fill the same slot
    "manner": list(lexicon.OPPOSITE),
    "place": taxonomy("indoors", "outdoors"),
    "time": taxonomy("Day")[1:],
    "day": lexicon.DAYS.split("|"),
    "season": taxonomy(*(f"in the {name}" for name in "spring summer autumn winter".split())),
    "weather": taxonomy("in bad weather", "in good weather"),
    "posture": list(lexicon.POSTURES),
    "seat": "|".join(lexicon.POSTURES.values()).split("|"),
    "trait": [f"with {trait}" for trait in lexicon.TRAITS.split("|")],
    "tool": [f"with a {tool}" for _, _, tools in FRAMES for tool in tools.split()],
}
PHRASES = {usual(value): (slot, value) for slot, row in FIXED.items() for value in row}
PHRASES |= {usual(clause): ("sky", value) for value, clause in lexicon.WEATHER_CLAUSES.items()}
WORD = re.compile(rf"{either(PHRASES)}|\S+")
WHO = re.compile(f" (who|that) (is|are|did)(?= {either(['wearing', *lexicon.POSTURES])})")
DID = re.compile(rf"(?<!\S)(?<!being ){either(DOING)}")
NOUN = f"(?:the )?(?:{either(DETERMINERS)} )?(?:{either(DIMENSION)} )*{either(NOUN_OF)}"
OR = re.compile(rf"(?<!\S){NOUN}(?: or {NOUN})+")
BUT = re.compile(rf"(?<!\S)({NOUN}) but ({NOUN})")


def said(clause: Clause) -> set[str]:
    """Return the slots that a clause fills, those of its agents included."""
    return {slot for noun in clause.nouns["agent"] for slot in noun} | clause.slots.keys()


# ---- From the words of a clause to the clause ----------------------------------------------------


def is_plural(nouns: list[Noun]) -> bool:
    """Tell whether `are` goes with nouns."""
    count = nouns[0].get("count", "some" if nouns[0]["noun"] in {*PLURAL_ONLY, "they"} else "a")
    return len(nouns) > 1 or count != "a"


def put(into: dict, **slots: Any):
    """Fill slots, each of them once."""
    if twice := into.keys() & slots:
        raise ValueError(f"{twice.pop()} is told twice")
    into.update(slots)


class Reader:
    """Reads the words of one clause, from left to right; a phrase counts as a word."""

    def __init__(self, words: list[str], sentence: str, is_caption: bool = False):
        self.words, self.sentence, self.is_caption = [*words, "."], sentence, is_caption
        self.clauses: list[Clause] = []

    def fail(self):
        raise ValueError(f"cannot read {self.words[0]!r} in {self.sentence!r}")

    def pick(self, choices: Container[str]) -> str:
        """Read the next word if it is one of the choices."""
        return self.words.pop(0) if self.words[0] in choices else ""

    def take(self, *choices: str) -> str:
        """Read the next word if it is one of the choices, which are few."""
        return self.pick(choices)

    def need(self, *choices: str) -> str:
        """Read the next word, which must be one of the choices."""
        return self.pick(choices) or self.fail()

    def phrase(self, into: dict, *slots: str) -> bool:
        """Read a phrase such as `in a park`, if one for these slots is next."""
        slot, value = PHRASES.get(self.words[0], ("", ""))
        if slot in slots:
            put(into, **{slot: value})
            self.words.pop(0)
        return slot in slots

    def count(self, article: str, form: str, noun: str) -> str:
        """Return how many there are: a number, `a`, `some`, or nothing for `tea` and `jeans`."""
        if noun in UNCOUNTED and article in ("", "the", "some"):
            return ""
        one_form = noun == plural(noun)  # sheep
        if article == "the" and one_form and self.words[0] == "did":
            self.fail()
        if article == "the":
            article = "some" if form != noun or (one_form and self.words[0] == "are") else "a"
        if noun in MASS or form != (noun if article == "a" else plural(noun)):
            self.fail()
        return article or self.fail()

    def noun(self, default: str = "") -> Noun:
        """Read such as `an old man` or `three hats`."""
        article, adjectives = self.pick(DETERMINERS) or default, Noun()
        if article == "the":
            article = self.pick(NUMBERS) or article
        while word := self.pick(DIMENSION):
            put(adjectives, **{DIMENSION[word]: word})
        form = self.pick(NOUN_OF) or self.fail()
        count = self.count(article, form, NOUN_OF[form])
        return {"noun": NOUN_OF[form]} | ({"count": count} if count else {}) | adjectives

    def garment(self, into: Noun) -> bool:
        """Read such as `wearing a red hat`, or `in hats` where several wear one, if it is next."""
        if found := self.take("in", "wearing"):
            put(into, wear=self.noun("some"))
            if into["wear"]["noun"] not in GARMENTS:
                self.fail()
        return bool(found)

    def look(self) -> Noun:
        """Read any such as `with a cane`, `in a hat` and `sitting on a bench` that are next."""
        said = Noun()
        while self.phrase(said, "trait", "posture", "seat") or self.garment(said):
            pass
        return said

    def described(self) -> Noun:
        """Read a noun, and what follows to describe it; only persons and animals are described."""
        noun, said = self.noun(), self.look()
        if said and noun["noun"] not in BEINGS:
            self.fail()
        put(noun, **said)
        return noun

    def pair(self) -> list[Noun]:
        """Read such as `two men` or `a man and a woman`."""
        return [self.described(), *([self.described()] if self.take("and") else [])]

    def subject(self) -> list[Noun]:
        """Read such as `two men` or `they`."""
        pronoun = self.pick(PRONOUNS)
        return [{"noun": pronoun}] if pronoun else self.pair()

    def things(self) -> list[Noun]:
        """Read to what, or to whom, something is done."""
        nouns = self.pair()  # who sits in `is following a boy sitting on a bench` is not clear
        return self.fail() if any("posture" in noun for noun in nouns) else nouns

    def finite(self, nouns: list[Noun], clause: Clause):
        """Read `is`, `are` or `did`, and `quickly` before `did`."""
        if self.words[1:2] == ["did"]:
            self.phrase(clause.slots, "manner")
        be = self.need(*FINITE)
        if be not in ("did", "are" if is_plural(nouns) else "is") and nouns[0]["noun"] != "same":
            self.fail()

    def action(self, clause: Clause, subject: list[Noun]):
        """Read such as `eating an apple` or `being eaten by a man`, if it is next."""
        passive = self.take("being")
        verb = VERB_OF[self.pick(VERB_OF) or self.fail()] if passive else self.pick(VERBS)
        clause.nouns["object" if passive else "agent"] = subject
        if verb:
            put(clause.slots, verb=verb)
        if verb and not passive and self.words[0] in NOUN_PHRASE:
            clause.nouns["object"] = self.things()
        if verb and self.take("to"):
            clause.nouns["recipient"] = self.things()
        if passive and self.need("by"):
            clause.nouns["agent"] = self.pair()
        if verb and any(noun["noun"] not in BEINGS for noun in clause.nouns["agent"]):
            self.fail()

    def predicate(self, clause: Clause, subject: list[Noun]):
        """Read what is said of the subject."""
        self.phrase(clause.slots, "manner")
        said = self.look()
        for noun in subject:
            put(noun, **said)
        self.action(clause, subject)
        while self.phrase(clause.slots, "tool", *ADVERBIALS):
            pass

    def relative(self, subject: list[Noun]):
        """Read such as `who is following a boy` and `that a boy is following`, if it is next."""
        if self.take("who", "that"):
            clause = Clause()
            is_agent = self.words[0] in FINITE or self.words[1:2] == ["did"]
            agents = subject if is_agent else self.pair()
            self.finite(agents, clause)
            self.predicate(clause, agents)
            if agents is not subject:
                put(clause.nouns, object=subject)
            if self.words[0] == "did" and [*clause.slots][-1:] == ["manner"]:
                self.fail()  # what is quick in `who followed a boy quickly ate a pear`?
            self.clauses.append(clause)

    def main(self, clause: Clause):
        """Read a clause from its subject on."""
        there = self.take("there") and self.need("is", "are")
        subject = self.subject()
        self.relative(subject)
        if there and (self.clauses or (there == "is" and is_plural(subject[:1]))):
            self.fail()  # who is eating in `there is a man who is following a boy eating`?
        if not there and not self.is_caption:
            self.finite(subject, clause)
            clause.given = deepcopy(subject) if self.take("not") else None
            if self.words == ["."]:
                self.fail()
        self.predicate(clause, subject)
        self.check(clause, subject)

    def check(self, clause: Clause, subject: list[Noun]):
        """Check that a caption says something, and look after the subject of a passive."""
        if self.is_caption and not said(clause) & {"verb", "posture", "wear"}:
            self.fail()
        if clause.nouns["agent"] is not subject:
            if is_pronoun(subject):
                self.fail()
            clause.given = clause.given and clause.nouns["agent"]

    def read(self) -> list[Clause]:
        """Read the whole clause, and those within it."""
        clause = Clause()
        if not self.phrase(clause.slots, "sky"):
            if self.phrase(clause.slots, *ADVERBIALS):
                self.need(",")
            self.main(clause)
        self.need(".")
        return [*self.clauses, clause]


# ---- From a sentence to clauses ------------------------------------------------------------------


def in_present(sentence: str) -> tuple[str, str]:
    """Return what a sentence says as if in the present, and its tense; that of a caption is ""."""
    text = DID.sub(lambda match: f"did {DOING[match[0]]}", usual(sentence).removesuffix(" ."))
    tenses = {TENSE[word] for word in text.split() if word in TENSE}
    if len(tenses) > 1:
        raise ValueError(f"two tenses in {sentence!r}")
    text = " ".join(PRESENT.get(word, word) for word in text.split())
    return WHO.sub("", re.sub(r" (, and|as|\.) ", " while ", text)), "".join(tenses)


def read_joined(text: str, is_caption: bool = False) -> list[Clause]:
    """Read clauses joined by `and`: some of the `and`s join clauses, the others nouns."""
    words = WORD.findall(text)
    verbs = sum(word in FINITE or PHRASES.get(word, [""])[0] == "sky" for word in words)
    ands = [i for i, word in enumerate(words) if word == "and"]
    readings, reason = [], ValueError(f"no verb in {text!r}")
    for cuts in combinations(ands, max(verbs - words.count("who") - words.count("that") - 1, 0)):
        spans = [words[i + 1 : j] for i, j in pairwise([-1, *cuts, len(words)])]
        try:
            readings.append([c for span in spans for c in Reader(span, text, is_caption).read()])
        except ValueError as error:
            reason = error
    if len(readings) != 1:
        raise ValueError(f"two ways to read {text!r}") if readings else reason
    return readings[0]


def is_pronoun(nouns: list[Noun]) -> bool:
    """Tell whether nouns are a pronoun."""
    return nouns[0]["noun"] in PRONOUNS


def is_called(agents: list[Noun], pronoun: str) -> bool:
    """Tell whether a pronoun may stand for agents."""
    fits = pronoun == "same" or is_plural(agents) == (pronoun == "they")
    return fits and all(noun["noun"] not in PRONOUNS[pronoun] for noun in agents)


def antecedent(clauses: list[Clause]) -> tuple[list[Noun], list[Noun]]:
    """Return the agents of the only clause without a pronoun, and the pronouns that mean them."""
    agents = [clause.nouns["agent"] for clause in clauses]
    (named,) = [nouns for nouns in agents if not is_pronoun(nouns)]
    pronouns = [nouns[0] for nouns in agents if is_pronoun(nouns)]
    if not all(is_called(named, pronoun["noun"]) for pronoun in pronouns):
        raise ValueError(f"{pronouns} do not stand for {named}")
    return named, pronouns


def resolve(clauses: list[Clause]) -> list[Clause]:
    """Let clauses such as `he is wearing a hat` describe the agents of the only other clause."""
    told = [clause for clause in clauses if not is_pronoun(clause.nouns["agent"])]
    if len(told) < len(clauses):
        agents, pronouns = antecedent(clauses)
        if told[0].given or any(clause.slots for clause in clauses if clause not in told):
            raise ValueError(f"{pronouns} do more than wear and sit")
        for agent, pronoun in product(agents, pronouns):
            put(agent, **{slot: value for slot, value in pronoun.items() if slot != "noun"})
    return told


def without_sky_and_pronouns(clauses: list[Clause]) -> list[Clause]:
    """Say in each clause what clauses such as `it is raining`, and those of a pronoun, say."""
    skies = [{"weather": clause.slots["sky"]} for clause in clauses if "sky" in clause.slots]
    clauses = resolve([clause for clause in clauses if "sky" not in clause.slots])
    for clause, sky in product(clauses, skies):
        clause.slots = sky | clause.slots
    return clauses


def read_order(text: str) -> list[Clause]:
    """Read such as `a man ate a pear before he washed a car and painted a wall`."""
    text = re.sub("^(before|after) (.+) , (.+)$", r"\3 \1 \2", text)
    main, word, rest = re.split(" (before|after) ", text)
    if re.search(r"\b(is|are)\b", text):
        raise ValueError(f"an order of what goes on is not clear in {text!r}")
    (one,) = read_joined(main)
    clauses = [one, *read_joined(rest.replace(" and did ", " and same did "))]
    agents, pronouns = antecedent(clauses)
    if any("verb" not in clause.slots for clause in clauses) or max(map(len, pronouns)) > 1:
        raise ValueError(f"an order of more than deeds in {text!r}")
    for clause in clauses:
        clause.nouns["agent"] = agents
        clause.turn = int((clause is one) == (word == "after"))
    return clauses


def read_one(text: str, is_caption: bool) -> list[Clause]:
    """Read a text without `or`."""
    if "before" in (words := text.split()) or "after" in words:
        return read_order(text)
    if but := BUT.search(text):
        denied, told = (text.replace(but[0], noun) for noun in but.groups())
        (denied,), (told,) = read_joined(denied), read_joined(told.replace(" not ", " ", 1))
        if not denied.given or told.given:
            raise ValueError(f"nothing is denied before `but` in {text!r}")
        return [denied, told]
    parts = [read_joined(part, is_caption) for part in text.split(" while ")]
    clauses = [clause for part in parts for clause in part]
    if len(clauses) > 1 and (is_caption or any(clause.given for clause in clauses)):
        raise ValueError(f"a caption or what is denied is not alone in {text!r}")
    return without_sky_and_pronouns(clauses)


def alternatives(text: str) -> list[str]:
    """Return the texts that a text with `or` chooses from."""
    if not (nouns := " or " in text and OR.search(text)):
        return [text]
    before, after = text[: nouns.start()], text[nouns.end() :]
    texts = [f"{before}{noun}{after}" for noun in nouns[0].split(" or ")]
    return [choice for chosen in texts for choice in alternatives(chosen)]


def pairs(clauses: list[Clause]) -> list[list[Noun]]:
    """Return such as `a man and a woman` in clauses."""
    return [two for clause in clauses for two in clause.nouns.values() if len(two) == 2]


def read(sentence: str) -> tuple[list[list[Clause]], str]:
    """Read a sentence, or raise a ValueError; return its alternatives, and its tense."""
    text, tense = in_present(sentence)
    readings = [read_one(choice, not tense) for choice in alternatives(text)]
    if len(readings) > 1 and any(clause.given for clause in readings[0]):
        raise ValueError(f"what is denied is not clear in {sentence!r}")
    if any(pairs(reading) != pairs(readings[0]) for reading in readings):
        raise ValueError(f"what `and` and `or` join is not clear in {sentence!r}")
    return readings, tense
