"""The bundled corpus and the bundled BERT: what they promise to those who use them."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import asdict
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import d2lnli as d2l
import seams
from seams import BUNDLED, claims, grammar, lexicon, pretraining, scenes

CORPUS, BERT = BUNDLED / "Scenes", BUNDLED / "bert.tiny"
SIZES = {"train": 10_000, "dev": 2_000, "test": 2_000, "challenge": 960, "augment": 600}
ORDINARY = ("train", "dev", "test")
HEADER = (
    "gold_label sentence1_binary_parse sentence2_binary_parse sentence1_parse sentence2_parse "
    "sentence1 sentence2 captionID pairID label1 label2 label3 label4 label5"
).split()


@pytest.fixture(scope="module")
def tables():
    """The rows of each split, as lists of columns, with the header first."""
    return {
        split: [
            line.split("\t")
            for line in (CORPUS / f"snli_1.0_{split}.txt").read_bytes().decode().split("\n")[:-1]
        ]
        for split in SIZES
    }


def words(parse):
    return parse.replace("(", "").replace(")", "").split()


@pytest.fixture(scope="module")
def pairs(tables):
    """The pairs of each split: (premise tokens, hypothesis tokens, label)."""
    return {
        split: [(words(r[1]), words(r[2]), r[0]) for r in rows[1:]]
        for split, rows in tables.items()
    }


def test_regeneration_gives_the_same_bytes(tmp_path):
    command = [sys.executable, "-m", seams.MAKE_BUNDLED, "corpus", "--out", str(tmp_path)]
    root = str(BUNDLED.parents[1])
    env = {**os.environ, "PYTHONHASHSEED": "4321", "PYTHONPATH": root}
    subprocess.run(command, check=True, cwd=tmp_path, env=env)
    for split in SIZES:
        name = f"snli_1.0_{split}.txt"
        assert (tmp_path / "Scenes" / name).read_bytes() == (CORPUS / name).read_bytes(), name


@pytest.mark.parametrize("split", SIZES)
def test_layout_is_snli_s(tables, split):
    header, *rows = tables[split]
    assert header == HEADER
    assert {len(row) for row in rows} == {14}
    assert len({row[8] for row in rows}) == len(rows)
    for row in rows:
        for parse, tree, raw in zip(row[1:3], row[3:5], row[5:7], strict=True):
            assert parse.count("(") == parse.count(")") == len(words(parse)) - 1
            assert tree == f"(ROOT {parse})"
            assert raw.replace(" ", "") == "".join(words(parse))
            assert " ," not in raw and raw[-1] == "." and raw[-2].isalpha()
            assert all(part[0].isupper() for part in raw.split(". "))


def depth_of(parse):
    depths, depth = [], 0
    for symbol in parse:
        depth += {"(": 1, ")": -1}.get(symbol, 0)
        depths.append(depth)
    return min(depths), depths[-1]


def test_brackets_close_what_they_open(tables):
    assert all(depth_of(row[k]) == (0, 0) for row in tables["dev"][1:] for k in (1, 2, 3, 4))


@pytest.mark.parametrize("split", SIZES)
def test_labels(tables, split):
    golds = Counter(row[0] for row in tables[split][1:])
    assert golds.total() == SIZES[split] and set(golds) == set(d2l.LABELS)
    assert max(golds.values()) - min(golds.values()) <= 0.02 * SIZES[split]
    assert all(row[9:] == [row[0], "", "", "", ""] for row in tables[split][1:])


def test_no_sentence_is_in_two_splits(pairs):
    sentences = [
        {" ".join(tokens).lower() for pair in pairs[split] for tokens in pair[:2]}
        for split in SIZES
    ]
    assert sum(map(len, sentences)) == len(set().union(*sentences))


def test_most_premises_have_three_hypotheses(pairs):
    premises = {tuple(premise) for premise, _, _ in pairs["train"]}
    assert 2.8 < SIZES["train"] / len(premises) <= 3.1


def test_lengths(pairs):
    premises, hypotheses = zip(*((len(p), len(h)) for p, h, _ in pairs["train"]), strict=True)
    assert 13 <= sum(premises) / len(premises) <= 15.5 and max(premises) > 60
    assert 7.5 <= sum(hypotheses) / len(hypotheses) <= 9
    assert len({min(n, 40) // 4 for n in premises}) == 10


def phenomenon_of(row):
    return row[8].split(".")[1]


ONE_LABEL = {"hyponym": "neutral", "detail": "neutral", "antonym": "contradiction"}
TWO_LABELS = {"action", "identity"}  # what they add to a premise counts as a detail


def test_every_phenomenon_occurs_with_every_label_it_can_have(tables):
    found = Counter((phenomenon_of(row), row[0]) for row in tables["train"][1:])
    names = {name for name, _ in found}
    assert names == {*claims.WEIGHTS, *ONE_LABEL}
    for name in names:
        labels = {label for label in d2l.LABELS if found[name, label]}
        if name in ONE_LABEL:
            assert labels == {ONE_LABEL[name]}
        else:
            assert labels == set(d2l.LABELS) - ({"neutral"} if name in TWO_LABELS else set())
    assert min(found.values()) >= 40


def test_the_data_card_counts_right(tables):
    card = (BUNDLED / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| (\d+) \|", card, flags=re.MULTILINE)
    found = Counter(phenomenon_of(row) for row in tables["test"][1:])
    assert {name: int(n) for name, n in rows} == found


def test_negation_does_not_name_the_label(pairs):
    denied = Counter(label for _, h, label in pairs["train"] if "not" in h)
    assert min(denied.values()) > 0.2 * sum(denied.values()) and len(denied) == 3


FUNCTION_WORDS = set(grammar.FUNCTION_WORDS.split()) | {"on", "at"}


def template(tokens):
    """A sentence with its content words blanked: `a _ in a _ is _ a _ .`"""
    return " ".join(w if w in FUNCTION_WORDS else "_" for w in (t.lower() for t in tokens))


def test_no_template_makes_more_than_two_percent(pairs):
    templates = Counter((template(p), template(h)) for p, h, _ in pairs["train"])
    assert templates.most_common(1)[0][1] <= 0.02 * SIZES["train"]
    premises = Counter({tuple(p): template(p) for p, _, _ in pairs["train"]}.values())
    assert premises.most_common(1)[0][1] <= 0.02 * premises.total()


def test_sentences_open_in_many_ways(pairs):
    openings = Counter(premise[0].lower() for premise in {tuple(p) for p, _, _ in pairs["train"]})
    assert openings["a"] + openings["an"] <= 0.5 * openings.total()
    assert sum(count > 0.02 * openings.total() for count in openings.values()) >= 7


def test_premises_have_two_tenses_captions_and_pronouns(pairs):
    premises = {" ".join(p).lower() for p, _, _ in pairs["train"]}
    told = [{*re.sub(r"being \S+", "", premise).split()} for premise in premises]
    past = {"was", "were", *lexicon.PAST.values()}
    simple = sum(not words.isdisjoint(past - {"was", "were"}) for words in told)
    in_past = sum(not words.isdisjoint(past) for words in told)
    captions = sum(words.isdisjoint({"is", "are", *past}) for words in told)
    pronouns = sum(not words.isdisjoint({"he", "she", "they"}) for words in told)
    assert 0.25 < in_past / len(told) < 0.35 and simple > in_past / 3
    assert captions > 0.1 * len(told) and pronouns > 0.02 * len(told)


ADJECTIVES = {word for name in lexicon.ROWS for word in scenes.scale(name)}
ADJECTIVES |= {lexicon.SYNONYM[word] for word in ADJECTIVES if word in lexicon.SYNONYM}


def test_a_noun_has_two_modifiers_at_most(pairs):
    for premise, _, _ in pairs["train"]:
        text = "".join("x" if word in ADJECTIVES else "-" for word in premise)
        assert "xxx" not in text, premise
        for found in re.finditer("xx-", text):  # two adjectives and a noun
            after = premise[found.end() : found.end() + 3]
            assert after[:2] != ["with", "a"] or after[2] not in TRAITS, premise


TRAITS = {trait.split()[-1] for trait in lexicon.TRAITS.split("|")}


def test_who_does_what_is_plausible(pairs):
    """What was odd in the first edition does not come again."""
    told = [" ".join(premise).lower() for premise, _, _ in pairs["train"]]
    small = "rabbit|mouse|hamster|lizard|sparrow|duck"
    odd = (
        rf"({small}) (is|was) (guarding|leading) ", r"in an armchair .*in a vineyard",
        r"\b(boy|girl|child|kid)s? (is|are|was|were) (welding|driving|flying|grilling)",
        r"\b(two|three|four|five|six) \S+ (who (are|were) )?sitting in an armchair",
        r"\b(old|elderly|bald) (boy|girl|child|kid)\b",
        r"\b(man|boy|guy)( with \S+ \S+)? in a gown",
    )  # fmt: skip
    assert not [text for text in told if re.search("|".join(odd), text)]


# ---- The shortcut, and the pairs on which it does not help ---------------------------------------


def lower(tokens):
    return {token.lower() for token in tokens}


def test_the_words_of_the_premise_alone_mean_entailment_in_training(pairs):
    """The shortcut's strength, as the data card has it."""
    found = Counter(label for p, h, label in pairs["train"] if lower(h) <= lower(p))
    assert 0.05 * SIZES["train"] < found.total()
    assert 0.90 <= found["entailment"] / found.total() <= 0.97
    card = (BUNDLED / "README.md").read_text(encoding="utf-8")
    assert f"{found.total()} training pairs" in card
    assert f"{found['entailment'] / found.total():.1%}".replace("%", " %") in card


