# SPDX-License-Identifier: Apache-2.0
"""The descriptors behind blocked calls, and the table of all that a live process holds open."""

import json
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

import cores
import oracles

CONNECTIONS = 200

# A thread a connection. Its peer closes its half and never reads: each fills the buffers and then stands in write. They are
# filled with a timeout first, because a write that has moved some bytes already is ended by the stop, not restarted.
THREADS = r"""
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static char answer[1 << 20];
static int filled, wanted;

static void *serve(void *argument)
{
    int fd = (int)(intptr_t)argument, size = 4096;
    struct timeval moment = {0, 300000}, forever = {0, 0};
    char request[64];
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    while (read(fd, request, sizeof request) > 0)
        continue;
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &moment, sizeof moment);
    while (write(fd, answer, sizeof answer) > 0)
        continue;
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &forever, sizeof forever);
    int number = __atomic_add_fetch(&filled, 1, __ATOMIC_RELAXED);
    if (number == wanted)
        puts("filled"), fflush(stdout);
    while (write(fd, answer, sizeof answer) > 0)
        continue;
    pause();
    return NULL;
}

static void *receive(void *argument)
{
    char byte;
    return (void *)(intptr_t)read((int)(intptr_t)argument, &byte, 1);
}

static void spawn(void *(*run)(void *), int fd)
{
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 64 << 10);
    pthread_create(&thread, &attributes, run, (void *)(intptr_t)fd);
}

int main(int count, char **arguments)
{
    wanted = atoi(arguments[2]);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), pipes[2], pair[2], named = socket(AF_UNIX, SOCK_STREAM, 0);
    bind(listener, (struct sockaddr *)&address, size);
    getsockname(listener, (struct sockaddr *)&address, &size);
    listen(listener, 512);
    pipe(pipes);
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    snprintf(name.sun_path, sizeof name.sun_path, "%s", arguments[1]);
    bind(named, (struct sockaddr *)&name, sizeof name);
    listen(named, 1);
    spawn(receive, pipes[0]);
    spawn(receive, pair[0]);
    printf("%d %d %d\n", ntohs(address.sin_port), pipes[0], pair[0]);
    fflush(stdout);
    for (;;)
        spawn(serve, accept(listener, NULL, NULL));
}
"""

EPOLL = """
import select, socket, sys
listener = socket.create_server(("127.0.0.1", 0), backlog=512)
poll = select.epoll()
print(listener.getsockname()[1], flush=True)
held = [listener.accept()[0] for _ in range(int(sys.argv[1]))]
poll.register(listener)
for one in held[:50]:
    poll.register(one, select.EPOLLET)
print("ready", flush=True)
while True:
    poll.poll()
"""

GO = """
package main

import (
	"fmt"
	"net"
	"time"
)

func main() {
	listener, _ := net.Listen("tcp", "127.0.0.1:0")
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	held := make([]net.Conn, %d)
	for i := range held {
		held[i], _ = listener.Accept()
	}
	fmt.Println("ready")
	time.Sleep(time.Hour)
	fmt.Println(held)
}
"""


