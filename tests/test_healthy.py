# SPDX-License-Identifier: Apache-2.0
"""Programs in which nothing is wrong, idle and at work: no finding above info, live and from a core. A false alarm costs more than
a finding that is missed."""

import contextlib
import http.client
import os
import pwd
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import cores
import findings
from test_findings import folder, shop, stalls  # noqa: F401  (fixtures)

# Looks at a program at work: what stands in it changes from one to the next.
LOOKS = 4
POSTGRES_FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin")) if Path("/usr/lib/postgresql").exists() else []


def needed(name, *places):
    path = shutil.which(name) or next((str(place / name) for place in places if (place / name).exists()), None)
    if not path:
        pytest.skip(f"no {name}")
    return path


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def wait_for_port(port, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    pytest.fail(f"nothing listens on port {port}")


def family(pid):
    """The process and all that come from it."""
    children = [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]
    return [pid, *(member for child in children for member in family(child))]


@contextlib.contextmanager
def service(command, port, **options):
    child = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL, **options)
    try:
        wait_for_port(port)
        yield child.pid
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait(10)


@contextlib.contextmanager
def requests(port, count=8):
    """So many clients that ask a web server as fast as it answers."""
    stop = threading.Event()

    def ask():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        while not stop.is_set():
            try:
                connection.request("GET", "/")
                connection.getresponse().read()
            except (OSError, http.client.HTTPException):
                connection.close()
                time.sleep(0.01)

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@contextlib.contextmanager
def load_by(command, **options):
    child = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL, **options)
    try:
        yield
        assert child.poll() is None, "the load ended before the looks"
    finally:
        child.kill()
        child.wait(10)


def gcore(pid, path):
    gdb = shutil.which("gdb")
    if not gdb:
        return None
    cores.run([gdb, "-nx", "-batch", "-iex", "set debuginfod enabled off", "-p", str(pid), "-ex", f"gcore {path}"],
              stdin=subprocess.DEVNULL)
    subprocess.run(["fallocate", "--dig-holes", path], stderr=subprocess.DEVNULL)
    return path if path.exists() else None


def assert_nothing_above_info(found, what):
    above = findings.above_info(found)
    assert not above, f"{what}: " + "; ".join(f"{finding['id']}: {finding['title']}" for finding in above)


def assert_healthy(pid, folder, what, looks=1):
    for look in range(looks):
        time.sleep(0.15 if look else 0)
        for member in family(pid):
            if not Path(f"/proc/{member}").exists():
                continue
            try:
                found = findings.found("-p", str(member))
            except AssertionError:
                # A process that came to its end meanwhile is none of our business.
                if Path(f"/proc/{member}").exists():
                    raise
                continue
            assert_nothing_above_info(found, f"{what}, live, {member}")
    core = gcore(pid, folder / f"{what.replace(' ', '-')}.core")
    if core:
        assert_nothing_above_info(findings.found(str(core)), f"{what}, core")
        core.unlink()


def test_redis(tmp_path):
    redis = needed("redis-server")
    benchmark = needed("redis-benchmark")
    port = free_port()
    with service([redis, "--port", port, "--save", "", "--io-threads", "4", "--dir", tmp_path], port) as pid:
        assert_healthy(pid, tmp_path, "redis idle")
        with load_by([benchmark, "-p", port, "-n", 100000000, "-c", 50, "-t", "set,get", "-q"]):
            assert_healthy(pid, tmp_path, "redis at work", LOOKS)


def test_nginx(tmp_path):
    nginx = needed("nginx", Path("/usr/sbin"))
    port = free_port()
    (tmp_path / "index.html").write_text("hello\n" * 1000)
    (tmp_path / "conf").write_text(
        f"daemon off; worker_processes 2; pid {tmp_path}/pid; error_log {tmp_path}/log;"
        + (" user root;" if os.geteuid() == 0 else "")
        + " events {} http { access_log off;"
        + "".join(f" {kind}_temp_path {tmp_path}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        + f" server {{ listen 127.0.0.1:{port}; root {tmp_path}; }} }}\n")
    with service([nginx, "-c", tmp_path / "conf", "-p", tmp_path], port) as pid:
        assert_healthy(pid, tmp_path, "nginx idle")
        with requests(port):
            assert_healthy(pid, tmp_path, "nginx at work", LOOKS)


@contextlib.contextmanager
def postgres_server(tmp_path):
    """Its process, its port, and the options to run a client as the server's user."""
    initdb, postgres = (needed(name, *POSTGRES_FOLDERS) for name in ("initdb", "postgres"))
    options = {}
    if os.geteuid() == 0:
        # The server does not run as root.
        try:
            user = pwd.getpwnam("postgres")
        except KeyError:
            user = pwd.getpwnam("nobody")
        options = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": "/"}
        for folder in [tmp_path, *tmp_path.parents]:
            if folder == Path("/tmp") or not str(folder).startswith("/tmp/"):
                break
            folder.chmod(0o755)
        data = tmp_path / "data"
        data.mkdir()
        os.chown(data, user.pw_uid, user.pw_gid)
    data = tmp_path / "data"
    cores.run([initdb, "-D", data, "-U", "test", "-A", "trust", "--no-sync"], **options)
    port = free_port()
    with service([postgres, "-D", data, "-p", port, "-h", "127.0.0.1", "-k", data, "-F"], port, **options) as pid:
        yield pid, port, options


