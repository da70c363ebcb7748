# SPDX-License-Identifier: Apache-2.0
"""`stackgroup -p PID`: stacks as the program itself, gdb and eu-stack tell them; every state that a target can be in; and that a target
runs on as before, whatever becomes of us. That epoll_wait and a few other calls return EINTR after a stop is documented, not tested."""

import contextlib
import ctypes
import json
import os
import random
import re
import select
import shutil
import signal
import socket
import stat
import struct
import subprocess
import time
from pathlib import Path

import pytest

import cores
import oracles
import stacks
from conftest import case_name
from cores import C_BASE, PROGRAMS, Program
from test_differential import differences, explained

TARGET = Program("live", "live.c", (C_BASE,))

# What is running in a target is at one place; what is inlined, stripped and linked is as different as can be.
LIVE_CASES = [
    (PROGRAMS[program], variant, "live")
    for program, names in (
        ("parked", ("gcc-O2", "gcc-static", "gcc-stripped", "clang-O2", "musl-static", "musl")),
        ("waits", ("gxx-O2",)),
        ("libraries", ("gcc-O2",)),
        ("rust", ("rust-v0", "rust-stripped")),
    )
    for variant in PROGRAMS[program].variants
    if variant.name in names
]
ORACLE_CASES = [case for case in LIVE_CASES if case[1].name in ("gcc-O2", "gcc-static", "gcc-stripped", "musl-static", "gxx-O2", "rust-v0")]


def build_or_skip(program, variant, arguments=None):
    try:
        return cores.build(program, variant, arguments)
    except cores.Unavailable as error:
        pytest.skip(str(error))


@contextlib.contextmanager
def parked_process(program, variant, tmp_path, arguments=None):
    """A program of known stacks that stands still: its process and its truth."""
    truth = tmp_path / "truth.json"
    with cores.waiting(build_or_skip(program, variant, arguments), truth) as child:
        settle(child.pid)
        yield child, json.loads(truth.read_text())


@contextlib.contextmanager
def started(command, **options):
    """A process that says "ready" and lives until its standard input is closed."""
    # Unbuffered, so that select tells whether there is another line.
    child = subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, **options)
    try:
        read_line(child, "ready")
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(signal.SIGCONT)
            child.kill()
        child.stdin.close()
        child.stdout.close()
        child.wait(10)


@contextlib.contextmanager
def target(*arguments, **options):
    with started([build_or_skip(TARGET, C_BASE).executable, *arguments], **options) as child:
        yield child


def read_line(child, wanted=None, seconds=20):
    assert select.select([child.stdout], [], [], seconds)[0], "the target is silent"
    line = child.stdout.readline().decode().strip()
    assert wanted is None or line == wanted
    return line


def tids_of(pid):
    return {int(name) for name in os.listdir(f"/proc/{pid}/task")}


def state_of(pid, tid=None):
    return Path(f"/proc/{pid}/task/{tid or pid}/stat").read_text().rpartition(")")[2].split()[0]


