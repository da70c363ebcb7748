# SPDX-License-Identifier: Apache-2.0
"""Goroutines that called C, and that C called: the frames of both in one stack, from cores, from a library in a C program, and
live. Of Go's part the runtime's own dump is the oracle, of C's the program's functions and gdb."""

import subprocess
from collections import Counter

import cores
import go_cores
import go_dumps
import oracles
import pytest

VARIANTS = {variant.name: variant for variant in (
    go_cores.VARIANTS["cgo"], go_cores.VARIANTS["cgo-stripped"],
    go_cores.Variant("cgo-pie", ("-buildmode=pie",), cgo=True),
)}
LEVEL = ["c_nested", "c_around"]
# The C functions of each goroutine's stack, innermost first.
WANTED = Counter(tuple(names) for names in (
    ["c_pause", *LEVEL, *LEVEL, *LEVEL], [*LEVEL, *LEVEL, *LEVEL], ["c_sized"], ["c_pause"], ["c_serve", "c_thread"],
    [*LEVEL, *LEVEL, "c_serve", "c_thread"], ["c_pause", "c_hold"], ["c_wait"]))
LEAVES_C, ENTERS_C = "runtime.asmcgocall", "runtime.cgocallback"


def make(*arguments, **options):
    try:
        return go_cores.make_core("cgo_calls", *arguments, **options)
    except cores.Unavailable as error:
        pytest.skip(str(error))


def read(core, *arguments):
    return oracles.stackgroup_json(core, "--members", "--frames=0", "--no-rules", *arguments)


def stacks_of(document, kind="goroutine"):
    """id: rows of frames; they must be whole."""
    found = {}
    for profile in document["profiles"]:
        for group in profile["groups"] if profile["kind"] == kind else ():
            assert group["end"]["reason"] == "outermost", group
            found.update((int(member), group["frames"]) for member in group["members"])
    return found


def name_of(row):
    return row.get("function", "")


def go_part(rows):
    """Without C: what a goroutine called, or what called it, or both."""
    first = next((name_of(row) for row in rows if name_of(row) in (LEAVES_C, ENTERS_C)), "")
    kept, in_c = [], first == LEAVES_C
    for row in rows:
        if in_c:
            in_c = name_of(row) != LEAVES_C
        else:
            kept.append(name_of(row))
            in_c = name_of(row) == ENTERS_C
    return kept


def c_part(rows):
    return tuple(name_of(row) for row in rows if name_of(row).startswith("c_"))


def check_named(document):
    stacks = stacks_of(document)
    found = Counter(c_part(rows) for rows in stacks.values())
    assert {names: count for names, count in found.items() if names} == dict(WANTED)
    # In their places: each call from C lies between the Go that it called and the Go that called it.
    deepest = next(rows for rows in stacks.values() if c_part(rows)[:1] == ("c_pause",) and len(c_part(rows)) == 7)
    ours = [name_of(row) for row in deepest if name_of(row).startswith(("main.", "c_"))]
    level = ["main.goNested", *LEVEL, "main._Cfunc_c_around", "main.nested"]
    assert ours == ["c_pause", "main._Cfunc_c_pause", *level, *level, *level]
    return stacks


@pytest.fixture(scope="module", params=VARIANTS)
def core(request, stackgroup):
    return make(VARIANTS[request.param])


def test_go_part(core):
    """What is left without C is the runtime's own dump."""
    plain = read(core.path, "--no-c-frames", "--system")
    compared = go_dumps.compare(go_dumps.goroutines_of(plain), go_dumps.parse_dump(core.dump), with_system=True)
    assert not compared.missing and not compared.extra and not compared.differences and compared.equal >= 9
    theirs = {id: [name_of(row) for row in rows if name_of(row) != "runtime.systemstack_switch"] for id, rows in stacks_of(plain).items()}
    for id, rows in stacks_of(read(core.path, "--system")).items():
        names = go_part(rows)
        # The bottom of a goroutine of a thread of C's is C's thread.
        assert names == theirs[id] or names + ["runtime.goexit"] == theirs[id]


