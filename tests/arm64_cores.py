# SPDX-License-Identifier: Apache-2.0
"""Cores of AArch64 programs, made on this machine: cross-compiled, run by qemu's user-mode emulator, which writes a core of its
own when its program dies. It has no NT_FILE and leaves out code; as_kernel_core() makes of it what Linux on such a machine would
have written."""

import re
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import corefile
import cores
import go_cores

EMULATOR = "qemu-aarch64"
COMPILER = "aarch64-linux-gnu-gcc"
SYSROOT = Path("/usr/aarch64-linux-gnu")
SECONDS = 60
SVC = b"\x01\0\0\xd4"
PC = 112 + 8 * 32  # in NT_PRSTATUS

FOREIGN = (
    go_cores.Foreign("esbuild-linux-arm64", "0.11.20", "0eeb0048e4116bc056f7aa424c5b895f9ff8053fee42ebb0d5a5e0b59fc9e514", "go1.16.3"),
    go_cores.Foreign("esbuild-linux-arm64", "0.13.0", "527c6ccc9d9d1a3e3c1e2a0fe86f99f19e458af357cbd9def8f02fb378db9dda", "go1.17.1"),
    go_cores.Foreign("esbuild-linux-arm64", "0.14.45", "8c0b1641e85834edb72d39e2d4472737269501742807ec836853e4ced76fcece", "go1.18.3"),
    go_cores.Foreign("@esbuild/linux-arm64", "0.16.17", "b4f0a9da36781601e9074a5d9345db3a9abd41518384a6ad79d59655fb851a04", "go1.19.4"),
    go_cores.Foreign("@esbuild/linux-arm64", "0.18.20", "78da44c3847c3d894adc2f5edf3d20ea507c88e8ed5abb6d20ecdcbaadb8e4da", "go1.20.7"),
    go_cores.Foreign("@esbuild/linux-arm64", "0.23.1", "47147c3ed3ae03939e08837b075ed07b416064f33ac40c299af3cbdb6c2cb5d1", "go1.22.5"),
    go_cores.Foreign("@esbuild/linux-arm64", "0.25.12", "d5e01d210e026823d559e2b82554cdcdab6fd87c4a57b519b392ef183c1f87fd", "go1.23.12"),
    go_cores.Foreign("@esbuild/linux-arm64", "0.28.2", "a96dbfa41d3ef5dbd1ef22b1c10d5187be9267e86093a870f06402a7ec931596", "go1.26.5", True),
)


@dataclass
class Machine:
    core: Path
    executable: Path
    maps: Path = None


def run(command, folder, **options):
    """Runs a program that dies of a signal, in the folder, and returns its core."""
    done = subprocess.run([cores.compiler(EMULATOR), *map(str, command)], cwd=folder, stdin=subprocess.DEVNULL,
                          preexec_fn=cores.allow_core, timeout=SECONDS, **options)
    assert done.returncode < 0, f"{command} did not die of a signal: exit {done.returncode}"
    return go_cores.emulated_core(folder)


def go_core(program, variant, arguments=()):
    """As go_cores.make_core."""
    executable = go_cores.build(program, variant, machine="arm64")
    base = executable.parent / f"emulated-{cores.digest(*arguments)}"
    core, done = Path(f"{base}.core"), Path(f"{base}.done")
    with cores.locked(executable.parent / "lock"):
        if not (done.exists() and core.exists()):
            with tempfile.TemporaryDirectory(dir=base.parent) as folder:
                with open(f"{base}.dump", "wb") as errors:
                    made = run([executable, folder, *arguments], folder, stdout=subprocess.DEVNULL, stderr=errors,
                               env=go_cores.crash_environment())
                profile = Path(folder) / "debug1.txt"
                Path(f"{base}.debug1").write_bytes(profile.read_bytes() if profile.exists() else b"")
                made.rename(core)
            done.write_text("")
    return go_cores.GoCore(core, executable, Path(f"{base}.dump").read_text(errors="replace"), Path(f"{base}.debug1").read_text())


def c_core(flags, folder):
    """testcores/emulated.c, built with these flags."""
    executable = folder / "emulated"
    cores.run([cores.compiler(COMPILER), "-D_GNU_SOURCE", *cores.WARNINGS, "-pthread", *flags, str(cores.SOURCES / "emulated.c"),
               "-o", str(executable)])
    maps = folder / "maps"
    core = run(["-L", SYSROOT, executable, maps], folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return Machine(core, executable, maps)


def note(name, kind, data):
    name += b"\0"
    return struct.pack("<III", len(name), len(data), kind) + name + bytes(-len(name) & 3) + data + bytes(-len(data) & 3)


def file_table(maps):
    """NT_FILE and the rows: [(start, end, offset, path)] of mapped files."""
    rows = []
    for line in maps.splitlines():
        if match := re.match(r"([0-9a-f]+)-([0-9a-f]+) \S+ ([0-9a-f]+) \S+ \d+ +(/.*)$", line):
            rows.append((*(int(match[i], 16) for i in (1, 2, 3)), match[4]))
    words = struct.pack("<QQ", len(rows), corefile.PAGE)
    words += b"".join(struct.pack("<QQQ", start, end, offset // corefile.PAGE) for start, end, offset, _ in rows)
    return words + b"".join(path.encode() + b"\0" for *_, path in rows), rows


def as_kernel_core(machine, target):
    """With NT_FILE and the first page of each file, as Linux writes both, and threads that wait in system calls set back to their
    instruction, as arm64's kernel does with calls that a signal interrupts; the first thread ends itself by one that is not."""
    core = corefile.CoreFile(machine.core)
    table, rows = file_table(machine.maps.read_text())
    notes, threads = b"", 0
    for part in core.notes:
        data = bytearray(core.data[part.offset:part.offset + part.size])
        threads += part.type == corefile.NT_PRSTATUS
        if part.type == corefile.NT_PRSTATUS and threads > 1:
            pc, = struct.unpack_from("<Q", data, PC)
            for start, end, offset, path in rows:
                if start <= pc - 4 < end:
                    with open(path, "rb") as file:
                        file.seek(pc - 4 - start + offset)
                        if file.read(4) == SVC:
                            struct.pack_into("<Q", data, PC, pc - 4)
        notes += note(part.name, part.type, bytes(data))
    notes += note(b"CORE", corefile.NT_FILE, table)
    data = bytearray(core.data)
    data += bytes(-len(data) % corefile.PAGE)
    headers = b""
    for segment in core.segments:
        flags, offset, file_bytes = segment.flags, segment.offset, segment.file_bytes
        if segment.type == corefile.PT_NOTE:
            offset, file_bytes = len(data), len(notes)
            data += notes + bytes(-len(notes) % corefile.PAGE)
        elif not file_bytes:
            for start, _, place, path in rows:
                if start == segment.address and not place:
                    offset, file_bytes = len(data), corefile.PAGE
                    with open(path, "rb") as file:
                        data += file.read(corefile.PAGE)
        headers += corefile.SEGMENT.pack(segment.type, flags, offset, segment.address, 0, file_bytes, segment.memory_bytes, 1)
    struct.pack_into("<Q", data, 32, len(data))  # e_phoff
    target.write_bytes(data + headers)
    return Machine(target, machine.executable, machine.maps)
