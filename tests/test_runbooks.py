# SPDX-License-Identifier: Apache-2.0
"""Every command of the pages (plugins/*.md, scripts/README.md), run as it is written on a program that is in the state the page
is about. A command block is indented by four columns, or fenced without a language. In it

- words in capitals (PID, CORE, 0xADDRESS, …) are replaced by the program's;
- a line that begins with # says what is printed: numbers and addresses may be others, "…" stands for anything;
- "exit code N" behind the last command is what the block ends with, else 0.

TABLE has a row a block: a block more or less on a page fails."""

import contextlib
import functools
import os
import re
import resource
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

import cores
import findings
import go_cores
import kubernetes_pod
import oracles
import systemd_coredump
import test_healthy
from cores import C_BASE, PROGRAMS, ROOT

PLUGINS = ROOT / "plugins"

def page_path(name):
    return ROOT / "scripts" / "README.md" if name == "scripts" else PLUGINS / name


def blocks_of(text):
    """The command blocks of a page."""
    blocks, lines, language = [], None, None
    before = ""
    for line in [*text.splitlines(), ""]:
        fence = re.match(r"```(\w*)$", line)
        if language is not None:  # inside a fence
            if fence:
                if language == "":
                    blocks.append("\n".join(lines))
                lines = language = None
            else:
                lines.append(line)
        elif fence:
            lines, language = [], fence[1]
        elif line.startswith("    ") and (lines is not None or before == ""):
            lines = [*(lines or []), line[4:]]
        elif lines is not None:
            blocks.append("\n".join(lines))
            lines = None
        before = line.strip()
    return blocks


def claims_of(block):
    """Expressions for what the block says it prints, and the exit code."""
    said = [line[1:].strip() for line in block.splitlines() if line.startswith("#")]
    commands = [line for line in block.splitlines() if not line.startswith("#")]
    code = re.search(r"# .*exit code (\d+)", commands[-1])
    return [claim_pattern(text) for text in said], int(code[1]) if code else 0


def claim_pattern(text):
    parts = re.split(r"(0x[0-9a-f]+|\d+(?:[.,]\d+)*|…|\s+)", text)
    def pattern(part):
        if part.startswith("0x"):
            return "0x[0-9a-f]+"
        if part[0].isdigit():
            return r"\d+(?:[.,]\d+)*"
        return ".*" if part == "…" else r"\s+" if part.isspace() else re.escape(part)

    return "".join(pattern(part) for part in parts if part)


def test_patterns():
    assert re.fullmatch(claim_pattern("moved: 0 of 40, 0x12ab; …"), "moved:  3 of 1,200, 0xffe0; and more")
    assert not re.fullmatch(claim_pattern("total 5 (x)"), "total five (x)")


# A small server, as the test's user, that waits for rows longer than a test does.
MYSQL_OPTIONS = ["--no-defaults", "--skip-name-resolve", "--innodb-log-file-size=4M", "--innodb-buffer-pool-size=8M",
                 "--innodb-flush-method=nosync", "--innodb-lock-wait-timeout=600",
                 *(["--user=root"] if os.geteuid() == 0 else [])]


# The programs. Each is a context that gives what the words in capitals are.


class Maker:
    """Builds once, what is asked for."""

    def __init__(self, folder):
        self.folder = folder

    @functools.lru_cache(maxsize=None)
    def sub(self, name):
        folder = self.folder / name
        folder.mkdir()
        return folder

    @functools.lru_cache(maxsize=None)
    def stalls(self, language):
        return findings.build_stalls(language, self.sub(f"stalls-{language}"))

    @functools.lru_cache(maxsize=None)
    def plain(self, source):
        return findings.build_plain(source, self.folder)

    @functools.lru_cache(maxsize=None)
    def library(self):
        return findings.build_library(self.folder)

    @functools.lru_cache(maxsize=None)
    def with_library(self, source, define, package):
        return findings.build_with(source, define, package, self.folder)

    @functools.lru_cache(maxsize=None)
    def mysql_data(self):
        """What a server starts from: its own tables, and what it does first of all."""
        folder = self.sub("mysql")
        cores.run([test_healthy.needed("mariadb-install-db"), *MYSQL_OPTIONS, f"--datadir={folder}", "--skip-test-db",
                   "--auth-root-authentication-method=normal"])
        (folder / "start.sql").write_text("create user app;\ngrant all on shop.* to app;\ncreate database shop;\n"
                                          "create table shop.account (id int primary key, amount int) engine=innodb;\n"
                                          "insert into shop.account values (1, 100);\n")
        return folder

    @functools.lru_cache(maxsize=None)
    def shop(self):
        return go_cores.build("shop", go_cores.PLAIN)

    @functools.lru_cache(maxsize=None)
    def server(self):
        go = cores.compiler("go")
        environment = oracles.environment(GO111MODULE="off", GOFLAGS="", GOTOOLCHAIN="local", CGO_ENABLED="0",
                                          GOCACHE=os.environ.get("GOCACHE") or str(cores.cache_folder() / "go-build"))
        cores.run([go, "build", "-o", self.folder / "runbook_server", ROOT / "tests" / "runbook_server.go"], env=environment, seconds=300)
        return self.folder / "runbook_server"


