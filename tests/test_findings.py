# SPDX-License-Identifier: Apache-2.0
"""Who waits for whom in programs that stand still in a known way: what must be found, and who must not be blamed. The roles are
the programs' own words (testcores/stalls.*)."""

import re

import pytest

import cores
import findings

C_NAMES = ("c", "c-stripped", "c-static")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("findings")


@pytest.fixture(scope="module")
def stalls(folder):
    built = {}

    def get(name):
        if name not in built:
            (folder / name).mkdir()
            try:
                built[name] = findings.build_stalls(name, folder / name)
            except cores.Unavailable as error:
                built[name] = str(error)
        if isinstance(built[name], str):
            pytest.skip(built[name])
        return built[name]

    return get


@pytest.fixture(scope="module")
def shop(folder):
    try:
        return findings.build_shop(folder)
    except cores.Unavailable as error:
        pytest.skip(str(error))


def looks(program, *arguments):
    """The findings of the process, then those of its core, each with the truth of its own run."""
    with program.running(*arguments) as (pid, truth):
        yield findings.found("-p", str(pid)), truth
    core, truth = program.core(*arguments)
    yield findings.found(str(core)), truth


def one(found, rule):
    """The one finding of a rule."""
    matching = [finding for finding in found if finding["id"] == rule]
    assert len(matching) == 1, f"{rule}: {findings.ids(found)}"
    return matching[0]


def assert_not_named(found, truth, *names):
    for finding in findings.above_info(found):
        for name in names:
            assert not findings.threads_named(finding) & set(truth[name]), f"{finding['id']} names {name}"


@pytest.mark.parametrize("name", C_NAMES)
def test_philosophers(stalls, name):
    """A cycle of five that stand in one and the same stack; three guests behind it."""
    for found, truth in looks(stalls(name), "philosophers"):
        finding = one(found, "pthread/deadlock")
        assert finding["severity"] == "critical" and finding["confidence"] == "read"
        assert findings.cycles(finding) == [frozenset(truth["cycle"])]
        assert finding["members"] == 8
        assert findings.ids(findings.above_info(found)) == ["pthread/deadlock"]
        assert_not_named(found, truth, "innocent")


def test_cxx_mutex_cycle(stalls):
    for found, truth in looks(stalls("c++"), "mutex-cycle"):
        finding = one(found, "pthread/deadlock")
        assert findings.cycles(finding) == [frozenset(truth["first"] + truth["second"])]
        assert finding["members"] == 5
        assert "bank::transfer" in findings.told(finding)
        assert_not_named(found, truth, "innocent")


def test_cxx_shared_mutex(stalls):
    """Readers behind a writer: a queue with its head, and no cycle."""
    for found, truth in looks(stalls("c++"), "shared-mutex"):
        finding = one(found, "pthread/lock-held-in-wait")
        assert finding["members"] == 12
        assert str(truth["head"][0]) in findings.told(finding)
        assert "pthread/deadlock" not in findings.ids(found)


def test_cxx_future(stalls):
    """Nobody can be blamed for a promise that is not kept."""
    for found, _ in looks(stalls("c++"), "future"):
        assert not findings.above_info(found)


def test_cxx_static_cycle(stalls):
    """A function's static variable is made by whoever stands in the function past its guard, which names nobody."""
    for found, truth in looks(stalls("c++"), "static-cycle"):
        finding = one(found, "pthread/deadlock")
        assert finding["severity"] == "critical" and finding["confidence"] == "inferred"
        assert findings.cycles(finding) == [frozenset(truth["makes"] + truth["locks"])]
        assert finding["members"] == 5
        assert "settings::instance" in findings.told(finding)
        assert_not_named(found, truth, "innocent")


def test_cxx_turns(stalls):
    """Workers that wait at their queue one at a time are idle, however many there are."""
    for found, _ in looks(stalls("c++"), "turns"):
        assert not findings.above_info(found)
        assert "take turns" in findings.told(one(found, "pthread/lock-queue"))


def test_few_waiters(stalls):
    """Too few for a warning, but nobody runs who could let them go: worth a word, and no more."""
    with stalls("c").running("reader-writer") as (pid, truth):
        finding = one(findings.found("-p", str(pid)), "pthread/lock-queue")
    assert finding["severity"] == "info" and finding["members"] == 2


def test_cxx_pool(stalls):
    """A pool that is a class inside a class: six hold one and wait for another, 24 are victims."""
    for found, truth in looks(stalls("c++"), "pool-nested"):
        finding = one(found, "pools/native")
        assert finding["severity"] == "critical"
        assert finding["members"] == 30
        said = findings.told(finding)
        assert "app::Repository::ConnectionPool::acquire" in said and "list_orders" in said
        nested = [group for group in finding["groups"] if "holds" in group["role"]]
        assert sum(group["members"] for group in nested) == len(truth["nested"])


