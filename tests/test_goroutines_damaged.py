# SPDX-License-Identifier: Apache-2.0
"""Cores of Go programs, damaged: goroutines that are still there are read, the rest is counted and named. Never a crash or a hang."""

import contextlib
import json
import os
import random
import re
import struct
import subprocess
from pathlib import Path

import corefile
import cores
import go_cores
import go_dumps
import oracles
import pytest
from corefile import CoreFile

SECONDS = 30
TEXT_ADDRESS = 0x400000
# runtime.g of Go 1.17 to 1.20, the releases that Debian's compiler may be of.
G_STACK_HIGH, G_SP, G_PC, G_SELF, G_STATUS, G_ID, G_WAITING = 8, 56, 64, 72, 144, 152, 328
PCLNTAB_MAGIC = b"\xff\xff\xff\0\0\1\x08"


class Damaged:
    """A core whose bytes are changed in place, on a copy, and put back."""

    def __init__(self, core, path):
        self.core, self.path = core, path
        subprocess.run(["cp", "--sparse=always", core.path, path], check=True)
        self.file = CoreFile(path)
        symbols = cores.run(["nm", core.executable])
        self.symbols = {line.split()[-1]: int(line.split()[0], 16) for line in symbols.splitlines() if len(line.split()) == 3}
        self.bias = 0

    def symbol(self, name):
        return self.symbols[name] + self.bias

    def words(self, name, count):
        return [self.file.read_u64(self.symbol(name) + 8 * i) for i in range(count)]

    def goroutines(self):
        array, count, _ = self.words("runtime.allgs", 3)
        return [self.file.read_u64(array + 8 * i) for i in range(count)]

    @contextlib.contextmanager
    def bytes_changed(self, changes):
        """changes: place in the file: bytes."""
        with open(self.path, "r+b") as file:
            for place, new in changes.items():
                os.pwrite(file.fileno(), new, place)
            try:
                yield self.path
            finally:
                for place, new in changes.items():
                    os.pwrite(file.fileno(), bytes(self.file.data[place:place + len(new)]), place)

    def changed(self, changes):
        """changes: address: word."""
        return self.bytes_changed({self.file.file_offset(address): struct.pack("<Q", value & (1 << 64) - 1)
                                   for address, value in changes.items()})


def made(variant, path):
    try:
        return Damaged(go_cores.make_core("redis_pool", variant), path)
    except cores.Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def damaged(tmp_path_factory, stackgroup):
    return made(go_cores.PLAIN, tmp_path_factory.mktemp("damaged") / "go.core")


@pytest.fixture(scope="module")
def whole(damaged):
    document = survives(damaged.path)
    assert not document["diagnostics"]
    found = go_dumps.goroutines_of(document)
    assert len(found) == 311
    return found


def survives(path, *arguments):
    done = oracles.stackgroup_run("--format=json", "--members", "--frames=0", "--no-rules", *arguments, path, seconds=SECONDS)
    assert done.returncode in (0, 3, 4), (done.returncode, done.stderr)
    assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
    if done.returncode == 3:
        assert len(done.stderr.splitlines()) == 1, done.stderr
        return None
    document = json.loads(done.stdout)
    document["exit"] = done.returncode
    return document


def codes(document):
    return {row["code"]: row.get("count", 1) for row in document["diagnostics"]}


def pcs(goroutine):
    return [frame.pc for frame in goroutine.frames]


def check_others(found, whole, but=()):
    """All but these are as in the whole core."""
    for id, goroutine in whole.items():
        assert id in but or pcs(found[id]) == pcs(goroutine), id


# the list of goroutines


@pytest.mark.parametrize("value", [0, 1, 8, 0x1234567, TEXT_ADDRESS, 1 << 47, -8, -1], ids=hex)
def test_slots_with_nonsense(value, damaged, whole):
    array, count, _ = damaged.words("runtime.allgs", 3)
    some = range(20, count, 7)  # the first of them are what the list is known by
    lost = {damaged.file.read_u64(damaged.goroutines()[i] + G_ID) for i in some}
    with damaged.changed({array + 8 * i: value for i in some}) as path:
        document = survives(path)
    assert codes(document)["goroutine-unreadable"] == len(some)
    assert document["exit"] == 4
    found = go_dumps.goroutines_of(document)
    assert set(whole) - set(found) == lost & set(whole)
    check_others(found, whole, lost)