def stall(case, language="c", words=lambda pid, truth: {}):
    @contextlib.contextmanager
    def program(maker):
        built = maker.stalls(language)
        arguments = [case, maker.library()] if case == "loader" else [case]
        with built.running(*arguments) as (pid, truth):
            yield {"PID": pid, **words(pid, truth)}
    return program


@contextlib.contextmanager
def forked(maker):
    """The child is the one that hangs."""
    environment = cores.child_environment(maker.folder / "fork.truth.json", "wait")
    with findings.ready([maker.stalls("c").executable, "fork-mutex"], env=environment) as child:
        yield {"PID": findings.child_of(child.pid)}


@contextlib.contextmanager
def deadlock(maker):
    with cores.waiting(cores.build(PROGRAMS["deadlock_pool"], C_BASE), maker.folder / "truth.json") as child:
        yield {"PID": child.pid}


def lock_word(pid):
    """The address of a mutex that somebody waits for."""
    text = oracles.stackgroup_run("-p", pid, "--all-findings").stdout
    return re.search(r"mutex (0x[0-9a-f]+)", text)[1]


@contextlib.contextmanager
def deadlock_with_address(maker):
    with deadlock(maker) as words:
        yield {**words, "0xADDRESS": lock_word(words["PID"])}


def ended_owner(pid, truth):
    text = oracles.stackgroup_run("-p", pid, "--all-findings").stdout
    return {"0xADDRESS": lock_word(pid), "N": re.search(r"held by thread (\d+), which has ended", text)[1]}


def head_of_log(pid, truth):
    [tid] = truth["head"]
    descriptor = int(Path(f"/proc/{pid}/task/{tid}/syscall").read_text().split()[1], 16)
    return {"TID": tid, "N": descriptor}


