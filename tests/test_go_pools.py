# SPDX-License-Identifier: Apache-2.0
"""Pools of Go programs, from cores: who holds one while he asks for another, by code and counters, and who is only busy."""

import json
import os
import shutil

import pytest

import cores
import go_cores
import oracles
from test_goroutines import unavailable_skips

UNOPTIMISED = go_cores.VARIANTS["unoptimised"]
REDIGO = "/usr/share/gocode/src/github.com/gomodule/redigo"


def findings(core, *arguments):
    done = oracles.stackgroup_run("--format=json", "--members", "--goroutines", *arguments, core.path)
    assert done.returncode in (0, 4), done.stderr
    document = json.loads(done.stdout)
    return {finding["id"]: finding for finding in document.get("findings", [])}, document


def make(program, case, variant=go_cores.STRIPPED):
    if program == "go_redigo" and not os.path.isdir(REDIGO):
        pytest.skip("golang-github-gomodule-redigo-dev is not installed")
    return unavailable_skips(go_cores.make_core, program, variant, [case])


def roles(finding):
    return {row["role"]: sum(other["members"] for other in finding["groups"] if other["role"] == row["role"])
            for row in finding["groups"]}


def members_in(document, function):
    """Ids of the goroutines that have the function on their stack."""
    goroutines = set()
    for group in document["profiles"][0]["groups"]:
        if any(frame.get("function") == function for frame in group["frames"]):
            goroutines |= set(group["members"])
    return goroutines


NESTED = (
    # program, case, variant, rule, pool's size, victims, the functions that hold while they ask
    ("go_pools", "lines", go_cores.STRIPPED, "pools/go", 6, 40, ("store.(*Parts).Lines",)),
    ("go_pools", "lines", UNOPTIMISED, "pools/go", 6, 40, ("store.(*Parts).Lines",)),
    ("go_pools", "sql", go_cores.STRIPPED, "go-database-sql/pool-nested", 6, 40,
     ("store.(*Parts).Orders", "store.(*Parts).Book")),
    ("go_pools", "sql", go_cores.PLAIN, "go-database-sql/pool-nested", 6, 40,
     ("store.(*Parts).Orders", "store.(*Parts).Book")),
    ("go_redigo", "nested", go_cores.STRIPPED, "go-redis/redigo-pool", 7, 50, ("main.unacked",)),
    ("go_redigo", "nested", UNOPTIMISED, "go-redis/redigo-pool", 7, 50, ("main.unacked",)),
    ("redis_pool", None, go_cores.STRIPPED, "go-redis/redigo-pool", 10, 300, ("foo/tool.MessageList",)),
)


@pytest.mark.parametrize("program, shape, variant, rule, size, victims, holders", NESTED,
                         ids=[f"{row[0]}-{row[1]}-{row[2].name}" for row in NESTED])
def test_nested(program, shape, variant, rule, size, victims, holders, stackgroup):
    core = make(program, shape, variant) if shape else unavailable_skips(go_cores.make_core, program, variant)
    found, document = findings(core)
    finding = found[rule]
    assert finding["severity"] == "critical" and finding["confidence"] in ("read", "inferred")
    keys = finding["keys"]
    assert (keys["size"], keys["in-use"]) == (str(size), str(size))
    assert (keys["nested"], keys["victims"]) == (str(size), str(victims))
    taking = roles(finding)
    assert (taking["holds and waits"], taking["waits"]) == (size, victims)
    evidence = "\n".join(finding["evidence"])
    assert f"the pool has {size}, in use: {size} (read" in evidence
    assert "whose code takes one before this call" in evidence and "suspected" not in evidence
    named = next(line for line in finding["evidence"] if line.startswith("These are goroutines"))
    ids = set(named.removeprefix("These are goroutines ").rstrip(".").split(", "))
    own = set()
    for holder in holders:
        assert f"called from {holder}" in evidence or f"called from example.com/depot/{holder}" in evidence
        own |= members_in(document, holder) | members_in(document, f"example.com/depot/{holder}")
    assert ids == own


def test_interface(stackgroup):
    """No code calls the pool: the function is seen to take one where others of it wait."""
    core = make("go_pools", "interface")
    found, document = findings(core)
    finding = found["pools/go"]
    assert (finding["severity"], finding["confidence"]) == ("critical", "inferred")
    assert roles(finding) == {"holds and waits": 6, "waits": 40}
    assert finding["keys"]["in-use"] == finding["keys"]["size"] == "6"
    assert "called from example.com/depot/store.(*Parts).LinesOf" in "\n".join(finding["evidence"])


BUSY = (
    ("go_pools", "lines-busy"), ("go_pools", "lines-apart"), ("go_pools", "two-pools"), ("go_pools", "sql-busy"),
    ("go_pools", "sql-some"), ("go_pools", "sql-kept"), ("go_redigo", "busy"), ("go_redigo", "crossed"),
)


@pytest.mark.parametrize("program, shape", BUSY)
def test_busy(program, shape, stackgroup):
    """Others work with what they hold: whoever waits will be served, however many of them there are."""
    found, _ = findings(make(program, shape))
    assert [finding["title"] for finding in found.values() if finding["severity"] != "info"] == []


@pytest.mark.parametrize("variant", (go_cores.STRIPPED, go_cores.PLAIN), ids=lambda variant: variant.name)
def test_dropped(variant, stackgroup):
    """Rows that were neither closed nor kept: their goroutines have ended, and who waits waits for ever."""
    found, _ = findings(make("go_pools", "sql-dropped", variant))
    finding = found["go-database-sql/connections-leaked"]
    assert (finding["severity"], finding["confidence"], finding["members"]) == ("critical", "read", 40)
    assert [finding["keys"][key] for key in ("leaked", "held", "size", "in-use")] == ["6", "0", "6", "6"]
    assert [name for name, other in found.items() if other["severity"] != "info"] == ["go-database-sql/connections-leaked"]


def test_dropped_some(stackgroup):
    """Others are kept where somebody can still close them."""
    found, _ = findings(make("go_pools", "sql-dropped-some"))
    finding = found["go-database-sql/connections-leaked"]
    assert finding["severity"] == "warning"
    assert [finding["keys"][key] for key in ("leaked", "held")] == ["4", "2"]


def test_condition(stackgroup):
    """A pool of the program's own, behind a sync.Cond: its code proves the nesting, nothing counts its things."""
    found, _ = findings(make("go_pools", "conns"))
    finding = found["pools/go"]
    assert (finding["severity"], finding["confidence"]) == ("critical", "inferred")
    assert roles(finding) == {"holds and waits": 6, "waits": 40}


def test_without_program(tmp_path, stackgroup):
    """Another file in its place: there is no code to look at, and nothing is claimed to be proven by it."""
    core = make("go_pools", "lines")
    other = tmp_path / "other"
    shutil.copy(cores.compiler("true"), other)
    done = oracles.stackgroup_run("--format=json", "--goroutines", f"--exe={other}", core.path)
    assert "inferred from the code" not in done.stdout
