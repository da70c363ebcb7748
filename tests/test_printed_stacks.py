# SPDX-License-Identifier: Apache-2.0
"""Stacks that other tools print, as input: eu-stack and gdb of a process that stackgroup looks at beside them, and texts in the
forms of the JVM, systemd and py-spy."""

import shutil
import subprocess

import pytest

import cores
import findings
import oracles


def printed_by(tool, pid):
    """What the tool prints of the process."""
    if not shutil.which(tool):
        pytest.skip(f"no {tool}")
    command = {"eu-stack": ["eu-stack", "-n", "0", "-p", str(pid)],
               "gdb": ["gdb", "-nx", "-q", "-batch", "-iex", "set debuginfod enabled off", "-iex", "set auto-load off", "-p", str(pid),
                        "-ex", "thread apply all bt"]}[tool]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False).stdout


def by_thread(document, value):
    return {member: value(group) for profile in document["profiles"] for group in profile["groups"] for member in group["members"]}


def functions(group):
    return [frame.get("function", "") for frame in group["frames"]]


@pytest.fixture(scope="module")
def philosophers(tmp_path_factory):
    """The process while it stands still: what it looks like to eu-stack, to gdb and to stackgroup."""
    folder = tmp_path_factory.mktemp("printed")
    try:
        stalls = findings.build_stalls("c", folder)
    except cores.Unavailable as error:
        pytest.skip(str(error))
    with stalls.running("philosophers") as (pid, truth):
        texts = {tool: printed_by(tool, pid) for tool in ("eu-stack", "gdb") if shutil.which(tool)}
        document = findings.stackgroup_json("--members", "-p", str(pid))
    for tool, text in texts.items():
        (folder / tool).write_text(text)
    return folder, document, truth


def read(folder, name):
    if not (folder / name).exists():
        pytest.skip(f"no {name}")
    return findings.stackgroup_json("--members", str(folder / name))


def test_eu_stack(philosophers):
    """The same threads in the same stacks: fingerprints too."""
    folder, document, _ = philosophers
    told = read(folder, "eu-stack")
    assert by_thread(told, lambda group: group["fingerprint"]) == by_thread(document, lambda group: group["fingerprint"])
    assert told["profiles"][0]["kind"] == "thread"


def test_gdb(philosophers):
    """gdb names some of libc's functions by other names; the program's own frames, their lines and the locks are the same."""
    folder, document, truth = philosophers

    def own(group):
        return [(frame["function"], frame["line"]) for frame in group["frames"] if frame.get("file", "").endswith("stalls.c")]

    told = read(folder, "gdb")
    assert by_thread(told, own) == by_thread(document, own)
    if "mutex=" not in (folder / "gdb").read_text():
        pytest.skip("gdb has no debug information of libc, which names locks")
    waits = {row["resource"]["address"] for profile in told["profiles"] for group in profile["groups"]
             for row in group.get("waits", ()) if row["kind"] == "mutex"}
    assert len(waits) == len(truth["cycle"])