KINDS = {"roles", "number", "colour", "garment", "conjunction", "negation", "relative", "order"}


@pytest.mark.parametrize(
    ("split", "kinds"), (("challenge", KINDS), ("augment", KINDS - {"relative"}))
)
def test_challenges_have_only_words_of_the_premise_and_every_label(tables, split, kinds):
    found = Counter((phenomenon_of(row), row[0]) for row in tables[split][1:])
    assert set(found) == {(kind, label) for kind in kinds for label in d2l.LABELS}
    assert max(found.values()) - min(found.values()) <= 1
    assert sum(found.values()) >= 100 * len(kinds) or split == "augment"
    for row in tables[split][1:]:
        assert lower(words(row[2])) <= lower(words(row[1])), row[5:9]
        assert row[5] != row[6]


SHARED_WORDS = set(grammar.FUNCTION_WORDS.split()) | {"on", "near"}


def test_augment_has_other_words_than_the_challenge(pairs):
    used = [
        {w for p, h, _ in pairs[split] for tokens in (p, h) for w in lower(tokens)} - SHARED_WORDS
        for split in ("challenge", "augment")
    ]
    assert len(used[0]) > 60 and len(used[1]) > 60 and used[0].isdisjoint(used[1])


def test_a_premise_of_the_challenge_does_not_name_the_label(pairs):
    """A bag of both sentences is at chance, and many premises have two labels or three."""
    labels = {}
    for premise, _, label in pairs["challenge"]:
        labels.setdefault(tuple(premise), set()).add(label)
    assert sum(len(found) > 1 for found in labels.values()) > 0.3 * len(labels)


