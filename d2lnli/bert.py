"""BERT, as the book builds it: the encoder, the pretraining heads, and a classifier on top.

Post-norm blocks, ReLU, learnable positions. The names of the parameters are the book's, so its
published checkpoints load into these modules.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .self_attention import Dropout, MultiHeadAttention


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
        self.dropout = Dropout(dropout)
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

    def first(self, X: Tensor, mask: Tensor | None = None) -> Tensor:
        """`forward(X, mask)[:, 0]`, (batch, hiddens), without the work for other positions."""
        x = X[:, 0]
        Y = self.addnorm1(x, self.attention.attend(x, X, mask))
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
        if num_blks < 1:
            raise ValueError(f"num_blks={num_blks}: BERT takes at least one block")
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
        """Sum the token, segment and position embeddings."""
        length, max_len = tokens.shape[1], self.pos_embedding.shape[1]
        if length > max_len:
            raise ValueError(
                f"the input has {length} tokens but the model has {max_len} positions: "
                f"build the dataset with max_len={max_len} or less"
            )
        X = self.token_embedding(tokens) + self.segment_embedding(segments)
        X = X + self.pos_embedding[:, :length]
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
        return self.output(self.hidden(self.encoder.encode_cls(*inputs)))
