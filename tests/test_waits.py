# SPDX-License-Identifier: Apache-2.0
"""Who waits for what and who has it, as stackgroup says it and as testcores/locks.c knows it: every lock of libc, from cores of the
kernel and of gdb and from the running process, with names and without, and from inside a pid namespace."""

import contextlib
import json
import resource
import subprocess
from pathlib import Path

import cores
import oracles
import pytest
from conftest import case_name, make_or_skip
from cores import Program, Variant

GLIBC = ("rwlocks", "kinds", "objects", "stdio", "ended", "shared")

VARIANTS = (
    Variant("gcc-O2", "gcc", ("-O2", "-g", "-rdynamic", "-Wl,-rpath,$ORIGIN")),
    Variant("clang-O0", "clang", ("-O0", "-g", "-rdynamic", "-Wl,-rpath,$ORIGIN")),
    Variant("gcc-stripped", "gcc", ("-O2", "-rdynamic", "-Wl,-rpath,$ORIGIN"), after="strip"),
    Variant("gcc-static", "gcc", ("-O2", "-static")),
    Variant("gcc-static-stripped", "gcc", ("-O2", "-static"), after="strip", names=False),
    Variant("musl", "musl-gcc", ("-O2", "-g")),
    Variant("musl-static-stripped", "musl-gcc", ("-O2", "-static"), after="strip", names=False),
)


def build_locks(program, variant, folder, executable):
    source = cores.SOURCES / "locks_library.c"
    (folder / "locks_library.c").write_bytes(source.read_bytes())
    cores.build_plain(program, variant, folder, executable)
    if "-rdynamic" in variant.flags:
        cores.run(cores.c_command(variant, [source], folder / "liblocks.so", ("-shared", "-fPIC")), cwd=folder)


cores.BUILDERS["locks"] = build_locks

CYCLES = Program("locks-cycles", "locks.c", VARIANTS, arguments=("cycles",), build="locks")
OTHERS = Program("locks-others", "locks.c", VARIANTS, arguments=GLIBC, build="locks")
LOADER = Program("locks-loader", "locks.c", VARIANTS[:3], arguments=("loader",), build="locks")
CASES = [(program, variant, kind) for program in (CYCLES, OTHERS, LOADER) for variant in program.variants
         for kind in ("kernel", "gcore")]


# what stackgroup says


class Waits:
    """By thread id: what it waits for; a thread waits for one thing in these programs."""

    def __init__(self, document):
        self.by_thread = {}
        for profile in document["profiles"]:
            for group in profile["groups"]:
                for row in group.get("waits", ()):
                    for waiter in row.get("waiters", ()):
                        assert int(waiter) not in self.by_thread, f"thread {waiter} waits for two things"
                        self.by_thread[int(waiter)] = row
        self.diagnostics = {row["code"] for row in document["diagnostics"]}

    def holders(self, row):
        rows = row.get("holders") or ([row["holder"]] if "holder" in row else [])
        return sorted(int(holder["id"]) for holder in rows)


def read_waits(*arguments):
    done = oracles.stackgroup_run("--format=json", "--members", *arguments)
    assert done.returncode in (0, 4), done.stderr
    return Waits(json.loads(done.stdout))


# what the program knows


class Facts:
    """The facts with thread ids; ids: the program's own id → the one stackgroup shows, where they differ."""

    def __init__(self, truth_path, ids=None):
        truth = json.loads(Path(truth_path).read_text())
        own = {group["name"]: group["tids"] for group in truth["groups"]}
        self.threads = {name: [ids[tid] if ids else tid for tid in tids] for name, tids in own.items()}
        self.rows = json.loads(Path(f"{truth_path}.waits").read_text())

    def holders(self, row):
        return sorted(tid for name in row["holders"] for tid in self.threads[name])


LOCKS = {"mutex", "rwlock", "cond", "semaphore", "join", "barrier", "once", "loader", "stdio", "allocator"}


