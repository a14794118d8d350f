"""The exercises' checks: right answers pass, and wrong ones are told what is wrong."""

import ast
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest

import d2lnli as d2l
from seams import CASES

SOLUTIONS = sorted((Path(__file__).parents[1] / "notebooks" / "solutions").glob("*.ipynb"))


def solutions():
    """The functions of the worked solutions, by name."""
    functions = {}
    for path in SOLUTIONS:
        cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
        exercises = [c for c in cells if "exercise" in c.metadata.get("tags", [])]
        names = {}
        for node in ast.parse("\n".join(c.source for c in (cells[0], *exercises))).body:
            if isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef):
                exec(ast.unparse(node), names)
        functions |= {name: names[name] for name in CASES if name in names}
    return functions


SOLVED = solutions()


def named(name, function):
    function.__name__ = name
    return function


@pytest.mark.parametrize("name", CASES)
def test_a_worked_solution_is_right(name, capsys):
    d2l.check(SOLVED[name])
    count = len(CASES[name]())
    assert capsys.readouterr().out == f"{name}: correct ({count} of {count} cases).\n"


def changed(name, change):
    """A solution whose result is changed a little."""
    return lambda *arguments: change(SOLVED[name](*arguments))


def biased(bert, vocab, *rest):
    return SOLVED["head_that_looks"](bert, vocab, *rest)[::-1]


def in_one_minibatch(lengths, batch_size):
    return 1 - sum(lengths) / (len(lengths) * max(lengths))


def without_the_last(lengths, batch_size):
    whole = len(lengths) // batch_size * batch_size
    return SOLVED["padding_share"](lengths[:whole], batch_size) if whole else 0.0


def every_repeated(hypotheses, labels):
    return {text for text in hypotheses if hypotheses.count(text) > 1}


def every_occurrence(hypotheses, labels, at_least):
    split = [(word, y) for text, y in zip(hypotheses, labels, strict=True) for word in text.split()]
    words = {word for word, _ in split}
    counts = {w: np.bincount([y for word, y in split if word == w]) for w in words}
    return {w: n.max() / n.sum() for w, n in counts.items() if n.sum() >= at_least}


def parts_of_words(hypotheses, labels, at_least):
    counts = {}
    for word in {word for text in hypotheses for word in text.split()}:
        having = [y for text, y in zip(hypotheses, labels, strict=True) if word in text]
        counts[word] = np.bincount(having)
    return {w: n.max() / n.sum() for w, n in counts.items() if n.sum() >= at_least}


def in_small_letters(hypotheses, labels, at_least):
    return SOLVED["uneven_words"]([text.lower() for text in hypotheses], labels, at_least)


def pop_in_place(premise, hypothesis, max_tokens):
    while len(premise) + len(hypothesis) > max_tokens:
        (premise if len(premise) > len(hypothesis) else hypothesis).pop()
    return premise, hypothesis


def rounded_apart(premise, hypothesis, max_tokens):
    share = min(1, max_tokens / (len(premise) + len(hypothesis)))
    return tuple(side[: round(len(side) * share)] for side in (premise, hypothesis))


def their_ends(premise, hypothesis, max_tokens):
    kept = map(len, SOLVED["shrink"](premise, hypothesis, max_tokens))
    return tuple(side[-n:] for side, n in zip((premise, hypothesis), kept, strict=True))


def every_place_of_a_word(predict, premise, hypothesis):
    words, answer = hypothesis.split(), predict(premise, hypothesis)
    hide = {w: " ".join("<mask>" if word == w else word for word in words) for w in words}
    return [word for word in words if predict(premise, hide[word]) != answer]


def without_the_word(predict, premise, hypothesis):
    words, answer = hypothesis.split(), predict(premise, hypothesis)
    left_out = {i: " ".join(words[:i] + words[i + 1 :]) for i in range(len(words))}
    return [word for i, word in enumerate(words) if predict(premise, left_out[i]) != answer]


