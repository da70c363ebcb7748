# SPDX-License-Identifier: Apache-2.0
"""--save=CORE: what was read of a live process is a core that we, gdb and eu-stack read as they read the process."""

import contextlib
import json
import os
import select
import signal
import stat
import subprocess

import pytest

import corefile
import cores
import oracles
import test_waits
from test_live import settle

C_STATIC = next(variant for variant in cores.C_VARIANTS if variant.name == "gcc-static")


@contextlib.contextmanager
def parked(name, variant, folder):
    """A program of testcores that has parked its threads."""
    try:
        built = cores.build(cores.PROGRAMS[name], variant)
    except cores.Unavailable as error:
        pytest.skip(str(error))
    child = subprocess.Popen([str(built.executable), *built.arguments], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             text=True, env=cores.child_environment(folder / "truth", "wait"))
    try:
        assert select.select([child.stdout], [], [], 60)[0] and child.stdout.readline() == "ready\n"
        cores.wait_until_main_sleeps(child.pid)
        yield built, child.pid
    finally:
        child.kill()
        child.communicate()


def without_source(document):
    """What a core and the process agree in. A core does not hold what lies behind descriptors."""
    document["diagnostics"] = [entry for entry in document["diagnostics"] if entry["code"] != "not-stopped-at-all"]
    for volatile in ("source", "stats", "process"):
        document.pop(volatile, None)
    for group in document["profiles"][0]["groups"]:
        group.pop("waits", None)
    return document


@pytest.mark.parametrize("name, variant", [("parked", cores.C_BASE), ("deadlock_pool", cores.C_BASE), ("parked", C_STATIC)],
                         ids=["parked", "deadlock_pool", "static"])
@pytest.mark.parametrize("mode", [(), ("--no-stop",)], ids=["stopped", "no-stop"])
def test_round_trip(name, variant, mode, tmp_path, stackgroup):
    """Groups, counts, frames, states, names and CPU times: the same document but for its source."""
    with parked(name, variant, tmp_path) as (built, pid):
        saved = tmp_path / "saved"
        live = oracles.stackgroup_run("--format=json", "--members", *mode, "-p", pid, f"--save={saved}")
        assert live.returncode == 0 and live.stderr == ""
        assert stat.S_IMODE(saved.stat().st_mode) == 0o600
        core = oracles.stackgroup_run("--format=json", "--members", saved)
        assert core.returncode == 0, core.stderr
        document = json.loads(core.stdout)
        assert document["source"]["written_by"] == "stackgroup" and document["source"]["pid"] == pid
        assert "signal" not in document["source"]
        assert without_source(json.loads(live.stdout)) == without_source(document)
        assert saved.stat().st_size < 16 << 20
        assert sorted(os.listdir(tmp_path)) == ["saved", "truth"]


def futex_words(pid):
    """The words that threads wait for, and how many wait for each."""
    words = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/syscall", encoding="ascii") as file:
            number, *arguments = file.read().split()
        if number == "202":
            words[int(arguments[0], 16)] = words.get(int(arguments[0], 16), 0) + 1
    return words


def bytes_at(core, address, count):
    """As many of them as the core holds."""
    found = b""
    while len(found) < count and (segment := core.segment_at(address + len(found))):
        at = address + len(found) - segment.address
        found += core.data[segment.offset + at:segment.offset + min(at + count - len(found), segment.file_bytes)]
    return found


@pytest.mark.parametrize("mode", ["--max-stop=10000", "--rolling", "--no-stop"])
def test_words_waited_for_are_in_it(mode, tmp_path, stackgroup):
    """Who holds a lock is told by the words beside the one that is waited for; whom a join waits for, by the thread's block."""
    with parked("deadlock_pool", cores.C_BASE, tmp_path) as (_, pid), open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        words = futex_words(pid)
        assert max(words.values()) > 20
        saved = tmp_path / "saved"
        assert oracles.stackgroup_run("-p", pid, mode, f"--save={saved}").returncode == 0
        core = corefile.CoreFile(saved)
        for word in words:
            memory.seek(word)
            assert bytes_at(core, word, 56) == memory.read(56), hex(word)
        blocks = [core.register(note, "fs_base") for note in core.notes_of(corefile.NT_PRSTATUS)]
        if mode != "--no-stop":
            for block in blocks:
                memory.seek(block)
                assert bytes_at(core, block, 0x400) == memory.read(0x400)
        assert saved.stat().st_size < 4 << 20


@pytest.mark.parametrize("how", test_waits.STOPS)
@pytest.mark.parametrize("program,variant", test_waits.LIVE, ids=lambda value: value.name)
def test_waits_are_told_by_it(program, variant, how, tmp_path, stackgroup):
    """Who waits for whom, from the saved core alone."""
    built, truth = test_waits.locks_process(program, variant, tmp_path)
    saved = tmp_path / "saved"
    with cores.waiting(built, truth) as child:
        settle(child.pid)
        test_waits.read_waits(*test_waits.STOPS[how], "-p", child.pid, f"--save={saved}")
    test_waits.check(test_waits.Facts(truth), test_waits.read_waits(saved), variant, registers=how != "none")