@pytest.mark.parametrize("words", [(0, None, None), (1, None, None), (None, 0, 0), (None, 1 << 40, 1 << 40), (None, 10, 9),
                                   (-8, None, None), (1 << 47, None, None)], ids=str)
def test_list_not_found(words, damaged, whole):
    where = damaged.symbol("runtime.allgs")
    changes = {where + 8 * i: word for i, word in enumerate(words) if word is not None}
    with damaged.changed(changes) as path:
        document = survives(path)
    found = go_dumps.goroutines_of(document)
    if not found:
        assert "go-goroutines" in codes(document), document["diagnostics"]
        assert document["exit"] == 4
    # The collector's own copy of the slice may answer; a length that is a lie is told by what is not there.
    elif len(found) < len(whole):
        assert codes(document), document
    threads = [profile for profile in document["profiles"] if profile["kind"] == "thread"]
    assert threads and threads[0]["total"] > 1


def test_duplicate_slots(damaged, whole):
    array, _, _ = damaged.words("runtime.allgs", 3)
    goroutines = damaged.goroutines()
    some = {i: goroutines[0 if i % 2 else 29] for i in range(30, 40)}
    lost = {damaged.file.read_u64(goroutines[i] + G_ID) for i in some}
    with damaged.changed({array + 8 * i: address for i, address in some.items()}) as path:
        document = survives(path)
    assert document["exit"] == 4 and codes(document)["goroutine-repeated"] == len(some)
    found = go_dumps.goroutines_of(document)
    assert set(whole) - set(found) == lost & set(whole)
    check_others(found, whole, lost)


@pytest.mark.parametrize("more", [1, 100, 311])
def test_length_that_lies(more, damaged, whole):
    """Behind the array stands what the list was before it grew, or any goroutines: no one is counted twice."""
    where, (array, count, _) = damaged.symbol("runtime.allgs"), damaged.words("runtime.allgs", 3)
    goroutines = damaged.goroutines()
    changes = {array + 8 * (count + i): goroutines[i] for i in range(more)}
    with damaged.changed({**changes, where + 8: count + more, where + 16: count + more}) as path:
        document = survives(path)
    assert document["exit"] == 4 and codes(document)["goroutine-repeated"] == more
    found = go_dumps.goroutines_of(document)
    assert set(found) == set(whole)
    check_others(found, whole)


# one goroutine


def target_of(damaged, whole):
    """A parked goroutine in the middle: its address and id."""
    for address in damaged.goroutines()[40:]:
        id = damaged.file.read_u64(address + G_ID)
        if id in whole and whole[id].state == "chan receive":
            return address, id
    raise AssertionError("no goroutine waits")


@pytest.mark.parametrize("value", [0, 1, 8, 0x1234567, TEXT_ADDRESS, 1 << 47, -8, -1], ids=hex)
@pytest.mark.parametrize("field", [G_SP, G_PC, G_STACK_HIGH, G_WAITING])
def test_fields_out_of_range(field, value, damaged, whole):
    address, id = target_of(damaged, whole)
    with damaged.changed({address + field: value}) as path:
        document = survives(path)
    found = go_dumps.goroutines_of(document)
    assert set(found) == set(whole)
    check_others(found, whole, {id})
    if field in (G_SP, G_PC):
        assert len(found[id].frames) <= 1 or pcs(found[id])[:1] == [value], "frames were invented"


def test_stack_of_another(damaged, whole):
    """A stack pointer into another goroutine's stack, as a stack that is being moved may look: no frames of the other's."""
    address, id = target_of(damaged, whole)
    other = next(g for g in damaged.goroutines()[60:] if g != address)
    with damaged.changed({address + G_SP: damaged.file.read_u64(other + G_SP)}) as path:
        document = survives(path)
    check_others(go_dumps.goroutines_of(document), whole, {id})


