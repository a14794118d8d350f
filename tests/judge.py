"""A slow and plain judge of the sample corpus, to check the generator's labels against.

It sees two sentences and the tables of words, and nothing of what wrote the sentences. It reads a
sentence into clauses, each a dict of slots (`agent`, `agent.count`, `agent.mood`, `verb`, `object`,
`place`, ...), and compares the slots that a claim fills with what the premise says in them.
"""

import re
from itertools import combinations, pairwise, permutations

from seams import lexicon

MASS, OPPOSITE, PLURAL_ONLY = lexicon.MASS, lexicon.OPPOSITE, lexicon.PLURAL_ONLY
ancestors, below, plural = lexicon.ancestors, lexicon.below, lexicon.plural

Clause = dict[str, str]
SUPPORTED, OPEN, RULED_OUT = range(3)  # what a premise may make of a claim, or of a slot of it
VERDICTS = ("entailment", "neutral", "contradiction")

# ---- The words, from the tables ------------------------------------------------------------------

USUAL = {b: a for a, b in lexicon.SYNONYM.items()} | {"an": "a"}


def usual(text: str) -> str:
    """Return a text in lower case, with the usual word for each synonym."""
    return " ".join(USUAL.get(word, word) for word in text.lower().split())


def taxonomy(*names: str) -> list[str]:
    """Return names and all that stands below them."""
    return [*names, *below(*names)]


FRAMES = (lexicon.DEEDS + lexicon.DEALINGS + lexicon.HANDOVERS).split("\n")
FRAMES = [line.partition("|") for line in FRAMES if line]
VERB_OF = {left.split()[2]: left.split()[1] for left, _, _ in FRAMES}  # eaten -> eating
VERBS = {*VERB_OF.values(), *lexicon.PERSONS_DO, *lexicon.ANIMALS_DO}
VERBS |= {above for verb in VERBS for above in ancestors(verb) if above.islower()}

NOUNS = lexicon.PEOPLE + lexicon.JOBS + lexicon.ANIMALS + lexicon.THINGS
NOUNS = {word.rstrip("~+:") for word in NOUNS.split() if word.islower()}
NOUN_OF = {form: noun for noun in NOUNS for form in (noun, plural(noun))}  # geese -> goose
GARMENTS = [form for form, noun in NOUN_OF.items() if noun in below("Garment")]
DIMENSION = {word: name for name, row in lexicon.ROWS.items() for word in taxonomy(*row)}
NUMBERS = "two three four five six seven eight nine ten".split()
MATE = {"agent": "partner", "object": "other"}

