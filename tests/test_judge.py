"""What the judge of the sample corpus says of pairs whose labels people can see at once."""

import pytest

from judge import judge

LABEL = {"e": "entailment", "n": "neutral", "c": "contradiction"}

PAIRS = """
# roles
A cat is chasing an animal in a park .
  n An animal is chasing a dog .
An animal is chasing a cat in a park .
  n A cat is chasing an animal .
A man is teaching a boy .
  c A boy is teaching a man .
  e A man is teaching a boy .
A man is teaching a boy in a park .
  e A boy is being taught by a man .
  c A man is being taught by a boy .
A dog was chasing a cat .
  c A cat was chasing a dog .
A cat was being chased by a dog at night .
  e A dog was chasing a cat .
A cat was being chased by a dog .
  c A dog was being chased by a cat .
A person is following a woman .
  n A woman is following a person .
A man is giving a book to a boy .
  c A boy is giving a book to a man .
A doctor is helping a man in a hospital .
  n A man is helping a doctor .
# number
Two dogs are chasing three cats .
  e Two dogs are chasing three cats .
  c Three dogs are chasing two cats .
  e Some dogs are chasing three cats .
Two dogs are chasing some cats .
  n Some dogs are chasing two cats .
Two men are carrying three boxes and four bags .
  e Two men are carrying three boxes .
  e Two men are carrying four bags .
  c Two men are carrying four boxes .
  c Four men are carrying three bags .
  e Two men are carrying four bags and three boxes .
  c Two men are carrying four boxes and three bags .
Two men are carrying three boxes and some bags .
  n Two men are carrying three bags .
Two men are carrying three boxes and four bags .
  e Two men are carrying seven containers .
  c Two men are carrying eight containers .
A man and a woman are eating .
  e Two people are eating .
  e Some adults are eating .
  c Three people are eating .
A man is washing two cars .
  c Two men are washing a car .
Some men were washing two cars .
  n Two men were washing some cars .
# colour
A man in a red hat is carrying a blue box .
  c A man is carrying a red box .
  e A man is carrying a blue box .
  c A man in a blue hat is carrying a red box .
A man in a red hat is carrying a box .
  n A man in a hat is carrying a red box .
  e A man wearing a red hat is carrying a box .
A man in a hat is carrying a red box .
  n A man in a red hat is carrying a box .
A woman wearing a green dress was driving a white car .
  e A woman was driving a white car .
  c A woman was driving a green car .
  c A woman was wearing a white dress .
A man in a scarlet hat is carrying a box .
  e A man in a red hat is carrying a box .
# garment
A man wearing a hat is following a boy wearing boots .
  e A man wearing a hat is following a boy .
  e A man is following a boy wearing boots .
  n A man wearing boots is following a boy .
A man wearing a hat is following a boy wearing a helmet .
  c A man wearing a helmet is following a boy .
A man wearing a hat is following a boy wearing boots .
  n A man is following a boy wearing a hat .
A man wearing a hat is following a boy wearing a helmet .
  c A man is following a boy wearing a hat .
A man wearing a red hat is following a boy wearing blue boots .
  e A man is following a boy wearing blue boots .
  c A man is following a boy wearing red boots .
A man wearing a hat is following a boy wearing boots .
  c A boy wearing boots is following a man .
A man was greeting two women wearing coats .
  e A man was greeting two women wearing coats .
A boy wearing boots is being followed by a man wearing a hat .
  e A man wearing a hat is following a boy .
  n A man is following a boy wearing a hat .
A man wearing a hat is following a boy wearing boots .
  e A boy is wearing boots .
  n A boy is wearing a hat .
# conjunction
A man is eating a pear and a woman is drinking tea .
  e A woman is drinking tea .
  c A woman is eating a pear .
  c A man is drinking tea .
A man or a woman is eating a pear .
  n A man is eating a pear .
  e An adult is eating a pear .
  c A boy is eating a pear .
  e A woman or a man is eating a pear .
A man is eating a pear or an apple .
  n A man is eating an apple .
  e A man is eating a fruit .
  c A man is eating a plum or a fig .
A man is eating a pear .
  e A man is eating a pear or an apple .
  c A man is eating an apple or a plum .
A man is eating a fruit .
  n A man is eating a pear or an apple .
A man was eating a pear and an apple .
  e A man was eating an apple .
A man was drinking tea or coffee .
  n A man was drinking tea .
A man and a woman are eating a pear or an apple .
  e A woman is eating a fruit .
# negation
A man is not eating an apple but a pear .
  e A man is eating a pear .
  c A man is eating an apple .
  e A man is not eating an apple .
  c A man is not eating a pear .
  e A man is eating a fruit .
  c A man is eating a red apple .
  c A man is eating a fresh apple .
  n A man is eating a fresh pear .
  c A man is not eating a pear but an apple .
A man is not carrying two boxes but three bags .
  e A man is carrying three bags .
A man is not eating an apple .
  e A man is not eating a fresh apple .
  c A man is eating a fresh apple .
A man is not eating a fresh apple .
  n A man is not eating an apple .
  n A man is eating an apple .
A man in a red hat is not eating a fresh apple in a park .
  n A man is eating a fresh apple .
  c A man is eating a fresh apple in a park .
  e A man is not eating a fresh apple in a park .
  n A man is not eating a fresh apple .
A man in a red hat is not eating an apple .
  n A man in a blue hat is eating an apple .
A man was not eating a fruit .
  c A man was eating an apple .
A man was not eating an apple .
  n A man was eating a fruit .
  n A woman was eating an apple .
  c A person was eating an apple .
  n A tall man was eating an apple .
A man is not wearing a red hat .
  c A man is wearing a red woolen hat .
  n A man is wearing a hat .
A man in a red hat is not running .
  e A man is wearing a red hat .
A man in a red hat is not moving .
  c A man is running .
# relative
A man who is following a boy is eating a pear .
  e A man is eating a pear .
  e A man is following a boy .
  c A boy is eating a pear .
  c A boy is following a man .
A man that a boy is following is eating a pear .
  e A man is eating a pear .
  e A boy is following a man .
  c A man is following a boy .
  c A boy is eating a pear .
A person that a boy is following is eating a pear .
  n A boy is eating a pear .
A man who is following a boy is eating a pear .
  n A man is following a boy in a park .
A man who is following a boy wearing a hat is eating a pear .
  e A man is following a boy wearing a hat .
  n A man wearing a hat is eating a pear .
A man in a red hat who was following a boy was eating a pear .
  e A man in a red hat was following a boy .
A man in a red hat that a boy was following was eating a pear .
  e A boy was following a man in a red hat .
A man who followed a boy ate a pear .
  e A man was following a boy .
A man who quickly followed a boy ate a pear .
  e A man followed a boy quickly .
  n A man slowly ate a pear .
A boy who is being followed by a man is eating a pear .
  e A man is following a boy .
  c A man is eating a pear .
A man that a boy followed ate a pear .
  c A man followed a boy .
A man who is following a boy is eating a pear .
  c A boy who is following a man is eating a pear .
  e A person who is following a boy is eating a fruit .
A man who is following an adult is eating a pear .
  c An adult that a man is following is eating a pear .
# order
A man ate a pear before he washed a car .
  e A man washed a car .
  e A man washed a car after he ate a pear .
  c A man washed a car before he ate a pear .
  c A man ate a pear after he washed a car .
  c A man washed a bus .
A man ate a pear after he washed a car .
  e A man washed a car before he ate a pear .
  e Before he ate a pear , a man washed a car .
Before he washed a car , a man ate a pear .
  e A man ate a pear before he washed a car .
  c Before he ate a pear , a man washed a car .
After a woman washed a car , she ate a pear .
  e A woman ate a pear after she washed a car .
A man ate a pear before he washed a car and painted a wall .
  e A man painted a wall after he ate a pear .
  n A man painted a wall before he washed a car .
  n A man washed a car before he painted a wall .
  c A man painted a wall before he ate a pear .
A man ate a pear after he washed a car and painted a wall .
  e A man painted a wall before he ate a pear .
Two men ate a pear before they washed a car .
  e Two men washed a car after they ate a pear .
A man ate a pear before he washed a car .
  n A tall man washed a car .
A man ate a pear before he washed a car and painted a wall in a park .
  e A man painted a wall in a park .
  n A man washed a car in a park .
  e A man who painted a wall ate a pear .
A man in a red hat ate a pear before he washed a car .
  e A man in a red hat washed a car .
# tense
A man ate an apple in a park .
  e A man was eating an apple .
A man quickly ate an apple .
  e A man ate an apple quickly .
A man ate an apple quickly .
  c A man slowly ate an apple .
Two dogs ran quickly .
  e Two dogs were moving .
  n Two dogs ran in a park .
  n Two young dogs ran .
  c Three dogs ran .
It was raining and a man was running .
  e A man ran in the rain .
A man ran while the sun was shining .
  c A man was running in the rain .
There was a man eating an apple .
  e A man ate an apple .
There were two dogs running .
  e Some dogs ran .
A man hid a ring .
  e A ring was being hidden by a man .
A man who was wearing a hat ate an apple .
  e A man was wearing a hat .
The man washed a car .
  c The man was washing a bus .
The man repaired a car .
  e The man fixed a car .
# captions
Two dogs running in a park .
  e Two dogs are running .
At night , two dogs running in a park .
  e Two dogs are running at night .
Two dogs running in a park .
  c Three dogs are running .
An apple being eaten by a man .
  e A man is eating an apple .
A man in a red hat sitting on a bench .
  e A man is sitting on a bench .
  n A man is eating an apple .
A man and a woman eating an apple in a park .
  e A woman is eating an apple .
Two dogs quickly chasing a cat .
  c Two dogs are not chasing a cat .
# pronouns
A man is eating an apple while he is sitting on a bench .
  e A man is sitting on a bench .
  e A man sitting on a bench is eating an apple .
  c A man is sitting on a stool .
A man is eating an apple . He is wearing a red hat .
  e A man in a red hat is eating an apple .
  c A man in a blue hat is eating an apple .
  n A man is wearing boots .
It was raining . A man was running while he was wearing a hat .
  e A man in a hat ran in the rain .
Two women were running . They were wearing hats .
  e Two women wearing hats ran .
A man and a woman are eating a pear while they are sitting on a bench .
  e A woman is sitting on a bench .
A dog ate a steak while it was lying on a mattress .
  e A dog was lying on a mattress .
# the first edition
A man is not eating an apple but a pear in a park .
  e There is a man in a park .
A man is eating an apple .
  e There is an apple .
  e A man is not eating a pear .
It is raining while a man is eating an apple .
  e A guy is eating an apple in bad weather .
"""


