"""The command line, in this process and as a user starts it."""

import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import d2lnli as d2l
import seams
from conftest import SPECIALS, contents, weights_of, write_checkpoint, write_corpus
from seams import main

WORDS = [*SPECIALS, *"a b c d".split()]


@pytest.fixture
def folders(tmp_path, data_dir):
    """A small checkpoint and a small corpus with all three splits, in folders of their own."""
    write_checkpoint(tmp_path / "small bert", WORDS)
    rows = [
        f"{d2l.LABELS[i % 3]}\t( {WORDS[5 + i % 4]} ( b c ) )\t( {WORDS[5 + i % 3]} d )"
        for i in range(60)
    ]
    corpus = write_corpus(tmp_path / "my corpus", rows)
    return ["--model", str(tmp_path / "small bert"), "--data", str(corpus), "--max-len", "32"]


def test_finetune_then_predict(folders, data_dir, capsys):
    assert main(["finetune", *folders, "--epochs", "2", "--batch-size", "8", "--lr", "1e-2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"loss \d\.\d+, train acc \d\.\d+, test acc \d\.\d+", lines[-2])
    assert re.fullmatch(r"\d+\.\d examples/sec on \[device\(type='cpu'\)\]", lines[-1])
    assert sum("test acc" in line for line in lines) == 1
    folder = d2l.classifier_dir(folders[1], folders[3])
    assert (folder / "classifier.safetensors").is_file()
    assert main(["predict", "A b c", "b d", *folders[:4]]) == 0
    said = capsys.readouterr()
    assert re.search(rf"{folder.name}.*\b60 pairs.* 20\d\d-", said.err)
    label, probabilities = said.out.splitlines()
    values = dict(part.split(" ") for part in probabilities.split(", "))
    assert label == max(values, key=lambda name: float(values[name]))
    assert tuple(values) == d2l.LABELS


def test_predict_knows_the_classifiers_classes_and_says_what_is_unknown(folders, tmp_path, capsys):
    bert, vocab = d2l.load_pretrained_model(folders[1])
    names = ["entailment", "not entailment"]
    d2l.save_classifier(tmp_path / "two", d2l.BERTClassifier(bert, 2, names), vocab)
    arguments = ["--classifier", str(tmp_path / "two")]
    assert main(["predict", "a zzz b", "c yyy", *arguments]) == 0
    label, probabilities, note = capsys.readouterr().out.splitlines()
    assert label in names
    assert re.fullmatch(r"entailment \d\.\d{3}, not entailment \d\.\d{3}", probabilities)
    assert "2 of 5 tokens" in note
    assert main(["predict", "a b", "c", *arguments]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_every_option_is_used(folders, tmp_path, capsys):
    options = (
        "--pairs 12 --epochs 1 --batch-size 4 --lr 0.01 --schedule linear --warmup 0.5 --clip 1 "
        "--most-tokens 20 --truncation head_tail --precision fp32 --seed 3"
    ).split()
    output, run = tmp_path / "out", tmp_path / "run"
    arguments = ["finetune", *folders, *options, "--run-dir", str(run), "--output", str(output)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "12 pairs" in printed
    for option in ("lr 0.01", "num_epochs 1", "batch_size 4", "linear", "warmup 0.5", "clip 1.0"):
        assert option in printed
    assert "in fp32" in printed
    assert len(d2l.History.load(run).records) == 3
    first = d2l.load_classifier(output)[0].state_dict()
    main(arguments)
    again = d2l.load_classifier(output)[0].state_dict()
    assert all((first[name] == again[name]).all() for name in first)
    capsys.readouterr()
    assert main([*arguments[:-4], "--seed", "4", "--run-dir", str(run)]) == 1
    assert re.search("seed=3.*4", capsys.readouterr().err)


def test_the_encoded_pairs_are_kept_where_they_are_asked_for_and_read_again(folders, tmp_path):
    kept, output = tmp_path / "encoded", tmp_path / "out"
    arguments = ["finetune", *folders, "--epochs", "1", "--output", str(output)]
    assert main(arguments) == 0
    in_memory = weights_of(output)
    assert main([*arguments, "--dataset-dir", str(kept)]) == 0
    assert weights_of(output) == in_memory
    assert [name.rpartition("-")[0] for name in contents(kept)] == [
        "snli_1.0_dev", "snli_1.0_test", "snli_1.0_train"
    ]  # fmt: skip
    written = {path: path.stat().st_mtime_ns for path in kept.glob("snli*/*")}
    assert main([*arguments, "--dataset-dir", str(kept), "--seed", "1"]) == 0
    assert {path: path.stat().st_mtime_ns for path in kept.glob("snli*/*")} == written
    assert main([*arguments, "--dataset-dir", str(kept), "--pairs", "12"]) == 0
    assert len(contents(kept)) == 4  # another number of pairs has a folder of its own


def test_a_dataset_dir_that_is_a_file_is_one_line(folders, capsys):
    taken = Path(folders[3]) / "snli_1.0_dev.txt"
    assert main(["finetune", *folders, "--dataset-dir", str(taken)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: cannot write the dataset to {taken}")


@pytest.mark.parametrize("option", ["--output", "--run-dir"])
def test_a_folder_that_cannot_be_written_is_named_before_the_training(option, folders, capsys):
    place = Path(folders[3]) / "snli_1.0_dev.txt" / "x"
    assert main(["finetune", *folders, option, str(place)]) == 1
    said = capsys.readouterr()
    assert not said.out and said.err.startswith(f"error: cannot write to {place}: pass")


def test_ctrl_c_outside_of_a_training_is_one_line(folders, capsys):
    def press(*_):
        raise KeyboardInterrupt

    seams.loading_is(press)
    assert main(["finetune", *folders]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_process_that_hears_ctrl_c_ends_with_130(folders, tmp_path):
    rows = "entailment\t( a b )\t( c d )\n" * 2_000_000  # which take seconds to encode
    with (Path(folders[3]) / "snli_1.0_train.txt").open("a") as file:
        file.write(rows)
    command = [sys.executable, "-m", "d2lnli", "finetune", *folders]
    listening = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731
    process = subprocess.Popen(
        [*command, "--dataset-dir", str(tmp_path / "encoded")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=listening,
    )  # fmt: skip
    while not (tmp_path / "encoded").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    said, complaint = process.communicate(timeout=60)
    assert (process.returncode, complaint) == (130, "interrupted\n")
    assert "fine-tuning" not in said
    assert not contents(tmp_path / "encoded")  # nothing is left half done


def test_pairs_are_cut_as_it_was_asked_for(folders, tmp_path):
    arguments = ["finetune", *folders, "--max-len", "6", "--epochs", "1"]
    weights = []
    for strategy in ("cut_premise", "cut_hypothesis"):
        output = tmp_path / strategy
        assert main([*arguments, "--truncation", strategy, "--output", str(output)]) == 0
        weights.append(weights_of(output))
    assert weights[0] != weights[1]
    output = tmp_path / "former"
    assert main([*arguments, "--truncation", "hypothesis_only", "--output", str(output)]) == 0
    assert weights_of(output) == weights[1]


def test_an_interrupted_run_leaves_the_finished_classifier_in_its_place(folders, data_dir, capsys):
    arguments = ["finetune", *folders, "--epochs", "2", "--batch-size", "8"]
    assert main(arguments) == 0
    folder = d2l.classifier_dir(folders[1], folders[3])
    finished = (folder / "classifier.safetensors").read_bytes()
    assert f" {folder}\n" in capsys.readouterr().out
    seams.every_run_is_told_to_stop()
    assert main([*arguments, "--lr", "1e-2", "--run-dir", str(data_dir / "run")]) == 0
    beside = folder.with_name(f"{folder.name}-interrupted")
    said = capsys.readouterr().out
    assert "interrupted in epoch 1" in said and f" {beside}\n" in said
    assert "nan" not in said
    assert (folder / "classifier.safetensors").read_bytes() == finished
    assert main(["predict", "a", "b", "--classifier", str(beside)]) == 0
    assert "interrupted" in capsys.readouterr().err
    shutil.rmtree(folder)
    assert main(["predict", "a", "b", *folders[:4]]) == 1
    assert re.search(f"interrupted.*{beside}", capsys.readouterr().err)


def test_what_the_command_line_made_is_what_a_notebook_loads(folders, capsys):
    assert main(["finetune", *folders]) == 0
    made = d2l.load_classifier(d2l.classifier_dir(folders[1], folders[3]))[0].state_dict()
    seams.training_is(lambda *args, **how: pytest.fail("trained"))
    loaded = d2l.load_or_finetune(folders[1], folders[3], max_len=32)[0].state_dict()
    assert all((made[name] == loaded[name]).all() for name in made)
    with pytest.raises(pytest.fail.Exception):
        d2l.load_or_finetune(folders[1], folders[3], max_len=31)


def test_the_best_epoch_is_kept_if_asked_for(folders, capsys):
    options = "--epochs 9 --patience 2 --keep best --batch-size 8 --lr 0.5".split()
    assert main(["finetune", *folders, *options]) == 0
    kept, epochs = map(int, re.search(r"epoch (\d) of (\d)", capsys.readouterr().out).groups())
    assert kept < epochs <= 9 and epochs - kept == 2
    assert main(["finetune", *folders, "--keep", "best", "--patience", "0"]) == 1
    assert "patience=0" in capsys.readouterr().err


def test_a_recipes_clipping_can_be_switched_off(folders, capsys):
    seams.every_recipe_is_that_of("minilm")
    options = ["--epochs", "1", "--pairs", "4"]
    assert main(["finetune", *folders, *options]) == 0
    assert "clip 1.0" in capsys.readouterr().out
    assert main(["finetune", *folders, *options, "--clip", "0"]) == 0
    assert "clip None" in capsys.readouterr().out


def test_a_corpus_without_a_dev_split_is_trained_on_whole(folders, capsys):
    (Path(folders[3]) / "snli_1.0_dev.txt").unlink()
    assert main(["finetune", *folders, "--epochs", "1"]) == 0
    printed = capsys.readouterr().out
    assert "no dev split" in printed
    assert "read 60 examples" in printed
    assert "dev acc" not in printed
    assert printed.count("test acc") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["finetune", "--model", "bert.huge"], "'bert.huge'"),
        (["finetune", "--data", "no/such"], "'no/such'"),
        (["finetune", "--data", "x" * 500], "xxx'"),
        (["finetune", "--max-len", "4"], "max_len=4"),
        (["finetune", "--epochs", "0"], "num_epochs=0"),
        (["finetune", "--pairs", "0"], "max_examples=0"),
        (["download", "bert.huge"], "'bert.huge'"),
        (["predict", "a", "b", "--classifier", "nowhere"], "python -m d2lnli finetune"),
    ],
)
def test_bad_input_is_one_line(folders, capsys, arguments, message):
    given = folders if arguments[0] == "finetune" else []
    assert main([arguments[0], *given, *arguments[1:]]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("training", r"minibatch of 10 .*cpu.*batch_size=5\b.*most_tokens="),
        ("reading", "out of memory"),
    ],
)  # fmt: skip
def test_out_of_memory_is_one_line(folders, capsys, monkeypatch, where, message):
    def fail(*_):
        raise MemoryError

    if where == "training":
        monkeypatch.setattr(d2l.BERTEncoder, "embed", fail)
    else:
        seams.reading_is(fail)
    assert main(["finetune", *folders, "--batch-size", "10"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(f"error: .*{message}", line)


@pytest.mark.parametrize("option", ["--truncation", "--schedule", "--precision"])
def test_an_unknown_choice_lists_the_choices(capsys, option):
    with pytest.raises(SystemExit):
        main(["finetune", option, "other"])
    assert re.search(
        rf"argument {option}: invalid choice.*longest|linear|bf16", capsys.readouterr().err
    )


@pytest.mark.parametrize("seed", ["-1", str(2**53), "1.5"])
def test_a_seed_that_cannot_be_kept_is_refused(seed, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["finetune", "--seed", seed])
    assert "argument --seed" in capsys.readouterr().err


def test_download_fills_the_data_folder(capsys):
    assert main(["download", "Scenes", "bert.tiny"]) == 0
    for line in capsys.readouterr().out.splitlines():
        name, folder = line.split(": ", 1)
        assert name in d2l.DATA_HUB
        assert Path(folder).is_dir()


def test_a_former_name_of_a_corpus_is_taken(data_dir, capsys):
    bundled = d2l.download_extract("Scenes")
    assert main(["download", "SNLI-sample"]) == 0
    assert capsys.readouterr() == (f"SNLI-sample: {bundled}\n", "")
    assert main(["finetune", "--data", "SNLI-sample", "--pairs", "60", "--epochs", "1"]) == 0
    said = capsys.readouterr()
    assert "60 pairs of Scenes" in said.out and "SNLI-sample" not in said.out + said.err
    assert contents(data_dir / "classifiers") == ["bert.tiny-Scenes"]
    for name in ("SNLI-sample", "Scenes"):
        assert main(["predict", "A man eats.", "A man sleeps.", "--data", name]) == 0
        assert "bert.tiny-Scenes, fine-tuned on 60 pairs" in capsys.readouterr().err
        assert main(["evaluate", "--input", name]) == 1  # it has three files
        assert bundled in capsys.readouterr().err
    assert main(["check"]) == 0
    said = capsys.readouterr().out
    assert "Scenes: present" in said and "SNLI-sample" not in said


def test_a_classifier_of_the_corpus_with_the_former_name_is_only_listed(
    data_dir, net, vocab, capsys
):
    d2l.save_classifier(data_dir / "classifiers" / "bert.tiny-SNLI-sample", net, vocab)
    for name in ("SNLI-sample", "Scenes"):
        assert main(["predict", "a", "b", "--data", name]) == 1
        assert "bert.tiny-Scenes has no fine-tuned classifier" in capsys.readouterr().err
    assert main(["cache"]) == 0
    assert "classifiers/bert.tiny-SNLI-sample\n" in capsys.readouterr().out
    assert main(["cache", "--clear", "classifiers/bert.tiny-SNLI-sample"]) == 0
    assert contents(data_dir / "classifiers") == []


def test_help_reads_well(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "100")
    for command in ("", "finetune", "predict", "evaluate", "download", "cache", "check"):
        with pytest.raises(SystemExit, match="0"):
            main([*command.split(), "--help"])
        said = capsys.readouterr().out
        assert said.startswith("usage: python -m d2lnli")
        assert "None" not in said
        assert max(map(len, said.splitlines())) <= 100


def test_the_bundled_default_from_an_empty_data_folder(data_dir):
    run = subprocess.run(
        [sys.executable, "-m", "d2lnli", "finetune", "--pairs", "900", "--epochs", "1"],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert re.search(r"^loss \d\.\d{3}, train acc \d\.\d{3}, test acc \d\.\d{3}$", run.stdout, re.M)
    assert [path.name for path in data_dir.iterdir()] == ["classifiers"]