def document(pid, *arguments):
    done = oracles.stackgroup_run("--format=json", "-p", str(pid), *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def text(pid, *arguments):
    done = oracles.stackgroup_run("-p", str(pid), *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def groups(result):
    return result["profiles"][0]["groups"]


def waits(result):
    return [wait for group in groups(result) for wait in group.get("waits", [])]


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def can_attach():
    """Whether this machine lets us look at our own children at all."""
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        done = oracles.stackgroup_run("-p", str(sleeper.pid))
        return "not permitted" not in done.stderr
    finally:
        sleeper.kill()
        sleeper.wait()


@pytest.fixture(scope="module", autouse=True)
def attachable(stackgroup):
    if not can_attach():
        pytest.skip("attaching to processes is not permitted")


@contextmanager
def running(*command):
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def half_closed(port, count):
    connections = []
    for _ in range(count):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", port))
        connection.shutdown(socket.SHUT_WR)
        connections.append(connection)
    return connections


def blocked_threads(pid, call):
    count = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/syscall", encoding="ascii") as file:
                count += file.read().split()[0] == call
        except OSError:
            pass
    return count


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("descriptors")
    (folder / "server.c").write_text(THREADS)
    subprocess.run(["cc", "-O1", "-g", "-w", "-pthread", "-o", folder / "server", folder / "server.c"], check=True)
    path = folder / "named.sock"
    with running(folder / "server", path, CONNECTIONS) as process:
        port, pipe_fd, pair_fd = map(int, process.stdout.readline().split())
        connections = half_closed(port, CONNECTIONS)
        assert process.stdout.readline() == "filled\n"
        assert until(lambda: blocked_threads(process.pid, "1") == CONNECTIONS), "the threads never stood in write"
        process.port, process.pipe_fd, process.pair_fd, process.path = port, pipe_fd, pair_fd, path
        yield process
        for connection in connections:
            connection.close()


def test_thread_per_connection(server):
    result = document(server.pid)
    largest = groups(result)[0]
    assert largest["count"] == CONNECTIONS
    assert largest["waits"] == [{
        "members": CONNECTIONS, "state": "write", "kind": "socket", "descriptors": CONNECTIONS, "family": "tcp",
        "local": f"127.0.0.1:{server.port}", "peer": "127.0.0.1", "tcp_state": "CLOSE_WAIT",
        "receive_queue": largest["waits"][0]["receive_queue"], "send_queue": largest["waits"][0]["send_queue"], "learnt": "read"}]
    assert largest["waits"][0]["send_queue"] > CONNECTIONS * 4096
    assert {"family": "tcp", "local": f"127.0.0.1:{server.port}", "peer": "127.0.0.1", "state": "CLOSE_WAIT",
            "count": CONNECTIONS} in result["process"]["sockets"]


def test_text(server):
    output = text(server.pid)
    assert re.search(rf"^# state: write \({CONNECTIONS}: sockets on 127\.0\.0\.1:{server.port}, CLOSE_WAIT, peers 127\.0\.0\.1, "
                     r"\d+ bytes? queued, [\d,]+ not taken by the peer\)$", output, re.MULTILINE), output
    assert f"# sockets: {CONNECTIONS} CLOSE_WAIT on 127.0.0.1:{server.port} from 127.0.0.1\n" in output
    assert f"# sockets: 1 LISTEN on 127.0.0.1:{server.port}\n" in output
    assert re.search(rf"^# state: accept fd \d+ \(socket 127\.0\.0\.1:{server.port}, LISTEN, 0 connections to accept\)$", output,
                     re.MULTILINE)


def test_members(server):
    output = text(server.pid, "--members")
    assert len(re.findall(rf"^# member .*: write fd \d+ \(socket 127\.0\.0\.1:{server.port} -> 127\.0\.0\.1:\d+, CLOSE_WAIT, ",
                          output, re.MULTILINE)) == CONNECTIONS


def test_pipe_and_unix(server):
    found = {wait["fd"]: wait for wait in waits(document(server.pid)) if "fd" in wait}
    inode = os.readlink(f"/proc/{server.pid}/fd/{server.pipe_fd}")
    assert found[server.pipe_fd]["kind"] == "pipe"
    assert found[server.pipe_fd]["resource"] == {"kind": "pipe", "name": inode}
    assert found[server.pair_fd]["kind"] == "socket"
    assert found[server.pair_fd]["family"] == "unix"
    assert "tcp_state" not in found[server.pair_fd]
    assert found[server.pair_fd]["peer_fd"] == server.pair_fd + 1
    assert found[server.pair_fd]["peer"] == os.readlink(f"/proc/{server.pid}/fd/{server.pair_fd + 1}")
    assert f" -> fd {server.pair_fd + 1} of this process, ESTABLISHED" in text(server.pid)


def test_unix_peer_in_another_process(tmp_path):
    """Told by the path that it is bound to, an abstract name too; without one by its inode alone."""
    for name, shown in ((str(tmp_path / "peer.sock"), str(tmp_path / "peer.sock")), ("\0sg-test-peer", "@sg-test-peer")):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(name)
            listener.listen()
            code = f"import socket\nheld = socket.socket(socket.AF_UNIX)\nheld.connect({name!r})\nheld.recv(1)"
            with running(sys.executable, "-c", code) as process, listener.accept()[0] as accepted:
                assert until(lambda: blocked_threads(process.pid, "45") == 1)
                (wait,) = waits(document(process.pid))
                assert wait["peer"] == shown and "peer_fd" not in wait
                assert f" -> {shown}, ESTABLISHED" in text(process.pid)
                inode = os.readlink(f"/proc/{process.pid}/fd/{wait['fd']}")
                code = "import os, sys\nos.read(int(sys.argv[1]), 1)"
                os.set_inheritable(accepted.fileno(), True)
                with subprocess.Popen([sys.executable, "-c", code, str(accepted.fileno())], close_fds=False) as reader:
                    try:
                        assert until(lambda: blocked_threads(reader.pid, "0") == 1)
                        assert [wait["peer"] for wait in waits(document(reader.pid)) if wait["kind"] == "socket"] == [inode]
                    finally:
                        reader.kill()


NAMESPACE = """
import fcntl, socket, struct, sys
probe = socket.socket()
fcntl.ioctl(probe, 0x8914, struct.pack("16sH14x", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
client = socket.create_connection(listener.getsockname())
held = listener.accept()[0]
held.shutdown(socket.SHUT_WR)
pair = socket.socketpair()
print("ready", flush=True)
client.recv(1), pair[0].recv(1)
"""


def test_own_network_namespace():
    """The same port in ours is somebody else's, in another state."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-n", "true"], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("not root, or unshare is not permitted")
    with socket.create_server(("127.0.0.1", 0)) as ours:
        port = ours.getsockname()[1]
        with running("unshare", "-n", sys.executable, "-c", NAMESPACE, port) as process:
            assert process.stdout.readline() == "ready\n"
            assert until(lambda: blocked_threads(process.pid, "45") == 1)
            result = document(process.pid)
            assert {"family": "tcp", "peer": f"127.0.0.1:{port}", "state": "CLOSE_WAIT", "count": 1} in result["process"]["sockets"]
            assert {"family": "tcp", "local": f"127.0.0.1:{port}", "state": "LISTEN", "count": 1} in result["process"]["sockets"]
            (wait,) = waits(result)
            assert (wait["kind"], wait["family"], "peer_fd" in wait) == ("socket", "unix", True)


def test_table(server):
    process = document(server.pid)["process"]
    names = os.listdir(f"/proc/{server.pid}/fd")
    assert process["descriptors"] == len(names)
    assert sum(kind["count"] for kind in process["kinds"]) == len(names)
    with open(f"/proc/{server.pid}/limits", encoding="ascii") as file:
        assert process["descriptors_max"] == int(re.search(r"Max open files\s+(\d+)", file.read()).group(1))
    assert {"family": "unix", "local": str(server.path), "state": "LISTEN", "count": 1} in process["sockets"]


def test_schema(server, tmp_path):
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((cores.ROOT / "analyzer" / "stackgroup.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(document(server.pid, "--members"))
    check = cores.ROOT / "tests" / "unit" / "check_schema.py"
    (tmp_path / "a.json").write_text(json.dumps(document(server.pid)))
    done = subprocess.run([sys.executable, check, cores.ROOT / "analyzer" / "stackgroup.schema.json", tmp_path / "a.json"],
                          stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stdout


def test_epoll_server():
    """Nobody stands in read: only the table shows the connections that leak."""
    with running(sys.executable, "-c", EPOLL, CONNECTIONS) as process:
        port = int(process.stdout.readline())
        connections = half_closed(port, CONNECTIONS)
        assert process.stdout.readline() == "ready\n"
        assert until(lambda: blocked_threads(process.pid, "232") == 1)
        result = document(process.pid)
        assert {"family": "tcp", "local": f"127.0.0.1:{port}", "peer": "127.0.0.1", "state": "CLOSE_WAIT",
                "count": CONNECTIONS} in result["process"]["sockets"]
        assert [(wait["kind"], wait["watched"]) for wait in waits(result)] == [("epoll", 51)]
        assert {"kind": "epoll", "count": 1, "watched": 51} in result["process"]["kinds"]
        assert "(epoll set watching 51)" in text(process.pid)
        for connection in connections:
            connection.close()


def test_go_server(tmp_path):
    try:
        go = oracles.tool("go")
    except cores.Unavailable as error:
        pytest.skip(str(error))
    (tmp_path / "server.go").write_text(GO % CONNECTIONS)
    subprocess.run([go, "build", "-o", tmp_path / "server", tmp_path / "server.go"], check=True, timeout=120,
                   env={**os.environ, "GO111MODULE": "off", "GOFLAGS": ""})
    with running(tmp_path / "server") as process:
        port = int(process.stdout.readline())
        connections = half_closed(port, CONNECTIONS)
        assert process.stdout.readline() == "ready\n"
        assert {"family": "tcp", "local": f"127.0.0.1:{port}", "peer": "127.0.0.1", "state": "CLOSE_WAIT",
                "count": CONNECTIONS} in document(process.pid)["process"]["sockets"]
        for connection in connections:
            connection.close()


def test_connecting_side():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        code = f"import socket\nheld = [socket.create_connection(('127.0.0.1', {port})) for _ in range(3)]\n" \
               "print('ready', flush=True)\nheld[0].recv(1)"
        with running(sys.executable, "-c", code) as process:
            accepted = [listener.accept()[0] for _ in range(3)]
            assert process.stdout.readline() == "ready\n"
            assert until(lambda: blocked_threads(process.pid, "45") == 1)
            result = document(process.pid)
            assert {"family": "tcp", "peer": f"127.0.0.1:{port}", "state": "ESTABLISHED",
                    "count": 3} in result["process"]["sockets"]
            output = text(process.pid)
            assert f"# sockets: 3 ESTABLISHED to 127.0.0.1:{port}\n" in output
            assert re.search(rf"^# state: receive fd \d+ \(socket 127\.0\.0\.1:\d+ -> 127\.0\.0\.1:{port}, ESTABLISHED, "
                             r"0 bytes queued\)$", output, re.MULTILINE)
            for one in accepted:
                one.close()


def test_close_to_the_limit():
    code = "import os, resource, time\nresource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))\n" \
           "held = [os.dup(1) for _ in range(90)]\nprint('ready', flush=True)\ntime.sleep(600)"
    with running(sys.executable, "-c", code) as process:
        process.stdout.readline()
        count = len(os.listdir(f"/proc/{process.pid}/fd"))
        assert f"# descriptors: {count} of at most 100, close to the limit ({count} %): " in text(process.pid)


def test_limit_can_be_raised():
    """The command in the answer is the one that helps this process; at the hard limit there is none for everybody."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for top in (hard, 100):
        code = f"import os, resource, time\nresource.setrlimit(resource.RLIMIT_NOFILE, (100, {top}))\n" \
               "held = [os.dup(1) for _ in range(92)]\nprint('ready', flush=True)\ntime.sleep(600)"
        with running(sys.executable, "-c", code) as process:
            process.stdout.readline()
            said = text(process.pid, "--all-findings")
            told = re.search(rf"Its hard limit is [\d,]+: (prlimit --pid {process.pid} --nofile={min(hard, 1600)}:) raises", said)
            if top == 100:
                assert "That is its hard limit too: only root can raise it." in said and not told
            else:
                assert told, said
            if told and shutil.which("prlimit"):
                subprocess.run(told[1].split(), check=True)
                assert "descriptors are open" not in text(process.pid, "--all-findings")


def test_duplicates_count_once():
    code = "import os, socket, time\na, b = socket.socketpair()\nheld = [os.dup(a.fileno()) for _ in range(20)]\n" \
           "print('ready', flush=True)\ntime.sleep(600)"
    with running(sys.executable, "-c", code) as process:
        process.stdout.readline()
        sockets = document(process.pid)["process"]["sockets"]
        assert sum(row["count"] for row in sockets if row.get("family") == "unix") == 2


def test_other_protocols():
    code = "import socket, time\nheld = [socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0), socket.socket()]\n" \
           "print('ready', flush=True)\ntime.sleep(600)"
    with running(sys.executable, "-c", code) as process:
        process.stdout.readline()
        families = {row["family"] for row in document(process.pid)["process"]["sockets"]}
        assert families >= {"NETLINK", "TCP"}
