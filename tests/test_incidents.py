# SPDX-License-Identifier: Apache-2.0
"""Dumps that operators published with their post-mortems (tests/incidents/README.md tells each): what reading them must give."""

import collections
import re

import pytest

import oracles
import text_dumps

INCIDENTS = oracles.ROOT / "tests" / "incidents"
DUMPS = sorted(INCIDENTS.glob("*.txt"))


@pytest.fixture(scope="module")
def document(stackgroup):
    """The JSON of an incident's dump, by the file's name."""
    known = {}

    def analyse(name):
        if name not in known:
            known[name] = oracles.stackgroup_json(INCIDENTS / name, "--members")
        return known[name]

    return analyse


def profile_of(document):
    assert document["source"]["kind"] == "text"
    return document["profiles"][0]


def note(document, code):
    """The message of the diagnostic with that code; None when there is none."""
    return next((row["message"] for row in document["diagnostics"] if row["code"] == code), None)


def named(group):
    return [frame["function"] for frame in group["frames"] if "function" in frame]


# Each row of the README: what is read. What is found is further down.


def test_push_service(document):
    dump = document("push-service.debug1.txt")
    profile = profile_of(dump)
    assert (profile["kind"], profile["total"], profile["total_claimed"]) == ("goroutine", 10000, 10004)
    group, = profile["groups"]
    assert group["count"] == 10000
    assert len(group["frames"]) == 5 and named(group) == ["main.f"]
    assert [frame.get("hidden") for frame in group["frames"]] == [True, True, True, None, True]
    assert "4 of 5" in note(dump, "frames-hidden")
    assert "excerpt" in note(dump, "excerpt")


def test_notify_channel(document):
    dump = document("notify-channel.debug1.txt")
    profile = profile_of(dump)
    assert (profile["total"], profile["total_claimed"]) == (11274, 13647)
    frame, = (frame for frame in profile["groups"][0]["frames"] if "function" in frame)
    assert frame["function"] == "avrtc/app/system/admin/internal/api.notifyFxn"
    assert (frame["file"], frame["line"]) == (
        "C:/Users/DELL/Desktop/signal/app/system/admin/internal/api/websocket.go", 156)


def test_gmlock(document):
    dump = document("gmlock.heap1.txt")
    profile = profile_of(dump)
    assert profile["kind"] == "heap"
    group, = profile["groups"]
    assert group["heap"] == {"objects": 1, "bytes": 75759616, "objects_allocated": 1, "bytes_allocated": 75759616}
    assert "github.com/gogf/gf/os/gmlock.Lock" in named(group)
    assert "76326576" in note(dump, "excerpt")
    assert not dump["findings"]


def test_grpc_watcher(document):
    profile = profile_of(document("grpc-watcher.debug1.txt"))
    assert profile["total"] == 379 and "total_claimed" not in profile
    counts = [group["count"] for group in profile["groups"]]
    assert counts == [148, 107, 106, 4, 2] + [1] * 12
    assert any(frame.get("file", "").startswith("C:/Program Files/Go/src/") for frame in profile["groups"][2]["frames"])
    dialing = [group for group in profile["groups"] if "CIT/internal/server.NewClientOnce" in named(group)]
    assert len(dialing) == 1


def waits_by_address(profile):
    """(kind, address): ids of the waiters."""
    waiters = collections.defaultdict(set)
    for group in profile["groups"]:
        for row in group.get("waits", []):
            if "address" in row.get("resource", {}):
                waiters[row["kind"], row["resource"]["address"]].update(row["waiters"])
    return waiters


