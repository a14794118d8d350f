"""Truncation: equal to popping one token at a time, and true to what every strategy promises."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import d2lnli as d2l

LENGTHS = st.integers(0, 150)
BUDGETS = st.integers(0, 200)
STRATEGIES = st.sampled_from(sorted(d2l.TRUNCATIONS))


def kept(strategy: str, premise: int, hypothesis: int, budget: int) -> tuple[int, int]:
    counts = d2l.TRUNCATIONS[strategy](premise, hypothesis, budget)
    assert min(map(int, counts)) >= 0
    return int(counts[0] + counts[1]), int(counts[2] + counts[3])


def pop_one_at_a_time(premise: int, hypothesis: int, budget: int) -> tuple[int, int]:
    while premise + hypothesis > budget:
        if premise > hypothesis:
            premise -= 1
        else:
            hypothesis -= 1
    return premise, hypothesis


@given(LENGTHS, LENGTHS, BUDGETS)
def test_longest_first_pops_from_the_longer_side(premise, hypothesis, budget):
    expected = pop_one_at_a_time(premise, hypothesis, budget)
    assert kept("longest_first", premise, hypothesis, budget) == expected


def test_longest_first_pops_from_the_longer_side_for_all_short_lengths():
    premise, hypothesis, budget = (axis.ravel() for axis in np.mgrid[0:25, 0:25, 0:52])
    counts = d2l.TRUNCATIONS["longest_first"](premise, hypothesis, budget)
    expected = [pop_one_at_a_time(*case) for case in zip(premise, hypothesis, budget, strict=True)]
    np.testing.assert_array_equal(np.stack([counts[0], counts[2]], axis=1), expected)


@given(STRATEGIES, LENGTHS, LENGTHS, BUDGETS)
def test_never_over_the_budget_and_never_longer_than_the_input(
    strategy, premise, hypothesis, budget
):
    p, h = kept(strategy, premise, hypothesis, budget)
    assert p <= premise
    assert h <= hypothesis
    assert p + h == min(budget, premise + hypothesis)


@given(STRATEGIES, LENGTHS, LENGTHS, BUDGETS)
def test_a_larger_budget_takes_no_token_away(strategy, premise, hypothesis, budget):
    p, h = kept(strategy, premise, hypothesis, budget)
    more_p, more_h = kept(strategy, premise, hypothesis, budget + 1)
    assert more_p >= p
    assert more_h >= h


@given(STRATEGIES, LENGTHS, LENGTHS, st.integers(2, 200))
def test_each_side_keeps_a_token_while_it_can(strategy, premise, hypothesis, budget):
    p, h = kept(strategy, premise, hypothesis, budget)
    assert (p > 0) == (premise > 0)
    assert (h > 0) == (hypothesis > 0)


@given(LENGTHS, LENGTHS, BUDGETS)
def test_one_sided_strategies_spare_the_other_side(premise, hypothesis, budget):
    _, h = kept("cut_premise", premise, hypothesis, budget)
    p, _ = kept("cut_hypothesis", premise, hypothesis, budget)
    if budget > hypothesis:
        assert h == hypothesis
    if budget > premise:
        assert p == premise


@given(st.integers(1, 150), st.integers(1, 150), st.integers(2, 200))
def test_proportional_keeps_the_ratio_to_the_nearest_token(premise, hypothesis, budget):
    p, _ = kept("proportional", premise, hypothesis, budget)
    total = premise + hypothesis
    exact = min(budget, total) * premise / total
    assert abs(p - exact) <= 0.5 or p == 1 or p == budget - 1


def test_proportional_differs_from_longest_first_where_lengths_do():
    assert kept("proportional", 40, 10, 25) == (20, 5)
    assert kept("longest_first", 40, 10, 25) == (15, 10)


@given(LENGTHS, LENGTHS, BUDGETS)
def test_head_tail_shares_like_longest_first_and_keeps_both_ends(premise, hypothesis, budget):
    counts = d2l.TRUNCATIONS["head_tail"](premise, hypothesis, budget)
    shares = kept("longest_first", premise, hypothesis, budget)
    assert kept("head_tail", premise, hypothesis, budget) == shares
    for head, tail, length in ((counts[0], counts[1], premise), (counts[2], counts[3], hypothesis)):
        assert tail == (0 if head + tail == length else (head + tail) // 2)


@pytest.mark.parametrize("strategy", sorted(d2l.TRUNCATIONS))
def test_arrays_give_what_single_pairs_give(strategy):
    rng = np.random.default_rng(0)
    premise, hypothesis = rng.integers(0, 60, (2, 200))
    at_once = np.stack(d2l.TRUNCATIONS[strategy](premise, hypothesis, 29), axis=1)
    one_by_one = [
        d2l.TRUNCATIONS[strategy](p, h, 29) for p, h in zip(premise, hypothesis, strict=True)
    ]
    np.testing.assert_array_equal(at_once, one_by_one)


FORMER = {"premise_only": "cut_premise", "hypothesis_only": "cut_hypothesis"}


def test_the_five_strategies_have_the_contracts_names():
    assert list(d2l.TRUNCATIONS) == [
        "longest_first",
        "proportional",
        "cut_premise",
        "cut_hypothesis",
        "head_tail",
    ]


@pytest.mark.parametrize("former, present", FORMER.items())
def test_a_former_name_finds_its_strategy(former, present, vocab, tmp_path):
    assert d2l.TRUNCATIONS[former] is d2l.TRUNCATIONS[present]
    pairs = ["a b c d e"], ["f g h a"], [0]
    by_former, by_present = (
        d2l.SNLIBERTDataset(pairs, 8, vocab, truncation=name) for name in (former, present)
    )
    assert by_former.all_token_ids.tolist() == by_present.all_token_ids.tolist()
    assert by_former.truncation == present
    by_former.save(tmp_path / "saved")
    assert d2l.SNLIBERTDataset.load(tmp_path / "saved", vocab).truncation == present


def test_an_unknown_strategy_is_refused_with_the_present_names(vocab):
    with pytest.raises(KeyError, match="premise_first"):
        d2l.TRUNCATIONS["premise_first"]
    with pytest.raises(ValueError, match=r"'premise_first'.*longest_first.*cut_premise") as error:
        d2l.SNLIBERTDataset((["a"], ["b"], [0]), 8, vocab, truncation="premise_first")
    assert not any(name in str(error.value) for name in FORMER)


def test_a_strategy_of_ones_own_may_keep_the_same_of_every_pair(vocab, monkeypatch):
    strategy = d2l.TRUNCATIONS["longest_first"]
    monkeypatch.setitem(
        d2l.TRUNCATIONS, "two_and_one", lambda *lens: strategy(*lens)._replace(hypothesis_head=1)
    )
    pairs = ["a b c d e", "a"], ["f g h", "f"], [0, 1]
    dataset = d2l.SNLIBERTDataset(pairs, 8, vocab, truncation="two_and_one")
    assert dataset.valid_lens.tolist() == [7, 5]
