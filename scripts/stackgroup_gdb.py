# SPDX-License-Identifier: Apache-2.0
"""stackgroup inside gdb: groups the stacks of the inferior at hand and says what is wrong with it.

`source stackgroup_gdb.py`, or install it as gdb/command/stackgroup.py in gdb's data directory, from where gdb takes it
at every start. Then `help stackgroup`. It runs the program stackgroup on what gdb has:

  a core           on the same core, program and folders of debug files;
  a live process   on the process that gdb holds: gdb tells the registers, the program reads the memory by itself, so that
                   neither a second attach nor a core is needed;
  anything else    (a remote target) on a core of a moment's life, which gdb writes with generate-core-file.

Scripts: gdb.stackgroup(OPTIONS) returns a Result, whose members are the JSON of stackgroup --format=json.
Wants gdb 10 or later, with Python 3.6 or later."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import types

import gdb

# What stackgroup needs of a thread, by gdb's names for architectures and registers.
REGISTERS = {
    "i386:x86-64": ("rax rbx rcx rdx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15 rip orig_rax fs_base").split(),
    "aarch64": [f"x{i}" for i in range(31)] + ["sp", "pc", "cpsr"],
}
# Options that concern how a result is written and judged, not which groups it has.
WRITING = re.compile(r"--(format|output|color|members|frames|stats|all-findings|fail-on|strict|no-rules)(=|$)|-[fo]")
WITH_VALUE = re.compile(r"(--(format|output|color|frames|fail-on)|-[fo])$")
# Now: gdb may be in another folder when the command is used.
HERE = os.path.abspath(__file__) if "__file__" in globals() else ""
ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# Controls and direction marks: names come from the target, and what they do to a terminal is not theirs to choose.
UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class ProgramParameter(gdb.Parameter):
    """The stackgroup program that the command "stackgroup" runs; empty: the one on PATH, or in the clone."""

    set_doc = "Set the stackgroup program that the command \"stackgroup\" runs."
    show_doc = "Show the stackgroup program that the command \"stackgroup\" runs."

    def __init__(self):
        super().__init__("stackgroup-program", gdb.COMMAND_STACK, gdb.PARAM_OPTIONAL_FILENAME)
        self.value = ""

    def get_set_string(self):
        return ""

    def get_show_string(self, value):
        return f"The stackgroup program is {value or find_program(required=False) or 'not on PATH'}."


def find_program(required=True):
    chosen = os.path.expanduser(PROGRAM.value or "")
    # Sourced from a clone: the program that was built there.
    built = os.path.join(os.path.dirname(os.path.dirname(HERE)), "build", "analyzer", "stackgroup")
    found = shutil.which(chosen or "stackgroup") or (None if chosen or not HERE else shutil.which(built))
    if found is None and required:
        raise gdb.GdbError(f"stackgroup: {chosen}: no such program" if chosen else
                           "stackgroup: the program is not on PATH; say where: set stackgroup-program /path/to/stackgroup")
    return found


# What gdb has


def connection_kind(inferior):
    """ "native", "core", "remote", "extended-remote", …; "" when there is neither a process nor a core."""
    if hasattr(inferior, "connection"):
        return inferior.connection.type if inferior.connection is not None else ""
    # gdb 10 tells it only so: "* 1    process 4711    1 (native)    /bin/true"
    match = re.search(r"^\*.*? \d+ \(([\w-]+)[ )]", gdb.execute("info inferiors", to_string=True), re.MULTILINE)
    return match.group(1) if match else ""


def core_path():
    corefile = getattr(gdb.selected_inferior(), "corefile", None)
    if corefile is not None:
        return corefile.filename
    match = re.search(r"core dump file:\s*[`'\"]?(.+?)['\"]?, file type", gdb.execute("info files", to_string=True))
    if match is None:
        raise gdb.GdbError("stackgroup: gdb does not say which core it has open")
    return os.path.abspath(match.group(1))


def file_options(options):
    """Where gdb looks for files, unless the options say it."""
    given = " ".join(options)
    found = []
    program = gdb.current_progspace().filename
    if program and not program.startswith("target:") and not re.search(r"(^|\s)(--exe\b|-e)", given):
        found.append("--exe=" + program)
    sysroot = gdb.parameter("sysroot")
    if sysroot and not sysroot.startswith("target:") and sysroot != "/" and "--sysroot" not in given:
        found.append("--sysroot=" + sysroot)
    folders = [folder for folder in (gdb.parameter("debug-file-directory") or "").split(":") if os.path.isdir(folder)]
    if folders and folders != ["/usr/lib/debug"] and "--debug-path" not in given:
        found.append("--debug-path=" + ":".join(folders))
    return found


def register_lines(inferior):
    """One line a thread that stands still, as stackgroup --registers takes them, and how many run."""
    lines, running = [], 0
    selected = gdb.selected_thread()
    frame = gdb.selected_frame() if selected is not None and selected.is_valid() and not selected.is_running() else None
    try:
        for thread in inferior.threads():
            if thread.is_running() or thread.is_exited():
                running += not thread.is_exited()
                continue
            thread.switch()
            newest = gdb.newest_frame()
            names = REGISTERS.get(newest.architecture().name())
            if names is None:
                # gdb 10 knows no program after an attach without stopping all, and takes it for its default.
                hint = "" if gdb.current_progspace().filename else "; gdb knows no program: `file PROGRAM` tells it"
                raise gdb.GdbError(f"stackgroup: {newest.architecture().name()}: an architecture that is not read{hint}")
            values = [f"{name}={int(newest.read_register(name)) & 0xffffffffffffffff:#x}" for name in names]
            lines.append(f"{thread.ptid[1] or thread.ptid[0]} {' '.join(values)}\n")
    finally:
        if selected is not None and selected.is_valid():
            selected.switch()
            if frame is not None and frame.is_valid():
                frame.select()
    return lines, running


# Running the program


def run_program(arguments, registers=None, descriptors=()):
    """Standard output of the program; what it says on standard error is shown. A failure without a result is an error."""
    environment = dict(os.environ)
    width = gdb.parameter("width")
    environment["COLUMNS"] = str(width if width else 200)
    try:
        done = subprocess.run([find_program()] + arguments, input=registers, pass_fds=descriptors, env=environment,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", errors="replace",
                              stdin=None if registers is not None else subprocess.DEVNULL)
    except OSError as error:
        raise gdb.GdbError(f"stackgroup: {find_program()}: cannot be run: {error.strerror}")
    message = done.stderr.strip()
    if done.returncode in (2, 3) or done.returncode < 0:
        raise gdb.GdbError(message or f"stackgroup: ended by signal {-done.returncode}")
    if message:
        gdb.write(message + "\n", gdb.STDERR)
    return done.stdout


def run_on_process(inferior, options):
    lines, running = register_lines(inferior)
    if not lines:
        raise gdb.GdbError("stackgroup: all threads run: `interrupt -a` stops them")
    if running:
        gdb.write(f"stackgroup: {running} of {running + len(lines)} threads run (non-stop): of these, what /proc tells is "
                  "shown; `interrupt -a` stops them\n", gdb.STDERR)
    arguments = options + [f"--pid={inferior.pid}", "--registers=-"]
    descriptors = ()
    try:
        # As gdb may: where only a tracer's own family may read a process (kernel.yama.ptrace_scope).
        descriptors = (os.open(f"/proc/{inferior.pid}/mem", os.O_RDONLY | os.O_CLOEXEC),)
        arguments.append(f"--memory-fd={descriptors[0]}")
    except OSError:
        pass
    try:
        return run_program(arguments, "".join(lines), descriptors)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def run_on_written_core(options):
    with tempfile.TemporaryDirectory(prefix="stackgroup-") as folder:
        path = os.path.join(folder, "core")
        gdb.execute("generate-core-file " + path, to_string=True)
        return run_program(options + file_options(options) + [path])


def run_on_inferior(options):
    find_program()
    inferior = gdb.selected_inferior()
    kind = connection_kind(inferior)
    if kind == "core":
        return run_program(options + file_options(options) + [core_path()])
    if inferior.pid == 0:
        raise gdb.GdbError("stackgroup: no process and no core here: `run`, `attach PID` or `core FILE` first")
    if kind == "native" or (not kind and os.path.isdir(f"/proc/{inferior.pid}")):
        return run_on_process(inferior, options)
    return run_on_written_core(options)


# Results


def shown(text):
    """As stackgroup's own text has it: what is not to be seen by its bytes."""
    return UNSEEN.sub(lambda match: "".join(f"\\x{byte:02x}" for byte in match.group().encode()), text)


