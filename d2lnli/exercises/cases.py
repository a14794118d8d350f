"""The cases of the notebooks' exercises: a function for each exercise, with the same name.

A case compares a result with a slow and obvious computation, or checks conditions that every right
result fulfils.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..bert import BERTClassifier, BERTEncoder, BERTModel
from ..checkpoints import load_pretrained_model
from ..dataset import SNLIBERTDataset
from ..evaluation import evaluating
from ..labels import LABELS
from ..training import finetune
from ..truncation import longest_first
from ..vocab import Vocab
from .judging import Case, Judge, equals

_WORDS = "a man woman dog is running sleeping in the park .".split()
_SPECIALS = ["<pad>", "<mask>", "<cls>", "<sep>", "<unk>"]


def rank_of() -> list[Case]:
    """Notebook 01: the rank of a word among the predictions for a masked token."""
    bert, vocab = _tiny_bert()
    cases = []
    for sentence, place in (("a <mask> is running", 0), ("<mask> dog .", 4)):
        tokens = ["<cls>", *sentence.split(), "<sep>"]
        ids, position = torch.tensor([vocab[tokens]]), torch.tensor([[tokens.index("<mask>")]])
        with evaluating(bert):
            scores = bert(ids, torch.zeros_like(ids), pred_positions=position)[1][0, 0].tolist()
        for word in (_WORDS[place], vocab.to_tokens(int(np.argmax(scores)))):
            better = sum(score > scores[vocab[word]] for score in scores)
            cases.append(Case((bert, vocab, sentence, word), equals(better + 1)))
    return cases


def num_parameters() -> list[Case]:
    """Notebook 01: the number of parameters of an encoder, computed from its sizes."""

    def judge(encoder: BERTEncoder) -> Judge:
        numbers = {name: parameter.numel() for name, parameter in encoder.named_parameters()}
        total = sum(numbers.values())
        block = sum(number for name, number in numbers.items() if name.startswith("blks.0."))
        hint = f"A block has {block}, the three embeddings {total - len(encoder.blks) * block}."
        return equals(total, hint)

    sizes = ((10, 8, 16, 1, 6), (10, 8, 16, 3, 6), (50, 4, 4, 2, 20))
    return [Case(size, judge(BERTEncoder(*size[:3], 2, size[3], 0.0, size[4]))) for size in sizes]


def head_that_looks() -> list[Case]:
    """Notebook 01: the attention head in which one token attends most to another."""
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
        by_head = weights[:, :, tokens.index(looking), tokens.index(looked_at)].tolist()
        weight_of = {(i, j): x for i, row in enumerate(by_head) for j, x in enumerate(row)}
        best = max(weight_of, key=weight_of.__getitem__)
        arguments = (bert, vocab, premise, hypothesis, looking, looked_at)
        cases.append(Case(arguments, equals(best, "A row is for the token that looks.")))
    return cases


def padding_share() -> list[Case]:
    """Notebook 02: the share of padding in minibatches that are padded to their longest pair."""
    short = "The last minibatch may be smaller than the others."
    return [
        Case(([4, 4, 4, 4], 2), equals(0.0)),
        Case(([1, 3], 2), equals(2 / 6, "Two rows of three positions have four tokens.")),
        Case(([1, 3, 3, 1], 2), equals(4 / 12)),
        Case(([1, 1, 3, 3], 2), equals(0.0, "Each minibatch is padded to its own longest pair.")),
        Case(([2, 4, 5], 2), equals(2 / 13, short)),
        Case(([2, 4, 5], 8), equals(4 / 15, short)),
    ]


def several_labels() -> list[Case]:
    """Notebook 02: the hypotheses that appear in pairs with different labels."""
    dog, cat, man = "A dog runs .", "A cat sleeps .", "A man sings ."
    return [
        Case(([dog, cat], [0, 1]), equals(set())),
        Case(([dog, cat, dog], [0, 1, 2]), equals({dog})),
        Case(([dog, dog, cat, cat], [1, 1, 0, 2]), equals({cat}, "The first has one label twice.")),
        Case(([man, dog, man, dog, man], [0, 0, 1, 2, 0]), equals({man, dog})),
    ]


def label_shares() -> list[Case]:
    """Notebook 02: the share of each label among the hypotheses with one of some words."""
    hypotheses = ["a man sleeps", "nobody sleeps", "no dog sleeps , no", "a nobody"]
    words = "Compare whole words, between spaces: *no* is not in *nobody*."
    twice = "A hypothesis with the word twice counts once."
    return [
        Case((hypotheses, [0, 1, 1, 2], {"sleeps"}), equals({0: 1 / 3, 1: 2 / 3})),
        Case((hypotheses, [0, 1, 2, 0], {"no"}), equals({2: 1.0}, words)),
        Case((hypotheses, [0, 1, 2, 1], {"no", "nobody"}), equals({1: 2 / 3, 2: 1 / 3}, twice)),
        Case((hypotheses, [0, 1, 2, 0], {"cat"}), equals({}, "No hypothesis has the word.")),
    ]


def uneven_words() -> list[Case]:
    """Notebook 03: the share of a word's most frequent label among the word's pairs."""
    hypotheses = ["a dog sleeps", "a dog runs", "nobody sleeps", "nobody runs , nobody"]
    once = "A word that appears twice in a hypothesis counts once."
    spaces = "Split at spaces, and do not change the words."
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
            equals({"In": 1.0, ",": 1.0, "a": 0.5, "man": 1.0, "in": 1.0, "woman": 1.0}, spaces),
        ),
    ]


def bert_base_settings() -> list[Case]:
    """Notebook 03: settings for `finetune` that suit twelve blocks; a tiny run tries them."""

    def judge(settings: object) -> str | None:
        if not isinstance(settings, Mapping):
            return "but it should be a dictionary of `finetune`'s settings."
        known, not_tried = inspect.signature(finetune).parameters, ("run_dir", "devices")
        if unknown := set(settings) - set(known):
            return f"but `finetune` has no argument {', '.join(sorted(unknown))}."
        all_settings = {name: settings.get(name, known[name].default) for name in known}
        try:
            _finetune_tiny({k: v for k, v in settings.items() if k not in not_tried})
        except Exception as error:
            return f"but with these settings `finetune` stops: {error}."
        return next((advice for wrong, advice in _advice(all_settings) if wrong), None)

    return [Case((), judge)]


def _finetune_tiny(settings: Mapping[str, Any]) -> None:
    from IPython.utils.capture import capture_output

    bert, vocab = _tiny_bert()
    pairs = ["a man is running"] * 6, ["a dog is sleeping", "the man is running"] * 3, [0, 1, 2] * 2
    with capture_output():
        finetune(BERTClassifier(bert), SNLIBERTDataset(pairs, 16, vocab), None, **settings)


def _advice(settings: Mapping[str, Any]) -> list[tuple[bool, str]]:
    """Return rules from BERT's authors (Devlin et al., 2019): is it broken, and the advice."""
    return [
        (
            not 1e-5 <= settings["lr"] <= 5e-5,
            "but its lr is far from the values of BERT's authors: 2e-5, 3e-5, 5e-5. With a rate "
            "that suits two blocks, twelve blocks can lose what they learned in pretraining.",
        ),
        (
            settings["schedule"] != "linear" or not 0 < settings["warmup"] <= 0.2,
            "but its rate should first rise and then fall: with schedule 'linear' and a warmup of "
            "about 0.1, the first steps on the random output layer are small.",
        ),
        (
            not 2 <= settings["num_epochs"] <= 4,
            "but its num_epochs is far from the values of BERT's authors: 2, 3, 4.",
        ),
        (
            not 16 <= settings["batch_size"] <= 64,
            "but its batch_size is far from 16 or 32, which suit these rates: larger minibatches "
            "mean fewer steps, and need more memory.",
        ),
    ]