def server(case):
    @contextlib.contextmanager
    def program(maker):
        with subprocess.Popen([maker.server(), case], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as child:
            try:
                host = child.stdout.readline().strip()
                assert child.stdout.readline() == "ready\n"
                yield {"PID": child.pid, "HOST": host}
            finally:
                child.kill()
    return program


def plain(source, *arguments, **words):
    @contextlib.contextmanager
    def program(maker):
        with findings.ready([maker.plain(source), *arguments]) as child:
            yield {"PID": child.pid, **words}
    return program


def hard_limit():
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def client(case, **more):
    @contextlib.contextmanager
    def program(maker):
        with findings.ready([maker.with_library("clients.c", "CLIENT_LIBPQ", "libpq"), case]) as child:
            listening = [line for line in oracles.run(["ss", "-tlnpH"]).stdout.splitlines() if f"pid={child.pid}," in line]
            assert listening
            yield {"PID": child.pid, "PORT": re.search(r":(\d+) ", listening[0])[1], **more}
    return program


@contextlib.contextmanager
def workers(maker):
    with findings.ready([maker.with_library("workers.c", "WORKERS_LIBUV", "libuv"), "stuck"]) as child:
        yield {"PID": child.pid}


def core_of(name):
    @contextlib.contextmanager
    def program(maker):
        yield {"CORE": cores.make_core(PROGRAMS[name], C_BASE, "any").path}
    return program


@contextlib.contextmanager
def kept_by_systemd(maker):
    """On a machine of its own: see systemd_coredump.py for what is real."""
    folder = Path(tempfile.mkdtemp(dir=maker.folder))
    with systemd_coredump.kept_core(folder) as (machine, _, path):
        (folder / "coredumpctl").symlink_to(systemd_coredump.coredumpctl())
        yield {"NAME": path.stem, "environment": {"PATH": f"{folder}:{os.environ['PATH']}"}, "within": machine.command()}


@contextlib.contextmanager
def other_machine(maker):
    """The program lies below DIR alone."""
    core = cores.make_core(PROGRAMS["deadlock_pool"], C_BASE, "any")
    root = maker.sub("root")
    below = root / str(core.executable).lstrip("/")
    below.parent.mkdir(parents=True)
    shutil.copy(core.executable, below)
    yield {"CORE": core.path, "DIR": root}


@contextlib.contextmanager
def pod(maker):
    """In a pod, at least for kubectl: see kubernetes_pod.py for what is real."""
    folder = Path(tempfile.mkdtemp(dir=maker.folder))
    with kubernetes_pod.cluster(folder, cores.build(PROGRAMS["deadlock_pool"], C_BASE)) as (state, environment):
        yield {"POD": kubernetes_pod.POD, "CONTAINER": kubernetes_pod.CONTAINER, "IMAGE_WITH_STACKGROUP": "example.com/stackgroup",
               "environment": environment}
        assert [container["image"] for container in state.containers] == ["example.com/stackgroup"]


def dump(case, form=2, **words):
    @contextlib.contextmanager
    def program(maker):
        yield {"DUMP": findings.shop_dump(maker.shop(), case, form, maker.folder), **words}
    return program


@contextlib.contextmanager
def postgres(maker):
    """The client finds the server by its environment."""
    with test_healthy.postgres_server(maker.folder) as (_, port, _):
        yield {"environment": {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "test", "PGDATABASE": "postgres"}}


@contextlib.contextmanager
def redis(maker):
    port = test_healthy.free_port()
    with test_healthy.service([test_healthy.needed("redis-server"), "--port", port, "--save", "", "--dir", maker.folder], port):
        yield {"PORT": port}


@contextlib.contextmanager
def mysql(maker):
    """A server of its own, and a client in the state that the page is about: its query waits for the row of a transaction that
    it has forgotten on another connection. The command `mysql` finds the server by its file of options."""
    server = test_healthy.needed("mariadbd", Path("/usr/sbin"))
    folder = Path(tempfile.mkdtemp(dir=maker.folder))
    shutil.copytree(maker.mysql_data(), folder / "data")
    port = test_healthy.free_port()
    (folder / ".my.cnf").write_text(f"[client]\nhost=127.0.0.1\nport={port}\nuser=root\n")
    environment = {"HOME": str(folder)}
    asked = ["mysql", "-N", "-e", "select trx_mysql_thread_id from information_schema.innodb_trx where trx_query is null"]
    program = maker.with_library("clients.c", "CLIENT_MYSQL", "libmariadb")
    command = [server, *MYSQL_OPTIONS, f"--datadir={folder}/data", f"--socket={folder}/socket", f"--port={port}",
               f"--pid-file={folder}/pid", f"--init-file={folder}/data/start.sql", "--bind-address=127.0.0.1"]
    with test_healthy.service(command, port), findings.ready([program, "row", port]) as child:
        assert "mysql/connection-under-lock" in findings.ids(findings.found("-p", child.pid))
        yield {"PID": child.pid, "PORT": port, "environment": environment,
               "ID": cores.run(asked, env=oracles.environment(**environment)).strip()}


@contextlib.contextmanager
def mysql_freed(maker):
    """What the page says to do now does help: every thread gets its turn, and ends."""
    with mysql(maker) as words:
        yield words
        tasks, end = Path(f"/proc/{words['PID']}/task"), time.monotonic() + 30
        while len(list(tasks.iterdir())) > 1 and time.monotonic() < end:
            time.sleep(0.02)
        assert len(list(tasks.iterdir())) == 1


@contextlib.contextmanager
def license_rule(maker):
    """The rule of plugins/README.md, its examples and its dump; a process that it is tried on."""
    text = (PLUGINS / "README.md").read_text()
    parts = [re.search(rf"```{start}.*?)```", text, re.DOTALL)[1] for start in (r"yaml\n(plugin: shop\n", r"yaml\n(    examples:\n")]
    (maker.folder / "shop.yaml").write_text("".join(parts))
    path = maker.folder / "dump.txt"
    path.write_text("thread profile: total 14\n" + re.search(r"```text\n(14 @ .*?)```", text, re.DOTALL)[1])
    with deadlock(maker) as words:
        yield {**words, "DUMP": path}


@contextlib.contextmanager
def in_folder(maker):
    with deadlock(maker) as words:
        yield {**words, "FOLDER": maker.sub("metrics")}


@contextlib.contextmanager
def command(maker):
    yield {"COMMAND": maker.folder / "deadlock", "environment": deadlock_command(maker.folder / "deadlock")}


def deadlock_command(link):
    """A command that hangs, and the environment that makes it do so."""
    link.symlink_to(cores.build(PROGRAMS["deadlock_pool"], C_BASE).executable)
    return {"TESTCORE_TRUTH": str(link.with_name("hung.truth.json")), "TESTCORE_END": "wait"}


logging = stall("logging", words=head_of_log)
TABLE = {
    "README.md": [license_rule],
    "channel.md": [server("leak")],
    "database-client.md": [client("lock"), postgres, mysql, redis, mysql_freed],
    "descriptors.md": [plain("sockets.c", "close-wait", "40"), plain("sockets.c", "close-wait", "40", LIMIT=hard_limit())],
    "fork-in-threads.md": [forked],
    "goroutine-leak.md": [server("leak")],
    "http-client.md": [server("body")],
    "loader-lock.md": [stall("loader", words=lambda pid, truth: {"NAME": "libplugin"})],
    "lock-cycle.md": [deadlock_with_address, deadlock],
    "lock-owner-ended.md": [stall("owner-ended", words=ended_owner)],
    "lock-queue.md": [logging],
    "log-under-lock.md": [logging],
    "name-lookup.md": [stall("dns", words=lambda pid, truth: {"NAME": "localhost"})],
    "pool-exhaustion.md": [dump("sql-nested", THE_POOL_FUNCTION="database/sql"), client("pool")],
    "rust-locks.md": [stall("mutex-cycle", "rust", words=lambda pid, truth: {"THE_FUNCTION": "lock"})],
    "scripts": [deadlock, in_folder, pod, command, deadlock],
    "signal-handler.md": [stall("handler")],
    "symptoms.md": [deadlock, deadlock, deadlock, logging, server("leak"), plain("sockets.c", "close-wait", "40"),
                    stall("pool-condition"), plain("moving.c", "3"), stall("idle"), server("shutdown"),
                    plain("sockets.c", "limit", "64"), core_of("crash-null"), kept_by_systemd, kept_by_systemd, pod, other_machine,
                    dump("mutex-cycle"), deadlock],
    "worker-pool.md": [workers],
}
WORDS = ("PID", "CORE", "DUMP", "0xADDRESS", "HOST", "TID", "N", "NAME", "PORT", "DIR", "THE_POOL_FUNCTION", "THE_FUNCTION", "LIMIT", "FOLDER",
         "COMMAND", "ID", "POD", "CONTAINER", "IMAGE_WITH_STACKGROUP")
CASES = [(page, number) for page in sorted(TABLE) for number in range(len(TABLE[page]))]


def test_every_page_has_its_rows():
    assert set(TABLE) == {path.name for path in PLUGINS.glob("*.md")} | {"scripts"}
    for page, rows in TABLE.items():
        blocks = blocks_of(page_path(page).read_text())
        assert len(blocks) == len(rows), f"{page} has {len(blocks)} blocks of commands, TABLE knows {len(rows)}: {blocks}"


def test_the_index_names_every_page():
    text = (PLUGINS / "symptoms.md").read_text()
    pages = {path.stem for path in PLUGINS.glob("*.md")} - {"README", "symptoms"}
    assert set(re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE)) == pages
    for page in (*pages, "symptoms"):
        assert oracles.stackgroup_run("runbook", page).stdout == (PLUGINS / f"{page}.md").read_text()


