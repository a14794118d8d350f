"""What the processes of a launched run do: `torchrun … -m d2lnli.job FOLDER`."""

import contextlib
import json
import sys
from operator import attrgetter
from pathlib import Path

from .runs.launched import JOB, OUTCOME, STARTING
from .runs.ranks import process_group, rank
from .store.classifiers import load_classifier, save_classifier
from .store.datasets import load_dataset
from .store.files import exclusive_lock, read_json, replace_file
from .training import finetune


def main(folder: Path) -> int:
    """Fine-tune the network in a folder on the datasets that it names, and put it back there."""
    try:
        with process_group(), contextlib.ExitStack() as stack:
            if rank() == 0:
                stack.enter_context(exclusive_lock(folder / JOB))
                (folder.parent / STARTING).unlink(missing_ok=True)
            _work(folder)
        return 0
    except (ValueError, OSError, MemoryError) as error:
        print(f"error: {str(error) or 'out of memory'}", file=sys.stderr)
        return 1


def _work(folder: Path) -> None:
    job = read_json(folder / JOB, dict)
    net, vocab = load_classifier(folder / "net")
    for name in job["frozen"]:
        attrgetter(name)(net).requires_grad_(False)
    data = {name: load_dataset(path, vocab) for name, path in job["datasets"].items()}
    settings = {**job["settings"], "run_dir": folder.parent}
    history = finetune(net, data["train"], data.get("dev"), **settings)
    if rank() == 0:
        save_classifier(folder / "net", net, vocab)
        history.save(folder / "net" / "history.csv")
        told = {name: value for name, value in vars(history).items() if name != "records"}
        text = json.dumps(told)
        replace_file(folder / OUTCOME, lambda path: path.write_text(text, encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
