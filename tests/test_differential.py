# SPDX-License-Identifier: Apache-2.0
"""Depth, addresses and function names of every thread equal those of eu-stack, gdb and the libunwind unwinder, on every test core
(each has up to 100 threads). What differs and why is in differences.json; a difference that is not there fails, and so does a row
there that explains nothing any more."""

import functools
import json
import re
import subprocess
from itertools import zip_longest
from pathlib import Path

import cores
import oracles
import pytest
import stacks
from conftest import case_name

DIFFERENCES = Path(__file__).with_name("differences.json")
ORACLES = ("eu-stack", "gdb", "libunwind")
CASES = cores.all_cases()

# Rows of differences.json that explained something, and the cases compared: read by the last test of this file.
used_rows = set()
compared = set()


@functools.lru_cache(maxsize=1)
def explanations():
    rows = json.loads(DIFFERENCES.read_text())
    for row in rows:
        # sometimes: the difference depends on where a running thread was caught, so the row is never stale.
        assert set(row) - {"sometimes"} == {"core", "oracle", "kind", "pattern", "reason"}, row
    return rows


def explained(core_name, oracle, kind, text):
    """The first row that explains a difference, or None."""
    for index, row in enumerate(explanations()):
        if (re.fullmatch(row["core"], core_name) and re.fullmatch(row["oracle"], oracle) and re.fullmatch(row["kind"], kind)
                and re.search(row["pattern"], text)):
            return index
    return None


@functools.lru_cache(maxsize=None)
def symbol_addresses(path):
    """Name to addresses, of a file and its debug file: names at one address are one function (read, __read, __libc_read)."""
    addresses = {}
    files = [path]
    notes = subprocess.run(["readelf", "-n", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=30).stdout
    if match := re.search(r"Build ID: ([0-9a-f]{2})([0-9a-f]+)", notes):
        files.append(f"/usr/lib/debug/.build-id/{match.group(1)}/{match.group(2)}.debug")
    for file in files:
        if not Path(file).exists():
            continue
        table = subprocess.run(["readelf", "-sW", file], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                               timeout=60).stdout
        for line in table.splitlines():
            words = line.split()
            if len(words) >= 8 and words[3] in ("FUNC", "IFUNC", "NOTYPE") and words[6] != "UND":
                addresses.setdefault(stacks.plain_name(words[7]), set()).add(words[1])
    return addresses


def same_function(ours, theirs, module):
    left, right = stacks.bare_name(ours), stacks.bare_name(theirs)
    if left == right:
        return True
    if not left or not right or not module or not Path(module).exists():
        return False
    addresses = symbol_addresses(module)
    return bool(addresses.get(stacks.plain_name(ours), set()) & addresses.get(stacks.plain_name(theirs), set()))


def physical(frames):
    return [frame for frame in frames if not frame.inlined]


def names_of(frames):
    return "|".join(stacks.plain_name(frame.function) or "?" for frame in frames)


def differences(ours, theirs):
    """(kind, text) of all that differs between two readings of one thread."""
    ours, theirs = physical(ours), physical(theirs)
    if [frame.pc for frame in ours] != [frame.pc for frame in theirs]:
        pairs = zip_longest((frame.pc for frame in ours), (frame.pc for frame in theirs))
        common = next(i for i, (left, right) in enumerate(pairs) if left != right)
        kind = "depth" if common in (len(ours), len(theirs)) else "pc"
        yield kind, (f"after {names_of(ours[:common]) or 'nothing'}: ours={names_of(ours[common:]) or 'end'} "
                     f"theirs={names_of(theirs[common:]) or 'end'}")
    for left, right in zip(ours, theirs):
        if left.pc == right.pc and not same_function(left.function, right.function, left.module):
            yield "name", f"ours={stacks.plain_name(left.function) or '?'} theirs={stacks.plain_name(right.function) or '?'}"


def read_with(oracle, core):
    if oracle == "eu-stack":
        return oracles.eu_stack(core.path, core.executable)
    if oracle == "gdb":
        return oracles.gdb(core.path, core.executable)
    return oracles.stackgroup(core.path, "--unwinder=libunwind")


@pytest.mark.long
@pytest.mark.parametrize("case", CASES, ids=case_name)
@pytest.mark.parametrize("oracle", ORACLES)
def test_differential(case, core, oracle, stackgroup):
    ours = oracles.stackgroup(core.path)
    try:
        theirs = read_with(oracle, core)
    except cores.Unavailable as error:
        pytest.skip(str(error))
    unexplained = {}
    if set(ours.threads) != set(theirs.threads):
        unexplained[("threads", f"ours={sorted(ours.threads)} theirs={sorted(theirs.threads)}")] = 0
    for tid, frames in ours.threads.items():
        for kind, text in differences(frames, theirs.threads.get(tid, [])):
            row = explained(core.name, oracle, kind, text)
            if row is None:
                unexplained.setdefault((kind, text), tid)
            else:
                used_rows.add(row)
    compared.add((case_name(case), oracle))
    assert not unexplained, "\n".join(f"thread {tid}: {kind}: {text}" for (kind, text), tid in unexplained.items())


@pytest.mark.long
def test_cross_check(parked_core, stackgroup):
    """The program's own comparison of its two unwinders runs and ends as an ordinary run does."""
    done = oracles.stackgroup_run("--cross-check", parked_core.path)
    assert done.returncode in (0, 4), done.stderr


@pytest.mark.long
def test_no_stale_differences(stackgroup):
    """Runs last in this file. Only a full run can tell that a row explains nothing."""
    missing = {(case_name(case), oracle) for case in CASES for oracle in ORACLES} - compared
    if missing:
        pytest.skip(f"{len(missing)} of {len(CASES) * len(ORACLES)} comparisons were not made in this run")
    stale = [row for index, row in enumerate(explanations()) if index not in used_rows and not row.get("sometimes")]
    assert not stale, json.dumps(stale, indent=1)
