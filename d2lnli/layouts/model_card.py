"""The model card of an exported classifier: what it does, how it was trained, how good it is."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..history import History

_BASES = {"minilm": ("sentence-transformers/all-MiniLM-L6-v2", "apache-2.0")}
"""Name -> (repository on Hugging Face's hub, licence)."""

_USE = """\
```python
from transformers import pipeline

classifier = pipeline("text-classification", model={name!r})
pair = {{"text": "A man is sleeping.", "text_pair": "Nobody is awake."}}
print(classifier(pair, top_k=None))
```"""


def model_card(
    name: str,
    label_names: tuple[str, ...],
    history: History | None,
    evaluations: Mapping[str, Any],
) -> str:
    """Return the text of `README.md`; it claims nothing that is not known."""
    made_of = history.made_of if history else {}
    base, licence = _base_and_licence(str(made_of.get("model", "")))
    sections = (
        ("---", *_metadata(base, licence), "---"),
        (f"# {_in_cell(name)}",),
        (
            "A BERT that was fine-tuned with d2lnli for natural language inference. It takes a "
            f"premise and a hypothesis, and chooses one of {_in_cell(', '.join(label_names))}.",
        ),
        ("## Use",),
        (_USE.format(name=name),),
        ("## Training",),
        (*_training(history, base),),
        ("## Accuracy",),
        (*_accuracy(history, evaluations),),
        ("## Licence",),
        (_licence(base, licence),),
    )
    return "\n\n".join("\n".join(lines) for lines in sections) + "\n"


def _base_and_licence(model: str) -> tuple[str, str]:
    """Return the repository of the base model, and its licence; empty if unknown."""
    if found := re.fullmatch(r"hf:(\w[\w.-]*/\w[\w.-]*)(@.*)?", model):
        return found[1], ""
    return _BASES.get(model, ("", ""))


def _metadata(base: str, licence: str) -> Iterator[str]:
    yield "library_name: transformers"
    yield "pipeline_tag: text-classification"
    yield "tags: [natural-language-inference]"
    yield f"license: {licence or 'unknown'}"
    if base:
        yield f"base_model: {base}"


def _training(history: History | None, base: str) -> Iterator[str]:
    if history is None:
        yield "How it was trained was not recorded."
        return
    made_of = dict(history.made_of)
    model = made_of.pop("model", None)
    facts = {
        "base model": base or model,
        "corpus": made_of.pop("corpus", None),
        "pairs": made_of.pop("pairs", None),
        "epochs done": f"{history.epoch:g}",
        **{name: value for name, value in made_of.items() if "checksum" not in name},
        "precision": history.precision,
    }
    yield "| setting | value |"
    yield "|---|---|"
    for name, value in facts.items():
        if value not in (None, ""):
            yield f"| {_in_cell(name)} | {_in_cell(value)} |"
    if history.interrupted:
        yield "\nThe training was interrupted."


def _in_cell(value: Any) -> str:
    """Return a text that stays within its cell."""
    return " ".join(str(value).replace("|", "\\|").split())


def _accuracy(history: History | None, evaluations: Mapping[str, Any]) -> Iterator[str]:
    for what, evaluation in evaluations.items():
        yield f"- {_in_cell(what)}: {evaluation}"
    if history and not math.isnan(accuracy := history.kept("dev_acc")):
        yield f"- Dev split, measured during the training: accuracy {accuracy:.3f}"
    elif not evaluations:
        yield "It was not measured."


def _licence(base: str, licence: str) -> str:
    if licence:
        return f"The base model {base} has the licence {licence}. The data may have another one."
    where = f"https://huggingface.co/{base} states" if base else "its authors state"
    return f"The licence of the base model holds for this one, too: {where} it."
