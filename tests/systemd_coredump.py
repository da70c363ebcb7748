# SPDX-License-Identifier: Apache-2.0
"""systemd-coredump and coredumpctl without a running systemd, and without the package, which would take over core_pattern: its
programs are unpacked, and see folders and sockets of the test in a mount namespace of their own. systemd's manager and its journal
are played: one starts the program for each connection, the other is given what arrives as a file for systemd-journal-remote."""

import array
import contextlib
import functools
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import cores
import oracles

REMOTE = "/lib/systemd/systemd-journal-remote"
BOOT = "0123456789abcdef0123456789abcdef"


@functools.lru_cache(maxsize=None)
def unpacked(path):
    """A file of the package."""
    folder = cores.cache_folder() / "systemd-coredump"
    with cores.locked(cores.cache_folder() / "systemd-coredump.lock"):
        if not folder.exists():
            done = subprocess.run([cores.ROOT / "scripts" / "install-packages", "--unpack", folder, "systemd-coredump"],
                                  capture_output=True, text=True)
            if done.returncode:
                raise cores.Unavailable(f"no systemd-coredump: {done.stderr.strip().splitlines()[-1]}")
    if "not found" in oracles.run(["ldd", folder / path]).stdout:
        raise cores.Unavailable(f"{path} needs the libraries of systemd")
    return folder / path


def coredumpctl():
    return os.environ.get("COREDUMPCTL") or shutil.which("coredumpctl") or str(unpacked("usr/bin/coredumpctl"))


def journal_from(folder, export):
    """A folder with a journal, made from entries in systemd's export format."""
    if not os.path.exists(REMOTE):
        raise cores.Unavailable("no systemd-journal-remote")
    folder.mkdir(parents=True)
    path = folder.parent / "export"
    path.write_bytes(export)
    subprocess.run([REMOTE, "-o", folder / "remote.journal", path], check=True, capture_output=True)
    return folder


@contextlib.contextmanager
def bound(path, kind):
    """A socket at the path, which may be longer than a socket's name."""
    folder = os.open(path.parent, os.O_PATH)
    try:
        with socket.socket(socket.AF_UNIX, kind) as made:
            made.bind(f"/proc/self/fd/{folder}/{path.name}")
            made.settimeout(60)
            yield made
    finally:
        os.close(folder)


def entry_received(journal):
    """The fields of the message about the core, in the journal's own format, which is that of the export too. Long ones come as a file."""
    while True:
        text, ancillary, _, _ = journal.recvmsg(1 << 20, socket.CMSG_SPACE(4))
        for _, _, descriptors in ancillary:
            [descriptor] = array.array("i", descriptors)
            with open(descriptor, "rb") as file:
                text = os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0)
        if b"COREDUMP_FILENAME=" in text:
            return text


class Machine:
    """The folders that systemd-coredump and coredumpctl see as theirs."""

    MOUNTS = ('mount -t tmpfs none /run && mkdir /run/systemd && mount --bind "$0/run" /run/systemd && '
              'mount --bind "$0/lib" /var/lib/systemd && mount --bind "$0/log" /var/log && '
              'mount --bind "$0/machine-id" /etc/machine-id && LISTEN_PID=$$ exec "$@"')

    def __init__(self, folder):
        self.folder = folder
        for name in ("run/journal", "lib/coredump", "log"):
            (folder / name).mkdir(parents=True)
        self.identity = "fedcba9876543210fedcba9876543210"
        (folder / "machine-id").write_text(self.identity + "\n")
        if subprocess.run(self.command("true"), capture_output=True).returncode:
            raise cores.Unavailable("no mount namespace may be made here")

    def command(self, *command):
        return ["unshare", "--mount", "bash", "-c", self.MOUNTS, str(self.folder), *map(str, command)]

    def dump(self, pid, core, signal=6):
        """What the kernel does for a process that dies, with core_pattern as the package sets it: the path of the file that is kept."""
        program = unpacked("lib/systemd/systemd-coredump")
        numbers = [pid, 0, 0, signal, int(time.time()), 2**64 - 1, "web3"]
        with bound(self.folder / "run/coredump", socket.SOCK_SEQPACKET) as listening, \
                bound(self.folder / "run/journal/socket", socket.SOCK_DGRAM) as journal, open(core, "rb") as image:
            listening.listen()
            kernel = subprocess.Popen(self.command(program, *numbers), stdin=image, stderr=subprocess.PIPE)
            connection = listening.accept()[0]
            with connection:
                given = connection.fileno()
                service = subprocess.run(self.command("bash", "-c", f'exec "$@" 3<&{given} {given}<&-', "bash", program),
                                         pass_fds=[given], env={**os.environ, "LISTEN_FDS": "1"}, stderr=subprocess.PIPE, timeout=60)
            said = kernel.communicate(timeout=60)[1] + service.stderr
            assert kernel.returncode == service.returncode == 0, said
            fields = entry_received(journal)
        journal_from(self.folder / "log" / "journal" / self.identity,
                     f"__REALTIME_TIMESTAMP={time.time_ns() // 1000}\n__MONOTONIC_TIMESTAMP=1000\n_BOOT_ID={BOOT}\n".encode() + fields + b"\n")
        [path] = (self.folder / "lib" / "coredump").iterdir()
        return path


@contextlib.contextmanager
def kept_core(folder):
    """A process whose core systemd-coredump was given, and where it is kept."""
    machine = Machine(folder / "machine")
    with cores.waiting(cores.build(cores.PROGRAMS["deadlock_pool"], cores.C_BASE), folder / "truth.json") as child:
        core = folder / "core"
        oracles.stackgroup_run("-p", child.pid, f"--save={core}")
        yield machine, child.pid, machine.dump(child.pid, core)
