"""Many devices: the model that predicts, and the document that tells of it."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from torch.distributed.run import get_args_parser

import d2lnli as d2l
from benchmarks import scaling
from benchmarks.scaling import Link, all_reduce_seconds, predicted_efficiency
from seams import parser

DOC = scaling.DOC.read_text(encoding="utf-8")
FIGURES = scaling.read(scaling.CSV)
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", DOC, re.MULTILINE | re.DOTALL)

positive = st.floats(1e-6, 1e6)
num_bytes = st.floats(0, 1e12)
devices = st.integers(1, 1000)
links = st.builds(Link, st.floats(1e6, 1e12), st.floats(0, 1e-3))


@given(num_bytes, devices, links)
def test_an_all_reduce_is_a_ring_walked_twice(size, n, link):
    """Each hop passes on one share of n; n - 1 hops sum the shares, as many spread the sums."""
    seconds = 0.0
    for _ in ("sum", "spread"):
        for _ in range(n - 1):
            seconds += link.latency + size / n / link.bandwidth
    assert all_reduce_seconds(size, n, link) == pytest.approx(seconds)


@given(num_bytes, devices, links)
def test_rows_go_from_each_to_all(size, n, link):
    """Of ids and of values: the lengths, an all-reduce of next to nothing, and then the rows."""
    seconds = 0.0
    for part in (0.25 * size, 0.75 * size):
        seconds += all_reduce_seconds(0, n, link)
        for _ in range(n - 1):
            seconds += link.latency + part / link.bandwidth
    assert scaling.row_exchange_seconds(size, n, link) == pytest.approx(seconds)


@given(positive, num_bytes, num_bytes, devices, links, st.integers(1, 100))
def test_efficiency_is_a_share_that_falls_with_bytes_and_devices(
    compute, early, late, n, link, parts
):
    def efficiency(early, late, n, parts):
        seconds = (all_reduce_seconds(size, n, link) for size in (early, late))
        return predicted_efficiency(compute, *seconds, parts)

    found = efficiency(early, late, n, parts)
    assert 0 < found <= 1
    for worse in ((2 * early, late, n), (early, 2 * late, n), (early, late, n + 1)):
        assert efficiency(*worse, parts) <= found * (1 + 1e-9)
    assert efficiency(early, late, n, parts + 1) >= found * (1 - 1e-9)
    assert efficiency(early, late, 1, parts) == 1


def test_only_what_the_backward_pass_leaves_is_waited_for():
    assert predicted_efficiency(3, 2, 0) == 1
    assert predicted_efficiency(3, 3, 0) == pytest.approx(3 / 4)
    assert predicted_efficiency(3, 0, 1) == pytest.approx(3 / 4)
    assert predicted_efficiency(3, 3, 1, parts=2) == pytest.approx(6 / 8)


def test_bytes_are_those_of_the_classifier():
    total, embedding, row = scaling.gradient_bytes("bert.small")
    assert embedding == 60_005 * 256 * 4
    assert row == 256 * 4 + 8
    block = 4 * (256 * 256 + 256) + 2 * 256 * 512 + 512 + 256 + 4 * 256
    others = (2 + 512) * 256 + 2 * block + 256 * 256 + 256 + 3 * 256 + 3
    assert total == embedding + 4 * others


def test_processes_train_together_and_exchange_gradients(monkeypatch):
    monkeypatch.setitem(scaling.NUM_PAIRS, "bert.tiny", 128)
    sample = Path(d2l.download_extract("Scenes"))
    assert scaling.training_speed(sample, "bert.tiny", "fp32", 64) > 0
    assert scaling.together(2, 1, scaling.exchange_seconds, 4) > 0


def test_what_the_csv_predicts_follows_from_what_was_measured():
    found = [figure for figure in FIGURES if figure.table in ("throughput", "link", "rows")]
    found = [figure for figure in found if figure.basis != "predicted"]
    expected = {figure[:3]: figure for figure in scaling.predictions(found)}
    told = {figure[:3]: figure for figure in FIGURES if figure not in found}
    assert told.keys() == expected.keys()
    for key, figure in told.items():
        assert figure.value == pytest.approx(expected[key].value, rel=1e-3)
        assert figure.basis == expected[key].basis


def test_the_csv_is_written_as_it_is_read(tmp_path):
    scaling.write(tmp_path / "scaling.csv", FIGURES)
    assert (tmp_path / "scaling.csv").read_bytes() == scaling.CSV.read_bytes()


def test_the_document_shows_the_tables_of_the_csv():
    tables = scaling.markdown(FIGURES)
    assert scaling.put_into(DOC, tables) == DOC
    shown = re.findall(r"<!-- (\w+): benchmarks/scaling.csv, (\w+) -->\n\|", DOC)
    assert sorted(name for _, name in shown) == sorted(tables)
    for basis, name in shown:
        bases = {figure.basis for figure in FIGURES if figure.table == name}
        assert bases == ({basis, "predicted"} if name == "throughput" else {basis})


def test_quantities_in_the_text_are_figures_too():
    text = re.sub(r"^(```.*?^```|\|.*?$)", "", DOC, flags=re.MULTILINE | re.DOTALL)
    nvlink, others = scaling.NVLINK, scaling.NETWORKS.values()
    known = {str(figure) for figure in FIGURES}
    known |= {f"{1e-9 * link.bandwidth:g} GB/s" for link in (nvlink, *others)}
    known |= {f"{1e6 * nvlink.latency:g} µs", f"{1e6 * outer_hop(nvlink):g} µs"}
    told = re.findall(r"\d[\d,.]*(?:%|×| (?:MB|GB/s|ms|µs|pairs/s)\b)", text)
    assert len(told) > 3
    assert set(told) <= known
    ratio = scaling.multiplications("bert.base") / scaling.multiplications("bert.small")
    assert f"in the table above, {ratio:.0f};" in text
    assert f"so {scaling.CHAPTER_SPEED:,.0f} on each" in text
    assert f"reports {2 * scaling.CHAPTER_SPEED:,.1f} pairs a second" in text


def outer_hop(inner: Link) -> float:
    return round(8 * scaling.LATENCY - 7 * inner.latency, 9)


def options(command: list[str]) -> dict:
    """What torchrun and `finetune` make of a command's words."""
    known, _ = get_args_parser().parse_known_args(command)
    assert (known.module, known.training_script) == (True, "d2lnli")
    given = command[: command.index("-m")]
    names = {name for action in get_args_parser()._actions for name in action.option_strings}
    assert {word.partition("=")[0] for word in given} <= names
    return {**vars(known), **vars(parser().parse_args(known.training_script_args))}


