"""The rules of the conftest.py at the root: who runs when, and what a skip means in CI."""

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTS = """
import os, pytest

def test_all_start_from_an_empty_data_folder():
    assert os.listdir(os.environ["D2LNLI_DATA_DIR"]) == []

@pytest.mark.skip(reason="needs a GPU: there is none")
def test_expected():
    pass

@pytest.mark.skip(reason="no time today")
def test_unexpected():
    pass
"""


@pytest.fixture
def project(tmp_path) -> Path:
    """A project with this one's conftest.py, and a file of tests whose tier is ci."""
    shutil.copy(ROOT / "conftest.py", tmp_path)
    (tmp_path / "pytest.ini").touch()
    (tmp_path / "test_installed.py").write_text(TESTS)
    return tmp_path


def test_every_part_of_an_id_in_the_table_is_one_of_a_test():
    table = runpy.run_path(str(ROOT / "conftest.py"))["TIERS"]
    for part in table.keys() - {"many]"}:
        file, _, test = part.partition("::")
        (path,) = ROOT.glob(f"tests/{file}" if file.startswith("test_") else f"{file.rstrip('/')}*")
        if test:
            assert f"\ndef {test.partition('[')[0]}" in path.read_text(encoding="utf-8"), part


def outcome(project: Path, *arguments: str, **environment: str) -> str:
    inherited = {name: value for name, value in os.environ.items()
                 if name not in ("CI", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER")}  # fmt: skip
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *arguments],
        cwd=project, env={**inherited, **environment}, capture_output=True, text=True,
    )  # fmt: skip
    return run.stdout.splitlines()[-1].partition(" in ")[0]


def test_a_tier_runs_when_it_is_asked_for_and_what_is_named_always(project):
    assert outcome(project, ".") == "3 deselected"
    assert outcome(project, ".", "-m", "ci") == "1 passed, 2 skipped"
    assert outcome(project, ".", "-m", "soak") == "3 deselected"
    assert outcome(project, "test_installed.py") == "1 passed, 2 skipped"
    assert outcome(project, "test_installed.py::test_expected") == "1 skipped"


def test_in_ci_a_skip_that_is_not_expected_is_a_failure(project):
    assert outcome(project, "test_installed.py", CI="1") == "1 passed, 1 skipped, 1 error"


def test_two_workers_share_the_tests(project):
    assert outcome(project, "-n", "2", "test_installed.py") == "1 passed, 2 skipped"
