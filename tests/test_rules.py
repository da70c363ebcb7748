# SPDX-License-Identifier: Apache-2.0
"""Rules from the outside: where plugins come from, what broken ones do, and `stackgroup rules`."""

import json
import os
import subprocess
from pathlib import Path

import pytest

import oracles

DUMP = """goroutine profile: total 12
11 @ 0x1000 0x2000
#\t0xfff\tpool.(*Pool).get+0x12\t/x/pool.go:12
#\t0x1fff\tmain.serve+0x1\t/x/main.go:3

1 @ 0x3000
#\t0x2fff\tmain.main+0x1\t/x/main.go:9
"""

RULE = r"""plugin: PLUGIN
version: 1
rules:
  - id: waits
    severity: warning
    leaf: '^pool\.\(\*Pool\)\.(?<op>\w+)$'
    at-least: 10
    by: op
    title: 'TITLE {members} {kind} in {op}'
    advice: Take one connection only.
    runbook: pool.md
    examples:
      - finds: |
DUMP
      - silent: |
          goroutine profile: total 1
          1 @ 0x3000
          #	0x2fff	main.main+0x1	/x/main.go:9
"""


def rule(plugin="mine", title="title", dump=DUMP):
    indented = "\n".join(" " * 10 + line if line else "" for line in dump.splitlines())
    return RULE.replace("PLUGIN", plugin).replace("TITLE", title).replace("DUMP", indented)


@pytest.fixture
def folder(tmp_path):
    """A dump, a plugin, and configuration folders that are empty."""
    (tmp_path / "dump.txt").write_text(DUMP)
    (tmp_path / "mine.yaml").write_text(rule())
    (tmp_path / "config/stackgroup/plugins").mkdir(parents=True)
    return tmp_path


def run(folder, *arguments):
    environment = {**os.environ, "XDG_CONFIG_HOME": str(folder / "config"), "HOME": str(folder)}
    return subprocess.run([str(oracles.stackgroup_path()), *map(str, arguments)], capture_output=True, text=True,
                          env=environment, timeout=60)


def findings(folder, *arguments):
    done = run(folder, "--format=json", folder / "dump.txt", *arguments)
    assert done.returncode in (0, 4), done.stderr
    document = json.loads(done.stdout)
    return document.get("findings", []), document["diagnostics"], done.returncode


def mine(found):
    return [finding for finding in found if finding["id"] == "mine/waits"]


def test_plugin_option(folder):
    found, _, code = findings(folder, "--plugin", folder / "mine.yaml")
    assert code == 0
    [finding] = mine(found)
    assert finding["title"] == "title 11 goroutines in get"
    assert finding["severity"] == "warning"
    assert finding["members"] == 11
    assert finding["keys"]["op"] == "get"
    assert finding["advice"] == "Take one connection only."
    assert not mine(findings(folder)[0])


def test_folders(folder):
    configured = folder / "config/stackgroup/plugins"
    (configured / "a.yaml").write_text(rule(title="configured"))
    (configured / "b.txt").write_text("no plugin")
    (configured / ".hidden.yaml").write_text("no plugin")
    [finding] = mine(findings(folder)[0])
    assert finding["title"].startswith("configured")
    # What is named comes first; that another one lies there is said.
    found, diagnostics, code = findings(folder, "--plugin", folder)
    assert [finding["title"] for finding in mine(found)] == ["title 11 goroutines in get"]
    assert [(one["code"], one["subject"]) for one in diagnostics if one["code"] == "plugin-replaced"] == \
        [("plugin-replaced", str(configured / "a.yaml"))]
    assert code == 0


def test_runbook(folder):
    """A rule's page alone, by rule, plugin or page; a user's page hides a built-in one of its name."""
    for name in ("pthread/deadlock", "deadlock", "lock-cycle", "lock-cycle.md"):
        done = run(folder, "runbook", name)
        assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("# Threads or goroutines wait"), name
        assert done.stdout.count("\n# ") == 0
    done = run(folder, "runbook", "pthread")
    assert done.stdout.count("# Many wait for one lock\n") == 1 and "# The owner of a lock has ended\n" in done.stdout
    index = run(folder, "runbook")
    assert index.returncode == 0 and index.stdout.startswith("# From symptom to command\n")
    assert run(folder, "runbook", "symptoms").stdout == index.stdout
    (folder / "pool.md").write_text("# My page\n")
    for name in ("mine/waits", "mine", "pool"):
        assert run(folder, "runbook", name, "--plugin", folder / "mine.yaml").stdout == "# My page\n"
    (folder / "pool.md").rename(folder / "lock-cycle.md")
    done = run(folder, "runbook", "mine/waits", "--plugin", folder / "mine.yaml")
    assert done.returncode == 3 and done.stdout == "" and "mine/waits: pool.md cannot be read" in done.stderr
    (folder / "mine.yaml").write_text(rule().replace("pool.md", "lock-cycle.md"))
    assert run(folder, "runbook", "lock-cycle", "--plugin", folder / "mine.yaml").stdout == "# My page\n"


