"""A reader's own code, written as the book's chapter does it, runs on this package."""

import json
import multiprocessing
import os
import re

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

import d2lnli as d2l
from conftest import SPECIALS, write_checkpoint, write_corpus, zip_folder

WORDS = [*SPECIALS, *"a dog runs man sleeps . the".split()]
CLOSING = (
    r"loss (\d\.\d{3}), train acc (\d\.\d{3}), test acc (\d\.\d{3})\n"
    r"\d+\.\d examples/sec on (\[device\(.*\)\])\n"
)


class ReadersDataset(Dataset):
    """Pads everything to `max_len`, with four processes, and keeps tensors of that size."""

    def __init__(self, dataset, max_len, vocab):
        sides = [d2l.tokenize([text.lower() for text in texts]) for texts in dataset[:2]]
        self.labels, self.vocab, self.max_len = torch.tensor(dataset[2]), vocab, max_len
        with multiprocessing.Pool(4) as pool:
            rows = pool.map(self.row, list(zip(*sides, strict=True)))
        self.all_token_ids, self.all_segments, self.valid_lens = map(
            torch.tensor, zip(*rows, strict=True)
        )

    def row(self, pair):
        premise, hypothesis = map(list, pair)
        while len(premise) + len(hypothesis) > self.max_len - 3:
            (premise if len(premise) > len(hypothesis) else hypothesis).pop()
        tokens, segments = d2l.get_tokens_and_segments(premise, hypothesis)
        padding = self.max_len - len(tokens)
        token_ids = self.vocab[tokens] + [self.vocab["<pad>"]] * padding
        return token_ids, segments + [0] * padding, len(tokens)

    def __getitem__(self, i):
        return (self.all_token_ids[i], self.all_segments[i], self.valid_lens[i]), self.labels[i]

    def __len__(self):
        return len(self.all_token_ids)


class ReadersClassifier(nn.Module):
    """Takes the encoder and the pooler of a pretrained BERT; the output layer is lazy."""

    def __init__(self, bert):
        super().__init__()
        self.encoder, self.hidden, self.output = bert.encoder, bert.hidden, nn.LazyLinear(3)

    def forward(self, inputs):
        tokens, segments, valid_lens = inputs
        return self.output(self.hidden(self.encoder(tokens, segments, valid_lens)[:, 0, :]))


@pytest.fixture
def published(server, tmp_path, monkeypatch, data_dir):
    """A checkpoint and a corpus as the book's sites hold them, under names of the reader's own."""
    monkeypatch.setattr(d2l, "DATA_URL", server.url)
    known = dict(d2l.DATA_HUB)
    write_checkpoint(tmp_path / "reader.bert.torch", WORDS, config=False, max_len=64)
    rows = ["neutral\t( The ( dog runs ) )\t( A man )", "-\tx\ty"]
    rows += ["entailment\t( A ( dog ( sleeps . ) ) )\t( A dog )"] * 11
    write_corpus(tmp_path / "snli_1.0", rows, ("train", "test"))
    yield {
        archive: zip_folder(tmp_path / archive, server.folder / f"{archive}.zip")
        for archive in ("reader.bert.torch", "snli_1.0")
    }
    d2l.DATA_HUB.clear()
    d2l.DATA_HUB.update(known)


def read_checkpoint(published, dropout=0.2):
    """Load a model as the chapter does: an empty vocabulary, then a model, then its state."""
    sha1 = published["reader.bert.torch"]
    d2l.DATA_HUB["reader.bert"] = (d2l.DATA_URL + "reader.bert.torch.zip", sha1)
    folder = d2l.download_extract("reader.bert")
    vocab = d2l.Vocab()
    with open(os.path.join(folder, "vocab.json")) as file:  # noqa: PTH118, PTH123
        vocab.idx_to_token = json.load(file)
    vocab.token_to_idx = {token: i for i, token in enumerate(vocab.idx_to_token)}
    bert = d2l.BERTModel(len(vocab), num_hiddens=16, ffn_num_hiddens=32, num_heads=4,
                         num_blks=2, dropout=dropout, max_len=64)  # fmt: skip
    bert.load_state_dict(torch.load(os.path.join(folder, "pretrained.params")))  # noqa: PTH118
    return bert, vocab


