# SPDX-License-Identifier: Apache-2.0
"""Input that is not a core, or a damaged one. Each gives one clear line or a partial result that says what is missing; never a
crash, a hang or invented frames. Exit codes: 0 done, 2 usage, 3 no result, 4 something was lost."""

import json
import os
import shutil
import socket
import struct

import corefile
import cores
import oracles
import pytest
import stacks
from corefile import CoreFile

SECONDS = 20  # a hang is a failure; the slowest good answer here takes well under one

NO_RESULT = 3
RESULT = (0, 4)


def analyse(path, *arguments):
    done = oracles.stackgroup_run(*arguments, path, seconds=SECONDS)
    assert done.returncode >= 0, f"died of signal {-done.returncode}: {done.stderr}"
    assert "Sanitizer" not in done.stderr, done.stderr
    return done


def check_refused(path, *arguments, says=""):
    """No result, and one line that names the file."""
    done = analyse(path, *arguments)
    assert done.returncode == NO_RESULT, (done.returncode, done.stderr)
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert os.path.basename(path) in lines[0], lines[0]
    assert says in lines[0], lines[0]
    assert not done.stdout, done.stdout
    return lines[0]


def check_survived(path, *arguments):
    """A result in valid JSON, or one line that says why there is none."""
    done = analyse(path, "--format=json", "--members", "--by=pc", *arguments)
    if done.returncode == NO_RESULT:
        lines = done.stderr.splitlines()
        assert len(lines) == 1 and os.path.basename(path) in lines[0], done.stderr
        return None
    assert done.returncode in RESULT, (done.returncode, done.stderr)
    document = json.loads(done.stdout)
    document["exit"] = done.returncode
    return document


def check_lossy(path, *arguments):
    """A result, and a diagnostic that says what is missing."""
    document = check_survived(path, *arguments)
    assert document is not None, "no result"
    assert document["diagnostics"], "nothing says what is missing"
    return document


def threads_of(document):
    return oracles.json_stacks(document).threads


# not a core


@pytest.mark.parametrize("content", [b"", b"\0", b"\x7f", b"\x7fELF", b"hello\n", b"\x7fELF\x02\x01\x01", bytes(5000),
                                     b"#!/bin/sh\necho\n", bytes(range(256)) * 40], ids=lambda content: repr(content[:8]))
def test_not_a_core(content, tmp_path, stackgroup):
    path = tmp_path / "input"
    path.write_bytes(content)
    check_refused(path)


def test_executable(parked_core, stackgroup):
    check_refused(parked_core.executable)


def test_source_file(stackgroup):
    check_refused(cores.SOURCES / "truth.h")


def test_directory(tmp_path, stackgroup):
    check_refused(tmp_path)


def test_missing(tmp_path, stackgroup):
    check_refused(tmp_path / "nothing")


def test_fifo(tmp_path, stackgroup):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    check_refused(path)


def test_socket(tmp_path, stackgroup):
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        check_refused(path)


@pytest.mark.parametrize("path", ["/dev/null", "/dev/zero"])
def test_device(path, stackgroup):
    check_refused(path)


def test_unreadable(tmp_path, stackgroup):
    path = tmp_path / "secret"
    path.write_bytes(b"\x7fELF")
    path.chmod(0)
    # Root reads everything, but for its capabilities.
    bounded = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    if bounded and not shutil.which("setpriv"):
        pytest.skip("no setpriv")
    done = oracles.run([*bounded, stackgroup, path], SECONDS)
    assert done.returncode == 3 and done.stderr == f"stackgroup: {path}: cannot be read: Permission denied\n" and not done.stdout


def test_link_loop(tmp_path, stackgroup):
    path = tmp_path / "loop"
    path.symlink_to(path)
    check_refused(path)


@pytest.mark.parametrize("arguments", [[], ["--no-such-option"], ["--format=nonsense", "x"], ["--top=-1", "x"], ["--by=colour", "x"],
                                       ["--filter=(", "x"]], ids=lambda arguments: " ".join(arguments) or "none")
def test_usage(arguments, stackgroup):
    done = oracles.stackgroup_run(*arguments, seconds=SECONDS)
    assert done.returncode == 2, done.stderr
    assert done.stderr and not done.stdout


# another machine's


@pytest.mark.parametrize("machine,name", [(corefile.EM_386, "i386"), (corefile.EM_AARCH64, "aarch64"), (243, "riscv"), (0, "none")])
def test_other_architecture(machine, name, parked_core, tmp_path, stackgroup):
    core = CoreFile(parked_core.path)
    core.set_machine(machine)
    check_refused(core.save(tmp_path / f"core.{name}"))


