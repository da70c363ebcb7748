# SPDX-License-Identifier: Apache-2.0
"""Goroutines whose thread stands in the runtime's code that moves between stacks, stopped at each of its instructions: who called
it is known from where it began."""

import cores
import go_cores
import go_steps
import oracles
import pytest


@pytest.fixture(scope="module")
def stepper(stackgroup):
    try:
        executable = go_cores.build("switches", go_cores.VARIANTS["cgo"])
        oracles.tool("nm")
        stepper = go_steps.Stepper(executable, GOMAXPROCS="1", GOGC="off", GODEBUG="asyncpreemptoff=1")
    except cores.Unavailable as error:
        pytest.skip(str(error))
    yield stepper
    stepper.close()


def physical_pcs(frames):
    """A row a frame: calls that were inlined into one are before it, and the first has its pc."""
    found, pc = [], None
    for frame in frames:
        pc = frame["pc"] if pc is None else pc
        if not frame["inlined"]:
            found.append(int(pc, 16))
            pc = None
    return found


def stacks_of(core):
    """Of goroutines and threads: [(kind, pcs, end)]."""
    document = oracles.stackgroup_json(core, "--members", "--frames=0", "--no-rules", "--system")
    return [(profile["kind"], physical_pcs(group["frames"]), group["end"]["reason"]) for profile in document["profiles"]
            for group in profile["groups"]]


def has(stacks, kind, callers):
    return any(row[0] == kind and row[1][-len(callers):] == callers and row[2] == "outermost" for row in stacks)


def check(callers, kinds, folder):
    for core in sorted(folder.glob("*.core"), key=lambda path: path.stat().st_mtime_ns):
        stacks = stacks_of(core)
        for kind in kinds:
            assert has(stacks, kind, callers), f"{core.name}: no {kind} was called by {[hex(pc) for pc in callers]}: {stacks}"


@pytest.mark.parametrize("name", ["time.now", "runtime.nanotime1", "runtime.systemstack"])
def test_that_returns(stepper, tmp_path, name):
    passage = stepper.follow(name, tmp_path)
    assert passage.cores > 20
    check(passage.callers, ["goroutine", "thread"], tmp_path)


def test_asmcgocall(stepper, tmp_path):
    """The runtime's own account of a goroutine in C begins at an earlier call of the function that calls it."""
    passage = stepper.follow("runtime.asmcgocall", tmp_path)
    assert passage.cores > 20
    check(passage.callers[1:], ["goroutine", "thread"], tmp_path)


@pytest.mark.parametrize("name", ["runtime.mcall", "runtime.morestack"])
def test_that_leaves(stepper, tmp_path, name):
    passage = stepper.follow(name, tmp_path, calls_return=False)
    assert passage.cores > 10
    check(passage.callers, ["goroutine", "thread"], tmp_path)


def test_on_the_threads_stack(stepper, tmp_path):
    """Go that runs on g0's stack for a goroutine: of the goroutine its runtime tells where it left, its thread goes on to it."""
    callers = []
    for _ in range(go_steps.TRIES_MAX):
        tid = stepper.run_to(stepper.assembly("runtime.systemstack")[0])
        registers = stepper.registers(tid)
        callers = [stepper.word(registers["rsp"])] + stepper.chain(registers["rbp"])
        start, end = stepper.functions["runtime.newproc"]
        if go_steps.on_goroutine(registers) and start <= callers[0] < end:
            break
        stepper.step(tid)
    else:
        raise AssertionError("newproc is not called")
    stepper.run_to(stepper.functions["runtime.newproc1"][0], tid)
    stepper.write_core(tmp_path / "newproc1.core")
    check(callers, ["goroutine", "thread"], tmp_path)
    rows = [row for row in stacks_of(tmp_path / "newproc1.core") if row[1][-len(callers):] == callers]
    inside = {name: stepper.assembly(f"runtime.{name}") for name in ("systemstack", "systemstack_switch", "newproc1")}
    names = {row[0]: [next((name for name, (start, end) in inside.items() if start <= pc < end), "") for pc in row[1]] for row in rows}
    assert names["goroutine"][0] == "systemstack_switch" and names["thread"][0] == "newproc1" and "systemstack" in names["thread"]


def test_gogo(stepper, tmp_path):
    start, end = stepper.functions["runtime.gopark"]
    for i in range(100):
        folder = tmp_path / str(i)
        folder.mkdir()
        passage = stepper.follow("gogo", folder, is_wanted=lambda registers: True)
        # To where frame pointers tell all: in a function's first instructions they leave out its caller.
        if start <= passage.resumed[0] < end:
            break
    assert passage.cores > 5
    check(passage.resumed, ["goroutine"], folder)
