# SPDX-License-Identifier: Apache-2.0
"""Cores taken apart, damaged on purpose, and made from nothing (x86-64, little endian; core(5), elf(5))."""

import os
import struct
from dataclasses import dataclass
from pathlib import Path

PAGE = 4096
ET_EXEC, ET_DYN, ET_CORE = 2, 3, 4
EM_386, EM_AARCH64, EM_X86_64 = 3, 183, 62
PT_LOAD, PT_NOTE = 1, 4
PF_X, PF_W, PF_R = 1, 2, 4
PN_XNUM = 0xFFFF
NT_PRSTATUS, NT_PRPSINFO, NT_AUXV = 1, 3, 6
NT_FILE, NT_SIGINFO = 0x46494C45, 0x53494749
NT_UNKNOWN = 0x7A7A7A7A

HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
SEGMENT = struct.Struct("<IIQQQQQQ")
SECTION = struct.Struct("<IIQQQQIIQQ")
NOTE = struct.Struct("<III")

REGISTERS = ("r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base ds es fs "
             "gs").split()
PRSTATUS_REGISTERS = 112
PRSTATUS_BYTES = 336

# Places in the x86-64 signal frame, from the address of its ucontext (asm/ucontext.h, asm/sigcontext.h).
UCONTEXT_RSP = 40 + 15 * 8
UCONTEXT_RIP = 40 + 16 * 8


@dataclass
class Segment:
    type: int
    flags: int
    offset: int
    address: int
    file_bytes: int
    memory_bytes: int
    header: int  # where its program header lies in the file


@dataclass
class Note:
    name: bytes
    type: int
    header: int  # where its three words lie in the file
    offset: int  # where its description lies
    size: int


class CoreFile:
    """A whole, sane core that a test made itself: nothing here checks bounds."""

    def __init__(self, path):
        self.path = Path(path)
        self.data = bytearray(self.path.read_bytes())
        header = HEADER.unpack_from(self.data)
        self.type, self.machine, self.segments_offset, sections_offset = header[1], header[2], header[5], header[6]
        count = header[10]
        if count == PN_XNUM:
            count = SECTION.unpack_from(self.data, sections_offset)[7]
        self.segments = []
        for i in range(count):
            at = self.segments_offset + i * SEGMENT.size
            kind, flags, offset, address, _, file_bytes, memory_bytes, _ = SEGMENT.unpack_from(self.data, at)
            self.segments.append(Segment(kind, flags, offset, address, file_bytes, memory_bytes, at))
        self.notes = [note for segment in self.segments if segment.type == PT_NOTE for note in self._notes(segment)]

    def _notes(self, segment):
        at, end = segment.offset, segment.offset + segment.file_bytes
        while at + NOTE.size <= end:
            name_bytes, size, kind = NOTE.unpack_from(self.data, at)
            name = bytes(self.data[at + NOTE.size:at + NOTE.size + name_bytes]).rstrip(b"\0")
            offset = at + NOTE.size + (name_bytes + 3 & ~3)
            yield Note(name, kind, at, offset, size)
            at = offset + (size + 3 & ~3)

    def loads(self):
        return [segment for segment in self.segments if segment.type == PT_LOAD]

    def notes_of(self, kind):
        return [note for note in self.notes if note.type == kind]

    def tid(self, prstatus):
        return struct.unpack_from("<i", self.data, prstatus.offset + 32)[0]

    def register(self, prstatus, name):
        return struct.unpack_from("<Q", self.data, prstatus.offset + PRSTATUS_REGISTERS + 8 * REGISTERS.index(name))[0]

    def prstatus_of(self, tid):
        return next(note for note in self.notes_of(NT_PRSTATUS) if self.tid(note) == tid)

    def segment_at(self, address):
        for segment in self.loads():
            if segment.address <= address < segment.address + segment.file_bytes:
                return segment
        return None

    def file_offset(self, address):
        segment = self.segment_at(address)
        return None if segment is None else segment.offset + address - segment.address

    def read_u64(self, address):
        return struct.unpack_from("<Q", self.data, self.file_offset(address))[0]

    def write_u64(self, address, value):
        struct.pack_into("<Q", self.data, self.file_offset(address), value)

    def find_u64(self, value, start, limit=1 << 20):
        """The first aligned address from start on, in start's segment, that holds value."""
        segment = self.segment_at(start)
        end = min(segment.address + segment.file_bytes, start + limit)
        return next((at for at in range(start, end - 7, 8) if self.read_u64(at) == value), None)

    def rename_note(self, note, kind=NT_UNKNOWN):
        """Dropping a note without moving anything: nobody knows its type any more."""
        struct.pack_into("<I", self.data, note.header + 8, kind)

    def set_file_count(self, count):
        """NT_FILE begins with the number of mappings and the page size."""
        struct.pack_into("<Q", self.data, self.notes_of(NT_FILE)[0].offset, count)

    def set_note_size(self, note, size):
        struct.pack_into("<I", self.data, note.header + 4, size)

    def set_note_name_size(self, note, size):
        struct.pack_into("<I", self.data, note.header, size)

    def set_machine(self, machine):
        struct.pack_into("<H", self.data, 18, machine)

    def set_segment_count(self, count):
        struct.pack_into("<H", self.data, 56, count)

    def set_segment(self, segment, **changes):
        """changes: offset, address, file_bytes, memory_bytes."""
        for name, value in changes.items():
            at = {"offset": 8, "address": 16, "file_bytes": 32, "memory_bytes": 40}[name]
            struct.pack_into("<Q", self.data, segment.header + at, value)

    def save(self, path):
        Path(path).write_bytes(self.data)
        return Path(path)