def real_frames(stacks):
    return {tid: [(frame.pc, frame.function) for frame in frames if not frame.inlined] for tid, frames in stacks.threads.items()}


def test_gdb_and_eu_stack_read_it(tmp_path, stackgroup):
    """gdb finds the libraries by the loader's list in the saved core; all see the pcs that we saw in the process."""
    try:
        oracles.tool("gdb"), oracles.tool("eu-stack")
    except cores.Unavailable as error:
        pytest.skip(str(error))
    with parked("deadlock_pool", cores.C_BASE, tmp_path) as (built, pid):
        saved = tmp_path / "saved"
        live = oracles.stackgroup_run("--format=json", "--by=pc", "-p", pid, f"--save={saved}")
        ours = real_frames(oracles.json_stacks(json.loads(live.stdout)))
        assert len(ours) > 40
        for read in (oracles.gdb, oracles.eu_stack):
            theirs = real_frames(read(saved, built.executable))
            assert {tid: [pc for pc, _ in frames] for tid, frames in theirs.items()} == \
                {tid: [pc for pc, _ in frames] for tid, frames in ours.items()}, read.__name__
            assert all(name for frames in theirs.values() for _, name in frames), read.__name__


def test_saved_file_replaces_whole_or_not_at_all(tmp_path, stackgroup):
    target = tmp_path / "saved"
    target.write_text("old")
    assert oracles.stackgroup_run("-p", 2**22 + 1, f"--save={target}").returncode == 3
    assert target.read_text() == "old" and os.listdir(tmp_path) == ["saved"]
    with parked("deadlock_pool", cores.C_BASE, tmp_path) as (_, pid):
        done = oracles.stackgroup_run("-p", pid, f"--save={tmp_path}/missing/saved")
        assert done.returncode == 3 and done.stdout == "" and "missing/saved: cannot be written" in done.stderr
        if os.path.exists("/dev/full"):
            done = oracles.stackgroup_run("-p", pid, "--save=/dev/full")
            assert done.returncode == 3 and "No space left" in done.stderr
            assert "thread profile: total" in done.stdout  # the report is not the poorer
        report = tmp_path / "report"
        done = oracles.stackgroup_run("-p", pid, f"--save={target}", "-o", report)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert target.read_bytes()[:4] == b"\x7fELF" and "thread profile: total" in report.read_text()
        assert sorted(os.listdir(tmp_path)) == ["report", "saved", "truth"]


def test_saved_through_a_pipe(tmp_path, stackgroup):
    with parked("deadlock_pool", cores.C_BASE, tmp_path) as (_, pid):
        through = tmp_path / "through"
        done = subprocess.run(f"'{stackgroup}' -p {pid} --save=/dev/fd/3 3>&1 >'{tmp_path}/report' | cat >'{through}'", shell=True,
                              stderr=subprocess.PIPE, text=True, timeout=60)
        assert done.stderr == ""
        assert oracles.stackgroup_run(through).returncode == 0


def test_only_processes_are_saved(parked_core, stackgroup):
    done = oracles.stackgroup_run("--save=x", parked_core.path)
    assert done.returncode == 2 and "--pid" in done.stderr


def test_deleted_program(tmp_path, stackgroup):
    """Nobody can open its file later: the saved core holds its code and tables."""
    with parked("deadlock_pool", cores.C_BASE, tmp_path) as (built, _):
        copy = tmp_path / "copy"
        copy.write_bytes(built.executable.read_bytes())
        copy.chmod(0o755)
    child = subprocess.Popen([str(copy)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, cwd=tmp_path,
                             env=cores.child_environment(tmp_path / "truth", "wait"))
    try:
        assert child.stdout.readline() == "ready\n"
        cores.wait_until_main_sleeps(child.pid)
        copy.unlink()
        saved = tmp_path / "saved"
        live = json.loads(oracles.stackgroup_run("--format=json", "--by=pc", "-p", child.pid, f"--save={saved}").stdout)
    finally:
        child.kill()
        child.communicate()
    core = json.loads(oracles.stackgroup_run("--format=json", "--by=pc", saved).stdout)
    pcs = [{tid: [frame.pc for frame in frames if not frame.inlined] for tid, frames in oracles.json_stacks(document).threads.items()}
           for document in (live, core)]
    assert pcs[0] == pcs[1] and any(entry["code"] == "module-from-memory" for entry in core["diagnostics"])


def test_interrupted_run_leaves_no_file(tmp_path, stackgroup):
    with parked("deadlock_pool", cores.C_BASE, tmp_path) as (_, pid):
        process = subprocess.Popen([stackgroup, "-p", str(pid), "--samples=100", f"--save={tmp_path / 'saved'}"])
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == -signal.SIGINT
        assert os.listdir(tmp_path) == ["truth"]