def test_oid_ping(document):
    profile = profile_of(document("oid-ping.debug2.txt"))
    assert (profile["kind"], profile["total"]) == ("goroutine", 68)
    largest = profile["groups"][0]
    assert largest["count"] == 32 and named(largest) == ["app/internal/biz.WatchPingOnce.func3.1"]
    assert largest["wait_reason"] == "chan receive"
    assert largest["wait_seconds"] == {"min": 120, "max": 180, "members": 23}
    assert largest["created_by"] == "app/internal/biz.WatchPingOnce.func3"
    waited = collections.Counter(member.get("wait_seconds") for member in largest["members_detail"])
    assert waited == {180: 12, 120: 11, None: 9}

    waiters = waits_by_address(profile)
    locks = {address: len(ids) for (kind, address), ids in waiters.items() if kind in ("mutex", "rwlock")}
    assert locks == {"0x1c94e10": 7, "0x1c93fc0": 2, "0x1c93fb8": 1}
    assert ("rwlock", "0x1c94e10") in waiters
    assert waiters["mutex", "0x1c93fc0"] == {"12", "1749"}
    assert waiters["mutex", "0x1c93fb8"] == {"2218"}
    to = {row["to"] for group in profile["groups"] for row in group.get("waits", []) if row["kind"] == "rwlock"}
    assert to == {"write"}

    # The one that runs an external command with the lock held, and where it stands beside the waiters.
    places = collections.defaultdict(set)
    for group in profile["groups"]:
        for frame in group["frames"]:
            if frame["function"] == "app/internal/biz._pingByCmd.func2":
                places[frame["line"], frame["offset"]].update(group["members"])
    assert places == {(60, 0x5b): {"12", "1749"}, (68, 0x1b9): {"1750"}}


def test_redis_pool(document):
    dump = document("redis-pool.debug1.txt")
    profile = profile_of(dump)
    assert (profile["total"], profile["total_claimed"]) == (1164848, 1380684)
    waiting = [group for group in profile["groups"] if "github.com/gomodule/redigo/redis.(*Pool).get" in named(group)]
    assert [group["count"] for group in waiting] == [816132, 159055, 156, 144]
    assert sum(group["count"] for group in waiting) == 975487
    nested = [group for group in waiting if "foo/tool.MessageListShopGet" in named(group)]
    assert sum(group["count"] for group in nested) == 300
    assert "excerpt" in note(dump, "excerpt")


@pytest.mark.parametrize("path", [path for path in DUMPS if "debug1" in path.name], ids=lambda path: path.stem)
def test_groups_keep_their_bytes(path, stackgroup):
    """debug=1 in, debug=1 out: each group's line and its frames are what Go wrote."""
    done = oracles.stackgroup_run(path)
    assert done.returncode == 0, done.stderr
    found, wanted = text_dumps.groups_of(done.stdout), text_dumps.groups_of(path.read_text())
    if path.name == "redis-pool.debug1.txt":  # published with one tab for each run of them
        found = [[re.sub(r"\t+", "\t", line) for line in group] for group in found]
    assert found == wanted


@pytest.mark.parametrize("path", DUMPS, ids=lambda path: path.stem)
def test_output_is_read_by_pprof_and_by_us(path, tmp_path, stackgroup):
    first, second = tmp_path / "first.txt", tmp_path / "second.txt"
    for source, target in ((path, first), (first, second)):
        done = oracles.stackgroup_run(source, "-o", target)
        assert done.returncode == 0, done.stderr
    assert text_dumps.groups_of(first.read_text()) == text_dumps.groups_of(second.read_text())
    again = re.findall(r"^# fingerprint: .*", second.read_text(), re.MULTILINE)
    assert again == re.findall(r"^# fingerprint: .*", first.read_text(), re.MULTILINE)
    raw = oracles.pprof_raw(first)
    if "heap" not in path.name:
        assert oracles.pprof_total(raw) == oracles.stackgroup_json(path)["profiles"][0]["total"]


@pytest.mark.parametrize("path", DUMPS, ids=lambda path: path.stem)
def test_any_line_end_and_any_beginning(path, tmp_path, stackgroup):
    """A byte order mark, \\r\\n and log lines in front change no group."""
    wanted = text_dumps.groups_of(oracles.stackgroup_run(path).stdout)
    changed = tmp_path / path.name
    text = "2026-11-01 00:00:00 app[12]: out of patience (9)\n\n" * ("heap" not in path.name) + path.read_text()
    changed.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    done = oracles.stackgroup_run(changed)
    assert done.returncode == 0, done.stderr
    assert text_dumps.groups_of(done.stdout) == wanted


