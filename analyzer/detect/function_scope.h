/* SPDX-License-Identifier: Apache-2.0 */
/* What a function's name tells about where it belongs: the function that a closure is written in, and the layer of the
 * program that the function is part of. By name alone, so that it works on text dumps and stripped programs.
 *
 *   Go     github.com/a/dao.(*Users).Get.func1  function github.com/a/dao.(*Users).Get  layer github.com/a/dao
 *   C++    void dao::Repo<User>::load<int>(int) function dao::Repo::load                layer dao::Repo
 *   Rust   <dao::users::Users as Load>::load    function dao::users::Users::load        layer dao::users
 *   C      order_load in dao/orders.c           function order_load                     layer dao/orders.c
 */
#ifndef SG_DETECT_FUNCTION_SCOPE_H
#define SG_DETECT_FUNCTION_SCOPE_H

#include "base/text.h"

enum scope_language { SCOPE_UNKNOWN, SCOPE_C, SCOPE_CPP, SCOPE_RUST, SCOPE_GO };

struct function_scope {
    enum scope_language language;
    struct text function; /* without closures, parameters, type arguments and what compilers append */
    struct text layer;    /* Go: import path; C++: class or namespace; Rust: module path; C and what stands in none of
                             them: source file, else `module`; "" unknown */
};

/* `file` and `module` may be "". The texts are in the arena or are runs of the arguments. */
struct function_scope function_scope_read(struct text name, struct text file, struct text module, struct arena *arena);

/* Whether two layers belong to one library or program: one lies below the other, or they share the part that names the
 * project ("github.com/a/b", "google.golang.org/grpc"; of names without a host, all of it). */
bool layers_share_root(struct text a, struct text b);

/* The name as a reader recognises it: Go's import path cut to its last element. */
struct text function_short_name(struct text name);

#endif
