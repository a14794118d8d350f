"""What transformers makes of the same files: `python transformers_side.py FOLDER`.

It runs in an environment that has transformers, in one process, because the import is slow. It
reads `FOLDER/asked.json`, and answers in `FOLDER/answers.json`.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    pipeline,
)
from transformers.utils import logging

logging.disable_progress_bar()
logging.set_verbosity_error()


def encode(tokenizer, pairs, length):
    """Return the encoding of each pair by itself, so that none is padded."""
    return [
        tokenizer(*pair, truncation=True, max_length=length, return_tensors="pt") for pair in pairs
    ]


def ids_of(encoded):
    return [
        {name: x[name][0].tolist() for name in ("input_ids", "token_type_ids")} for x in encoded
    ]


@torch.no_grad()
def exported(folder, pairs):
    """Load what d2lnli exported, as its model card says, and classify the pairs."""
    net, info = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoded = encode(tokenizer, pairs, None)  # the length is the tokenizer's
    classify = pipeline("text-classification", model=str(folder))
    texts = [{"text": first, "text_pair": second} for first, second in pairs]
    return {
        "not loaded": [name for names in info.values() for name in names],
        "id2label": net.config.id2label,
        "ids": ids_of(encoded),
        "logits": [net(**x).logits[0].tolist() for x in encoded],
        "pipeline": [classify(text, truncation=True) for text in texts],
        "decoded": tokenizer.decode(encoded[0]["input_ids"][0], skip_special_tokens=True),
        "special": tokenizer.special_tokens_map,
    }


@torch.no_grad()
def checkpoint(folder, pairs):
    """Load a BERT and its tokenizer, and encode the pairs."""
    net, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    encoded = encode(tokenizer, pairs, net.config.max_position_embeddings)
    return {
        "ids": ids_of(encoded),
        "hidden": [net(**x).last_hidden_state[0].tolist() for x in encoded],
    }


@torch.no_grad()
def made(folder, pairs, tokenizer, sizes, saved):
    """Make a classifier with random weights, save it, and classify the pairs."""
    torch.manual_seed(0)
    net = BertForSequenceClassification(BertConfig(**sizes)).eval()
    for parameter in net.parameters():
        parameter += torch.randn_like(parameter) / 3
    net.save_pretrained(folder, **saved)
    tokenizer.save_pretrained(folder)
    encoded = encode(tokenizer, pairs, net.config.max_position_embeddings)
    return {
        "names": list(net.config.id2label.values()),
        "probabilities": [net(**x).logits[0].softmax(dim=0).tolist() for x in encoded],
    }


def main(folder):
    asked = json.loads((folder / "asked.json").read_text(encoding="utf-8"))
    pairs = asked["pairs"]
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    answers = {"exported": {}, "checkpoints": {}, "made": {}}
    for name in asked["exported"]:
        answers["exported"][name] = exported(folder / "exported" / name, pairs)
    for name in asked["checkpoints"]:
        answers["checkpoints"][name] = checkpoint(folder / "checkpoints" / name, pairs)
    for name, how in asked["made"].items():
        answers["made"][name] = made(folder / "made" / name, pairs, tokenizer, **how)
    (folder / "answers.json").write_text(json.dumps(answers), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
