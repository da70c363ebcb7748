# SPDX-License-Identifier: Apache-2.0
"""Channels of Go cores: how full, who waits on the other side, and who else knows them."""

import json

import pytest

import go_cores
import oracles
from test_goroutines import unavailable_skips

MEMBERS, ROOM = 1200, 8


def findings(shape, variant=go_cores.STRIPPED):
    core = unavailable_skips(go_cores.make_core, "go_channels", variant, [shape])
    done = oracles.stackgroup_run("--format=json", "--goroutines", core.path)
    assert done.returncode in (0, 4), done.stderr
    return [finding for finding in json.loads(done.stdout).get("findings", []) if finding["severity"] != "info"]


def check_full(shape):
    finding, = findings(shape)
    assert (finding["id"], finding["members"]) == ("go/channel-full", MEMBERS - ROOM)
    evidence = "\n".join(finding["evidence"])
    assert f"The channel holds {ROOM} of {ROOM} (read): it is full." in evidence
    assert "No goroutine waits to receive from it" in evidence
    return finding["keys"], evidence


def test_full(stackgroup):
    """A package's variable leads to it; the stack of the goroutine that runs may have words left over."""
    keys, evidence = check_full("full")
    assert keys["known-in-variables"] != "0" and ", a variable at 0x" in evidence


def test_slow(stackgroup):
    """The receiver sleeps, with the channel on its stack."""
    keys, evidence = check_full("slow")
    assert keys["known-on-stacks"] != "0" and "other goroutines' stacks (goroutine " in evidence
    assert keys["known-in-variables"] == "0"


@pytest.mark.parametrize("variant", (go_cores.STRIPPED, go_cores.VARIANTS["unoptimised"]), ids=lambda variant: variant.name)
def test_forgotten(variant, stackgroup):
    """Who made them has returned: nothing but those who wait refers to the channels."""
    finding, = findings("forgotten", variant)
    assert (finding["id"], finding["confidence"]) == ("go/channel-abandoned", "read")
    assert (finding["members"], finding["keys"]["thing-count"]) == (17, "4")


def test_known(stackgroup):
    """On a stack, behind a variable, in a timer: somebody may still come."""
    assert findings("known") == []