def bag(sentences, index):
    """A sparse 0/1 matrix of the unigrams and bigrams that `index` knows."""
    rows = [sorted({index[f] for f in (*s, *pairwise(s)) if f in index}) for s in sentences]
    where = torch.tensor([(i, j) for i, row in enumerate(rows) for j in row]).T
    size = (len(rows), len(index))
    return torch.sparse_coo_tensor(where, torch.ones(where.shape[1]), size, check_invariants=True)


def logistic_regression_accuracy(train, test, num_steps=100, lr=0.05, decay=2e-3):
    """Test accuracy of a logistic regression on lists of (tokens, label)."""
    index = {}
    for tokens, _ in train:
        for feature in (*tokens, *pairwise(tokens)):
            index.setdefault(feature, len(index))
    X, X_test = (bag([tokens for tokens, _ in part], index) for part in (train, test))
    y, y_test = (torch.tensor([d2l.LABELS.index(x) for _, x in part]) for part in (train, test))
    W, X_t = torch.zeros(len(index), 3), X.t().coalesce()
    optimizer = torch.optim.Adam([W], lr)
    for _ in range(num_steps):
        errors = (X @ W).softmax(1) - F.one_hot(y, 3)
        W.grad = X_t @ errors / len(y) + decay * W
        optimizer.step()
    return ((X_test @ W).argmax(1) == y_test).float().mean().item()


