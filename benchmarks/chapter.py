"""The chapter's recipe, as plainly as the chapter has it: what the package is measured against.

Everything is padded to max_len, in fp32; sentences are encoded one by one in a pool of four
processes; attention is two products with a masked softmax between; Adam is torch's default. The
parameters carry the book's names, so that a test can hold these numbers against the package's.
"""

import math
import multiprocessing
import re
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from d2lnli import Vocab, get_tokens_and_segments, tokenize

LABELS = {"entailment": 0, "contradiction": 1, "neutral": 2}


def read_snli(path: Path) -> tuple[list[str], list[str], list[int]]:
    """Read a split whole, all its columns, and take brackets out by regular expressions."""

    def text(parse: str) -> str:
        parse = re.sub(r"\(", "", parse)
        parse = re.sub(r"\)", "", parse)
        return re.sub(r"\s{2,}", " ", parse).strip()

    with path.open(encoding="utf-8") as file:
        rows = [line.split("\t") for line in file.readlines()[1:]]
    premises = [text(row[1]) for row in rows if row[0] in LABELS]
    hypotheses = [text(row[2]) for row in rows if row[0] in LABELS]
    labels = [LABELS[row[0]] for row in rows if row[0] in LABELS]
    return premises, hypotheses, labels


class SNLIDataset(Dataset):
    """Three tensors (n, max_len), (n, max_len) and (n,), made from lists of every pair's ids."""

    def __init__(self, pairs: tuple, max_len: int, vocab: Vocab):
        premises, hypotheses = (
            tokenize([sentence.lower() for sentence in side]) for side in pairs[:2]
        )
        self.labels = torch.tensor(pairs[2])
        self.max_len, self.vocab = max_len, vocab
        with multiprocessing.get_context("fork").Pool(4) as pool:
            rows = pool.map(self.encode, list(zip(premises, hypotheses, strict=True)))
        self.token_ids = torch.tensor([ids for ids, _, _ in rows], dtype=torch.long)
        self.segments = torch.tensor([segments for _, segments, _ in rows], dtype=torch.long)
        self.valid_lens = torch.tensor([valid_len for _, _, valid_len in rows])

    def encode(self, pair: tuple[list[str], list[str]]) -> tuple[list[int], list[int], int]:
        """Cut one pair token by token, look up its ids, and pad."""
        premise, hypothesis = pair
        while len(premise) + len(hypothesis) > self.max_len - 3:
            (premise if len(premise) > len(hypothesis) else hypothesis).pop()
        tokens, segments = get_tokens_and_segments(premise, hypothesis)
        missing = self.max_len - len(tokens)
        ids = self.vocab[tokens] + [self.vocab["<pad>"]] * missing
        return ids, segments + [0] * missing, len(tokens)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
        return (self.token_ids[i], self.segments[i], self.valid_lens[i]), self.labels[i]


class Attention(nn.Module):
    """Multi-head attention with the heads folded into the batch; padding is overwritten."""

    def __init__(self, num_hiddens: int, num_heads: int, dropout: float):
        super().__init__()
        self.num_heads, self.dropout = num_heads, nn.Dropout(dropout)
        self.W_q, self.W_k, self.W_v, self.W_o = (
            nn.Linear(num_hiddens, num_hiddens) for _ in range(4)
        )

    def split(self, X: Tensor) -> Tensor:
        """(batch, length, hiddens) -> (batch * heads, length, hiddens / heads)."""
        return X.unflatten(-1, (self.num_heads, -1)).transpose(1, 2).flatten(0, 1)

    def forward(self, X: Tensor, valid_lens: Tensor) -> Tensor:
        """(batch, length, hiddens) in and out."""
        queries, keys, values = (
            self.split(self.W_q(X)),
            self.split(self.W_k(X)),
            self.split(self.W_v(X)),
        )
        scores = torch.bmm(queries, keys.transpose(1, 2)) / math.sqrt(queries.shape[-1])
        rows = valid_lens.repeat_interleave(self.num_heads * X.shape[1])
        padded = torch.arange(X.shape[1], device=X.device) >= rows[:, None]
        flat = scores.reshape(-1, X.shape[1])
        flat[padded] = -1e6
        weights = F.softmax(flat.reshape(scores.shape), dim=-1)
        heads = torch.bmm(self.dropout(weights), values)
        return self.W_o(heads.unflatten(0, (-1, self.num_heads)).transpose(1, 2).flatten(2))


