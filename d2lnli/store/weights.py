"""Which files of a folder hold a model's weights: one, shards with an index, or none of use."""

import re
from collections.abc import Iterable
from pathlib import Path

from .files import existing, read_json

SAFETENSORS, TORCH = "model.safetensors", "pytorch_model.bin"
INDEX = ".index.json"
WEIGHTS = (SAFETENSORS, SAFETENSORS + INDEX, TORCH, TORCH + INDEX)
"""File names, the preferred one first. An index names the shard that holds each tensor."""
ADAPTER = "adapter_config.json"

_SHARD = re.compile(r"[^/\\\0]+\.(safetensors|bin)")
MERGE = "merge it into its model with peft (merge_and_unload), and save that (save_pretrained)"
UNQUANTIZED = "take the model's weights from before it was quantized"
_CONVERT = (
    "convert them once, for example with transformers 4: BertForPreTraining.from_pretrained(…, "
    "from_{}=True).save_pretrained(FOLDER)"
)
_UNREADABLE = (
    (r"adapter_.*|.*\.adapter_.*", "an adapter, which is not a whole model", MERGE),
    (
        r"tf_model.*\.h5|.*\.ckpt\.(index|meta|data.*)",
        "weights for TensorFlow",
        _CONVERT.format("tf"),
    ),
    (r"flax_model.*", "weights for Flax", _CONVERT.format("flax")),
    (
        r".*\.(onnx|gguf|ggml|ot|pb|mlmodel|mlpackage|tflite|xml|h5|msgpack)",
        "weights for another program",
        f"take the model's {SAFETENSORS} or {TORCH}",
    ),
)


def find_weights(folder: Path) -> Path:
    """Return the file of weights, or the index of its shards, in Hugging Face's layout.

    Raises FileNotFoundError, or ValueError that says what the folder holds instead.
    """
    if (folder / ADAPTER).is_file():
        raise unreadable(folder, [ADAPTER])
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    names = sorted(path.name for path in folder.iterdir())
    if shards := [name for name in names if re.search(r"-\d+-of-\d+\.(safetensors|bin)$", name)]:
        whole = SAFETENSORS if shards[0].endswith("safetensors") else TORCH
        raise FileNotFoundError(
            f"{folder} has shards, such as {shards[0]}, but not their index {whole}{INDEX}: "
            "fetch it, too"
        )
    if is_unreadable(names):
        raise unreadable(folder, names)
    return existing(folder / SAFETENSORS)


def shards_of(index: Path) -> dict[str, list[str]]:
    """Return the shards that an index names, each with the names of its tensors.

    Raises ValueError if a shard is not a file in the folder of the index.
    """
    places = read_json(index, dict).get("weight_map")
    shards: dict[str, list[str]] = {}
    for tensor, file in places.items() if isinstance(places, dict) else ():
        if not isinstance(file, str) or not _SHARD.fullmatch(file):
            raise ValueError(
                f"{index}: {tensor} is in {file!r}, which is not the name of a shard in the same "
                "folder: fetch the index again"
            )
        shards.setdefault(file, []).append(tensor)
    if not shards:
        raise ValueError(f"{index} names no tensors (weight_map): fetch it again")
    return shards


def missing_shards(weights: Path) -> list[str]:
    """Return the shards that a file of weights needs and that are not beside it."""
    if not weights.name.endswith(INDEX):
        return []
    return [name for name in shards_of(weights) if not (weights.parent / name).is_file()]


def is_unreadable(names: Iterable[str]) -> bool:
    """Return whether there are weights among some file names, but none that can be read."""
    return any(re.fullmatch(pattern, name) for name in names for pattern, *_ in _UNREADABLE)


def unreadable(where: object, names: Iterable[str]) -> ValueError:
    """Return the error that says what a folder holds in place of weights, and the way out."""
    for pattern, what, way_out in _UNREADABLE:
        if found := [name for name in names if re.fullmatch(pattern, name)]:
            return ValueError(f"{where} has {what} ({found[0]}): {way_out}")
    return ValueError(f"{where} has neither {SAFETENSORS} nor {TORCH}: choose another checkpoint")