def differences(facts, waits, data_names, call_names, musl, registers):
    """What stackgroup says otherwise, in words. Without names of calls less is asked, and nothing false is allowed."""
    found, told = [], set()
    for row in facts.rows:
        for tid in facts.threads[row["waiter"]]:
            told.add(tid)
            seen = waits.by_thread.get(tid)
            wanted = expectation(row, call_names, musl, registers)
            if seen is None:
                found.append(f"{row['waiter']} (thread {tid}): waits for nothing, not for {row['kind']}")
                continue
            for what, text in compare(facts, row, wanted, seen, waits, data_names, musl):
                found.append(f"{row['waiter']} (thread {tid}): {what} {text}: {seen}"[:400])
    for tid, seen in waits.by_thread.items():
        if tid not in told and seen["kind"] in LOCKS:
            found.append(f"thread {tid} waits for nothing, yet: {seen}")
    return found


def expectation(row, call_names, musl, registers):
    """(kinds, holder states) that are right: what cannot be told may be unknown, and nothing may be told falsely."""
    kind, state = row["kind"], row["state"]
    if not registers and kind == "once" and call_names:  # stacks end where rbp is needed
        return {kind, "futex"} if musl else {kind}, {"held", "unknown"}
    if kind in ("sleep", "join"):
        return {kind}, {state}
    if musl and kind == "mutex" and row["waiter"] in MUSL_NORMAL:
        return ({kind} if call_names else {"futex"}), {"unknown"}
    if musl and kind == "rwlock" and row["holders"] != ["reader"] and state == "held":
        return ({kind} if call_names else {"futex"}), {"unknown"}
    if musl and kind == "once":  # told only where its functions have names, which the shared libc's have not
        return {kind, "futex"}, {state, "unknown"}
    if call_names or (kind == "mutex" and state == "held"):
        return {kind}, {state}
    if kind == "rwlock" and state == "held" and row["holders"] != ["reader"]:
        return {kind}, {state}
    return {"futex"}, {"unknown"}


# Initialised as normal mutexes: musl keeps no owner in those, nor of a rwlock's writer.
MUSL_NORMAL = {"two, orders", "two, stock", "three, first", "three, second", "three, third", "self", "chain, middle", "chain, last",
               "innocents", "reader", "ended"}


def compare(facts, row, wanted, seen, waits, data_names, musl):
    kinds, states = wanted
    state = seen["holder_state"]
    if seen["kind"] not in kinds:
        yield "kind", f"is not {row['kind']}"
        return
    if state not in states:
        yield "holder state", f"is not {row['state']}"
        return
    if state == "held" and waits.holders(seen) != facts.holders(row):
        yield "holder", f"is not {facts.holders(row)}"
    if state != "held" and waits.holders(seen):
        yield "holder", "is none"
    if state in ("ended", "elsewhere") and seen.get("owner") != str(row["owner"]):
        yield "owner", f"is not {row['owner']}"
    if state == "anonymous" and row["state"] == "anonymous" and seen.get("readers") != row["readers"]:
        yield "readers", f"are not {row['readers']}"
    if seen["kind"] != row["kind"] or "address" not in row:
        return
    resource = seen["resource"]
    if musl and seen["kind"] == "barrier" and "address" not in resource:
        return  # its waiters stand on a word of another thread's stack
    if int(resource.get("address", "0"), 16) != int(row["address"], 16):
        yield "address", f"is not {row['address']}"
    elif data_names and resource.get("name") != row["name"]:
        yield "name", f"is not {row['name']}"
    if row["kind"] == "rwlock" and seen.get("to") != ("write" if row["exclusive"] else "read"):
        yield "purpose", "is wrong"


def check(facts, waits, variant, registers=True):
    """registers: all of each thread are known, not only those of its call."""
    found = differences(facts, waits, data_names="strip" != variant.after, call_names=variant.names,
                        musl=variant.name.startswith("musl"), registers=registers)
    assert not found, "\n".join(found[:20])


def truth_path(core):
    return str(core.path)[: -len(".core")] + ".truth.json"


@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_cores(case, core, stackgroup):
    check(Facts(truth_path(core)), read_waits(core.path), case[1])


