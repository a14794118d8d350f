"""The same BERT in less time: inside `with fast(net):` its plain parts compute in these ways.

Each way uses the parameters of the plain part and gives its numbers, up to rounding. Dropout has
the plain part's rate and scale. A part that you have changed, or that has hooks, stays as it is.
"""

import math
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..bert import (
    ACTIVATIONS,
    AddNorm,
    BERTClassifier,
    BERTEncoder,
    MultiHeadAttention,
    PositionWiseFFN,
    TransformerEncoderBlock,
    masked_softmax,
    scale,
)
from ..devices import kind

_lock = threading.Lock()
_num_blocks: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()
"""In how many blocks each replaced part is: several threads may use one network."""


@contextmanager
def fast(net: nn.Module) -> Iterator[None]:
    """Let a network's plain parts compute in less time inside the block."""
    replaced: list[nn.Module] = []
    try:
        with _lock:
            for part in reversed(list(net.modules())):  # a whole comes after its parts
                faster = _FASTER.get(type(part))
                if faster and faster.fits(part):
                    part.__class__ = faster
                    _num_blocks[part] = 0
                if part in _num_blocks:
                    _num_blocks[part] += 1
                    replaced.append(part)
        yield
    finally:
        with _lock:
            for part in replaced:
                _num_blocks[part] -= 1
                if not _num_blocks[part]:
                    del _num_blocks[part]
                    part.__class__ = _PLAIN_FORMS[type(part)]


class FastDropout(nn.Dropout):
    """On a CPU, 16 random bits decide whether a number is dropped.

    torch draws one float after another there, which takes longer than the matrix products. The
    probability `p` is rounded to a multiple of 1/65,536, and the scale follows it.
    """

    @staticmethod
    def fits(part: nn.Dropout) -> bool:
        """Every dropout layer may be replaced that does not change its input."""
        return not part.inplace

    def forward(self, X: Tensor) -> Tensor:
        """In training, zero each number of X with probability `p` and scale the others."""
        dropped = round(self.p * 2**16)
        on_cpu = kind(X.device) == "cpu" and not torch.compiler.is_compiling()
        if not (self.training and on_cpu) or dropped in (0, 2**16):
            return super().forward(X)
        kept = random_int16(X.shape) >= dropped - 2**15
        return X * kept.to(X.dtype).mul_(2**16 / (2**16 - dropped))


