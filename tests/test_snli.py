"""Reading SNLI's files."""

from pathlib import Path

import pytest

import d2lnli as d2l

HEADER = "gold_label\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\n"
SLICE = Path(__file__).parents[2] / "shared" / "snli_slice"


def write(folder, *lines, split="train", header=HEADER, encoding="utf-8"):
    path = folder / f"snli_1.0_{split}.txt"
    path.write_bytes((header + "".join(line + "\n" for line in lines)).encode(encoding))
    return folder


def test_brackets_and_repeated_spaces_go_and_disagreements_are_dropped(tmp_path):
    write(
        tmp_path,
        "neutral\t( ( Two dogs ) ( run . ) )\t( They  ( race . ) )\tx",
        "-\t( a b )\t( c d )\tx",
        "entailment\t( Un ( café ) )\t( ( Le ) café )\tx",
        'entailment\t"( a ) b\tc\tx',
    )
    assert d2l.read_snli(tmp_path, True) == (
        ["Two dogs run .", "Un café", '" a b'],
        ["They race .", "Le café", "c"],
        [2, 0, 0],
    )


def test_splits_by_name_or_as_in_the_book(tmp_path):
    for split in ("train", "dev", "test"):
        write(tmp_path, f"entailment\t{split}\tx\tx", split=split)
    for is_train, word in ((True, "train"), (False, "test"), ("train", "train"), ("dev", "dev")):
        assert d2l.read_snli(tmp_path, is_train)[0] == [word]
    assert d2l.read_snli(str(tmp_path), "test")[0] == ["test"]
    with pytest.raises(ValueError, match=r"'validation'.*'dev'"):
        d2l.read_snli(tmp_path, "validation")


def test_max_examples_counts_labelled_pairs(tmp_path):
    write(tmp_path, "-\ta\tb\tx", *[f"neutral\tp{i}\th{i}\tx" for i in range(9)])
    assert d2l.read_snli(tmp_path, True, max_examples=3)[0] == ["p0", "p1", "p2"]
    assert len(d2l.read_snli(tmp_path, True, max_examples=100)[0]) == 9
    with pytest.raises(ValueError, match="max_examples=0"):
        d2l.read_snli(tmp_path, True, max_examples=0)


def test_a_byte_order_mark_crlf_and_blank_lines_do_no_harm(tmp_path):
    write(tmp_path, "neutral\ta\tb\tx\r", "", encoding="utf-8-sig")
    assert d2l.read_snli(tmp_path, True) == (["a"], ["b"], [2])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["neutral\ta\tb\tx", "neutral\tonly a premise"], r"train\.txt.*line 3\b.*2 column"),
        (["neutral\ta\tb\tx", "maybe\ta\tb\tx"], r"train\.txt.*line 3\b.*'maybe'"),
        (["\ta\tb\tx"], r"train\.txt.*no labelled pairs"),
        (["neutral\t( )\tb\tx"], r"line 2\b.*empty"),
        (["neutral\ta\t \tx"], r"line 2\b.*empty"),
        (["-\ta\tb\tx"], r"train\.txt.*no labelled pairs"),
        ([], r"train\.txt.*no labelled pairs"),
    ],
)
def test_what_is_not_snli_is_named_with_its_line(tmp_path, lines, message):
    with pytest.raises(ValueError, match=message):
        d2l.read_snli(write(tmp_path, *lines), True)


def test_a_lost_header_loses_no_pair_silently(tmp_path):
    with pytest.raises(ValueError, match=r"line 1\b.*header"):
        d2l.read_snli(write(tmp_path, "neutral\ta\tb\tx", header=""), True)


def test_another_encoding_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"train\.txt.*line 2\b.*UTF-8"):
        d2l.read_snli(write(tmp_path, "neutral\tcafé\tb\tx", encoding="latin-1"), True)


def test_a_missing_file_or_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"snli_1\.0_dev\.txt"):
        d2l.read_snli(write(tmp_path, "neutral\ta\tb\tx"), "dev")
    with pytest.raises(FileNotFoundError, match=r"nowhere"):
        d2l.read_snli(tmp_path / "nowhere", True)


@pytest.mark.skipif(not SLICE.is_dir(), reason="needs ../shared/snli_slice")
def test_real_pairs():
    premises, hypotheses, labels = d2l.read_snli(SLICE, True)
    assert (len(premises), len(d2l.read_snli(SLICE, False)[0])) == (8041, 1801)
    assert premises[0] == "Two women are embracing while holding to go packages ."
    assert hypotheses[1] == "Two woman are holding packages ."
    assert [labels.count(label) for label in range(3)] == [2724, 2674, 2643]
