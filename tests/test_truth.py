# SPDX-License-Identifier: Apache-2.0
"""What stackgroup says of a core is what the program knew of itself: every group, count and frame, for every variant and both
kinds of core. Where names are stripped the groups must still be the same threads."""

import json

import cores
import oracles
import pytest
import stacks
from conftest import case_name, make_or_skip
from cores import C_BASE, PROGRAMS, all_cases

CASES = all_cases()


def all_tids(truth):
    return {tid for group in truth["groups"] for tid in group["tids"]}


def readable(differences):
    return "\n".join(f"{group} (thread {tid}): {text}" for group, tid, text in differences)


@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_truth(case, core, stackgroup):
    program, variant, _ = case
    document = oracles.stackgroup_json(core.path, "--by=pc", "--members")
    found = oracles.json_stacks(document)
    assert set(found.threads) == all_tids(core.truth)
    profile = next(row for row in document["profiles"] if row["kind"] == "thread")
    assert profile["total"] == len(all_tids(core.truth))
    assert all(group["count"] == len(group["members"]) for group in profile["groups"])
    if variant.names:
        differences = stacks.truth_differences(core.truth, found, inlines=variant.inlines, leaves=variant.leaf)
        assert not differences, readable(differences)
    if not program.spins:
        assert grouped(profile) == wanted_partition(core.truth)


def grouped(profile):
    return stacks.partition([int(tid) for tid in group["members"]] for group in profile["groups"])


def wanted_partition(truth):
    return stacks.partition(group["tids"] for group in truth["groups"])


@pytest.mark.parametrize("case", [case for case in CASES if case[0].dies or case[2] == "kernel"], ids=case_name)
def test_signal(case, core, stackgroup):
    """The thread that died comes first, with the signal that it died of."""
    if "signal" not in core.truth:
        pytest.skip("nothing died")
    document = oracles.stackgroup_json(core.path, "--members")
    signal = document["source"]["signal"]
    wanted = next(group for group in core.truth["groups"] if group["name"] == core.truth["signal"]["group"])
    assert signal["number"] == core.truth["signal"]["number"]
    assert [int(signal["tid"])] == wanted["tids"]
    assert str(wanted["tids"][0]) in document["profiles"][0]["groups"][0]["members"]


@pytest.mark.parametrize("by", ["line", "pc", "function"])
def test_many_groups(by, many_core, stackgroup):
    """The groups of a program without stacks that differ only in pc are the same by any key."""
    document = oracles.stackgroup_json(many_core.path, f"--by={by}", "--members")
    assert grouped(document["profiles"][0]) == wanted_partition(many_core.truth)


@pytest.mark.long
@pytest.mark.parametrize("threads,groups", [(100, 14), (1000, 20), (10000, 17)])
def test_many_threads(threads, groups, stackgroup):
    try:
        core = cores.make_core("many", C_BASE, "kernel", arguments=(threads, groups))
    except cores.Unavailable as error:
        pytest.skip(str(error))
    document = oracles.stackgroup_json(core.path, "--by=pc", "--members")
    assert not stacks.truth_differences(core.truth, oracles.json_stacks(document))
    assert grouped(document["profiles"][0]) == wanted_partition(core.truth)


@pytest.mark.parametrize("case", [(PROGRAMS[name], C_BASE, "kernel") for name in ("parked", "deadlock_pool", "crash-null")],
                         ids=case_name)
def test_pprof_loads_text(case, core, stackgroup, tmp_path):
    out = tmp_path / "threads.txt"
    done = oracles.stackgroup_run("-o", out, core.path)
    assert done.returncode == 0, done.stderr
    assert oracles.pprof_total(oracles.pprof_raw(out)) == len(all_tids(core.truth))


def test_forms_of_the_command_line(parked_core, stackgroup):
    """CORE, CORE EXE, EXE -c CORE and --exe mean the same."""
    core, executable = parked_core.path, parked_core.executable
    outputs = []
    for arguments in ([core], [core, executable], [executable, "-c", core], ["--exe", executable, core]):
        done = oracles.stackgroup_run("--format=json", "--members", *arguments)
        assert done.returncode == 0, done.stderr
        document = json.loads(done.stdout)
        document.pop("stats", None)
        outputs.append(document)
    assert all(output == outputs[0] for output in outputs)


def test_same_bytes_twice(parked_core, stackgroup):
    first, second = (oracles.stackgroup_run(parked_core.path).stdout for _ in range(2))
    assert first and first == second


def test_demo_core_has_its_groups(stackgroup):
    core = make_or_skip((PROGRAMS["deadlock_pool"], C_BASE, "any"))
    document = oracles.stackgroup_json(core.path, "--members")
    assert grouped(document["profiles"][0]) == wanted_partition(core.truth)
