# SPDX-License-Identifier: Apache-2.0
"""A Go server as Debian has it, stripped, without and with work: what a look at it tells is what its own /debug/pprof tells at that
moment, byte for byte, and nothing of it is worse than info.

What stands between a dump before and a dump after the look is compared: a group that both have with the same bytes stood still, or
is back where it was. Under load a goroutine may be away just then, so that not each look must have it all, but one must."""

import contextlib
import fcntl
import json
import re
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter

import pytest

import go_cores
import go_dumps
import oracles
from test_healthy import free_port, service

# What writes the dump itself, and waits for more of its connection.
WRITERS = re.compile(r"\t(runtime/pprof\.|net/http/pprof\.|net/http\.\(\*connReader\)\.backgroundRead\+)")
SECONDS = 30
ROUNDS = 8
QUERIES = ("sum(rate(prometheus_http_requests_total[1m])) by (handler)", "topk(5, {__name__=~\".+\"})", "up")


@pytest.fixture(scope="module")
def executable():
    """The installed one, or the package's without installing it: that would start a service."""
    path = shutil.which("prometheus")
    if path:
        return path
    folder = go_cores.foreign_folder() / "prometheus"
    folder.mkdir(exist_ok=True)
    with open(folder / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path = folder / "usr" / "bin" / "prometheus"
        if not path.exists():
            for tool in ("apt-get", "dpkg"):
                if not shutil.which(tool):
                    pytest.skip(f"no prometheus, and no {tool} to fetch it")
            for command in (["apt-get", "download", "-qq", "prometheus"], ["sh", "-c", "dpkg -x prometheus_*.deb . && rm prometheus_*.deb"]):
                try:
                    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                          stderr=subprocess.STDOUT, text=True, timeout=60)
                except subprocess.TimeoutExpired:
                    pytest.skip("no prometheus: its package took more than a minute")
                if done.returncode:
                    pytest.skip(f"no prometheus: {done.stdout.strip()[-200:]}")
        return path


@pytest.fixture(scope="module")
def server(executable, tmp_path_factory, stackgroup):
    folder = tmp_path_factory.mktemp("prometheus")
    port = free_port()
    # It scrapes itself.
    (folder / "prometheus.yml").write_text("global:\n  scrape_interval: 1s\nscrape_configs:\n- job_name: self\n  static_configs:\n"
                                           f"  - targets: ['127.0.0.1:{port}']\n")
    with service([executable, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
                  f"--web.listen-address=127.0.0.1:{port}"], port, cwd=folder) as pid:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                ask(port, "/-/ready")
                break
            time.sleep(0.1)
        time.sleep(1)
        yield pid, port


def ask(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=SECONDS) as answer:
        return answer.read().decode()


def own_groups(port):
    return go_dumps.profile_groups(ask(port, "/debug/pprof/goroutine?debug=1"))


def look(pid, *arguments):
    done = oracles.stackgroup_run("--no-rules", *arguments, "-p", pid, seconds=SECONDS)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextlib.contextmanager
def queries(port, count=4):
    stop = threading.Event()
    answered = Counter()

    def run(number):
        while not stop.is_set():
            query = urllib.parse.quote(QUERIES[(number + answered[number]) % len(QUERIES)])
            now = time.time()
            path = (f"/api/v1/query?query={query}", f"/api/v1/query_range?query={query}&start={now - 600}&end={now}&step=1", "/metrics")
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                ask(port, path[answered[number] % 3])
                answered[number] += 1

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert sum(answered.values()) > count, "there was no load"


def key(group):
    return "\n".join(group)


def rounds(pid, port):
    """(what stood still in a round, in the order of the server's own dump; ours)"""
    for _ in range(ROUNDS):
        before = own_groups(port)
        ours = look(pid)
        after = {key(group) for group in own_groups(port)}
        yield [group for group in before if key(group) in after and not WRITERS.search(key(group))], go_dumps.profile_groups(ours)


def of(wanted, groups):
    keys = {key(group) for group in wanted}
    return [group for group in groups if key(group) in keys]


def test_idle(server):
    """One look in which nothing moved that stood still before and after: all groups, to the byte and in order."""
    best = 0
    for wanted, ours in rounds(*server):
        if of(wanted, ours) == wanted:
            best = max(best, sum(int(group[0].split()[0]) for group in wanted))
            if best >= 20:
                return
    assert best >= 20


def test_under_queries(server):
    stood, had = Counter(), Counter()
    pid, port = server
    with queries(port):
        for wanted, ours in rounds(pid, port):
            found = of(wanted, ours)
            stood.update(map(key, wanted))
            had.update(map(key, found))
            # Those that it has are in order.
            assert [group for group in wanted if group in found] == found
    often = [group for group, times in stood.items() if times > ROUNDS // 2]
    assert len(often) >= 10
    assert not [group for group in often if not had[group]]


@pytest.mark.parametrize("kind", [(), ("--rolling",), ("--no-stop",)], ids=lambda kind: "".join(kind) or "all-stop")
def test_every_stack_is_whole(kind, server):
    """Down to where it began, but of those that ran when they could not be stopped; nothing above info."""
    pid, port = server
    with queries(port):
        for _ in range(3):
            done = oracles.stackgroup_run("--format=json", "--system", *kind, "-p", pid, seconds=SECONDS)
            assert done.returncode == 0, done.stderr
            document = json.loads(done.stdout)
            goroutines = document["profiles"][0]
            assert goroutines["kind"] == "goroutine" and goroutines["total"] >= 25
            assert all(finding["severity"] == "info" for finding in document["findings"]), document["findings"]
            early = sum(group["count"] for group in goroutines["groups"] if group["end"]["reason"] != "outermost"
                        and group["state"] not in ("running", "runnable"))
            assert not early if not kind else early <= 10