STANDARD = {
    ("waits", "gxx-O2"): {"std::mutex": ("mutex", "held"), "std::shared_mutex": ("rwlock", "held"), "virtual": ("mutex", "held"),
                          "std::condition_variable": ("cond", "none"), "std::thread::join": ("join", "held"),
                          "std::future": ("futex", "none")},
    ("waits", "gxx-static"): {"std::mutex": ("mutex", "held"), "std::shared_mutex": ("rwlock", "held"),
                              "std::condition_variable": ("cond", "none"), "std::thread::join": ("join", "held")},
    ("waits", "gxx-stripped"): {"std::mutex": ("mutex", "held"), "std::shared_mutex": ("rwlock", "held"),
                                "std::condition_variable": ("cond", "none"), "std::thread::join": ("join", "held")},
    ("rust", "rust-v0"): {"Mutex": ("mutex", "unknown"), "Condvar": ("cond", "none"), "park": ("futex", "none"),
                          "channel": ("futex", "none"), "sleep": ("sleep", "none")},
    ("rust", "rust-legacy"): {"Mutex": ("mutex", "unknown"), "Condvar": ("cond", "none"), "park": ("futex", "none")},
    ("rust", "rust-nodebug"): {"Mutex": ("mutex", "unknown"), "Condvar": ("cond", "none"), "park": ("futex", "none")},
    ("rust", "rust-stripped"): {"Mutex": ("futex", "unknown"), "Condvar": ("futex", "unknown")},
}


@pytest.mark.parametrize("program,variant", STANDARD, ids="-".join)
def test_standard_libraries(program, variant, stackgroup):
    """C++'s are pthread's objects underneath, held by the main thread; Rust's keep no owner."""
    row = cores.PROGRAMS[program]
    core = make_or_skip((row, next(each for each in row.variants if each.name == variant), "any"))
    waits = read_waits(core.path)
    for group in core.truth["groups"]:
        wanted = STANDARD[program, variant].get(group["name"])
        for tid in group["tids"] if wanted else ():
            seen = waits.by_thread[tid]
            assert (seen["kind"], seen["holder_state"]) == wanted, group["name"]
            if wanted[1] == "held" and wanted[0] != "join":
                assert waits.holders(seen) == [core.truth["tid"]]


def test_owners_as_gdb_reads_them(stackgroup):
    core = make_or_skip((CYCLES, VARIANTS[0], "any"))
    facts, waits = Facts(truth_path(core)), read_waits(core.path)
    names = sorted({row["name"].split("+")[0] for row in facts.rows})
    command = [cores.compiler("gdb"), "-nx", "-batch", "-iex", "set debuginfod enabled off", core.executable, "-c", core.path]
    for name in names:
        command += ["-ex", f"printf \"owner {name} %d\\n\", {name}{'.lock' if name == 'ring_third' else ''}.__data.__owner"]
    output = oracles.run(command).stdout
    owners = dict(line.split()[1:] for line in output.splitlines() if line.startswith("owner "))
    held = [row for row in waits.by_thread.values() if "holder" in row]
    seen = {row["resource"]["name"].split("+")[0]: row["holder"]["id"] for row in held}
    assert len(owners) == len(names) and seen == owners


# running processes

STOPS = {"all": (), "rolling": ("--rolling",), "none": ("--no-stop",)}


def locks_process(program, variant, tmp_path):
    """The program as a process of its own, and the path of its truth."""
    try:
        built = cores.build(program, variant)
    except cores.Unavailable as error:
        pytest.skip(str(error))
    return built, tmp_path / "truth.json"


LIVE = [(program, variant) for program in (CYCLES, OTHERS, LOADER) for variant in program.variants]


@pytest.mark.parametrize("program,variant", LIVE, ids=lambda value: value.name)
@pytest.mark.parametrize("how", STOPS)
def test_live(program, variant, how, stackgroup, tmp_path):
    built, truth = locks_process(program, variant, tmp_path)
    with cores.waiting(built, truth) as child:
        check(Facts(truth), read_waits(*STOPS[how], "-p", child.pid), variant, registers=how != "none")


@pytest.mark.parametrize("variant", [VARIANTS[0], VARIANTS[4], VARIANTS[5]], ids=lambda value: value.name)
def test_saved_core(variant, stackgroup, tmp_path):
    """What --save keeps of a process tells the same."""
    built, truth = locks_process(OTHERS, variant, tmp_path)
    with cores.waiting(built, truth) as child:
        done = oracles.stackgroup_run(f"--save={tmp_path / 'saved'}", "-p", child.pid)
        assert done.returncode == 0, done.stderr
    check(Facts(truth), read_waits(tmp_path / "saved"), variant)


