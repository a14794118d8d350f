"""BERT, as the book builds it: the encoder, the pretraining heads, and a classifier on top.

Post-norm blocks, learnable positions. The names of the parameters are the book's, so its published
checkpoints load into these modules. Where the original BERT differs from the book's (Devlin et al.,
2019), there is an option, whose default is the book's.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .corpora import checked_label_names, default_label_names

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU}
"""The book's, and the original BERT's: x times the normal distribution's share below x."""

HEADS = {
    "hidden": "the pooler",
    "mlm": "the masked-LM head",
    "nsp": "the next-sentence head",
}
"""What stands on the encoder, and may be missing from a checkpoint."""


class Dropout(nn.Dropout):
    """Dropout as torch has it; on a CPU, 16 random bits decide on a number, not a float of its own.

    torch draws one float after another there, which took longer than the matrix products. The
    chance `p` is thus rounded to a multiple of 1/65,536, and what is kept is scaled accordingly.
    """

    def forward(self, X: Tensor) -> Tensor:
        """Zero each number of X with chance `p` and scale the others, in training only."""
        dropped = round(self.p * 2**16)
        ours = self.training and X.is_cpu and not torch.compiler.is_compiling()
        if not ours or dropped in (0, 2**16):
            return super().forward(X)
        kept = random_int16(X.shape) >= dropped - 2**15
        return X * kept.to(X.dtype).mul_(2**16 / (2**16 - dropped))