ADVERBIALS = "manner place time day season weather".split()
FIXED = {  # the phrases that always fill the same slot
    "manner": list(OPPOSITE),
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
WORD = re.compile(rf"(?:{'|'.join(sorted(PHRASES, key=len, reverse=True))})(?!\S)|\S+")
WHO = re.compile(f" who (is|are)(?= ({'|'.join(['wearing', *lexicon.POSTURES])}))")

# ---- From a sentence to clauses ------------------------------------------------------------------


class Reader:
    """Reads the words of one clause, from left to right, into slots; a phrase counts as a word."""

    def __init__(self, words: list[str], sentence: str):
        self.words, self.clause, self.sentence = [*words, "."], Clause(), sentence

    def fail(self):
        raise ValueError(f"cannot read {self.words[0]!r} in {self.sentence!r}")

    def take(self, *choices: str) -> str:
        """Read the next word if it is one of the choices."""
        return self.words.pop(0) if self.words[0] in choices else ""

    def need(self, *choices: str) -> str:
        """Read the next word, which must be one of the choices."""
        return self.take(*choices) or self.fail()

    def put(self, slot: str, value: str):
        """Fill a slot, once."""
        if slot in self.clause:
            self.fail()
        self.clause[slot] = value

    def phrase(self, *slots: str) -> bool:
        """Read a phrase such as `in a park`, if one for these slots is next."""
        slot, value = PHRASES.get(self.words[0], ("", ""))
        if slot in slots:
            self.put(slot, value)
            self.words.pop(0)
        return slot in slots

    def noun(self, role: str) -> str:
        """Read such as `an old man` or `three hats`; return which of is and are goes with it."""
        article = self.take("a", "the", "some")
        number = article if article in ("a", "some") else self.take(*NUMBERS)
        while adjective := self.take(*DIMENSION):
            self.put(f"{role}.{DIMENSION[adjective]}", adjective)
        word = self.need(*(GARMENTS if role == "wear" else NOUN_OF))
        noun = NOUN_OF[word]
        self.put(role, noun)
        if noun in MASS | PLURAL_ONLY and number in ("", "some"):
            return "is" if noun in MASS else "are"
        if article == "the":
            number = number or ("some" if word != noun or self.words[0] == "are" else "a")
        if role == "wear":  # two men in hats
            number = number or "some"
        if not number or noun in MASS or word != (noun if number == "a" else plural(noun)):
            self.fail()
        self.put(f"{role}.count", number)
        return "is" if number == "a" else "are"

    def nouns(self, role: str) -> str:
        """Read such as `two men` or `a man and a woman`; return which of is and are fits."""
        verb = self.noun(role)
        if self.take("and") and self.need("a", "the"):
            self.put(MATE[role], self.need(*NOUNS))
            self.clause[f"{role}.count"], verb = "a", "are"  # a man and a woman: one of each
        if role == "agent":
            self.look()
        return verb

    def look(self):
        """Read any such as `with a cane`, `in a hat` and `sitting on a bench` that are next."""
        while self.phrase("trait", "posture", "seat") or (
            self.take("in", "wearing") and self.noun("wear")
        ):
            pass

    def predicate(self):
        """Read what follows `is`."""
        self.phrase("manner")
        self.look()
        if passive := self.take("being"):
            self.put("verb", VERB_OF[self.need(*VERB_OF)])
        elif verb := self.take(*VERBS):
            self.put("verb", verb)
            if self.words[0] in {"a", "the", "some", *NUMBERS, *DIMENSION, *NOUN_OF}:
                self.nouns("object")
        if self.take("to"):
            self.noun("recipient")
        if passive and self.need("by"):
            self.nouns("agent")
        while self.phrase("tool", *ADVERBIALS):
            pass

    def read(self) -> Clause:
        """Read a whole clause."""
        if not self.phrase("sky"):
            if self.phrase(*ADVERBIALS):
                self.need(",")
            be = self.take("there") and self.need("is", "are")
            verb = self.nouns("object" if "being" in self.words else "agent")
            if be and be != verb and "partner" not in self.clause:
                self.fail()
            if not be and self.need(verb) and self.take("not"):
                self.put("negated", "not")
            if not be and self.words == ["."]:
                self.fail()
            self.predicate()
        self.need(".")
        return self.clause


def read_joined(words: list[str], sentence: str) -> list[Clause]:
    """Read clauses joined by `and`: some of the `and`s join clauses, the others nouns."""
    heads = [w for w in words if w in ("is", "are") or PHRASES.get(w, [""])[0] == "sky"]
    ands = [i for i, word in enumerate(words) if word == "and"]
    readings, reason = [], ValueError(f"no verb in {sentence!r}")
    for cuts in combinations(ands, max(len(heads) - 1, 0)):
        spans = pairwise([-1, *cuts, len(words)])
        try:
            readings.append([Reader(words[i + 1 : j], sentence).read() for i, j in spans])
        except ValueError as error:
            reason = error
    if len(readings) != 1:
        raise ValueError(f"two ways to read {sentence!r}") if readings else reason
    return readings[0]


def clauses(sentence: str) -> list[Clause]:
    """Read a sentence, or raise a ValueError."""
    text = re.sub(r" (, and|as) ", " while ", WHO.sub("", usual(sentence))).removesuffix(" .")
    parts = [read_joined(WORD.findall(part), sentence) for part in text.split(" while ")]
    sky = [{"weather": c["sky"]} for part in parts for c in part if "sky" in c]
    return [Clause(*sky) | c for part in parts for c in part if "sky" not in c]


# ---- What clauses say of each other --------------------------------------------------------------


def compare_words(slot: str, told: str | None, claimed: str) -> int:
    """Compare what is told in a slot with what is claimed."""
    if told is None:
        return OPEN
    if told == claimed or claimed in ancestors(told):
        return SUPPORTED
    if slot.endswith(".count") and "a" not in (told, claimed):
        return {claimed: SUPPORTED, told: OPEN}.get("some", RULED_OUT)
    return OPEN if told in ancestors(claimed) or go_together(slot, told, claimed) else RULED_OUT


def go_together(slot: str, one: str, two: str) -> bool:
    """Tell whether two words, neither of them above the other, may both hold in a slot."""
    if slot == "wear":  # a hat and boots
        return {*filter(str.istitle, ancestors(one))} != {*filter(str.istitle, ancestors(two))}
    if slot == "manner":
        return OPPOSITE[one] != two
    kinds = [{word, *ancestors(word)} & {"person", "adult", "child"} for word in (one, two)]
    return slot == "trait" or sorted(map(len, kinds)) == [1, 2]  # a guard and a man


def compare_nouns(role: str, told: Clause, claim: Clause) -> int:
    """Compare one or two of a role with one or two, in the order that is best for the claim."""
    telling = [told[r] for r in (role, MATE[role]) if r in told]
    claimed = [claim[r] for r in (role, MATE[role]) if r in claim]
    telling += [None] * (len(claimed) - len(telling))
    return min(
        max(map(compare_words, [role] * 2, order, claimed), default=SUPPORTED)
        for order in permutations(telling, len(claimed))
    )


def compare(told: Clause, claim: Clause) -> int:
    """Compare a claim with a clause; the claim is as good as its worst slot."""
    nouns = [compare_nouns(role, told, claim) for role in MATE]
    slots = claim.keys() - {*MATE, *MATE.values(), "negated"}
    if "wear" in told.keys() & slots and go_together("wear", told["wear"], claim["wear"]):
        told = {slot: value for slot, value in told.items() if not slot.startswith("wear")}
    return max(nouns + [compare_words(slot, told.get(slot), claim[slot]) for slot in slots])


def others(told: Clause) -> list[Clause]:
    """Return clauses that say no more than that there is what, and to whom, something is done."""
    there = {slot: told[slot] for slot in ADVERBIALS if slot in told}
    roles = [role for role in ("object", "recipient") if role in told]
    return [there | {s.replace(r, "agent"): told[s] for s in told if r in s} for r in roles]


def judge(premise: str, hypothesis: str) -> str:
    """Return the label that follows from the two sentences."""
    told, (claim,) = clauses(premise), clauses(hypothesis)
    if not claim.keys() & {"verb", "posture", "wear", "trait"}:
        told += [other for clause in told for other in others(clause)]
    verdict = min(compare(clause, claim) for clause in told)
    return VERDICTS[RULED_OUT - verdict if "negated" in claim else verdict]
