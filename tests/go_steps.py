# SPDX-License-Identifier: Apache-2.0
"""Stops a Go program at each instruction of a function and leaves a core of each (x86-64, ptrace(2)). What called the function is
known from where it begins: the return address there, and the chain of frame pointers that Go code keeps."""

import contextlib
import ctypes
import os
import re
import signal
import struct
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import corefile
import cores
import oracles

PTRACE_CONT, PTRACE_SINGLESTEP, PTRACE_GETREGS, PTRACE_SETREGS = 7, 9, 12, 13
PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207
PTRACE_O_TRACECLONE, PTRACE_O_EXITKILL = 8, 0x100000
WALL = 0x40000000
STEPS_MAX = 200
TRIES_MAX = 2000
SECONDS = 60

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def ptrace(request, tid, data=None):
    if libc.ptrace(request, tid, None, data) < 0:
        raise OSError(ctypes.get_errno(), f"ptrace {request:#x} of {tid}")


@dataclass
class Passage:
    """One call; there is a core for each instruction of the function itself."""

    callers: list  # return addresses, from the function's own on
    cores: int = 0
    resumed: list = ()  # where it ended: the pc, then return addresses


def functions(executable):
    """name: (start, end). Of two with one name the one with the linker's suffix is the other's wrapper, or assembly's own."""
    found = {}
    for line in oracles.run([oracles.tool("nm"), "-S", "--defined-only", executable]).stdout.splitlines():
        if match := re.match(r"([0-9a-f]+) ([0-9a-f]+) [tT] (\S+?)(\.abi0)?$", line):
            found[match[3] + (match[4] or "")] = (int(match[1], 16), int(match[1], 16) + int(match[2], 16))
    return found


def on_goroutine(registers):
    """Go's heap begins there, with the stacks of goroutines; those of threads are the C library's where C is linked in."""
    return registers["rsp"] >> 32 == 0xC0


