# SPDX-License-Identifier: Apache-2.0
"""Goroutines read from cores, against what the runtime itself printed of the same moment: every goroutine, state, frame, line and
offset; debug=1 byte by byte; stripped programs of other Go releases; a pool's deadlock found in a stripped core."""

import collections
import json
import os
import re

import cores
import go_cores
import go_dumps
import oracles
import pytest

# These go on running after they were printed, or while the core is written.
MOVING = {"main.spin", "main.spinCalls", "main.clock"}
# Who starts them: of one that was met in code that switches stacks the runtime prints one call. Another one stands still.
SPINNERS, STILL = "main.startSpinners", "main.rawPause"
LABELLED = "main.labelled"
# Profiles of Go 1.19 end at 32 frames.
PROFILE_FRAMES = 32


def unavailable_skips(make, *arguments, **options):
    try:
        return make(*arguments, **options)
    except cores.Unavailable as error:
        pytest.skip(str(error))


def read(core, *arguments):
    return oracles.stackgroup_json(core.path, "--members", "--frames=0", "--no-rules", "--system", "--no-c-frames", *arguments)


def moves(goroutine):
    names = {frame.function for frame in goroutine.frames}
    return goroutine.id == 1 or bool(MOVING & names) or (goroutine.creator == SPINNERS and STILL not in names)


def check_against_dump(core, document=None, moving=moves):
    """Every goroutine that stood still is the runtime's, its own ones too; none is invented and none is missing."""
    document = document or read(core)
    ours, theirs = go_dumps.goroutines_of(document), go_dumps.parse_dump(core.dump)
    compared = go_dumps.compare(ours, theirs, with_system=True)
    assert not compared.missing and not compared.extra
    differences = {id: what for id, what in compared.differences.items() if not moving(theirs[id])}
    assert not differences, "\n".join(f"{id} ({theirs[id].outermost}): {what}" for id, what in differences.items())
    return compared, theirs


# own programs


@pytest.fixture(scope="module", params=go_cores.VARIANTS)
def shapes(request, stackgroup):
    return unavailable_skips(go_cores.make_core, "goroutines", go_cores.VARIANTS[request.param])


def test_every_goroutine(shapes):
    compared, theirs = check_against_dump(shapes)
    assert compared.equal >= 130
    states = {goroutine.state for goroutine in theirs.values()}
    assert states >= {"chan receive", "chan receive (nil chan)", "chan send", "chan send (nil chan)", "select", "select (no cases)",
                      "semacquire", "sync.Cond.Wait", "sleep", "IO wait", "syscall", "runnable"}, "the program shows less than it should"


def check_debug2(core, *arguments):
    """Arguments, the places of go statements and locks to threads, as the runtime printed them: what is shown is there, and what is
    not is the runtime's own or a wrapper's."""
    done = oracles.stackgroup_run("--no-rules", "--system", "--no-c-frames", "--frames=0", "--format=debug2", *arguments, core.path)
    assert done.returncode == 0, done.stderr
    ours, theirs = go_dumps.dump_lines(done.stdout), go_dumps.dump_lines(core.dump)
    dump = go_dumps.parse_dump(core.dump)
    assert set(ours) == set(theirs) - {0}
    for id, goroutine in ours.items():
        if moves(dump[id]):
            continue
        assert goroutine.header == theirs[id].header
        # At the level of detail of debug=2 the runtime's own go statements are left out.
        assert goroutine.creator == theirs[id].creator or (not goroutine.creator and dump[id].creator.startswith("runtime.")), id
        left = iter(theirs[id].calls)
        for call in goroutine.calls:
            if "elided..." in call[0] or dump[id].elided:
                break
            for other in left:
                if other == call:
                    break
                name = go_dumps.without_arguments(other[0])[0]
                file = other[1].split(":")[0].strip()
                # Go's rule: names without a dot, as cgo's, are the runtime's too.
                is_hidden = name.startswith("runtime.") or "." not in name or go_dumps.is_elidable(go_dumps.Frame(name, file))
                assert is_hidden, f"goroutine {id}: {other} is not shown, {call} is not there"
            else:
                raise AssertionError(f"goroutine {id}: {call} is not in the runtime's dump: {theirs[id].calls}")