@pytest.mark.parametrize("name, near", (("lockcycle", "near: lock-cycle;"), ("pthread/dedlock", "near: pthread/deadlock;"),
                                        ("go/leaks", "near: go/leak;"), ("xyzzy", "'xyzzy'; see"), ("", "''; see"),
                                        ("a" * 5000, "a'; see"), ("\033[2J", "; see")))
def test_unknown_runbook(folder, name, near):
    done = run(folder, "runbook", name)
    assert done.returncode == 2 and done.stdout == "", done.stdout
    assert "no page, rule or plugin is called" in done.stderr and near in done.stderr and "\033" not in done.stderr


def test_runbook_usage(folder):
    assert run(folder, "runbook", "a", "b").returncode == 2
    assert run(folder, "runbook", "--nothing").returncode == 2
    done = run(folder, "runbook", "--help")
    assert done.returncode == 0 and done.stdout.startswith("Usage: stackgroup runbook [ID]")


def test_only_one_rule(folder):
    for name in ("mine/waits", "mine", "waits"):
        assert mine(findings(folder, "--plugin", folder / "mine.yaml", "--rule", name)[0])
    (folder / "other.yaml").write_text(rule("other"))
    found = findings(folder, "--plugin", folder, "--rule=other")[0]
    assert [finding["id"] for finding in found] == ["other/waits"]
    done = run(folder, folder / "dump.txt", "--rule=nothing")
    assert done.returncode == 2 and "'nothing'" in done.stderr
    assert not findings(folder, "--no-rules")[0]
    assert run(folder, "--no-rules", "--rule=x", folder / "dump.txt").returncode == 2


def test_broken_plugin_is_skipped(folder):
    (folder / "broken.yaml").write_text("plugin: broken\nversion: 1\nrules:\n  - id: a\n    severty: info\n    title: t\n"
                                        "    leaf: 'foo('\n    any: plain\n")
    found, diagnostics, code = findings(folder, "--plugin", folder)
    assert code == 4
    assert mine(found)
    told = [one["message"] for one in diagnostics if one["code"] == "plugin-error"]
    places = [message.removeprefix(f"{folder}/broken.yaml:").split(" ")[0] for message in told]
    assert places == ["4:5:", "5:5:", "7:16:", "8:10:"]
    done = run(folder, "rules", "list", "--plugin", folder)
    assert done.returncode == 4
    assert f"{folder}/broken.yaml:7:16: missing closing parenthesis, in 'foo('\n        leaf: 'foo('\n" + \
        " " * (4 + 15) + "^\n" in done.stderr
    assert "mine/waits" in done.stdout


def test_unreadable_plugin(folder):
    done = run(folder, folder / "dump.txt", "--plugin", folder / "missing.yaml")
    assert done.returncode == 3 and "missing.yaml" in done.stderr
    os.mkfifo(folder / "config/stackgroup/plugins/fifo.yaml")
    found, diagnostics, code = findings(folder, "--plugin", folder / "mine.yaml")
    assert mine(found) and code == 4
    assert [one["code"] for one in diagnostics if one["subject"].endswith("fifo.yaml")] == ["plugin-unreadable"]
    with open(folder / "large.yaml", "wb") as file:
        file.truncate(1 << 30)
    done = run(folder, folder / "dump.txt", "--plugin", folder / "large.yaml")
    assert done.returncode == 3 and "too large" in done.stderr.lower()


def test_list_and_show(folder):
    (folder / "pool.md").write_text("# The pool\n\nWait.\n")
    done = run(folder, "rules", "list", "--plugin", folder / "mine.yaml")
    assert done.returncode == 0
    [line] = [line for line in done.stdout.splitlines() if line.startswith("mine/waits")]
    assert line.split() == ["mine/waits", "warning", "count", "title", "{members}", "{kind}", "in", "{op}"]
    done = run(folder, "rules", "show", "mine/waits", "--plugin", folder / "mine.yaml")
    assert done.returncode == 0
    for part in (f"{folder}/mine.yaml:4\n", "  Take one connection only.\n", "# The pool\n\nWait.\n"):
        assert part in done.stdout
    assert run(folder, "rules", "show", "nothing").returncode == 2


