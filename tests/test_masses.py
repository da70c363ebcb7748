# SPDX-License-Identifier: Apache-2.0
"""What published dumps of pools and leaks are found to be, by rules as a user would write them, and that a pool of a real program
under load is not accused."""

import json
from pathlib import Path

import cores
import oracles
import pytest
from conftest import make_or_skip

INCIDENTS = Path(__file__).resolve().parent / "incidents"
REDIS = r"""
  - id: redis
    severity: critical
    detector: pool
    for: goroutines
    acquire: '^github\.com/gomodule/redigo/redis\.\(\*Pool\)\.[gG]et$'
    title: '{waiters} {kind} wait for a connection{verdict}'
"""
GRPC = r"""
  - id: grpc
    severity: warning
    detector: leak
    for: goroutines
    any: ['^google\.golang\.org/grpc']
    creates: '^google\.golang\.org/grpc\.(Dial|DialContext|NewClient)$'
    title: 'about {siblings} connections, made by {origin}'
"""
ONE_PLACE = """
  - id: place
    severity: warning
    detector: leak
    for: goroutines
    share: 50%
    title: '{members} {kind}, {share}, in {place}'
"""


@pytest.fixture
def findings(tmp_path):
    def find(rules, *target):
        plugin = tmp_path / "test.yaml"
        plugin.write_text("plugin: test\nversion: 1\nrules:" + rules)
        done = oracles.stackgroup_run(f"--plugin={plugin}", "--rule=test", "--format=json", *target)
        assert done.returncode in (0, 4), done.stderr
        return json.loads(done.stdout)["findings"]
    return find


def roles(finding):
    """role: the members of each group that take it, most first."""
    counts = {}
    for group in finding["groups"]:
        counts.setdefault(group["role"], []).append(group["members"])
    return {role: sorted(members, reverse=True) for role, members in counts.items()}


def test_redis_pool(findings):
    [finding] = findings(REDIS, INCIDENTS / "redis-pool.debug1.txt")
    assert finding["title"] == "975,487 goroutines wait for a connection, 300 of which may hold what the others wait for"
    assert finding["confidence"] == "suspected"
    assert roles(finding) == {"waits": [816132, 159055], "holds and waits": [156, 144]}
    said = "\n".join(finding["evidence"])
    assert "if each does, the pool has 300" in said
    assert "156 in foo/tool.MessageShopDel at redis.go:424, called from foo/tool.MessageListShopGet at redis.go:372" in said
    assert "144 in foo/tool.MessageShopGet at redis.go:379, called from foo/tool.MessageListShopGet at redis.go:356" in said
    assert "816,132 in foo/tool.POSOnlineUpdate" in said and "159,055 in foo/tool.UpdateRegisteTTL" in said
    assert "writer" not in said and "189,361" not in said


def test_redis_pool_is_told_once(findings):
    """Those who wait for the pool all stand in one place, too."""
    assert len(findings(REDIS + ONE_PLACE, INCIDENTS / "redis-pool.debug1.txt")) == 1


def test_grpc_clients(findings):
    [finding] = findings(GRPC, INCIDENTS / "grpc-watcher.debug1.txt")
    assert finding["title"] == "about 148 connections, made by CIT/internal/server.NewClientOnce"
    assert roles(finding) == {"started together": [148, 107, 106, 1], "creates": [1]}
    said = "\n".join(finding["evidence"])
    for words in ("148 in grpc.(*ccBalancerWrapper).watcher", "transport.(*loopyWriter).run", "transport.(*http2Client).reader",
                  "CIT/internal/server.NewClientOnce at cli.go:10, called from CIT/internal/biz.OIDGet"):
        assert words in said


@pytest.mark.parametrize("name, title", (
    ("push-service", "10,000 goroutines, over 99.9 %, in main.f at pprof.go:11"),
    ("notify-channel", "11,274 goroutines, 82.6 %, in avrtc/app/system/admin/internal/api.notifyFxn at websocket.go:156"),
))
def test_one_place(findings, name, title):
    [finding] = findings(ONE_PLACE, INCIDENTS / f"{name}.debug1.txt")
    assert finding["title"] == title
    assert any("MiB at the least" in sentence for sentence in finding["evidence"])
    assert any("names no function of the 3 calls" in sentence for sentence in finding["evidence"])


@pytest.mark.parametrize("name", ("redis-pool", "grpc-watcher", "push-service", "notify-channel"))
def test_other_rules_are_silent(findings, name):
    rules = {"redis-pool": GRPC, "grpc-watcher": REDIS + ONE_PLACE, "push-service": REDIS + GRPC, "notify-channel": REDIS + GRPC}
    assert findings(rules[name], INCIDENTS / f"{name}.debug1.txt") == []


@pytest.mark.parametrize("variant", cores.C_FEW, ids=lambda variant: variant.name)
def test_pool_of_slow_holders(findings, variant):
    """Forty wait for three connections whose holders wait for an answer: none of them nests, in one file and without debug info."""
    made = make_or_skip((cores.PROGRAMS["deadlock_pool"], variant, "any"))
    seen = "\n  - id: seen\n    severity: info\n    any: ['^pool_take$']\n    at-least: 40\n    title: '{members}'\n"
    pool = "\n  - id: pool\n    severity: critical\n    detector: pool\n    acquire: '^pool_take$'\n    title: '{waiters}'\n"
    assert [(finding["id"], finding["title"]) for finding in findings(seen + pool, made.path, made.executable)] \
        == [("test/seen", "40")]


CONNECTIONS = """goroutine profile: total 1211
1200 @ 0x43ae36 0x433997 0x464bc9 0x48ea32 0x48fd9a 0x48fd88 0x4ef6a9 0x4fb8c5 0x62b6a5 0x62e3ea 0x467c21
#\t0x464bc8\tinternal/poll.runtime_pollWait+0x88\t\truntime/netpoll.go:305
#\t0x48ea31\tinternal/poll.(*pollDesc).wait+0x31\t\tinternal/poll/fd_poll_runtime.go:84
#\t0x48fd99\tinternal/poll.(*pollDesc).waitRead+0x259\tinternal/poll/fd_poll_runtime.go:89
#\t0x48fd87\tinternal/poll.(*FD).Read+0x247\t\t\tinternal/poll/fd_unix.go:167
#\t0x4ef6a8\tnet.(*netFD).Read+0x28\t\t\t\tnet/fd_posix.go:55
#\t0x4fb8c4\tnet.(*conn).Read+0x44\t\t\t\tnet/net.go:183
#\t0x62b6a4\texample.com/feed/line.(*Reader).Next+0x44\texample.com/feed/line/reader.go:40
#\t0x62e3e9\tmain.serve+0x49\t\t\t\t\texample.com/feed/main.go:31

11 @ 0x43ae36 0x44a33c 0x467c21
#\t0x44a33b\tmain.work+0x3b\texample.com/feed/main.go:12
"""


def test_idle_connections_without_states(tmp_path):
    """debug=1 has no states, but a read of a socket is named: so stand the idle connections of a server."""
    dump = tmp_path / "dump"
    dump.write_text(CONNECTIONS)
    done = oracles.stackgroup_run("--format=json", str(dump))
    finding, = json.loads(done.stdout)["findings"]
    assert (finding["id"], finding["severity"], finding["members"]) == ("go/leak", "info", 1200)
