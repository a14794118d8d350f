"""What the exercises of the notebooks are tried on: a few small cases for each, by its name.

A case judges an answer by a slow and obvious count of its own, or by what must hold of any right
answer. The cases are made when they are asked for.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..bert import BERTClassifier, BERTEncoder, BERTModel
from ..dataset import SNLIBERTDataset
from ..evaluation import evaluating
from ..training import finetune
from ..truncation import longest_first
from ..vocab import Vocab
from .judging import Case, Judge, equals

_WORDS = "a man woman dog is running sleeping in the park .".split()
_SPECIALS = ["<pad>", "<mask>", "<cls>", "<sep>", "<unk>"]


def rank_of() -> list[Case]:
    """Notebook 01: the place of a word among the guesses for a mask."""
    bert, vocab = _tiny_bert()
    cases = []
    for sentence, place in (("a <mask> is running", 0), ("<mask> dog .", 4)):
        tokens = ["<cls>", *sentence.split(), "<sep>"]
        ids, where = torch.tensor([vocab[tokens]]), torch.tensor([[tokens.index("<mask>")]])
        with evaluating(bert):
            scores = bert(ids, torch.zeros_like(ids), pred_positions=where)[1][0, 0].tolist()
        for word in (_WORDS[place], vocab.to_tokens(int(np.argmax(scores)))):
            better = sum(score > scores[vocab[word]] for score in scores)
            cases.append(Case((bert, vocab, sentence, word), equals(better + 1)))
    return cases


def num_parameters() -> list[Case]:
    """Notebook 01: the parameters of an encoder, counted from its sizes."""

    def judge(encoder: BERTEncoder) -> Judge:
        right = sum(parameter.numel() for parameter in encoder.parameters())
        table = {name: part.numel() for name, part in encoder.named_parameters()}
        block = sum(number for name, number in table.items() if name.startswith("blks.0."))
        hint = f"A block has {block}, the three embeddings {right - len(encoder.blks) * block}."
        return equals(right, hint)

    sizes = ((10, 8, 16, 1, 6), (10, 8, 16, 3, 6), (50, 4, 4, 2, 20))
    return [Case(size, judge(BERTEncoder(*size[:3], 2, size[3], 0.0, size[4]))) for size in sizes]


def head_that_looks() -> list[Case]:
    """Notebook 01: the head in which one token looks most at another."""
    bert, vocab = _tiny_bert()
    premise, hypothesis = "a man is running .", "the dog sleeping ."
    tokens = ["<cls>", *premise.split(), "<sep>", *hypothesis.split(), "<sep>"]
    segments = [0] * 7 + [1] * 5
    with evaluating(bert):
        weights = bert.encoder.attention_weights(
            torch.tensor([vocab[tokens]]), torch.tensor([segments])
        )[:, 0]
    cases = []
    for looking, looked_at in (("man", "dog"), ("sleeping", "running"), ("the", "a")):
        seen = weights[:, :, tokens.index(looking), tokens.index(looked_at)].tolist()
        strengths = {(i, j): x for i, row in enumerate(seen) for j, x in enumerate(row)}
        best = max(strengths, key=strengths.__getitem__)
        arguments = (bert, vocab, premise, hypothesis, looking, looked_at)
        cases.append(Case(arguments, equals(best, "(A row is the token that looks.)")))
    return cases


def padding_share() -> list[Case]:
    """Notebook 02: the share of padding in minibatches as wide as their longest pair."""
    short = "The last minibatch may be smaller than the others."
    return [
        Case(([4, 4, 4, 4], 2), equals(0.0)),
        Case(([1, 3], 2), equals(2 / 6, "Two rows of three positions hold four tokens.")),
        Case(([1, 3, 3, 1], 2), equals(4 / 12)),
        Case(([1, 1, 3, 3], 2), equals(0.0, "Each minibatch is as wide as its own longest pair.")),
        Case(([2, 4, 5], 2), equals(2 / 13, short)),
        Case(([2, 4, 5], 8), equals(4 / 15, short)),
    ]


def several_labels() -> list[Case]:
    """Notebook 02: the hypotheses that stand in pairs with different labels."""
    dog, cat, man = "A dog runs .", "A cat sleeps .", "A man sings ."
    return [
        Case(([dog, cat], [0, 1]), equals(set())),
        Case(([dog, cat, dog], [0, 1, 2]), equals({dog})),
        Case(([dog, dog, cat, cat], [1, 1, 0, 2]), equals({cat}, "The first has one label twice.")),
        Case(([man, dog, man, dog, man], [0, 0, 1, 2, 0]), equals({man, dog})),
    ]


def uneven_words() -> list[Case]:
    """Notebook 03: how often a word's pairs have the word's most frequent label."""
    hypotheses = ["a dog sleeps", "a dog runs", "nobody sleeps", "nobody runs , nobody"]
    once = "A word that comes twice in a hypothesis counts once."
    blanks = "Words are what stands between blanks, as it is written."
    return [
        Case((hypotheses[:2], [0, 1], 2), equals({"a": 0.5, "dog": 0.5})),
        Case((hypotheses, [0, 0, 1, 1], 3), equals({}, once)),
        Case(
            (hypotheses, [0, 2, 1, 1], 2),
            equals({"a": 0.5, "dog": 0.5, "sleeps": 0.5, "runs": 0.5, "nobody": 1.0}, once),
        ),
        Case((["x y", "x", "x"], [2, 2, 0], 1), equals({"x": 2 / 3, "y": 1.0})),
        Case(
            (["In ,", "a man in", "a woman"], [0, 1, 2], 1),
            equals({"In": 1.0, ",": 1.0, "a": 0.5, "man": 1.0, "in": 1.0, "woman": 1.0}, blanks),
        ),
    ]


def bert_base_settings() -> list[Case]:
    """Notebook 03: settings for `finetune` that suit twelve blocks; they are also run, in small."""

    def judge(settings: object) -> str | None:
        if not isinstance(settings, Mapping):
            return "but it should be a dictionary of `finetune`'s settings."
        known, elsewhere = inspect.signature(finetune).parameters, ("run_dir", "devices")
        if unknown := set(settings) - set(known):
            return f"but `finetune` has no {', '.join(sorted(unknown))}."
        given = {name: settings.get(name, known[name].default) for name in known}
        try:
            _finetune_in_small({k: v for k, v in settings.items() if k not in elsewhere})
        except Exception as error:
            return f"with which `finetune` stops: {error}."
        return next((advice for wrong, advice in _advice(given) if wrong), None)

    return [Case((), judge)]


def _finetune_in_small(settings: Mapping[str, Any]) -> None:
    from IPython.utils.capture import capture_output

    bert, vocab = _tiny_bert()
    pairs = ["a man is running"] * 6, ["a dog is sleeping", "the man is running"] * 3, [0, 1, 2] * 2
    with capture_output():
        finetune(BERTClassifier(bert), SNLIBERTDataset(pairs, 16, vocab), None, **settings)


def _advice(given: Mapping[str, Any]) -> list[tuple[bool, str]]:
    """Return what BERT's authors (Devlin et al., 2019) did, and whether these settings are off."""
    return [
        (
            not 1e-5 <= given["lr"] <= 5e-5,
            "whose lr is not of the size that BERT's authors chose from: 2e-5, 3e-5, 5e-5. "
            "A rate that two blocks bear can make twelve forget what they were pretrained for.",
        ),
        (
            given["schedule"] != "linear" or not 0 < given["warmup"] <= 0.2,
            "whose rate neither rises at first nor falls at last: with schedule 'linear' and a "
            "warmup of about a tenth, the first steps on a random output layer are small.",
        ),
        (
            not 2 <= given["num_epochs"] <= 4,
            "whose num_epochs is not of the size that BERT's authors chose from: 2, 3, 4.",
        ),
        (
            not 16 <= given["batch_size"] <= 64,
            "whose batch_size is not of the size that goes with these rates, 16 or 32: a larger "
            "one takes fewer steps, and more memory.",
        ),
    ]


