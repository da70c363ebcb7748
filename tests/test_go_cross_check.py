# SPDX-License-Identifier: Apache-2.0
"""--cross-check of goroutines: by the tables of pclntab, and by the chain of frame pointers."""

import re

import corefile
import cores
import go_cores
import oracles
import pytest


def make(*arguments, **options):
    try:
        return go_cores.make_core(*arguments, **options)
    except cores.Unavailable as error:
        pytest.skip(str(error))


def check(path):
    """Of goroutines: how many agree, of how many, and what differs."""
    document = oracles.stackgroup_json(path, "--no-rules", "--system", "--cross-check")
    differ = [row["message"] for row in document["diagnostics"] if row["code"] == "unwinders-differ"]
    messages = [row["message"] for row in document["diagnostics"] if row["code"] == "cross-check"]
    found = re.search(r"frame pointers agree on (\d+) of (\d+) goroutines", "\n".join(messages))
    return int(found[1]), int(found[2]), differ


@pytest.mark.parametrize("program, variant", [("goroutines", "plain"), ("goroutines", "unoptimised"), ("goroutines", "cgo-stripped"),
                                              ("redis_pool", "stripped"), ("cgo_calls", "cgo")])
def test_they_agree(program, variant, stackgroup):
    equal, compared, differ = check(make(program, go_cores.VARIANTS[variant]).path)
    assert not differ and equal == compared >= 9


def test_a_difference_is_told(tmp_path, stackgroup):
    """A saved frame pointer that is changed."""
    core = make("redis_pool", go_cores.STRIPPED)
    document = oracles.stackgroup_json(core.path, "--no-rules", "--members", "--frames=0")
    group = next(group for profile in document["profiles"] for group in profile["groups"] if profile["kind"] == "goroutine"
                 and len(group["members"]) == 10)
    returns = [int(frame["pc"], 16) for frame in group["frames"] if not frame["inlined"]]
    file = corefile.CoreFile(core.path)
    # The first of the ten goroutines' return addresses from main's code, whose frame's saved pointer is below it.
    place = next(at for segment in file.loads() if segment.address >> 32 == 0xC0
                 if (at := file.find_u64(returns[-2], segment.address, segment.file_bytes)))
    file.write_u64(place - 8, file.read_u64(place - 8) + 8)
    equal, compared, differ = check(file.save(tmp_path / "changed.core"))
    assert equal == compared - 1 and len(differ) == 1 and re.match(r"goroutine \d+: pclntab finds \d+ frames", differ[0])