def pairs(table):
    """Read a table: a premise, and below it labels and hypotheses."""
    found, premise = [], ""
    for line in table.strip().splitlines():
        if line.startswith("  "):
            found.append((premise, line[4:], LABEL[line[2]]))
        else:
            premise = line
    return found


@pytest.mark.parametrize(("premise", "hypothesis", "label"), pairs(PAIRS))
def test_what_follows(premise, hypothesis, label):
    assert judge(premise, hypothesis) == label


UNREADABLE = """
A man is eating while a dog was running .
A man running while a woman singing .
A man .
A man is running while they are wearing hats .
Two men are running while he is wearing a hat .
A woman is running . He is wearing a hat .
A man is running . It is sitting on a bench .
A dog is following a man . He is sitting on a bench .
A man is running while he is singing .
A man is running while he is running .
A man and a woman are running while a dog is sitting and he is sitting on a bench .
A man in a red hat is eating . He is wearing a cap .
A man are eating .
A man is eating a pear or an apple but a plum .
A man is not eating a pear or an apple .
A man is eating an apple but a pear .
A man is not eating and a dog is running .
A man who is following a boy is not eating a pear .
It is raining while a man is not eating .
A man is washing a car wearing a hat .
A man is following a boy sitting on a bench .
A man chased a dog and a cat and a woman drank tea .
A man and a woman or a girl are eating .
A man is eating a pear and an apple or a fig .
A man who followed a boy quickly ate a pear .
A man that a boy followed slowly ate a pear .
There is a man who is following a boy .
Before he washed a car , a man ate a pear , before he painted a wall .
A man is eating a pear or a woman is drinking tea .
A man is not following a boy wearing a hat but a girl .
The sheep ran .
A man is eating a pear before he is washing a car .
A man ate a pear and washed a car before he painted a wall .
A man ate a pear before a man washed a car .
He ate a pear before he washed a car .
A man ate a pear before they washed a car .
A man ate a pear before he washed a car after he painted a wall .
A man ate a pear before it was raining .
A man ate a pear and washed a car .
A man is eating a spoon .
A man is being eaten .
A man is following he .
He is being followed by a man .
It is raining .
"""


@pytest.mark.parametrize("hypothesis", ["A man is eating .", "A man ate ."])
@pytest.mark.parametrize("premise", UNREADABLE.strip().splitlines())
def test_what_cannot_be_read_in_one_way_is_refused(premise, hypothesis):
    with pytest.raises(ValueError):
        judge(premise, hypothesis)


REFUSED = [
    ("A man is eating .", "A man ate ."),
    ("A man ate .", "A man is eating ."),
    ("A man is running .", "A man running ."),
    ("A man is running .", "He is running ."),
    ("A man is following a boy and a man is eating .", "A man who is following a boy is eating ."),
    ("A man ate a pear .", "A man ate a pear before he washed a car ."),
    ("A man is eating .", "It is raining ."),
]


@pytest.mark.parametrize(("premise", "hypothesis"), REFUSED)
def test_what_cannot_be_compared_is_refused(premise, hypothesis):
    with pytest.raises(ValueError):
        judge(premise, hypothesis)


def test_each_kind_of_challenge_has_enough_pairs_and_all_labels():
    for part in PAIRS.split("# ")[1:9]:
        labels = [line[2] for line in part.splitlines() if line.startswith("  ")]
        assert len(labels) >= 8 and {*labels} == {*LABEL}, part
