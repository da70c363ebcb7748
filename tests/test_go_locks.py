# SPDX-License-Identifier: Apache-2.0
"""Locks of package sync, which keeps no owner: who holds them is inferred from pending deferred calls and from code."""

import json
import select
import subprocess

import pytest

import go_cores
import oracles
from test_goroutines import unavailable_skips

UNOPTIMISED = go_cores.VARIANTS["unoptimised"]

# case: goroutines in the circle, and those behind it
CIRCLES = {"self": (1, 3), "two": (2, 4), "three": (3, 0), "list": (1, 0), "globals": (2, 0), "explicit": (2, 0), "upgrade": (1, 0),
           "reread": (1, 1)}


def findings(*target):
    done = oracles.stackgroup_run("--format=json", "--members", "--goroutines", *target)
    assert done.returncode in (0, 4), done.stderr
    return json.loads(done.stdout).get("findings", [])


def check_circle(found, shape):
    finding, = [finding for finding in found if finding["severity"] != "info"]
    stuck, behind = CIRCLES[shape]
    assert (finding["id"], finding["severity"], finding["confidence"]) == ("go/deadlock", "critical", "inferred")
    roles = {row["role"]: 0 for row in finding["groups"]}
    for row in finding["groups"]:
        roles[row["role"]] += row["members"]
    assert roles == {"holds and waits": stuck, **({"waits": behind} if behind else {})}
    for line in finding["evidence"][:stuck]:
        assert "inferred from stacks" in line


@pytest.mark.parametrize("shape", CIRCLES)
def test_circle(shape, stackgroup):
    check_circle(findings(unavailable_skips(go_cores.make_core, "go_locks", go_cores.STRIPPED, [shape]).path), shape)


@pytest.mark.parametrize("shape", ("self", "three", "globals", "explicit"))
def test_circle_unoptimised(shape, stackgroup):
    """All defers are in the goroutine's list, and Lock is called."""
    check_circle(findings(unavailable_skips(go_cores.make_core, "go_locks", UNOPTIMISED, [shape]).path), shape)


def test_queue(stackgroup):
    """Two locks of one kind, each with a holder that sleeps."""
    found = findings(unavailable_skips(go_cores.make_core, "go_locks", go_cores.STRIPPED, ["busy"]).path)
    assert [finding["id"] for finding in found if finding["severity"] != "info"] == ["go/lock-held-in-wait"] * 2
    for finding in found:
        assert "time.Sleep" in finding["title"] and finding["confidence"] == "inferred"


def test_given_back(stackgroup):
    """Who has let go of a lock before he asks for another holds none: no circle."""
    found = findings(unavailable_skips(go_cores.make_core, "go_locks", go_cores.STRIPPED, ["apart"]).path)
    assert "critical" not in {finding["severity"] for finding in found}


def test_live(tmp_path, stackgroup):
    """The same of a process, and of the core that is saved of it."""
    executable = unavailable_skips(go_cores.build, "go_locks", go_cores.STRIPPED)
    child = subprocess.Popen([executable, tmp_path, "two"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                             env=oracles.environment(GOROUTINES_END="wait", GOMAXPROCS="4"))
    try:
        assert select.select([child.stdout], [], [], go_cores.RUN_SECONDS)[0], "it did not get ready"
        done = oracles.stackgroup_run("-p", str(child.pid), "--goroutines", "--format=json", "--members",
                                      f"--save={tmp_path}/saved")
        if "not permitted" in done.stderr:
            pytest.skip(f"ptrace is not permitted: {done.stderr.strip()}")
    finally:
        child.kill()
        child.communicate()
    check_circle(json.loads(done.stdout)["findings"], "two")
    check_circle(findings(f"{tmp_path}/saved", f"--exe={executable}"), "two")
