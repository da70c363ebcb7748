# SPDX-License-Identifier: Apache-2.0
"""Goroutines that nobody can wake any more, proved from a core's memory; and those that only look like it. The numbers are what
the goroutineleak profile of Go 1.26 says of the same program."""

import json

import pytest

import findings
import go_cores
import oracles
from test_goroutines import unavailable_skips

UNOPTIMISED = go_cores.VARIANTS["unoptimised"]
CGO = go_cores.VARIANTS["cgo-stripped"]

STUCK = (
    # case, rules with their members
    ("done", {"go/waitgroup-abandoned": 4}),
    ("results", {"go/channel-abandoned": 7, "go/waitgroup-abandoned": 1}),
    ("jobs", {"go/channel-abandoned": 35}),
    ("contexts", {"go/channel-abandoned": 9}),
    ("signal", {"go/cond-abandoned": 16}),
    ("unlocked", {"go/lock-abandoned": 11}),
)


def found_in(shape, variant=go_cores.STRIPPED, kind="kernel"):
    core = unavailable_skips(go_cores.make_core, "go_stuck", variant, [shape], kind)
    done = oracles.stackgroup_run("--format=json", "--goroutines", core.path)
    assert done.returncode in (0, 4), done.stderr
    return {finding["id"]: finding for finding in json.loads(done.stdout).get("findings", [])}


def above_info(found):
    return {name: finding["members"] for name, finding in found.items() if finding["severity"] != "info"}


def evidence(finding):
    return "\n".join(finding["evidence"])


@pytest.mark.parametrize("variant", (go_cores.STRIPPED, go_cores.PLAIN), ids=lambda variant: variant.name)
@pytest.mark.parametrize("shape, expected", STUCK, ids=[row[0] for row in STUCK])
def test_stuck(shape, expected, variant, stackgroup):
    found = found_in(shape, variant)
    assert above_info(found) == expected
    assert all(found[name]["confidence"] == "read" for name in expected)


@pytest.mark.parametrize("variant, kind", ((UNOPTIMISED, "kernel"), (CGO, "kernel"), (go_cores.STRIPPED, "gcore")),
                         ids=("unoptimised", "cgo", "gcore"))
def test_built_otherwise(variant, kind, stackgroup):
    """Frames with more in them, threads with stacks of C's, threads that no signal interrupted."""
    assert above_info(found_in("jobs", variant, kind)) == {"go/channel-abandoned": 35}


def test_counter(stackgroup):
    finding = found_in("done")["go/waitgroup-abandoned"]
    assert "whose counter stands at 2 (read): 2 calls of Done are missing" in evidence(finding)
    assert finding["keys"]["calls"] == "8"


def test_each_other(stackgroup):
    """Feeders wait for workers, workers for feeders: those who know a channel are named, with what they wait for."""
    told = evidence(found_in("jobs")["go/channel-abandoned"])
    assert "31 wait for channel 0x" in told and "which holds 3 of 3 (read)" in told
    assert "4 other goroutines know it, and are stuck themselves: 4 in main.(*Line).work at " in told
    found = found_in("results")
    assert "7 other goroutines know it, and are stuck themselves: 7 in main.square at " in evidence(found["go/waitgroup-abandoned"])


def test_main_is_kept_alive(stackgroup):
    """A WaitGroup at the end of main is how programs keep from ending."""
    found = found_in("main-wait")
    assert above_info(found) == {}


@pytest.mark.parametrize("variant, kind", ((go_cores.STRIPPED, "kernel"), (go_cores.PLAIN, "gcore"), (CGO, "kernel")),
                         ids=("kernel", "gcore", "cgo"))
def test_twins(variant, kind, stackgroup):
    """Idle workers, subscribers, connections, tickers, tasks, contexts, what a finalizer ends, who waits for one that sleeps."""
    assert above_info(found_in("twins", variant, kind)) == {}


def test_live(tmp_path, stackgroup):
    """Of a process there is no heap at hand: nothing is claimed, and the counter is told."""
    executable = unavailable_skips(go_cores.build, "go_stuck", go_cores.STRIPPED)
    for case in ("done", "twins"):
        with findings.ready([executable, tmp_path, case], env=oracles.environment(GOROUTINES_END="wait")) as child:
            document = findings.stackgroup_json("-p", str(child.pid), "--goroutines")
        assert [finding["id"] for finding in document.get("findings", []) if finding["severity"] != "info"] == []
        counters = [row["counter"] for group in document["profiles"][0]["groups"] for row in group.get("waits", [])
                    if "counter" in row]
        assert counters == ([2] * 4 if case == "done" else counters)


def test_large_program(stackgroup):
    """Of many goroutines who is stuck is looked for where the rule is asked for, and else said not to be."""
    core = unavailable_skips(go_cores.make_core, "leaks", go_cores.STRIPPED, arguments=(100000,))
    document = oracles.stackgroup_json(core.path)
    assert "stuck-not-searched" in [row["code"] for row in document["diagnostics"]]
    assert "go/channel-abandoned" not in [finding["id"] for finding in document["findings"]]
    document = oracles.stackgroup_json(core.path, "--rule=go/channel-abandoned")
    assert "stuck-not-searched" not in [row["code"] for row in document["diagnostics"]]
    (finding,) = document["findings"]
    truth = json.loads(core.truth)
    abandoned = sum(truth[f"main.{name}"] for name in ("drainQueue", "sendResult", "waitEither", "waitCancelled"))
    assert finding["members"] >= abandoned * 0.99 and "main.sendResult" in evidence(finding)