@pytest.mark.parametrize("batch_size", [2, 5, 512])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_the_chapters_steps(published, capsys, batch_size):
    bert, vocab = read_checkpoint(published)
    devices, workers = d2l.try_all_gpus(), d2l.get_dataloader_workers()
    d2l.DATA_HUB["reader.snli"] = (d2l.DATA_URL + "snli_1.0.zip", published["snli_1.0"])
    folder = d2l.download_extract("reader.snli")
    train_set = ReadersDataset(d2l.read_snli(folder, True), 16, vocab)
    test_set = ReadersDataset(d2l.read_snli(folder, False), 16, vocab)
    assert len(train_set) == 12
    train_iter = DataLoader(train_set, batch_size, shuffle=True, num_workers=workers)
    test_iter = DataLoader(test_set, batch_size, num_workers=workers)
    net = ReadersClassifier(bert)
    trainer = torch.optim.Adam(net.parameters(), lr=1e-2)
    net(next(iter(train_iter))[0])
    before = net.output.weight.detach().clone()
    d2l.train_ch13(
        net, train_iter, test_iter, nn.CrossEntropyLoss(reduction="none"), trainer, 3, devices
    )
    printed = re.fullmatch(CLOSING, capsys.readouterr().out)
    assert printed
    assert float(printed[3]) == pytest.approx(11 / 12, abs=0.09)
    assert printed[4] == str(devices[:1])
    assert not torch.equal(net.output.weight, before)
    assert d2l.predict_snli(net, vocab, ["a", "dog"], ["a", "man"]) in d2l.LABELS


def test_train_ch13_equals_a_plain_loop_over_summed_losses(published, capsys):
    bert, vocab = read_checkpoint(published, dropout=0.0)
    pairs = ["the dog runs", "a man sleeps .", "a dog", "the man"], ["a dog"] * 4, [0, 1, 2, 1]
    batches = DataLoader(ReadersDataset(pairs, 12, vocab), 3)
    loss = nn.CrossEntropyLoss(reduction="none")
    torch.manual_seed(0)
    nets = [ReadersClassifier(bert) for _ in range(2)]
    state = None
    for net in nets:
        net(next(iter(batches))[0])
        state = state or {name: tensor.clone() for name, tensor in net.state_dict().items()}
    plain, sums = nets[0], []
    plain.load_state_dict(state)
    trainer = torch.optim.SGD(plain.parameters(), lr=1e-2)
    for _ in range(2):
        losses = []
        for X, y in batches:
            trainer.zero_grad()
            losses.append(loss(plain(X), y))
            losses[-1].sum().backward()
            trainer.step()
        sums.append(torch.cat(losses).sum().item())
    expected = [p.detach().clone() for p in plain.parameters()]
    nets[1].load_state_dict(state)
    d2l.train_ch13(
        nets[1], batches, batches, loss, torch.optim.SGD(nets[1].parameters(), lr=1e-2), 2
    )
    for a, b in zip(nets[1].parameters(), expected, strict=True):
        torch.testing.assert_close(a, b)
    printed = re.fullmatch(CLOSING, capsys.readouterr().out)
    assert float(printed[1]) == pytest.approx(sums[-1] / 4, abs=5e-4)
    assert float(printed[3]) in (0, 0.25, 0.5, 0.75, 1)


def test_without_a_gpu_the_cpu_is_the_device(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    assert d2l.try_all_gpus() == [torch.device("cpu")]


def test_data_is_loaded_by_processes_only_where_they_can_be_forked(monkeypatch):
    for method, some in (("fork", True), ("spawn", False), ("forkserver", False)):
        monkeypatch.setattr(multiprocessing, "get_start_method", lambda m=method, **_: m)
        assert (d2l.get_dataloader_workers() > 0) == some


def test_a_loss_of_one_number_is_told_what_is_missing(net, toy_pairs, vocab):
    batches = d2l.bucketed_loader(d2l.SNLIBERTDataset(toy_pairs, 32, vocab), 16)
    trainer = torch.optim.Adam(net.parameters())
    with pytest.raises(ValueError, match="reduction='none'"):
        d2l.train_ch13(net, batches, batches, nn.CrossEntropyLoss(), trainer, 1, d2l.try_all_gpus())