def test_other_class_and_order(parked_core, tmp_path, stackgroup):
    for place, value in ((4, 1), (5, 2)):  # 32 bits, big endian
        core = CoreFile(parked_core.path)
        core.data[place] = value
        check_refused(core.save(tmp_path / f"core.{place}"))


# cut


def cut_places(core):
    header = list(range(0, 64, 7)) + [63, 64, 65]
    table_end = core.segments_offset + 56 * len(core.segments)
    table = list(range(64, table_end, max(1, (table_end - 64) // 12)))
    notes = [place for note in core.notes[:12] for place in (note.header + 5, note.offset, note.offset + note.size // 2)]
    whole = len(core.data)
    return sorted({*header, *table, *notes, *(whole * i // 40 for i in range(1, 40)), whole - 1})


def test_cut_anywhere(parked_core, tmp_path, stackgroup):
    whole = threads_of(check_survived(parked_core.path))
    for size in cut_places(CoreFile(parked_core.path)):
        path = corefile.cut(parked_core.path, tmp_path / "core.cut", size)
        document = check_survived(path)
        if document is None:
            continue
        assert document["diagnostics"], f"cut at {size}: nothing says so"
        for tid, frames in threads_of(document).items():
            pcs = [frame.pc for frame in frames]
            assert pcs == [frame.pc for frame in whole[tid]][:len(pcs)], f"cut at {size}: thread {tid} got other frames"


@pytest.mark.parametrize("fraction", [0.9, 0.5])
def test_cut_keeps_what_is_there(fraction, many_core, tmp_path, stackgroup):
    """Every stack whose bytes are in the cut core is the same as in the whole one."""
    whole = threads_of(check_survived(many_core.path))
    path = corefile.cut_to_fraction(many_core.path, tmp_path / "core.cut", fraction)
    found = threads_of(check_lossy(path))
    core, size, there = CoreFile(many_core.path), path.stat().st_size, 0
    for prstatus in core.notes_of(corefile.NT_PRSTATUS):
        if prstatus.offset + prstatus.size > size:
            continue
        stack = core.segment_at(core.register(prstatus, "rsp"))
        if stack.offset + stack.file_bytes <= size:
            there += 1
            tid = core.tid(prstatus)
            assert [frame.pc for frame in found[tid]] == [frame.pc for frame in whole[tid]]
    assert there


# notes


def test_file_note_counts(parked_core, tmp_path, stackgroup):
    for count in (0, 1, 1 << 16, 1 << 32, (1 << 61) + 1, (1 << 64) - 1):
        core = CoreFile(parked_core.path)
        core.set_file_count(count)
        document = check_survived(core.save(tmp_path / "core.count"))
        if document is not None and count:
            assert set(threads_of(document)) == wanted_tids(parked_core)


def wanted_tids(core):
    return {tid for group in core.truth["groups"] for tid in group["tids"]}


@pytest.mark.parametrize("size", [0, 1, 335, 0x7FFFFFFF, 0xFFFFFFFF])
def test_note_sizes(size, parked_core, tmp_path, stackgroup):
    for which in (0, 1, -1):
        core = CoreFile(parked_core.path)
        core.set_note_size(core.notes[which], size)
        check_survived(core.save(tmp_path / "core.size"))
        core = CoreFile(parked_core.path)
        core.set_note_name_size(core.notes[which], size)
        check_survived(core.save(tmp_path / "core.size"))


@pytest.mark.parametrize("kind", [corefile.NT_FILE, corefile.NT_AUXV, corefile.NT_PRPSINFO, corefile.NT_SIGINFO])
def test_note_missing(kind, parked_core, tmp_path, stackgroup):
    core = CoreFile(parked_core.path)
    for note in core.notes_of(kind):
        core.rename_note(note)
    document = check_survived(core.save(tmp_path / "core.note"))
    assert document is not None
    assert set(threads_of(document)) == wanted_tids(parked_core)


def test_no_threads(parked_core, tmp_path, stackgroup):
    core = CoreFile(parked_core.path)
    for note in core.notes_of(corefile.NT_PRSTATUS):
        core.rename_note(note)
    check_refused(core.save(tmp_path / "core.nobody"))


def test_one_thread_dropped(parked_core, tmp_path, stackgroup):
    core = CoreFile(parked_core.path)
    dropped = core.notes_of(corefile.NT_PRSTATUS)[-1]
    core.rename_note(dropped)
    document = check_survived(core.save(tmp_path / "core.dropped"))
    assert set(threads_of(document)) == wanted_tids(parked_core) - {core.tid(dropped)}


def test_same_tid_twice(parked_core, tmp_path, stackgroup):
    core = CoreFile(parked_core.path)
    first, second = core.notes_of(corefile.NT_PRSTATUS)[1:3]
    struct.pack_into("<i", core.data, second.offset + 32, core.tid(first))
    done = analyse(core.save(tmp_path / "core.twice"), "--format=json", "--members")
    assert done.returncode in RESULT
    assert json.loads(done.stdout)["profiles"][0]["total"] == len(wanted_tids(parked_core))


# segments


def test_hundred_thousand_segments(tmp_path, stackgroup):
    document = check_survived(corefile.empty_segments_core(tmp_path / "core.segments"))
    assert set(threads_of(document)) == {1}


def test_extended_segment_count(tmp_path, stackgroup):
    """PN_XNUM is allowed where it is not needed, and a lie in it is found out."""
    core = corefile.stack_core(tmp_path / "core.extended", {}, extended=True)
    assert set(threads_of(check_survived(core))) == {1}
    lie = CoreFile(core)
    struct.pack_into("<I", lie.data, struct.unpack_from("<Q", lie.data, 40)[0] + 44, 0xFFFFFFFF)
    check_survived(lie.save(tmp_path / "core.lie"))
    nowhere = CoreFile(core)
    struct.pack_into("<Q", nowhere.data, 40, 1 << 62)
    check_survived(nowhere.save(tmp_path / "core.nowhere"))


def test_overlapping_segments(tmp_path, stackgroup):
    document = check_survived(corefile.overlapping_segments_core(tmp_path / "core.overlap"))
    assert document is None or set(threads_of(document)) == {1}


@pytest.mark.parametrize("changes", [{"offset": (1 << 64) - 1}, {"offset": 1 << 40}, {"address": (1 << 64) - 4096},
                                     {"file_bytes": (1 << 64) - 1}, {"memory_bytes": 0}, {"memory_bytes": (1 << 64) - 1},
                                     {"address": 0}], ids=str)
def test_absurd_segments(changes, parked_core, tmp_path, stackgroup):
    core = CoreFile(parked_core.path)
    for segment in core.segments[1::3]:
        core.set_segment(segment, **changes)
    check_survived(core.save(tmp_path / "core.absurd"))
    core = CoreFile(parked_core.path)
    core.set_segment(core.segments[0], **changes)
    check_survived(core.save(tmp_path / "core.absurd"))


@pytest.mark.parametrize("count", [0, 1, 0xFFFE, 0xFFFF])
def test_absurd_segment_count(count, parked_core, tmp_path, stackgroup):
    core = CoreFile(parked_core.path)
    core.set_segment_count(count)
    check_survived(core.save(tmp_path / "core.count"))


# stacks


def test_looping_stack(tmp_path, stackgroup):
    for make in (corefile.looping_stack_core, corefile.circling_stack_core):
        threads = threads_of(check_survived(make(tmp_path / "core.loop")))
        assert len(threads[1]) <= 4, "frames were invented"


@pytest.mark.parametrize("unwinder", ["auto", "dwarf", "libunwind"])
def test_endless_stack(unwinder, tmp_path, stackgroup):
    document = check_survived(corefile.endless_stack_core(tmp_path / "core.endless"), f"--unwinder={unwinder}")
    assert set(threads_of(document)) == {1}


@pytest.mark.parametrize("unwinder", ["auto", "dwarf", "libunwind"])
def test_looping_signal_frame(unwinder, parked_core, tmp_path, stackgroup):
    """A signal frame that says it interrupted itself: the unwind tables lead round and round."""
    core = CoreFile(parked_core.path)
    tid = next(group for group in parked_core.truth["groups"] if group["name"] == "signal handler")["tids"][0]
    frames = oracles.eu_stack(parked_core.path, parked_core.executable).threads[tid]
    trampoline = next(frame.pc for frame in frames if frame.function == "__restore_rt")
    place = core.find_u64(trampoline, core.register(core.prstatus_of(tid), "rsp"))
    context = place + 8
    core.write_u64(context + corefile.UCONTEXT_RSP, context)
    core.write_u64(context + corefile.UCONTEXT_RIP, trampoline)
    document = check_survived(core.save(tmp_path / "core.loop"), f"--unwinder={unwinder}")
    assert len(threads_of(document)[tid]) <= len(frames)
    whole = {tid: [frame.pc for frame in frames] for tid, frames in threads_of(check_survived(parked_core.path)).items()}
    for other, frames in threads_of(document).items():
        assert other == tid or unwinder != "auto" or [frame.pc for frame in frames] == whole[other]


@pytest.mark.parametrize("value", [0, 1, 8, 0x1000, 1 << 47, (1 << 64) - 1, (1 << 64) - 8])
def test_absurd_registers(value, parked_core, tmp_path, stackgroup):
    core = CoreFile(parked_core.path)
    for index, name in enumerate(("rsp", "rbp", "rip", "fs_base")):
        note = core.notes_of(corefile.NT_PRSTATUS)[index + 1]
        struct.pack_into("<Q", core.data, note.offset + corefile.PRSTATUS_REGISTERS + 8 * corefile.REGISTERS.index(name), value)
    document = check_survived(core.save(tmp_path / "core.registers"))
    assert set(threads_of(document)) == wanted_tids(parked_core)


# files that the core names


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    """A core of an executable that the test may remove or replace."""
    folder = tmp_path_factory.mktemp("moved")
    try:
        built = cores.build(cores.PROGRAMS["deadlock_pool"], cores.C_BASE)
        executable = shutil.copy(built.executable, folder / "server")
        copy = cores.Build(built.program, built.variant, folder, executable)
        core = folder / "core.moved"
        cores.write_kernel_core(copy, core, folder / "truth.json")
    except cores.Unavailable as error:
        pytest.skip(str(error))
    original = folder / "server.original"
    shutil.copy(executable, original)
    return cores.Core(copy, "kernel", core, json.loads((folder / "truth.json").read_text())), original


def put_in_place(core, make):
    if core.executable.exists() or core.executable.is_symlink():
        if core.executable.is_dir():
            core.executable.rmdir()
        else:
            core.executable.unlink()
    make(core.executable)


REPLACEMENTS = {
    "missing": lambda path: None,
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("not a program\n"),
    "other program": lambda path: shutil.copy("/bin/true", path),
    "directory": lambda path: path.mkdir(),
    "fifo": os.mkfifo,
    "link to nothing": lambda path: path.symlink_to("/nowhere/at/all"),
}


@pytest.mark.parametrize("what", REPLACEMENTS)
def test_executable_missing_or_replaced(what, moved, stackgroup):
    core, original = moved
    put_in_place(core, REPLACEMENTS[what])
    document = check_lossy(core.path)
    assert set(threads_of(document)) == wanted_tids(core)
    names = {frame.function for frames in threads_of(document).values() for frame in frames}
    assert "transfer_money" not in names
    text = " ".join(row.get("message", "") + row.get("subject", "") for row in document["diagnostics"])
    assert core.executable.name in text, text


def test_executable_cut(moved, stackgroup):
    core, original = moved
    for fraction in (0.05, 0.5, 0.95):
        put_in_place(core, lambda path: corefile.cut_to_fraction(original, path, fraction))
        document = check_survived(core.path)
        assert set(threads_of(document)) == wanted_tids(core)


def test_executable_given(moved, stackgroup):
    """A missing executable can be given; a wrong one is refused and named."""
    core, original = moved
    put_in_place(core, REPLACEMENTS["missing"])
    found = oracles.json_stacks(oracles.stackgroup_json(core.path, "--members", "--by=pc", "--exe", original))
    assert not stacks.truth_differences(core.truth, found)
    document = check_lossy(core.path, "--exe", "/bin/true")
    assert any("true" in row.get("message", "") + row.get("subject", "") for row in document["diagnostics"])


def test_sysroot(moved, tmp_path, stackgroup):
    core, original = moved
    put_in_place(core, REPLACEMENTS["missing"])
    there = tmp_path / core.executable.relative_to("/")
    there.parent.mkdir(parents=True)
    shutil.copy(original, there)
    document = check_survived(core.path, "--sysroot", tmp_path)
    names = {frame.function for frames in threads_of(document).values() for frame in frames}
    assert "transfer_money" in names


def test_strict_makes_losses_count(moved, stackgroup):
    core, _ = moved
    put_in_place(core, REPLACEMENTS["missing"])
    assert analyse(core.path, "--strict").returncode == 4
