# SPDX-License-Identifier: Apache-2.0
"""What the Go runtime prints of its goroutines (crash dumps, SIGQUIT, debug=2; debug=1), taken apart independently of the program
under test; and the comparison of one with the other's JSON."""

import re
from dataclasses import dataclass, field

HEADER = re.compile(r"goroutine (\d+)(?: gp=\S+ m=\S+(?: mp=\S+)?)? \[(.*)\](?: \{.*\})?:$")
PLACE = re.compile(r"\t(.*):(\d+)(?: \+(0x[0-9a-f]+))?(?: fp=\S+ sp=\S+ pc=(0x[0-9a-f]+))?$")
REGISTER = re.compile(r"[a-z]\w+ +0x[0-9a-f]+$")
CREATED = re.compile(r"created by (.*?)(?: in goroutine (\d+))?$")
# Functions that a signal interrupted stand above frames whose pc is not a return address.
PANIC = "runtime.sigpanic"
TRAPS = (PANIC, "runtime.asyncPreempt")
WRAPPER = re.compile(r"(\.(func|gowrap|deferwrap)\d+(\.\d+)*|·dwrap·\d+|-fm|^reflect\.(callReflect|callMethod|makeFuncStub|methodValueCall)"
                     r"|^runtime\.(call\d+|deferreturn|deferCallSave|runOpenDeferFrame))$")


@dataclass
class Frame:
    function: str
    file: str = ""
    line: int = 0
    offset: int = 0
    pc: int = 0
    inlined: bool = False


@dataclass
class Goroutine:
    id: int
    state: str
    minutes: int = 0
    locked: bool = False
    frames: list = field(default_factory=list)  # innermost first
    elided: bool = False  # the dump leaves out frames
    elided_at: int = 0  # … that would stand before this one of `frames`; 0: at the end
    creator: str = ""
    creator_id: int = 0
    creator_place: Frame = None

    @property
    def outermost(self):
        names = [frame.function for frame in self.frames if frame.function != "runtime.goexit"]
        return names[-1] if names else ""

    @property
    def is_system(self):
        """As the runtime's isSystemGoroutine: by where it starts."""
        if self.outermost in ("runtime.runfinq", "runtime.runFinalizers", "runtime.runCleanups"):
            return self.state in ("finalizer wait", "cleanup wait")
        return self.outermost.startswith("runtime.") and self.outermost not in ("runtime.main", "runtime.corostart")


def without_arguments(call):
    """"main.f({0x1, 0x2}, 0x3)" -> ("main.f", False), "main.g(...)" -> ("main.g", True)."""
    if call.endswith("(...)"):
        return call[:-5], True
    depth = 0
    for at in range(len(call) - 1, -1, -1):
        depth += (call[at] == ")") - (call[at] == "(")
        if not depth:
            return call[:at], False
    raise ValueError(call)


def parse_status(text):
    parts = text.split(", ")
    state, rest = parts[0].removesuffix(" (scan)"), parts[1:]
    minutes = next((int(part.split()[0]) for part in rest if part.endswith(" minutes")), 0)
    return state, minutes, "locked to thread" in rest


def parse_dump(text):
    """id: Goroutine. What a thread prints of its own goroutine after all others were printed counts; goroutine 0, a thread's own
    stack, is left out. The header's name for a thread in a crash is passed over."""
    found, current, frame = {}, None, None
    for line in text.replace("\r\n", "\n").split("\n"):
        if match := HEADER.match(line):
            state, minutes, is_locked = parse_status(match[2])
            current, frame = Goroutine(int(match[1]), state, minutes, is_locked), None
            found[current.id] = current
        elif not line or line == "-----" or REGISTER.match(line):
            current = None
        elif current is None:
            continue
        elif line.startswith("...") and line.endswith("elided..."):
            current.elided, current.elided_at = True, len(current.frames)
        elif line == "\tgoroutine running on other thread; stack unavailable":
            current.elided = True
        elif line.startswith(("traceback: ", "runtime: ")):
            continue  # the unwinder's own remarks
        elif match := CREATED.match(line):
            current.creator, current.creator_id = match[1], int(match[2] or 0)
            frame = current.creator_place = Frame(match[1])
        elif match := PLACE.match(line):
            if frame is None:
                raise ValueError(f"a place without a call: {line!r}")
            frame.file, frame.line, frame.offset = match[1], int(match[2]), int(match[3] or "0", 16)
            frame.pc = int(match[4] or "0", 16)
            frame = None
        elif not line.startswith(("\t", "[")) and line.endswith(")"):
            name, inlined = without_arguments(line)
            frame = Frame("runtime.gopanic" if name == "panic" else name, inlined=inlined)
            current.frames.append(frame)
        else:
            raise ValueError(f"neither call nor place: {line!r}")
    found.pop(0, None)
    return found


@dataclass
class Lines:
    """A goroutine's lines as they stand in a dump, without frame addresses."""

    header: str
    calls: list = field(default_factory=list)  # (call with its arguments, place)
    creator: tuple = ()


def dump_lines(text):
    """id: Lines."""
    found, current, call = {}, None, ""
    for line in text.replace("\r\n", "\n").split("\n"):
        if match := HEADER.match(line):
            current = found[int(match[1])] = Lines(re.sub(r", \d+ minutes| \(scan\)", "", match[2]))
        elif not line or line == "-----" or REGISTER.match(line):
            current = None
        elif current is None:
            continue
        elif line.startswith(("traceback: ", "runtime: ")):
            continue
        elif PLACE.match(line):
            row = (call, re.sub(r" fp=.*", "", line))
            if call.startswith("created by "):
                current.creator = row
            else:
                current.calls.append(row)
        else:
            call = line
            if "elided..." in line:
                current.calls.append((line, ""))
    return found


