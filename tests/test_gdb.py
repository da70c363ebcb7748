# SPDX-License-Identifier: Apache-2.0
"""The gdb command: on cores, on processes that gdb holds, on what gdb reaches otherwise; what it says where there is nothing to see."""

import contextlib
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import time

import pytest

import cores
import oracles
from test_live import build_or_skip, parked_process, tids_of
from cores import C_BASE, PROGRAMS

SCRIPT = cores.ROOT / "scripts" / "stackgroup_gdb.py"
DEADLOCK = PROGRAMS["deadlock_pool"]


def gdb(*commands, files=(), before=(), path=None, script=SCRIPT, seconds=120):
    """What gdb prints, both outputs together."""
    command = [oracles.tool("gdb"), "-nx", "-q", "-batch", "-iex", "set debuginfod enabled off", "-iex", "set auto-load safe-path /"]
    for line in before:
        command += ["-iex", line]
    for line in (f"source {script}", *commands):
        command += ["-ex", line]
    folder = str(os.path.dirname(oracles.stackgroup_path())) if path is None else path
    environment = oracles.environment(PATH=f"{folder}:/usr/bin:/bin")
    done = subprocess.run([*command, *map(str, files)], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=seconds, errors="replace")
    return done.stdout


@pytest.fixture(scope="module")
def deadlock():
    try:
        return cores.make_core(DEADLOCK, C_BASE, "kernel")
    except cores.Unavailable as error:
        pytest.skip(str(error))


@contextlib.contextmanager
def hanging(tmp_path):
    with cores.waiting(build_or_skip(DEADLOCK, C_BASE), tmp_path / "truth.json") as child:
        yield child.pid


def groups_of(text):
    """(count, functions) of a text's groups."""
    groups = []
    for block in text.split("\n\n"):
        if match := re.search(r"^(\d+) @ ", block, re.MULTILINE):
            groups.append((int(match[1]), re.findall(r"^#\t0x\w+\t(\S+?)(?:\+0x\w+)?\t", block, re.MULTILINE)))
    return groups


def test_core(deadlock):
    text = gdb("stackgroup", files=(deadlock.executable, deadlock.path))
    assert groups_of(text) == groups_of(oracles.stackgroup_run(deadlock.path).stdout)
    assert "critical: 2 threads wait for each other in a circle: mutexes account_bob, account_alice" in text


def test_core_of_another_program(deadlock):
    """gdb was given a program that is not the core's: the core's own is used, and the difference is said."""
    other = build_or_skip(PROGRAMS["parked"], C_BASE).executable
    text = gdb("stackgroup", files=(other, deadlock.path))
    assert "account_lock" in text
    assert f"{other}: not the file that was mapped" in text


def test_findings_and_selection(deadlock):
    text = gdb("stackgroup findings", "python for g in gdb.stackgroup().findings[0].group_ids: print('part', g)",
               "python gdb.execute('stackgroup group ' + gdb.stackgroup().findings[0].group_ids[0])", "bt",
               "python gdb.execute('stackgroup thread ' + gdb.stackgroup().group(2).members[7])",
               "python print('selected', gdb.selected_thread().ptid[1] == int(gdb.stackgroup().group('g2').members[7]))", "bt",
               files=(deadlock.executable, deadlock.path))
    assert re.search(r"critical: 2 threads wait for each other .* \[pthread/deadlock\]\n  thread \d+ waits for mutex .*account_", text)
    assert len(re.findall("^part g", text, re.MULTILINE)) == 2
    first, second = text.split("selected True\n")
    assert re.search(r"^#\d+ .*account_lock", first, re.MULTILINE)
    assert re.search(r"^#\d+ .*pool_take", second, re.MULTILINE)