def as_objects(value):
    if isinstance(value, dict):
        return types.SimpleNamespace(**{name: as_objects(member) for name, member in value.items()})
    return [as_objects(member) for member in value] if isinstance(value, list) else value


class Result:
    """What stackgroup found, by the names of its JSON schema: `findings`, `profiles`, `source`, `diagnostics` as objects,
    `groups` of all profiles in their order, `document` as plain dicts and lists."""

    def __init__(self, text):
        self.document = json.loads(text)
        for name, value in self.document.items():
            setattr(self, name, as_objects(value))
        self.groups = [group for profile in self.profiles for group in profile.groups]

    def group(self, name):
        """By its id ("g3") or that id's number; LookupError when there is none such."""
        wanted = str(name) if str(name).startswith("g") else f"g{name}"
        for group in self.groups:
            if group.id == wanted:
                return group
        raise LookupError(f"no group {name}: they are g1 to g{len(self.groups)}" if self.groups else "there are no groups")


class Last:
    """The options of the last run, and its result once it was asked for; forgotten when the inferior goes on."""

    options = []
    result = None
    key = None


def forget(_event=None):
    Last.result = None


for registry in (gdb.events.cont, gdb.events.exited, gdb.events.new_objfile):
    registry.connect(forget)


def inferior_key():
    inferior = gdb.selected_inferior()
    return inferior.num, inferior.pid, connection_kind(inferior), gdb.current_progspace().filename