@pytest.mark.parametrize("way", ("pool-condition", "pool-semaphore"))
def test_pool(stalls, way):
    for found, truth in looks(stalls("c"), way):
        finding = one(found, "pools/native")
        assert finding["severity"] == "critical"
        assert finding["members"] == len(truth["nested"]) + len(truth["victim"])
        assert "db_pool_acquire" in findings.told(finding) and "order_list" in findings.told(finding)


@pytest.mark.parametrize("name", ("c", "c-stripped"))
def test_reader_reads_again(stalls, name):
    """Readers of a rwlock leave no name: it is a deadlock, and memory does not tell whose. Nobody is named as the holder."""
    for found, truth in looks(stalls(name), "reader-writer"):
        assert "pthread/deadlock" not in findings.ids(found)
        for finding in found:
            assert not [edge for edge in finding.get("edges", []) if "holder" in edge]
        assert_not_named(found, truth, "innocent")


@pytest.mark.parametrize("name", C_NAMES)
def test_owner_has_ended(stalls, name):
    for found, truth in looks(stalls(name), "owner-ended"):
        finding = one(found, "pthread/owner-ended")
        assert finding["severity"] == "critical"
        assert finding["members"] == len(truth["waits"])
        assert "ended" in findings.told(finding)


@pytest.mark.parametrize("name", C_NAMES)
def test_queue_whose_head_computes(stalls, name):
    """A chain that is no cycle: the head is named, and it is the one that runs. A single look cannot tell that from a busy lock."""
    for found, truth in looks(stalls(name), "spin"):
        finding = one(found, "pthread/lock-queue")
        assert finding["severity"] == "info"
        assert finding["members"] == len(truth["waits"])
        assert str(truth["head"][0]) in findings.told(finding)
        assert "pthread/deadlock" not in findings.ids(found)
        assert_not_named(found, truth, "innocent")


@pytest.mark.parametrize("way, rule, function", (
    ("dns", "dns/lookup-under-lock", "getaddrinfo"),
    ("logging", "logging/write-under-lock", "log_write"),
    ("stdio", "stdio/stream-blocked", "write"),
))
def test_head_is_in(stalls, way, rule, function):
    """The narrow rule says what the head does; the general one does not say it again."""
    for found, truth in looks(stalls("c"), way):
        finding = one(found, rule)
        assert finding["members"] == len(truth["waits"])
        assert function in findings.told(finding) and str(truth["head"][0]) in findings.told(finding)
        assert findings.ids(findings.above_info(found)) == [rule]
        assert_not_named(found, truth, "innocent")


def test_constructor(stalls, folder):
    library = findings.build_library(folder)
    for found, truth in looks(stalls("c"), "loader", library):
        finding = one(found, "loader/constructor")
        assert finding["members"] == len(truth["waits"])
        assert f"thread {truth['head'][0]}" in finding["title"] and "plugin_load" in findings.told(finding)
        assert findings.ids(findings.above_info(found)) == ["loader/constructor"]


def test_handler_that_allocates(stalls):
    for found, truth in looks(stalls("c"), "handler"):
        # Whether the interrupted call had the arena locked is in the stack, or, where it was interrupted early, not.
        assert len({"allocator/in-signal-handler", "allocator/handler-allocates"} & set(findings.ids(found))) == 1
        assert [finding["members"] for finding in findings.above_info(found)] == [1]
        assert_not_named(found, truth, "innocent")


@pytest.mark.parametrize("way, rule", (("fork-mutex", "pthread/owner-ended"), ("fork-time", "fork/child-in-libc-lock")))
def test_child_of_threads(stalls, folder, way, rule):
    """The child has one thread, and a lock that it cannot get."""
    program = stalls("c")
    command = [program.executable, way]
    with findings.ready(command, env=cores.child_environment(folder / "truth", "wait")) as parent:
        child = findings.child_of(parent.pid)
        finding = one(findings.found("-p", str(child)), rule)
        assert finding["severity"] == "critical" and finding["members"] == 1


@pytest.mark.parametrize("name", ("rust", "rust-legacy"))
def test_rust_mutexes(stalls, name):
    """Rust's Mutex keeps no owner: a queue is found, nobody is named as its holder, no cycle is claimed."""
    for found, truth in looks(stalls(name), "mutex-cycle"):
        finding = one(found, "rust/lock-queue")
        assert finding["members"] == len(truth["behind"]) + 1
        assert not [edge for edge in finding.get("edges", []) if "holder" in edge]
        assert not [other for other in found if other.get("cycles")]


