# SPDX-License-Identifier: Apache-2.0
"""Text as input: the same moment in all forms that Go prints, where the text comes from, and what is refused."""

import collections
import gzip
import json
import re
import subprocess

import pytest

import cores
import oracles
import text_dumps

NO_RESULT = 3


@pytest.fixture(scope="module")
def dumps(tmp_path_factory, stackgroup):
    try:
        return text_dumps.goroutine_waits(tmp_path_factory.mktemp("goroutine-waits"))
    except cores.Unavailable as error:
        pytest.skip(str(error))


def functions(group):
    return [frame["function"] for frame in group["frames"] if "function" in frame]


def stacks_of(path, *without):
    """Fingerprint: members, of the groups that none of the functions stands in."""
    document = oracles.stackgroup_json(path)
    counts = collections.Counter()
    for group in document["profiles"][0]["groups"]:
        if not set(without) & set(functions(group)):
            counts[group["fingerprint"]] += group["count"]
    assert counts
    return counts


def test_same_from_debug1_and_debug2(dumps):
    """All but the goroutine that prints. Labels part groups in debug=1 alone, before Go 1.27."""
    assert stacks_of(dumps / "debug1.txt", "main.main") == stacks_of(dumps / "debug2.txt", "main.main")


def test_same_from_debug2_and_quit(dumps):
    """What `go read(connection)` compiles to is shown beside the runtime's frames, named as a closure before Go 1.22."""
    without = ("main.main", "main.read")
    assert stacks_of(dumps / "debug2.txt", *without) == stacks_of(dumps / "quit.txt", *without)


def test_groups_of_debug2(dumps):
    """Equal to debug=1's, whose counts Go itself made, where labels do not part them."""
    def counts(name):
        groups = oracles.stackgroup_json(dumps / name)["profiles"][0]["groups"]
        return sorted(group["count"] for group in groups if "main.receive" not in functions(group))

    assert counts("debug1.txt") == counts("debug2.txt")
    total = {oracles.stackgroup_json(dumps / name)["profiles"][0]["total"]
             for name in ("debug1.txt", "debug2.txt", "quit.txt")}
    claimed = int(re.match(r"goroutine profile: total (\d+)", (dumps / "debug1.txt").read_text()).group(1))
    assert total == {claimed}


def test_labels_are_of_the_key(dumps):
    groups = [group for group in oracles.stackgroup_json(dumps / "debug1.txt")["profiles"][0]["groups"]
              if "main.receive" in functions(group)]
    labels = {group["count"]: group.get("labels") for group in groups}
    assert labels[20] is None
    assert set(labels[4]) == {"request", "tenant"} and labels[4]["tenant"] == "x"


def test_round_trip(dumps):
    for name in ("debug1.txt", "heap1.txt"):
        done = oracles.stackgroup_run("--by=pc", dumps / name)
        wanted = text_dumps.groups_of((dumps / name).read_text())
        found = text_dumps.groups_of(done.stdout)
        if name == "debug1.txt":
            assert found == wanted
        else:  # records of one stack and several sizes become one site
            assert {tuple(group[1:]) for group in found} == {tuple(group[1:]) for group in wanted}


def test_pprof_reads_all(dumps, tmp_path):
    for name in ("debug1.txt", "debug2.txt", "quit.txt", "heap1.txt"):
        target = tmp_path / name
        assert oracles.stackgroup_run(dumps / name, "-o", target).returncode == 0
        raw = oracles.pprof_raw(target)
        if name != "heap1.txt":
            assert oracles.pprof_total(raw) == oracles.stackgroup_json(dumps / name)["profiles"][0]["total"]


# What each place waits for: members by kind, and whether one thing's address is known in debug=2.
WAITS = {
    "main.lockMutex": ("mutex", 12), "main.lockInner": ("mutex", 5), "main.lockRead": ("rwlock", 7),
    "main.lockWrite": ("rwlock", 1), "main.waitGroup": ("waitgroup", 3), "main.waitCondition": ("cond", 4),
    "main.receive": ("channel-receive", 24), "main.receiveNil": ("channel-receive", 2), "main.send": ("channel-send", 6),
    "main.choose": ("select", 8), "main.chooseNothing": ("select", 1), "main.sleep": ("sleep", 9), "main.read": ("socket", 3),
}