def test_debug2(shapes):
    check_debug2(shapes)


def test_by_creator(shapes):
    """One group a go statement's function, with as many as the runtime tells."""
    done = oracles.stackgroup_run("--no-rules", "--goroutines", "--format=json", "--by=creator", shapes.path)
    assert done.returncode == 0, done.stderr
    groups = json.loads(done.stdout)["profiles"][0]["groups"]
    ours = {group["created_by"]: group["count"] for group in groups if "created_by" in group}
    theirs = collections.Counter(goroutine.creator for goroutine in go_dumps.parse_dump(shapes.dump).values()
                                 if goroutine.creator and not goroutine.is_system)
    assert ours == dict(theirs) and len(ours) >= 8


def test_nothing_is_lost(shapes):
    document = read(shapes)
    assert not [row for row in document["diagnostics"] if row["code"].startswith("go")], document["diagnostics"]
    for profile in document["profiles"]:
        for group in profile["groups"] if profile["kind"] == "goroutine" else ():
            assert group["end"]["reason"] == "outermost", group


def test_gcore(stackgroup):
    core = unavailable_skips(go_cores.make_core, "goroutines", go_cores.STRIPPED, kind="gcore")
    # The threads of this core ran on before the runtime printed them.
    check_against_dump(core, moving=lambda goroutine: moves(goroutine) or goroutine.state in ("running", "runnable"))


def test_twenty_thousand(stackgroup):
    core = unavailable_skips(go_cores.make_core, "goroutines", go_cores.STRIPPED, arguments=(20000,))
    compared, _ = check_against_dump(core)
    assert compared.equal >= 20000
    assert go_dumps.profile_total(core.debug1) >= 20000
    check_profile(core)


@pytest.mark.parametrize("count", [1000, 100000])
def test_leaks(count, stackgroup):
    """Fifteen shapes of leaks: of each as many as the program started, in one group, as the runtime itself groups them."""
    core = unavailable_skips(go_cores.make_core, "leaks", go_cores.STRIPPED, arguments=(count,))
    truth = json.loads(core.truth)
    assert len(truth) == 15 and sum(truth.values()) == count
    found = {}
    for group in oracles.stackgroup_json(core.path, "--no-rules", "--goroutines")["profiles"][0]["groups"]:
        for name in {frame["function"] for frame in group["frames"]} & set(truth):
            found.setdefault(name, []).append(group["count"])
    assert found == {name: [number] for name, number in truth.items()}
    check_profile(core)


# debug=1


def pcs(group):
    return group[0].split()[2:]


def comparable(groups, with_labels):
    """Without those of the goroutines that moved, or that differ by design: a stack cut at Go's limit is whole in ours."""
    return [group for group in groups
            if len(pcs(group)) < PROFILE_FRAMES and not re.search(r"\tmain\.main\+", "\n".join(group))
            and not any(f"\t{name}+" in line for line in group for name in MOVING)
            and (with_labels or not any(LABELLED in line for line in group))]


def count(group):
    return int(group[0].split()[0])


def check_profile(core, *arguments):
    done = oracles.stackgroup_run("--no-rules", "--no-c-frames", *arguments, core.path)
    assert done.returncode == 0, done.stderr
    ours, theirs = go_dumps.profile_groups(done.stdout), go_dumps.profile_groups(core.debug1)
    with_labels = any(line.startswith("# labels: ") for group in ours for line in group)
    assert comparable(ours, with_labels) == comparable(theirs, with_labels)
    assert go_dumps.profile_total(done.stdout) == go_dumps.profile_total(core.debug1)
    # Those that Go cut: as many goroutines, and the same as far as Go tells.
    for group in theirs:
        if len(pcs(group)) == PROFILE_FRAMES:
            same = [other for other in ours if pcs(other)[:PROFILE_FRAMES] == pcs(group)]
            assert sum(map(count, same)) == count(group)
    return done.stdout