def test_the_hypothesis_alone_does_not_give_away_the_label(pairs):
    train, test = ([(h, y) for _, h, y in pairs[split]] for split in ("train", "test"))
    assert logistic_regression_accuracy(train, test) <= 0.55


def test_a_bag_of_both_sentences_does_not_either(pairs):
    train, test = (
        [([f"premise {w}" for w in p] + h, y) for p, h, y in pairs[split]]
        for split in ("train", "test")
    )
    assert logistic_regression_accuracy(train, test) <= 0.7


def test_the_baseline_finds_a_give_away():
    train = [
        (["a", "dog", word, "."], label) for word, label in zip("xyz", d2l.LABELS, strict=True)
    ]
    assert logistic_regression_accuracy(train * 10, train) == 1.0


CLASSES = ("person", "animal", "Food", "drink", "Text", "container", "toy")
NOUNS = sorted({"person", "animal", *lexicon.below(*CLASSES)})
SINGULAR = "|".join(w for w in NOUNS if lexicon.plural(w) != w)
PLURAL = "|".join(lexicon.plural(w) for w in NOUNS if lexicon.plural(w) != w)
NUMBERS = "some|two|three|four|five|six|seven|eight|nine|ten"
WRONG = (
    r"\ba (?!u[sn]|uku)[aeiou]|\ban (?![aeiou])|\ban u(sed|nicycle|kulele)",
    rf"\b(a|an)( \S+)? ({PLURAL})\b",
    rf"\b({NUMBERS})( \S+)? ({SINGULAR})\b",
    rf"\b({PLURAL}) is\b",
    rf"^(the |there is )?(a |an )?({SINGULAR}) are\b",
    r"\b(?P<word>\S+) (?P=word)\b",
    r"\b(mans|womans|childs|persons|sheeps|deers|mouses|gooses|scarfs|wolfs)\b",
    r" {2}|^ | $|[^ ][.,]|[.] (?!(he|she|they) )",
)


def test_agreement(pairs):
    wrong = re.compile("|".join(WRONG))
    for split in SIZES:
        for premise, hypothesis, _ in pairs[split]:
            for sentence in (" ".join(premise).lower(), " ".join(hypothesis).lower()):
                assert not wrong.search(sentence), sentence


@pytest.mark.parametrize(
    "sentence", ("a old dog", "an dog", "an used cup", "two man", "a red apples", "geese is", "a a")
)
def test_agreement_patterns_find_mistakes(sentence):
    assert re.search("|".join(WRONG), sentence)


def test_a_word_stands_in_one_place():
    tables = (lexicon.PEOPLE, lexicon.JOBS, lexicon.ANIMALS, lexicon.THINGS, lexicon.ACTIONS)
    words = Counter(word for table in tables for word in re.findall(r"[\w-]+(?![\w+~-]*:)", table))
    assert words.most_common(1)[0][1] == 1
    for word in lexicon.PARENT:
        assert word not in lexicon.ancestors(word)
    assert all(len(set(row)) == len(row) for row in lexicon.ROWS.values())
    adjectives = [word for name in lexicon.ROWS for word in scenes.scale(name)]
    assert len(set(adjectives)) == len(adjectives)


