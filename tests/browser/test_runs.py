"""A training in JupyterLab that is stopped, or whose tab is closed: what was learnt is there."""

import re
import time
from collections.abc import Callable

import psutil
from playwright.sync_api import expect

import d2lnli as d2l

from .lab import Lab

DATA = """import torch, d2lnli as d2l
folder = d2l.download_extract("Scenes")
bert, vocab = d2l.load_pretrained_model("bert.tiny")
train_set, dev_set = (
    d2l.SNLIBERTDataset(d2l.read_snli(folder, split, 2000), 128, vocab)
    for split in ("train", "dev")
)
torch.set_num_threads(1)
torch.manual_seed(0)
net = d2l.BERTClassifier(bert)"""
TRAIN = """history = d2l.finetune(
    net, train_set, dev_set, lr=1e-3, num_epochs=4, batch_size=32, run_dir="my run")
print("stopped" if history.interrupted else "whole", f"at epoch {history.records[-1].epoch:.2f}")"""
LOOK = "import d2lnli as d2l\nd2l.History.load('my run').plot()"
MOVING = """() => [...document.querySelectorAll('.jp-OutputArea img')]
    .some(image => /after (?!0\\.[01]:)[\\d.]+:/.test(image.alt))"""  # so that there are rows


def start(lab: Lab, *sources: str) -> None:
    """Run a new notebook until its live plot shows a part of an epoch."""
    lab.write_new(*sources)
    lab.open("new.ipynb")
    lab.start_all()
    lab.page.wait_for_function(MOVING)


def kernels(lab: Lab) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline", "cwd"])
        if "ipykernel_launcher" in " ".join(process.info["cmdline"] or ())
        and process.info["cwd"] == str(lab.server.folder)
    ]


def wait_until(condition: Callable[[], bool]) -> None:
    last = time.time() + 60
    while not condition():
        assert time.time() < last
        time.sleep(0.2)


def epoch_on_disk(lab: Lab) -> float:
    return d2l.History.load(lab.server.folder / "my run").records[-1].epoch


def test_the_stop_button_a_closed_tab_and_a_lost_kernel_lose_nothing(lab, artifacts):
    start(lab, DATA, TRAIN)
    lab.execute("notebook:interrupt-kernel")
    lab.wait_for_all()
    said = lab.page.locator(".jp-OutputArea-output", has_text="stopped at epoch")
    expect(said).to_be_visible()
    stopped_at = epoch_on_disk(lab)
    assert 0 < stopped_at < 4

    lab.page.goto("about:blank")  # the kernel works on without a page
    start(lab, TRAIN)
    lab.page.goto("about:blank")
    first_seen = epoch_on_disk(lab)
    assert first_seen > 0
    wait_until(lambda: epoch_on_disk(lab) > max(first_seen, stopped_at))

    (killed,) = kernels(lab)
    killed.kill()
    wait_until(lambda: [kernel for kernel in kernels(lab) if kernel.pid != killed.pid])

    lab.open_new(DATA, TRAIN)
    expect(
        lab.page.locator(".jp-OutputArea-output", has_text="whole at epoch 4.00")
    ).to_be_visible()
    lab.open_new(LOOK)
    (picture,) = lab.images()
    assert (
        re.search(r"after 4\.0: train loss from \d\.\d+ to 0\.\d+", picture["alt"])
        and picture["width"]
    )
    lab.picture_themes(artifacts / "a-run-gone-on-with")


OUTPUT = ".jp-OutputArea-output"
LAUNCH = """run = d2l.finetune(
    net, train_set, dev_set, lr=1e-3, num_epochs=EPOCHS, batch_size=32, run_dir="launched run",
    devices=[torch.device("cpu")] * 2, launch=True)"""
MEANWHILE = 'print("free at", run.history.records and "some point" or "the start")'
RESULT = """history = run.wait()
print("stopped at" if history.interrupted else "whole at", history.records[-1].epoch)
print("on", history.device.count("cpu"))
d2l.evaluate(net, dev_set)"""


def test_a_launched_run_leaves_the_notebook_free_and_outlives_its_kernel(lab, artifacts):
    lab.write_new(DATA, LAUNCH.replace("EPOCHS", "40"), MEANWHILE)
    lab.open("new.ipynb")
    lab.run_all()
    expect(lab.page.locator(OUTPUT, has_text="free at the start")).to_be_visible()
    lab.page.wait_for_function(MOVING)
    expect(lab.page.locator(f"{OUTPUT} .widget-html", has_text="of 40: loss")).to_be_visible()
    lab.picture_themes(artifacts / "a-launched-run")

    lab.page.goto("about:blank")
    (killed,) = kernels(lab)
    killed.kill()
    wait_until(lambda: [kernel for kernel in kernels(lab) if kernel.pid != killed.pid])
    path = lab.server.folder / "launched run"
    first_seen = d2l.History.load(path).records[-1].epoch
    wait_until(lambda: d2l.History.load(path).records[-1].epoch > first_seen)

    lab.open_new(DATA, LAUNCH.replace("EPOCHS", "40"))
    expect(lab.page.locator(OUTPUT, has_text="following the run in")).to_be_visible()
    lab.page.wait_for_function(MOVING)
    lab.page.locator(f"{OUTPUT} button", has_text="Stop").click()
    expect(lab.page.locator(OUTPUT, has_text=re.compile(r"ended at epoch \d"))).to_be_visible()
    stopped_at = d2l.History.load(path).records[-1].epoch

    start(lab, DATA, LAUNCH.replace("EPOCHS", "40"), RESULT)
    expect(lab.page.locator(OUTPUT, has_text="a cell waits for the end")).to_be_visible()
    wait_until(lambda: d2l.History.load(path).records[-1].epoch > stopped_at)
    lab.execute("notebook:interrupt-kernel")
    for said in ("stopped at", "on 2", "accuracy 0."):
        expect(lab.page.locator(OUTPUT, has_text=said)).to_be_visible()
    assert stopped_at < d2l.History.load(path).records[-1].epoch < 40
    assert not (path / "stop").exists()