class Stepper:
    """A program whose threads are all stopped unless a method runs some."""

    def __init__(self, executable, **variables):
        self.executable = Path(executable)
        self.functions = functions(executable)
        self.child = subprocess.Popen([executable], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      env=oracles.environment(**variables))
        self.pid, self.tids = self.child.pid, set()
        self.child.stdout.readline()
        self.memory = os.open(f"/proc/{self.pid}/mem", os.O_RDWR)
        self.pagemap = os.open(f"/proc/{self.pid}/pagemap", os.O_RDONLY)
        while new := {int(tid) for tid in os.listdir(f"/proc/{self.pid}/task")} - self.tids:
            for tid in new:
                with contextlib.suppress(OSError):  # a thread of a traced one's is traced
                    ptrace(PTRACE_SEIZE, tid, PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL)
            self.interrupt(new)
            self.tids |= new

    def close(self):
        os.close(self.memory)
        os.close(self.pagemap)
        self.child.kill()
        with contextlib.suppress(ChildProcessError):  # a leader is not told of before its traced threads
            while True:
                os.waitpid(-1, WALL)
        self.child.returncode = -signal.SIGKILL
        self.child.stdout.close()

    def wait(self, tid=-1):
        """A thread that stopped, and whether at a breakpoint or after a step rather than for any other reason."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            found, status = os.waitpid(tid, WALL | os.WNOHANG)
            if found:
                assert os.WIFSTOPPED(status), f"thread {found} ended: {status:#x}"
                return found, os.WSTOPSIG(status) == signal.SIGTRAP and status >> 16 == 0
            time.sleep(0.0002)
        raise AssertionError("the program does not come to where it is to be stopped")

    def interrupt(self, tids):
        """Those that came to a breakpoint meanwhile."""
        for tid in tids:
            with contextlib.suppress(OSError):
                ptrace(PTRACE_INTERRUPT, tid)
        return {tid for tid in tids if self.wait(tid)[1]}

    def registers(self, tid):
        raw = ctypes.create_string_buffer(8 * len(corefile.REGISTERS))
        ptrace(PTRACE_GETREGS, tid, raw)
        return dict(zip(corefile.REGISTERS, struct.unpack(f"<{len(corefile.REGISTERS)}Q", raw.raw)))

    def step_back(self, tid):
        registers = self.registers(tid)
        registers["rip"] -= 1
        raw = struct.pack(f"<{len(corefile.REGISTERS)}Q", *(registers[name] for name in corefile.REGISTERS))
        ptrace(PTRACE_SETREGS, tid, ctypes.create_string_buffer(raw))

    def assembly(self, name):
        return self.functions.get(name + ".abi0") or self.functions[name]

    def word(self, address):
        return struct.unpack("<Q", os.pread(self.memory, 8, address))[0]

    def run_to(self, address, tid=None):
        """The first thread to come there, this one if it is told."""
        kept = os.pread(self.memory, 1, address)
        os.pwrite(self.memory, b"\xcc", address)
        running = {tid} if tid else set(self.tids)
        for one in running:
            ptrace(PTRACE_CONT, one)
        while True:
            found, is_there = self.wait()
            self.tids.add(found)
            running.add(found)
            if is_there:
                break
            ptrace(PTRACE_CONT, found)
        os.pwrite(self.memory, kept, address)
        for one in {found} | self.interrupt(running - {found}):
            self.step_back(one)
        return found

    def step(self, tid):
        while True:
            ptrace(PTRACE_SINGLESTEP, tid)
            if self.wait(tid)[1]:
                return self.registers(tid)

    def chain(self, frame):
        """Return addresses along the frame pointers."""
        found = []
        while frame:
            found.append(self.word(frame + 8))
            frame = self.word(frame)
        return found

    def mappings(self):
        for line in Path(f"/proc/{self.pid}/maps").read_text().splitlines():
            match = re.match(r"([0-9a-f]+)-([0-9a-f]+) (....) ([0-9a-f]+) \S+ \d+ *(.*)", line)
            yield int(match[1], 16), int(match[2], 16), match[3], int(match[4], 16), match[5]

    def write_core(self, path):
        files, segments = [], []
        for start, end, access, offset, name in self.mappings():
            if name.startswith("/"):
                files.append((start, end, offset, name))
            flags = sum(bit for letter, bit in (("r", corefile.PF_R), ("w", corefile.PF_W), ("x", corefile.PF_X)) if letter in access)
            if "r" not in access or name.startswith("[v") and name != "[vdso]":
                continue
            if "w" not in access and name.startswith("/"):
                segments.append((start, b"", end - start, flags))
                continue
            pages = (end - start) // corefile.PAGE
            # Of what is reserved the pages that were touched: present, or in swap.
            present = None
            if not name.startswith("/"):
                present = struct.unpack(f"<{pages}Q", os.pread(self.pagemap, 8 * pages, start // corefile.PAGE * 8))
            at = 0
            while at < pages:
                if present is not None and not present[at] >> 62:
                    at += 1
                    continue
                last = at
                while last < pages and (present is None or present[last] >> 62):
                    last += 1
                data = os.pread(self.memory, (last - at) * corefile.PAGE, start + at * corefile.PAGE)
                segments.append((start + at * corefile.PAGE, data, len(data), flags))
                at = last
        notes = [corefile.prstatus(tid, self.registers(tid)) for tid in sorted(self.tids)]
        notes.append(corefile.nt_file(files))
        notes.append(corefile.note(corefile.NT_AUXV, Path(f"/proc/{self.pid}/auxv").read_bytes()))
        return corefile.build_core(path, notes, segments)

    def follow(self, name, folder, is_wanted=on_goroutine, calls_return=True):
        """One passage through a function, its calls passed over; it ends where the function returned or jumped to. What calls
        and is not returned to ends in the callee, with a core of its first instruction."""
        start, end = self.assembly(name)
        for _ in range(TRIES_MAX):
            tid = self.run_to(start)
            registers = self.registers(tid)
            if is_wanted(registers):
                break
            self.step(tid)
        else:
            raise AssertionError(f"no call of {name} is the wanted one")
        # Who asks for a larger stack has made no frame yet: its own return address is next.
        words = 2 if name == "runtime.morestack" else 1
        passage = Passage([self.word(registers["rsp"] + 8 * i) for i in range(words)] + self.chain(registers["rbp"]))
        while start <= registers["rip"] < end:
            assert passage.cores < STEPS_MAX
            self.write_core(folder / f"{passage.cores}-{registers['rip'] - start:#x}.core")
            passage.cores += 1
            before, registers = registers, self.step(tid)
            # A call: back to what is behind it. Its own return address is at the top of the stack then.
            if not start <= registers["rip"] < end and start < self.word(registers["rsp"]) < end and \
                    registers["rsp"] == before["rsp"] - 8:
                if not calls_return:
                    self.write_core(folder / f"{passage.cores}-called.core")
                    break
                self.run_to(self.word(registers["rsp"]), tid)
                registers = self.registers(tid)
        passage.resumed = [registers["rip"]] + self.chain(registers["rbp"])
        return passage