def cut(path, target, size):
    """The first size bytes of a core. Holes stay holes, so a cut of a big core is cheap."""
    with open(path, "rb") as source, open(target, "wb") as out:
        out.truncate(size)
        at = 0
        while at < size:
            try:
                start = os.lseek(source.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            end = min(os.lseek(source.fileno(), start, os.SEEK_HOLE), size)
            while start < end:
                data = os.pread(source.fileno(), min(1 << 20, end - start), start)
                os.pwrite(out.fileno(), data, start)
                start += len(data)
            at = max(end, at + 1)
    return Path(target)


def cut_to_fraction(path, target, fraction):
    return cut(path, target, int(Path(path).stat().st_size * fraction))


# from nothing


def note(kind, description, name=b"CORE"):
    name += b"\0"
    return (NOTE.pack(len(name), len(description), kind) + name.ljust(len(name) + 3 & ~3, b"\0") +
            description.ljust(len(description) + 3 & ~3, b"\0"))


def prstatus(tid, registers, signal=0):
    body = bytearray(PRSTATUS_BYTES)
    struct.pack_into("<iiih", body, 0, signal, 0, 0, signal)
    struct.pack_into("<iiii", body, 32, tid, 1, tid, tid)
    for name, value in registers.items():
        struct.pack_into("<Q", body, PRSTATUS_REGISTERS + 8 * REGISTERS.index(name), value)
    return note(NT_PRSTATUS, bytes(body))


def nt_file(mappings, count=None):
    """mappings: (start, end, offset in bytes, path); count: the number claimed, if not the true one."""
    body = struct.pack("<QQ", len(mappings) if count is None else count, PAGE)
    for start, end, offset, _ in mappings:
        body += struct.pack("<QQQ", start, end, offset // PAGE)
    for row in mappings:
        body += os.fsencode(row[3]) + b"\0"
    return note(NT_FILE, body)


def build_core(path, notes, segments, machine=EM_X86_64, kind=ET_CORE, extended=None):
    """Writes a core. notes: bytes; segments: (address, bytes, size in memory, flags), in file order. extended: use PN_XNUM
    (default: where the number of segments needs it)."""
    count = 1 + len(segments)
    if extended is None:
        extended = count >= PN_XNUM
    body = b"".join(notes)
    notes_offset = HEADER.size + count * SEGMENT.size
    data_offset = notes_offset + len(body) + PAGE - 1 & ~(PAGE - 1)
    headers, blocks, at = [SEGMENT.pack(PT_NOTE, 0, notes_offset, 0, 0, len(body), 0, 4)], [], data_offset
    for address, data, size, flags in segments:
        headers.append(SEGMENT.pack(PT_LOAD, flags, at, address, 0, len(data), size, PAGE))
        blocks.append((at, data))
        at += len(data) + PAGE - 1 & ~(PAGE - 1)
    sections_offset = at if extended else 0
    header = HEADER.pack(b"\x7fELF\x02\x01\x01".ljust(16, b"\0"), kind, machine, 1, 0, HEADER.size, sections_offset, 0, HEADER.size,
                         SEGMENT.size, PN_XNUM if extended else count, SECTION.size if extended else 0, int(extended), 0)
    with open(path, "wb") as file:
        file.write(header)
        file.write(b"".join(headers))
        file.write(body)
        for offset, data in blocks:
            if data:
                file.seek(offset)
                file.write(data)
        if extended:
            file.seek(sections_offset)
            file.write(SECTION.pack(0, 0, 0, 0, 0, 1, 0, count, 0, 0))
        else:
            file.truncate(max(at, notes_offset + len(body)))
    return Path(path)


CODE, STACK = 0x400000, 0x7FFE00000000
RETURN = CODE + 0x100  # follows a call instruction in code_bytes()


def code_bytes():
    """One page of code of no module, as a JIT makes it: nops, and a call before RETURN."""
    code = bytearray(b"\x90" * PAGE)
    code[0xFB:0x100] = b"\xe8\0\0\0\0"
    return bytes(code)


def stack_core(path, words, tids=(1,), base_pointer=STACK + 0x100, **options):
    """A core whose threads all share one stack of the given words (address: value) and code without unwind data: frame pointers
    alone lead on."""
    size = max((address - STACK + 8 for address in words), default=0) + PAGE & ~(PAGE - 1)
    memory = bytearray(size)
    for address, value in words.items():
        struct.pack_into("<Q", memory, address - STACK, value)
    registers = {"rip": CODE + 0x80, "rsp": STACK + 0x80, "rbp": base_pointer}
    return build_core(path, [prstatus(tid, registers) for tid in tids],
                      [(CODE, code_bytes(), PAGE, PF_R | PF_X), (STACK, bytes(memory), size, PF_R | PF_W)], **options)


def looping_stack_core(path):
    """A saved frame pointer that points at itself."""
    frame = STACK + 0x100
    return stack_core(path, {frame: frame, frame + 8: RETURN})


def circling_stack_core(path):
    """Three frames that lead back to the first."""
    frames = [STACK + 0x100, STACK + 0x300, STACK + 0x200]
    words = {}
    for frame, caller in zip(frames, frames[1:] + frames[:1]):
        words.update({frame: caller, frame + 8: RETURN})
    return stack_core(path, words)


def endless_stack_core(path, frames=100_000):
    """An honest chain of frames, longer than anybody's patience."""
    words = {}
    for i in range(frames):
        at = STACK + 0x100 + 16 * i
        words.update({at: at + 16, at + 8: RETURN})
    return stack_core(path, words)


def empty_segments_core(path, count=100_000):
    """More segments than e_phnum can say (PN_XNUM), nearly all without bytes in the file."""
    segments = [(CODE, code_bytes(), PAGE, PF_R | PF_X), (STACK, bytes(PAGE), PAGE, PF_R | PF_W)]
    segments += [(0x100000000 + 2 * PAGE * i, b"", PAGE, PF_R) for i in range(count - len(segments))]
    return build_core(path, [prstatus(1, {"rip": CODE + 0x80, "rsp": STACK + 0x80, "rbp": 0})], segments)


def overlapping_segments_core(path):
    """Each segment overlaps the one before, and one lies in all of them."""
    segments = [(STACK + PAGE * i, bytes([i]) * 3 * PAGE, 3 * PAGE, PF_R | PF_W) for i in range(16)]
    segments.append((STACK, bytes(20 * PAGE), 20 * PAGE, PF_R | PF_W))
    segments.append((CODE, code_bytes(), PAGE, PF_R | PF_X))
    return build_core(path, [prstatus(1, {"rip": CODE + 0x80, "rsp": STACK + 0x80, "rbp": STACK + 0x100})], segments)