def shrink() -> list[Case]:
    """Notebook 04, the chapter's exercise 2: shrink both sides by the ratio of their lengths."""

    def judge(premise: Sequence[str], hypothesis: Sequence[str], most: int):
        def judge_pair(result: object) -> str | None:
            if not (isinstance(result, tuple | list) and len(result) == 2):
                return "but it should be two lists: of the premise, and of the hypothesis."
            total, sides = len(premise) + len(hypothesis), (premise, hypothesis)
            if any(list(cut) != side[: len(cut)] for cut, side in zip(result, sides, strict=True)):
                return "but each list should be the beginning of its side."
            if sum(map(len, result)) != min(total, most):
                return f"but together they should have {min(total, most)} tokens."
            for cut, side in zip(result, sides, strict=True):
                share = len(side) * min(total, most) / total
                if side and not cut:
                    return f"but no side should lose all of its tokens while {most} fit."
                if abs(len(cut) - share) >= 1:
                    return (
                        f"but of {len(side)} tokens the ratio leaves {share:.1f}, not {len(cut)}."
                    )
            return None

        return judge_pair

    sizes = (
        (3, 2, 8), (12, 4, 8), (4, 12, 8), (17, 11, 13), (40, 1, 10), (1, 30, 5), (9, 9, 7),
        (9, 0, 5), (0, 9, 5),
    )  # fmt: skip
    letters = "abcdefghijklmnopqrstuvwxyz" * 2
    pairs = [(list(letters[:p]), list(letters[:h].upper()), most) for p, h, most in sizes]
    return [Case(pair, judge(*pair)) for pair in pairs]


