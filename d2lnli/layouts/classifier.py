"""Fine-tuned classifiers: Hugging Face's BertForSequenceClassification, and the encoder of ours."""

import re
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from ..bert import BERTClassifier
from ..labels import LABELS, TWO_LABELS, checked_label_names, usual_name
from ..store.classifiers import classifier_config, read_classifier
from ..vocab import Vocab
from .building import build
from .checkpoint import Checkpoint
from .huggingface import HEAD, OF_CLASSIFIER, SIZES, read_config, read_hugging_face
from .weights import fault_of

_MEANINGLESS = re.compile(r"(?i)(label|class)?[ _-]?\d+")
CLASS = "BertForSequenceClassification"


def read_encoder(folder: Path) -> Checkpoint:
    """Read the encoder and the pooler of a classifier that `save_classifier` wrote."""
    path, net, vocab = read_classifier(folder)
    config = classifier_config(net)
    tensors = {
        name: tensor
        for name, tensor in net.state_dict().items()
        if name.startswith(("encoder.", "hidden."))
    }
    return Checkpoint(
        path,
        tensors,
        (),
        {name: config[name] for name in SIZES},
        {name: config[name] for name in ("activation", "embedding_norm", "norm_eps")},
        vocab,
        path,
        path.name,
        notes=(OF_CLASSIFIER,),
    )


def read_hugging_face_classifier(
    folder: Path, label_names: Sequence[str] | None
) -> tuple[BERTClassifier, Vocab, list[str]]:
    """Return the classifier in a folder, its vocabulary, and lines that a person should read.

    Classes that are `LABELS` or `TWO_LABELS` are put in their order. Raises ValueError if the
    folder has no such classifier, or if neither it nor `label_names` says what its classes mean.
    """
    config, config_path = read_config(folder)
    _check_task(config, config_path)
    checkpoint = read_hugging_face(folder)
    if not {*HEAD} <= checkpoint.left_out.keys():
        raise ValueError(
            f"{checkpoint.path} has no classifier ({' and '.join(HEAD)} are missing): fine-tune it "
            "first, with load_pretrained_model and finetune"
        )
    weight, bias = (checkpoint.left_out[name] for name in HEAD)
    bert = build(checkpoint, {checkpoint.sizes_in: checkpoint.sizes}, _dropout(config, config_path))
    if "hidden" in bert.new_heads or weight.shape[1:] != (bert.config.num_hiddens,):
        raise ValueError(
            f"{checkpoint.path}: its classifier does not read the pooled [CLS] of this BERT, as "
            f"that of {CLASS} does: choose another checkpoint"
        )
    shapes = weight.shape, weight.shape[:1]
    for name, tensor, shape in zip(HEAD, (weight, bias), shapes, strict=True):
        if fault := fault_of(name, tensor, shape):
            raise ValueError(f"{checkpoint.path}: {fault}: fetch it again")
    names = _label_names(config, config_path, len(weight), label_names)
    net = BERTClassifier(bert, len(names), names)
    order = list(range(len(names)))
    notes = [note for note in checkpoint.notes if note != OF_CLASSIFIER]
    for usual in (LABELS, TWO_LABELS):
        if usual != names and {*usual} == {*names}:
            notes.append(f"its classes, {', '.join(names)}, are put in the order of {usual}")
            net.label_names, order = usual, [names.index(name) for name in usual]
    net.output.weight, net.output.bias = (nn.Parameter(x.float()[order]) for x in (weight, bias))
    return net.eval(), checkpoint.vocab, notes


def _check_task(config: dict, path: Path) -> None:
    """Raise ValueError if a configuration is that of a model for another task."""
    made_for = config.get("architectures") or [CLASS]
    task = config.get("problem_type") or "single_label_classification"
    if CLASS not in made_for or task != "single_label_classification":
        raise ValueError(
            f"{path}: the model is a {', '.join(map(str, made_for))} for {task}, not a {CLASS} "
            "that chooses one of several classes: choose another, or load its encoder with "
            "load_pretrained_model"
        )


def _dropout(config: dict, path: Path) -> float:
    dropout = config.get("hidden_dropout_prob", 0.1)
    if type(dropout) not in (int, float) or not 0 <= dropout <= 1:
        raise ValueError(f"{path}: hidden_dropout_prob is {dropout!r}, not between 0 and 1")
    return dropout


def _label_names(
    config: dict, path: Path, num_classes: int, given: Sequence[str] | None
) -> tuple[str, ...]:
    """Return the names of the classes in the order of the outputs, in the usual spelling."""
    listed = config.get("id2label") or {i: f"LABEL_{i}" for i in range(num_classes)}
    ids = {str(i): i for i in range(num_classes)}
    if num_classes < 2 or not isinstance(listed, dict) or {*map(str, listed)} != {*ids}:
        raise ValueError(
            f"{path}: id2label names the classes {listed}, but the classifier has {num_classes} "
            "outputs; it needs at least two, and a name for each: choose another checkpoint"
        )
    by_id = {str(i): name for i, name in listed.items()}
    names = checked_label_names([by_id[i] for i in ids], num_classes)
    if given is not None:
        given = checked_label_names(given, num_classes)
    if any(_MEANINGLESS.fullmatch(name.strip()) for name in names):
        if given is None:
            raise ValueError(
                f"{path} calls the classes {', '.join(names)}, and which of them is entailment "
                "differs between models: read the model's card, and name the classes in the order "
                "of these numbers, load_classifier(…, label_names=[…])"
            )
        return _usual_names(given)
    other = config.get("label2id") or {}
    stale = isinstance(other, dict) and {*other} == {*names}
    if stale and any(str(other[name]) != i for i, name in zip(ids, names, strict=True)):
        raise ValueError(f"{path}: id2label and label2id contradict each other: correct one")
    usual = checked_label_names(_usual_names(names), num_classes)
    if given is not None and _usual_names(given) != usual:
        raise ValueError(
            f"{path}: the classes are {', '.join(names)}, not {', '.join(given)}: leave "
            "label_names out"
        )
    return usual


def _usual_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return names in the usual spelling if all are ours: `c` is no contradiction among a to d."""
    usual = tuple(map(usual_name, names))
    return usual if {*usual} <= {*LABELS, *TWO_LABELS} else names