def shrink() -> list[Case]:
    """Notebook 04, the chapter's exercise 2: truncate both sides in the ratio of their lengths."""

    def judge(premise: Sequence[str], hypothesis: Sequence[str], max_tokens: int):
        def judge_pair(result: object) -> str | None:
            if not (isinstance(result, tuple | list) and len(result) == 2):
                return "but it should be two lists: the premise and the hypothesis."
            total, sides = len(premise) + len(hypothesis), (premise, hypothesis)
            if any(list(cut) != side[: len(cut)] for cut, side in zip(result, sides, strict=True)):
                return "but each list should be the beginning of its sentence."
            if sum(map(len, result)) != min(total, max_tokens):
                return f"but together they should have {min(total, max_tokens)} tokens."
            for cut, side in zip(result, sides, strict=True):
                share = len(side) * min(total, max_tokens) / total
                if side and not cut:
                    return f"but no side should lose all its tokens while {max_tokens} fit."
                if abs(len(cut) - share) >= 1:
                    return (
                        f"but the ratio leaves {share:.1f} of {len(side)} tokens, not {len(cut)}."
                    )
            return None

        return judge_pair

    sizes = (
        (3, 2, 8), (12, 4, 8), (4, 12, 8), (17, 11, 13), (40, 1, 10), (1, 30, 5), (9, 9, 7),
        (9, 0, 5), (0, 9, 5),
    )  # fmt: skip
    letters = "abcdefghijklmnopqrstuvwxyz" * 2
    pairs = [(list(letters[:p]), list(letters[:h].upper()), size) for p, h, size in sizes]
    return [Case(pair, judge(*pair)) for pair in pairs]


