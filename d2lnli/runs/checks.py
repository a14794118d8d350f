"""What must fit before a network is trained or used on some pairs."""

import torch
from torch import nn
from torch.utils.data import DataLoader

from ..bert import BERTEncoder, label_names_of, unwrapped
from ..dataset import SNLIBERTDataset, TokenPairs, as_pairs
from ..labels import default_label_names
from ..recipes import Recipe


def max_positions(net: nn.Module) -> int:
    """Return the length of the longest input that a network can take."""
    return unwrapped(net).encoder.config.max_len


def check_fits(net: nn.Module, pairs: TokenPairs) -> None:
    """Raise ValueError if a network cannot take a dataset's ids, positions or labels."""
    inside = unwrapped(net)
    if not (
        isinstance(getattr(inside, "encoder", None), BERTEncoder) and hasattr(inside, "output")
    ):
        raise ValueError(
            f"{type(inside).__name__} is not a classifier, because it has no BERTEncoder `encoder` "
            "or no layer `output`: use a BERTClassifier"
        )
    words, positions = inside.encoder.config.vocab_size, max_positions(net)
    if len(pairs.vocab) != words:
        raise ValueError(
            f"the dataset's vocabulary has {len(pairs.vocab)} words, but the model's embedding has "
            f"{words}: build the dataset with the vocabulary that came with the model"
        )
    if pairs.max_len > positions:
        raise ValueError(
            f"the dataset has max_len={pairs.max_len}, but the model has {positions} positions: "
            f"build it with max_len={positions} or less"
        )
    num_classes, labels = len(label_names_of(net)), getattr(pairs, "labels", torch.zeros(1))
    if not 0 <= labels.min() <= labels.max() < num_classes:
        raise ValueError(
            f"the labels run from {labels.min():.0f} to {labels.max():.0f}, but the model has "
            f"{num_classes} classes, numbered from 0: build it with as many classes"
        )
    if isinstance(pairs, SNLIBERTDataset):
        _check_label_names(label_names_of(net), pairs)


def _check_label_names(names: tuple[str, ...], dataset: SNLIBERTDataset) -> None:
    """Raise ValueError if a label id has one name in the network and another in the dataset."""
    names_of_dataset = dataset.label_names or default_label_names(len(names))
    if names_of_dataset != names:
        raise ValueError(
            f"the network has the classes {names}, but the dataset has {names_of_dataset}: "
            "give the same label_names to BERTClassifier and to SNLIBERTDataset, in the order of "
            "the dataset's label ids"
        )


def checked_sets(
    net: nn.Module,
    train_set: SNLIBERTDataset,
    dev_set: SNLIBERTDataset | None,
    recipe: Recipe,
) -> tuple[SNLIBERTDataset, SNLIBERTDataset | None]:
    """Return the datasets; ValueError if a network cannot be fine-tuned on them."""
    if dev_set is None and (recipe.keep == "best" or recipe.patience is not None):
        raise ValueError(
            f"keep={recipe.keep!r}, patience={recipe.patience}: give a dev_set, which shows how "
            "good an epoch was"
        )
    check_learns(net)
    train_set = as_pairs(train_set)
    check_fits(net, train_set)
    if dev_set is not None:
        dev_set = as_pairs(dev_set)
        check_fits(net, dev_set)
    return train_set, dev_set


def check_learns(net: nn.Module) -> None:
    """Raise ValueError if every parameter is frozen."""
    if not any(parameter.requires_grad for parameter in net.parameters()):
        raise ValueError(
            "every parameter is frozen, so there is nothing to train: unfreeze a part, such as "
            "net.output.requires_grad_(True), or all, net.requires_grad_(True)"
        )


def num_batches(batches: DataLoader) -> int:
    """Return how many minibatches there are; ValueError if there are none, or nobody knows."""
    try:
        if not len(batches):
            raise ValueError("there are no minibatches: take a smaller batch_size")
        return len(batches)
    except TypeError as error:
        raise ValueError(f"the minibatches have no length ({error}): give a DataLoader") from error
