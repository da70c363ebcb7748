# SPDX-License-Identifier: Apache-2.0
"""Deadlocks and lock queues of real programs: every circle once and exactly, the chain as a queue with its head, nobody else
blamed; from cores and from the running process, with names and without."""

import json
import re

import cores
import oracles
import pytest
from conftest import case_name
from test_waits import CYCLES, OTHERS, Facts, in_pid_namespace, locks_process, namespace_ids, program_of, truth_path

RULES = """
plugin: test
version: 1
rules:
  - id: cycle
    severity: critical
    detector: lock-cycle
  - id: queue
    severity: warning
    detector: lock-queue
    at-least: 2
  - id: lost
    severity: critical
    detector: lock-queue
    holder: ended
    title: '{blocked} wait for {resource}: {holder}'
"""

# musl's normal mutexes keep no owner.
VARIANTS = [variant for variant in CYCLES.variants if not variant.name.startswith("musl")]
CASES = [(CYCLES, variant, kind) for variant in VARIANTS for kind in ("kernel", "gcore")]


@pytest.fixture
def rules(tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return path


def read_findings(rules, *arguments):
    done = oracles.stackgroup_run("--format=json", f"--plugin={rules}", *arguments)
    assert done.returncode in (0, 4), done.stderr
    return [finding for finding in json.loads(done.stdout)["findings"] if finding["id"].startswith("test/")]


def thread(facts, name):
    (tid,) = facts.threads[name]
    return tid


def check_cycles(facts, findings, confidence="read"):
    cycles = {}
    for finding in findings:
        if finding["id"] == "test/cycle":
            (cycle,) = finding["cycles"]
            first = min(range(len(cycle)), key=lambda at: int(cycle[at]))
            cycles[tuple(map(int, cycle[first:] + cycle[:first]))] = finding
    two, three = (sorted(thread(facts, name) for name in names)
                  for names in (("two, orders", "two, stock"), ("three, first", "three, second", "three, third")))
    ring = (three[0], three[1], three[2])
    by_want = {thread(facts, row["waiter"]): thread(facts, row["holders"][0]) for row in facts.rows if row["waiter"] != "innocents"}
    if by_want[three[0]] == three[2]:
        ring = (three[0], three[2], three[1])
    assert set(cycles) == {tuple(two), ring, (thread(facts, "self"),)}
    assert cycles[tuple(two)]["members"] == 2 + len(facts.threads["innocents"]) == 52
    assert cycles[ring]["members"] == 3
    assert cycles[(thread(facts, "self"),)]["members"] == 1
    assert {finding["confidence"] for finding in cycles.values()} == {confidence}
    blamed = {edge[side]["id"] for finding in cycles.values() for edge in finding["edges"] for side in ("waiter", "holder")}
    assert blamed == {str(tid) for cycle in cycles for tid in cycle}


def check_chain(facts, findings):
    (queue,) = (finding for finding in findings if finding["id"] == "test/queue")
    assert queue["members"] == 2
    assert queue["title"].startswith(f"thread {thread(facts, 'head')} ") or f"by thread {thread(facts, 'head')}" in queue["title"]
    assert {(edge["waiter"]["id"], edge["holder"]["id"]) for edge in queue["edges"]} == {
        (str(thread(facts, "chain, middle")), str(thread(facts, "head"))),
        (str(thread(facts, "chain, last")), str(thread(facts, "chain, middle"))),
    }
    assert len(findings) == 4, [finding["title"] for finding in findings]


@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_cores(case, core, stackgroup, rules):
    facts = Facts(truth_path(core))
    findings = read_findings(rules, core.path)
    check_cycles(facts, findings)
    check_chain(facts, findings)


# Threads that were not read at one instant, but stood still: while they were read, or between the looks.
LIVE = {"all": ((), "read"), "rolling": (("--rolling",), "read"), "none": (("--no-stop",), "read"),
        "samples": (("--no-stop", "--samples=3", "--interval=100ms"), "read")}


@pytest.mark.parametrize("variant", (VARIANTS[0], VARIANTS[-1]), ids=lambda value: value.name)
@pytest.mark.parametrize("how", LIVE)
def test_live(variant, how, stackgroup, tmp_path, rules):
    built, truth = locks_process(CYCLES, variant, tmp_path)
    arguments, confidence = LIVE[how]
    with cores.waiting(built, truth) as child:
        facts = Facts(truth)
        findings = read_findings(rules, *arguments, "-p", child.pid)
    check_cycles(facts, findings, confidence)
    check_chain(facts, findings)


def test_pid_namespace(stackgroup, tmp_path, rules):
    built, truth = locks_process(CYCLES, VARIANTS[0], tmp_path)
    with in_pid_namespace(built, truth, "wait") as child:
        pid = program_of(child)
        facts = Facts(truth, namespace_ids(pid))
        findings = read_findings(rules, "-p", pid)
    check_cycles(facts, findings)
    check_chain(facts, findings)


@pytest.mark.parametrize("case", [(OTHERS, VARIANTS[0], "kernel")], ids=case_name)
def test_other_locks(case, core, stackgroup, rules):
    facts = Facts(truth_path(core))
    findings = read_findings(rules, core.path)
    (lost,) = (finding for finding in findings if finding["id"] == "test/lost")
    (row,) = (row for row in facts.rows if row["state"] == "ended")
    assert (lost["members"], lost["confidence"]) == (1, "read")
    assert f"held by thread {row['owner']}, which has ended" in lost["title"]
    titles = sorted((finding["confidence"], finding["title"].split(": ")[0]) for finding in findings if finding["id"] == "test/cycle")
    assert titles == [("inferred", "2 threads wait for each other in a circle"), ("read", "2 threads wait for each other in a circle"),
                      ("read", "3 threads wait for each other in a circle")]


def test_without_debug_files(stackgroup, tmp_path, rules):
    """libc's inner functions have no names on most machines: the call sites told are the program's all the same."""
    try:
        core = cores.make_core(CYCLES, VARIANTS[0], "kernel")
    except cores.Unavailable as error:
        pytest.skip(str(error))
    told = []
    for options in ((), (f"--debug-path={tmp_path}",)):
        evidence = [finding["evidence"] for finding in read_findings(rules, *options, core.path)]
        # The call of libc's that a holder is in is "__GI___libc_read at read.c:26" by the debug file.
        told.append([[re.sub(r"it is in \S+( at \S+)?;", "it is in a call;", line) for line in lines] for lines in evidence])
    assert told[0] == told[1] and any(" in want_mutex at " in line for lines in told[1] for line in lines)