def keep_the_ends() -> list[Case]:
    """Notebook 04: a strategy that divides like `longest_first`, but keeps the sentences' ends."""

    def judge(arguments: tuple) -> Judge:
        heads = longest_first(*arguments)
        right: tuple[Any, ...] = (0, heads.premise_head, 0, heads.hypothesis_head)
        fields = ", ".join(heads._fields)
        hint = f"The numbers are {fields}; only the tail of each sentence stays."

        def judge_numbers(result: Any) -> str | None:
            same = len(result) == 4 and all(
                np.array_equal(np.broadcast_to(expected, np.shape(number)), number)
                for number, expected in zip(result, right, strict=True)
            )
            as_numbers = tuple(np.asarray(number).tolist() for number in right)
            return None if same else f"but it should be {as_numbers}. {hint}"

        return judge_numbers

    both = np.array([3, 20, 8]), np.array([5, 6, 9]), 13
    return [Case(arguments, judge(arguments)) for arguments in ((2, 3, 13), (17, 11, 13), both)]


def decisive_words() -> list[Case]:
    """Notebook 05: the words of a hypothesis that change the prediction when they are masked."""

    def sleeping(premise: str, hypothesis: str) -> str:
        return "contradiction" if "sleeping" in hypothesis.split() else "entailment"

    def all_known(premise: str, hypothesis: str) -> str:
        known = set(hypothesis.split()) <= set(premise.split())
        return "entailment" if known else "neutral"

    def at_the_start(premise: str, hypothesis: str) -> str:
        return "contradiction" if hypothesis.startswith("no ") else "neutral"

    hint = "Mask one word at a time, and change no other word or position."
    return [
        Case((sleeping, "a man is running", "a man is sleeping"), equals(["sleeping"], hint)),
        Case((sleeping, "a man is running", "a man is running"), equals([])),
        Case((all_known, "a man is running", "a man"), equals(["a", "man"], hint)),
        Case((at_the_start, "a man is here", "no man is no man"), equals(["no"], hint)),
    ]


def five_pairs() -> list[Case]:
    """Notebook 05: five pairs for a classifier, with words that it knows; any five will do."""
    _, vocab = load_pretrained_model("bert.tiny")

    def judge(pairs: Any) -> str | None:
        if len(pairs) != 5 or any(len(pair) != 3 for pair in pairs):
            return "but it should be a list of five (premise, hypothesis, label)."
        if len({(premise, hypothesis) for premise, hypothesis, _ in pairs}) < 5:
            return "but two of its pairs are the same."
        for premise, hypothesis, label in pairs:
            if label not in LABELS:
                return f"but {label!r} is no label: use one of {', '.join(LABELS)}."
            words = vocab.tokenize(f"{premise} {hypothesis}")
            if unknown := sorted(word for word in set(words) if word not in vocab.token_to_idx):
                return f"but the model does not know {', '.join(unknown)}: use words that it knows."
        return None

    return [Case((), judge)]


def overconfidence() -> list[Case]:
    """Notebook 05: the classifier's mean confidence minus its accuracy."""
    confident, uncertain = [0.9, 0.05, 0.05], [0.2, 0.5, 0.3]
    cases = (
        ([confident], [0], -0.1),
        ([confident], [1], 0.9),
        ([confident, uncertain], [0, 2], 0.2),
        ([confident, uncertain, uncertain, confident], [0, 1, 1, 2], -0.05),
    )
    hint = (
        "It is the mean of each row's largest probability, minus the share of correct predictions."
    )
    return [Case((np.array(p), np.array(y)), equals(gap, hint)) for p, y, gap in cases]


CASES: dict[str, Callable[[], list[Case]]] = {
    exercise.__name__: exercise
    for exercise in (
        rank_of,
        num_parameters,
        head_that_looks,
        label_shares,
        padding_share,
        several_labels,
        uneven_words,
        bert_base_settings,
        shrink,
        keep_the_ends,
        decisive_words,
        five_pairs,
        overconfidence,
    )
}


def _tiny_bert() -> tuple[BERTModel, Vocab]:
    """Return a randomly initialized BERT and its vocabulary; always the same."""
    vocab = Vocab(_WORDS, reserved_tokens=_SPECIALS)
    torch.default_generator.manual_seed(0)
    bert = BERTModel(len(vocab), 16, 32, num_heads=2, num_blks=2, dropout=0.0, max_len=32)
    for parameter in bert.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return bert.eval(), vocab