def random_int16(shape: torch.Size) -> Tensor:
    """Uniform random integers that follow torch's seed, from numpy's fastest bit generator."""
    seed = int(torch.randint(2**63 - 1, ()))
    size = math.prod(shape)
    bits = np.random.SFC64(seed).random_raw(-(-size // 4))
    return torch.from_numpy(bits.view(np.int16)[:size]).view(shape)


class FastAttention(MultiHeadAttention):
    """One matrix product for queries, keys and values, and torch's fused attention on a GPU."""

    @staticmethod
    def fits(part: MultiHeadAttention) -> bool:
        """Queries, keys, values and dropout must be plain, because their modules are not called."""
        projections = part.W_q, part.W_k, part.W_v
        plain = _are_plain(*projections, part.dropout) and _is_unpatched(part)
        return plain and all(W.bias is not None for W in projections)

    def forward(self, X: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend from every position to the positions where `mask` is True."""
        queries, keys, values = self.project(X)
        if fused_is_faster(X):
            dropout = self.dropout.p if self.training else 0.0
            Y = F.scaled_dot_product_attention(queries, keys, values, mask, dropout)
        else:
            Y = self.dropout(masked_softmax(scale(queries) @ keys.mT, mask)) @ values
        return self.W_o(Y.transpose(1, 2).flatten(2))

    def project(self, X: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (batch, heads, length, hiddens / heads).

        A CPU computes one product faster than three. A GPU does not, and is spared the copies.
        """
        layers = self.W_q, self.W_k, self.W_v
        if kind(X.device) != "cpu":
            queries, keys, values = (self.split_heads(W(X)) for W in layers)
            return queries, keys, values
        weight, bias = torch.cat([W.weight for W in layers]), torch.cat([W.bias for W in layers])
        heads = F.linear(X, weight, bias).unflatten(-1, (3, self.num_heads, -1))
        return heads.permute(2, 0, 3, 1, 4).contiguous().unbind()

    def attend_from(self, x: Tensor, X: Tensor, mask: Tensor | None = None) -> Tensor:
        """`forward(X, mask)[:, 0]`, (batch, hiddens), where x is X[:, 0].

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


def fused_is_faster(X: Tensor) -> bool:
    """Return whether torch's fused attention is faster, as on a GPU or for long inputs."""
    return kind(X.device) != "cpu" or X.shape[1] > 256


class FastEncoder(BERTEncoder):
    """On a CPU, autocast's small type between the layers, and no mask without padding."""

    @staticmethod
    def fits(part: BERTEncoder) -> bool:
        """Every plain encoder may be replaced."""
        return True

    def embed(self, tokens: Tensor, segments: Tensor) -> Tensor:
        """Add the embeddings, and convert the sum to autocast's small type on a CPU.

        Autocast itself keeps numbers between matrix products in fp32. A CPU is a third faster if
        they have the small type as well.
        """
        X = super().embed(tokens, segments)
        if kind(X.device) == "cpu" and torch.is_autocast_enabled("cpu"):
            X = X.to(torch.get_autocast_dtype("cpu"))
        return X

    def embed_segments(self, segments: Tensor) -> Tensor:
        """Choose one of two rows: a GPU adds up the gradients of an embedding's row one by one."""
        if kind(segments.device) == "cpu" or not _has_two_plain_rows(self.segment_embedding):
            return super().embed_segments(segments)
        first, second = self.segment_embedding.weight
        return torch.where(segments[..., None] > 0, second, first)

    def key_mask(self, tokens: Tensor, valid_lens: Tensor | None) -> Tensor | None:
        """True where a key may be attended to; None if that is everywhere."""
        on_cpu = kind(tokens.device) == "cpu"  # a GPU would have to be waited for
        if valid_lens is not None and on_cpu:
            valid_lens = None if bool((valid_lens >= tokens.shape[1]).all()) else valid_lens
        return super().key_mask(tokens, valid_lens)

    def encode_cls(
        self, tokens: Tensor, segments: Tensor, valid_lens: Tensor | None = None
    ) -> Tensor:
        """`forward(…)[:, 0]`, (batch, hiddens): the last block computes only `<cls>`."""
        X, mask = self.embed(tokens, segments), self.key_mask(tokens, valid_lens)
        *blks, last = self.blks
        for blk in blks:
            X = blk(X, mask)
        x = X[:, 0]
        Y = last.addnorm1(x, last.attention.attend_from(x, X, mask))
        return last.addnorm2(Y, last.ffn(Y))


class FastClassifier(BERTClassifier):
    """A classifier reads only `<cls>`, so the last block computes no other position."""

    encoder: FastEncoder

    @staticmethod
    def fits(part: BERTClassifier) -> bool:
        """The encoder must be plain, and its last block with everything in it."""
        encoder = part.encoder
        if type(encoder) is not FastEncoder or not _are_plain(encoder):
            return False
        last = encoder.blks[-1]
        return type(last.attention) is FastAttention and _are_plain(*last.modules())

    def forward(self, inputs: list[Tensor]) -> Tensor:
        """Logits (batch, classes) for `[tokens, segments, valid_lens]`."""
        return self.output(self.hidden(self.encoder.encode_cls(*inputs)))


def _has_two_plain_rows(embedding: nn.Embedding) -> bool:
    plain = _are_plain(embedding) and embedding.padding_idx is None and embedding.max_norm is None
    return plain and embedding.num_embeddings == 2


_FASTER: dict[type, Any] = {
    nn.Dropout: FastDropout,
    MultiHeadAttention: FastAttention,
    BERTEncoder: FastEncoder,
    BERTClassifier: FastClassifier,
}
_PLAIN_FORMS = {faster: plain for plain, faster in _FASTER.items()}
_PLAIN = {
    *(FastEncoder, FastAttention, FastDropout),
    *(TransformerEncoderBlock, AddNorm, PositionWiseFFN),
    *(nn.Linear, nn.LayerNorm, nn.Dropout, nn.Embedding, *ACTIVATIONS.values()),
}
_PLAIN_WITH_HEAD = _PLAIN | {FastClassifier, nn.Sequential, nn.Tanh}


def is_plain_as_a_whole(net: nn.Module) -> bool:
    """Return whether, inside `fast`, nothing but the code of this package and of torch runs.

    Then a captured step, which does not run Python code again, misses nothing.
    """
    plain = _are_plain(*net.modules(), known=_PLAIN_WITH_HEAD)
    hooked = any(parameter._backward_hooks for parameter in net.parameters())
    return type(net) is FastClassifier and plain and not hooked


def _are_plain(*parts: nn.Module, known: Collection[type] = _PLAIN) -> bool:
    """Return whether parts are of known classes, and nobody hooked or patched them."""
    hooks = "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"
    return all(
        type(part) in known
        and _is_unpatched(part)
        and not any(getattr(part, name) for name in hooks)
        for part in parts
    )


def _is_unpatched(part: nn.Module) -> bool:
    """Return whether a part has the methods of its class, and none of its own in their place."""
    return not any(hasattr(type(part), name) for name in vars(part))
