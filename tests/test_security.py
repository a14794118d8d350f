"""What could run somebody else's code, or be read by somebody else."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import torch

from seams import Ranks, RunFolder, read_torch_tensors

ROOT = Path(__file__).parents[1]
SOURCES = {
    **{str(path.relative_to(ROOT)): path.read_text("utf-8")
       for folder in ("d2lnli", "benchmarks") for path in (ROOT / folder).rglob("*.py")},
    **{f"{path.name}, cell {i}": cell.source
       for path in (ROOT / "notebooks").rglob("*.ipynb") if "checkpoints" not in str(path)
       for i, cell in enumerate(nbformat.read(path, 4).cells) if cell.cell_type == "code"},
}  # fmt: skip
MODULES = {"pickle", "cPickle", "dill", "marshal", "shelve", "joblib", "telnetlib", "ftplib"}
FUNCTIONS = {"eval", "exec", "__import__", "os.system", "os.popen", "torch.jit.load"}


def calls(tree: ast.AST) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def called(call: ast.Call) -> str:
    return ast.unparse(call.func)


@pytest.mark.parametrize("name", SOURCES)
def test_nothing_unpickles_and_nothing_calls_a_shell(name):
    source = re.sub(r"^\s*[%!].*$", "pass", SOURCES[name], flags=re.M)
    assert "shell=True" not in source
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name.partition(".")[0] for alias in node.names}
            assert not ({*names, getattr(node, "module", "")} & MODULES)
    for call in calls(tree):
        function = called(call)
        assert function not in FUNCTIONS
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        if function == "torch.load":
            assert given.get("weights_only") == "True"
        if function in ("np.load", "numpy.load"):
            assert given.get("allow_pickle", "False") == "False"


def test_what_starts_processes_is_known_and_starts_this_python():
    starting = [name for name, source in SOURCES.items() if "import subprocess" in source]
    ways = {
        "benchmarks/gpu.py": ("run", "command"),
        "benchmarks/speed.py": ("run", "command"),
        "d2lnli/runs/launched.py": ("Popen", "command"),
    }
    assert set(starting) == set(ways)
    for name in starting:
        called = re.findall(r"subprocess\.([a-z]\w+|Popen)\(\s*(\w+)", SOURCES[name])
        assert called == [ways[name]]
        assert "command = [sys.executable, " in SOURCES[name]


def test_a_pickle_in_a_run_folder_or_a_checkpoint_is_not_opened(tmp_path):
    import pickle

    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "hacked",))

    (tmp_path / "checkpoint.pt").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match=r"checkpoint\.pt"):
        RunFolder(tmp_path, Ranks())
    torch.save(Evil(), tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match=r"checkpoint\.pt.*could run their code: delete it"):
        RunFolder(tmp_path, Ranks())
    with pytest.raises(ValueError, match=r"checkpoint\.pt"):
        read_torch_tensors(tmp_path / "checkpoint.pt")
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize(
    ("found", "status", "said"),
    [
        ({"a": []}, 0, "1 of 2 requirements were audited: no known vulnerability"),
        ({"a": [{"id": "CVE-1", "fix_versions": ["2.0"]}]}, 1, "a 1.0: CVE-1, mended in 2.0"),
        ({}, 0, "none of the 1 requirements could be audited: the service cannot be reached"),
        (None, 0, "nothing was audited: pip-audit gave no answer"),
    ],
)
def test_the_audit_says_what_it_found_and_when_it_could_not_look(tmp_path, found, status, said):
    report = tmp_path / "report.json"
    if found is not None:
        audited = [{"name": name, "version": "1.0", "vulns": v} for name, v in found.items()]
        skipped = [{"name": "b", "skip_reason": "not found"}]
        report.write_text(json.dumps({"dependencies": [*audited, *skipped]}))
    run = subprocess.run(
        [sys.executable, ROOT / ".ci" / "audit.py", report], capture_output=True, text=True
    )
    assert (run.returncode, said in run.stdout) == (status, True), run.stdout + run.stderr
