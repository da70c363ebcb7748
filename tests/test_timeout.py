# SPDX-License-Identifier: Apache-2.0
"""--timeout, and outputs that cannot be written: the run ends with a word on why, a target runs on, files are whole or as they were."""

import errno
import os
import random
import re
import resource
import subprocess
import sys
import time

import pytest

import cores
import go_cores
import oracles
from test_live import SIGNALS_WELL, lines_while, parked_process, runs, target, wait_for


def timed_out(done, seconds, *stages):
    """The stage that the message names."""
    assert (done.returncode, done.stdout) == (3, ""), (done.returncode, done.stdout[:200], done.stderr)
    told = re.fullmatch(rf"stackgroup: not done after {seconds} s \(--timeout\); it was at: (.+)\n", done.stderr)
    assert told, done.stderr
    assert not stages or told[1] in stages, told[1]
    return told[1]


def test_text_that_does_not_end(tmp_path):
    """Standard input stays open; the old output stays, nothing lies beside it."""
    output = tmp_path / "out.txt"
    output.write_text("old\n")
    reader, writer = os.pipe()
    with open(reader, "rb") as silent:
        started = time.monotonic()
        done = subprocess.run([oracles.stackgroup_path(), "-", "--timeout=300ms", "-o", output], stdin=silent, capture_output=True,
                              text=True, timeout=60)
        assert time.monotonic() - started >= 0.3
    os.close(writer)
    timed_out(done, "0.3", "reading")
    assert output.read_text() == "old\n" and os.listdir(tmp_path) == ["out.txt"]


def test_reader_that_does_not_read(many_core):
    """The report is larger than the pipe."""
    reader, writer = os.pipe()
    child = subprocess.Popen([oracles.stackgroup_path(), "--format=json", "--members", "--by=pc", "--timeout=2s", many_core.path],
                             stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    errors = child.communicate(timeout=60)[1]
    os.close(reader)
    assert child.returncode == 3 and errors == "stackgroup: not done after 2 s (--timeout); it was at: writing the report\n"


def test_between_samples(tmp_path, stackgroup):
    with parked_process(cores.PROGRAMS["deadlock_pool"], cores.C_BASE, tmp_path) as (child, _):
        saved = tmp_path / "saved"
        done = oracles.stackgroup_run("-p", child.pid, "--samples=2", "--interval=60s", "--timeout=1s", f"--save={saved}")
        timed_out(done, 1, "sampling")
        assert runs(child.pid) and sorted(os.listdir(tmp_path)) == ["truth.json"]


def test_enough_time(tmp_path, many_core):
    plain = oracles.stackgroup_run(many_core.path)
    timed = oracles.stackgroup_run("--timeout=1m", many_core.path)
    assert (timed.returncode, timed.stdout, timed.stderr) == (plain.returncode, plain.stdout, plain.stderr)
    # A blocked SIGALRM is inherited.
    blocked = "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM]); os.execv(sys.argv[1], sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", blocked, oracles.stackgroup_path(), "--timeout=1us", many_core.path],
                          capture_output=True, text=True, timeout=60)
    timed_out(done, "1e-06")


def test_large_core(tmp_path, stackgroup):
    try:
        core = cores.make_core("many", cores.C_BASE, "any", (10000, 17))
    except cores.Unavailable as error:
        pytest.skip(str(error))
    output = tmp_path / "out"
    stages = set()
    for milliseconds in (1, 10, 40):
        done = oracles.stackgroup_run(f"--timeout={milliseconds}ms", "--format=json", "--members", "-o", output, core.path)
        if done.returncode != 0:  # the machine may be fast
            stages.add(timed_out(done, f"{milliseconds / 1000:g}"))
            assert not os.listdir(tmp_path)
    assert stages


def not_traced(pid):
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status", encoding="ascii") as file:
            assert "TracerPid:\t0\n" in file.read()
    return runs(pid)


