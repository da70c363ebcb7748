/* SPDX-License-Identifier: Apache-2.0 */
/* Which functions the code of a Go function calls directly. Instructions are not told apart: wherever the bytes of a
 * direct call lead exactly to the entry of a Go function, that is taken for one. By chance, inside of another
 * instruction, that happens to one in 2^32 times the program's functions. Calls through interfaces, closures and
 * tables name no function: they are only counted. amd64: CALL and JMP rel32; arm64: BL and B. */
#ifndef SG_GOLANG_CODE_CALLS_H
#define SG_GOLANG_CODE_CALLS_H

#include "golang/go_runtime.h"

struct code_call {
    uint64_t pc, end; /* of the instruction; names and lines are looked up by pc */
    uint64_t target;  /* the entry of the function that is called */
    bool is_jump;     /* a function's last call may be one */
};

/* By address, in `arena`, may be none; NULL: the code is not at hand, or of another architecture. At most
 * limit_code_call_bytes of a function are looked at. */
const struct code_call *code_calls_read(const struct go_runtime *runtime, const struct pclntab_function *function,
                                        struct arena *arena, size_t *ret_count);

/* Calls through a register, as those of interfaces, closures and functions' values are (amd64: CALL r64; arm64: BLR):
 * as above, without targets. Bytes that only look like one count too. */
const struct code_call *code_register_calls_read(const struct go_runtime *runtime,
                                                 const struct pclntab_function *function, struct arena *arena,
                                                 size_t *ret_count);

/* Whether the code of the function refers to a variable at that address (amd64: relative to its pc). */
bool code_refers_to(const struct go_runtime *runtime, const struct pclntab_function *function, uint64_t address);

#endif