@pytest.mark.parametrize("name", ["debug2.txt", "quit.txt"])
def test_waits(name, dumps):
    found = collections.Counter()
    addresses = collections.defaultdict(set)
    for group in oracles.stackgroup_json(dumps / name)["profiles"][0]["groups"]:
        for row in group.get("waits", []):
            for function in set(functions(group)) & set(WAITS):
                found[function, row["kind"]] += row["members"]
                addresses[function].add(row.get("resource", {}).get("address"))
    assert found == {(function, kind): count for function, (kind, count) in WAITS.items()}
    for function in ("main.lockMutex", "main.lockInner"):
        assert len(addresses[function]) == 1 and None not in addresses[function], (function, addresses[function])
    assert addresses["main.lockMutex"] != addresses["main.lockInner"]
    # Of others Go can print "RWMutex.Lock(0x0?)" or "RLock(...)": unknown is said, not guessed.
    for function in ("main.lockRead", "main.lockWrite", "main.waitGroup", "main.waitCondition"):
        assert len(addresses[function]) == 1, (function, addresses[function])
    assert addresses["main.lockRead"] == {None}


def test_once(dumps):
    """One runs it, the other waits for the Once, not for the mutex in it."""
    kinds = collections.Counter()
    for group in oracles.stackgroup_json(dumps / "debug2.txt")["profiles"][0]["groups"]:
        if "main.runOnce" in functions(group):
            kinds.update(row["kind"] for row in group["waits"])
    assert kinds == {"once": 1, "channel-receive": 1}


def test_by_function(dumps):
    """Coarser than by pc, and never apart."""
    def groups(*arguments):
        return len(oracles.stackgroup_json(dumps / "debug2.txt", *arguments)["profiles"][0]["groups"])

    assert groups("--by=function") <= groups("--by=line") <= groups("--by=pc") == groups()


# Where the text comes from


def run_with_input(data, *arguments):
    return subprocess.run([oracles.stackgroup_path(), *arguments], input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=60, env=oracles.environment())


TRACE = b"goroutine 1 [select]:\nmain.main()\n\t/m.go:9 +0x2\n"


def test_standard_input_and_pipes(tmp_path, stackgroup):
    plain = tmp_path / "dump.txt"
    plain.write_bytes(TRACE)
    wanted = text_dumps.groups_of(oracles.stackgroup_run(plain).stdout)
    assert wanted
    assert text_dumps.groups_of(run_with_input(TRACE, "-").stdout.decode()) == wanted
    done = subprocess.run(["bash", "-c", f'"{oracles.stackgroup_path()}" <(sleep 0.2; cat "{plain}")'], stdout=subprocess.PIPE,
                          timeout=60, env=oracles.environment())
    assert text_dumps.groups_of(done.stdout.decode()) == wanted


def test_large_pipe(stackgroup):
    """Several times the pipe's buffer, and more than the first allocation."""
    count = 40000
    data = b"\n".join(TRACE.replace(b"goroutine 1 ", b"goroutine %d " % number) for number in range(1, count + 1))
    assert len(data) > 2 << 20
    done = run_with_input(data, "--format=json", "-")
    profile = json.loads(done.stdout)["profiles"][0]
    assert [group["count"] for group in profile["groups"]] == [count]


def test_cut_is_told(tmp_path, stackgroup):
    path = tmp_path / "cut.txt"
    path.write_bytes(TRACE + b"\ngoroutine 2 [select]:\nmain.f(0xc000")
    done = oracles.stackgroup_run(path)
    assert done.returncode == 4 and "[dump-cut]" in done.stdout


def test_second_dump_is_told(tmp_path, stackgroup):
    path = tmp_path / "twice.txt"
    path.write_bytes(TRACE + b"\n" + TRACE)
    document = oracles.stackgroup_json(path)
    assert document["profiles"][0]["total"] == 1
    assert "goroutines-twice" in {row["code"] for row in document["diagnostics"]}


def test_panic(tmp_path, stackgroup):
    path = tmp_path / "panic.txt"
    path.write_text("panic: runtime error: invalid memory address or nil pointer dereference\n"
                    "[signal SIGSEGV: segmentation violation code=0x1 addr=0x18 pc=0x48a3c5]\n\n"
                    "goroutine 5 [running]:\nmain.f(0x0)\n\t/m.go:3 +0x5\ncreated by main.main\n\t/m.go:9 +0x2\n\n"
                    "goroutine 1 [select]:\nmain.main()\n\t/m.go:9 +0x2\nexit status 2\n")
    document = oracles.stackgroup_json(path)
    assert document["source"]["signal"] == {"number": 11, "name": "SIGSEGV", "code": 1, "code_name": "SEGV_MAPERR",
                                            "address": "0x18", "tid": "5"}
    first = document["profiles"][0]["groups"][0]
    assert first["signalled"] and functions(first) == ["main.f"]
    assert any("nil pointer" in row["message"] for row in document["diagnostics"])


# What is refused