def random_int16(shape: torch.Size) -> Tensor:
    """Uniform random integers that follow torch's seed, from numpy's fastest bit generator."""
    seed = int(torch.randint(2**63 - 1, ()))
    size = math.prod(shape)
    bits = np.random.SFC64(seed).random_raw(-(-size // 4))
    return torch.from_numpy(bits.view(np.int16)[:size]).view(shape)


class MultiHeadAttention(nn.Module):
    """Self-attention in `num_heads` heads; (batch, length, hiddens) in and out."""

    def __init__(self, num_hiddens: int, num_heads: int, dropout: float):
        super().__init__()
        if num_heads < 1 or num_hiddens % num_heads:
            raise ValueError(
                f"num_hiddens={num_hiddens} cannot be split into num_heads={num_heads} equal heads"
            )
        self.num_heads = num_heads
        self.dropout = Dropout(dropout)
        self.W_q = nn.Linear(num_hiddens, num_hiddens)
        self.W_k = nn.Linear(num_hiddens, num_hiddens)
        self.W_v = nn.Linear(num_hiddens, num_hiddens)
        self.W_o = nn.Linear(num_hiddens, num_hiddens)

    def project(self, X: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (batch, heads, length, hiddens / heads)."""
        layers = (self.W_q, self.W_k, self.W_v)  # one matrix product is faster than three
        weight, bias = torch.cat([W.weight for W in layers]), torch.cat([W.bias for W in layers])
        heads = F.linear(X, weight, bias).unflatten(-1, (3, self.num_heads, -1))
        return heads.permute(2, 0, 3, 1, 4).contiguous().unbind()

    def forward(self, X: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend from every position to those where `mask` is True."""
        queries, keys, values = self.project(X)
        if fused_is_faster(X):
            dropout = self.dropout.p if self.training else 0.0
            Y = F.scaled_dot_product_attention(queries, keys, values, mask, dropout)
        else:
            Y = self.dropout(masked_softmax(scale(queries) @ keys.mT, mask)) @ values
        return self.W_o(Y.transpose(1, 2).flatten(2))

    def attend(self, x: Tensor, X: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend from one position, x (batch, hiddens), to X: `forward(X, mask)` there.

        One query needs no keys and values of its own for every position: its score with a key,
        q (W_k x + b_k), is (q W_k) x + q b_k, and W_v can wait for the weighted mean of X.
        """
        queries = scale(self.W_q(x).unflatten(-1, (self.num_heads, -1)))
        W_k, b_k, W_v, b_v = (
            parameter.unflatten(0, (self.num_heads, -1))
            for W in (self.W_k, self.W_v)
            for parameter in (W.weight, W.bias)
        )
        scores = torch.einsum("bhd,hdi->bhi", queries, W_k) @ X.mT
        scores = scores + (queries * b_k).sum(dim=-1, keepdim=True)
        weights = self.dropout(masked_softmax(scores, None if mask is None else mask[:, 0]))
        values = torch.einsum("bhi,hdi->bhd", weights @ X, W_v)
        values = values + weights.sum(dim=-1, keepdim=True) * b_v
        return self.W_o(values.flatten(1))

    def weights(self, X: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attention of each query to each key, (batch, heads, length, length); rows sum to 1."""
        queries, keys, _ = self.project(X)
        return masked_softmax(scale(queries) @ keys.mT, mask)


def fused_is_faster(X: Tensor) -> bool:
    """Tell whether torch's fused attention is; a CPU multiplies short inputs sooner plainly."""
    return not X.is_cpu or X.shape[1] > 256


def scale(queries: Tensor) -> Tensor:
    """Divide by the square root of a head's size, so that scores do not grow with it."""
    return queries / math.sqrt(queries.shape[-1])


def masked_softmax(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Weights that sum to 1 over the keys where `mask` is True, and are zero elsewhere."""
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return scores.softmax(dim=-1)


def activation_layer(name: str) -> nn.Module:
    """Return the layer of an activation function."""
    if name not in ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}: use {' or '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]()


class PositionWiseFFN(nn.Module):
    """Two linear layers with an activation between, applied to each position alone."""

    def __init__(self, num_hiddens: int, ffn_num_hiddens: int, activation: str = "relu"):
        super().__init__()
        self.dense1 = nn.Linear(num_hiddens, ffn_num_hiddens)
        self.activation = activation_layer(activation)
        self.dense2 = nn.Linear(ffn_num_hiddens, num_hiddens)

    def forward(self, X: Tensor) -> Tensor:
        """(…, hiddens) in and out."""
        return self.dense2(self.activation(self.dense1(X)))


class AddNorm(nn.Module):
    """Residual connection, then layer normalization."""

    def __init__(self, num_hiddens: int, dropout: float, norm_eps: float = 1e-5):
        super().__init__()
        self.dropout = Dropout(dropout)
        self.ln = nn.LayerNorm(num_hiddens, norm_eps)

    def forward(self, X: Tensor, Y: Tensor) -> Tensor:
        """Normalize X plus the layer's output Y."""
        return self.ln(self.dropout(Y) + X)


class TransformerEncoderBlock(nn.Module):
    """Self-attention and a position-wise network, each followed by add and norm."""

    def __init__(
        self,
        num_hiddens: int,
        ffn_num_hiddens: int,
        num_heads: int,
        dropout: float,
        activation: str = "relu",
        norm_eps: float = 1e-5,
    ):
        super().__init__()
        self.attention = MultiHeadAttention(num_hiddens, num_heads, dropout)
        self.addnorm1 = AddNorm(num_hiddens, dropout, norm_eps)
        self.ffn = PositionWiseFFN(num_hiddens, ffn_num_hiddens, activation)
        self.addnorm2 = AddNorm(num_hiddens, dropout, norm_eps)

    def forward(self, X: Tensor, mask: Tensor | None = None) -> Tensor:
        """(batch, length, hiddens) in and out."""
        Y = self.addnorm1(X, self.attention(X, mask))
        return self.addnorm2(Y, self.ffn(Y))

    def first(self, X: Tensor, mask: Tensor | None = None) -> Tensor:
        """`forward(X, mask)[:, 0]`, (batch, hiddens), without the work for other positions."""
        x = X[:, 0]
        Y = self.addnorm1(x, self.attention.attend(x, X, mask))
        return self.addnorm2(Y, self.ffn(Y))


class BERTEncoder(nn.Module):
    """Token, segment and position embeddings, then `num_blks` Transformer encoder blocks.

    `embedding_norm` normalizes the sum of the embeddings, as the original BERT does.
    """

    def __init__(
        self,
        vocab_size: int,
        num_hiddens: int,
        ffn_num_hiddens: int,
        num_heads: int,
        num_blks: int,
        dropout: float,
        max_len: int = 1000,
        activation: str = "relu",
        embedding_norm: bool = False,
        norm_eps: float = 1e-5,
    ):
        super().__init__()
        if num_blks < 1:
            raise ValueError(f"num_blks={num_blks}: BERT takes at least one block")
        if not 0 <= norm_eps < 1:
            raise ValueError(f"norm_eps={norm_eps}: it is a small number, such as 1e-5")
        self.config = {
            "vocab_size": vocab_size,
            "num_hiddens": num_hiddens,
            "ffn_num_hiddens": ffn_num_hiddens,
            "num_heads": num_heads,
            "num_blks": num_blks,
            "dropout": dropout,
            "max_len": max_len,
            "activation": activation,
            "embedding_norm": embedding_norm,
            "norm_eps": norm_eps,
        }
        self.token_embedding = nn.Embedding(vocab_size, num_hiddens)
        self.segment_embedding = nn.Embedding(2, num_hiddens)
        self.blks: Any = nn.Sequential(  # of blocks, which its own type does not tell
            *(
                TransformerEncoderBlock(
                    num_hiddens, ffn_num_hiddens, num_heads, dropout, activation, norm_eps
                )
                for _ in range(num_blks)
            )
        )
        self.pos_embedding = nn.Parameter(torch.randn(1, max_len, num_hiddens))
        norm = [nn.LayerNorm(num_hiddens, norm_eps), Dropout(dropout)] if embedding_norm else []
        self.embedding_norm = nn.Sequential(*norm)

    def forward(self, tokens: Tensor, segments: Tensor, valid_lens: Tensor | None = None) -> Tensor:
        """Encode (batch, length) ids as (batch, length, hiddens).

        Keys at and after `valid_lens` (batch,) get a weight of exactly zero.
        """
        X, mask = self.embed(tokens, segments), self.key_mask(tokens, valid_lens)
        for blk in self.blks:
            X = blk(X, mask)
        return X

    def encode_cls(
        self, tokens: Tensor, segments: Tensor, valid_lens: Tensor | None = None
    ) -> Tensor:
        """`forward(…)[:, 0]`, (batch, hiddens), which is all that a classifier reads.

        The last block is computed for `<cls>` alone, so hooks on it are not called.
        """
        X, mask = self.embed(tokens, segments), self.key_mask(tokens, valid_lens)
        for blk in self.blks[:-1]:
            X = blk(X, mask)
        return self.blks[-1].first(X, mask)

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

    def embed(self, tokens: Tensor, segments: Tensor) -> Tensor:
        """Sum the token, segment and position embeddings, and normalize the sum if asked."""
        length, max_len = tokens.shape[1], self.pos_embedding.shape[1]
        if length > max_len:
            raise ValueError(
                f"the input has {length} tokens but the model has {max_len} positions: "
                f"build the dataset with max_len={max_len} or less"
            )
        X = self.token_embedding(tokens) + self.segment_embedding(segments)
        X = self.embedding_norm(X + self.pos_embedding[:, :length])
        if X.is_cpu and torch.is_autocast_enabled("cpu"):
            # autocast alone would keep in fp32 what lies between the matrix products; a CPU is a
            # third faster if that is in the small type as well
            X = X.to(torch.get_autocast_dtype("cpu"))
        return X

    @staticmethod
    def key_mask(tokens: Tensor, valid_lens: Tensor | None) -> Tensor | None:
        """True where a key may be attended to, (batch, 1, 1, length); None: everywhere."""
        length = tokens.shape[1]
        if valid_lens is None or (valid_lens.is_cpu and bool((valid_lens >= length).all())):
            return None  # a GPU is not asked, for that would wait for it
        positions = torch.arange(length, device=tokens.device)
        return (positions < valid_lens[:, None])[:, None, None, :]


class MaskLM(nn.Module):
    """The masked-language-model head: which word stands at each of the given positions?"""

    def __init__(
        self, vocab_size: int, num_hiddens: int, activation: str = "relu", norm_eps: float = 1e-5
    ):
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(num_hiddens, num_hiddens),
            activation_layer(activation),
            nn.LayerNorm(num_hiddens, norm_eps),
            nn.Linear(num_hiddens, vocab_size),
        )

    def forward(self, X: Tensor, pred_positions: Tensor) -> Tensor:
        """Logits (batch, positions, words) for `pred_positions` (batch, positions)."""
        rows = torch.arange(X.shape[0], device=X.device)[:, None]
        return self.mlp(X[rows, pred_positions])


class NextSentencePred(nn.Module):
    """The next-sentence head: does the second segment follow the first?

    `is_next` is the place of "yes" in its two logits: 1 in the book, 0 in the original BERT.
    """

    def __init__(self, num_hiddens: int, is_next: int = 1):
        super().__init__()
        self.is_next = is_next
        self.output = nn.Linear(num_hiddens, 2)

    def forward(self, X: Tensor) -> Tensor:
        """Logits (batch, 2) of the pooled `<cls>`."""
        return self.output(X)


class BERTModel(nn.Module):
    """BERT with both of its pretraining heads.

    `tied_decoder` lets the masked-LM head end in the token embedding itself. Heads for which a
    checkpoint had no parameters are named in `new_heads`: they are random until they are trained,
    which `train()` lets them be.
    """

    def __init__(
        self,
        vocab_size: int,
        num_hiddens: int,
        ffn_num_hiddens: int,
        num_heads: int,
        num_blks: int,
        dropout: float,
        max_len: int = 1000,
        activation: str = "relu",
        embedding_norm: bool = False,
        norm_eps: float = 1e-5,
        tied_decoder: bool = False,
        is_next: int = 1,
    ):
        super().__init__()
        sizes = vocab_size, num_hiddens, ffn_num_hiddens, num_heads, num_blks
        self.encoder = BERTEncoder(*sizes, dropout, max_len, activation, embedding_norm, norm_eps)
        self.hidden: Any = nn.Sequential(nn.Linear(num_hiddens, num_hiddens), nn.Tanh())
        self.mlm = MaskLM(vocab_size, num_hiddens, activation, norm_eps)
        self.nsp = NextSentencePred(num_hiddens, is_next)
        self.config = {**self.encoder.config, "tied_decoder": tied_decoder, "is_next": is_next}
        self.new_heads: tuple[str, ...] = ()
        self.tie()

    def tie(self) -> None:
        """Make the decoder's weight and the token embedding one tensor, if they are to be one."""
        if self.config["tied_decoder"]:
            self.mlm.mlp[3].weight = self.encoder.token_embedding.weight

    def require(self, head: str) -> None:
        """Raise ValueError if a head that is asked was not in the checkpoint."""
        if head in self.new_heads and not self.training:
            raise ValueError(
                f"this checkpoint came without {HEADS[head]}, so that head knows nothing: "
                "load one that was saved with its pretraining heads, or fine-tune this one"
            )

    def forward(
        self,
        tokens: Tensor,
        segments: Tensor,
        valid_lens: Tensor | None = None,
        pred_positions: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Return (encoded, masked-LM logits or None, next-sentence logits)."""
        encoded, mlm_Y_hat = self.encoder(tokens, segments, valid_lens), None
        with torch.inference_mode(False):  # what is moved may be trained again
            for head in (self.hidden, self.mlm, self.nsp):
                head.to(encoded.device)  # a classifier that was moved took only the encoder along
        if pred_positions is not None:
            self.require("mlm")
            mlm_Y_hat = self.mlm(encoded, pred_positions)
        return encoded, mlm_Y_hat, self.nsp(self.hidden(encoded[:, 0]))


class BERTClassifier(nn.Module):
    """A linear layer on BERT's pooled `<cls>`; it shares the encoder with `bert`.

    `label_names` says what its outputs stand for (by default `LABELS` for three classes).
    """

    def __init__(
        self, bert: BERTModel, num_classes: int = 3, label_names: Sequence[str] | None = None
    ):
        super().__init__()
        names = default_label_names(num_classes) if label_names is None else label_names
        self.label_names = checked_label_names(names, num_classes)
        self.encoder = bert.encoder
        self.hidden = bert.hidden
        pooler = bert.hidden[0].weight
        self.output = nn.Linear(pooler.shape[0], num_classes, device=pooler.device)

    def forward(self, inputs: list[Tensor]) -> Tensor:
        """Logits (batch, classes) for `[tokens, segments, valid_lens]`."""
        return self.output(self.hidden(self.encoder.encode_cls(*inputs)))


def unwrapped(net: nn.Module) -> Any:
    """Return the network inside what torch.compile, DataParallel and DDP put around it."""
    while True:
        if "_orig_mod" in net._modules:
            net = net.get_submodule("_orig_mod")
        elif isinstance(net, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            net = net.module
        else:
            return net


def label_names_of(net: nn.Module) -> tuple[str, ...]:
    """Return what a classifier's outputs stand for, in their order.

    Their number is that of its last linear layer: what stands in `net.output` may have others.
    """
    inside = unwrapped(net)
    names, layers = getattr(inside, "label_names", None), inside.output.modules()
    sizes = [layer.out_features for layer in layers if hasattr(layer, "out_features")]
    if not (sizes or names):
        raise ValueError(
            f"{type(inside).__name__}.output has no linear layer that tells the number of classes: "
            "name them in net.label_names"
        )
    num_classes = sizes[-1] if sizes else None
    return checked_label_names(names or default_label_names(sizes[-1]), num_classes)