def test_names_do_nothing_to_the_terminal(deadlock, tmp_path):
    """They come from the target; JSON has them as they are."""
    finding = {"severity": "info", "title": "a \x1b[31mred one", "id": "x/y", "evidence": ["thread 1 (\x1b]0;ev\nil\u202e)"],
               "groups": [], "advice": "one\ntwo\r", "confidence": "read"}
    answer = tmp_path / "answer.json"
    answer.write_text(json.dumps({"findings": [finding], "profiles": [], "rules": 1}))
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ncat '{answer}'\n")
    program.chmod(0o755)
    text = gdb(f"set stackgroup-program {program}", "stackgroup findings", files=(deadlock.executable, deadlock.path))
    assert "info: a \\x1b[31mred one [x/y]\n  thread 1 (\\x1b]0;ev\\x0ail\\xe2\\x80\\xae)\n  do: one\n    two\\x0d\n" in text, text


def test_process(deadlock, tmp_path):
    """One that gdb holds: the groups and verdicts of its own core, no second attach; it stays gdb's, and runs on after that."""
    with hanging(tmp_path) as pid:
        before = tids_of(pid)
        text = gdb("stackgroup --no-rules", "stackgroup findings", "stackgroup group 1 3", "bt", "info threads",
                   before=(f"attach {pid}",))
        assert "held still by process" in text and "(gdb)" in text
        assert "critical: 2 threads wait for each other in a circle: mutexes account_bob, account_alice" in text
        assert re.search(r"^#\d+ .*pool_take", text, re.MULTILINE)
        ours = {(count, tuple(functions)) for count, functions in groups_of(text.split("critical:")[0])}
        live = {(count, tuple(functions)) for count, functions in groups_of(oracles.stackgroup_run("-p", pid, "--no-rules").stdout)}
        assert ours == live and len(live) >= 8
        assert tids_of(pid) == before


def test_process_that_gdb_runs():
    """At a breakpoint, and the frame that was selected stays selected."""
    executable = build_or_skip(DEADLOCK, C_BASE).executable
    text = gdb("break abort", "run > /dev/null 2>&1", "up", "frame function main", "stackgroup --top=1", "frame",
               before=("set startup-with-shell on", f"set environment TRUTH /dev/null"), files=(executable,))
    assert re.search(r"^# process: .*deadlock_pool", text, re.MULTILINE) and "pool_take" in text, text
    assert re.search(r"^#\d+ .* main \(", text.rpartition("--- Memory map")[2], re.MULTILINE)


def test_process_of_running_threads(tmp_path):
    with hanging(tmp_path) as pid:
        text = gdb("stackgroup --top=3", before=("set non-stop on", f"attach {pid}"))
        assert re.search(r"stackgroup: \d+ of \d+ threads run \(non-stop\)", text)
        assert "no single instant" in text or "not stopped" in text


def test_many_threads(tmp_path):
    """Every thread's registers are handed over: nobody is missed or read from /proc."""
    with parked_process(PROGRAMS["many"], C_BASE, tmp_path, ("700", "17")) as (child, _truth):
        text = gdb("python r = gdb.stackgroup('--no-rules')",
                   "python print('total', r.profiles[0].total, r.source.stop, [d.code for d in r.diagnostics])",
                   before=(f"attach {child.pid}",))
        assert f"total {len(tids_of(child.pid))} held []" in text


