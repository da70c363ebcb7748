# SPDX-License-Identifier: Apache-2.0
"""--samples=N --interval=T: who moved between several looks at a process, and who never did."""

import contextlib
import json
import re
import select
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest

import cores
import oracles

ROOT = Path(__file__).resolve().parent.parent
EACH = 6


@contextlib.contextmanager
def moving(each=EACH):
    """testcores/moving.c: EACH threads stuck, EACH looping, one spinning, one in a wait with a timeout, and main."""
    try:
        built = cores.build(cores.Program("moving", "moving.c", (cores.C_BASE,)), cores.C_BASE)
    except cores.Unavailable as error:
        pytest.skip(str(error))
    child = subprocess.Popen([str(built.executable), str(each)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        assert select.select([child.stdout], [], [], 60)[0] and child.stdout.readline() == "ready\n"
        cores.wait_until_main_sleeps(child.pid)
        yield child
    finally:
        child.kill()
        child.communicate()


def sampled(child, *arguments, code=0):
    done = oracles.stackgroup_run("--format=json", "--members", "-p", child.pid, *arguments)
    assert done.returncode == code, done.stderr
    document = json.loads(done.stdout)
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(document, json.loads((ROOT / "analyzer" / "stackgroup.schema.json").read_text()))
    return document


def members(document):
    return [detail for group in document["profiles"][0]["groups"] for detail in group["members_detail"]]


MOVES = {"stuck": False, "looping": True, "spinning": True, "timed": False, "moving": False}


@pytest.mark.parametrize("samples, interval", [(2, "0.3s"), (5, "100ms"), (20, "20ms")])
def test_stuck_and_moving(samples, interval, stackgroup):
    with moving() as child:
        document = sampled(child, f"--samples={samples}", f"--interval={interval}")
    assert document["source"]["samples"]["count"] == samples
    assert {(detail["name"], detail["moved"]) for detail in members(document)} == set(MOVES.items())
    for group in document["profiles"][0]["groups"]:
        moved = sum(detail["moved"] for detail in group["members_detail"])
        assert (group["moved"], group["never_moved"]) == (moved, group["count"] - moved)
    assert sum(group["never_moved"] for group in document["profiles"][0]["groups"]) == EACH + 2


def test_text(stackgroup):
    with moving() as child:
        text = oracles.stackgroup_run("-p", child.pid, "--samples=3", "--interval=150ms", "--members").stdout
    assert re.search(rf"^# moved: 0 of {EACH} in 3 samples over 0\.\d\d\d s; {EACH} never moved$", text, re.M), text
    assert re.search(rf"^# moved: {EACH} of {EACH} in 3 samples over 0\.\d\d\d s; 0 never moved$", text, re.M)
    assert len(re.findall(r"^# member \d+ stuck: futex wait, .*never moved$", text, re.M)) == EACH
    assert ", the last of 3 samples\n" in text


def test_restarted_call_keeps_its_state(stackgroup, tmp_path):
    """The stop of the first look turns a timed wait into restart_syscall: the second still says what it was."""
    with moving() as child:
        saved = tmp_path / "saved"
        document = sampled(child, "--samples=4", "--interval=50ms", f"--save={saved}")
        states = {detail["name"]: detail["state"] for detail in members(document)}
        assert states["timed"] == "futex wait"
        core = json.loads(oracles.stackgroup_run("--format=json", "--members", saved).stdout)
        assert {detail["name"]: detail["state"] for detail in members(core)} == states


def test_one_look_says_nothing_of_movement(stackgroup):
    with moving(1) as child:
        for arguments in ([], ["--samples=1"]):
            document = sampled(child, *arguments)
            assert "samples" not in document["source"]
            assert not any("moved" in entry for entry in (*members(document), *document["profiles"][0]["groups"]))


def test_target_that_ends_in_between(stackgroup):
    """What was seen up to then is reported, with names, and what is missing is said."""
    with moving() as child:
        timer = threading.Timer(0.5, child.kill)
        timer.start()
        started = time.monotonic()
        document = sampled(child, "--samples=50", "--interval=200ms", code=4)
        timer.join()
        assert time.monotonic() - started < 5
    cut = [entry for entry in document["diagnostics"] if entry["code"] == "samples-cut"]
    assert len(cut) == 1 and cut[0]["weight"] == "lost" and "of 50 samples" in cut[0]["message"]
    assert document["source"]["samples"]["count"] in (2, 3)
    assert {detail["name"]: detail["moved"] for detail in members(document)} == MOVES
    functions = {frame.get("function") for group in document["profiles"][0]["groups"] for frame in group["frames"]}
    assert {"stuck", "looping", "spinning", "timed", "main"} <= functions


def test_memory_does_not_grow_with_samples(stackgroup):
    with moving(20) as child:
        sizes = [sampled(child, f"--samples={count}", "--interval=5ms", "--stats")["stats"]["arena_bytes"] for count in (3, 60)]
    assert sizes[1] < sizes[0] * 1.5


def test_descriptors_are_read_once(stackgroup, tmp_path):
    if not shutil.which("strace"):
        pytest.skip("no strace")
    with moving(1) as child:
        log = tmp_path / "calls"
        subprocess.run(["strace", "-f", "-o", log, "-e", "trace=openat", stackgroup, "-p", str(child.pid), "--samples=5",
                        "--interval=1ms"], check=True, stdout=subprocess.DEVNULL, timeout=60)
        document = sampled(child, "--samples=3", "--interval=1ms")
    calls = log.read_text()
    assert len(re.findall(r'"/proc/\d+/fd"', calls)) == 1 < len(re.findall(r'"/proc/\d+/maps"|/task/\d+/maps"', calls))
    assert document["process"]["descriptors"] >= 3


def test_usage(parked_core, stackgroup):
    for arguments, word in ((["--samples=3", parked_core.path], "--pid"), (["-p", "1", "--interval=1s"], "--samples"),
                            (["-p", "1", "--samples=2", "--interval=soon"], "soon")):
        done = oracles.stackgroup_run(*arguments)
        assert done.returncode == 2 and word in done.stderr
