# SPDX-License-Identifier: Apache-2.0
"""--format=debug2 against what the runtime itself printed of the same moment: whole goroutines, to the byte, with arguments,
minutes and creators; labels of goroutines; --goroutines, --threads, --system."""

import itertools
import os
import re
import subprocess
import tempfile

import cores
import go_cores
import go_dumps
import oracles
import pytest

# These moved between the print and the core.
MOVING = re.compile(r"^main\.main\(", re.MULTILINE)
ARGUMENTS = re.compile(r"^([^\t].*)\((.*)\)$", re.MULTILINE)


def blocks(text):
    """id: its whole text, in the order in which they stand; of several, as each thread in a crash prints its own, the last."""
    found = {}
    for block in re.split(r"\n\n|\n-----\n", text.strip("\n")):
        if match := re.match(r"goroutine (\d+) ", block):
            found[int(match[1])] = "\n".join(itertools.takewhile(lambda line: not go_dumps.REGISTER.match(line), block.split("\n")))
    return found


def debug2(path, *arguments, returncode=0):
    done = oracles.stackgroup_run("--format=debug2", "--no-rules", *arguments, path)
    assert done.returncode == returncode, done.stderr
    return done.stdout


@pytest.fixture(scope="module", params=["plain", "stripped", "pie", "unoptimised", "cgo"])
def printed(request, stackgroup):
    """The core of a program that printed runtime.Stack(all) itself: GOTRACEBACK is not set, by which that would hold more."""
    try:
        executable = go_cores.build("printed", go_cores.VARIANTS[request.param])
        reason = cores.kernel_writes_plain_cores()
        if reason:
            raise cores.Unavailable(reason)
        with tempfile.TemporaryDirectory(dir=executable.parent) as folder:
            done = subprocess.run([executable, folder], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE, text=True, errors="surrogateescape", env=oracles.environment(GOMAXPROCS="4"),
                                  preexec_fn=cores.allow_core, timeout=go_cores.RUN_SECONDS)
            assert done.returncode < 0, f"{executable} did not die of a signal: exit {done.returncode}"
            stacks = done.stderr.partition("STACKS\n")[2].partition("\nEND\n")[0]
            core = os.path.join(folder, "printed.core")
            go_cores.take_core(folder, core)
            with open(os.path.join(folder, "debug1.txt"), encoding="utf-8") as file:
                yield core, stacks, file.read()
    except cores.Unavailable as error:
        pytest.skip(str(error))


def test_every_goroutine(printed):
    core, stacks, _ = printed
    ours, theirs = blocks(debug2(core)), blocks(stacks)
    assert len(theirs) >= 110
    assert list(ours) == list(theirs), "not the same goroutines in the same order"
    for number, block in theirs.items():
        if not MOVING.search(block):
            assert ours[number] == block
    # The program shows what it should.
    for part in ("0x8000000000000000", ", ...", "_", "?)", "{0x", "{}", "{...}", "[...](", "panic(", " minutes", ", locked to thread"):
        assert part in stacks, part


def test_limit_of_frames(printed):
    """The program's stacks are around the limit: some end in the runtime's mark, where inlined calls make it so many."""
    core, stacks, _ = printed
    assert debug2(core).count(" frames elided...") == stacks.count(" frames elided...")
    if any(block.count("(...)") > 40 for block in blocks(stacks).values()):
        assert " frames elided..." in stacks


def test_head(printed):
    """What Go does not print stands in "#" lines."""
    head = debug2(printed[0]).split("\n\n")[0].split("\n")
    assert all(line.startswith("# ") for line in head)
    assert any(line.startswith("# goroutines: ") for line in head)


def test_labels(printed):
    """The labels of Go's own profile, line by line; nonsense in their place is none, and loses nothing else."""
    core, _, profile = printed
    text = oracles.stackgroup_run("--no-rules", "--goroutines", core).stdout
    ours, theirs = go_dumps.profile_groups(text), go_dumps.profile_groups(profile)

    def labels(groups):
        return [(group[0], line) for group in groups for line in group
                if line.startswith("# labels: ") and "main.nonsense" not in "".join(group)]

    assert len(labels(theirs)) >= 8
    assert labels(ours) == labels(theirs)
    nonsense = [group for group in ours if "main.nonsense" in "".join(group)]
    assert sum(int(group[0].split()[0]) for group in nonsense) == 3


def test_filters(printed):
    """What groups hide is not printed."""
    ours = blocks(debug2(printed[0], "--filter=main.integers"))
    assert sum("main.integers(" in block for block in ours.values()) == 2


