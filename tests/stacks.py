# SPDX-License-Identifier: Apache-2.0
"""Stacks as every reader of a core gives them, names made comparable, and the comparison with a program's truth."""

import re
from dataclasses import dataclass, field


@dataclass
class Frame:
    pc: int
    function: str = ""  # empty: no name
    module: str = ""
    inlined: bool = False


@dataclass
class Stacks:
    """threads: tid to frames, leaf first."""

    threads: dict
    messages: list = field(default_factory=list)


def remove_brackets(name, opening, closing):
    """Without what stands between a pair of brackets; operator<, operator(), -> and (anonymous namespace) stay."""
    kept, depth, at = [], 0, 0
    while at < len(name):
        if not depth:
            operator = re.compile(r"operator(\(\)|<=>|<<=?|>>=?|->\*?|<=?|>=?)").match(name, at)
            whole = operator or re.compile(r"\((anonymous namespace)\)|->").match(name, at)
            if whole:
                kept.append(whole.group())
                at = whole.end()
                continue
        if name[at] == opening:
            depth += 1
        elif name[at] == closing and depth:
            depth -= 1
        elif not depth:
            kept.append(name[at])
        at += 1
    return "".join(kept)


def plain_name(name):
    """A function's name without what compilers and tools spell differently: versions, clones, Rust's hash and closure numbers,
    parameters. Template arguments stay."""
    name = re.sub(r"@@?[A-Z][\w.]*$", "", name or "")
    name = re.sub(r" ?\[(clone [^]]*|cold)\]", "", name)
    name = re.sub(r"(\.(constprop|isra|part|cold|lto_priv|llvm)(\.\d+)*)+$", "", name)
    name = re.sub(r"::h[0-9a-f]{16}$", "", name)
    name = re.sub(r"\{\{closure\}\}|\{closure(#\d+|_env#\d+)?\}", "{closure}", name)
    name = re.sub(r"\[[0-9a-f]{8,16}\]", "", name)  # Rust v0's crate hashes
    return without_parameters(name).strip()


def without_parameters(name):
    """tc::f<int>(int, char) const -> tc::f<int>: cut at the last parameter list that closes the name, and the return type that
    precedes a template's name."""
    name = re.sub(r"( const| volatile|&|&&| noexcept)+$", "", name)
    if name.endswith(")") and not name.endswith("operator()") and not name.endswith("(anonymous namespace)"):
        depth = 0
        for at in range(len(name) - 1, -1, -1):
            depth += (name[at] == ")") - (name[at] == "(")
            if not depth:
                if at:
                    name = name[:at]
                break
    depth = 0
    for at in range(len(name) - 1, -1, -1):
        depth += (name[at] in ">)}") - (name[at] in "<({")
        if name[at] == " " and depth == 0 and not re.search(r"operator[-<>=!]*$| as$", name[:at]):
            if not name[at + 1:].startswith("as "):
                return name[at + 1:]
    return name


def closing_bracket(name):
    """Where the bracket closes that name begins with; 0 if it does not."""
    depth = 0
    for at, letter in enumerate(name):
        depth += (letter == "<") - (letter == ">" and name[at - 1] != "-")
        if not depth:
            return at
    return 0


def bare_name(name):
    """plain_name without template and generic arguments too: what is compared between tools that take names from symbols and
    tools that take them from DWARF."""
    name = plain_name(name)
    if re.match(r"<[^<>]* as |<.*> as ", name):
        return name
    while name.startswith("<") and (end := closing_bracket(name)) and name.startswith("::", end + 1):
        name = name[1:end] + name[end + 1:]  # Rust v0's <Type>::function
    return remove_brackets(remove_brackets(name, "<", ">"), "(", ")").replace("::::", "::").removesuffix("::")


# truth


def frame_matches(wanted, name):
    wanted = wanted.lstrip("^").rstrip("+") if not wanted.startswith("~") else wanted
    if wanted.startswith("~"):
        return bool(re.fullmatch(wanted[1:], name))
    return wanted == name


def own_functions(truth):
    """A function of (plain name, frame) that tells whether a frame is the program's own: named anywhere in the truth or with the
    prefix that all functions of the test programs have; main only counts where it ends a C or C++ program's stack."""
    wanted = {frame for group in truth["groups"] for frame in group["frames"]}
    rust = any("rust_parked::" in frame for frame in wanted)

    def own(name, module):
        if not name:
            return "tc_stripped" in module
        if rust:
            return any(frame_matches(frame, name) for frame in wanted)
        return name.startswith(("tc_", "tc::")) or any(frame_matches(frame, name) for frame in wanted)

    return own


def frames_match(wanted, found, inlines):
    """wanted: the truth's frames with their marks; found: plain names ("" for none), leaf first."""
    if not wanted:
        return not found
    head, rest = wanted[0], wanted[1:]
    if head == "?":
        return bool(found) and not found[0] and frames_match(rest, found[1:], inlines)
    if head.startswith("^") and not inlines and frames_match(rest, found, inlines):
        return True
    if not found or not frame_matches(head, found[0]):
        return False
    if head.endswith("+") and not head.startswith("~") and frames_match(wanted, found[1:], inlines):
        return True
    return frames_match(rest, found[1:], inlines)


def truth_differences(truth, stacks, inlines=True, leaves=True, unnamed=True):
    """What in stacks is not as the truth says, as (group, tid, text). unnamed=False: a reader that cannot say which module a
    nameless frame is in."""
    own = own_functions(truth)
    differences = []
    wanted_tids = {tid for group in truth["groups"] for tid in group["tids"]}
    for tid in sorted(set(stacks.threads) - wanted_tids):
        differences.append(("", tid, "a thread that the program does not have"))
    for group in truth["groups"]:
        wanted = group["frames"] if unnamed else [frame for frame in group["frames"] if frame != "?"]
        for tid in group["tids"]:
            frames = stacks.threads.get(tid)
            if frames is None:
                differences.append((group["name"], tid, "thread is missing"))
                continue
            names = [plain_name(frame.function) for frame in frames]
            found = [name for name, frame in zip(names, frames) if own(name, frame.module) and (unnamed or name)]
            if not frames_match(wanted, found, inlines):
                differences.append((group["name"], tid, f"{'|'.join(found)} instead of {'|'.join(wanted)}"
                                    f"; whole stack {'|'.join(names)}"))
            elif leaves and group.get("leaf") and (not names or not re.fullmatch(group["leaf"], names[0])):
                differences.append((group["name"], tid, f"innermost function {names[:1]} is not {group['leaf']}"))
    return differences


def partition(groups):
    """Groups of thread ids in a form that can be compared."""
    return sorted(sorted(tids) for tids in groups)