@pytest.fixture(scope="module")
def maker(tmp_path_factory):
    return Maker(tmp_path_factory.mktemp("runbooks"))


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    """Folder of what stands in for commands: sleep does not take minutes."""
    folder = tmp_path_factory.mktemp("tools")
    (folder / "sleep").write_text(f"#!/bin/sh\nexec {shutil.which('sleep')} 0.3\n")
    (folder / "sleep").chmod(0o755)
    return folder


def substituted(block, words):
    # Longest first; a word is not a part of another.
    names = "|".join(re.escape(name) for name in sorted(words, key=len, reverse=True))
    if names:
        block = re.sub(rf"(?<![A-Za-z_])(?:{names})(?![A-Za-z_])", lambda found: str(words[found[0]]), block)
    left = re.search(rf"(?<![A-Za-z_])(?:{'|'.join(WORDS)})(?![A-Za-z_])", "\n".join(
        re.sub(r"\s#.*", "", line) for line in block.splitlines() if not line.startswith("#")))
    assert not left, f"nothing to put in place of {left[0]} in:\n{block}"
    return block


def run_block(commands, tools, folder, within=(), **environment):
    """within: the beginning of a command line that runs the rest of it in the right place."""
    others = environment.pop("PATH", os.environ["PATH"])
    path = f"{oracles.stackgroup_path().parent}:{ROOT / 'scripts'}:{tools}:{others}:/usr/sbin:/sbin"
    return subprocess.run([*within, "bash", "-eu", "-o", "pipefail", "-c", commands], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, errors="replace", timeout=120, env=oracles.environment(PATH=path, **environment))