def test_c_part(core):
    document = read(core.path)
    if core.executable.parent.name.endswith("cgo-stripped"):
        # As many calls of C as where they have names.
        named = stacks_of(read(make(VARIANTS["cgo"]).path))
        # The main goroutine is caught on its way to where it waits.
        sizes = [Counter((tuple(go_part(rows)), len(rows)) for rows in stacks.values() if "main.main" not in go_part(rows))
                 for stacks in (stacks_of(document), named)]
        assert sizes[0] == sizes[1]
    else:
        check_named(document)
    # Threads go on with their goroutines, and none ends early.
    threads = stacks_of(document, "thread")
    assert any([name_of(row) for row in rows].count(ENTERS_C) == 3 for rows in threads.values())


def test_lock_around_callback(core):
    """What a goroutine holds below C is found above it too."""
    found = oracles.stackgroup_json(core.path, "--goroutines")["findings"]
    finding, = [finding for finding in found if finding["id"] == "go/deadlock"]
    assert finding["confidence"] == "inferred" and "main.goVisit" in "\n".join(finding["evidence"])


def pcs(rows):
    return [row["pc"] for row in rows if not row["inlined"]]


def test_gdb(stackgroup):
    """The calls of C of threads that stand in C, as gdb follows them."""
    core = make(VARIANTS["cgo"], kind="gcore")
    try:
        theirs = oracles.gdb(core.path, core.executable).threads
    except cores.Unavailable as error:
        pytest.skip(str(error))
    document, compared = read(core.path), 0
    goroutines = stacks_of(document).values()
    for tid, rows in stacks_of(document, "thread").items():
        frames = [frame for frame in theirs[tid] if not frame.inlined]
        end = next((i for i, frame in enumerate(frames) if LEAVES_C in frame.function), None)
        if end is None or not any(name_of(row) == LEAVES_C for row in rows) or not c_part(rows)[:1] in (("c_pause",), ("c_wait",)):
            continue
        assert [int(pc, 16) for pc in pcs(rows)[:end + 1]] == [frame.pc for frame in frames[:end + 1]]
        # The goroutine's begins with the same calls.
        assert any(pcs(other)[:end + 3] == pcs(rows)[:end + 3] for other in goroutines)
        compared += 1
    assert compared == 4


def host_core(folder):
    """The program's Go part in a C program that opens it as a library."""
    reason = cores.kernel_writes_plain_cores()
    if reason:
        raise cores.Unavailable(reason)
    library = go_cores.build("cgo_calls", go_cores.Variant("cgo-shared", ("-buildmode=c-shared",), cgo=True))
    host = folder / "host"
    cores.run([cores.compiler("gcc"), str(cores.SOURCES / "cgo_calls" / "host.c"), "-o", str(host), "-ldl"])
    subprocess.run([host, library], cwd=folder, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=cores.allow_core,
                   env=oracles.environment(GOTRACEBACK="crash"), timeout=go_cores.RUN_SECONDS)
    go_cores.take_core(folder, folder / "host.core")
    return folder / "host.core"


def test_library_in_c(tmp_path, stackgroup):
    try:
        core = host_core(tmp_path)
    except cores.Unavailable as error:
        pytest.skip(str(error))
    check_named(read(core))


def test_live_and_saved(tmp_path, stackgroup):
    try:
        executable = go_cores.build("cgo_calls", VARIANTS["cgo"])
    except cores.Unavailable as error:
        pytest.skip(str(error))
    child = subprocess.Popen([executable, tmp_path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             env=oracles.environment(GOROUTINES_END="wait"))
    try:
        assert child.stdout.readline() == b"ready\n"
        saved = tmp_path / "saved.core"
        live = read(f"-p{child.pid}", f"--save={saved}")
    finally:
        child.kill()
        child.communicate()
    names = [Counter(tuple(map(name_of, rows)) for rows in check_named(document).values()) for document in (live, read(saved))]
    assert names[0] == names[1]


def test_arguments(stackgroup):
    """Those of Go's calls do not move when C's stand between them."""
    core = make(VARIANTS["cgo"])
    texts = [oracles.stackgroup_run("--no-rules", "--goroutines", "--frames=0", "--format=debug2", *options, core.path).stdout
             for options in ((), ("--no-c-frames",))]
    with_c, without = (go_dumps.dump_lines(text) for text in texts)
    assert set(with_c) == set(without) and "c_pause(...)" in texts[0] and "c_pause(...)" not in texts[1]
    for id, goroutine in without.items():
        calls = [call for call in with_c[id].calls if call in goroutine.calls]
        assert calls == goroutine.calls