def test_shortened_dump_loses_only_what_is_cut(philosophers, tmp_path):
    """Cut anywhere, what is left is read."""
    folder, _, _ = philosophers
    text = (folder / "gdb").read_text() if (folder / "gdb").exists() else pytest.skip("no gdb")
    for part in range(1, 10):
        cut = tmp_path / f"{part}.txt"
        cut.write_text(text[text.index("Thread "):][:len(text) * part // 10])
        done = oracles.stackgroup_run("--format=json", str(cut))
        assert done.returncode == 0, done.stderr


HEAD = "2026-11-21 19:43:57\nFull thread dump OpenJDK 64-Bit Server VM (17.0.15+6 mixed mode, sharing):\n\n"
WORKER = """"worker-{n}" #1{n} prio=5 os_prio=0 cpu=1.00ms elapsed=1.85s tid=0x00007f037810f3{n}0 nid=0x50d{n} waiting for monitor entry  [0x00007f0360af{n}000]
   java.lang.Thread.State: BLOCKED (on object monitor)
\tat shop.Orders.{name}(Orders.java:{n}1)
\t- waiting to lock <0x00000000ffd1ab{waits}> (a java.lang.Object)
\t- locked <0x00000000ffd1ab{holds}> (a java.lang.Object)
\tat java.lang.Thread.run(java.base@17.0.15/Thread.java:840)

   Locked ownable synchronizers:
\t- None

"""
COMPILER = """"C2 CompilerThread0" #7 daemon prio=9 os_prio=0 tid=0x00007f03780ba930 nid=0x50d9 waiting on condition  [0x0000000000000000]
   java.lang.Thread.State: RUNNABLE

"""
FOUND = """Found one Java-level deadlock:
=============================
"worker-1":
  waiting to lock monitor 0x00007f02f4003180 (object 0x00000000ffd1ab78, a java.lang.Object),
  which is held by "worker-2"

Java stack information for the threads listed above:
===================================================
"worker-1":
\tat shop.Orders.save(Orders.java:11)

"""


def test_deadlock_of_the_jvm(tmp_path):
    """Monitors with their owners; the JVM's repetition of the two stacks is not read as threads, nor is a second dump."""
    workers = WORKER.format(n=1, name="save", waits="78", holds="68") + WORKER.format(n=2, name="load", waits="68", holds="78")
    path = tmp_path / "jstack.txt"
    path.write_text((HEAD + workers + COMPILER + FOUND) * 2)
    document = findings.stackgroup_json("--members", str(path))
    assert by_thread(document, functions) == {str(0x50d1): ["shop.Orders.save", "java.lang.Thread.run"],
                                              str(0x50d2): ["shop.Orders.load", "java.lang.Thread.run"]}
    (finding,) = document["findings"]
    assert finding["id"] == "pthread/deadlock" and findings.cycles(finding) == [frozenset({0x50d1, 0x50d2})]
    assert "worker-1" in findings.told(finding) and "0xffd1ab68" in finding["title"]
    assert {"thread-repeated", "threads-of-runtime"} <= {row["code"] for row in document["diagnostics"]}


PARKED = """"pool-1-thread-{n}" #1{n} prio=5 tid=0x00007f752c0d4f{n}0 nid=0x52c{n} waiting on condition  [0x00007f7530{n}b3000]
   java.lang.Thread.State: WAITING (parking)
\tat jdk.internal.misc.Unsafe.park(java.base@17.0.15/Native Method)
\t- parking to wait for  <0x00000000ffd1b660> (a java.util.concurrent.locks.{what})
\tat java.util.concurrent.locks.LockSupport.park(java.base@17.0.15/LockSupport.java:341)
\tat shop.Pool.next(Pool.java:12)

"""
WAITING = """"waiter" #9 prio=5 tid=0x00007f752c0d4ff0 nid=0x52cf in Object.wait()  [0x00007f75301b3000]
   java.lang.Thread.State: WAITING (on object monitor)
\tat java.lang.Object.wait(java.base@17.0.15/Native Method)
\t- waiting on <0x00000000ffd02f40> (a java.lang.Object)
\tat shop.Pool.idle(Pool.java:20)
\t- locked <0x00000000ffd02f40> (a java.lang.Object)

"""
BLOCKED = """"enters" #8 prio=5 tid=0x00007f752c0d4fe0 nid=0x52ce waiting for monitor entry  [0x00007f75301b3000]
   java.lang.Thread.State: BLOCKED (on object monitor)
\tat shop.Pool.idle(Pool.java:19)
\t- waiting to lock <0x00000000ffd02f40> (a java.lang.Object)

"""


def test_idle_jvm(tmp_path):
    """Workers that wait for jobs, and one in Object.wait, which has given its object up: nobody has it."""
    path = tmp_path / "jstack.txt"
    path.write_text(HEAD + "".join(PARKED.format(n=n, what="AbstractQueuedSynchronizer$ConditionObject") for n in range(9)) + WAITING)
    document = findings.stackgroup_json("--members", str(path))
    assert document["findings"] == []
    path.write_text(HEAD + WAITING + BLOCKED)
    rows = [row for profile in findings.stackgroup_json(str(path))["profiles"] for group in profile["groups"]
            for row in group.get("waits", ()) if row["kind"] == "mutex"]
    assert len(rows) == 1 and "holder" not in rows[0]


JOURNAL = """Nov 21 19:43:57 web systemd-coredump[812]: Process 700 (shop) of user 33 dumped core.

                Stack trace of thread 702:
                #0  0x00007f1e1f4f8f17 __futex_abstimed_wait_common (libc.so.6 + 0x88f17)
                #1  0x000055e7dfbffe33 n/a (shop + 0x4e33)

                Stack trace of thread 700:
                #0  0x00007f1e1f546df3 __pause (libc.so.6 + 0xd6df3)
                #1  0x000055e7dfbfd51b main (shop + 0x251b)
"""
PYSPY = """Process 4711: python3 shop.py
Python v3.11.2 (/usr/bin/python3.11)

Thread 4711 (idle): "MainThread"
    wait (threading.py:320)
    <module> (shop.py:12)
Thread 4712 (active+gil): "spin"
    f (shop.py:3)
"""


def test_journal_and_py_spy(tmp_path):
    path = tmp_path / "dump.txt"
    path.write_text(JOURNAL)
    document = findings.stackgroup_json("--members", str(path))
    assert by_thread(document, functions) == {"700": ["__pause", "main"], "702": ["__futex_abstimed_wait_common", ""]}
    assert [frame.get("module") for group in document["profiles"][0]["groups"] for frame in group["frames"]].count("shop") == 2
    path.write_text(PYSPY)
    document = findings.stackgroup_json("--members", str(path))
    assert by_thread(document, functions) == {"4711": ["wait", "<module>"], "4712": ["f"]}
    assert document["source"]["pid"] == 4711