@pytest.mark.parametrize("status", [5, 7, 12, 99, 0x1005, 0xFFFFFFFF])
def test_status_that_is_none(status, damaged, whole):
    address, id = target_of(damaged, whole)
    with damaged.bytes_changed({damaged.file.file_offset(address + G_STATUS): struct.pack("<I", status)}) as path:
        document = survives(path)
    assert codes(document)["goroutine-unreadable"] == 1
    assert set(whole) - set(go_dumps.goroutines_of(document)) == {id}


@pytest.mark.parametrize("status", [0, 6, 11])
def test_status_of_the_dead(status, damaged, whole):
    address, id = target_of(damaged, whole)
    with damaged.bytes_changed({damaged.file.file_offset(address + G_STATUS): struct.pack("<I", status)}) as path:
        document = survives(path)
    assert "goroutine-unreadable" not in codes(document)
    assert set(whole) - set(go_dumps.goroutines_of(document)) == {id}


# the program's tables


@pytest.fixture(scope="module")
def with_program(damaged, tmp_path_factory):
    """Runs stackgroup with a program whose tables were changed: cores of programs at fixed addresses do not hold them."""
    folder = tmp_path_factory.mktemp("program")

    def run(change):
        program = bytearray(damaged.core.executable.read_bytes())
        table = next(at for at in range(0, len(program), 16)
                     if program[at + 1:at + 8] == PCLNTAB_MAGIC and program[at] in (0xF0, 0xF1, 0xFA, 0xFB))
        change(program, table)
        path = folder / "redis_pool"
        path.write_bytes(program)
        path.chmod(0o755)
        return survives(damaged.path, f"--exe={path}")
    return run


def check_told(document):
    assert document is not None
    if not any(goroutine.frames for goroutine in go_dumps.goroutines_of(document).values()):
        assert document["diagnostics"], "nothing is said"


def test_other_magic(with_program):
    """As obfuscators write it: the threads are shown, and why the goroutines are not."""
    def change(program, table):
        program[table] = 0x77
    document = with_program(change)
    assert not go_dumps.goroutines_of(document)
    assert any(code.startswith("go-") for code in codes(document)), document["diagnostics"]


@pytest.mark.parametrize("offset", [6, 7, 8, 16, 24, 32, 40, 48, 56, 64])
@pytest.mark.parametrize("value", [0, 1 << 62, (1 << 64) - 1], ids=hex)
def test_header_with_nonsense(offset, value, with_program):
    def change(program, table):
        size = 1 if offset < 8 else 8
        program[table + offset:table + offset + size] = struct.pack("<Q", value)[:size]
    assert with_program(change) is not None


@pytest.mark.parametrize("fill", [0, 0xFF, 0x80], ids=hex)
@pytest.mark.parametrize("start,end", [(0x50, 0x4000), (0x4000, 0x20000), (0x20000, 0x40000), (0x40, 0x60000)])
def test_tables_with_nonsense(start, end, fill, with_program):
    def change(program, table):
        program[table + start:table + end] = bytes([fill]) * (end - start)
    check_told(with_program(change))


@pytest.mark.parametrize("seed", range(12))
def test_tables_at_random(seed, with_program):
    def change(program, table):
        chance = random.Random(seed)
        for _ in range(2000):
            program[table + 0x48 + chance.randrange(0x50000)] = chance.randrange(256)
    check_told(with_program(change))


VERSION = re.compile(rb"go1\.\d\d(?=[.\0\n])")


@pytest.fixture(scope="module")
def release_to_come(damaged, tmp_path_factory):
    """The program, which says that it is of Go 1.98, and what to change in its core: build information stands in its data."""
    path = tmp_path_factory.mktemp("newer") / "redis_pool"
    path.write_bytes(VERSION.sub(b"go1.98", damaged.core.executable.read_bytes()))
    data = damaged.file.segment_at(damaged.symbol("runtime.firstmoduledata"))
    text = bytes(damaged.file.data[data.offset:data.offset + data.file_bytes])
    return path, {data.offset + match.start(): b"go1.98" for match in VERSION.finditer(text)}


