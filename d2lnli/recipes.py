"""Settings with which each model is fine-tuned, unless told otherwise."""

import os

BOOK_RECIPE = dict(
    lr=1e-4, num_epochs=5, batch_size=512, schedule="constant", warmup=0.0, clip=None
)
"""The chapter's, for `bert.small`."""

TINY_RECIPE = dict(lr=1e-3, num_epochs=4, batch_size=64, schedule="linear", warmup=0.1, clip=None)
"""Found on the dev split of `SNLI-sample`."""

BASE_RECIPE = dict(lr=3e-5, num_epochs=3, batch_size=32, schedule="linear", warmup=0.1, clip=1.0)
"""What BERT's authors did with twelve blocks: Devlin et al. (2019), appendix A.3."""

MINILM_RECIPE = dict(lr=1e-4, num_epochs=4, batch_size=32, schedule="linear", warmup=0.06, clip=1.0)
"""For few real pairs, such as some thousand of SNLI."""

_RECIPES = {
    "bert.tiny": TINY_RECIPE,
    "bert.base": BASE_RECIPE,
    "bert.base.mxnet": BASE_RECIPE,
    "minilm": MINILM_RECIPE,
}


def recipe(model: str | os.PathLike) -> dict:
    """Return settings for `finetune`: those that suit a model by its name, else the book's."""
    default = BASE_RECIPE if str(model).startswith("hf:") else BOOK_RECIPE
    return dict(_RECIPES.get(str(model), default))