def test_remote(tmp_path):
    server = shutil.which("gdbserver")
    if server is None:
        pytest.skip("no gdbserver")
    with hanging(tmp_path) as pid:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        child = subprocess.Popen([server, "--attach", f"127.0.0.1:{port}", str(pid)], stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            while "Listening" not in (line := child.stderr.readline()):
                assert line, "gdbserver ended"
            text = gdb("stackgroup findings", before=("set tcp connect-timeout 20", f"target remote 127.0.0.1:{port}"),
                       files=(build_or_skip(DEADLOCK, C_BASE).executable,))
        finally:
            child.kill()
            child.wait(10)
    assert "critical: 2 threads wait for each other in a circle: mutexes account_bob, account_alice" in text


def test_nothing_to_see(tmp_path):
    executable = build_or_skip(DEADLOCK, C_BASE).executable
    script = shutil.copy(SCRIPT, tmp_path)
    for files in ((), (executable,)):
        assert "no process and no core here" in gdb("stackgroup", files=files)
    missing = gdb("stackgroup", "show stackgroup-program", f"set stackgroup-program {tmp_path}/nothing", "stackgroup", path=str(tmp_path), script=script)
    assert "not on PATH; say where: set stackgroup-program" in missing
    assert f"{tmp_path}/nothing: no such program" in missing
    where = gdb(f"set stackgroup-program {oracles.stackgroup_path()}", "show stackgroup-program", "stackgroup", path=str(tmp_path))
    assert str(oracles.stackgroup_path()) in where and "no process and no core here" in where


def test_wrong_words(deadlock):
    text = gdb("stackgroup --nope", "stackgroup group", "stackgroup group 99", "stackgroup group x", "stackgroup thread 1",
               "stackgroup group 1 9", files=(deadlock.executable, deadlock.path))
    for message in ("--nope: unknown option", "Usage: stackgroup group N", "no group 99: they are g1 to g9", "no thread 1 in this",
                    "g1 has 1 members"):
        assert message in text, text


def test_help_and_completion():
    text = gdb("help stackgroup", "complete stackgroup --no", "complete stackgroup --top=3 --me", "complete stackgroup f")
    for line in ("Usage: stackgroup [OPTIONS]", "stackgroup --no-stop", "stackgroup --top=3 --members", "stackgroup findings"):
        assert line in text.replace("stackgroup findings --", ""), line


def test_interactive(deadlock):
    """On a terminal the answer is the one for a screen."""
    folder = os.path.dirname(oracles.stackgroup_path())
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(PATH=f"{folder}:/usr/bin:/bin", TERM="xterm", LC_ALL="C.UTF-8")
        os.environ.pop("NO_COLOR", None)
        os.execvp("gdb", ["gdb", "-nx", "-q", "-iex", "set debuginfod enabled off", "-iex", "set pagination off", "-iex",
                          "set width 100", "-ex", f"source {SCRIPT}", "-ex", "stackgroup --top=2", "-ex", "quit",
                          str(deadlock.executable), str(deadlock.path)])
    output = b""
    deadline = time.monotonic() + 60
    try:
        while time.monotonic() < deadline:
            if not select.select([terminal], [], [], 1)[0]:
                continue
            try:
                output += os.read(terminal, 65536)
            except OSError:
                break
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(terminal)
    text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", output.decode(errors="replace"))
    assert b"\x1b[1;31m" in output
    assert "g2  40 threads  72.7 %  futex wait" in text and "critical: 2 threads wait" in text


# The program's own side of it


def test_registers_refused(tmp_path):
    file = tmp_path / "registers"

    def run_with(pid, registers, *arguments):
        file.write_text(registers)
        return oracles.stackgroup_run("-p", pid, f"--registers={file}", *arguments)

    with hanging(tmp_path) as pid:
        assert "no debugger holds it" in run_with(pid, f"{pid} rip=0x1\n").stderr
        tracer = subprocess.Popen([oracles.tool("gdb"), "-nx", "-q", "-iex", "set debuginfod enabled off", "-p", str(pid)],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            tracer.stdin.write("echo held\\n\n")
            tracer.stdin.flush()
            while "held" not in tracer.stdout.readline():
                pass
            for registers, message in (
                    ("nonsense\n", "line 1: expected a thread id"), (f"{pid} rip=12\n", "line 1: expected NAME=0xVALUE, found 'rip=12'"),
                    (f"# held\n{pid} rip=0x1\n", f"line 2: thread {pid}: register r15 is not told"),
                    ("1 rip=0x1\n", f"line 1: 1 is no thread of process {pid}")):
                done = run_with(pid, registers)
                assert done.returncode == 3 and message in done.stderr, done.stderr
            # None told: all are read as without a stop.
            done = run_with(pid, "", "--format=json")
            assert done.returncode in (0, 4), done.stderr
            assert json.loads(done.stdout)["source"]["stop"] == "none"
        finally:
            tracer.kill()
            tracer.wait(10)
    done = oracles.stackgroup_run("--registers=-", "core")
    assert done.returncode == 2