def keep_the_ends() -> list[Case]:
    """Notebook 04: a strategy that shares as `longest_first`, and keeps the sentences' ends."""

    def judge(arguments: tuple) -> Judge:
        heads = longest_first(*arguments)
        right: tuple[Any, ...] = (0, heads.premise_head, 0, heads.hypothesis_head)
        fields = ", ".join(heads._fields)
        hint = f"(The numbers are {fields}; of each sentence the tail stays, and nothing else.)"

        def judge_numbers(result: Any) -> str | None:
            same = len(result) == 4 and all(
                np.array_equal(np.broadcast_to(want, np.shape(got)), got)
                for got, want in zip(result, right, strict=True)
            )
            wanted = tuple(np.asarray(number).tolist() for number in right)
            return None if same else f"but it should be {wanted}. {hint}"

        return judge_numbers

    both = np.array([3, 20, 8]), np.array([5, 6, 9]), 13
    return [Case(arguments, judge(arguments)) for arguments in ((2, 3, 13), (17, 11, 13), both)]


def decisive_words() -> list[Case]:
    """Notebook 05: the words of a hypothesis without which the answer is another."""

    def sleeping(premise: str, hypothesis: str) -> str:
        return "contradiction" if "sleeping" in hypothesis.split() else "entailment"

    def all_known(premise: str, hypothesis: str) -> str:
        known = set(hypothesis.split()) <= set(premise.split())
        return "entailment" if known else "neutral"

    def at_the_start(premise: str, hypothesis: str) -> str:
        return "contradiction" if hypothesis.startswith("no ") else "neutral"

    hint = "Hide one word at a time; leave all others, and their places, as they are."
    return [
        Case((sleeping, "a man is running", "a man is sleeping"), equals(["sleeping"], hint)),
        Case((sleeping, "a man is running", "a man is running"), equals([])),
        Case((all_known, "a man is running", "a man"), equals(["a", "man"], hint)),
        Case((at_the_start, "a man is here", "no man is no man"), equals(["no"], hint)),
    ]


def overconfidence() -> list[Case]:
    """Notebook 05: how much surer a classifier is than it is right, in the mean."""
    sure, torn = [0.9, 0.05, 0.05], [0.2, 0.5, 0.3]
    cases = (
        ([sure], [0], -0.1),
        ([sure], [1], 0.9),
        ([sure, torn], [0, 2], 0.2),
        ([sure, torn, torn, sure], [0, 1, 1, 2], -0.05),
    )
    hint = "Mean of the largest probability of each row, less the share of right answers."
    return [Case((np.array(p), np.array(y)), equals(gap, hint)) for p, y, gap in cases]


CASES: dict[str, Callable[[], list[Case]]] = {
    exercise.__name__: exercise
    for exercise in (
        rank_of,
        num_parameters,
        head_that_looks,
        padding_share,
        several_labels,
        uneven_words,
        bert_base_settings,
        shrink,
        keep_the_ends,
        decisive_words,
        overconfidence,
    )
}


def _tiny_bert() -> tuple[BERTModel, Vocab]:
    """Return a random BERT with a vocabulary of its own; always the same."""
    vocab = Vocab(_WORDS, reserved_tokens=_SPECIALS)
    torch.default_generator.manual_seed(0)
    bert = BERTModel(len(vocab), 16, 32, num_heads=2, num_blks=2, dropout=0.0, max_len=32)
    for parameter in bert.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return bert.eval(), vocab