def each_word(hypotheses, labels, words):
    found = [
        y for text, y in zip(hypotheses, labels, strict=True) for w in text.split() if w in words
    ]
    return {y: found.count(y) / len(found) for y in set(found)}


def with_every_label(hypotheses, labels, words):
    shares = SOLVED["label_shares"](hypotheses, labels, words)
    return {y: shares.get(y, 0.0) for y in range(3)}


FIVE = [(f"{n} dogs are running.", "Some dogs are running.", "entailment") for n in
        ("Two", "Three", "Four", "Five", "Six")]  # fmt: skip
RECIPE = dict(lr=2e-5, num_epochs=3, batch_size=32, schedule="linear", warmup=0.1)
WRONG = [
    ("rank_of", changed("rank_of", lambda rank: rank - 1), "but it should be"),
    ("num_parameters", changed("num_parameters", lambda n: n - 16), "A block has"),
    ("num_parameters", lambda v, h, f, b, m: (v + 2 + m) * h, "the three embeddings"),
    ("head_that_looks", biased, "the token that looks"),
    ("head_that_looks", lambda *arguments: (0, 0), "but it should be"),
    ("padding_share", in_one_minibatch, "its own longest"),
    ("padding_share", without_the_last, "last minibatch may be smaller"),
    ("padding_share", changed("padding_share", lambda share: share + 0.01), "but it should be"),
    ("padding_share", changed("padding_share", lambda share: f"{share:.0%}"), "returns '0%'"),
    ("several_labels", every_repeated, "one label twice"),
    ("several_labels", changed("several_labels", len), "should be set()"),
    ("several_labels", changed("several_labels", lambda found: [*found, *found]), "should be {"),
    ("label_shares", lambda texts, labels, words: {0: 1 / 3, 1: 2 / 3}, "Compare whole words"),
    ("label_shares", each_word, "twice counts once"),
    ("label_shares", with_every_label, "should be {0: 0.33"),
    ("uneven_words", every_occurrence, "counts once"),
    ("uneven_words", changed("uneven_words", list), "should be {'a': 0.5"),
    ("uneven_words", parts_of_words, "Split at spaces"),
    ("uneven_words", in_small_letters, "Split at spaces"),
    ("bert_base_settings", lambda: "the chapter's", "should be a dictionary"),
    ("bert_base_settings", lambda: RECIPE | {"learning_rate": 1}, "has no argument learning_rate"),
    ("bert_base_settings", lambda: RECIPE | {"warmup": 3}, "`finetune` stops: warmup"),
    ("bert_base_settings", lambda: RECIPE | {"lr": "2e-5"}, "`finetune` stops"),
    ("bert_base_settings", lambda: d2l.recipe("bert.small"), "its lr"),
    ("bert_base_settings", lambda: RECIPE | {"schedule": "constant"}, "first rise and then fall"),
    ("bert_base_settings", lambda: RECIPE | {"num_epochs": 6}, "its num_epochs"),
    ("bert_base_settings", lambda: RECIPE | {"batch_size": 512}, "its batch_size"),
    ("shrink", pop_in_place, "6.0 of 12 tokens, not 4"),
    ("shrink", rounded_apart, "no side should lose all"),
    ("shrink", their_ends, "the beginning of its sentence"),
    ("shrink", lambda premise, hypothesis, n: (premise[:n], []), "together they should have 5"),
    ("shrink", lambda premise, hypothesis, n: premise[:n], "should be two lists"),
    ("shrink", lambda premise, hypothesis, n: (len(premise), 1), "should have the type"),
    ("keep_the_ends", d2l.TRUNCATIONS["longest_first"].__call__, "only the tail"),
    ("keep_the_ends", changed("keep_the_ends", lambda kept: kept[:2]), "should be (0, 2, 0, 3)"),
    ("decisive_words", every_place_of_a_word, "one word at a time"),
    ("decisive_words", without_the_word, "one word at a time"),
    ("decisive_words", changed("decisive_words", set), "['sleeping']"),
    ("five_pairs", lambda: FIVE[:4], "a list of five"),
    ("five_pairs", lambda: [pair[:2] for pair in FIVE], "a list of five"),
    ("five_pairs", lambda: [*FIVE[:4], FIVE[0]], "are the same"),
    ("five_pairs", lambda: [*FIVE[:4], ("A dog is here.", "A dog is big.", "maybe")], "no label"),
    ("five_pairs", lambda: [*FIVE[:4], ("A quokka runs.", "It is.", "neutral")], "know quokka"),
    ("five_pairs", lambda: 5, "should have the type"),
    ("overconfidence", changed("overconfidence", abs), "-0.1"),
    ("overconfidence", lambda probs, labels: 1 - probs.max(), "minus the share"),
]