def test_newer_than_known(release_to_come, damaged, whole):
    """Its goroutines make sense by an older layout: that is used, and told."""
    program, changes = release_to_come
    with damaged.bytes_changed(changes) as core:
        document = survives(core, f"--exe={program}")
    note, = [row for row in document["diagnostics"] if row["code"] == "go-newer"]
    assert document["source"]["go_version"].startswith("go1.98") and "read as go1." in note["message"]
    found = go_dumps.goroutines_of(document)
    assert not set(found) ^ set(whole)
    for id, goroutine in whole.items():
        assert pcs(found[id])[-1:] == pcs(goroutine)[-1:]
        assert found[id].state == goroutine.state and found[id].creator == goroutine.creator


def test_newer_and_unlike(release_to_come, damaged):
    """By no layout: the threads remain, and it is said why."""
    program, changes = release_to_come
    places = [damaged.file.file_offset(address + G_STATUS) for address in damaged.goroutines()]
    with damaged.bytes_changed({**changes, **{place: b"\x63\0\0\0" for place in places}}) as core:
        document = survives(core, f"--exe={program}")
    assert document["exit"] == 4 and not go_dumps.goroutines_of(document)
    row, = [row for row in document["diagnostics"] if row["code"] == "go-layout"]
    assert row["message"].startswith("go1.98") and "newer" in row["message"]
    assert [profile["kind"] for profile in document["profiles"]] == ["thread"]


