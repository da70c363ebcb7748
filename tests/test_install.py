# SPDX-License-Identifier: Apache-2.0
"""What `meson install` leaves: files, a library that others build against, a man page and completions that know every option."""

import os
import pty
import re
import select
import shutil
import subprocess
import time

import cores
import oracles
import pytest
from cores import ROOT

BUILD = oracles.stackgroup_path().parent.parent
PLUGINS = sorted(path.name for path in (ROOT / "plugins").iterdir() if path.suffix in (".yaml", ".md"))
# The longest wait for a shell to answer; it is not waited for when the answer is there.
SHELL_SECONDS = 60


def need(name):
    return shutil.which(name) or pytest.skip(f"no {name}")


def check(command, **options):
    done = oracles.run(command, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The tree below DESTDIR and the prefix in it."""
    if not (BUILD / "build.ninja").exists():
        pytest.skip(f"{BUILD} is no build folder")
    folder = tmp_path_factory.mktemp("destdir")
    check([need("meson"), "install", "-C", BUILD, "--no-rebuild", "--destdir", folder])
    [program] = folder.rglob("bin/stackgroup")
    yield folder, program.parent.parent
    check([need("ninja"), "-C", BUILD, "uninstall"])
    assert not list(folder.rglob("*")), "left by uninstall"


@pytest.fixture(scope="module")
def library(installed):
    [file] = installed[1].rglob("libstackgroup.so")
    return file


def one(installed, pattern):
    [file] = installed[1].rglob(pattern)
    return file


def has_scdoc():
    return (BUILD / "analyzer" / "pages" / "stackgroup.1").exists()


def test_files(installed):
    folder, prefix = installed
    files = {str(path.relative_to(prefix)) for path in prefix.rglob("*") if not path.is_dir()}
    libraries = {file for file in files if file.startswith("lib")}
    names = {file.split("/")[-1] for file in libraries}
    assert {"libstackgroup.so", "libstackgroup.so.0", "libstackgroup.pc"} < names and len(names) == 4, libraries
    wanted = {"bin/stackgroup", "include/stackgroup.h", "share/stackgroup/stackgroup.schema.json",
              "share/bash-completion/completions/stackgroup", "share/zsh/site-functions/_stackgroup",
              "share/fish/vendor_completions.d/stackgroup.fish", "share/doc/stackgroup/LICENSE",
              "share/doc/stackgroup/README.md", "share/doc/stackgroup/scripts.md", "share/stackgroup/hung-test",
              "share/doc/stackgroup/examples/api_example.c",
              *(f"share/doc/stackgroup/plugins/{name}" for name in PLUGINS)}
    if has_scdoc():
        wanted.add("share/man/man1/stackgroup.1")
    gdb_command = "share/gdb/python/gdb/command/stackgroup.py" if prefix.name == "usr" else "share/stackgroup/stackgroup.py"
    assert files - libraries == {*wanted, gdb_command}
    assert not [path for path in folder.rglob("*") if not path.is_dir() and prefix not in path.parents]


def test_program_runs_alone(installed):
    """It needs nothing of what lies beside it: no library, no plugin."""
    program = installed[1] / "bin" / "stackgroup"
    assert "pthread/deadlock" in check([program, "rules", "list"])
    assert "libstackgroup" not in check([need("readelf"), "-d", program])


# The library


def test_only_public_functions_are_exported(library):
    names = {line.split()[-1] for line in check([need("nm"), "-D", "--defined-only", library]).splitlines()}
    assert len(names) > 15
    assert not {name for name in names if not re.fullmatch(r"sg_[a-z_]+", name)}
    header = (ROOT / "analyzer" / "stackgroup.h").read_text()
    assert names == set(re.findall(r"^SG_PUBLIC .*?\b(sg_[a-z_]+)\(", header, re.MULTILINE))


def test_soname(library):
    assert "soname: [libstackgroup.so.0]" in check([need("readelf"), "-d", library])


def pkg_config(installed, *arguments):
    folder = one(installed, "libstackgroup.pc").parent
    environment = oracles.environment(PKG_CONFIG_LIBDIR=str(folder), PKG_CONFIG_SYSROOT_DIR=str(installed[0]))
    return subprocess.run([need("pkg-config"), *arguments, "libstackgroup"], env=environment, check=True, capture_output=True,
                          text=True).stdout.split()


def test_version_is_one(installed):
    version = check([oracles.stackgroup_path(), "--version"]).split()[1]
    assert pkg_config(installed, "--modversion") == [version]


@pytest.mark.parametrize("compiler", ["gcc", "clang", "g++"])
def test_example(compiler, installed, library, tmp_path):
    """The header is for C11 and C++11 as they are, without what stackgroup itself is built with."""
    cores.compiler(compiler)
    example = tmp_path / "api_example"
    source = one(installed, "api_example.c")
    language = ["-x", "c++", "-std=c++11"] if compiler == "g++" else ["-std=c11"]
    check([compiler, *language, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-o", example, source, "-x", "none",
           *pkg_config(installed, "--cflags", "--libs"), f"-Wl,-rpath,{library.parent}"])
    try:
        core = cores.make_core(cores.PROGRAMS["deadlock_pool"], cores.C_BASE, "any")
    except cores.Unavailable as error:
        pytest.skip(str(error))
    done = oracles.run([example, core.path])
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    assert re.fullmatch(r"critical: 2 threads .* account_alice \(pthread/deadlock\)", lines[0]), lines[0]
    assert "thread profile: total 55" in lines
    assert oracles.run([example]).returncode == 2
    nothing = oracles.run([example, tmp_path / "nothing"])
    assert nothing.returncode == 3 and "nothing" in nothing.stderr


# What knows the options


def option_rows():
    """Every long option with its letter and whether it takes an argument, from the man page's and completions' own list. That the
    list is whole is another test's matter."""
    rows = (BUILD / "analyzer" / "pages" / "table-list.txt").read_text().splitlines()
    return [(f"--{row[2]}", row[3], bool(row[4])) for row in (line.split("\t") for line in rows) if row[0] == "option"]


# For debuggers' scripts; a person has no use for it on the one screen there is.
NOT_IN_HELP = {"--memory-fd"}


def help_options():
    return set(re.findall(r"--[a-z][a-z-]*[a-z0-9]", check([oracles.stackgroup_path(), "--help"])))


def help_commands():
    return re.findall(r"^  ([a-z]+) ", check([oracles.stackgroup_path(), "rules", "--help"]), re.MULTILINE)


def test_the_table_is_whole():
    """Each option that --help names is a row, and each row is an option of the program."""
    names = {name for name, _, _ in option_rows()}
    assert names - NOT_IN_HELP == help_options()
    for name in names:
        assert "unknown option" not in oracles.run([oracles.stackgroup_path(), name, "--help"]).stderr, name
    assert oracles.run([oracles.stackgroup_path(), "--no-such-option", "--help"]).returncode == 2


def test_man_page(installed):
    if not has_scdoc():
        pytest.skip("built without scdoc")
    page = one(installed, "stackgroup.1")
    done = oracles.run([need("groff"), "-ww", "-b", "-K", "utf8", "-T", "utf8", "-P", "-cbou", "-man", page])
    assert (done.returncode, done.stderr) == (0, "")
    # Hyphenation and wrapping are of no interest here.
    text = re.sub(r"\s+", " ", done.stdout.replace("\N{HYPHEN}\n", ""))
    for name, letter, takes in option_rows():
        start = f" -{letter}" + (r" [^,]+," if takes else ",") if letter else ""
        assert re.search(rf"{start} {name}{'=' if takes else ' '}", text), name
    for name in help_commands():
        assert f" rules {name} " in text
    for heading in ("NAME", "SYNOPSIS", "EXIT STATUS", "FILES", "EXAMPLES", "SEE ALSO"):
        assert f" {heading} " in text
    assert not re.search(r"@[A-Z]", text)


class Shell:
    """A shell on a terminal: completes what is typed as it does for a person, and says what the line is then."""

    SETUP = {
        "bash": (["bash", "--norc", "--noprofile", "-i"],
                 """bind 'set enable-bracketed-paste off'; bind 'set bell-style none'; PS1=; stty -echo
dump() {{ printf '<%s>\\n' "$READLINE_LINE"; READLINE_LINE=; }}; bind -x '"\\C-g": dump'
source '{file}'; complete -p stackgroup; echo '<ready>'\n"""),
        "zsh": (["zsh", "-f", "-i"],
                """PROMPT=; unsetopt zle_bracketed_paste 2>/dev/null; unset zle_bracketed_paste; setopt no_beep; stty -echo
fpath=('{file.parent}' $fpath); autoload -Uz compinit; compinit -u -D
dump() {{ print; print -r -- "<$BUFFER>"; BUFFER= }}; zle -N dump; bindkey '^G' dump; print '<ready>'\n"""),
    }

    def __init__(self, name, file, folder):
        command, setup = self.SETUP[name]
        program = need(name)
        environment = oracles.environment(TERM="dumb", HOME=str(folder), COLUMNS="200",
                                          PATH=f"{oracles.stackgroup_path().parent}:{os.environ['PATH']}")
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execve(program, command, environment)
        self.text = b""
        self.send(setup.format(file=file))
        assert self.answer() == "ready"

    def send(self, text):
        os.write(self.terminal, text.encode())

    def answer(self):
        """What stands between the next < and > that the shell itself prints at the start of a line."""
        end = time.monotonic() + SHELL_SECONDS
        while not (found := re.search(rb"(?:^|[\r\n])<([^<>\r\n]*)>\r?\n", self.text)):
            ready, _, _ = select.select([self.terminal], [], [], max(0, end - time.monotonic()))
            assert ready, self.text
            self.text += os.read(self.terminal, 65536)
        self.text = self.text[found.end():]
        return found[1].decode()

    def complete(self, line):
        self.send(line + "\t\x07")
        return self.answer()

    def close(self):
        os.close(self.terminal)  # the shell gets SIGHUP
        os.waitpid(self.pid, 0)


@pytest.fixture(scope="module", params=["bash", "zsh"])
def shell(request, installed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shell")
    (folder / "some.core").touch()
    (folder / "some folder").mkdir()
    file = one(installed, {"bash": "bash-completion/completions/stackgroup", "zsh": "_stackgroup"}[request.param])
    shell = Shell(request.param, file, folder)
    yield shell
    shell.close()


COMPLETIONS = [
    ("--by=fu", "--by=function "),
    ("--fail-on crit", "--fail-on critical "),
    ("-f deb", "-f debug2 "),
    ("--core=some.c", "--core=some.core "),
    ("-c some.c", "-c some.core "),
    ("some.c", "some.core "),
    ("--members some.c", "--members some.core "),
    ("--sysroot=some", "--sysroot=some\\ folder/"),
    ("--frames=1", "--frames=1"),
    ("--rule=pthread/dea", "--rule=pthread/deadlock "),
    ("rul", "rules "),
    ("rules sh", "rules show "),
    ("rules show pthread/dea", "rules show pthread/deadlock "),
    ("rules explain some.c", "rules explain some.core "),
    ("rules explain --pl", "rules explain --plugin="),
    ("rules list some.c", "rules list some.c"),
    ("runb", "runbook "),
    ("runbook pthread/dea", "runbook pthread/deadlock "),
]


@pytest.mark.parametrize("typed, wanted", COMPLETIONS, ids=[typed for typed, _ in COMPLETIONS])
def test_completion(typed, wanted, shell):
    assert shell.complete(f"stackgroup {typed}") == f"stackgroup {wanted}"


def test_completion_of_pids(shell):
    pid = str(os.getpid())
    # Another process may have a longer number that begins so.
    assert shell.complete(f"stackgroup --pid={pid}").startswith(f"stackgroup --pid={pid}")
    assert shell.complete("stackgroup -p 99999999") == "stackgroup -p 99999999"


def test_completion_of_every_option(shell):
    for name, _, takes in option_rows():
        assert shell.complete(f"stackgroup {name}") == f"stackgroup {name}{'=' if takes else ' '}"


def fish(installed, folder, lines):
    """What fish offers for each line, without its descriptions."""
    file = one(installed, "stackgroup.fish")
    script = "".join(f"complete -C '{line}'; echo '<end>'\n" for line in lines)
    path = f"{oracles.stackgroup_path().parent}:{os.environ['PATH']}"
    done = subprocess.run([need("fish"), "--no-config", "-c", f"source '{file}'; cd '{folder}'\n{script}"], capture_output=True, text=True,
                          timeout=SHELL_SECONDS, env=oracles.environment(HOME=str(folder), PATH=path), stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stderr) == (0, "")
    return [[row.split("\t")[0] for row in part.splitlines()] for part in done.stdout.split("<end>\n")[:-1]]


def test_fish(installed, tmp_path):
    (tmp_path / "some.core").touch()
    lines = {"stackgroup --by=": ["--by=creator", "--by=function", "--by=line", "--by=pc", "--by=start"], "stackgroup -c some.c": ["some.core"],
             "stackgroup rules show pthread/dea": ["pthread/deadlock"], "stackgroup rules ex": ["explain"],
             "stackgroup rules explain some.c": ["some.core"], "stackgroup --frames=": [], "stackgroup ru": ["rules", "runbook"], "stackgroup runbook pthread/dea": ["pthread/deadlock"],
             "stackgroup rules --p": ["--plugin", "--plugin="]}
    for line, offered in zip(lines, fish(installed, tmp_path, lines)):
        if line == "stackgroup rules --p":
            assert offered and set(offered) <= set(lines[line])
        else:
            assert sorted(offered) == lines[line], line
    [offered] = fish(installed, tmp_path, ["stackgroup -"])
    assert {name for name, _, _ in option_rows()} <= {word.rstrip("=") for word in offered}
