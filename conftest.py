"""Which tests run when and side by side, and the empty data folder that each session starts with.

There are three tiers: `python -m pytest` runs the default one, `-m ci` the second, `-m soak` the
third (CONTRIBUTING.md has the commands). A file or a test that is named on the command line always
runs, whatever its tier.
"""

import os
import signal
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

_data_dir = tempfile.TemporaryDirectory(prefix="d2lnli-tests-")
os.environ["D2LNLI_DATA_DIR"] = _data_dir.name  # empty at first, for notebooks and commands too
if "PYTEST_XDIST_WORKER" in os.environ:  # idle OpenMP threads spin, and would slow the other worker
    os.environ.setdefault("OMP_NUM_THREADS", "1")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell's & passes it on
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Parts of tests' ids. Of several that fit the longest counts; what none fits is default.
CI = (
    "notebooks/04_truncation",
    "notebooks/solutions/",
    "test_archives.py::test_a_published_archive_loads",
    "test_benchmarks.py::test_every_row_of_the_table_is_measured",
    "test_benchmarks_in_small.py",
    "tests/browser/",
    "test_distributed.py::test_a_network_of_the_readers_own",
    "test_distributed.py::test_a_press_between_two_agreements",
    "test_distributed.py::test_dropout_differs",
    "test_distributed.py::test_killed_a_run_goes_on",
    "test_distributed.py::test_out_of_memory_is_told",
    "test_distributed.py::test_processes_with_other_settings",
    "test_distributed.py::test_several_processes_follow_the_curve_of_one",
    "test_distributed.py::test_torchrun_restarts",
    "test_distributed.py::test_train_ch13_is_for_one_process",
    "test_distributed.py::test_under_torchrun_a_killed_worker",
    "test_distributed.py::test_what_all_met_is_said_once",
    "test_distributed.py::test_what_ranks_tell",
    "test_distributed.py::test_who_is_told_to_end",
    "test_distributed.py::test_who_is_told_to_stop_tells_the_others[SIG",
    "test_distributed.py::test_without_dropout_the_number_of_ranks",
    "test_downloads.py::test_sixteen_processes",
    "test_classifiers_from_elsewhere.py::test_a_network_that_was_trained_in_a_launched_run",
    "test_cli.py::test_a_process_that_hears_ctrl_c",
    "test_finetuned.py::test_read_while_it_is_replaced_a_classifier_is_one_of_the_two[few",
    "test_installed.py",
    "test_launching.py::test_a_launched_run_",
    "test_launching.py::test_a_run_whose_folder",
    "test_launching.py::test_the_panel_of_a_run_that_is_waited_for",
    "test_launching.py::test_the_stop_button",
    "test_launching.py::test_two_processes_train",
    "test_mapped.py::test_of_several_processes",
    "test_minilm.py::test_where_its_missing_head",
    "test_notebooks.py::test_a_notebook_takes_folders",
    "test_notebooks.py::test_a_notebook_takes_pairs_in_any_layout",
    "test_notebooks.py::test_trained_answers_are_the_same",
    "test_platforms.py::test_without_a_home_nothing_is_trained",
    "test_platforms.py::test_without_a_home_check",
    "test_runs.py::test_killed_again_and_again",
    "test_training.py::test_a_wrapped_network_goes_wherever_a_plain_one_does[compiled",
    "test_training.py::test_a_wrapped_network_goes_wherever_a_plain_one_does[both",
    "test_training.py::test_a_wrapped_network_with_many_words_learns_the_same[compiled",
    "test_tiers.py::test_a_tier_runs",
    "test_tiers.py::test_two_workers",
    "test_transformers.py",
    "test_truncation_grid.py::test_a_cell_of_the_table",
    "test_two_words.py",
    "test_types.py",
)
SOAK = (
    "many]",
    "test_archives.py::test_a_published_archive_loads_in_less_than_twice_its_memory[bert.base",
    "test_archives.py::test_one_step_of_bert_base",
    "test_benchmarks.py::test_buckets_and_bf16_end_at_the_same_accuracy",
    "test_distributed.py::test_killed_a_run_goes_on_bit_for_bit_or_with_other_ranks[0-many",
    "test_distributed.py::test_killed_a_run_goes_on_bit_for_bit_or_with_other_ranks[1-few",
    "test_distributed.py::test_several_processes_follow_the_curve_of_one[bf16-4",
    "test_distributed.py::test_several_processes_follow_the_curve_of_one[fp16-4",
    "test_distributed.py::test_several_processes_follow_the_curve_of_one[frozen encoder-4",
    "test_distributed.py::test_several_processes_follow_the_curve_of_one[in parts-4",
    "test_minilm.py::test_eight_thousand_pairs",
    "test_minilm.py::test_it_is_a_value_of_the_parameters[",
    "test_minilm.py::test_it_is_a_value_of_the_parameters_where_it_is_fine_tuned",
    "test_notebooks.py::test_each_notebook_passes_alone",
    "test_notebooks.py::test_every_notebook_runs_with_other_parameters",
    "test_two_words.py::test_two_words_take_a_notebook_to_the_books_model_and_corpus[01",
    "test_two_words.py::test_two_words_take_a_notebook_to_the_books_model_and_corpus[02",
    "test_two_words.py::test_two_words_take_a_notebook_to_the_books_model_and_corpus[04",
    "tests/browser/test_notebooks.py::test_run_all_draws_every_cell[chromium-notebooks/solutions",
)
DEFAULT = (
    "tests/browser/test_notebooks.py::test_run_all_draws_every_cell[chromium-notebooks/01",
    "test_distributed.py::test_several_processes_follow_the_curve_of_one[many words-2",
)
TIERS = {
    **dict.fromkeys(DEFAULT, "default"),
    **dict.fromkeys(CI, "ci"),
    **dict.fromkeys(SOAK, "soak"),
}