def without_writing(options):
    kept, is_value = [], False
    for option in options:
        if not is_value and not WRITING.match(option):
            kept.append(option)
        is_value = not is_value and bool(WITH_VALUE.match(option))
    return kept


def analyze(options=""):
    """Groups the stacks of the selected inferior; `options` are stackgroup's, in one string or a list. Returns a Result.
    Raises gdb.GdbError when there is nothing to read or it cannot be read."""
    options = shlex.split(options) if isinstance(options, str) else list(options)
    kept = without_writing(options)
    Last.options, Last.key = kept, inferior_key()
    Last.result = Result(run_on_inferior(kept + ["--format=json", "--members"]))
    return Last.result


def last_result():
    if Last.result is None or Last.key != inferior_key():
        analyze(Last.options)
    return Last.result


def thread_of(tid):
    """The thread of the selected inferior with this id of the system's; None when gdb has none such."""
    for thread in gdb.selected_inferior().threads():
        if tid in (thread.ptid[1], thread.ptid[2]) or (thread.ptid[1] == 0 and thread.ptid[0] == tid):
            return thread
    return None


def select_thread(tid):
    thread = thread_of(tid)
    if thread is None:
        raise gdb.GdbError(f"stackgroup: no thread {tid} in this inferior")
    gdb.execute(f"thread {thread.num}" if len(gdb.inferiors()) == 1 else f"thread {gdb.selected_inferior().num}.{thread.num}")


# Commands


