# SPDX-License-Identifier: Apache-2.0
"""`stackgroup -p PID` of a Go process: its goroutines are those that it prints itself, whether it is stopped at one instant, thread by
thread or not at all; from a saved core too; under load every stack is whole or counted, and the process runs on."""

import json
import os
import re
import shutil
import subprocess
import time
from collections import Counter

import pytest

import oracles
from test_live import read_line, runs, settle, started

# What a build changes of what there is to read: symbols and debug info, where the program lies, who makes its threads.
BUILDS = {
    "plain": ((), "0"),
    "stripped": (("-ldflags=-s -w",), "0"),
    "pie": (("-buildmode=pie",), "0"),
    "cgo": ((), "1"),
}
KINDS = {"all-stop": (), "rolling": ("--rolling",), "no-stop": ("--no-stop",)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("live_go")


def program(folder, build="plain"):
    if not shutil.which("go"):
        pytest.skip("no go")
    flags, cgo = BUILDS[build]
    path = folder / f"live_go-{build}"
    if not path.exists():
        subprocess.run(["go", "build", "-o", path, *flags, oracles.ROOT / "tests" / "live_go.go"], check=True, timeout=300,
                       env={**os.environ, "GO111MODULE": "off", "GOFLAGS": "", "CGO_ENABLED": cgo})
    return path


def look(pid, *arguments, codes=(0,)):
    done = oracles.stackgroup_run("--lines=on", "-p", pid, *arguments, seconds=60)
    assert done.returncode in codes, (done.returncode, done.stderr, done.stdout[:1000])
    assert "Sanitizer" not in done.stderr
    return done.stdout


def look_json(pid, *arguments, codes=(0,)):
    return json.loads(look(pid, "--format=json", "--members", *arguments, codes=codes))


def goroutine_groups(text):
    """Of a goroutine profile as text, ours or Go's: "COUNT @ PCS" and the lines of frames, bytes as they stand, in order."""
    groups = []
    for line in text.partition("goroutine profile: ")[2].partition("\n---")[0].splitlines():
        if re.match(r"\d+ @", line):
            groups.append([line])
        elif groups and re.match("#\t|# labels: ", line):
            groups[-1].append(line)
    return groups


def of_shapes(groups):
    """Without those that moved between two looks: main, which writes the dump, and what it started for that."""
    return [group for group in groups if not any(re.search(r"\tmain\.main\+|runtime/pprof", line) for line in group)]


def as_deep_as_go(groups):
    """Its profiles end at 32 frames (128 since 1.23)."""
    return [group for group in groups if group[0].count(" 0x") < 32]


def own_dump(child, path):
    child.stdin.write(b"\n")
    read_line(child, "written")
    return path.read_text()


# The ways to stop are told apart with the plain build.
@pytest.mark.parametrize("build, kind", [(build, kind) for build in BUILDS for kind in KINDS if build == "plain" or kind == "all-stop"])
def test_equals_its_own_dump(build, kind, stackgroup, folder, tmp_path):
    dump = tmp_path / "dump"
    with started([program(folder, build), "parked", dump]) as child:
        settle(child.pid)
        ours = look(child.pid, *KINDS[kind])
        assert runs(child.pid)
        theirs = own_dump(child, dump)
    wanted = as_deep_as_go(of_shapes(goroutine_groups(theirs)))
    assert as_deep_as_go(of_shapes(goroutine_groups(ours))) == wanted and len(wanted) > 30
    # gopark, chanrecv, chanrecv1, receive, nested, goexit
    assert [group[0].count(" 0x") for group in goroutine_groups(ours) if group[0].count(" 0x") >= 32] == [4 + 2001 + 1]


def test_waits_are_read(stackgroup, folder, tmp_path):
    """The words behind the stacks: one channel of the right size, one mutex, one rwlock with all that wait for them."""
    with started([program(folder), "parked", tmp_path / "dump"]) as child:
        settle(child.pid)
        document = look_json(child.pid)
    waits = Counter()
    for group in document["profiles"][0]["groups"]:
        for row in group.get("waits", []):
            waits[row["kind"], row["resource"].get("address")] += row["members"]
    by_kind = Counter()
    for (kind, address), count in waits.items():
        if address is not None:
            by_kind[kind] = max(by_kind[kind], count)
    assert by_kind["mutex"] == 4 and by_kind["channel-send"] == 2 and by_kind["waitgroup"] == 7
    assert by_kind["rwlock"] == 5 + 6


def test_saved_core_has_the_same_goroutines(stackgroup, folder, tmp_path):
    core = tmp_path / "core"
    with started([program(folder), "parked", tmp_path / "dump"]) as child:
        settle(child.pid)
        live = look(child.pid, "--save", core)
        assert re.match(r"# stopped [\d.]+ ms for \d+ goroutines\n", look(child.pid, "--goroutines"))
    saved = oracles.stackgroup_run("--lines=on", core)
    assert saved.returncode == 0, saved.stderr

    def goroutines(text):
        return text.partition("goroutine profile: ")[2].partition("\n---")[0]

    assert goroutines(live) == goroutines(saved.stdout) and len(goroutine_groups(live)) > 20
    total = int(re.search(r"^goroutine profile: total (\d+)$", live, re.MULTILINE)[1])
    assert re.match(rf"# stopped [\d.]+ ms for \d+ threads and {total} goroutines\n", live), live[:200]
    assert "cannot" not in saved.stdout.partition("goroutine profile: ")[0]


LIBRARY = r"""
package main

import "C"

//export Start
func Start() {
	for i := 0; i < 5; i++ {
		go func() { select {} }()
	}
}

func main() {}
"""

HOST = r"""
#include <stdio.h>
#include <unistd.h>
void Start(void);
int main(void)
{
    Start();
    sleep(1);
    puts("ready");
    fflush(stdout);
    getchar();
}
"""


def build_with_cgo(tmp_path, name, source, *flags):
    if not shutil.which("go") or not shutil.which("gcc"):
        pytest.skip("no go, or no gcc")
    (tmp_path / f"{name}.go").write_text(source)
    subprocess.run(["go", "build", *flags, "-o", tmp_path / name, tmp_path / f"{name}.go"], check=True, timeout=300,
                   env={**os.environ, "GO111MODULE": "off", "GOFLAGS": "", "CGO_ENABLED": "1"})
    return tmp_path / name


def test_runtime_in_a_library(stackgroup, tmp_path):
    """A C program whose library is Go's: the linker of C has put the tables into sections of its own."""
    build_with_cgo(tmp_path, "liblibrary.so", LIBRARY, "-buildmode=c-shared")
    (tmp_path / "host.c").write_text(HOST)
    subprocess.run(["gcc", tmp_path / "host.c", "-o", tmp_path / "host", tmp_path / "liblibrary.so"], check=True, timeout=60)
    core = tmp_path / "core"
    with started([tmp_path / "host"]) as child:
        document = look_json(child.pid, "--save", core)
    for found in (document, oracles.stackgroup_json(core)):
        profile = found["profiles"][0]
        assert profile["kind"] == "goroutine" and profile["total"] == 5
        assert [group["frames"][-2]["function"] for group in profile["groups"]] == ["main.Start.func1"]


LOADER = r"""
package main

// #cgo LDFLAGS: -ldl
// #include <dlfcn.h>
// static void start(char *path) { ((void (*)(void))dlsym(dlopen(path, RTLD_NOW), "Start"))(); }
import "C"

import (
	"fmt"
	"os"
	"time"
)

func main() {
	for _, path := range os.Args[1:] {
		C.start(C.CString(path))
	}
	for i := 0; i < 3; i++ {
		go func() { <-make(chan int) }()
	}
	time.Sleep(time.Second / 2)
	fmt.Println("ready")
	select {}
}
"""


def test_several_runtimes(stackgroup, tmp_path):
    """A Go program that loads two libraries with runtimes of their own, one stripped: three lists of goroutines, of which each has
    its first. They are told apart, live and from the saved core."""
    loader = build_with_cgo(tmp_path, "loader", LOADER)
    first = build_with_cgo(tmp_path, "first.so", LIBRARY, "-buildmode=c-shared")
    second = build_with_cgo(tmp_path, "second.so", LIBRARY.replace("i < 5", "i < 7"), "-buildmode=c-shared", "-ldflags=-s -w")
    saved = tmp_path / "saved"
    with started([loader, first, second]) as child:
        documents = [look_json(child.pid, "--save", saved)]
        text = look(child.pid)
        stacks = look(child.pid, "--format=debug2")
    documents.append(oracles.stackgroup_json("--members", saved))
    wanted = {str(loader): ("main.main.func1", 3), str(first): ("main.Start.func1", 5), str(second): ("main.Start.func1", 7)}
    for document in documents:
        profiles = {profile["go_module"]: profile for profile in document["profiles"] if profile["kind"] == "goroutine"}
        assert set(profiles) == set(wanted) and document["profiles"][-1]["kind"] == "thread"
        assert not document["diagnostics"]
        for module, (function, count) in wanted.items():
            profile = profiles[module]
            assert profile["total"] == count + (module == str(loader)) and profile["go_version"].startswith("go1.")
            assert max(group["count"] for group in profile["groups"] if group["frames"][-2].get("function") == function) == count
            assert all(group["end"]["reason"] == "outermost" for group in profile["groups"])
    for module, (_, count) in wanted.items():
        count += module == str(loader)
        assert f"\ngoroutine profile: total {count}\n# goroutines of {module}: {count} in" in text
        assert f"# goroutines of {module}: {count} in" in stacks
    assert stacks.count("\nmain.Start.func1()\n") == 12 and stacks.count("\nmain.main.func1()\n") == 3
    assert len(re.findall(r"^goroutine 1 \[", stacks, re.MULTILINE)) == 1, "goroutine 1 of a library has ended"
    (tmp_path / "text").write_text(text)
    assert oracles.pprof_total(oracles.pprof_raw(tmp_path / "text")) in (4, 5, 7), "pprof reads one of them"


PLUGIN = r"""
package main

func Start(never chan int) {
	for i := 0; i < 4; i++ {
		go func() { <-never }()
	}
}
"""

PLUGIN_HOST = r"""
package main

import (
	"fmt"
	"os"
	"plugin"
	"time"
)

func main() {
	opened, err := plugin.Open(os.Args[1])
	if err != nil {
		panic(err)
	}
	start, err := opened.Lookup("Start")
	if err != nil {
		panic(err)
	}
	start.(func(chan int))(make(chan int))
	time.Sleep(time.Second / 2)
	fmt.Println("ready")
	select {}
}
"""


def test_plugin(stackgroup, tmp_path):
    """One runtime, two sets of tables: stacks of the plugin's goroutines are whole, in cores too."""
    host = build_with_cgo(tmp_path, "host", PLUGIN_HOST)
    plugin = build_with_cgo(tmp_path, "plugin.so", PLUGIN, "-buildmode=plugin")
    core = tmp_path / "core"
    with started([host, plugin]) as child:
        documents = [look_json(child.pid, "--save", core)]
    documents.append(oracles.stackgroup_json("--members", core))
    for document in documents:
        goroutines = document["profiles"][0]
        assert [profile["kind"] for profile in document["profiles"]] == ["goroutine", "thread"]
        assert goroutines["total"] == 5 and not document["diagnostics"]
        group, = [group for group in goroutines["groups"] if group["count"] == 4]
        functions = [frame["function"] for frame in group["frames"]]
        assert functions[-1] == "runtime.goexit" and functions[-2].endswith(".Start.func1") and functions[-2].startswith("plugin/")


@pytest.mark.parametrize("kind", KINDS)
def test_under_load(kind, stackgroup, folder):
    """Goroutines run, begin and end, stacks are moved: those that are parked are all told, and every other one is whole or is counted."""
    parked = 1000
    with started([program(folder), "busy", parked]) as child:
        for _ in range(25):
            document = look_json(child.pid, *KINDS[kind])
            profile = document["profiles"][0]
            # main, 20 that pass messages, 10 that lock, 5 that beget up to 20 each
            assert parked + 36 <= profile["total"] <= parked + 36 + 100
            whole, early = 0, 0
            for group in profile["groups"]:
                functions = [frame.get("function") for frame in group["frames"]]
                if "main.receive" in functions:
                    assert functions[-1] == "runtime.goexit" and functions.count("main.nested") in range(1, 6)
                    whole += group["count"]
                elif group["end"]["reason"] != "outermost":
                    early += group["count"]
                else:
                    # One that runs may be in the assembly that switches stacks.
                    assert functions[-1] in ("runtime.goexit", "runtime.main") or group["state"] == "running", (functions, group["state"])
            assert whole == parked
            told = sum(int(re.match(r"(\d+) of", row["message"]).group(1)) for row in document["diagnostics"]
                       if row["code"] == "stack-incomplete" and f"of {profile['total']} " in row["message"])
            assert early == told, [row["message"] for row in document["diagnostics"]]
        assert runs(child.pid)


def stopped_milliseconds(text):
    return float(re.match(r"# stopped ([\d.]+) ms", text).group(1))


@pytest.mark.long
def test_hundred_thousand(stackgroup, folder, capsys):
    count = 100_000
    with started([program(folder), "many", count]) as child:
        texts = [look(child.pid) for _ in range(5)]
        assert runs(child.pid)
    for text in texts:
        assert sum(int(group[0].split()[0]) for group in goroutine_groups(text)) == count + 1
        assert not re.search(r"^# (loss|lost): .*goroutine", text, re.MULTILINE)
    stop = min(map(stopped_milliseconds, texts))
    with capsys.disabled():
        print(f"\n{count:,} goroutines: stopped {stop:.1f} ms, {stop * 1000 / count:.2f} us each (shortest of {len(texts)})")


@pytest.mark.long
def test_stop_is_broken_off(stackgroup, folder):
    """What was read by then is told, the rest is counted; the process runs on."""
    count = 100_000
    with started([program(folder), "many", count]) as child:
        begun = time.monotonic()
        document = look_json(child.pid, "--max-stop=2", codes=(4,))
        assert time.monotonic() - begun < 30
        assert runs(child.pid)
        rows = {row["code"]: row for row in document["diagnostics"]}
        goroutines = [profile for profile in document["profiles"] if profile["kind"] == "goroutine"]
        assert rows["goroutines-cut"]["count"] > 0
        if goroutines and "goroutine-unreadable" in rows:
            lost = rows["goroutine-unreadable"]["count"]
            assert goroutines[0]["total"] <= count + 1 <= goroutines[0]["total"] + lost
        whole = look_json(child.pid)
        assert whole["profiles"][0]["total"] == count + 1