def test_rust_rwlock(stalls):
    for found, truth in looks(stalls("rust"), "rwlock"):
        assert one(found, "rust/lock-queue")["members"] == len(truth["waits"])


# Go, as the runtime prints it.


def test_go_mutex_cycle(shop, folder):
    dump = findings.shop_dump(shop, "mutex-cycle", 2, folder)
    finding = one(findings.found(str(dump)), "go/deadlock")
    assert finding["severity"] == "critical" and finding["confidence"] == "suspected"
    assert finding["members"] == 11
    (cycle,) = findings.cycles(finding)
    # One of each function: the one that has the other's lock stands at the second Lock.
    assert len(cycle & findings.goroutines_in(dump, "main.placeOrder")) == 1
    assert len(cycle & findings.goroutines_in(dump, "main.restock")) == 1


def test_go_mutex_cycle_at_one_call(shop, folder):
    """Both stand at the same call: no stack tells which of them has which lock, and none is said to."""
    found = findings.found(str(findings.shop_dump(shop, "mutex-same", 2, folder)))
    assert "go/deadlock" not in findings.ids(found)
    assert max(finding["members"] for finding in found) >= 13


def test_go_mutex_queue(shop, folder):
    """The only goroutine past the waiters' Lock call reads a pipe; that is inferred, and said to be."""
    dump = findings.shop_dump(shop, "mutex-queue", 2, folder)
    finding = one(findings.found(str(dump)), "go/lock-held-in-wait")
    head = findings.goroutines_in(dump, "io.ReadAll")
    assert finding["members"] == 15 and finding["confidence"] == "inferred"
    assert len(head) == 1 and str(*head) in findings.told(finding)


def test_go_reader_reads_again(shop, folder):
    dump = findings.shop_dump(shop, "rwmutex", 2, folder)
    found = findings.found(str(dump))
    assert any(finding["members"] >= 13 for finding in found), findings.ids(found)


@pytest.mark.parametrize("form", (1, 2))
def test_go_own_pool(shop, folder, form):
    """A pool type of the program's own."""
    dump = findings.shop_dump(shop, "pool-nested", form, folder)
    finding = one(findings.found(str(dump)), "pools/go")
    said = findings.told(finding)
    assert finding["severity"] == "critical" and finding["members"] == 45
    assert "Acquire" in said and "ListOrders" in said
    nested = [group for group in finding["groups"] if "holds" in group["role"]]
    assert sum(group["members"] for group in nested) == 5


@pytest.mark.parametrize("form", (1, 2))
def test_go_database(shop, folder, form):
    dump = findings.shop_dump(shop, "sql-nested", form, folder)
    finding = one(findings.found(str(dump)), "go-database-sql/pool-nested")
    assert finding["severity"] == "critical" and finding["members"] == 44
    assert "OrderNames" in findings.told(finding)


@pytest.mark.parametrize("way, form, rule", (
    ("sql-busy", 1, "go-database-sql/no-connection"),
    ("sql-open", 1, "go-database-sql/open-per-request"),
    ("sql-transactions", 1, "go-database-sql/open-transactions"),
    ("channel-send", 2, "go/channel-send"),
    ("channel-receive", 1, "go/leak"),
    ("select", 1, "go/leak"),
    ("time-after", 1, "go/leak"),
    ("nil-channel", 2, "go/nil-channel"),
    ("waitgroup", 2, "go/waitgroup"),
    ("http-body", 1, "go-net-http/body-not-closed"),
    ("http-transport", 1, "go-net-http/transport-per-request"),
    ("http-deaf", 1, "go-net-http/waits-for-answer"),
    ("http-limit", 1, "go-net-http/connection-limit"),
))
def test_go_place(shop, folder, way, form, rule):
    dump = findings.shop_dump(shop, way, form, folder)
    if way in ("channel-send", "waitgroup"):
        # As it would read three minutes later.
        dump = dump.with_suffix(".later.txt")
        text = findings.shop_dump(shop, way, form, folder).read_text()
        dump.write_text(re.sub(r"\[(chan send|semacquire|sync.WaitGroup.Wait)\]", r"[\1, 3 minutes]", text))
    found = findings.found(str(dump))
    assert rule in findings.ids(found)
    assert not [finding for finding in found if finding["severity"] == "critical"]


@pytest.mark.parametrize("way", ("healthy", "pool-accessor", "http-idle"))
@pytest.mark.parametrize("form", (1, 2))
def test_go_in_order(shop, folder, way, form):
    """Nothing is wrong here: idle workers, an accessor, idle connections."""
    found = findings.found(str(findings.shop_dump(shop, way, form, folder)))
    assert not [finding for finding in found if finding["severity"] == "critical"], findings.ids(found)
    if way == "healthy":
        assert not findings.above_info(found), findings.ids(found)