def words(text: str) -> list[str]:
    """The words after `torchrun` of a shell's command that may go on over lines."""
    text = text.replace("\\\n", " ").partition("torchrun ")[2].partition("\n")[0]
    return [word.replace('"', "") for word in text.split()]


def test_commands_are_known_to_torchrun_and_finetune():
    commands = [words(text) for kind, text in BLOCKS if kind in ("sh", "bash")]
    assert len(commands) == 3
    one, several, slurm = map(options, commands)
    assert (one["nproc_per_node"], one["run_dir"]) == ("2", "my-run")
    for each in (several, slurm):
        assert each["rdzv_backend"] == "c10d"
        assert each["rdzv_endpoint"].endswith(":29400")
    assert slurm["batch_size"] == 512


def test_options_in_the_text_are_known_too():
    text = re.sub(r"^```.*?^```", "", DOC, flags=re.MULTILINE | re.DOTALL)
    told = set(re.findall(r"(?<=[` ])--[a-z][\w-]+", text)) - {"--corpus", "--rdzv"}
    parsers = [get_args_parser(), *parser()._subparsers._group_actions[0].choices.values()]
    known = {name for each in parsers for action in each._actions for name in action.option_strings}
    assert {"--max-restarts", "--most-tokens"} <= told <= known


def test_the_script_for_slurm_is_one(tmp_path):
    (script,) = [text for kind, text in BLOCKS if kind == "bash"]
    path = tmp_path / "job.sh"
    path.write_text(script, encoding="utf-8")
    assert subprocess.run(["bash", "-n", path]).returncode == 0
    assert script.startswith("#!/bin/bash\n#SBATCH ")
    seconds = int(re.search(r"--signal=TERM@(\d+)", script)[1])
    assert seconds > int(re.search(r"SHUTDOWN_TIMEOUT=(\d+)", script)[1])


def test_the_job_for_kubernetes_fits_its_service():
    (text,) = [text for kind, text in BLOCKS if kind == "yaml"]
    service, job = yaml.safe_load_all(text)
    assert (service["kind"], job["kind"]) == ("Service", "Job")
    assert service["spec"]["clusterIP"] == "None"
    name, spec = job["metadata"]["name"], job["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert service["spec"]["selector"] == {"job-name": name}
    assert pod["subdomain"] == service["metadata"]["name"]
    assert spec["completionMode"] == "Indexed"
    assert container["command"] == ["torchrun"]
    given = options(container["args"])
    assert int(given["nnodes"]) == spec["completions"] == spec["parallelism"]
    assert given["rdzv_endpoint"] == f"{name}-0.{pod['subdomain']}:29400"
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert sorted(mounts) == sorted(volume["name"] for volume in pod["volumes"])
    environment = {each["name"]: each["value"] for each in container["env"]}
    assert environment["D2LNLI_DATA_DIR"] == mounts["data"]
    assert Path(given["run_dir"]).parent == Path(mounts["runs"])
    timeout = int(environment["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"])
    assert timeout < pod["terminationGracePeriodSeconds"]