class StackgroupCommand(gdb.Command):
    """Group the stacks of the program's threads and goroutines, and say what is wrong.

Usage: stackgroup [OPTIONS]
       stackgroup findings | group N [MEMBER] | thread TID

Equal stacks become one group with a count; rules find deadlocks, exhausted pools, leaks, and name who holds what the
others wait for: first the verdict, then the groups. Works on cores, on stopped processes (no second attach, no core on
disk) and on remote targets. OPTIONS are the program's: --top=5, --by=function, --filter=REGEX, --members, -o FILE, …;
`shell stackgroup --help` lists them. `set stackgroup-program` says which program is run. From Python: gdb.stackgroup()."""

    def __init__(self):
        super().__init__("stackgroup", gdb.COMMAND_STACK, prefix=True)

    def invoke(self, argument, from_tty):
        self.dont_repeat()
        options = shlex.split(argument)
        screen = os.isatty(1) and not any(re.match(r"--(format|output|color)\b|-[fo]", option) for option in options)
        text = run_on_inferior(options + (["--color=always"] if screen else []))
        Last.options, Last.key, Last.result = without_writing(options), inferior_key(), None
        if screen and (not gdb.parameter("style enabled") or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"):
            text = ESCAPES.sub("", text)
        gdb.write(text)

    def complete(self, text, word):
        if word is None:  # gdb asks first where words end
            return []
        if not hasattr(StackgroupCommand, "options"):
            program = find_program(required=False)
            listed = subprocess.run([program, "--help"], stdout=subprocess.PIPE, encoding="utf-8").stdout if program else ""
            StackgroupCommand.options = sorted(set(re.findall(r"--[a-z][a-z-]+", listed)))
        # gdb splits words at dashes.
        typed = text.split(" ")[-1]
        done = len(typed) - len(word)
        return [option[done:] for option in StackgroupCommand.options if option.startswith(typed)]


class FindingsCommand(gdb.Command):
    """What stackgroup's rules found in this program, whole, the most severe first.

Usage: stackgroup findings

The groups that take part are named by the numbers that `stackgroup group N` takes."""

    def __init__(self):
        super().__init__("stackgroup findings", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        self.dont_repeat()
        result = last_result()
        by_fingerprint = {group.fingerprint: group.id for group in result.groups}
        for finding in result.findings:
            gdb.write(shown(f"{finding.severity}: {finding.title} [{finding.id}]") + "\n")
            for line in finding.evidence:
                gdb.write(f"  {shown(line)}\n")
            parts = [f"{by_fingerprint.get(group.fingerprint, group.fingerprint)} ({group.role}: {group.members})"
                     for group in finding.groups]
            if parts:
                gdb.write(f"  groups: {', '.join(parts)}\n")
            if getattr(finding, "advice", ""):
                gdb.write("  do: " + "\n    ".join(map(shown, finding.advice.split("\n"))) + "\n")
            page = getattr(finding, "runbook_command", "")
            gdb.write(f"  confidence: {finding.confidence}{'; runbook: ' + shown(page) if page else ''}\n")
        if not result.findings:
            gdb.write(f"findings: none ({result.rules} rules)\n")


class GroupCommand(gdb.Command):
    """Select the thread of a group's first member, or of its MEMBERth.

Usage: stackgroup group N [MEMBER]

N is a group's number as `stackgroup` shows it: 3 or g3."""

    def __init__(self):
        super().__init__("stackgroup group", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        words = gdb.string_to_argv(argument)
        if not 1 <= len(words) <= 2 or not re.match(r"g?\d+$", words[0]) or not all(word.isdigit() for word in words[1:]):
            raise gdb.GdbError("Usage: stackgroup group N [MEMBER]")
        try:
            group = last_result().group(words[0])
        except LookupError as error:
            raise gdb.GdbError(f"stackgroup: {error}")
        number = int(words[1]) if len(words) == 2 else 1
        if not 1 <= number <= len(group.members):
            raise gdb.GdbError(f"stackgroup: {group.id} has {len(group.members)} members")
        if group not in [other for profile in last_result().profiles if profile.kind == "thread" for other in profile.groups]:
            raise gdb.GdbError(f"stackgroup: {group.id} is of goroutines; gdb selects threads")
        select_thread(int(group.members[number - 1]))


class ThreadCommand(gdb.Command):
    """Select the thread with the system's id TID (gdb calls it LWP), as stackgroup shows members.

Usage: stackgroup thread TID"""

    def __init__(self):
        super().__init__("stackgroup thread", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        if not argument.strip().isdigit():
            raise gdb.GdbError("Usage: stackgroup thread TID")
        select_thread(int(argument))


PROGRAM = ProgramParameter()
StackgroupCommand()
FindingsCommand()
GroupCommand()
ThreadCommand()
gdb.stackgroup = analyze