class AddNorm(nn.Module):
    """Dropout, residual connection, layer normalization."""

    def __init__(self, num_hiddens: int, dropout: float):
        super().__init__()
        self.dropout, self.ln = nn.Dropout(dropout), nn.LayerNorm(num_hiddens)

    def forward(self, X: Tensor, Y: Tensor) -> Tensor:
        """Normalize X plus Y."""
        return self.ln(self.dropout(Y) + X)


class Block(nn.Module):
    """A Transformer encoder block."""

    def __init__(self, num_hiddens: int, ffn_num_hiddens: int, num_heads: int, dropout: float):
        super().__init__()
        self.attention = Attention(num_hiddens, num_heads, dropout)
        self.addnorm1 = AddNorm(num_hiddens, dropout)
        dense1, dense2 = (
            nn.Linear(num_hiddens, ffn_num_hiddens),
            nn.Linear(ffn_num_hiddens, num_hiddens),
        )
        self.ffn = nn.ModuleDict({"dense1": dense1, "dense2": dense2})
        self.addnorm2 = AddNorm(num_hiddens, dropout)

    def forward(self, X: Tensor, valid_lens: Tensor) -> Tensor:
        """(batch, length, hiddens) in and out."""
        Y = self.addnorm1(X, self.attention(X, valid_lens))
        return self.addnorm2(Y, self.ffn["dense2"](F.relu(self.ffn["dense1"](Y))))


class Encoder(nn.Module):
    """Token, segment and position embeddings, and the blocks, every position of each."""

    def __init__(
        self,
        vocab_size: int,
        num_hiddens: int,
        ffn_num_hiddens: int,
        num_heads: int,
        num_blks: int,
        dropout: float,
        max_len: int,
    ):
        super().__init__()
        self.token_embedding = nn.Embedding(vocab_size, num_hiddens)
        self.segment_embedding = nn.Embedding(2, num_hiddens)
        sizes = (num_hiddens, ffn_num_hiddens, num_heads, dropout)
        self.blks = nn.ModuleList(Block(*sizes) for _ in range(num_blks))
        self.pos_embedding = nn.Parameter(torch.randn(1, max_len, num_hiddens))

    def forward(self, tokens: Tensor, segments: Tensor, valid_lens: Tensor) -> Tensor:
        """(batch, length) in, (batch, length, hiddens) out."""
        X = self.token_embedding(tokens) + self.segment_embedding(segments)
        X = X + self.pos_embedding[:, : X.shape[1]]
        for blk in self.blks:
            X = blk(X, valid_lens)
        return X


class Classifier(nn.Module):
    """A linear layer on the pooled `<cls>`."""

    def __init__(self, **sizes: float):
        super().__init__()
        num_hiddens = sizes["num_hiddens"]
        self.encoder = Encoder(**sizes)
        self.hidden = nn.Sequential(nn.Linear(num_hiddens, num_hiddens), nn.Tanh())
        self.output = nn.Linear(num_hiddens, len(LABELS))

    def forward(self, inputs: list[Tensor]) -> Tensor:
        """Logits (batch, classes)."""
        return self.output(self.hidden(self.encoder(*inputs)[:, 0]))


def loader(dataset: SNLIDataset, batch_size: int = 512, shuffle: bool = False) -> DataLoader:
    """Return minibatches, collated in four processes."""
    return DataLoader(dataset, batch_size, shuffle=shuffle, num_workers=4)


def device_of(net: nn.Module) -> torch.device:
    """Return where a network is."""
    return next(net.parameters()).device


def train(net: nn.Module, batches: DataLoader, trainer: torch.optim.Optimizer) -> list[float]:
    """Train for an epoch on the sum of the losses; return the mean loss of every minibatch."""
    loss, means, device = nn.CrossEntropyLoss(reduction="none"), [], device_of(net)
    for X, y in batches:
        X, y = [x.to(device) for x in X], y.to(device)
        net.train()
        trainer.zero_grad()
        losses = loss(net(X), y)
        losses.sum().backward()
        trainer.step()
        means.append(losses.mean().item())
    return means


def evaluate(net: nn.Module, batches: DataLoader) -> float:
    """Return the accuracy."""
    net.eval()
    correct, total, device = 0, 0, device_of(net)
    with torch.no_grad():
        for X, y in batches:
            X, y = [x.to(device) for x in X], y.to(device)
            correct += int((net(X).argmax(dim=1) == y).sum())
            total += len(y)
    return correct / total
