"""A slow and plain judge of the sample corpus, to check the generator's labels against.

It sees two sentences and the tables of words, and nothing of what wrote the sentences. It reads
both into clauses, and compares what a claim says with what the premise says: each thing that is
claimed is supported, open or ruled out.
"""

from collections.abc import Sequence
from itertools import combinations, permutations, product
from typing import Any

from clauses import ADVERBIALS, NUMBERS, Clause, Noun, read, said
from seams import lexicon

ancestors, OPPOSITE = lexicon.ancestors, lexicon.OPPOSITE

SUPPORTED, OPEN, RULED_OUT = range(3)  # what a premise may make of a claim, or of a part of it
COUNTS = ["none", "a", *NUMBERS]
VERDICTS = ("entailment", "neutral", "contradiction")


def compare_values(slot: str, told: Any, claimed: Any) -> int:
    """Compare what is told in a slot with what is claimed: two words, or two garments."""
    if told is None:
        return OPEN
    if slot == "wear":
        worn_together = go_together(slot, told["noun"], claimed["noun"])
        return OPEN if worn_together else compare_slots(told, claimed)
    if told == claimed or claimed in ancestors(told):
        return SUPPORTED
    if slot == "count" and "a" not in (told, claimed):
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


def compare_slots(told: dict, claim: dict) -> int:
    """Compare what is told in slots with what is claimed; a claim is as good as its worst slot."""
    return max((compare_values(s, told.get(s), claim[s]) for s in claim), default=SUPPORTED)


def together(two: list[Noun], word: str) -> list[Noun]:
    """Return what two nouns are together, such as two people, if a word is above both."""
    if len(two) < 2 or any(word not in (noun["noun"], *ancestors(noun["noun"])) for noun in two):
        return []
    counts = [COUNTS.index(noun["count"]) for noun in two if noun.get("count") in COUNTS]
    known = len(counts) == 2 and sum(counts) < len(COUNTS)
    return [{"noun": word, "count": COUNTS[sum(counts)] if known else "some"}]


def compare_nouns(told: list[Noun], claimed: list[Noun]) -> int:
    """Compare one or two nouns with one or two, in the order that is best for the claim."""
    orders = [*permutations(told + [{}] * (len(claimed) - len(told)), len(claimed))]
    if len(claimed) == 1 and "noun" in claimed[0]:
        orders += [[one] for one in together(told, claimed[0]["noun"])]
    return min(max(map(compare_slots, order, claimed)) for order in orders)


def compare(told: Clause, claim: Clause) -> int:
    """Compare a claim with a clause; the claim is as good as its worst part."""
    nouns = [compare_nouns(told.nouns.get(role, []), claim.nouns[role]) for role in claim.nouns]
    return max([*nouns, compare_slots(told.slots, claim.slots)])


def others(told: Clause) -> list[Clause]:
    """Return clauses that say no more than that there is what, and to whom, something is done."""
    there = {slot: told.slots[slot] for slot in ADVERBIALS if slot in told.slots}
    roles = [role for role in ("object", "recipient") if role in told.nouns]
    return [Clause({"agent": told.nouns[role]}, there) for role in roles]


def affirms(claim: Clause, denied: Clause) -> bool:
    """Tell whether a claim implies what is denied, of those of whom it is denied."""
    agents, given = denied.nouns["agent"], denied.given
    news = [{s: n[s] for s in n if s not in g} for n, g in zip(agents, given, strict=True)]
    slots = {slot for noun in news for slot in noun}
    named = [{s: n[s] for s in n if s not in slots} for n in claim.nouns["agent"]]
    rest = Clause(denied.nouns | {"agent": news}, denied.slots)
    return compare_nouns(given, named) == SUPPORTED == compare(claim, rest)


def decide(told: list[Clause], claim: Clause) -> int:
    """Decide what clauses make of a claim, as if nothing were denied in it."""
    denied = [clause for clause in told if clause.given]
    if any(affirms(claim, clause) for clause in denied):
        return RULED_OUT
    told = [clause for clause in told if not clause.given]
    if denied and not told:  # who does not do it is there all the same
        return min(OPEN, compare(Clause({"agent": denied[0].given}), claim))
    if not said(claim) & {"verb", "posture"}:
        told += [other for clause in told for other in others(clause)]
    return min(compare(clause, claim) for clause in told)


def shared(clauses: Sequence[Clause]) -> set[tuple]:
    """Return in which roles of which clauses the same ones are."""
    pairs = combinations(enumerate(clauses), 2)
    return {
        (i, a, j, b)
        for (i, one), (j, two) in pairs
        for a, b in product(one.nouns, two.nouns)
        if one.nouns[a] is two.nouns[b]
    }


def compare_turns(told: Sequence[Clause], claims: Sequence[Clause]) -> int:
    """Compare the order of what is told with that of what is claimed."""
    pairs = permutations(zip(told, claims, strict=True), 2)
    steps = [one.turn - two.turn for (one, a), (two, b) in pairs if a.turn < b.turn]
    return (SUPPORTED, OPEN, RULED_OUT)[1 + max(steps, default=-1)]


def decide_together(told: list[Clause], claims: list[Clause]) -> int:
    """Decide on claims about the same ones, each of them by a clause of its own."""
    if not shared(told) or not {claim.turn for claim in claims} <= {clause.turn for clause in told}:
        raise ValueError("the premise does not tell who is who, or an order")
    return min(
        max(
            *map(compare, chosen, claims),
            compare_turns(chosen, claims),
            SUPPORTED if shared(claims) <= shared(chosen) else RULED_OUT,
        )
        for chosen in permutations(told, len(claims))
    )


def verdict(told: list[Clause], claims: list[Clause]) -> int:
    """Decide what one reading of a premise makes of one reading of a hypothesis."""
    if shared(claims):
        return decide_together(told, claims)
    decided = [(decide(told, claim), claim.given) for claim in claims]
    return max(RULED_OUT - found if denied else found for found, denied in decided)


def judge(premise: str, hypothesis: str) -> str:
    """Return the label that follows from the two sentences."""
    (told, tense), (claimed, claimed_tense) = read(premise), read(hypothesis)
    if claimed_tense != (tense or "present"):
        raise ValueError(f"other tenses in {premise!r} and {hypothesis!r}")
    verdicts = {min(verdict(reading, claims) for claims in claimed) for reading in told}
    return VERDICTS[verdicts.pop() if len(verdicts) == 1 else OPEN]
