# SPDX-License-Identifier: Apache-2.0
"""plugins/: every example holds, every rule has a page, and the language is what plugins/README.md says: a rule written from that page
alone works."""

import re

import pytest

import cores
import findings
import oracles

PLUGINS = cores.ROOT / "plugins"
README = (PLUGINS / "README.md").read_text()
FILES = sorted(PLUGINS.glob("*.yaml"))
# What no dump tells of, only a process that runs.
LIVE_ONLY = {"descriptors"}


def rules_of(path):
    """The blocks of a file's rules, as text: id and lines."""
    blocks = re.split(r"^  - id: ", path.read_text(), flags=re.MULTILINE)
    return [(block.split("\n", 1)[0], block) for block in blocks[1:]]


def all_rules():
    return [(path, name, block) for path in FILES for name, block in rules_of(path)]


def test_examples_hold():
    """`stackgroup rules test plugins/`."""
    done = oracles.stackgroup_run("rules", "test", str(PLUGINS), seconds=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 failed" in done.stdout or "failed" not in done.stdout.lower(), done.stdout


@pytest.mark.parametrize("path, name, block", [pytest.param(*row, id=f"{row[0].stem}/{row[1]}") for row in all_rules()])
def test_rule_is_whole(path, name, block):
    """Examples of both kinds, a page that exists and names the rule, advice of 2 to 5 lines."""
    # What only memory tells has no dump that shows it: tests/test_go_pools.py.
    if path.stem not in LIVE_ONLY and "\n    lent: " not in block:
        assert "\n      - finds: |\n" in block and "\n      - silent: |\n" in block
    page = re.search(r"^    runbook: (\S+)$", block, re.MULTILINE)
    assert page and (PLUGINS / page[1]).is_file()
    text = (PLUGINS / page[1]).read_text()
    assert name in text, f"{page[1]} does not name {path.stem}/{name}"
    for heading in ("What it means", "How to confirm", "What to do now", "How to fix it for good", "What else looks like it"):
        assert f"## {heading}\n" in text, f"{page[1]} has no '{heading}'"
    advice = re.search(r"^    advice: \|\n((?:      .*\n)+)", block, re.MULTILINE)
    assert advice and 2 <= len(advice[1].splitlines()) <= 5


def test_index_is_whole():
    indexed = re.findall(r"^\| `([a-z0-9/-]+)` \| (\w+) \|", README, re.MULTILINE)
    severities = {f"{path.stem}/{name}": re.search(r"^    severity: (\w+)", block, re.MULTILINE)[1] for path, name, block in all_rules()}
    assert dict(indexed) == severities


def test_no_example_names_a_machine():
    """Sources are relative, as -trimpath and the compilers of a distribution leave them."""
    for path in FILES:
        found = re.findall(r"\s(/(?:tmp|work|home|root)/\S*)", path.read_text())
        assert not found, f"{path.name}: {found[:3]}"


def test_built_in():
    """All of them are in the program, with their pages."""
    listed = oracles.stackgroup_run("rules", "list")
    assert listed.returncode == 0
    for path, name, block in all_rules():
        assert f"{path.stem}/{name}" in listed.stdout
    shown = oracles.stackgroup_run("rules", "show", "pthread/deadlock")
    assert shown.returncode == 0 and "# Threads or goroutines wait for each other" in shown.stdout


# A user's own rule.


@pytest.fixture
def license_dump(tmp_path):
    """The dump of the README's worked example."""
    dump = re.search(r"```text\n(14 @ .*?)```", README, re.DOTALL)[1]
    path = tmp_path / "dump.txt"
    path.write_text("thread profile: total 14\n" + dump)
    return path


def test_rule_of_ten_lines(tmp_path, license_dump, monkeypatch):
    """The README's rule, taken from it by character."""
    rule = re.search(r"```yaml\n(plugin: shop\n.*?)```", README, re.DOTALL)[1]
    assert len(rule.splitlines()) <= 12
    plugin = tmp_path / "shop.yaml"
    plugin.write_text(rule)
    found = findings.found("--plugin", str(plugin), str(license_dump))
    mine = [finding for finding in found if finding["id"] == "shop/license-server"]
    assert len(mine) == 1
    assert mine[0]["severity"] == "warning" and mine[0]["members"] == 14
    assert mine[0]["title"] == "14 threads wait for the license server"
    assert "lmstat" in mine[0]["advice"]
    # The same from a folder, and from the user's configuration.
    assert [finding["id"] for finding in findings.found("--plugin", str(tmp_path), str(license_dump))].count("shop/license-server") == 1
    configuration = tmp_path / "config" / "stackgroup" / "plugins"
    configuration.mkdir(parents=True)
    (configuration / "shop.yaml").write_text(rule)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    done = oracles.stackgroup_run(str(license_dump))
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert done.returncode == 0 and "14 threads wait for the license server" in done.stdout
    # Without it: nothing.
    assert "shop/license-server" not in findings.ids(findings.found(str(license_dump)))


def test_examples_of_the_readme(tmp_path):
    """The rule with the examples that the page shows, tested as the page says."""
    rule = re.search(r"```yaml\n(plugin: shop\n.*?)```", README, re.DOTALL)[1]
    examples = re.search(r"```yaml\n(    examples:\n.*?)```", README, re.DOTALL)[1]
    plugin = tmp_path / "shop.yaml"
    plugin.write_text(rule + examples)
    done = oracles.stackgroup_run("rules", "test", str(plugin))
    assert done.returncode == 0, done.stdout + done.stderr
    # A silent example that is not silent fails.
    plugin.write_text(rule + examples.replace("- silent:", "- finds:"))
    done = oracles.stackgroup_run("rules", "test", str(plugin))
    assert done.returncode == 1 and "shop/license-server" in done.stdout


@pytest.mark.parametrize("broken, place, word", (
    ("    stack: ['^recv(', '^lic_']", "7:20", "parenthes"),
    ("    stack: ^recv", "7:12", "single-quoted"),
    ("    stak: ['^recv']", "7:5", "stack"),
    ("    at-leest: 3", "7:5", "at-least"),
    ("    severity: bad", "7:", "severity"),
    ("    waits-on: mutx", "7:15", "mutex"),
))
def test_broken_rules_are_told(tmp_path, license_dump, broken, place, word):
    """File, line, column; the file is left out, the analysis goes on, and the exit code says incomplete."""
    lines = ["plugin: broken", "version: 1", "rules:", "  - id: one", "    severity: info", "    title: 'one'", broken]
    if "severity" in broken:
        lines[4] = "    at-least: 1"
    plugin = tmp_path / "broken.yaml"
    plugin.write_text("\n".join(lines) + "\n")
    done = oracles.stackgroup_run("--plugin", str(plugin), str(license_dump))
    assert done.returncode == 4, done.stderr
    assert f"broken.yaml:{place}" in done.stdout, done.stdout
    assert word in done.stdout
    assert "thread profile: total 14" in done.stdout


def test_all_errors_of_a_file(tmp_path):
    plugin = tmp_path / "broken.yaml"
    plugin.write_text("plugin: broken\nversion: 1\nrules:\n  - id: one\n    severity: high\n    title: 'one'\n    any: ['(']\n"
                      "  - id: one\n    severity: info\n    title: 'two'\n")
    done = oracles.stackgroup_run("rules", "test", str(plugin))
    assert done.returncode != 0
    said = done.stdout + done.stderr
    for line in (5, 7, 8):
        assert f"broken.yaml:{line}:" in said, said


# Rules that need a process.


@pytest.fixture(scope="module")
def sockets(tmp_path_factory):
    return findings.build_plain("sockets.c", tmp_path_factory.mktemp("sockets"))


@pytest.mark.parametrize("way, count, rule", (("close-wait", "40", "descriptors/close-wait"), ("limit", "64", "descriptors/exhausted")))
def test_descriptors(sockets, way, count, rule):
    with findings.ready([sockets, way, count]) as child:
        found = findings.found("-p", str(child.pid))
    assert findings.ids(findings.above_info(found)) == [rule]
    assert count in re.findall(r"\d+", found[0]["title"])


@pytest.mark.parametrize("define, package", sorted(findings.CLIENTS.items()))
def test_clients(tmp_path, define, package):
    """A connection under a lock, and a pool whose holders take a second one."""
    plugin = {"CLIENT_LIBPQ": "libpq", "CLIENT_HIREDIS": "hiredis", "CLIENT_MYSQL": "mysql"}[define]
    try:
        program = findings.build_with("clients.c", define, package, tmp_path)
    except cores.Unavailable as error:
        pytest.skip(str(error))
    with findings.ready([program, "lock"]) as child:
        found = findings.above_info(findings.found("-p", str(child.pid)))
    assert findings.ids(found) == [f"{plugin}/connection-under-lock"] and found[0]["members"] == 12
    with findings.ready([program, "pool"]) as child:
        found = findings.found("-p", str(child.pid))
    assert findings.ids(found) == ["pools/native"] and found[0]["members"] == 15
    # One works with its connection, and names alone say that the others nest: a busy pool looks like that. Of libmariadb, whose
    # own frames have no names, that one is not recognised.
    assert found[0]["severity"] == ("critical" if plugin == "mysql" else "info")
    assert "order_list" in findings.told(found[0])


@pytest.mark.parametrize("define, package, rule", (("WORKERS_GLIB", "gio-2.0", "glib"), ("WORKERS_LIBUV", "libuv", "libuv")))
def test_workers(tmp_path, define, package, rule):
    try:
        program = findings.build_with("workers.c", define, package, tmp_path)
    except cores.Unavailable as error:
        pytest.skip(str(error))
    with findings.ready([program, "stuck"]) as child:
        assert f"{rule}/pool-jobs-wait" in findings.ids(findings.found("-p", str(child.pid)))


def test_cost_of_rules(many_core):
    """All rules together: the best of some runs, as others share the machine."""
    seconds = [findings.stackgroup_json("--stats", str(many_core.path))["stats"]["seconds"]["detect"] for _ in range(10)]
    assert min(seconds) < 0.02, seconds
