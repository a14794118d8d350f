"""Multi-head self-attention, for all positions or for the first alone, and dropout."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


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