@pytest.mark.parametrize("mode", [(), ("--rolling",)], ids=["stop", "rolling"])
def test_target_runs_on(mode, tmp_path, stackgroup):
    """At any instant of a stop of a thousand threads."""
    ended = 0
    with parked_process(cores.PROGRAMS["many"], cores.C_BASE, tmp_path, (1000, 17)) as (child, _):
        for milliseconds in (1, 4, 8, 12, 16, 24, 40):
            done = oracles.stackgroup_run("-p", child.pid, "--lines=off", *mode, f"--timeout={milliseconds}ms")
            assert done.returncode in (0, 3), done.stderr
            ended += done.returncode == 3
            wait_for(lambda: not_traced(child.pid), 5)
    assert ended >= 2


def test_no_signal_is_lost(stackgroup):
    """A stop that is broken off gives back what it caught."""
    ended = 0
    chance = random.Random(1)

    def attach():
        nonlocal ended
        done = oracles.stackgroup_run("-p", child.pid, "--lines=off", f"--timeout={chance.randint(200, 3000)}us")
        assert done.returncode in (0, 3), done.stderr
        ended += done.returncode == 3

    for _ in range(10):
        with target("signals", 20000) as child:
            lines, _ = lines_while(child, attach)
        assert lines == SIGNALS_WELL
        if ended >= 10:
            break
    assert ended >= 10


def test_go_process(stackgroup):
    """Goroutines are copied within the stop."""
    try:
        program = go_cores.build("leaks", go_cores.PLAIN)
    except cores.Unavailable as error:
        pytest.skip(str(error))
    child = subprocess.Popen([program, "serve", "30000"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert [child.stdout.readline() for _ in range(3)][2] == "ready\n"
        for milliseconds in (5, 10, 20, 40, 80):
            done = oracles.stackgroup_run("-p", child.pid, f"--timeout={milliseconds}ms")
            assert done.returncode in (0, 3), done.stderr
            wait_for(lambda: not_traced(child.pid), 5)
    finally:
        child.kill()
        child.communicate()


@pytest.mark.parametrize("wrong", ["0s", "1", "-1s", "soon", "2d"])
def test_wrong_times(wrong, stackgroup):
    done = oracles.stackgroup_run(f"--timeout={wrong}", "core")
    assert done.returncode == 2 and f"--timeout: '{wrong}' is no time" in done.stderr


# outputs that cannot be written


def small_files():
    """What is written past this fails, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))


@pytest.mark.parametrize("form", ["text", "json"])
def test_full_disk(form, tmp_path, many_core):
    output = tmp_path / "report"
    output.write_text("old\n")
    done = oracles.stackgroup_run(f"--format={form}", "-o", output, many_core.path, preexec_fn=small_files)
    assert done.returncode == 3 and done.stdout == ""
    assert os.strerror(errno.EFBIG) in done.stderr and done.stderr.count("\n") == 1
    assert output.read_text() == "old\n" and os.listdir(tmp_path) == ["report"]


def test_full_disk_for_a_core(tmp_path, stackgroup):
    with parked_process(cores.PROGRAMS["deadlock_pool"], cores.C_BASE, tmp_path) as (child, _):
        saved = tmp_path / "saved"
        saved.write_text("old\n")
        done = oracles.stackgroup_run("-p", child.pid, f"--save={saved}", preexec_fn=small_files)
        assert done.returncode == 3 and f"{saved}: cannot be written" in done.stderr
        assert saved.read_text() == "old\n" and sorted(os.listdir(tmp_path)) == ["saved", "truth.json"]
        assert runs(child.pid)


def test_full_tmpfs(tmp_path, many_core):
    """The real thing, where a file system may be mounted."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "none", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no tmpfs: {mounted.stderr.strip()}")
    try:
        output = folder / "report"
        output.write_text("old\n")
        done = oracles.stackgroup_run("--format=json", "-o", output, many_core.path)
        assert done.returncode == 3 and os.strerror(errno.ENOSPC) in done.stderr
        assert output.read_text() == "old\n" and os.listdir(folder) == ["report"]
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("form", ["text", "json"])
def test_full_device(form, many_core):
    with open("/dev/full", "wb") as full:
        done = subprocess.run([oracles.stackgroup_path(), f"--format={form}", many_core.path], stdin=subprocess.DEVNULL, stdout=full,
                              stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 3 and os.strerror(errno.ENOSPC) in done.stderr, done.stderr
    for command in (["runbook"], ["rules", "list"], ["--help"]):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([oracles.stackgroup_path(), *command], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
        assert done.returncode == 3, command