@pytest.mark.parametrize(
    "name, function, said", WRONG, ids=[f"{name}: {said}" for name, _, said in WRONG]
)
def test_a_wrong_answer_is_told_what_is_wrong(name, function, said, capsys):
    d2l.check(named(name, lambda *arguments: function(*arguments)))
    out = capsys.readouterr().out
    assert out.startswith(f"{name}: not yet. {name}(")
    assert said in out
    assert len(out) < 700


RIGHT = [
    ("rank_of", changed("rank_of", np.int64)),
    ("num_parameters", changed("num_parameters", np.array)),
    ("head_that_looks", changed("head_that_looks", list)),
    ("head_that_looks", changed("head_that_looks", np.array)),
    ("padding_share", changed("padding_share", lambda share: round(share, 2))),
    ("several_labels", changed("several_labels", sorted)),
    ("label_shares", changed("label_shares", lambda x: {y: round(n, 2) for y, n in x.items()})),
    ("uneven_words", changed("uneven_words", lambda x: {w: np.float32(n) for w, n in x.items()})),
    ("bert_base_settings", lambda: RECIPE | {"lr": 5e-5, "run_dir": "never-made"}),
    ("shrink", changed("shrink", list)),
    ("keep_the_ends", changed("keep_the_ends", tuple)),
    ("decisive_words", changed("decisive_words", tuple)),
    ("five_pairs", lambda: tuple(map(list, FIVE))),
    ("overconfidence", changed("overconfidence", float)),
]


@pytest.mark.parametrize("name, function", RIGHT, ids=[name for name, _ in RIGHT])
def test_a_right_answer_may_have_another_form(name, function, capsys):
    d2l.check(named(name, lambda *arguments: function(*arguments)))
    assert f"{name}: correct (" in capsys.readouterr().out
    assert not Path("never-made").exists()


def test_every_exercise_has_wrong_answers_to_try():
    assert {name for name, *_ in WRONG} == set(CASES)


def test_what_is_still_to_be_written_says_so():
    def shrink(premise, hypothesis, max_tokens):
        raise NotImplementedError("your turn")

    with pytest.raises(NotImplementedError, match="your turn"):
        d2l.check(shrink)


def test_an_answer_that_fails_is_told_where(capsys):
    def shrink(premise, hypothesis, max_tokens):
        return premise[100]

    d2l.check(shrink)
    line = shrink.__code__.co_firstlineno + 1
    out = capsys.readouterr().out
    assert re.search(rf"IndexError in line {line} of the cell: list index out of range", out)


def test_an_answer_of_the_wrong_signature_or_without_return_is_told_so(capsys):
    d2l.check(named("shrink", lambda premise: premise))
    assert "TypeError" in capsys.readouterr().out
    d2l.check(named("shrink", lambda premise, hypothesis, max_tokens: None))
    assert "returns nothing" in capsys.readouterr().out


@pytest.mark.parametrize("stranger", [lambda: 1, [1], print], ids=["lambda", "list", "print"])
def test_what_belongs_to_no_exercise_is_refused_by_name(stranger):
    with pytest.raises(ValueError, match="rank_of, num_parameters, "):
        d2l.check(stranger)


def test_a_check_leaves_the_random_numbers_alone():
    import torch

    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    d2l.check(SOLVED["rank_of"])
    d2l.check(SOLVED["bert_base_settings"])
    assert torch.equal(torch.rand(3), expected)