def test_examples(folder):
    done = run(folder, "rules", "test", folder / "mine.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"{'ok':8} {'mine/waits':32} 2 examples",
                                        "1 rules, 2 examples: 0 failed, 0 rules without examples"]
    # Both ways: what must be found and is not, and what is found and must not be.
    (folder / "mine.yaml").write_text(rule(dump=DUMP.replace("pool.(*Pool).get", "other.get")))
    done = run(folder, "rules", "test", folder)
    assert done.returncode == 1
    assert f"    {folder}/mine.yaml:14: finds: nothing was found\n" in done.stdout
    assert "leaf                         FAILS: 0 goroutines" in done.stdout
    (folder / "mine.yaml").write_text(rule().replace("finds: |", "silent: |"))
    done = run(folder, "rules", "test", folder / "mine.yaml")
    assert done.returncode == 1
    assert f"    {folder}/mine.yaml:14: silent: title 11 goroutines in get\n" in done.stdout
    (folder / "mine.yaml").write_text(rule(dump="nonsense"))
    done = run(folder, "rules", "test", folder / "mine.yaml")
    assert done.returncode == 1 and f"{folder}/mine.yaml:14: finds: " in done.stdout
    (folder / "mine.yaml").write_text("rules: 3\n")
    done = run(folder, "rules", "test", folder / "mine.yaml")
    assert done.returncode == 1 and "mine.yaml:1:8:" in done.stderr


def test_explain(folder):
    done = run(folder, "rules", "explain", folder / "dump.txt", "--plugin", folder / "mine.yaml", "--rule=mine")
    assert done.returncode == 0
    assert done.stdout.startswith("mine/waits: found: title 11 goroutines in get\n")
    (folder / "mine.yaml").write_text(rule().replace("at-least: 10", "at-least: 12\n    share: 95%\n    root: 'nobody'"))
    lines = run(folder, "rules", "explain", folder / "dump.txt", "--plugin", folder / "mine.yaml").stdout.splitlines()
    at = lines.index("mine/waits (count): nothing found")
    assert [line.split() for line in lines[at + 1:at + 6]] == [
        ["leaf", "11", "goroutines"], ["root", "FAILS:", "0", "goroutines"], ["all", "conditions", "0", "of", "12", "goroutines"],
        ["at-least", "12", "FAILS:", "0"], ["share", "95.0%", "FAILS:", "0.0%"]]
    # A rule of which nothing holds is not worth a line, unless it is asked for.
    (folder / "mine.yaml").write_text(rule().replace(r"^pool\.", r"^nobody\."))
    arguments = ("rules", "explain", folder / "dump.txt", "--plugin", folder / "mine.yaml")
    assert "mine/waits" not in run(folder, *arguments).stdout
    assert "mine/waits (count): nothing found" in run(folder, *arguments, "--rule=mine/waits").stdout


@pytest.mark.parametrize("arguments", [(), ("nothing",), ("show",), ("list", "x"), ("test",), ("explain", "a", "b"), ("--x",),
                                       ("list", "--plugin")])
def test_usage(arguments, folder):
    done = run(folder, "rules", *arguments)
    assert done.returncode == 2 and done.stderr


def test_help(folder):
    done = run(folder, "rules", "--help")
    assert done.returncode == 0
    assert all(len(line) <= 80 for line in done.stdout.splitlines())


def test_shipped_examples(folder):
    plugins = Path(__file__).resolve().parent.parent / "plugins"
    if not list(plugins.glob("*.yaml")):
        pytest.skip("no plugins in plugins/")
    done = run(folder, "rules", "test", plugins)
    assert done.returncode == 0, done.stdout


def many_threads(path):
    """10,000 threads in 50 groups, 25 frames each, in the text form of our own."""
    lines, thread = ["thread profile: total 10000"], 1000
    leaves = (["futex_wait", "__GI___lll_lock_wait", "___pthread_mutex_lock"], ["__GI___poll", "poll_wait", "loop"],
              ["__GI___libc_read", "redisBufferRead", "redisGetReply"])
    for number in range(50):
        frames = [*leaves[number % 3], *(f"ns{number}::Type{i}<std::vector<int> >::run(std::map<int, std::string> const&)"
                                         for i in range(20)), "start_thread", "clone3"]
        pcs = [0x400000 + 4096 * number + 16 * i for i in range(len(frames))]
        lines.append("200 @ " + " ".join(map(hex, pcs)))
        lines.append("# state: futex wait 200")
        lines += ["# members: " + " ".join(map(str, range(thread + i, thread + i + 25))) for i in range(0, 200, 25)]
        lines += [f"#\t{pc - 1:#x}\t{name}+0x1\t/src/x{number}.cc:{pc % 1000}" for pc, name in zip(pcs, frames)]
        lines.append("")
        thread += 200
    path.write_text("\n".join(lines) + "\n")


def test_cost(folder):
    many_threads(folder / "many.txt")
    seconds = []
    for _ in range(5):
        document = json.loads(run(folder, "--format=json", "--stats", folder / "many.txt").stdout)
        seconds.append(document["stats"]["seconds"]["detect"])
    assert document["profiles"][0]["total"] == 10000
    # The least of them: others use the machine too.
    assert min(seconds) < 0.020