@pytest.mark.long
def test_postgres(tmp_path):
    bench = needed("pgbench", *POSTGRES_FOLDERS)
    with postgres_server(tmp_path) as (pid, port, options):
        access = ["-h", "127.0.0.1", "-p", str(port), "-U", "test"]
        cores.run([bench, *access, "-i", "-q", "postgres"], **options)
        assert_healthy(pid, tmp_path, "postgres idle")
        with load_by([bench, *access, "-c", "16", "-T", "600", "postgres"], **options):
            assert_healthy(pid, tmp_path, "postgres at work", LOOKS)


PYTHON_PROGRAM = """
import queue, threading, time
from concurrent.futures import ThreadPoolExecutor
jobs, lock, done = queue.Queue(), threading.Lock(), [0]
def idle():
    while True:
        jobs.get()
def work(i):
    with lock:
        done[0] += i
    return sum(range(1000))
for _ in range(20):
    threading.Thread(target=idle, daemon=True).start()
print("ready", flush=True)
with ThreadPoolExecutor(16) as pool:
    while True:
        list(pool.map(work, range(100)))
"""


def test_python(tmp_path):
    with findings.ready([sys.executable, "-c", PYTHON_PROGRAM]) as child:
        assert_healthy(child.pid, tmp_path, "python at work", LOOKS)


NODE_PROGRAM = """
const http = require('http'), fs = require('fs'), crypto = require('crypto');
http.createServer((request, response) => {
  fs.readFile(__filename.length ? process.argv[1] || '/etc/hostname' : '', () => {
    crypto.pbkdf2('a', 'b', 100, 16, 'sha256', () => response.end('hello'));
  });
}).listen(PORT, '127.0.0.1');
"""


@pytest.mark.long
def test_node(tmp_path):
    node = needed("node")
    port = free_port()
    program = tmp_path / "server.js"
    program.write_text(NODE_PROGRAM.replace("PORT", str(port)))
    with service([node, program], port) as pid:
        assert_healthy(pid, tmp_path, "node idle")
        with requests(port):
            assert_healthy(pid, tmp_path, "node at work", LOOKS)


JAVA_PROGRAM = """
import java.util.concurrent.*;
public class Work {
    static synchronized int count(int i) { return i + 1; }
    public static void main(String[] arguments) throws Exception {
        ExecutorService busy = Executors.newFixedThreadPool(16), idle = Executors.newFixedThreadPool(50);
        for (int i = 0; i < 50; i++) idle.submit(() -> 1);
        System.out.println("ready");
        for (;;) {
            ConcurrentLinkedQueue<Future<?>> all = new ConcurrentLinkedQueue<>();
            for (int i = 0; i < 500; i++) { int n = i; all.add(busy.submit(() -> new byte[count(n)].length)); }
            for (Future<?> one : all) one.get();
        }
    }
}
"""


@pytest.mark.long
def test_java(tmp_path):
    """By hand, as a rule: CI does not install a JVM."""
    java = needed("java")
    (tmp_path / "Work.java").write_text(JAVA_PROGRAM)
    with findings.ready([java, "-Xmx256m", str(tmp_path / "Work.java")]) as child:
        assert_healthy(child.pid, tmp_path, "java at work", LOOKS)


def test_go_server(shop, tmp_path):  # noqa: F811
    """The threads of a Go program: its idle Ms park on a futex."""
    with findings.ready([shop, "healthy", "wait"]) as child:
        assert_healthy(child.pid, tmp_path, "go server")


@pytest.mark.parametrize("way", ("idle", "queue", "pool-accessor", "malloc"))
def test_threads(stalls, way):  # noqa: F811
    """A thousand idle threads on a condition, producers and consumers, a pool behind one accessor, a busy allocator."""
    program = stalls("c")
    with program.running(way) as (pid, _):
        assert_nothing_above_info(findings.found("-p", str(pid)), f"{way}, live")
    core, _ = program.core(way)
    assert_nothing_above_info(findings.found(str(core)), f"{way}, core")


def test_rust_idle(stalls):  # noqa: F811
    with stalls("rust").running("idle") as (pid, _):
        assert_nothing_above_info(findings.found("-p", str(pid)), "idle")


@pytest.mark.parametrize("define, package", (("WORKERS_GLIB", "gio-2.0"), ("WORKERS_LIBUV", "libuv")))
def test_idle_workers(tmp_path, define, package):
    try:
        program = findings.build_with("workers.c", define, package, tmp_path)
    except cores.Unavailable as error:
        pytest.skip(str(error))
    with findings.ready([program, "idle"]) as child:
        assert_healthy(child.pid, tmp_path, f"{package} idle")


def test_open_sockets(tmp_path):
    program = findings.build_plain("sockets.c", tmp_path)
    with findings.ready([program, "open", 300]) as child:
        assert_nothing_above_info(findings.found("-p", str(child.pid)), "sockets in use")
