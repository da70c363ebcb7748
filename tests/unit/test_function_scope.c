/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "detect/function_scope.h"

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 0, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_deinit(&arena);
    return 0;
}

static void scope_is(const char *name, const char *file, const char *function, const char *layer)
{
    struct function_scope scope =
        function_scope_read(text_from_string(name), text_from_string(file), TEXT("/usr/bin/server"), &arena);
    assert_string_equal(text_copy(&arena, scope.function).data, function);
    assert_string_equal(text_copy(&arena, scope.layer).data, layer);
}

static void test_go(void **state)
{
    (void)state;
    scope_is("github.com/gomodule/redigo/redis.(*Pool).get", "", "github.com/gomodule/redigo/redis.(*Pool).get",
             "github.com/gomodule/redigo/redis");
    scope_is("foo/engine.(*Client).reader.func3", "", "foo/engine.(*Client).reader", "foo/engine");
    scope_is("main.main.func1.2", "/src/main.go", "main.main", "main");
    scope_is("main.f", "", "main.f", "main");
    scope_is("foo/dao.(*Rows).close.gowrap1", "", "foo/dao.(*Rows).close", "foo/dao");
    scope_is("foo/dao.(*Rows).close.deferwrap2", "", "foo/dao.(*Rows).close", "foo/dao");
    scope_is("foo/dao.(*Rows).Close-fm", "", "foo/dao.(*Rows).Close", "foo/dao");
    scope_is("foo/dao.Each-range1", "/src/dao.go", "foo/dao.Each", "foo/dao");
    scope_is("main.init.0", "/src/main.go", "main.init.0", "main");
    scope_is("main.init.0.func1", "/src/main.go", "main.init.0", "main");
    /* "func" alone and a function that only begins like a closure's name are functions. */
    scope_is("main.functions", "/src/main.go", "main.functions", "main");
    scope_is("gopkg.in/yaml%2ev3.Unmarshal", "/src/yaml.go", "gopkg.in/yaml%2ev3.Unmarshal", "gopkg.in/yaml%2ev3");
    /* Type arguments have slashes and dots of their own. */
    scope_is("foo/dao.Load[go.shape.struct { bar/baz.T }].func1", "/src/dao.go",
             "foo/dao.Load[go.shape.struct { bar/baz.T }]", "foo/dao");
    scope_is("foo/dao.(*Cache[bar/baz.T]).Get.func2", "", "foo/dao.(*Cache[bar/baz.T]).Get", "foo/dao");
}

static void test_cpp(void **state)
{
    (void)state;
    scope_is("dao::Orders::load(int, std::string const&)", "orders.cc", "dao::Orders::load", "dao::Orders");
    scope_is("dao::Orders::load(int) const", "", "dao::Orders::load", "dao::Orders");
    scope_is("void dao::Repo<User, std::less<User> >::load<int>(int)", "repo.cc", "dao::Repo::load", "dao::Repo");
    scope_is("std::vector<int, std::allocator<int> > dao::ids()", "ids.cc", "dao::ids", "dao");
    scope_is("dao::(anonymous namespace)::fetch(int)", "dao.cc", "dao::fetch", "dao");
    scope_is("(anonymous namespace)::fetch(int)", "/src/dao.cc", "fetch", "/src/dao.cc");
    scope_is("fetch(int)", "/src/dao.cc", "fetch", "/src/dao.cc");
    scope_is("fetch(int)", "", "fetch", "/usr/bin/server");
    scope_is("dao::Orders::load(int)::{lambda(int)#1}::operator()(int) const", "dao.cc", "dao::Orders::load",
             "dao::Orders");
    scope_is("dao::Guard::operator()(int) const", "", "dao::Guard::operator()", "dao::Guard");
    scope_is("dao::operator<<(std::ostream&, dao::Row const&)", "", "dao::operator<<", "dao");
    scope_is("dao::Ptr<Row>::operator->() const", "", "dao::Ptr::operator->", "dao::Ptr");
    scope_is("dao::Row::operator bool() const", "", "dao::Row::operator bool", "dao::Row");
    scope_is("dao::Orders::load(int) [clone .cold]", "", "dao::Orders::load", "dao::Orders");
}