def missing_tools(block):
    known = {"curl", "ss", "ps", "gdb", "strace", "lsof", "mysql", "psql", "redis-cli", "prlimit", "getent", "jq", "zstd"}
    return sorted(tool for tool in known & set(re.findall(r"[\w-]+", block)) if not shutil.which(tool, path=os.environ["PATH"] + ":/usr/sbin"))


@pytest.mark.parametrize("page, number", CASES, ids=[f"{page.removesuffix('.md')}-{number + 1}" for page, number in CASES])
def test_block(page, number, maker, tools, tmp_path, stackgroup):
    block = blocks_of(page_path(page).read_text())[number]
    program = TABLE[page][number]
    if missing := missing_tools(block):
        pytest.skip(f"no {', '.join(missing)}")
    with contextlib.ExitStack() as stack:
        try:
            words = stack.enter_context(program(maker))
        except cores.Unavailable as error:
            pytest.skip(str(error))
        if page == "README.md":
            shutil.copy(maker.folder / "shop.yaml", tmp_path)
        environment, within = words.pop("environment", {}), words.pop("within", ())
        block = substituted(block, words)
        claims, code = claims_of(block)
        done = run_block(block, tools, tmp_path, within, **environment)
    said = done.stdout + done.stderr
    assert done.returncode == code, f"{block}\n-> {done.returncode}\n{said[-3000:]}"
    for claim in claims:
        assert re.search(claim, said), f"{claim}\nis not in the answer of\n{block}\n{said[:6000]}"


# What the page for scripts has besides commands.


def fence(language):
    return re.search(rf"^```{language}\n(.*?)^```$", page_path("scripts").read_text(), re.MULTILINE | re.DOTALL)[1]


@pytest.mark.parametrize("state", ["hung", "idle"])
def test_cron_line(state, maker, tools, tmp_path, stackgroup):
    """As cron runs it: by sh, with what is printed mailed."""
    if not shutil.which("pgrep"):
        pytest.skip("no pgrep")
    line = re.fullmatch(r"\*/5 \* \* \* \* root (.*)\n", fence("crontab"))[1]
    assert "%" not in line  # which ends a command in a crontab
    name = f"runbook{os.getpid() % 10000}"
    link = tmp_path / name
    if state == "hung":
        link.symlink_to(cores.build(PROGRAMS["deadlock_pool"], C_BASE).executable)
        running = [link]
    else:
        link.symlink_to(maker.plain("moving.c"))
        running = [link, "0"]
    environment = cores.child_environment(tmp_path / "truth.json", "wait")
    with findings.ready(running, env=environment):
        done = run_block("exec sh -c \"$LINE\"", tools, tmp_path,
                         LINE=line.replace("SERVER", name).replace("/var/tmp", str(tmp_path)))
    if state == "hung":
        assert done.stdout.startswith("# critical: 2 threads wait for each other") and done.stdout.count("\n") > 5, done.stderr
    else:
        assert (done.stdout, done.stderr) == ("", "")
    assert "thread profile" in (tmp_path / "stacks.txt").read_text()