@pytest.mark.parametrize("content,says", [
    (b"", "empty"),
    (b"hello\n", 'at offset 0 "hello'),
    (bytes(100), "\\x00"),
    (gzip.compress(b"profile"), "gzip"),
    (b"\x28\xb5\x2f\xfd....", "zstd"),
    ("goroutine 1 [running]:\n".encode("utf-16"), "UTF-16"),
    (b"threadcreate profile: total 7\n7 @ 0x1\n", "threadcreate"),
], ids=lambda value: value[:12] if isinstance(value, str) else "")
def test_refused(content, says, tmp_path, stackgroup):
    path = tmp_path / "input"
    path.write_bytes(content)
    for done in (oracles.stackgroup_run(path), run_with_input(content, "-")):
        errors = done.stderr if isinstance(done.stderr, str) else done.stderr.decode()
        assert done.returncode == NO_RESULT and len(errors.splitlines()) == 1, errors
        assert says in errors, errors
    assert path.name in oracles.stackgroup_run(path).stderr


def test_core_from_a_pipe_is_refused(parked_core, stackgroup):
    done = run_with_input(parked_core.path.read_bytes()[:1 << 16], "-")
    assert done.returncode == NO_RESULT and b"name a file" in done.stderr


def test_own_text_is_read_back(parked_core, tmp_path, stackgroup):
    """Native stacks as stackgroup wrote them: same groups, members, states and fingerprints."""
    first, second = tmp_path / "first.txt", tmp_path / "second.txt"
    for source, target in ((parked_core.path, first), (first, second)):
        assert oracles.stackgroup_run("--members", source, "-o", target).returncode in (0, 4)

    def lines(path):
        return [line for line in path.read_text().splitlines()
                if re.match(r"\d+ @|#\t|# (state|members|end|fingerprint|trust|waits|labels)", line)]

    assert lines(first) == lines(second)


def many_members(lines):
    """A group of 50,000 listed members, with these lines."""
    ids = (" ".join(map(str, range(first + 1, first + 21))) for first in range(0, 50_000, 20))
    return "\n".join(("thread profile: total 50000", "50000 @ 0x2", "#\t0x1\twait+0x0\t/a.c:1",
                      *(f"# members: {row}" for row in ids), *lines, ""))


@pytest.mark.parametrize("text, says", [
    ("goroutine profile: total 1\n1 @" + " 0x1" * 200_000 + "\n"
     + "".join(f"#\t0x{16 + i % 2:x}\tmain.f+0x1\t/a.go:1\n" for i in range(200_000)), "frames-unattached"),
    (many_members(f"# waits: 1 on mutex 0x{4096 + 8 * i:x}, held by thread {(i + 1) % 50_000 + 1} (read): {i + 1}"
                  for i in range(50_000)), "wait for each other"),
    (many_members(f"# waits: 50000 on mutex 0x{4096 + 8 * i:x}, held by thread {i + 1} (read)" for i in range(50_000)),
     "waits-lost"),
    ("".join(f"goroutine {i + 1} [chan receive, 5 minutes]:\nmain.f{i}(0x{i:x})\n\t/a.go:1 +0x1\n\n" for i in range(50_000)),
     "50000 groups"),
], ids=["unattached", "a wait each", "all wait for all", "a place each"])
def test_time_and_memory_grow_with_the_text(text, says, tmp_path, stackgroup):
    """Texts of a few MB that once took minutes, or all memory."""
    path = tmp_path / "dump.txt"
    path.write_text(text)
    done = oracles.stackgroup_run("--top=1", path, seconds=60)
    assert done.returncode == 0, done.stderr
    assert says in done.stdout, done.stdout[:3000]


@pytest.mark.parametrize("text", [
    "# lost: words [" + "x" * 70_000 + "]\nthread profile: total 1\n1 @ 0x2\n",
    "# process: /x, pid 1, arguments: " + "x" * 70_000 + "\nthread profile: total 1\n1 @ 0x2\n",
    "# note: " + "x" * 70_000 + " [y]\nthread profile: total 1\n1 @ 0x2\n",
    "thread profile: total 1\n1 @ 0x2\n#\t0x1\t" + "x" * 70_000 + "+0x0\t/a.c:1\n# state: " + "x" * 70_000 + "\n",
    "heap profile: 1: 1 [1: 1] @ heap/1" + "x" * 70_000 + "\n1: 1 [1: 1] @ 0x1\n",
    "panic: " + "x" * 70_000 + "\n\ngoroutine 1 [" + "x" * 70_000 + "]:\n" + "x" * 70_000 + ".f()\n\t/a.go:1 +0x1\n",
], ids=["code", "arguments", "note", "frame", "unit", "goroutine"])
def test_long_words_make_no_lines_that_end_pprof(text, tmp_path, stackgroup):
    path = tmp_path / "dump.txt"
    path.write_text(text)
    done = oracles.stackgroup_run("--members", path)
    assert done.returncode in (0, 4), done.stderr
    assert max(map(len, done.stdout.splitlines())) < 1 << 16