# Tests of a group run one after the other in one process: those of a file (of a notebook, its
# cells), except in the files whose tests are long and share no fixtures.
GROUPS = {
    "notebooks/03_fine_tuning": "lessons 03 and 05",  # 05 uses the classifier that 03 has made
    "notebooks/05_prediction": "lessons 03 and 05",
}
APART = ("tests/test_distributed.py", "tests/test_two_words.py")
LONGEST = ("notebooks/03", "notebooks/05", "tests/test_distributed", "tests/test_runs")
EXPECTED_SKIPS = ("needs a GPU", "needs the internet", "needs ../shared")


def tier(test: str) -> str:
    """Return the tier of the test with this id."""
    return TIERS.get(max((part for part in TIERS if part in test), key=len, default=""), "default")


def group(test: str) -> str:
    """Return what the test with this id shares a process with."""
    file = test.partition("::")[0]
    return GROUPS.get(file.partition(".")[0], test if file in APART else file)


def pytest_configure(config: pytest.Config) -> None:
    """Say what the markers mean."""
    for line in (
        "ci: run by .ci/run after the default tier; conftest.py says which",
        "soak: run by hand; conftest.py says which",
        "gpu: needs a GPU, and is skipped without one",
    ):
        config.addinivalue_line("markers", line)


@pytest.hookimpl(tryfirst=True)  # before -m is applied
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark every test with its tier, leave out what was not asked for, begin with what is long."""
    for item in items:
        if tier(item.nodeid) != "default":
            item.add_marker(tier(item.nodeid))
    if not config.getoption("-m"):
        named = {Path(argument.partition("::")[0]).resolve() for argument in config.args}
        left_out = [i for i in items if tier(i.nodeid) != "default" and i.path not in named]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


class Groups(LoadScopeScheduling):
    """Hands whole groups to the workers. (The mark xdist_group is lost with pytest 9.2.)"""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Groups:
    """Give pytest-xdist the groups of this file."""
    return Groups(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip in CI into a failure, unless its reason is one that CI cannot help."""
    report = yield
    expected = hasattr(report, "wasxfail") or any(r in str(report.longrepr) for r in EXPECTED_SKIPS)
    if report.skipped and "CI" in os.environ and not expected:
        report.outcome = "failed"
    return report