def test_without_debug_information(stackgroup, tmp_path):
    """libc6-dbg is on few machines: libc's own functions have no names then, only what it exports."""
    core = make_or_skip((OTHERS, VARIANTS[0], "any"))
    (tmp_path / "empty").mkdir()
    facts = Facts(truth_path(core))
    # These two jump on to static functions of libc: there the program is the next one that has a name.
    facts.rows = [row for row in facts.rows if row["kind"] not in ("semaphore", "once")]
    check(facts, read_waits(f"--debug-path={tmp_path / 'empty'}", core.path), VARIANTS[0])
    core = make_or_skip((LOADER, VARIANTS[0], "any"))
    check(Facts(truth_path(core)), read_waits(f"--debug-path={tmp_path / 'empty'}", core.path), VARIANTS[0])


# pid namespaces


def forbid_core():
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


@contextlib.contextmanager
def in_pid_namespace(built, truth, end):
    """The program in a pid namespace of its own. A shell is process 1 there, whom signals do not end, and the only one that lets
    cores be written: unshare ends as its child did, with a core in the same place."""
    command = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", 'ulimit -S -c unlimited; "$@"; exit 0', "sh",
               built.executable, *built.arguments]
    child = subprocess.Popen([str(part) for part in command], cwd=truth.parent, env=cores.child_environment(truth, end),
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             preexec_fn=forbid_core)
    try:
        line = child.stdout.readline()
        if line != "ready\n":
            pytest.skip(f"no pid namespace: {child.stderr.read()}")
        yield child
    finally:
        child.kill()
        child.communicate()


def program_of(child):
    """unshare → sh → the program: its id outside."""
    pid = child.pid
    for _ in range(2):
        pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
    cores.wait_until_main_sleeps(pid)
    return pid


def namespace_ids(pid):
    """The program's own ids of threads → those outside."""
    ids = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        rows = dict(line.split(":", 1) for line in (task / "status").read_text().splitlines())
        ids[int(rows["NSpid"].split()[-1])] = int(task.name)
    return ids


NAMESPACED = [(program, variant) for program in (CYCLES, OTHERS) for variant in (VARIANTS[0], VARIANTS[4], VARIANTS[5])]


@pytest.mark.parametrize("program,variant", NAMESPACED, ids=lambda value: value.name)
def test_live_in_namespace(program, variant, stackgroup, tmp_path):
    built, truth = locks_process(program, variant, tmp_path)
    with in_pid_namespace(built, truth, "wait") as child:
        pid = program_of(child)
        ids = namespace_ids(pid)
        assert ids.keys().isdisjoint(ids.values())
        for how in STOPS:
            check(Facts(truth, ids), read_waits(*STOPS[how], "-p", pid), variant, registers=how != "none")


@pytest.mark.parametrize("program,variant", NAMESPACED, ids=lambda value: value.name)
def test_gcore_from_outside_namespace(program, variant, stackgroup, tmp_path):
    """gdb writes the ids that it sees; the memory has the program's own."""
    built, truth = locks_process(program, variant, tmp_path)
    core = tmp_path / "core"
    with in_pid_namespace(built, truth, "wait") as child:
        pid = program_of(child)
        ids = namespace_ids(pid)
        cores.run([cores.compiler("gdb"), "-nx", "-batch", "-iex", "set debuginfod enabled off", "-p", str(pid),
                   "-ex", f"gcore {core}"], stdin=subprocess.DEVNULL)
    assert core.exists()
    subprocess.run(["fallocate", "--dig-holes", core], stderr=subprocess.DEVNULL)
    check(Facts(truth, ids), read_waits(core), variant)


@pytest.mark.parametrize("program,variant", NAMESPACED, ids=lambda value: value.name)
def test_kernel_core_in_namespace(program, variant, stackgroup, tmp_path):
    reason = cores.kernel_writes_plain_cores()
    if reason:
        pytest.skip(reason)
    built, truth = locks_process(program, variant, tmp_path)
    with in_pid_namespace(built, truth, "abort") as child:
        child.wait(cores.RUN_SECONDS)
    found = [path for path in tmp_path.iterdir() if path.name.startswith("core")]
    assert found, "the kernel wrote no core"
    check(Facts(truth), read_waits(found[0]), variant)
