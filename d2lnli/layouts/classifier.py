"""Fine-tuned classifiers: Hugging Face's BertForSequenceClassification, and the encoder of ours."""

import re
import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..bert import BERTClassifier, BERTModel
from ..labels import LABELS, TWO_LABELS, checked_label_names, usual_names
from ..store.classifiers import classifier_config, read_classifier
from ..vocab import Vocab
from .building import build
from .checkpoint import Checkpoint
from .huggingface import EXPORTED, HEAD, OF_CLASSIFIER, SIZES, read_config, read_hugging_face
from .weights import check_floats

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
    bert = build(checkpoint, {checkpoint.sizes_in: checkpoint.sizes}, _dropout(config, config_path))
    weight, bias = _output_layer(checkpoint, bert)
    names = _label_names(config, config_path, len(weight), label_names)
    order, notes = names, [note for note in checkpoint.notes if note != OF_CLASSIFIER]
    for usual in (LABELS, TWO_LABELS):
        if usual != names and {*usual} == {*names}:
            notes.append(f"its classes, {', '.join(names)}, are put in the order of {usual}")
            order = usual
    net = BERTClassifier(bert, len(order), order)
    rows = [names.index(name) for name in order]
    net.output.weight, net.output.bias = (nn.Parameter(x.float()[rows]) for x in (weight, bias))
    return net.eval(), checkpoint.vocab, notes


def _check_task(config: dict, path: Path) -> None:
    """Raise ValueError if a configuration is that of a model for another task."""
    made_for = config.get("architectures") or [CLASS]
    task = config.get("problem_type") or "single_label_classification"
    is_list = isinstance(made_for, list)
    if not is_list or CLASS not in made_for or task != "single_label_classification":
        raise ValueError(
            f"{path}: the model is made for {_few(made_for)}, {_few(task)}, not a {CLASS} that "
            "chooses one of several classes: choose another, or load its encoder with "
            "load_pretrained_model"
        )


def _dropout(config: dict, path: Path) -> float:
    dropout = config.get("hidden_dropout_prob", 0.1)
    if type(dropout) not in (int, float) or not 0 <= dropout <= 1:
        raise ValueError(f"{path}: hidden_dropout_prob is {dropout!r}, not between 0 and 1")
    return dropout


def _output_layer(checkpoint: Checkpoint, bert: BERTModel) -> tuple[Tensor, Tensor]:
    """Return the weight and the bias of a linear layer on the pooler; ValueError without one."""
    if not {*HEAD} <= checkpoint.left_out.keys():
        raise ValueError(
            f"{checkpoint.path} has no classifier ({' and '.join(HEAD)} are missing): fine-tune it "
            "first, with load_pretrained_model and finetune"
        )
    weight, bias = (checkpoint.left_out[name] for name in HEAD)
    if "hidden" in bert.new_heads or weight.shape[1:] != (bert.config.num_hiddens,):
        raise ValueError(
            f"{checkpoint.path}: its classifier does not read the pooled [CLS] of this BERT, as "
            f"that of {CLASS} does: choose another checkpoint"
        )
    if bias.shape != weight.shape[:1]:
        raise ValueError(
            f"{checkpoint.path}: {HEAD[1]} is {tuple(bias.shape)}, not {tuple(weight.shape[:1])}: "
            "fetch it again"
        )
    for name in HEAD:
        check_floats(name, checkpoint.left_out[name], checkpoint.path)
    return weight, bias


def _label_names(
    config: dict, path: Path, num_classes: int, given: Sequence[str] | None
) -> tuple[str, ...]:
    """Return the names of the classes in the order of the outputs, in the usual spelling."""
    names = _id2label(config, path, num_classes)
    if given is not None:
        given = usual_names(checked_label_names(given, num_classes))
    is_ours = config.get(EXPORTED)  # then `class 0` is a name that somebody has chosen
    if not is_ours and any(_MEANINGLESS.fullmatch(name.strip()) for name in names):
        if given is None:
            raise ValueError(
                f"{path} calls the classes {_few(names)}, and which of them is entailment differs "
                "between models: read the model's card, and name the classes in the order of these "
                "numbers, load_classifier(…, label_names=[…])"
            )
        return given
    if given not in (None, names):
        raise ValueError(
            f"{path}: the classes are {_few(names)}, not {_few(given)}: leave label_names out"
        )
    return names


def _id2label(config: dict, path: Path, num_classes: int) -> tuple[str, ...]:
    """Return the names in a configuration; ValueError if they do not fit the outputs."""
    ids = [str(i) for i in range(num_classes)]
    listed = config.get("id2label") or {i: f"LABEL_{i}" for i in ids}
    if num_classes < 2 or not isinstance(listed, dict) or {*listed} != {*ids}:
        raise ValueError(
            f"{path}: id2label names the classes {_few(listed)}, but the classifier has "
            f"{num_classes} outputs; it needs at least two, and a name for each: choose another "
            "checkpoint"
        )
    try:
        names = checked_label_names([listed[i] for i in ids])
    except ValueError as error:
        raise ValueError(f"{path}: id2label is not valid: {error}") from error
    found: Any = config.get("label2id")
    numbers = found if isinstance(found, dict) and {*found} == {*names} else {}  # or a leftover
    if numbers and [str(numbers[name]) for name in names] != ids:
        raise ValueError(f"{path}: id2label and label2id contradict each other: correct one")
    return usual_names(names)


def _few(names: object) -> str:
    """Return names for a message, which a file could make very long."""
    return reprlib.repr(names)
