# SPDX-License-Identifier: Apache-2.0
"""Cores of AArch64 programs, read here: Go's goroutines against the runtime's own dump, C's stacks against eu-stack and what the
program's source says; files of this machine that stand where the core's stood; cut cores."""

import json
import os
import shutil

import arm64_cores
import corefile
import cores
import go_cores
import go_dumps
import oracles
import pytest
import test_goroutines
from test_goroutines import unavailable_skips

CUTS = 50


# Go


@pytest.fixture(scope="module", params=[go_cores.PLAIN, go_cores.STRIPPED], ids=lambda variant: variant.name)
def shapes(request, stackgroup):
    return unavailable_skips(arm64_cores.go_core, "goroutines", request.param)


def program(core):
    return f"--exe={core.executable}"


def test_every_goroutine(shapes):
    compared, theirs = test_goroutines.check_against_dump(shapes, test_goroutines.read(shapes, program(shapes)))
    assert compared.equal >= 130
    assert any(frame.function == "runtime.asyncPreempt" for goroutine in theirs.values() for frame in goroutine.frames)
    assert any(frame.function == "runtime.sigpanic" for goroutine in theirs.values() for frame in goroutine.frames)


def test_debug2(shapes):
    test_goroutines.check_debug2(shapes, program(shapes))


def test_profile(shapes):
    text = test_goroutines.check_profile(shapes, program(shapes))
    assert len(go_dumps.profile_groups(text)) >= 70


def test_whole_stacks_and_locks(shapes):
    document = test_goroutines.read(shapes, program(shapes))
    goroutines = next(profile for profile in document["profiles"] if profile["kind"] == "goroutine")
    still = [group for group in goroutines["groups"] if group["state"] not in ("running", "runnable")]
    assert still and all(group["end"]["reason"] == "outermost" for group in still)
    # From the table of semaphores, whose entries are larger than on x86-64.
    locks = [wait["resource"].get("name") for group in goroutines["groups"] for wait in group.get("waits", ())
             if wait["resource"]["kind"] == "mutex"]
    assert locks, "no goroutine's mutex was found"


@pytest.fixture(params=arm64_cores.FOREIGN, ids=lambda foreign: foreign.go)
def foreign(request, tmp_path, stackgroup):
    if not request.param.usual and os.environ.get("STACKGROUP_FOREIGN") != "all":
        pytest.skip("not among the few that run by default; STACKGROUP_FOREIGN=all runs it")
    emulator = unavailable_skips(cores.compiler, arm64_cores.EMULATOR)
    return unavailable_skips(go_cores.foreign_core, request.param, tmp_path, (emulator,))


def test_foreign_program(foreign):
    compared, theirs = test_goroutines.check_against_dump(
        foreign, test_goroutines.read(foreign, program(foreign)), moving=lambda goroutine: goroutine.state in ("running", "runnable"))
    assert compared.equal >= 3
    assert any("net/http" in frame.function for goroutine in theirs.values() for frame in goroutine.frames)


# C