@pytest.mark.parametrize("path", DUMPS, ids=lambda path: path.stem)
def test_terminal_form(path, stackgroup):
    done = oracles.stackgroup_run(path, "--color=always")
    assert done.returncode == 0, done.stderr
    assert ("allocation site" if "heap" in path.name else "goroutine") in done.stdout
    assert "thread" not in re.sub(r"\S*thread\S*[(/.]\S*|locked to thread", "", done.stdout.split("\n\n")[0])


# What is found: the README's last column, by rule.


@pytest.fixture(scope="module")
def findings(document):
    """Of an incident, with the rules that are built in: [(rule, severity, title, all its sentences)]."""

    def of(name):
        return [(row["id"], row["severity"], row["title"], " ".join(row.get("evidence", []))) for row in document(name)["findings"]]

    return of


def test_finds_the_leak_of_push_service(findings):
    (rule, severity, title, evidence), = findings("push-service.debug1.txt")
    assert (rule, severity) == ("go/leak", "warning") and title == "10,000 goroutines stand in main.f at pprof.go:11"
    assert "10,000 of 10,004 goroutines" in evidence and "the dump names no function of the 3 calls" in evidence


def test_finds_the_leak_of_notify_channel(findings):
    (rule, _, title, evidence), = findings("notify-channel.debug1.txt")
    assert rule == "go/leak" and "notifyFxn at websocket.go:156" in title
    assert "11,274 of 13,647 goroutines (82.6 %" in evidence and "22 MiB" in evidence


def test_finds_nothing_in_a_heap_profile(document):
    assert document("gmlock.heap1.txt")["findings"] == []


def test_finds_the_clients_that_nobody_closes(document, findings):
    (rule, _, title, evidence), = findings("grpc-watcher.debug1.txt")
    assert rule == "go-grpc/client-leak" and title.endswith("made by CIT/internal/server.NewClientOnce")
    for count, place in ((148, "ccBalancerWrapper).watcher"), (107, "loopyWriter"), (107, "http2Client).reader")):
        assert re.search(rf"{count} in [^;]*{re.escape(place)}", evidence), (count, place, evidence)
    members = sorted(row["members"] for row in document("grpc-watcher.debug1.txt")["findings"][0]["groups"])
    assert members[-3:] == [106, 107, 148]


def test_finds_who_queues_for_which_mutex(findings):
    found = findings("oid-ping.debug2.txt")
    assert [rule for rule, *_ in found] == ["go/lock-held-in-wait", "go/mutex-queue", "go/mutex-queue"]
    _, severity, title, evidence = found[0]
    assert severity == "warning" and "2 goroutines wait for mutex 0x1c93fc0, likely held by goroutine 1750" in title
    assert "CombinedOutput" in evidence and "inferred from stacks" in evidence
    assert {title for _, _, title, _ in found[1:]} == {"7 goroutines wait for rwlock 0x1c94e10: its holder is unknown",
                                                       "1 goroutine waits for mutex 0x1c93fb8: its holder is unknown"}


def test_finds_the_nested_takers_of_a_pool(document, findings):
    found = findings("redis-pool.debug1.txt")
    rule, severity, title, evidence = found[0]
    assert (rule, severity) == ("go-redis/redigo-pool", "critical") and title.startswith("975,487 goroutines wait")
    for part in ("if each does, the pool has 300", "156 in foo/tool.MessageShopDel", "144 in foo/tool.MessageShopGet",
                 "816,132 in foo/tool.POSOnlineUpdate", "159,055 in foo/tool.UpdateRegisteTTL"):
        assert part in evidence, part
    first = document("redis-pool.debug1.txt")["findings"][0]
    assert first["confidence"] == "suspected" and first["members"] == 975487
    assert not any(row["members"] == 189361 for row in first["groups"])
