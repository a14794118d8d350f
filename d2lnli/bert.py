"""BERT, as the book builds it: attention, encoder, pretraining heads, and a classifier on top.

A residual connection is followed by its norm, and positions are learned. The names of the
parameters are the book's, so its published checkpoints load into these modules. Where the original
BERT (Devlin et al., 2019) differs from the book's, `BERTConfig` has an option.
"""

import inspect
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .labels import checked_label_names, default_label_names

if TYPE_CHECKING:
    from .history import History


class TanhGELU(nn.GELU):
    """GELU, approximated with a hyperbolic tangent."""

    def __init__(self) -> None:
        super().__init__(approximate="tanh")


ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "gelu_tanh": TanhGELU}
"""The book uses the first one, the original BERT the second, and some later BERTs the third."""

HEADS = {
    "hidden": "the pooler",
    "mlm": "the masked-LM head",
    "nsp": "the next-sentence head",
}
"""The layers on top of the encoder. A checkpoint may lack some of them."""


@dataclass(frozen=True)
class BERTConfig:
    """The sizes of a BERT, and the options in which the original BERT differs from the book's.

    `embedding_norm` normalizes the sum of the embeddings. `tied_decoder` makes the masked-LM head
    end in the token embedding. `is_next` is the index of "yes" in the next-sentence logits.
    """

    vocab_size: int
    num_hiddens: int
    ffn_num_hiddens: int
    num_heads: int
    num_blks: int
    dropout: float
    max_len: int = 1000
    activation: str = "relu"
    embedding_norm: bool = False
    norm_eps: float = 1e-5
    tied_decoder: bool = False
    is_next: int = 1

    def __post_init__(self) -> None:
        if self.num_heads < 1 or self.num_hiddens % self.num_heads:
            raise ValueError(
                f"num_hiddens={self.num_hiddens} cannot be split into num_heads={self.num_heads} "
                "equal heads: take a number of heads that divides it"
            )
        if self.num_blks < 1:
            raise ValueError(f"num_blks={self.num_blks}: BERT has at least one block")
        if not 0 <= self.norm_eps < 1:
            raise ValueError(f"norm_eps={self.norm_eps}: use a small number, such as 1e-5")
        if self.activation not in ACTIVATIONS:
            names = " or ".join(ACTIVATIONS)
            raise ValueError(f"unknown activation {self.activation!r}: use {names}")

    @classmethod
    def of(cls, *sizes: Any, **options: Any) -> "BERTConfig":
        """Return the configuration that was given, either whole or size by size."""
        whole = len(sizes) == 1 and isinstance(sizes[0], cls) and not options
        return sizes[0] if whole else cls(*sizes, **options)

    def of_encoder(self) -> dict[str, Any]:
        """Return by name what the encoder depends on: all but the options of the heads."""
        heads = "tied_decoder", "is_next"
        return {name: value for name, value in asdict(self).items() if name not in heads}