def test_profile(shapes):
    """Every group of the program's own debug=1, in its order and to the byte, but of the goroutines that moved."""
    text = check_profile(shapes)
    assert len(go_dumps.profile_groups(text)) >= 75


def test_pprof_reads_it(tmp_path, stackgroup):
    core = unavailable_skips(go_cores.make_core, "goroutines")
    text = tmp_path / "goroutines.txt"
    text.write_text(oracles.stackgroup_run("--no-rules", "--no-c-frames", core.path).stdout)
    assert oracles.pprof_total(oracles.pprof_raw(text)) == go_dumps.profile_total(text.read_text())
    done = oracles.run(["go", "tool", "pprof", "-top", "-nodecount=1000", core.executable, text])
    assert done.returncode == 0, done.stderr
    cumulative = {}
    for line in done.stdout.splitlines():
        if match := re.match(r" +\d+ +\S+ +\S+ +(\d+) +\S+  (.*?)( \(inline\))?$", line):
            cumulative[match[2]] = int(match[1])
    theirs = [goroutine for goroutine in go_dumps.parse_dump(core.dump).values() if not goroutine.is_system]
    for name in ("main.recurse", "main.lockMutex", "runtime.gopanic", "sync.(*Mutex).lockSlow"):
        wanted = sum(any(frame.function == name for frame in goroutine.frames) for goroutine in theirs)
        assert cumulative.get(name, 0) == wanted, (name, done.stdout)


# foreign programs


@pytest.fixture(params=go_cores.FOREIGN, ids=lambda foreign: foreign.go)
def foreign(request, tmp_path, stackgroup):
    if not request.param.usual and os.environ.get("STACKGROUP_FOREIGN") != "all":
        pytest.skip("not among the few that run by default; STACKGROUP_FOREIGN=all runs it")
    return unavailable_skips(go_cores.foreign_core, request.param, tmp_path)


def test_foreign_program(foreign):
    compared, theirs = check_against_dump(foreign, moving=lambda goroutine: goroutine.state in ("running", "runnable"))
    assert compared.equal >= 5
    work = ("net/http.", "os/exec.", "io/ioutil.")
    assert any(frame.function.startswith(work) for goroutine in theirs.values() for frame in goroutine.frames)


# the rebuilt incident

REDIS = r"""plugin: test
version: 1
rules:
  - id: redis
    severity: critical
    detector: pool
    for: goroutines
    acquire: '^github\.com/gomodule/redigo/redis\.\(\*Pool\)\.[gG]et$'
    title: '{waiters} {kind} wait for a connection{verdict}'
"""


@pytest.mark.parametrize("variant", [go_cores.PLAIN, go_cores.STRIPPED], ids=lambda variant: variant.name)
def test_redis_pool(variant, tmp_path, stackgroup):
    """As in tests/incidents/redis-pool.debug1.txt: ten hold a connection and wait for a second one, 300 wait behind them."""
    core = unavailable_skips(go_cores.make_core, "redis_pool", variant)
    check_against_dump(core)
    rules = tmp_path / "test.yaml"
    rules.write_text(REDIS)
    done = oracles.stackgroup_run(f"--plugin={rules}", "--rule=test", "--format=json", "--members", core.path)
    assert done.returncode in (0, 4), done.stderr
    document = json.loads(done.stdout)
    finding, = document["findings"]
    assert finding["id"] == "test/redis" and finding["members"] == 310
    assert [(row["role"], row["members"]) for row in finding["groups"]] == [("holds and waits", 10), ("waits", 300)]
    evidence = "\n".join(finding["evidence"])
    assert "10 in foo/tool.MessageGet" in evidence and "called from foo/tool.MessageList" in evidence
    assert "300 in foo/tool.OnlineUpdate" in evidence