def test_cut_program(damaged, tmp_path):
    size = damaged.core.executable.stat().st_size
    for part in (0, 1, 8, 20, 30, 40, 50, 60, 80, 95):
        path = tmp_path / "redis_pool"
        path.write_bytes(damaged.core.executable.read_bytes()[:size * part // 100])
        survives(damaged.path, f"--exe={path}")


# the core


def test_without_heap(damaged):
    heap = damaged.file.segment_at(damaged.goroutines()[30])
    with damaged.bytes_changed({heap.header + 32: struct.pack("<Q", 0)}) as path:
        document = survives(path)
    assert not go_dumps.goroutines_of(document)
    assert "go-goroutines" in codes(document) and document["exit"] == 4


def test_with_zeros_for_heap(damaged):
    heap = damaged.file.segment_at(damaged.goroutines()[30])
    with damaged.bytes_changed({heap.offset: bytes(heap.file_bytes)}) as path:
        document = survives(path)
    assert not go_dumps.goroutines_of(document)
    assert "go-goroutines" in codes(document) and document["exit"] == 4


def test_without_data(damaged):
    data = damaged.file.segment_at(damaged.symbol("runtime.firstmoduledata"))
    with damaged.bytes_changed({data.header + 32: struct.pack("<Q", 0)}) as path:
        document = survives(path)
    assert document is not None and document["diagnostics"]


def test_cut_anywhere(damaged, whole, tmp_path):
    heap = damaged.file.segment_at(damaged.goroutines()[30])
    places = {heap.offset + heap.file_bytes * i // 24 for i in range(25)}
    places |= {damaged.path.stat().st_size * i // 20 for i in range(1, 20)} | {segment.offset + 100 for segment in damaged.file.loads()}
    for size in sorted(places):
        path = corefile.cut(damaged.path, tmp_path / "go.cut", size)
        document = survives(path)
        if document is None:
            continue
        assert document["diagnostics"] and document["exit"] in (0, 4), f"cut at {size}: nothing says so"
        for id, goroutine in go_dumps.goroutines_of(document).items():
            assert pcs(goroutine) == pcs(whole[id])[:len(goroutine.frames)], f"cut at {size}: goroutine {id} has other frames"


@pytest.mark.parametrize("seed", range(10))
def test_memory_at_random(seed, damaged):
    """Words of the heap and of the data, replaced by others and by nonsense."""
    chance = random.Random(seed)
    heap = damaged.file.segment_at(damaged.goroutines()[30])
    data = damaged.file.segment_at(damaged.symbol("runtime.firstmoduledata"))
    changes = {}
    for _ in range(3000):
        segment = chance.choice((heap, heap, data))
        place = segment.offset + chance.randrange(segment.file_bytes // 8) * 8
        other = heap.offset + chance.randrange(heap.file_bytes // 8) * 8
        near = heap.address + chance.randrange(1 << 22)
        changes[place] = chance.choice((bytes(damaged.file.data[other:other + 8]), bytes(8), b"\xff" * 8,
                                        struct.pack("<Q", chance.getrandbits(64)), struct.pack("<Q", near)))
    with damaged.bytes_changed(changes) as path:
        assert survives(path) is not None


def test_semaphores_that_loop(tmp_path, stackgroup):
    """Every word of the table of semaphores leads to one waiter, and that one to itself."""
    try:
        core = Damaged(go_cores.make_core("goroutines"), tmp_path / "go.core")
    except cores.Unavailable as error:
        pytest.skip(str(error))
    heap = core.file.segment_at(core.goroutines()[30])
    table = core.symbol("runtime.semtable")
    roots = [core.file.read_u64(table + 64 * i + 8) for i in range(251)]
    root = next(word for word in roots if word)
    changes = {table + 64 * i + 8: root for i in range(251)}
    changes |= {root + 8: root, root + 16: root, root + 64: root}  # next, previous, waitlink
    assert heap.address <= root < heap.address + heap.file_bytes
    with core.changed(changes) as path:
        document = survives(path)
    assert len(go_dumps.goroutines_of(document)) >= 130


@pytest.mark.parametrize("program", ["missing", "empty", "another", "half"])
def test_executable_is_gone(program, damaged, tmp_path):
    """Without the program there are no tables: the threads remain, and it is said whose goroutines are missing, and why."""
    bytes_of = {"empty": b"", "another": Path("/bin/true").read_bytes(),
                "half": damaged.core.executable.read_bytes()[:damaged.core.executable.stat().st_size // 2]}
    # The core tells of a path at which nothing is.
    path = str(damaged.core.executable)
    gone = path[:-1] + "~"
    text = bytes(damaged.file.data[:damaged.file.loads()[0].offset])
    places = [match.start() for match in re.finditer(re.escape(path.encode()) + rb"\0", text)]
    assert places
    if program in bytes_of:
        (tmp_path / gone.lstrip("/")).parent.mkdir(parents=True)
        (tmp_path / gone.lstrip("/")).write_bytes(bytes_of[program])
    with damaged.bytes_changed({place: gone.encode() for place in places}) as core:
        document = survives(core, f"--sysroot={tmp_path}")
    assert document["exit"] == 4 and not go_dumps.goroutines_of(document)
    told = [row for row in document["diagnostics"] if row["code"] in ("go-program", "go-runtime")]
    assert len(told) == 1 and told[0]["subject"] == gone and "goroutines cannot be told" in told[0]["message"]
    assert [profile["kind"] for profile in document["profiles"]] == ["thread"]


# the end of the address space, where sums overflow


def ranges_of(damaged):
    """Where runtime.firstmoduledata keeps the starts of noptrdata, data, bss and noptrbss; their ends are behind them."""
    first = damaged.symbol("runtime.firstmoduledata")
    wanted = [damaged.symbol(f"runtime.{name}") for name in ("noptrdata", "data", "bss", "noptrbss")]
    words = [damaged.file.read_u64(first + 8 * i) for i in range(48)]
    return [first + 8 * (47 - words[::-1].index(start)) for start in wanted]


@pytest.mark.parametrize("words", [((1 << 64) - 16, (1 << 64) - 1), ((1 << 64) - 1, (1 << 64) - 1), (None, (1 << 64) - 1),
                                   (0, (1 << 64) - 1)], ids=str)
@pytest.mark.parametrize("number", range(4))
def test_data_up_to_the_end_of_all_addresses(number, words, damaged):
    at = ranges_of(damaged)[number]
    with damaged.changed({at + 8 * i: word for i, word in enumerate(words) if word is not None}) as path:
        assert survives(path) is not None


def test_segment_up_to_the_end_of_all_addresses(damaged):
    """… which findings go through in search of who else knows a channel."""
    last = [segment for segment in damaged.file.segments if segment.type == corefile.PT_LOAD and segment.file_bytes][-1]
    header = corefile.SEGMENT.pack(last.type, last.flags, last.offset, (1 << 64) - 0xFFF, 0, 0xFFE, 0xFFE, 1)
    with damaged.bytes_changed({last.header: header}) as path:
        done = oracles.stackgroup_run("--all-findings", path, seconds=SECONDS)
    assert done.returncode in (0, 4), (done.returncode, done.stderr)
