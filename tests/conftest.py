# SPDX-License-Identifier: Apache-2.0
"""Fixtures: the program under test, test cores on demand. What a machine lacks skips the test and says what is missing."""

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import cores  # noqa: E402
import oracles  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "long: takes more than a few seconds")
    # A shell's background job ignores these, and what it starts inherits that: programs under test must not.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)


def pytest_addoption(parser):
    parser.addoption("--quick", action="store_true", help="leave out the tests marked long")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--quick"):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="long, and --quick was given"))


def pytest_report_header(config):
    reason = cores.kernel_writes_plain_cores()
    kernel = f"no ({reason})" if reason else "yes"
    return [f"stackgroup: {oracles.stackgroup_path()}", f"cores by the kernel: {kernel}; cache: {cores.cache_folder()}"]


def case_name(case):
    program, variant, kind = case
    return f"{program.name}-{variant.name}-{kind}"


def make_or_skip(case):
    try:
        return cores.make_core(*case)
    except cores.Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session", autouse=True)
def all_cores_made(request):
    """Makes the cores of a full run beforehand, two at a time: compilers and gdb are most of the suite's time. What fails here
    fails again, with its message, in the test that wants the core."""
    wanted = [item.callspec.params["case"] for item in request.session.items
              if hasattr(item, "callspec") and "case" in item.callspec.params]
    if len(wanted) < 8:
        return

    def make(case):
        try:
            cores.make_core(*case)
        except Exception:
            pass

    unique = {case_name(case): case for case in wanted}
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        list(pool.map(make, unique.values()))


@pytest.fixture
def core(case):
    return make_or_skip(case)


@pytest.fixture(scope="session")
def stackgroup():
    path = oracles.stackgroup_path()
    if not path.exists():
        pytest.fail(f"no {path}: build it first")
    return path


@pytest.fixture(scope="session")
def parked_core():
    """The common program, as the kernel leaves it."""
    return make_or_skip((cores.PROGRAMS["parked"], cores.C_BASE, "any"))


@pytest.fixture(scope="session")
def many_core():
    return make_or_skip((cores.PROGRAMS["many"], cores.C_BASE, "any"))
