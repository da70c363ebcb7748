# SPDX-License-Identifier: Apache-2.0
"""Cores as systemd-coredump keeps them: packed, with extended attributes and a journal entry beside them, opened by coredumpctl's
calling form; and what is packed in other ways."""

import contextlib
import json
import os
import random
import shutil
import subprocess

import pytest

import cores
import oracles
import systemd_coredump
from cores import C_BASE, PROGRAMS

PACKERS = {"zst": ["zstd", "-q", "-c"], "lz4": ["lz4", "-q", "-c"], "xz": ["xz", "-1", "-c"], "gz": ["gzip", "-1", "-c"]}
ENDED = 1763740799000000
ENDED_TEXT = "2025-11-21T15:59:59Z"


@pytest.fixture(scope="module")
def deadlock():
    try:
        return cores.make_core(PROGRAMS["deadlock_pool"], C_BASE, "kernel")
    except cores.Unavailable as error:
        pytest.skip(str(error))


def pack(kind, path, packed):
    if not shutil.which(PACKERS[kind][0]):
        pytest.skip(f"no {PACKERS[kind][0]}")
    with open(path, "rb") as source, open(packed, "wb") as target:
        subprocess.run(PACKERS[kind], stdin=source, stdout=target, check=True)
    return packed


def without_source(text):
    return [line for line in text.splitlines() if not line.startswith("# source: ")]