class MultiHeadAttention(nn.Module):
    """Self-attention in several heads; (batch, length, hiddens) in and out."""

    def __init__(self, config: BERTConfig):
        super().__init__()
        self.num_heads = config.num_heads
        self.dropout = nn.Dropout(config.dropout)
        self.W_q = nn.Linear(config.num_hiddens, config.num_hiddens)
        self.W_k = nn.Linear(config.num_hiddens, config.num_hiddens)
        self.W_v = nn.Linear(config.num_hiddens, config.num_hiddens)
        self.W_o = nn.Linear(config.num_hiddens, config.num_hiddens)

    def forward(self, X: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend from every position to the positions where `mask` is True."""
        values = self.split_heads(self.W_v(X))
        Y = self.dropout(self.weights(X, mask)) @ values
        return self.W_o(Y.transpose(1, 2).flatten(2))

    def weights(self, X: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attention of each query to each key, (batch, heads, length, length); rows sum to 1."""
        queries, keys = self.split_heads(self.W_q(X)), self.split_heads(self.W_k(X))
        return masked_softmax(scale(queries) @ keys.mT, mask)

    def split_heads(self, X: Tensor) -> Tensor:
        """(batch, length, hiddens) in, (batch, heads, length, hiddens / heads) out."""
        return X.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


def scale(queries: Tensor) -> Tensor:
    """Divide by the square root of a head's size, so that scores do not grow with it."""
    return queries / math.sqrt(queries.shape[-1])


def masked_softmax(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Weights that sum to 1 over the keys where `mask` is True, and are zero elsewhere."""
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return scores.softmax(dim=-1)


class PositionWiseFFN(nn.Module):
    """Two linear layers with an activation between them, applied to each position by itself."""

    def __init__(self, config: BERTConfig):
        super().__init__()
        self.dense1 = nn.Linear(config.num_hiddens, config.ffn_num_hiddens)
        self.activation = ACTIVATIONS[config.activation]()
        self.dense2 = nn.Linear(config.ffn_num_hiddens, config.num_hiddens)

    def forward(self, X: Tensor) -> Tensor:
        """(…, hiddens) in and out."""
        return self.dense2(self.activation(self.dense1(X)))


class AddNorm(nn.Module):
    """A residual connection, then layer normalization."""

    def __init__(self, config: BERTConfig):
        super().__init__()
        self.dropout = nn.Dropout(config.dropout)
        self.ln = nn.LayerNorm(config.num_hiddens, config.norm_eps)

    def forward(self, X: Tensor, Y: Tensor) -> Tensor:
        """Add a layer's output Y to its input X, and normalize the sum."""
        return self.ln(self.dropout(Y) + X)


class TransformerEncoderBlock(nn.Module):
    """Self-attention and a position-wise network, each followed by add and norm."""

    def __init__(self, config: BERTConfig):
        super().__init__()
        self.attention = MultiHeadAttention(config)
        self.addnorm1 = AddNorm(config)
        self.ffn = PositionWiseFFN(config)
        self.addnorm2 = AddNorm(config)

    def forward(self, X: Tensor, mask: Tensor | None = None) -> Tensor:
        """(batch, length, hiddens) in and out."""
        Y = self.addnorm1(X, self.attention(X, mask))
        return self.addnorm2(Y, self.ffn(Y))


class BERTEncoder(nn.Module):
    """Token, segment and position embeddings, then the Transformer encoder blocks.

    It takes a `BERTConfig`, or the sizes in the order of its fields, as in the book.
    """

    def __init__(self, *sizes: Any, **options: Any):
        super().__init__()
        self.config = config = BERTConfig.of(*sizes, **options)
        self.token_embedding = nn.Embedding(config.vocab_size, config.num_hiddens)
        self.segment_embedding = nn.Embedding(2, config.num_hiddens)
        blks = (TransformerEncoderBlock(config) for _ in range(config.num_blks))
        self.blks: Any = nn.Sequential(*blks)  # its own type does not say what it holds
        self.pos_embedding = nn.Parameter(torch.randn(1, config.max_len, config.num_hiddens))
        self.embedding_norm = nn.Sequential()
        if config.embedding_norm:
            self.embedding_norm.append(nn.LayerNorm(config.num_hiddens, config.norm_eps))
            self.embedding_norm.append(nn.Dropout(config.dropout))

    def forward(self, tokens: Tensor, segments: Tensor, valid_lens: Tensor | None = None) -> Tensor:
        """Encode (batch, length) ids as (batch, length, hiddens).

        Keys at and after `valid_lens` (batch,) get a weight of exactly zero.
        """
        X, mask = self.embed(tokens, segments), self.key_mask(tokens, valid_lens)
        for blk in self.blks:
            X = blk(X, mask)
        return X

    def embed(self, tokens: Tensor, segments: Tensor) -> Tensor:
        """Add the token, segment and position embeddings."""
        length, max_len = tokens.shape[1], self.pos_embedding.shape[1]
        if length > max_len:
            raise ValueError(
                f"the input has {length} tokens but the model has {max_len} positions: "
                f"build the dataset with max_len={max_len} or less"
            )
        X = self.token_embedding(tokens) + self.embed_segments(segments)
        return self.embedding_norm(X + self.pos_embedding[:, :length])

    def embed_segments(self, segments: Tensor) -> Tensor:
        """Return the embedding of each token's segment."""
        return self.segment_embedding(segments)

    def key_mask(self, tokens: Tensor, valid_lens: Tensor | None) -> Tensor | None:
        """True where a key may be attended to, (batch, 1, 1, length); None: everywhere."""
        if valid_lens is None:
            return None
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        return (positions < valid_lens[:, None])[:, None, None, :]

    def attention_weights(
        self, tokens: Tensor, segments: Tensor, valid_lens: Tensor | None = None
    ) -> Tensor:
        """Return the attention weights, (blocks, batch, heads, length, length)."""
        X, mask = self.embed(tokens, segments), self.key_mask(tokens, valid_lens)
        weights = []
        for blk in self.blks:
            weights.append(blk.attention.weights(X, mask))
            X = blk(X, mask)
        return torch.stack(weights)


class MaskLM(nn.Module):
    """The masked-language-model head, which predicts the word at each of the given positions."""

    def __init__(self, config: BERTConfig):
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(config.num_hiddens, config.num_hiddens),
            ACTIVATIONS[config.activation](),
            nn.LayerNorm(config.num_hiddens, config.norm_eps),
            nn.Linear(config.num_hiddens, config.vocab_size),
        )

    def forward(self, X: Tensor, pred_positions: Tensor) -> Tensor:
        """Logits (batch, positions, words) for `pred_positions` (batch, positions)."""
        rows = torch.arange(X.shape[0], device=X.device)[:, None]
        return self.mlp(X[rows, pred_positions])


class NextSentencePred(nn.Module):
    """The next-sentence head, which predicts whether the second segment follows the first."""

    def __init__(self, config: BERTConfig):
        super().__init__()
        self.is_next = config.is_next
        self.output = nn.Linear(config.num_hiddens, 2)

    def forward(self, X: Tensor) -> Tensor:
        """Logits (batch, 2) of the pooled `<cls>`."""
        return self.output(X)


class BERTModel(nn.Module):
    """BERT with both of its pretraining heads.

    It takes a `BERTConfig`, or the sizes in the order of its fields, as in the book. `new_heads`
    names the heads that the checkpoint lacked. They are random, so only training may use them.
    """

    def __init__(self, *sizes: Any, **options: Any):
        super().__init__()
        self.config = config = BERTConfig.of(*sizes, **options)
        self.encoder = BERTEncoder(config)
        pooler = nn.Linear(config.num_hiddens, config.num_hiddens)
        self.hidden: Any = nn.Sequential(pooler, nn.Tanh())
        self.mlm = MaskLM(config)
        self.nsp = NextSentencePred(config)
        self.new_heads: tuple[str, ...] = ()
        self.tie()

    def forward(
        self,
        tokens: Tensor,
        segments: Tensor,
        valid_lens: Tensor | None = None,
        pred_positions: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Return (encoded, masked-LM logits or None, next-sentence logits)."""
        encoded, mlm_Y_hat = self.encoder(tokens, segments, valid_lens), None
        self.move_heads(encoded.device)
        if pred_positions is not None:
            self.require("mlm")
            mlm_Y_hat = self.mlm(encoded, pred_positions)
        return encoded, mlm_Y_hat, self.nsp(self.hidden(encoded[:, 0]))

    def tie(self) -> None:
        """Make the decoder's weight and the token embedding one tensor, if the config says so."""
        if self.config.tied_decoder:
            self.mlm.mlp[3].weight = self.encoder.token_embedding.weight

    @torch.inference_mode(False)  # so that the heads can be trained after they were moved
    def move_heads(self, device: torch.device) -> None:
        """Move the heads after the encoder, which a classifier takes along when it is moved."""
        for head in HEADS:
            self.get_submodule(head).to(device)

    def require(self, head: str) -> None:
        """Raise ValueError if the checkpoint lacked a head that is used outside training."""
        if head in self.new_heads and not self.training:
            raise ValueError(
                f"this checkpoint came without {HEADS[head]}, so its outputs would be random: "
                "load one that was saved with its pretraining heads, or fine-tune this one"
            )


# what an editor shows of a call
BERTModel.__signature__ = BERTEncoder.__signature__ = inspect.signature(BERTConfig)  # type: ignore[attr-defined]


class BERTClassifier(nn.Module):
    """A linear layer on BERT's pooled `<cls>`; it shares the encoder with `bert`.

    `label_names` gives the names of its classes, which are `LABELS` if there are three.
    `history` is the record of the training that its weights come from, if it is known.
    """

    def __init__(
        self, bert: BERTModel, num_classes: int = 3, label_names: Sequence[str] | None = None
    ):
        super().__init__()
        names = default_label_names(num_classes) if label_names is None else label_names
        self.label_names = checked_label_names(names, num_classes)
        self.history: History | None = None
        self.encoder = bert.encoder
        self.hidden = bert.hidden
        pooler = bert.hidden[0].weight
        self.output = nn.Linear(pooler.shape[0], num_classes, device=pooler.device)

    def forward(self, inputs: list[Tensor]) -> Tensor:
        """Logits (batch, classes) for `[tokens, segments, valid_lens]`."""
        encoded = self.encoder(*inputs)
        return self.output(self.hidden(encoded[:, 0]))


def unwrapped(net: nn.Module) -> Any:
    """Return the network inside the wrappers of torch.compile, DataParallel and DDP."""
    while True:
        if "_orig_mod" in net._modules:
            net = net.get_submodule("_orig_mod")
        elif isinstance(net, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            net = net.module
        else:
            return net


def label_names_of(net: nn.Module) -> tuple[str, ...]:
    """Return the names of a classifier's classes, in the order of its outputs.

    The last linear layer of `net.output`, which may be a head of its own, has one output for each.
    """
    inside = unwrapped(net)
    names, layers = getattr(inside, "label_names", None), inside.output.modules()
    sizes = [layer.out_features for layer in layers if hasattr(layer, "out_features")]
    if not (sizes or names):
        raise ValueError(
            f"{type(inside).__name__}.output has no linear layer that shows the number of classes: "
            "set net.label_names to their names"
        )
    num_classes = sizes[-1] if sizes else None
    return checked_label_names(names or default_label_names(sizes[-1]), num_classes)