def test_vocabulary_covers_the_corpus(pairs):
    vocab = json.loads((BERT / "vocab.json").read_text(encoding="utf-8"))
    assert len(set(vocab)) == len(vocab)
    assert {"<pad>", "<mask>", "<cls>", "<sep>", "<unk>"} <= set(vocab)
    used = {w.lower() for split in SIZES for p, h, _ in pairs[split] for w in (*p, *h)}
    assert used <= set(vocab) and set(grammar.lexicon_words()) <= set(vocab)
    assert len(used) >= 1_500


def test_pretraining_text_is_not_in_a_split_that_is_held_out(pairs):
    seams.pretraining_is_small(num_passages=2_000)
    text = {sentence for passage in pretraining.pretraining_text() for sentence in passage}
    unseen = [*pairs["dev"], *pairs["test"], *pairs["challenge"]]
    held_out = {" ".join(tokens).lower() for pair in unseen for tokens in pair[:2]}
    assert len(text) > 2_000 and not text & held_out


@pytest.fixture(scope="module")
def bert():
    config = json.loads((BERT / "config.json").read_text(encoding="utf-8"))
    vocab = json.loads((BERT / "vocab.json").read_text(encoding="utf-8"))
    net = d2l.BERTModel(len(vocab), **config, dropout=0.0)
    net.load_state_dict(torch.load(BERT / "pretrained.params", weights_only=True))
    return net.eval(), {word: i for i, word in enumerate(vocab)}


def test_files_are_small_and_in_the_published_layout():
    assert sum(path.stat().st_size for path in BERT.iterdir()) < 6_000_000
    assert (BERT / "pretrained.params").read_bytes()[:2] != b"PK"
    config = json.loads((BERT / "config.json").read_text(encoding="utf-8"))
    assert set(config) == {"num_hiddens", "ffn_num_hiddens", "num_heads", "num_blks", "max_len"}


