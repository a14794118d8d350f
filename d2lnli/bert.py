"""BERT, as the book builds it: the encoder, the pretraining heads, and a classifier on top.

Post-norm blocks, ReLU, learnable positions. The names of the parameters are the book's, so its
published checkpoints load into these modules.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MultiHeadAttention(nn.Module):
    """Self-attention in `num_heads` heads; (batch, length, hiddens) in and out."""

    def __init__(self, num_hiddens: int, num_heads: int, dropout: float):
        super().__init__()
        if num_heads < 1 or num_hiddens % num_heads:
            raise ValueError(
                f"num_hiddens={num_hiddens} cannot be split into num_heads={num_heads} equal heads"
            )
        self.num_heads, self.dropout = num_heads, dropout
        self.W_q = nn.Linear(num_hiddens, num_hiddens)
        self.W_k = nn.Linear(num_hiddens, num_hiddens)
        self.W_v = nn.Linear(num_hiddens, num_hiddens)
        self.W_o = nn.Linear(num_hiddens, num_hiddens)

    def split_heads(self, X: Tensor) -> Tensor:
        """(batch, length, hiddens) -> (batch, heads, length, hiddens / heads)."""
        return X.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def forward(self, X: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend from every position to those where `mask` is True."""
        queries, keys, values = (self.split_heads(W(X)) for W in (self.W_q, self.W_k, self.W_v))
        dropout = self.dropout if self.training else 0.0
        Y = F.scaled_dot_product_attention(queries, keys, values, mask, dropout)
        return self.W_o(Y.transpose(1, 2).flatten(2))

    def weights(self, X: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attention of each query to each key, (batch, heads, length, length); rows sum to 1."""
        queries, keys = self.split_heads(self.W_q(X)), self.split_heads(self.W_k(X))
        scores = queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
        return scores.softmax(dim=-1)


class PositionWiseFFN(nn.Module):
    """Two linear layers with a ReLU between, applied to each position alone."""

    def __init__(self, num_hiddens: int, ffn_num_hiddens: int):
        super().__init__()
        self.dense1 = nn.Linear(num_hiddens, ffn_num_hiddens)
        self.dense2 = nn.Linear(ffn_num_hiddens, num_hiddens)

    def forward(self, X: Tensor) -> Tensor:
        """(…, hiddens) in and out."""
        return self.dense2(F.relu(self.dense1(X)))


class AddNorm(nn.Module):
    """Residual connection, then layer normalization."""

    def __init__(self, num_hiddens: int, dropout: float):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.ln = nn.LayerNorm(num_hiddens)

    def forward(self, X: Tensor, Y: Tensor) -> Tensor:
        """Normalize X plus the layer's output Y."""
        return self.ln(self.dropout(Y) + X)


class TransformerEncoderBlock(nn.Module):
    """Self-attention and a position-wise network, each followed by add and norm."""

    def __init__(self, num_hiddens: int, ffn_num_hiddens: int, num_heads: int, dropout: float):
        super().__init__()
        self.attention = MultiHeadAttention(num_hiddens, num_heads, dropout)
        self.addnorm1 = AddNorm(num_hiddens, dropout)
        self.ffn = PositionWiseFFN(num_hiddens, ffn_num_hiddens)
        self.addnorm2 = AddNorm(num_hiddens, dropout)

    def forward(self, X: Tensor, mask: Tensor | None = None) -> Tensor:
        """(batch, length, hiddens) in and out."""
        Y = self.addnorm1(X, self.attention(X, mask))
        return self.addnorm2(Y, self.ffn(Y))


class BERTEncoder(nn.Module):
    """Token, segment and position embeddings, then `num_blks` Transformer encoder blocks."""

    def __init__(
        self,
        vocab_size: int,
        num_hiddens: int,
        ffn_num_hiddens: int,
        num_heads: int,
        num_blks: int,
        dropout: float,
        max_len: int = 1000,
    ):
        super().__init__()
        self.config = {
            "vocab_size": vocab_size,
            "num_hiddens": num_hiddens,
            "ffn_num_hiddens": ffn_num_hiddens,
            "num_heads": num_heads,
            "num_blks": num_blks,
            "dropout": dropout,
            "max_len": max_len,
        }
        self.token_embedding = nn.Embedding(vocab_size, num_hiddens)
        self.segment_embedding = nn.Embedding(2, num_hiddens)
        self.blks = nn.Sequential(
            *(
                TransformerEncoderBlock(num_hiddens, ffn_num_hiddens, num_heads, dropout)
                for _ in range(num_blks)
            )
        )
        self.pos_embedding = nn.Parameter(torch.randn(1, max_len, num_hiddens))

    def forward(self, tokens: Tensor, segments: Tensor, valid_lens: Tensor | None = None) -> Tensor:
        """Encode (batch, length) ids as (batch, length, hiddens).

        Keys at and after `valid_lens` (batch,) get a weight of exactly zero.
        """
        X, mask = self.embed(tokens, segments), self.key_mask(tokens, valid_lens)
        for blk in self.blks:
            X = blk(X, mask)
        return X

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
        """Sum the token, segment and position embeddings."""
        length, max_len = tokens.shape[1], self.pos_embedding.shape[1]
        if length > max_len:
            raise ValueError(
                f"the input has {length} tokens but the model has {max_len} positions: "
                f"build the dataset with max_len={max_len} or less"
            )
        X = self.token_embedding(tokens) + self.segment_embedding(segments)
        return X + self.pos_embedding[:, :length]

    @staticmethod
    def key_mask(tokens: Tensor, valid_lens: Tensor | None) -> Tensor | None:
        """True where a key may be attended to, (batch, 1, 1, length); None: everywhere."""
        if valid_lens is None:
            return None
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        return (positions < valid_lens[:, None])[:, None, None, :]


class MaskLM(nn.Module):
    """The masked-language-model head: which word stands at each of the given positions?"""

    def __init__(self, vocab_size: int, num_hiddens: int):
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(num_hiddens, num_hiddens),
            nn.ReLU(),
            nn.LayerNorm(num_hiddens),
            nn.Linear(num_hiddens, vocab_size),
        )

    def forward(self, X: Tensor, pred_positions: Tensor) -> Tensor:
        """Logits (batch, positions, words) for `pred_positions` (batch, positions)."""
        rows = torch.arange(X.shape[0], device=X.device)[:, None]
        return self.mlp(X[rows, pred_positions])