static void test_rust(void **state)
{
    (void)state;
    scope_is("dao::users::load", "src/dao/users.rs", "dao::users::load", "dao::users");
    scope_is("dao::users::Users::load", "src/dao/users.rs", "dao::users::Users::load", "dao::users");
    scope_is("<dao::users::Users as dao::Load>::load", "", "dao::users::Users::load", "dao::users");
    scope_is("<&mut dao::users::Users as core::fmt::Debug>::fmt", "", "dao::users::Users::fmt", "dao::users");
    scope_is("dao::users::<impl dao::Load for dao::users::Users>::load", "src/a.rs", "dao::users::load", "dao::users");
    scope_is("dao::users::load::{{closure}}", "", "dao::users::load", "dao::users");
    scope_is("dao::users::load::{closure#0}::{closure#1}", "", "dao::users::load", "dao::users");
    scope_is("dao::users::load::<u32, fn(u8) -> u8>", "src/a.rs", "dao::users::load", "dao::users");
    scope_is("dao::users::load::h0123456789abcdef", "src/a.rs", "dao::users::load", "dao::users");
}

static void test_c(void **state)
{
    (void)state;
    scope_is("order_load", "/src/orders.c", "order_load", "/src/orders.c");
    scope_is("order_load.constprop.0", "/src/orders.c", "order_load", "/src/orders.c");
    scope_is("order_load.lto_priv.0", "", "order_load.lto_priv.0", "/usr/bin/server");
    scope_is("order_load", "", "order_load", "/usr/bin/server");
}

/* Names come from hostile files: all that is asked is that reading ends. */
static void test_nonsense(void **state)
{
    (void)state;
    static const char *const names[] = {
        "",   ".",        "..",   "/",   "/.",   "::",     "::::",     "<",         "<>",       "<<<<",    ">>>>",
        "(",  ")",        "{",    "}::", "a::<", "<a as ", "operator", "operator<", " ",        "a b c::", ".func1",
        "a.", "a..func1", "a.b-", "[",   "]",    "a[",     "a.b[/.c",  "< as >",    "<<a>>::b", "-fm",
        "a<b>(anonymous namespace)", "a::b<c>(anonymous namespace)::d()"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        for (size_t j = 0; j < 4; j++) {
            static const char *const files[] = {"", "a.go", "a.rs", "a.cc"};
            function_scope_read(text_from_string(names[i]), text_from_string(files[j]), TEXT(""), &arena);
            function_short_name(text_from_string(names[i]));
        }
}

static void test_roots(void **state)
{
    (void)state;
    assert_true(layers_share_root(TEXT("google.golang.org/grpc"), TEXT("google.golang.org/grpc/internal/transport")));
    assert_true(layers_share_root(TEXT("github.com/a/b/c"), TEXT("github.com/a/b/d")));
    assert_false(layers_share_root(TEXT("github.com/a/b"), TEXT("github.com/a/c")));
    assert_false(layers_share_root(TEXT("google.golang.org/grpc"), TEXT("google.golang.org/grpcx")));
    assert_true(layers_share_root(TEXT("net/http"), TEXT("net/http")));
    assert_true(layers_share_root(TEXT("net/http/internal"), TEXT("net/http")));
    assert_false(layers_share_root(TEXT("net/http"), TEXT("net/rpc")));
    assert_false(layers_share_root(TEXT(""), TEXT("")));
    assert_true(layers_share_root(TEXT("dao::users"), TEXT("dao")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_go, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cpp, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rust, setup, teardown),
        cmocka_unit_test_setup_teardown(test_c, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nonsense, setup, teardown),
        cmocka_unit_test_setup_teardown(test_roots, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
