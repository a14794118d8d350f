"""The memory that `bert.base` takes: `python -m benchmarks.memory`, some two minutes.

A network of its sizes, with random weights, takes one optimiser step on 32 pairs of 128 tokens, in
processes of their own that hold nothing else.
"""

import time

import d2lnli as d2l
from d2lnli.store.hub import ARCHITECTURES

from .measure import PeakMemory, in_new_process, machine

WORDS = 60_005
SPECIALS = ["<pad>", "<mask>", "<cls>", "<sep>", "<unk>"]
BATCH_SIZE, LENGTH = 32, 128
SETTINGS = (("fp32", None), ("fp32", 1024), ("fp32", 256), ("bf16", None), ("bf16", 1024))


def one_step(precision: str, most_tokens: int | None) -> tuple[float, float]:
    """Return the peak in MiB, beyond Python and torch, and the seconds of the step alone."""
    with PeakMemory() as memory:
        vocab = d2l.Vocab()
        vocab.idx_to_token = SPECIALS + [f"w{i}" for i in range(WORDS - len(SPECIALS))]
        vocab.token_to_idx = {word: i for i, word in enumerate(vocab.idx_to_token)}
        bert = d2l.BERTModel(WORDS, dropout=0.1, **ARCHITECTURES["bert.base"])
        net = d2l.BERTClassifier(bert)
        del bert  # and with it the masked-LM head
        side = [vocab.idx_to_token[5:200]] * BATCH_SIZE
        pairs = d2l.SNLIBERTDataset((side, side, [0, 1] * (BATCH_SIZE // 2)), LENGTH, vocab)
        settings = {**d2l.recipe("bert.base"), "num_epochs": 1, "batch_size": BATCH_SIZE}
        start = time.perf_counter()
        d2l.finetune(net, pairs, None, **settings, precision=precision, most_tokens=most_tokens)
        elapsed = time.perf_counter() - start
    return memory.megabytes, elapsed


def main() -> None:
    """Measure every setting and print a table."""
    print(f"{BATCH_SIZE} pairs of {LENGTH} tokens, {WORDS:,} words; {machine()}")
    for precision, most_tokens in SETTINGS:
        megabytes, elapsed = in_new_process(one_step, precision, most_tokens)
        at_once = f"{most_tokens or BATCH_SIZE * LENGTH} tokens at once"
        print(f"{precision}, {at_once}: {megabytes / 1024:.1f} GiB, {elapsed:.1f} s", flush=True)


if __name__ == "__main__":
    main()