@pytest.mark.parametrize("kind", PACKERS)
def test_packed_core(deadlock, kind, tmp_path):
    packed = pack(kind, deadlock.path, tmp_path / f"core.{kind}")
    before = set(os.listdir(tmp_path))
    done = oracles.stackgroup_run(packed, deadlock.executable)
    assert done.returncode == 0, done.stderr
    assert without_source(done.stdout) == without_source(oracles.stackgroup_run(deadlock.path).stdout)
    # EXE CORE, and EXE -c CORE
    for arguments in ((deadlock.executable, packed), (deadlock.executable, "-c", packed)):
        assert oracles.stackgroup_run(*arguments).stdout == done.stdout
    assert set(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("kind", PACKERS)
def test_packed_text(kind, tmp_path):
    dump = next((cores.ROOT / "tests" / "incidents").glob("*.txt"))
    packed = pack(kind, dump, tmp_path / "dump")
    assert without_source(oracles.stackgroup_run(packed).stdout) == without_source(oracles.stackgroup_run(dump).stdout)


@pytest.mark.parametrize("kind", PACKERS)
def test_damaged(deadlock, kind, tmp_path):
    """Cut and flipped at many places: what could be unpacked is read or refused, and said to be a part."""
    whole = pack(kind, deadlock.path, tmp_path / "whole").read_bytes()
    damaged = tmp_path / "damaged"
    chance = random.Random(7)
    parts = 0
    for i in range(12):
        if i % 2:
            damaged.write_bytes(whole[:chance.randrange(8, len(whole) - 8)])
        else:
            at = chance.randrange(16, len(whole) - 16)
            damaged.write_bytes(whole[:at] + bytes(chance.randrange(256) for _ in range(8)) + whole[at + 8:])
        done = oracles.stackgroup_run(damaged, "--lines=off", "--format=json")
        if done.returncode == 3:
            assert str(damaged) in done.stderr and done.stdout == ""
        else:
            assert done.returncode in (0, 4), done.stderr
            codes = [row["code"] for row in json.loads(done.stdout)["diagnostics"]]
            # Not every kind has a checksum: then a flipped byte is a flipped byte of the core.
            parts += "unpacked-in-part" in codes
            assert i % 2 == 0 or "unpacked-in-part" in codes
    assert parts >= 2 or kind == "xz"  # which gives up whole blocks


def test_no_place_to_unpack(deadlock, tmp_path):
    packed = pack("gz", deadlock.path, tmp_path / "core.gz")
    done = subprocess.run([oracles.stackgroup_path(), packed], env=oracles.environment(TMPDIR=str(tmp_path / "none")), capture_output=True,
                          text=True)
    assert done.returncode == 3 and "TMPDIR" in done.stderr and "No such file or directory" in done.stderr
    done = oracles.stackgroup_run("-", )
    assert done.returncode == 3


def test_small_disk(deadlock, tmp_path):
    """What is unpacked to more than the disk has: the core is read as far as it goes, and a tenth of the disk stays free."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "none", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no tmpfs: {mounted.stderr.strip()}")
    try:
        bomb = tmp_path / "bomb"
        with open(bomb, "wb") as file:
            file.write(deadlock.path.read_bytes())
            file.write(b"stackgroup" * (6 << 20))
        packed = pack("xz", bomb, tmp_path / "bomb.xz")
        assert packed.stat().st_size < 1 << 20
        done = oracles.run(["env", f"TMPDIR={folder}", oracles.stackgroup_path(), packed])
        assert f"{folder} has no more room, the last 4 MiB are left to others (TMPDIR names another folder)" in done.stdout
        assert "critical: 2 threads wait for each other" in done.stdout and done.returncode == 0
        assert os.listdir(folder) == []
    finally:
        subprocess.run(["umount", folder], check=True)


def set_attributes(path, **attributes):
    try:
        for name, value in attributes.items():
            os.setxattr(path, f"user.coredump.{name}", str(value).encode())
    except OSError as error:
        pytest.skip(f"{path}: no extended attributes here: {error}")


def make_journal(folder, *entries):
    text = ""
    for number, entry in enumerate(entries):
        fields = {"__REALTIME_TIMESTAMP": ENDED + number, "__MONOTONIC_TIMESTAMP": 1000 + number, "_BOOT_ID": systemd_coredump.BOOT,
                  "MESSAGE_ID": "fc2e22bc6ee647b6b90729ab34a250b1", **entry}
        text += "".join(f"{name}={value}\n" for name, value in fields.items()) + "\n"
    try:
        return systemd_coredump.journal_from(folder, text.encode())
    except cores.Unavailable as error:
        pytest.skip(str(error))


def source_of(*arguments):
    done = oracles.stackgroup_run(*arguments, "--format=json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["source"]


def entry(pid, path, **more):
    return {"COREDUMP_PID": pid, "COREDUMP_SIGNAL": 6, "COREDUMP_TIMESTAMP": ENDED, "COREDUMP_HOSTNAME": "web3", "COREDUMP_FILENAME": path,
            "COREDUMP_UID": 0, "COREDUMP_GID": 0, **more}


def test_attributes(deadlock, tmp_path):
    """What systemd-coredump sets on its files, here of a packed one; a plain core has none of it."""
    packed = pack("zst", deadlock.path, tmp_path / "core.deadlock_pool.0.zst")
    set_attributes(packed, pid=deadlock.truth["pid"] if "pid" in deadlock.truth else 1, uid=0, gid=0, signal=6, timestamp=ENDED,
                   hostname="web3", comm="deadlock_pool", exe="/srv/deadlock_pool")
    source = source_of(packed)
    assert (source["time"], source["host"]) == (ENDED_TEXT, "web3")
    assert f"ended {ENDED_TEXT}, host web3)" in oracles.stackgroup_run(packed).stdout
    plain = source_of(deadlock.path)
    assert not {"time", "host", "unit"} & set(plain)
    assert {**source, "path": ""} == {**plain, "path": "", "time": ENDED_TEXT, "host": "web3"}


def test_forged_time(deadlock, tmp_path):
    """Who may write a file's attributes may write any: no year of five digits comes out."""
    copy = shutil.copy(deadlock.path, tmp_path / "core")
    for stamp, text in ((2**64 - 1, None), (253402300800 * 10**6, None), (2**40 - 1, None), (-1, None), ("9" * 40, None),
                        (253402300800 * 10**6 - 1, "9999-12-31T23:59:59Z"), (1400000000, "2014-05-13T16:53:20Z")):
        set_attributes(copy, timestamp=stamp)
        assert source_of(copy).get("time") == text, stamp


def test_journal(deadlock, tmp_path):
    pid = source_of(deadlock.path)["pid"]
    copy = shutil.copy(deadlock.path, tmp_path / "core")
    journal = make_journal(tmp_path / "journal", entry(pid, "/var/lib/systemd/coredump/other", COREDUMP_UNIT="other.service"),
                           entry(pid, copy, COREDUMP_UNIT="shop.service"),
                           entry(pid, "/var/lib/systemd/coredump/later", COREDUMP_UNIT="later.service"),
                           entry(pid + 1, copy, COREDUMP_UNIT="wrong.service"))
    source = source_of(copy, f"--journal={journal}")
    assert (source["unit"], source["host"], source["time"]) == ("shop.service", "web3", ENDED_TEXT)
    # Under another name the last entry of its process is taken.
    assert source_of(deadlock.path, f"--journal={journal}")["unit"] == "later.service"
    assert "unit" not in source_of(deadlock.path, f"--journal={tmp_path}/nothing")


def test_journal_tells_nothing(deadlock, tmp_path):
    """One that was asked for by name, and is not there, is no journal any more, or knows other cores: that is said."""
    pid = source_of(deadlock.path)["pid"]
    journal = make_journal(tmp_path / "journal", entry(pid, deadlock.path, COREDUMP_UNIT="shop.service"))
    note = "and where the program ended is known from the core's attributes at most [journal-unread]"

    def told():
        return oracles.stackgroup_run(deadlock.path, f"--journal={journal}").stdout

    assert "unit shop.service" in told() and "journal-unread" not in told()
    file = journal / "remote.journal"
    file.write_bytes(file.read_bytes()[:300])
    assert f"{journal}: journal: no entry about this core could be read; when {note}" in told()
    shutil.rmtree(journal)
    assert f"{journal}: journal: No such file or directory; when {note}" in told()
    make_journal(journal, entry(pid + 1, "/other"))
    assert f"{journal}: journal: no entry about this core could be read; when {note}" in told()


def test_coredumpctl(deadlock, tmp_path):
    """The real one, with stackgroup as its debugger: it unpacks the core and calls `stackgroup EXE -c COPY`."""
    try:
        coredumpctl = systemd_coredump.coredumpctl()
    except cores.Unavailable as error:
        pytest.skip(str(error))
    packed = pack("zst", deadlock.path, tmp_path / "core.zst")
    pid = source_of(deadlock.path)["pid"]
    journal = make_journal(tmp_path / "journal", entry(pid, packed, COREDUMP_EXE=deadlock.executable, COREDUMP_UNIT="shop.service"))
    environment = oracles.environment(PATH=f"{oracles.stackgroup_path().parent}:{os.environ['PATH']}")
    wanted = without_source(oracles.stackgroup_run(deadlock.path).stdout)
    for how, more in ((["--debugger=stackgroup"], {}), ([], {"SYSTEMD_DEBUGGER": "stackgroup"})):
        done = subprocess.run([coredumpctl, "-D", journal, "debug", *how], env={**environment, **more}, capture_output=True, text=True)
        lines = done.stdout.splitlines()
        assert without_source("\n".join(lines[lines.index(wanted[0]):])) == wanted, done.stderr


def test_kept_by_systemd(tmp_path):
    """A core as systemd-coredump itself keeps it: its attributes, and its journal entry."""
    with contextlib.ExitStack() as stack:
        try:
            machine, pid, path = stack.enter_context(systemd_coredump.kept_core(tmp_path))
        except cores.Unavailable as error:
            pytest.skip(str(error))
        source = source_of(path)
        assert (source["pid"], source["host"]) == (pid, "web3") and "time" in source
        assert f"core.deadlock_pool.{os.getuid()}." in path.name and path.suffix == ".zst"
        entry = {**source_of(path, f"--journal={machine.folder}/log/journal"), "unit": None}
        assert entry == {**source, "unit": None}
        # Without the attributes, as they get lost in a copy, the journal tells.
        copy = shutil.copyfile(path, tmp_path / "copy.zst")
        assert "time" not in source_of(copy)
        assert source_of(copy, f"--journal={machine.folder}/log/journal")["time"] == source["time"]


def test_program_is_gone(deadlock, tmp_path):
    """After an upgrade the program that coredumpctl names is not there: the core is read all the same, and it is said."""
    done = oracles.stackgroup_run(tmp_path / "gone", "-c", deadlock.path)
    assert done.returncode == 0 and f"{tmp_path}/gone: no such file" in done.stderr
    assert without_source(done.stdout) == without_source(oracles.stackgroup_run(deadlock.path).stdout)