def goroutines_of(document):
    """id: Goroutine, from stackgroup's JSON with --members and --by=pc."""
    found = {}
    for profile in document["profiles"]:
        if profile["kind"] != "goroutine":
            continue
        for group in profile["groups"]:
            frames = [Frame(row.get("function", ""), row.get("file", ""), row.get("line", 0), row.get("offset", 0),
                            int(row["pc"], 16), row["inlined"]) for row in group["frames"]]
            for member in group["members_detail"]:
                goroutine = Goroutine(int(member["id"]), member["state"], frames=frames, creator=member.get("created_by", ""),
                                      elided=group["partial"])
                assert goroutine.id not in found, f"goroutine {goroutine.id} is there twice"
                found[goroutine.id] = goroutine
    return found


def is_elidable(frame):
    """May a reader that shows what the author wrote leave it out? The compiler's wrappers have no source of their own, or the line
    of the go or defer statement that they stand for; the linker counts some of the runtime's own among them."""
    return frame.file == "<autogenerated>" or WRAPPER.search(frame.function) is not None


def frame_difference(ours, theirs, physical, exact):
    """physical: ours of the innermost call that was inlined into this frame, itself where there is none; its pc is the frame's."""
    if ours.function != theirs.function:
        return f"function {ours.function} instead of {theirs.function}"
    if (ours.file, ours.line) != (theirs.file, theirs.line):
        return f"{ours.function}: {ours.file}:{ours.line} instead of {theirs.file}:{theirs.line}"
    if ours.inlined != theirs.inlined:
        return f"{ours.function}: inlined {ours.inlined} instead of {theirs.inlined}"
    if theirs.inlined:
        return ""
    if theirs.pc and physical.pc != theirs.pc:
        return f"{ours.function}: pc {physical.pc:#x} instead of {theirs.pc:#x}"
    # Ours lies inside the call, as in debug=1; the dump's is where it returns to.
    if physical.offset != theirs.offset - (0 if exact else 1):
        return f"{ours.function}: offset {physical.offset:#x} for +{theirs.offset:#x}"
    return ""


def frames_difference(ours, at, theirs, first, end):
    """(what differs, how far ours were followed) of theirs from `first` to before `end` and ours from `at` on."""
    inner = at  # the innermost of those inlined into the same frame
    for i, frame in enumerate(theirs.frames[first:end], first):
        if at == len(ours.frames):
            problem = "the stack ends early"
        else:
            # A function's first instruction was not called from; nor where a goroutine stands itself.
            innermost = ours.frames[inner]
            # A preempted one's pc counts as exact from 1.21 on: the line in the dump tells how it was looked up.
            callee = theirs.frames[i - 1].function if i else ""
            exact = frame.offset == 0 or callee == PANIC or (callee in TRAPS and innermost.offset == frame.offset) or (
                inner == 0 and innermost.offset == frame.offset and theirs.state in ("running", "runnable", "syscall"))
            problem = frame_difference(ours.frames[at], frame, innermost, exact)
        if not problem:
            at += 1
            inner = inner if frame.inlined else at
        elif not is_elidable(frame):
            return f"frame {i}: {problem}", at
        elif not frame.inlined:
            inner = at
    return "", at


def difference(ours, theirs):
    """What differs of one goroutine between stackgroup and the runtime; "" nothing."""
    if ours.state != theirs.state:
        return f"state {ours.state!r} instead of {theirs.state!r}"
    if ours.creator != theirs.creator:
        return f"created by {ours.creator!r} instead of {theirs.creator!r}"
    end = theirs.elided_at or len(theirs.frames)
    problem, at = frames_difference(ours, 0, theirs, 0, end)
    if problem or end == len(theirs.frames):
        more = len(ours.frames) - at
        return problem or ("" if theirs.elided or not more else f"{more} more frames from {ours.frames[at].function} on")
    # The dump goes on behind those that it leaves out: to the end, of which ours may lack wrappers.
    for start in range(max(at, len(ours.frames) - (len(theirs.frames) - end)), len(ours.frames)):
        problem, at = frames_difference(ours, start, theirs, end, len(theirs.frames))
        if not problem and at == len(ours.frames):
            return ""
    return f"the outermost frames: {problem}"


@dataclass
class Comparison:
    equal: int = 0
    differences: dict = field(default_factory=dict)  # id: what
    missing: list = field(default_factory=list)
    extra: list = field(default_factory=list)


def compare(ours, theirs, with_system=False):
    result = Comparison()
    wanted = {id: goroutine for id, goroutine in theirs.items() if with_system or not goroutine.is_system}
    for id, goroutine in wanted.items():
        if id not in ours:
            result.missing.append(id)
        elif problem := difference(ours[id], goroutine):
            result.differences[id] = problem
        else:
            result.equal += 1
    result.extra = sorted(set(ours) - set(wanted))
    return result


# debug=1


def profile_groups(text):
    """The goroutine profile's groups in order, each its lines as they stand there; lines that are stackgroup's own are left out."""
    groups, inside = [], False
    for line in text.split("\n"):
        if line.startswith("goroutine profile: total "):
            inside = True
        elif line == "---":
            break
        elif inside and re.match(r"\d+ @", line):
            groups.append([line])
        elif groups and line.startswith(("#\t", "# labels: ")):
            groups[-1].append(line)
    return groups


def profile_total(text):
    return int(re.search(r"^goroutine profile: total (\d+)$", text, re.MULTILINE)[1])