def test_read_back(printed, tmp_path):
    """Its own output is a dump like another: the same goroutines, but for arguments, which the form has no use for there."""
    core, stacks, _ = printed
    path = tmp_path / "dump.txt"
    path.write_text(debug2(core), errors="surrogateescape")
    again = blocks(debug2(path))
    for number, block in blocks(stacks).items():
        if not MOVING.search(block) and "elided..." not in block:
            assert ARGUMENTS.sub(r"\1(...)", again[number]) == ARGUMENTS.sub(r"\1(...)", block)


def test_system(printed):
    core = printed[0]
    text = debug2(core, "--system")
    more = set(blocks(text)) - set(blocks(debug2(core)))
    assert len(more) >= 4
    # Of those the runtime hides nothing, as there is nothing else; but that one of them may be in runtime.Gosched, which is shown.
    assert all(re.search(r"^runtime\.(goexit|Gosched)\(", blocks(text)[number], re.MULTILINE) for number in more)
    assert "runtime.gcBgMarkWorker" in text or "runtime.bgsweep" in text


def test_profiles(printed):
    core = printed[0]
    both = oracles.stackgroup_json(core, "--no-rules")
    kinds = [profile["kind"] for profile in both["profiles"]]
    assert kinds == ["goroutine", "thread"]
    for option, kind in (("--goroutines", "goroutine"), ("--threads", "thread")):
        document = oracles.stackgroup_json(core, "--no-rules", option)
        assert [profile["kind"] for profile in document["profiles"]] == [kind]
    assert re.fullmatch(r"go1\.\d+(\.\d+)?\S*", both["source"]["go_version"])


def test_refusals(printed, tmp_path):
    core, _, profile = printed
    done = oracles.stackgroup_run("--format=debug2", "--threads", core)
    assert done.returncode == 2 and "goroutines" in done.stderr and not done.stdout
    counts = tmp_path / "debug1.txt"
    counts.write_text(profile)
    done = oracles.stackgroup_run("--format=debug2", counts)
    assert done.returncode == 2 and "one by one" in done.stderr
    done = oracles.stackgroup_run("--threads", counts)
    assert done.returncode == 3 and "it has no threads" in done.stderr
    assert oracles.stackgroup_run("--goroutines", "--threads", core).returncode == 2


def test_no_go_program(tmp_path, stackgroup):
    dump = tmp_path / "threads.txt"
    dump.write_text("thread profile: total 1\n1 @ 0x401000\n#\t0x400fff\tmain+0xf\t/src/a.c:1\n\n")
    done = oracles.stackgroup_run("--goroutines", dump)
    assert done.returncode == 3 and "no goroutines" in done.stderr


# foreign programs


def shown(block):
    """A goroutine of a crash dump, which has all calls, as debug=2 shows it: without the runtime's own calls and registers."""
    head, *lines = re.sub(r" fp=0x\S+ sp=0x\S+ pc=0x\S+$", "", block, flags=re.MULTILINE).split("\n")
    calls, tail = [], []
    for call, place in zip(lines[::2], lines[1::2]):
        if call.startswith("created by "):
            tail = [] if call.startswith("created by runtime.") else [call, place]
        elif not call.startswith("runtime.") and (calls or not call.startswith("panic(")):
            calls.append((call, place))
    head = re.sub(r" gp=\S+ m=\S+(?: mp=\S+)?", "", head)
    return [head, *(line for call in calls for line in call), *tail]


@pytest.mark.parametrize("foreign", go_cores.FOREIGN, ids=lambda foreign: foreign.go)
def test_foreign_program(foreign, tmp_path, stackgroup):
    if not foreign.usual and os.environ.get("STACKGROUP_FOREIGN") != "all":
        pytest.skip("not among the few that run by default; STACKGROUP_FOREIGN=all runs it")
    try:
        core = go_cores.foreign_core(foreign, tmp_path)
    except cores.Unavailable as error:
        pytest.skip(str(error))
    ours, theirs = blocks(debug2(core.path)), blocks(core.dump)
    equal = 0
    for number, block in ours.items():
        lines, wanted = block.split("\n"), shown(theirs[number])
        if "[running" in wanted[0] or "[runnable" in wanted[0]:
            continue
        # The compiler's wrappers stand in crash dumps alone.
        while len(wanted) > len(lines) and lines != wanted:
            at = next((i for i, line in enumerate(wanted) if i >= len(lines) or lines[i] != line), len(wanted))
            name, _ = go_dumps.without_arguments(wanted[at])
            assert wanted[at + 1].startswith("\t<autogenerated>:1") or go_dumps.WRAPPER.search(name), (wanted, lines)
            del wanted[at:at + 2]
        assert lines == wanted
        equal += 1
    assert equal >= 3