@pytest.mark.parametrize("option, instead, works", [("--target=CONTAINER", "", False), ("--profile=sysadmin", "--profile=baseline", False),
                                                    ("--profile=sysadmin", "--profile=general", True)])
def test_options_of_kubectl(option, instead, works, maker, tools, tmp_path, stackgroup):
    """Each is there for a reason; the profile may be one of fewer rights, as the page for scripts says."""
    [block] = [block for block in blocks_of(page_path("scripts").read_text()) if "kubectl" in block]
    try:
        with pod(maker) as words:
            environment = words.pop("environment")
            done = run_block(substituted(block.replace(option, instead), words), tools, tmp_path, **environment)
            assert ("critical: 2 threads wait for each other" in done.stdout) == works, done.stdout + done.stderr
    except cores.Unavailable as error:
        pytest.skip(str(error))


def test_pre_stop_hook(maker, tools, tmp_path, stackgroup):
    words = re.findall(r'"([^"]*)"', re.search(r"command: \[(.*)\]", fence("yaml"))[1])
    assert words[:2] == ["sh", "-c"] and "-p 1 " in words[2] and "$(hostname)" in words[2]
    with deadlock(maker) as program:
        script = words[2].replace("-p 1 ", f"-p {program['PID']} ").replace("/dumps", str(tmp_path)).replace("$(hostname)", "pod")
        done = run_block("exec sh -c \"$HOOK\"", tools, tmp_path, HOOK=script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "thread profile: total 55" in (tmp_path / "pod.txt").read_text()


def hung_test(*arguments, **options):
    environment = oracles.environment(STACKGROUP=str(oracles.stackgroup_path()), **options.pop("environment", {}))
    return subprocess.run([ROOT / "scripts" / "hung-test", *map(str, arguments)], capture_output=True, text=True, timeout=120,
                          env=environment, **options)


def test_hung_test_passes_on(tmp_path):
    """Input, output, exit code, and nothing else."""
    done = hung_test("sh", "-c", "cat; echo error >&2; exit 7", input="input\n")
    assert (done.returncode, done.stdout, done.stderr) == (7, "input\n", "error\n")
    assert hung_test("sh", "-c", "kill -9 $$").returncode == 137
    assert hung_test("--limit=5", "/no/such/command").returncode == 127
    for wrong in ([], ["--limit=0", "true"], ["--limit=x", "true"], ["--nothing", "true"]):
        assert hung_test(*wrong).returncode == 2


def test_hung_test_ends_all(tmp_path, stackgroup):
    """Processes that the command started too, one that ignores SIGTERM among them, and the saved cores are readable."""
    script = tmp_path / "suite"
    script.write_text("trap '' TERM\n" + f"{tmp_path}/deadlock & echo $! $$; wait\n")
    environment = deadlock_command(tmp_path / "deadlock")
    done = hung_test("--limit=2", f"--save={tmp_path}/kept", "bash", script, environment=environment)
    assert done.returncode == 124, done.stderr
    pids = done.stdout.split("\n")[0].split()
    assert "critical: 2 threads wait for each other in a circle" in done.stderr
    assert sorted(os.listdir(tmp_path / "kept")) == sorted(f"hung-{pid}.{end}" for pid in pids for end in ("core", "txt"))
    assert not any(Path(f"/proc/{pid}/exe").exists() for pid in pids)
    found = findings.found(tmp_path / "kept" / f"hung-{pids[0]}.core")
    assert "pthread/deadlock" in findings.ids(found)


def test_this_test_can_fail(tools, tmp_path):
    assert run_block("true; false | cat; echo no", tools, tmp_path).returncode == 1
    with pytest.raises(AssertionError, match="nothing to put in place of PID"):
        substituted("stackgroup -p PID", {})
    assert blocks_of("# a\n\n    one\n    two\n\ntext\n\n```\nthree\n```\n\n```yaml\nno: no\n```\n- list\n    no\n") == ["one\ntwo", "three"]