FLAGS = {
    "dynamic": ("-O2", "-g"),
    "static": ("-O2", "-g", "-static"),
    # Return addresses carry signatures, and the unwind tables say so.
    "signed": ("-O2", "-g", "-mbranch-protection=standard"),
    # main's own frames by the frame pointer; a leaf's caller by the link register.
    "no-tables": ("-O2", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables"),
}
STACKS = [
    ("park", "recurse", "recurse", "recursion_thread"),
    ("park", *["recurse"] * 31, "recursion_thread"),
    ("park", "grow", "alloca_thread"),
    ("spin", "leaf_thread"),
    *[("mutex_thread",)] * 3,
    ("condition_thread",),
    ("join_thread",),
    ("park", "on_signal", "interrupt_itself", "handler_thread"),
    ("park", "on_signal", "fault", "handler_thread"),
    ("main",),
]
OWN = {name for stack in STACKS for name in stack}


@pytest.fixture(scope="module", params=FLAGS)
def threads(request, tmp_path_factory, stackgroup):
    """(name of the variant, core as the emulator wrote it, core as Linux would have written it)"""
    folder = tmp_path_factory.mktemp(request.param)
    machine = unavailable_skips(arm64_cores.c_core, FLAGS[request.param], folder)
    yield request.param, machine, arm64_cores.as_kernel_core(machine, folder / "kernel.core")
    shutil.rmtree(folder)


def read_threads(core, *arguments):
    document = oracles.stackgroup_json(core, "--members", "--frames=0", "--no-rules", "--by=pc", *arguments)
    profile, = document["profiles"]
    return document, {int(member): group for group in profile["groups"] for member in group["members"]}


def own_stacks(groups):
    return sorted(tuple(frame["function"] for frame in group["frames"] if frame.get("function") in OWN) for group in groups.values())


def is_interrupted(group):
    return any(frame.get("function") == "on_signal" for frame in group["frames"])


def test_stacks(threads):
    name, _, core = threads
    document, groups = read_threads(core.core)
    assert not [row for row in document["diagnostics"] if row["code"].startswith(("module", "libunwind"))], document["diagnostics"]
    if name == "no-tables":  # a handler's frame says nothing of where the kernel left the interrupted registers
        wanted = [stack[:2] if "on_signal" in stack else stack for stack in STACKS]
        assert own_stacks(groups) == sorted(wanted)
        groups = {tid: group for tid, group in groups.items() if not is_interrupted(group)}
    else:
        assert own_stacks(groups) == sorted(STACKS)
    assert {group["end"]["reason"] for group in groups.values()} == {"outermost"}


@pytest.mark.parametrize("threads", ["dynamic", "static"], indirect=True)
def test_as_eu_stack(threads):
    """Where eu-stack knows its way: it takes signatures for a part of the address, and ends at signal frames."""
    _, _, core = threads
    _, groups = read_threads(core.core)
    theirs = unavailable_skips(oracles.eu_stack, core.core, core.executable)
    assert set(theirs.threads) == set(groups)
    for tid, group in groups.items():
        if not is_interrupted(group):
            ours = [int(frame["pc"], 16) for frame in group["frames"] if not frame.get("inlined")]
            assert ours == [frame.pc for frame in theirs.threads[tid]], group


def test_states_and_waits(threads):
    _, _, core = threads
    _, groups = read_threads(core.core)
    states = {stack: group["state"] for tid, group in groups.items()
              for stack in [tuple(frame.get("function") for frame in group["frames"] if frame.get("function") in OWN)]}
    assert states[("spin", "leaf_thread")] == "running"
    assert states[("mutex_thread",)] == states[("condition_thread",)] == states[("join_thread",)] == "futex wait"
    assert states[("park", "grow", "alloca_thread")] == "read"
    lock, = {(wait["resource"]["kind"], wait["resource"]["address"], wait.get("holder", {}).get("id"), wait["learnt"])
             for group in groups.values() if group["frames"][-3].get("function") == "mutex_thread" for wait in group["waits"]}
    main = next(tid for tid, group in groups.items() if any(frame.get("function") == "main" for frame in group["frames"]))
    assert (lock[0], lock[2], lock[3]) == ("mutex", str(main), "read")


def test_emulator_core(threads):
    """Without NT_FILE and without any file's header: the program is told, its libraries are found through the loader's list."""
    _, machine, core = threads
    _, groups = read_threads(machine.core, f"--exe={machine.executable}", f"--sysroot={arm64_cores.SYSROOT}")
    _, wanted = read_threads(core.core)
    assert own_stacks(groups) == own_stacks(wanted)


@pytest.mark.parametrize("threads", ["dynamic"], indirect=True)
def test_this_machines_files(threads, tmp_path):
    """At the paths that the core names this machine has its own files: they are refused and named."""
    _, _, core = threads
    kept = tmp_path / "kept"
    shutil.move(core.executable, kept)
    try:
        shutil.copy(oracles.tool("true"), core.executable)
        document, groups = read_threads(core.core)
    finally:
        shutil.move(kept, core.executable)
    row, = [row for row in document["diagnostics"] if row["code"] == "module-differs"]
    assert str(core.executable) in row["message"] and "no ELF file of the core's architecture" in row["message"]
    assert len(groups) == len(STACKS) and not any(own_stacks(groups))


# cut


def check_cuts(path, target, *arguments):
    data = path.read_bytes()
    header = corefile.CoreFile(path)
    first = min(segment.offset for segment in header.segments if segment.file_bytes)
    places = {first * i // (CUTS // 2) for i in range(CUTS // 2)} | {first + (len(data) - first) * i * i // (CUTS // 2) ** 2
                                                                    for i in range(CUTS // 2)}
    for place in sorted(places):
        target.write_bytes(data[:place])
        done = oracles.stackgroup_run("--format=json", *arguments, target)
        assert done.returncode in (0, 3, 4), (place, done.returncode, done.stderr)
        if done.returncode == 3:
            assert done.stderr and place <= first + 65536, place
        else:
            assert json.loads(done.stdout)["diagnostics"], place


def test_cut_go(shapes, tmp_path):
    check_cuts(shapes.path, tmp_path / "cut.core", program(shapes))


@pytest.mark.parametrize("threads", ["dynamic"], indirect=True)
def test_cut_threads(threads, tmp_path):
    _, machine, _ = threads
    check_cuts(machine.core, tmp_path / "cut.core", f"--exe={machine.executable}", f"--sysroot={arm64_cores.SYSROOT}")
