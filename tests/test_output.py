# SPDX-License-Identifier: Apache-2.0
"""The command line and what it writes: forms of arguments, filters, formats, files, terminals, exit codes."""

import hashlib
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import termios
import fcntl
from pathlib import Path

import pytest

import cores
import oracles

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def pool():
    """The demo's program: nine groups, ended by SIGABRT where the kernel writes the core."""
    try:
        return cores.make_core(cores.PROGRAMS["deadlock_pool"], cores.C_BASE, "any")
    except cores.Unavailable as error:
        pytest.skip(str(error))


def run(*arguments, **options):
    return oracles.stackgroup_run(*arguments, **options)


def document(*arguments):
    done = run("--format=json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def groups_of(result):
    return result["profiles"][0]["groups"]


def names(group):
    return [frame.get("function") for frame in group["frames"]]


# arguments


def test_forms_of_arguments(pool, stackgroup):
    plain = run(pool.path).stdout
    assert "thread profile: total" in plain
    for form in ([pool.path, pool.executable], [pool.executable, pool.path], [pool.executable, "-c", pool.path],
                 ["--exe", pool.executable, pool.path], [f"--exe={pool.executable}", f"--core={pool.path}"]):
        done = run(*form)
        assert (done.returncode, done.stdout) == (0, plain), form


@pytest.mark.parametrize("arguments, word", [
    ([], "core"), (["--nonsense", "x"], "--nonsense"), (["--top=many", "x"], "many"), (["--by=color", "x"], "color"),
    (["a", "b", "c"], "too many"), (["--format=xml", "x"], "xml"), (["--core"], "--core"), (["a", "b", "--exe=c"], "twice"),
    (["--fail-on=fatal", "x"], "fatal"),
])
def test_usage(arguments, word, stackgroup):
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert word in done.stderr and len(done.stderr.splitlines()) == 1


def test_bad_pattern(pool, stackgroup):
    done = run("--filter=ab(", pool.path)
    assert done.returncode == 2
    assert "--filter" in done.stderr and "column 4" in done.stderr


def test_help_fits_a_screen(stackgroup):
    done = run("--help")
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and len(lines) <= 24 and max(map(len, lines)) <= 80
    assert re.fullmatch(r"stackgroup \d+\.\d+\.\d+\n", run("--version").stdout)


# groups


def test_top_and_min_count(pool, stackgroup):
    everything = groups_of(document(pool.path))
    largest = [group["fingerprint"] for group in everything if not group.get("signalled")][:3]
    for option, keep in (("--top=3", lambda group: group["fingerprint"] in largest), ("--min-count=2", lambda group: group["count"] >= 2)):
        shown = groups_of(document(option, pool.path))
        wanted = [group["fingerprint"] for group in everything if keep(group) or group.get("signalled")]
        assert [group["fingerprint"] for group in shown] == wanted
        text = run(option, pool.path).stdout
        hidden = sum(group["count"] for group in everything) - sum(group["count"] for group in shown)
        assert re.search(rf"hidden.*\b{hidden}\b|\b{hidden}\b.*hidden", text), text[:600]


def test_filter_and_exclude(pool, stackgroup):
    everything = groups_of(document(pool.path))
    for option, wanted in (("--filter=^pool_take$", lambda group: "pool_take" in names(group)),
                           ("--exclude=^pool_take$", lambda group: "pool_take" not in names(group)),
                           (r"--filter=deadlock_pool\.c:\d+$", lambda group: any("deadlock_pool.c" in frame.get("file", "")
                                                                                 for frame in group["frames"]))):
        shown = [group["fingerprint"] for group in groups_of(document(option, pool.path))]
        assert shown == [group["fingerprint"] for group in everything if wanted(group) or group.get("signalled")], option


def test_signalled_group_is_first_and_never_hidden(pool, stackgroup):
    if pool.kind != "kernel":
        pytest.skip("only a core by the kernel tells of a signal here")
    for options in ([], ["--top=1"], ["--min-count=30"], ["--filter=pool_take"], ["--exclude=."]):
        result = document(*options, pool.path)
        first = groups_of(result)[0]
        assert first["signalled"] and str(result["source"]["signal"]["tid"]) in first["members"], options
        assert result["source"]["signal"]["name"] == "SIGABRT"


def test_by(many_core, stackgroup):
    counts = {by: [group["count"] for group in groups_of(document(f"--by={by}", many_core.path))] for by in ("pc", "line", "function")}
    assert len(counts["pc"]) >= len(counts["line"]) >= len(counts["function"])
    assert len({sum(each) for each in counts.values()}) == 1


def test_order(many_core, stackgroup):
    """Count falling, then the address text rising, as Go sorts; only the signalled group stands apart."""
    lines = re.findall(r"^(\d+) (@(?: 0x[0-9a-f]+)+)$", run(many_core.path).stdout, re.M)
    keys = [(-int(count), text) for count, text in lines]
    if re.search("^# signalled", run(many_core.path).stdout, re.M):
        keys = keys[1:]
    assert keys == sorted(keys) and len(keys) > 5


def test_members(pool, stackgroup):
    result = document("--members", pool.path)
    for group in groups_of(result):
        assert [detail["id"] for detail in group["members_detail"]] == group["members"]
        assert len(set(group["members"])) == group["count"]
    text = run("--members", pool.path).stdout
    assert max(map(len, text.splitlines())) < 65536
    for group in groups_of(result):
        for member in group["members"]:
            assert re.search(rf"^# member {member}: ", text, re.M)


def normalised(name):
    """As the schema's description of `fingerprint` tells; enough for this program's names."""
    return re.sub(r"(\.(constprop|isra|part|cold)(\.\d+)*)+$", "", name)


def test_fingerprint_can_be_recomputed(pool, stackgroup):
    machinery = re.compile(r"^_*(GI_)?_*(futex_|lll_|syscall_cancel|internal_syscall_cancel|syscall_cp|timedwait|do_futex_wait|"
                           r"pthread_cond_wait_common|new_sem_wait_slow)")
    for group in groups_of(document(pool.path)):
        real = [normalised(frame["function"]) for frame in group["frames"] if not frame.get("inlined") and "function" in frame]
        while len(real) > 1 and machinery.match(real[0]):
            real.pop(0)
        assert group["fingerprint"] == hashlib.sha256("\n".join(real).encode()).hexdigest()[:16]


def test_lines_off(pool, stackgroup):
    with_lines, without = groups_of(document(pool.path)), groups_of(document("--lines=off", pool.path))
    assert not any("line" in frame for group in without for frame in group["frames"])
    assert any("line" in frame for group in with_lines for frame in group["frames"])
    assert sorted(group["fingerprint"] for group in without) == sorted(group["fingerprint"] for group in with_lines)


# findings

RULE = """
plugin: test
version: 1
about: what the tests of the output look for
rules:
  - id: cycle
    severity: critical
    detector: lock-cycle
    for: threads
    title: '{members} threads are deadlocked'
  - id: taking
    severity: warning
    for: threads
    any: ['^pool_take$']
    at-least: 10
    title: '{members} threads want a connection'
    advice: |
      Give some back.
"""


@pytest.fixture(scope="module")
def rule(tmp_path_factory):
    """A plugin of two rules and the option that leaves all others out: one critical finding and one warning in the
    pool's core, whatever is built in."""
    path = tmp_path_factory.mktemp("plugins") / "test.yaml"
    path.write_text(RULE)
    return [f"--plugin={path}", "--rule=test"]


def test_verdict_comes_first(pool, rule, stackgroup, tmp_path):
    """The deadlock of the two accounts and the rule's own finding: above the groups in text, whole in JSON, and pprof
    still reads the file."""
    text = run(pool.path, *rule).stdout
    lines = text.splitlines()
    titles = [number for number, line in enumerate(lines) if re.match("# (critical|warning)(, [a-z]+)?: ", line)]
    assert titles[0] == 1 and lines[1] == "# critical: 2 threads are deadlocked", lines[:20]
    assert len(titles) == 2 and lines[titles[1]] == "# warning, inferred: 40 threads want a connection"
    assert max(titles) < lines.index(next(line for line in lines if line.startswith("thread profile: ")))
    verdict = lines[1 : next(number for number, line in enumerate(lines) if line.startswith("# process: "))]
    assert len(verdict) <= 20 and max(map(len, lines)) < 65536
    (tmp_path / "threads.txt").write_text(text)
    result = document(pool.path, *rule)
    assert oracles.pprof_total(oracles.pprof_raw(tmp_path / "threads.txt")) == result["profiles"][0]["total"]
    found = {finding["id"]: finding for finding in result["findings"]}
    crowd = next(group for group in groups_of(result) if group["count"] == 40)
    assert found["test/taking"]["fingerprints"] == [crowd["fingerprint"]]
    assert found["test/taking"]["group_ids"] == [crowd["id"]] and found["test/taking"]["members"] == 40
    cycles = [finding for finding in result["findings"] if finding.get("cycles")]
    assert len(cycles) == 1 and cycles[0]["severity"] == "critical" and len(cycles[0]["cycles"]) == 1
    two = {member for group in groups_of(result) if "transfer_money" in names(group) for member in group["members"]}
    assert set(cycles[0]["cycles"][0]) == two and len(two) == 2
    assert {(edge["waiter"]["id"], edge["holder"]["id"]) for edge in cycles[0]["edges"]} == {tuple(two), tuple(two)[::-1]}


def test_groups_tell_what_they_wait_for(pool, stackgroup):
    result = document(pool.path)
    locked = [group for group in groups_of(result) if "transfer_money" in names(group)]
    waits = [wait for group in locked for wait in group["waits"]]
    assert [wait["kind"] for wait in waits] == ["mutex", "mutex"] and all(wait["members"] == 1 for wait in waits)
    members = [group["members"][0] for group in locked]
    assert [wait["holder"]["id"] for wait in waits] == members[::-1]
    assert len({wait["resource"]["address"] for wait in waits}) == 2
    text = run(pool.path).stdout
    for member, wait in zip(members, waits):
        assert re.search(rf"^# waits: 1 on mutex {wait['resource']['address']}.*, held by thread {wait['holder']['id']} "
                         rf"\(read\): {member}$", text, re.M), text


def test_fail_on(pool, rule, stackgroup, tmp_path):
    only = [pool.path, rule[0], "--rule=test/taking"]
    for severity, code in (("info", 1), ("warning", 1), ("critical", 0), ("none", 0)):
        assert run(*only, f"--fail-on={severity}").returncode == code, severity
    assert run(*only).returncode == 0
    assert run(pool.path, *rule, "--fail-on=critical").returncode == 1
    assert run(pool.path, "--fail-on=info", "--no-rules").returncode == 0
    cut = tmp_path / "core.cut"
    cut.write_bytes(Path(pool.path).read_bytes()[: Path(pool.path).stat().st_size * 7 // 10])
    assert run("--strict", cut, *only[1:]).returncode == 4
    found = bool(document(cut, *only[1:])["findings"])
    assert run("--strict", cut, *only[1:], "--fail-on=warning").returncode == (1 if found else 4)


def test_without_rules_no_verdict(pool, rule, stackgroup):
    without = run(pool.path, "--no-rules")
    assert "critical" not in without.stdout and "findings" not in without.stdout
    assert "rules" not in document(pool.path, "--no-rules") and document(pool.path, "--no-rules")["findings"] == []


def test_findings_see_hidden_groups(pool, rule, stackgroup):
    options = [pool.path, *rule, "--filter=^no_such_function$"]
    assert "40 threads want a connection" in run(*options).stdout
    finding = next(finding for finding in document(*options)["findings"] if finding["id"] == "test/taking")
    assert finding["group_ids"] == [] and len(finding["fingerprints"]) == 1


def test_no_findings_is_said_where_rules_ran(many_core, rule, stackgroup):
    assert run(many_core.path, *rule).stdout.splitlines()[1] == "# findings: none (2 rules)"
    assert document(many_core.path, *rule)["rules"] == 2


# formats and files


def test_json_schema(pool, many_core, rule, stackgroup):
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((ROOT / "analyzer" / "stackgroup.schema.json").read_text())
    for core in (pool, many_core):
        for options in ([], rule, ["--no-rules"], ["--members", "--stats"], ["--lines=off", "--top=1"], ["--cross-check"]):
            jsonschema.validate(document(*options, core.path), schema)


def test_text_and_json_agree(pool, stackgroup):
    lines = re.findall(r"^(\d+) @((?: 0x[0-9a-f]+)+)$", run(pool.path).stdout, re.M)
    for (count, addresses), group in zip(lines, groups_of(document(pool.path)), strict=True):
        real = [frame for frame in group["frames"] if not frame.get("inlined")]
        assert int(count) == group["count"] and len(addresses.split()) == len(real)


def test_output_file(pool, tmp_path, stackgroup):
    target = tmp_path / "report.txt"
    target.write_text("old")
    done = run(pool.path, "-o", target)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert target.read_text() == run(pool.path).stdout
    assert os.listdir(tmp_path) == ["report.txt"]


def test_failed_run_keeps_the_old_file(tmp_path, stackgroup):
    target = tmp_path / "report.txt"
    target.write_text("old")
    assert run("/nonexistent/core", "-o", target).returncode == 3
    assert target.read_text() == "old" and os.listdir(tmp_path) == ["report.txt"]


def test_output_that_cannot_be_written(pool, tmp_path, stackgroup):
    done = run(pool.path, "-o", tmp_path / "missing" / "report.txt")
    assert done.returncode == 3 and "missing/report.txt" in done.stderr
    if os.path.exists("/dev/full"):
        with open("/dev/full", "w") as full:
            done = subprocess.run([stackgroup, pool.path], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
        assert done.returncode == 3 and "No space left" in done.stderr


def test_same_input_same_bytes(pool, stackgroup):
    for form in ("text", "json"):
        assert run(f"--format={form}", pool.path).stdout == run(f"--format={form}", pool.path).stdout


def on_terminal(command, columns=100, **environment):
    """The bytes that a program writes when its output is a terminal of so many columns."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    clean = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")}
    process = subprocess.Popen(command, stdin=child, stdout=child, stderr=subprocess.PIPE, env={**clean, "TERM": "xterm", **environment})
    os.close(child)
    written = b""
    while True:
        ready, _, _ = select.select([parent], [], [], 60)
        try:
            more = os.read(parent, 65536) if ready else b""
        except OSError:
            break
        if not more:
            break
        written += more
    os.close(parent)
    assert process.wait(60) == 0, process.stderr.read()
    return written.decode()


def test_terminal(pool, stackgroup):
    escape = re.compile(r"\x1b\[[0-9;]*m")
    colored = on_terminal([stackgroup, pool.path])
    assert escape.search(colored)
    for columns in (60, 100, 200):
        plain = escape.sub("", on_terminal([stackgroup, pool.path], columns=columns))
        assert max(len(line) for line in plain.splitlines()) <= columns
        assert "pool_take" in plain and "40 threads" in plain
    assert "\x1b" not in on_terminal([stackgroup, pool.path], NO_COLOR="1")
    assert "\x1b" not in on_terminal([stackgroup, pool.path], TERM="dumb")
    assert "\x1b" not in on_terminal([stackgroup, "--color=never", pool.path])
    assert "\x1b" not in run(pool.path).stdout


def test_broken_pipe_is_quiet(many_core, stackgroup):
    done = subprocess.run(f"'{stackgroup}' --format=json --members '{many_core.path}' | head -c 100 >/dev/null", shell=True,
                          stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.stderr == ""


def test_interrupted_run_leaves_no_file(pool, tmp_path, stackgroup):
    """SIGINT while a report is written to a FILE: the old one stays, nothing new."""
    target = tmp_path / "report.json"
    target.write_text("old")
    for delay in (0.0, 0.002, 0.005, 0.01, 0.02, 0.05):
        process = subprocess.Popen([stackgroup, "--format=json", pool.path, "-o", target], stderr=subprocess.PIPE)
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
        code = process.wait(60)
        assert code in (0, -signal.SIGINT)
        assert os.listdir(tmp_path) == ["report.json"]
        content = target.read_text()
        assert content == "old" or json.loads(content)["schema"] == "stackgroup/1"


# files that the core names


def test_sysroot_and_debug_path(pool, tmp_path, stackgroup):
    """The program and its debug file only below other folders: found there, and as good."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    server = shutil.copy(pool.executable, folder / "server")
    done = subprocess.run(["sh", "-c", f"cd '{folder}' && ulimit -c unlimited && TESTCORE_END=abort TESTCORE_TRUTH=truth ./server"],
                          capture_output=True, timeout=60)
    found = [name for name in os.listdir(folder) if name.startswith("core")]
    if not found:
        pytest.skip(f"no core was written: {done.stderr[-200:]}")
    core = folder / found[0]
    whole = document(core)
    debug = subprocess.run(["readelf", "-n", server], capture_output=True, text=True, check=True).stdout
    build_id = re.search(r"Build ID: ([0-9a-f]+)", debug).group(1)
    store = tmp_path / "debug" / ".build-id" / build_id[:2]
    store.mkdir(parents=True)
    subprocess.run(["objcopy", "--only-keep-debug", server, store / f"{build_id[2:]}.debug"], check=True)
    subprocess.run(["strip", server], check=True)
    root = tmp_path / "root"
    (root / str(folder).lstrip("/")).mkdir(parents=True)
    shutil.move(server, root / str(folder).lstrip("/") / "server")

    def own_frames(result):
        return sorted((group["count"], [(frame.get("function"), frame.get("line")) for frame in group["frames"]
                                        if "deadlock_pool.c" in frame.get("file", "")]) for group in groups_of(result))

    lost = document(core)
    assert any("server" in entry["subject"] and entry["code"] == "module-missing" for entry in lost["diagnostics"])
    assert sum(group["count"] for group in groups_of(lost)) == sum(group["count"] for group in groups_of(whole))
    stripped = document(f"--sysroot={root}", core)
    assert not any("file" in frame and "deadlock_pool.c" in frame["file"] for group in groups_of(stripped) for frame in group["frames"])
    assert own_frames(document(f"--sysroot={root}", f"--debug-path={tmp_path / 'debug'}:/usr/lib/debug", core)) == own_frames(whole)
    assert any(frames for _, frames in own_frames(whole))


def test_strict(pool, tmp_path, stackgroup):
    """A core that lost its end: everyday losses exit with 0, and with 4 where --strict asks."""
    assert run("--strict", pool.path).returncode == 0
    data = Path(pool.path).read_bytes()
    cut = tmp_path / "core.cut"
    cut.write_bytes(data[: len(data) * 7 // 10])
    assert run(cut).returncode == 0
    done = run("--strict", cut)
    assert done.returncode == 4 and "# loss:" in done.stdout


