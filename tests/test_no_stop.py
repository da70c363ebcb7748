# SPDX-License-Identifier: Apache-2.0
"""Processes read without one stop of all threads: --no-stop, which they do not notice and which shows no frame that is not there,
and --rolling, which shows what a stop of all shows."""

import contextlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path

import cores
import oracles
import pytest
import stacks
from cores import C_BASE, PROGRAMS

VARIANTS = [(PROGRAMS[program], variant) for program, names in (
    ("parked", ("gcc-O2", "gcc-O0", "gcc-omit-fp", "gcc-no-eh-frame", "gcc-debug-frame", "gcc-static-stripped", "clang-O2",
                "clang-fp-nodebug", "musl-static", "musl")),
    ("many", ("gcc-O2", "gcc-stripped")),
    ("waits", ("gxx-O2", "gxx-O0", "clangxx-O2")),
    ("deadlock_pool", ("gcc-O2",)),
) for variant in PROGRAMS[program].variants if variant.name in names]
UNSTOPPED = cores.Program("unstopped", "unstopped.c", (C_BASE,))
MOVING = cores.Program("moving", "moving.c", (C_BASE,))


@contextlib.contextmanager
def running(program, variant, arguments=None):
    """A test program that waits, as (process, truth, build); it is killed at the end."""
    try:
        built = cores.build(program, variant, arguments)
    except cores.Unavailable as error:
        pytest.skip(str(error))
    truth = built.folder / f"truth-{os.getpid()}.json"
    child = subprocess.Popen([str(built.executable), *built.arguments], cwd=built.folder, env=cores.child_environment(truth, "wait"),
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    try:
        assert select.select([child.stdout], [], [], cores.RUN_SECONDS)[0] and child.stdout.readline() == "ready\n"
        cores.wait_until_main_sleeps(child.pid)
        yield child, json.loads(truth.read_text()) if truth.exists() else None
    finally:
        child.kill()
        child.communicate()
        truth.unlink(missing_ok=True)


def look(pid, *options, codes=(0,)):
    """What is said of a process, and of each thread: its frames' pcs (inlined ones once) and how the stack ends."""
    done = oracles.stackgroup_run("-p", pid, "--format=json", "--members", "--by=pc", *options)
    assert done.returncode in codes, done.stderr
    document = json.loads(done.stdout)
    threads = {}
    for group in document["profiles"][0]["groups"]:
        pcs = [frame["pc"] for frame in group["frames"] if not frame["inlined"]]
        for member in group["members"]:
            threads[int(member)] = (pcs, group["end"]["reason"])
    return document, threads


def ids(target):
    return "-".join(part.name for part in target)


@pytest.mark.parametrize("target", VARIANTS, ids=ids)
def test_frames_are_those_of_a_stop(target, stackgroup):
    with running(*target) as (child, truth):
        look(child.pid)  # epoll_wait returns EINTR once, and compilers give the loop's later calls a place of their own
        document, found = look(child.pid, "--no-stop")
        rolling_document, rolling = look(child.pid, "--rolling")
        _, wanted = look(child.pid)
        again_document, again = look(child.pid, "--no-stop")
    assert rolling == wanted
    assert found.keys() == wanted.keys()
    whole = {}
    for tid, (pcs, end) in found.items():
        full, full_end = wanted[tid]
        assert pcs and pcs == full[:len(pcs)], tid
        if end == "outermost":
            assert (pcs, end) == (full, full_end), tid
            whole[tid] = pcs
    # Only functions that find their frame by a register other than sp end a stack: frame pointers throughout, few otherwise.
    if "-frame-pointer" not in " ".join(target[1].flags) and "O0" not in target[1].name and not target[1].name.startswith("musl"):
        assert len(whole) * 10 >= len(found) * 7, target
    # After a stop the calls that it interrupted are made again: the stacks are the same, the call may be restart_syscall.
    assert {tid: pcs for tid, (pcs, _) in again.items()} == {tid: pcs for tid, (pcs, _) in found.items()}
    assert document["source"]["stop"] == "none" and rolling_document["source"]["stop"] == "rolling"
    if not target[1].names:
        return
    for document, tids in ((document, whole), (rolling_document, [tid for tid, (_, end) in rolling.items() if end == "outermost"])):
        kept = {"groups": [{**group, "tids": [tid for tid in group["tids"] if tid in tids]} for group in truth["groups"]]}
        every = oracles.json_stacks(document)
        differences = stacks.truth_differences(kept, stacks.Stacks({tid: every.threads[tid] for tid in tids}),
                                               inlines=target[1].inlines, leaves=False)
        assert not differences, differences


def test_states_are_those_of_a_stop(stackgroup):
    with running(PROGRAMS["parked"], C_BASE) as (child, _):
        documents = [look(child.pid, *options)[0] for options in (["--no-stop"], [])]
    states, wanted = ({row["id"]: (row["state"], row.get("fd")) for group in document["profiles"][0]["groups"]
                       for row in group["members_detail"]} for document in documents)
    assert states == wanted and ("read", 3) in states.values()


@pytest.mark.parametrize("option", ["--no-stop", "--rolling"])
def test_waiting_threads_do_not_notice(option, stackgroup):
    """epoll_wait returns EINTR after any ptrace stop, and a thread that is made to run has one context switch more."""
    def switches(pid):
        return {task.name: re.findall(r"ctxt_switches:\s+(\d+)", (task / "status").read_text())
                for task in Path(f"/proc/{pid}/task").iterdir()}

    def interrupted(child):
        child.stdin.write("\n")
        return int(child.stdout.readline())

    with running(UNSTOPPED, C_BASE, ["epoll"]) as (child, _):
        time.sleep(0.1)
        before = switches(child.pid)
        for _ in range(20):
            document, threads = look(child.pid, option)
            assert [end for _, end in threads.values()] == ["outermost"] * 2
        assert switches(child.pid) == before
        assert interrupted(child) == 0
        look(child.pid)
        assert interrupted(child) == 1, "the test's own eye: a stop is seen"


def test_no_stop_makes_no_call_to_stop(stackgroup, tmp_path):
    if not shutil.which("strace"):
        pytest.skip("no strace")
    with running(UNSTOPPED, C_BASE, ["epoll"]) as (child, _):
        log = tmp_path / "calls"
        subprocess.run(["strace", "-f", "-o", log, "-e", "trace=ptrace,kill,tkill,tgkill,process_vm_writev,pidfd_send_signal",
                        stackgroup, "-p", str(child.pid), "--no-stop"], check=True, stdout=subprocess.DEVNULL, timeout=60)
    assert str(child.pid) not in re.sub(r"^\d+", "", log.read_text(), flags=re.M)
    assert "ptrace(" not in log.read_text()


def test_no_stop_never_mixes_moments(stackgroup):
    """Threads that move between two paths: what is shown is one of them, or nothing."""
    seen = {}
    with running(UNSTOPPED, C_BASE, ["paths"]) as (child, _):
        for _ in range(40):
            document, _ = look(child.pid, "--no-stop")
            for frames in oracles.json_stacks(document).threads.values():
                own = tuple(frame.function.split("_")[1] for frame in frames if re.match("tc_(left|right)_", frame.function))
                whole = any(frame.function == "tc_paths_thread" for frame in frames)
                seen[(own, whole)] = seen.get((own, whole), 0) + 1
    for (own, whole), count in seen.items():
        assert len(set(own)) <= 1 and (not whole or len(own) in (0, 3)), seen
    assert any(len(own) == 3 for own, _ in seen), seen


def test_parent_in_vfork(stackgroup):
    """It cannot be stopped, and its return address is in a register: the one that the system call shows as its argument."""
    with running(UNSTOPPED, C_BASE, ["vfork"]) as (child, _):
        end = time.monotonic() + 10
        while time.monotonic() < end and not any(re.search(r"\) D ", (task / "stat").read_text())
                                                 for task in Path(f"/proc/{child.pid}/task").iterdir()):
            time.sleep(0.02)
        started = time.monotonic()
        stopped, _ = look(child.pid, codes=(0, 4))
        assert time.monotonic() - started < 5 and "not-stopped" in [row["code"] for row in stopped["diagnostics"]]
        document, threads = look(child.pid, "--no-stop")
        _, rolling = look(child.pid, "--rolling")
        child.kill()
    assert rolling == threads
    assert {end for _, end in threads.values()} == {"outermost"}
    assert any("tc_vfork_thread" in [frame.function for frame in frames] for frames in oracles.json_stacks(document).threads.values())
    assert "vfork" in [row["state"] for group in document["profiles"][0]["groups"] for row in group["members_detail"]]


def details(document):
    return [row for group in document["profiles"][0]["groups"] for row in group["members_detail"]]


@pytest.mark.parametrize("option", ["--rolling", "--no-stop"])
def test_who_stood_still_meanwhile(option, stackgroup, tmp_path):
    """Threads that wait for good are seen not to have run while the others were read, in a core saved of them too."""
    began = time.time()
    with running(MOVING, C_BASE, ["20"]) as (child, _):
        for _ in range(5):
            saved = tmp_path / "saved"
            document, _ = look(child.pid, option, f"--save={saved}")
            still = {}
            for row in details(document):
                still.setdefault(row["name"], []).append(row["stood_still"])
                assert began - 1 <= row["since"] <= time.time()
            assert still["stuck"] == [True] * 20 and still["spinning"] == [False]
            core = json.loads(oracles.stackgroup_run(saved, "--format=json", "--members").stdout)
            facts = [{row["id"]: (row["stood_still"], row["since"]) for row in details(each)} for each in (document, core)]
            assert facts[0] == facts[1] and core["source"]["stop"] == document["source"]["stop"]
        text = oracles.stackgroup_run(saved).stdout.splitlines()[0]
        assert text == "# no fatal signal: written by stackgroup, its threads read one after another"
        document, _ = look(child.pid)
        assert not any("stood_still" in row for row in details(document))


def test_busy_lock_is_not_still(stackgroup):
    """Threads that pass one lock around are at the same few places whenever one looks; all of them still at once they are not."""
    with running(UNSTOPPED, C_BASE, ["paths"]) as (child, _):
        for option in ("--rolling", "--no-stop"):
            still = [row["stood_still"] for _ in range(20) for row in details(look(child.pid, option)[0]) if row["id"] != str(child.pid)]
            assert sum(still) < len(still) / 2, (option, sum(still), len(still))


def test_running_thread_has_no_stack(stackgroup):
    with running(PROGRAMS["vdso"], C_BASE) as (child, truth):
        document, threads = look(child.pid, "--no-stop")
    spinning = next(group for group in truth["groups"] if group["name"] != "main")["tids"]
    states = {int(row["id"]): row["state"] for group in document["profiles"][0]["groups"] for row in group["members_detail"]}
    for tid in spinning:
        assert threads[tid] == ([], "registers missing") and states[tid] == "running"


def test_traced_and_stopped_targets(stackgroup):
    """Neither a SIGSTOP nor another tracer is in the way, and both stay."""
    with running(PROGRAMS["deadlock_pool"], C_BASE) as (child, _):
        _, wanted = look(child.pid, "--no-stop")
        os.kill(child.pid, signal.SIGSTOP)
        try:
            time.sleep(0.1)
            _, found = look(child.pid, "--no-stop")
            assert {tid: pcs for tid, (pcs, _) in found.items()} == {tid: pcs for tid, (pcs, _) in wanted.items()}
            _, rolling = look(child.pid, "--rolling")
            assert rolling.keys() == wanted.keys()
            assert "State:\tT" in Path(f"/proc/{child.pid}/status").read_text()
        finally:
            os.kill(child.pid, signal.SIGCONT)
        if not shutil.which("strace"):
            return
        tracer = subprocess.Popen(["strace", "-f", "-o", "/dev/null", "-p", str(child.pid)], stderr=subprocess.PIPE, text=True)
        try:
            assert "attached" in tracer.stderr.readline()
            done = oracles.stackgroup_run("-p", child.pid, "--rolling")
            assert done.returncode == 3 and "--no-stop" in done.stderr
            _, found = look(child.pid, "--no-stop")
            assert found.keys() == wanted.keys()
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.communicate(timeout=20)


def test_head_says_how_it_was_read(stackgroup):
    with running(PROGRAMS["deadlock_pool"], C_BASE) as (child, _):
        for option, head, code in (
                ("--no-stop", r"# not stopped: threads were read one after another", "not-stopped-at-all"),
                ("--rolling", r"# rolling: \d+ threads read as they wait, none stopped; no single instant", "no-single-instant")):
            done = oracles.stackgroup_run("-p", child.pid, option)
            assert done.returncode == 0
            assert re.fullmatch(head, done.stdout.splitlines()[0]) and code in done.stdout


def test_rolling_under_a_real_time_policy(stackgroup):
    """Whoever calls us so: the target gets its processor nonetheless."""
    if os.geteuid() != 0 or not shutil.which("chrt") or subprocess.run(["chrt", "-f", "1", "true"]).returncode != 0:
        pytest.skip("no real-time policy to be had")
    with running(UNSTOPPED, C_BASE, ["paths"]) as (child, _):
        done = subprocess.run(["chrt", "-f", "1", stackgroup, "-p", str(child.pid), "--rolling", "--save=/dev/null"],
                              stdout=subprocess.PIPE, text=True, timeout=60)
        assert done.returncode == 0 and HEAD.match(done.stdout)


HEAD = re.compile(r"# rolling: (?:(\d+) threads? read as they wait, )?(\d+) threads? stopped for (\d+) µs \(median\), (\d+) µs at most; "
                  r"no single instant")


def test_rolling_stops_those_that_it_must(stackgroup, tmp_path):
    """Threads that run, and threads with frames that only more registers lead to; a saved core has all registers of all."""
    every_frame_pointer = next(variant for variant in PROGRAMS["parked"].variants if variant.name == "gcc-O0")
    for target in ((MOVING, C_BASE, ["20"]), (PROGRAMS["parked"], every_frame_pointer)):
        with running(*target) as (child, _):
            read, stopped, median, most = map(int, HEAD.fullmatch(oracles.stackgroup_run("-p", child.pid, "--rolling").stdout
                                                                  .splitlines()[0]).groups())
            threads = len(list(Path(f"/proc/{child.pid}/task").iterdir()))
            assert read > 0 and stopped > 0 and read + stopped == threads and 0 < median <= most
            stats = look(child.pid, "--rolling", "--stats")[0]["stats"]
            assert stats["threads_read"] + stats["threads_stopped"] == threads
            saving = oracles.stackgroup_run("-p", child.pid, "--rolling", f"--save={tmp_path / 'saved'}").stdout.splitlines()[0]
            assert HEAD.fullmatch(saving).group(1, 2) == (None, str(threads))


def test_rolling_beside_a_tracer_of_one_thread(stackgroup):
    """A thread that would be stopped for its registers, and cannot be, is shown as it was read: it is not lost."""
    if not shutil.which("strace"):
        pytest.skip("no strace")
    every_frame_pointer = next(variant for variant in PROGRAMS["parked"].variants if variant.name == "gcc-O0")
    with running(PROGRAMS["parked"], every_frame_pointer) as (child, _):
        _, unstopped = look(child.pid, "--no-stop")
        tid = next(tid for tid, (_, end) in unstopped.items() if end != "outermost" and tid != child.pid)
        tracer = subprocess.Popen(["strace", "-o", "/dev/null", "-p", str(tid)], stderr=subprocess.PIPE, text=True)
        try:
            assert "attached" in tracer.stderr.readline()
            document, threads = look(child.pid, "--rolling")
        finally:
            tracer.terminate()
            tracer.communicate()
    assert threads.keys() == unstopped.keys() and threads[tid] == unstopped[tid]
    assert "thread-refused" not in [row["code"] for row in document["diagnostics"]]


@pytest.mark.parametrize("arguments", [["--no-stop", "--rolling", "-p", "1"], ["--no-stop", "core"], ["--rolling", "core"],
                                       ["--rolling", "--max-stop=5", "-p", "1"]])
def test_usage(arguments, stackgroup):
    done = oracles.stackgroup_run(*arguments)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1


def test_not_permitted(stackgroup):
    """Another user's process is refused with the remedy, not shown as empty."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("needs root and setpriv")
    if oct(stackgroup.stat().st_mode)[-1] not in "5617" or not os.access(stackgroup, os.X_OK):
        pytest.skip("the program is not for everybody")
    with running(PROGRAMS["deadlock_pool"], C_BASE) as (child, _):
        for option in ("--no-stop", "--rolling"):
            done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", stackgroup, "-p", str(child.pid),
                                   option], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
            if "failed to execute" in done.stderr:
                pytest.skip("the program cannot be reached by everybody")
            assert done.returncode == 3 and "permitted" in done.stderr