def states_of(pid):
    """The states of all threads, of those that did not end under our eyes."""
    states = {}
    for tid in tids_of(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            states[tid] = state_of(pid, tid)
    return states


def wait_for(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the target did not get there"
        time.sleep(0.005)


def settle(pid):
    """Waits until two looks find every thread in the same system call: calls that a stop interrupts are made again."""

    def look():
        calls = {tid: Path(f"/proc/{pid}/task/{tid}/syscall").read_text() for tid in tids_of(pid)}
        return None if any(call.startswith("running") for call in calls.values()) else calls

    def same():
        before = look()
        time.sleep(0.01)
        return before is not None and before == look()

    wait_for(same)


def snapshot(pid, *arguments, codes=(0,)):
    done = oracles.stackgroup_run("--format=json", "--by=pc", "--members", "-p", pid, *arguments, seconds=30)
    assert done.returncode in codes, (done.returncode, done.stderr)
    assert "Sanitizer" not in done.stderr
    return json.loads(done.stdout)


def refused(pid, *arguments):
    """What is said to one who cannot have the process."""
    done = oracles.stackgroup_run("-p", pid, *arguments, seconds=20)
    assert done.returncode == 3, (done.returncode, done.stdout, done.stderr)
    assert done.stdout == "" and done.stderr.startswith("stackgroup: "), done.stderr
    return done.stderr


def named_functions(document):
    return {frame["function"] for profile in document["profiles"] for group in profile["groups"] for frame in group["frames"]
            if "function" in frame}


def member_details(document):
    return [member for profile in document["profiles"] for group in profile["groups"] for member in group["members_detail"]]


def runs(pid):
    """No thread was left stopped."""
    return not any(state in "tT" for state in states_of(pid).values())


# what is read


@pytest.mark.parametrize("case", LIVE_CASES, ids=case_name)
def test_stacks_are_the_truth(case, stackgroup, tmp_path):
    program, variant, _ = case
    with parked_process(program, variant, tmp_path) as (child, truth):
        document = snapshot(child.pid)
        assert runs(child.pid)
    found = oracles.json_stacks(document)
    wanted = {tid for group in truth["groups"] for tid in group["tids"]}
    assert set(found.threads) == wanted
    assert document["source"]["kind"] == "process" and document["source"]["pid"] == child.pid
    profile = document["profiles"][0]
    assert profile["total"] == len(wanted)
    if variant.names:
        wrong = stacks.truth_differences(truth, found, inlines=variant.inlines, leaves=variant.leaf)
        assert not wrong, "\n".join(f"{group} (thread {tid}): {text}" for group, tid, text in wrong)
    assert stacks.partition([int(tid) for tid in group["members"]] for group in profile["groups"]) \
        == stacks.partition(group["tids"] for group in truth["groups"])


@pytest.mark.long
@pytest.mark.parametrize("case", ORACLE_CASES, ids=case_name)
def test_stacks_equal_those_of_debuggers(case, stackgroup, tmp_path):
    program, variant, _ = case
    with parked_process(program, variant, tmp_path) as (child, _):
        ours = oracles.json_stacks(snapshot(child.pid))
        for oracle, read in (("gdb", oracles.gdb_live), ("eu-stack", oracles.eu_stack_live)):
            settle(child.pid)
            try:
                theirs = read(child.pid)
            except cores.Unavailable as error:
                pytest.skip(str(error))
            assert set(ours.threads) == set(theirs.threads)
            name = f"{program.name}/{variant.name}/live"
            wrong = {f"{oracle}: {kind}: {text}": tid for tid, frames in ours.threads.items()
                     for kind, text in differences(frames, theirs.threads[tid]) if explained(name, oracle, kind, text) is None}
            assert not wrong, "\n".join(f"thread {tid}: {text}" for text, tid in wrong.items())


def test_same_as_its_core(stackgroup, tmp_path):
    """A process and gcore's core of it have the same groups, frame by frame."""
    if not shutil.which("gdb"):
        pytest.skip("no gdb")
    with parked_process(PROGRAMS["deadlock_pool"], C_BASE, tmp_path) as (child, _):
        live = snapshot(child.pid)
        settle(child.pid)
        core = tmp_path / "core"
        subprocess.run(["gdb", "-nx", "-batch", "-iex", "set debuginfod enabled off", "-p", str(child.pid), "-ex", f"gcore {core}"],
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60, check=True)
        dead = oracles.stackgroup_json(core, "--by=pc", "--members")
    of_live, of_core = oracles.json_stacks(live), oracles.json_stacks(dead)
    assert of_live.threads == of_core.threads


def test_stop_is_measured(stackgroup):
    with target("deep") as child:
        done = oracles.stackgroup_run("-p", child.pid)
    assert re.match(r"# stopped \d+\.\d+ ms for 1 thread\n", done.stdout), done.stdout[:200]


def test_members_have_name_state_and_time(stackgroup):
    with target("deep") as child:
        (member,) = member_details(snapshot(child.pid))
    assert member["id"] == str(child.pid) and member["name"] == "live" and "cpu_seconds" in member


@pytest.mark.long
def test_ten_thousand_threads(stackgroup, tmp_path):
    with parked_process(PROGRAMS["many"], C_BASE, tmp_path, (10000, 17)) as (child, truth):
        found = oracles.json_stacks(snapshot(child.pid))
        assert runs(child.pid)
    assert not stacks.truth_differences(truth, found)


# states of a target


def test_stopped_target_stays_stopped(stackgroup):
    with target("count", 3, "/dev/shm/live-count-" + str(os.getpid())) as child:
        os.unlink("/dev/shm/live-count-" + str(os.getpid()))
        child.send_signal(signal.SIGSTOP)
        wait_for(lambda: set(states_of(child.pid).values()) == {"T"})
        for _ in range(5):
            document = snapshot(child.pid)
            assert document["profiles"][0]["total"] == 4
            assert "tc_live_count" in named_functions(document)
            time.sleep(0.01)
            assert set(states_of(child.pid).values()) == {"T"}
        child.send_signal(signal.SIGCONT)
        wait_for(lambda: runs(child.pid))


def test_running_target_runs(stackgroup, tmp_path):
    with target("count", 4, tmp_path / "counters") as child:
        for _ in range(10):
            snapshot(child.pid)
            before = read_counters(tmp_path / "counters")
            wait_for(lambda: all(now > then for now, then in zip(read_counters(tmp_path / "counters"), before)))
        assert runs(child.pid)


def read_counters(path):
    return [number for (number,) in struct.iter_unpack("<Q", path.read_bytes())]


SIGNALS_WELL = ["queued 20000", "out of order 0", "single 20000", "out of order 0"]


def lines_while(child, attach):
    """What the target says in four lines, and how often somebody attached meanwhile."""
    lines, count = [], 0
    end = time.monotonic() + 30
    while len(lines) < 4:
        assert time.monotonic() < end, lines
        if select.select([child.stdout], [], [], 0)[0]:
            lines.append(read_line(child))
        else:
            attach()
            count += 1
    return lines, count


def test_no_signal_is_lost(stackgroup):
    """Neither of many queued ones, nor the only one; each with its value, in its order."""
    attached = 0
    for _ in range(10):  # how many attaches fit beside one round of signals depends on the machine
        with target("signals", 20000) as child:
            lines, more = lines_while(child, lambda: snapshot(child.pid, "--lines=off"))
        assert lines == SIGNALS_WELL
        attached += more
        if attached >= 50:
            break
    assert attached >= 50


def test_frame_of_a_megabyte(stackgroup):
    """Ruby's threads alloca their interpreter's stack: their first frames lie that far from their last."""
    with target("wide") as child:
        document = snapshot(child.pid)
    assert not [row for row in document["diagnostics"] if row["code"] == "stack-incomplete"]
    stacks = [[frame.get("function") for frame in group["frames"]] for profile in document["profiles"] for group in profile["groups"]]
    (deep,) = (names for names in stacks if "tc_live_deep" in names)
    assert deep.count("tc_live_deep") == 4 and "tc_live_wide" in deep


def test_leader_that_ended(stackgroup):
    with target("zombie-leader", 6) as child:
        wait_for(lambda: state_of(child.pid) == "Z")
        document = snapshot(child.pid)
        others = tids_of(child.pid) - {child.pid}
    assert {int(member["id"]) for member in member_details(document)} == others
    assert "tc_live_parked" in named_functions(document)


def test_zombie(stackgroup):
    child = subprocess.Popen(["true"])
    try:
        wait_for(lambda: state_of(child.pid) == "Z")
        assert "a zombie" in refused(child.pid) and str(os.getpid()) in refused(child.pid)
    finally:
        child.wait()


PTRACE_SEIZE, PTRACE_ATTACH = 0x4206, 16


@contextlib.contextmanager
def tracer_of(pid):
    """A process that traces another and does nothing with it."""
    libc = ctypes.CDLL(None, use_errno=True)
    read_end, write_end = os.pipe()
    tracer = os.fork()
    if tracer == 0:
        libc.prctl(15, b"other-tracer", 0, 0, 0)
        result = libc.ptrace(PTRACE_SEIZE, pid, None, None)
        os.write(write_end, b"0" if result == 0 else b"1")
        time.sleep(60)
        os._exit(0)
    try:
        assert os.read(read_end, 1) == b"0"
        yield tracer
    finally:
        os.close(read_end)
        os.close(write_end)
        os.kill(tracer, signal.SIGKILL)
        os.waitpid(tracer, 0)


def test_traced_by_another(stackgroup):
    with target("deep") as child:
        with tracer_of(child.pid) as tracer:
            message = refused(child.pid)
            assert f"traced by process {tracer} (other-tracer)" in message
        wait_for(lambda: "TracerPid:\t0" in Path(f"/proc/{child.pid}/status").read_text())
        snapshot(child.pid)


def test_one_thread_traced_by_another(stackgroup, tmp_path):
    """Somebody traces one thread that is not the leader: the others are read, the loss is said."""
    with target("count", 3, tmp_path / "counters") as child:
        tid = max(tids_of(child.pid))
        with tracer_of(tid) as tracer:
            document = snapshot(child.pid, codes=(4,))
        assert {int(member["id"]) for member in member_details(document)} == tids_of(child.pid) - {tid}
        assert any(f"traced by process {tracer} (other-tracer)" in row["message"] for row in document["diagnostics"])
        assert runs(child.pid)


def test_thread_that_does_not_stop(stackgroup):
    """The parent in vfork is in state D until its child is done."""
    with target("vfork", 5) as child:
        wait_for(lambda: "D" in states_of(child.pid).values())
        blocked = next(tid for tid, state in states_of(child.pid).items() if state == "D")
        begun = time.monotonic()
        document = snapshot(child.pid, codes=(0, 4))
        assert time.monotonic() - begun < 1
        assert runs(child.pid)
        for pid in Path(f"/proc/{child.pid}/task/{blocked}/children").read_text().split():
            os.kill(int(pid), signal.SIGKILL)
    members = {int(member["id"]): member for member in member_details(document)}
    assert len(members) == 7
    assert "not stopped" in members[blocked]["state"]
    assert sum("not stopped" in member["state"] for member in members.values()) == 1
    assert "tc_live_parked" in named_functions(document)


def test_thread_that_does_not_stop_goes_on_afterwards(stackgroup):
    """A pending stop must not hit it when its call is done."""
    with target("vfork", 2) as child:
        wait_for(lambda: "D" in states_of(child.pid).values())
        blocked = next(tid for tid, state in states_of(child.pid).items() if state == "D")
        snapshot(child.pid, codes=(0, 4))
        for pid in Path(f"/proc/{child.pid}/task/{blocked}/children").read_text().split():
            os.kill(int(pid), signal.SIGKILL)
        wait_for(lambda: blocked not in tids_of(child.pid))
        assert runs(child.pid)


def test_kernel_thread(stackgroup):
    if Path("/proc/2/comm").read_text().strip() != "kthreadd":
        pytest.skip("no kernel thread in this pid namespace")
    assert "a kernel thread" in refused(2)


THIRTY_TWO = 'void _start(void) { for (;;) __asm__ volatile("int $0x80" : : "a"(29)); }\n'


def test_32_bit_target(stackgroup, tmp_path):
    (tmp_path / "small.c").write_text(THIRTY_TWO)
    command = ["gcc", "-m32", "-static", "-nostdlib", "-ffreestanding", "-fno-pie", "-no-pie", "-o", "small", "small.c"]
    if not shutil.which("gcc") or subprocess.run(command, cwd=tmp_path, capture_output=True).returncode:
        pytest.skip("no gcc -m32")
    try:
        child = subprocess.Popen([tmp_path / "small"])
    except OSError as error:
        pytest.skip(f"32-bit programs do not run here: {error}")
    try:
        assert "32-bit" in refused(child.pid)
    finally:
        child.kill()
        child.wait()


def test_no_such_process(stackgroup):
    highest = int(Path("/proc/sys/kernel/pid_max").read_text())
    assert "there is none such" in refused(highest + 1)


@pytest.mark.parametrize("text", ["0", "-1", "x", "4294967295", "4294967296", "99999999999999999999", "", "12x"])
def test_bad_pid(text, stackgroup):
    done = oracles.stackgroup_run(f"--pid={text}")
    assert done.returncode == 2 and ("pid" in done.stderr or "no process given" in done.stderr), (done.returncode, done.stderr)


def test_own_pid(stackgroup):
    done = oracles.run(["sh", "-c", 'exec "$0" -p $$', stackgroup], 20)
    assert done.returncode == 3 and "itself" in done.stderr, done.stderr


def test_thread_id_is_no_process(stackgroup, tmp_path):
    """/proc/TID is there for every thread: its whole process is shown, and it is said to be."""
    with target("count", 3, tmp_path / "counters") as child:
        tid = max(tids_of(child.pid))
        for arguments in ((), ("--rolling",), ("--no-stop",), ("--samples=2", "--interval=10ms")):
            document = snapshot(tid, *arguments)
            assert document["profiles"][0]["total"] == 4 and document["source"]["pid"] == child.pid
            said = [row["message"] for row in document["diagnostics"] if row["code"] == "pid-of-thread"]
            assert len(said) == 1 and f"{tid} is a thread of process {child.pid}" in said[0]
        assert runs(child.pid)


def test_process_that_ends_midway(stackgroup):
    """At whatever moment: an answer or a message, no crash, no hang."""
    executable = build_or_skip(TARGET, C_BASE).executable
    choose = random.Random(1)
    codes = []
    for _ in range(100):
        with subprocess.Popen([str(executable), "brief", str(choose.randrange(0, 12000))], stdout=subprocess.PIPE,
                              stdin=subprocess.DEVNULL, text=True) as child:
            if choose.random() < 0.5:
                child.stdout.readline()
            done = oracles.stackgroup_run("-p", child.pid, seconds=10)
            codes.append(done.returncode)
            assert done.returncode in (0, 3, 4), (done.returncode, done.stderr)
    assert 0 in codes


def test_threads_that_start_and_end(stackgroup):
    with target("churn", 24) as child:
        for _ in range(100):
            document = snapshot(child.pid, "--lines=off", codes=(0, 4))
            groups = document["profiles"][0]["groups"]
            assert any(frame.get("function") == "tc_live_churn" for group in groups for frame in group["frames"])
            parked = [group["count"] for group in groups
                      if any(frame.get("function") == "tc_live_parked" for frame in group["frames"])]
            assert sum(parked) == 4
        assert runs(child.pid)


def test_threads_that_begin_all_the_time(stackgroup):
    """A look at one after another ends some time, and says so. At one instant there are no later ones."""
    def said(child, *arguments):
        return "threads-begin" in [row["code"] for row in snapshot(child.pid, "--lines=off", *arguments)["diagnostics"]]

    with target("churn", 24) as child:
        wait_for(lambda: said(child, "--rolling"), 60)  # whether threads begin in all of eight moments is up to the scheduler
        assert not any(said(child) for _ in range(10))
        said(child, "--no-stop")


# files and namespaces


def copy_of_target(path):
    shutil.copy(build_or_skip(TARGET, C_BASE).executable, path)
    return path


@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_program_that_is_gone(how, stackgroup, tmp_path):
    program = copy_of_target(tmp_path / "program")
    with started([program, "deep"]) as child:
        program.unlink()
        if how == "replaced":
            shutil.copy(build_or_skip(PROGRAMS["many"], C_BASE).executable, program)
        document = snapshot(child.pid)
    (group,) = document["profiles"][0]["groups"]
    names = [frame.get("function") for frame in group["frames"]]
    assert names.count("tc_live_deep") == 21 and "main" in names
    assert "many_wait" not in names


def child_of(pid):
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def test_own_namespaces(stackgroup, tmp_path):
    """Another file at the same path, in the target's mounts only; its own ids beside ours."""
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("not root, or no unshare")
    visible = tmp_path / "server"
    shutil.copy(build_or_skip(PROGRAMS["many"], C_BASE).executable, visible)
    inside = copy_of_target(tmp_path / "inside")
    script = f"mount --bind {inside} {visible} && exec {visible} count 2 {tmp_path}/counters"
    command = ["unshare", "-mpf", "--mount-proc", "sh", "-c", script]
    if subprocess.run([*command[:3], "true"], capture_output=True).returncode:
        pytest.skip("unshare is not permitted")
    with started(command) as child:
        pid = child_of(child.pid)
        try:
            document = snapshot(pid)
        finally:
            os.kill(pid, signal.SIGKILL)
    assert {"tc_live_count", "main"} <= named_functions(document)
    assert not any(name.startswith(("tc_many", "many_")) for name in named_functions(document))
    assert document["source"]["exe"] == str(visible)
    members = {member["id"]: member.get("ns_id") for member in member_details(document)}
    assert len(members) == 3 and all(1 <= int(ns_id) < 20 for ns_id in members.values())
    assert members[str(pid)] == "1"


C_STATIC = next(row for row in cores.C_VARIANTS if row.name == "gcc-static")


@contextlib.contextmanager
def own_root(tmp_path):
    """A root folder with nothing but /proc in it."""
    if os.geteuid() != 0:
        pytest.skip("not root")
    root = tmp_path / "root"
    (root / "proc").mkdir(parents=True)
    if subprocess.run(["mount", "--bind", "/proc", root / "proc"], capture_output=True).returncode:
        pytest.skip("mount is not permitted")
    try:
        yield root
    finally:
        subprocess.run(["umount", root / "proc"], check=True)


def test_own_root(stackgroup, tmp_path):
    """A static program below another root: its path here leads nowhere."""
    built = build_or_skip(PROGRAMS["parked"], C_STATIC)
    with own_root(tmp_path) as root:
        shutil.copy(built.executable, root / "only-in-there")
        with started(["chroot", root, "/only-in-there"], env={**os.environ, "TESTCORE_END": "wait"}) as child:
            document = snapshot(child.pid)
            assert document["source"]["exe"].endswith("/only-in-there")
    assert any(name.startswith("tc_") for name in named_functions(document))


def test_debug_files_of_its_own_root(stackgroup, tmp_path):
    """What names a stripped program lies in the folder of debug files that its own root has, not ours."""
    if not shutil.which("objcopy"):
        pytest.skip("no objcopy")
    built = build_or_skip(PROGRAMS["parked"], C_STATIC)
    notes = subprocess.run(["readelf", "-n", built.executable], stdout=subprocess.PIPE, text=True, check=True).stdout
    build_id = re.search(r"Build ID: ([0-9a-f]+)", notes).group(1)
    with own_root(tmp_path) as root:
        debug = root / "usr" / "lib" / "debug" / ".build-id" / build_id[:2] / f"{build_id[2:]}.debug"
        debug.parent.mkdir(parents=True)
        subprocess.run(["objcopy", "--only-keep-debug", built.executable, debug], check=True)
        subprocess.run(["objcopy", "--strip-all", built.executable, root / "stripped"], check=True)
        with started(["chroot", root, "/stripped"], env={**os.environ, "TESTCORE_END": "wait"}) as child:
            document = snapshot(child.pid)
            assert any(name.startswith("tc_") for name in named_functions(document))
            assert any(frame.get("line") for group in document["profiles"][0]["groups"] for frame in group["frames"])
            debug.unlink()
            assert not any(name.startswith("tc_") for name in named_functions(snapshot(child.pid)))


def test_not_permitted(stackgroup):
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("not root, or no setpriv")
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    if subprocess.run([*nobody, stackgroup, "--version"], capture_output=True).returncode:
        pytest.skip("nobody cannot reach the program")
    with target("deep") as child:
        done = oracles.run([*nobody, stackgroup, "-p", child.pid], 20)
        assert done.returncode == 3 and done.stdout == ""
        assert "not permitted" in done.stderr and "root" in done.stderr and str(child.pid) in done.stderr


def test_own_process_of_a_user(stackgroup):
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("not root, or no setpriv")
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    if subprocess.run([*nobody, stackgroup, "--version"], capture_output=True).returncode:
        pytest.skip("nobody cannot reach the program")
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    with started([*nobody, build_or_skip(TARGET, C_BASE).executable, "deep"]) as child:
        done = oracles.run([*nobody, stackgroup, "-p", child.pid], 20)
        if scope.exists() and scope.read_text().strip() != "0":
            assert done.returncode == 3 and "ptrace_scope" in done.stderr
        else:
            assert done.returncode == 0 and "tc_live_deep" in done.stdout, done.stderr


# whatever becomes of us


@pytest.mark.parametrize("mode", [[], ["--rolling"], ["--no-stop"]], ids=["all", "rolling", "no-stop"])
def test_killed_at_any_moment(mode, stackgroup, tmp_path):
    """SIGKILL at 200 random moments: no thread stays stopped, and all count on."""
    counters = tmp_path / "counters"
    choose = random.Random(2)
    with target("count", 100, counters) as child:
        longest = run_seconds(stackgroup, child.pid, *mode)
        ended = 0
        for _ in range(200):
            ended += kill_at_random(stackgroup, child.pid, choose, longest, *mode)
            before = read_counters(counters)
            wait_for(lambda: all(now > then for now, then in zip(read_counters(counters), before)), 5)
            assert runs(child.pid)
        assert len(states_of(child.pid)) == 101
        assert ended > 20


def run_seconds(stackgroup, pid, *arguments):
    begun = time.monotonic()
    subprocess.run([stackgroup, "--lines=off", "-p", str(pid), *arguments], stdout=subprocess.DEVNULL, check=True, timeout=20)
    return time.monotonic() - begun


def kill_at_random(stackgroup, pid, choose, longest, *arguments):
    """Whether it was still at work."""
    ours = subprocess.Popen([stackgroup, "--lines=off", "-p", str(pid), *arguments], stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL)
    time.sleep(choose.random() * longest)
    at_work = ours.poll() is None
    ours.kill()
    ours.wait()
    return at_work


@pytest.mark.parametrize("mode", [[], ["--rolling"]], ids=["all", "rolling"])
def test_killed_while_signals_come(mode, stackgroup):
    """A signal that was on its way when we were killed still arrives."""
    choose = random.Random(3)
    with target("signals", 20000) as child:
        longest = run_seconds(stackgroup, child.pid)
        lines, _ = lines_while(child, lambda: kill_at_random(stackgroup, child.pid, choose, longest, *mode))
    assert lines == SIGNALS_WELL


def test_max_stop(stackgroup, tmp_path):
    with parked_process(PROGRAMS["many"], C_BASE, tmp_path, (5000, 17)) as (child, _):
        document = snapshot(child.pid, "--max-stop=1", codes=(4,))
        wait_for(lambda: runs(child.pid))
        assert len(tids_of(child.pid)) == 5001
        assert any("--max-stop" in row["message"] for row in document["diagnostics"])
        assert snapshot(child.pid)["profiles"][0]["total"] == 5001


# a busy server


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.long
def test_redis_under_load(stackgroup, tmp_path):
    server, benchmark = shutil.which("redis-server"), shutil.which("redis-benchmark")
    if not server or not benchmark:
        pytest.skip("no redis-server")
    port = free_port()
    with subprocess.Popen([server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
                          cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as redis:
        try:
            wait_for(lambda: answers(port))
            threads = tids_of(redis.pid)
            said = tmp_path / "benchmark.txt"
            with said.open("w") as file, \
                    subprocess.Popen([benchmark, "-p", str(port), "-n", "200000", "-c", "20", "-t", "set,get", "-q"],
                                     stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT) as load:
                rounds = under_load = 0
                while rounds < 200:
                    under_load += load.poll() is None
                    assert snapshot(redis.pid, "--lines=off")["profiles"][0]["total"] == len(threads)
                    rounds += 1
                load.wait(60)
            output = said.read_text()
            assert load.returncode == 0 and "rror" not in output, output[-2000:]
            assert "requests per second" in output
            assert under_load >= 20
            assert answers(port) and tids_of(redis.pid) == threads and runs(redis.pid)
        finally:
            redis.kill()


def answers(port):
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16) == b"+PONG\r\n"
    except OSError:
        return False


GO_SERVER = r"""
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

func serve() {
	listener, _ := net.Listen("tcp", "127.0.0.1:0")
	fmt.Println("http://" + listener.Addr().String())
	http.Serve(listener, http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		if request.URL.Path == "/slow" {
			time.Sleep(2 * time.Millisecond)
		}
		body, _ := io.ReadAll(request.Body)
		answer.Write([]byte(strings.Repeat(string(body), 100)))
	}))
}

/* Twenty clients at a time until standard input ends, each request with a connection kept or a new one. */
func load(url string) {
	var done atomic.Bool
	var good, bad atomic.Int64
	var clients sync.WaitGroup
	for i := 0; i < 20; i++ {
		clients.Add(1)
		go func(number int) {
			defer clients.Done()
			client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: number < 5}}
			for !done.Load() {
				answer, err := client.Post(url+[]string{"/", "/slow"}[number%2], "text/plain", strings.NewReader("0123456789"))
				if err != nil {
					fmt.Println(err)
					bad.Add(1)
					continue
				}
				body, err := io.ReadAll(answer.Body)
				answer.Body.Close()
				if err != nil || len(body) != 1000 {
					fmt.Println(len(body), err)
					bad.Add(1)
					continue
				}
				good.Add(1)
				time.Sleep(time.Millisecond)
			}
		}(i)
	}
	fmt.Println("ready")
	io.ReadAll(os.Stdin)
	done.Store(true)
	clients.Wait()
	fmt.Println("good", good.Load(), "bad", bad.Load())
}

func main() {
	if len(os.Args) > 1 {
		load(os.Args[1])
	} else {
		serve()
	}
}
"""


@pytest.mark.long
def test_go_server_under_load(stackgroup, tmp_path):
    """200 stops of a busy Go server, whose runtime signals its own threads all the time: no request fails, no thread is lost."""
    try:
        go = oracles.tool("go")
    except cores.Unavailable as error:
        pytest.skip(str(error))
    (tmp_path / "server.go").write_text(GO_SERVER)
    subprocess.run([go, "build", "-o", tmp_path / "server", tmp_path / "server.go"], check=True, timeout=300,
                   env={**os.environ, "GO111MODULE": "off", "GOFLAGS": ""})
    with subprocess.Popen([tmp_path / "server"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as server:
        try:
            url = server.stdout.readline().strip()
            with subprocess.Popen([tmp_path / "server", url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
                assert client.stdout.readline() == "ready\n"
                threads = set()
                for number in range(200):
                    document = snapshot(server.pid, "--lines=off", *(["--rolling"] if number % 4 == 3 else []))
                    seen = {int(member["id"]) for profile in document["profiles"] if profile["kind"] == "thread"
                            for group in profile["groups"] for member in group["members_detail"]}
                    assert len(document["profiles"]) == 2
                    assert threads <= seen and server.pid in seen
                    threads = seen
                assert client.poll() is None
                output = client.communicate("", timeout=60)[0]
            match = re.fullmatch(r"good (\d+) bad 0\n", output)
            assert match and int(match.group(1)) > 2000, output[-2000:]
            assert threads <= tids_of(server.pid) and runs(server.pid)
        finally:
            server.kill()