class NextSentencePred(nn.Module):
    """The next-sentence head: does the second segment follow the first?"""

    def __init__(self, num_hiddens: int):
        super().__init__()
        self.output = nn.Linear(num_hiddens, 2)

    def forward(self, X: Tensor) -> Tensor:
        """Logits (batch, 2) of the pooled `<cls>`: 0 no, 1 yes."""
        return self.output(X)


class BERTModel(nn.Module):
    """BERT with both of its pretraining heads."""

    def __init__(
        self,
        vocab_size: int,
        num_hiddens: int,
        ffn_num_hiddens: int,
        num_heads: int,
        num_blks: int,
        dropout: float,
        max_len: int = 1000,
    ):
        super().__init__()
        self.encoder = BERTEncoder(
            vocab_size, num_hiddens, ffn_num_hiddens, num_heads, num_blks, dropout, max_len
        )
        self.hidden = nn.Sequential(nn.Linear(num_hiddens, num_hiddens), nn.Tanh())
        self.mlm = MaskLM(vocab_size, num_hiddens)
        self.nsp = NextSentencePred(num_hiddens)

    def forward(
        self,
        tokens: Tensor,
        segments: Tensor,
        valid_lens: Tensor | None = None,
        pred_positions: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Return (encoded, masked-LM logits or None, next-sentence logits)."""
        encoded = self.encoder(tokens, segments, valid_lens)
        mlm_Y_hat = None if pred_positions is None else self.mlm(encoded, pred_positions)
        return encoded, mlm_Y_hat, self.nsp(self.hidden(encoded[:, 0]))


class BERTClassifier(nn.Module):
    """A linear layer on BERT's pooled `<cls>`; it shares the encoder with `bert`."""

    def __init__(self, bert: BERTModel, num_classes: int = 3):
        super().__init__()
        self.encoder = bert.encoder
        self.hidden = bert.hidden
        pooler = bert.hidden[0].weight
        self.output = nn.Linear(pooler.shape[0], num_classes, device=pooler.device)

    def forward(self, inputs: list[Tensor]) -> Tensor:
        """Logits (batch, classes) for `[tokens, segments, valid_lens]`."""
        tokens, segments, valid_lens = inputs
        encoded = self.encoder(tokens, segments, valid_lens)
        return self.output(self.hidden(encoded[:, 0]))