@torch.no_grad()
def test_bert_tiny_fills_in_masked_words(pairs, bert):
    net, ids = bert
    generator = torch.Generator().manual_seed(0)
    hits = masked = most_frequent = 0
    common = Counter(w.lower() for p, _, _ in pairs["train"] for w in p).most_common(1)[0][0]
    for premise, _, _ in pairs["dev"][:600:3]:
        tokens = [ids[w.lower()] for w in premise]
        row = torch.tensor([[ids["<cls>"], *tokens, ids["<sep>"]]])
        chosen = 1 + torch.randperm(len(tokens), generator=generator)[: max(1, len(tokens) // 7)]
        hidden = row.clone()
        hidden[0, chosen] = ids["<mask>"]
        _, logits, _ = net(hidden, torch.zeros_like(row), None, chosen[None])
        hits += (logits.argmax(-1)[0] == row[0, chosen]).sum().item()
        most_frequent += (row[0, chosen] == ids[common]).sum().item()
        masked += len(chosen)
    assert hits / masked > most_frequent / masked + 0.25


@torch.no_grad()
def best_words(bert, sentences):
    """The most probable word for the `<mask>` of each sentence."""
    net, ids = bert
    words, found = list(ids), []
    for sentence in sentences:
        row = torch.tensor([[ids[t] for t in f"<cls> {sentence} <sep>".split()]])
        where = (row == ids["<mask>"]).nonzero()[:, 1][None]
        _, logits, _ = net(row, torch.zeros_like(row), None, where)
        found.append(words[logits[0, 0].argmax()])
    return found


DEEDS = list(scenes.frames("DEEDS").values())


def test_bert_tiny_guesses_the_deed_from_the_thing(bert):
    things = [thing for frame in DEEDS for thing in frame.objects[:3]]
    bare = lexicon.MASS | lexicon.PLURAL_ONLY
    articles = ["" if t in bare else "an" if t[0] in "aeiou" else "a" for t in things]
    guesses = best_words(
        bert, [f"a man is <mask> {a} {t} ." for a, t in zip(articles, things, strict=True)]
    )
    fits = [
        any(thing in frame.objects for frame in scenes.uses(guess))
        for guess, thing in zip(guesses, things, strict=True)
    ]
    assert sum(fits) >= 0.85 * len(fits)


def test_bert_tiny_guesses_the_thing_from_the_deed(bert):
    guesses = best_words(bert, [f"a woman is {frame.verb} a <mask> ." for frame in DEEDS])
    usual = {other: word for word, other in lexicon.SYNONYM.items()}
    fits = [
        any(usual.get(guess, guess) in (thing, *lexicon.generals(thing)) for thing in frame.objects)
        for guess, frame in zip(guesses, DEEDS, strict=True)
    ]
    assert sum(fits) >= 0.9 * len(fits)


def test_bert_tiny_agrees_in_number(bert):
    one, two = best_words(bert, ["a <mask> is running .", "two <mask> are running ."])
    assert one in SINGULAR.split("|") and two in PLURAL.split("|")


def test_masking_hides_what_it_says():
    torch.manual_seed(0)
    vocab, first = pretraining.make_vocab(), len(pretraining.SPECIAL_TOKENS)
    tokens = torch.randint(first, len(vocab), (400, 40))
    tokens[:, 0], tokens[:, 30:] = vocab["<cls>"], vocab["<pad>"]
    shown, positions, words, weights = pretraining.mask_words(tokens, vocab)
    chosen = weights > 0
    assert (weights.sum(1) == round(0.3 * 29)).all() and (words[chosen] >= first).all()
    assert torch.equal(tokens.gather(1, positions), words)
    at = shown.gather(1, positions)[chosen]
    assert abs((at == vocab["<mask>"]).float().mean() - 0.8) < 0.03
    assert abs((at == words[chosen]).float().mean() - 0.1) < 0.03
    left = torch.ones_like(tokens, dtype=torch.bool).scatter(1, positions, ~chosen)
    assert torch.equal(shown[left], tokens[left])


def test_half_of_the_second_sentences_follow():
    text = [grammar.Passage(*map(str.lower, p)) for p in grammar.make_text(640, 0)]
    vocab, follows, alike = pretraining.make_vocab(), [], 0
    true, false = ({f"{p.first} {p[k]}" for p in text} for k in (1, 2))
    for batch in pretraining.next_sentence_batches(text, vocab, np.random.default_rng(0)):
        for row, segment, n, y in zip(*batch, strict=True):
            assert (row[n:] == 0).all() and (segment[n:] == 0).all()
            tokens = vocab.to_tokens(row[:n].tolist())
            pair = " ".join(t for t in tokens if t not in ("<cls>", "<sep>"))
            assert pair in true or not y
            alike += pair in false and not y
            follows.append(int(y))
    assert len(follows) == 640 and abs(sum(follows) / 640 - 0.5) < 0.08
    assert abs(int(alike) / (640 - sum(follows)) - 0.75) < 0.08


def test_pretraining_learns_and_writes_what_can_be_loaded(tmp_path, capsys):
    sizes = dict(num_hiddens=16, ffn_num_hiddens=16, num_heads=2, num_blks=1, max_len=128)
    seams.pretraining_is_small(num_passages=1_000, num_epochs=3, sizes=sizes)
    pretraining.pretrain(tmp_path)
    found = re.findall(r"epoch (\d): mlm (\d+\.\d{3}), nsp (\d\.\d{3})", capsys.readouterr().out)
    assert [epoch for epoch, *_ in found] == ["1", "2", "3"]
    assert float(found[-1][1]) < float(found[0][1]) - 0.1
    bert, vocab = d2l.load_pretrained_model(tmp_path)
    assert asdict(bert.config).items() >= sizes.items()
    assert vocab.idx_to_token == pretraining.make_vocab().idx_to_token


def test_queries_and_keys_of_the_first_block_start_equal():
    net = d2l.BERTModel(50, **pretraining.CONFIG, dropout=0.0)
    pretraining.initialise(net)
    first, second = (block.attention for block in net.encoder.blks)
    assert torch.equal(first.W_q.weight, first.W_k.weight)
    assert not torch.equal(second.W_q.weight, second.W_k.weight)
