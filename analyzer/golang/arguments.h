/* SPDX-License-Identifier: Apache-2.0 */
/* How Go's runtime prints the arguments of a call in its dumps, "0x1, {0x2, ...}, 0x3?", and where their values lie on
 * the stack: runtime.printArgs of each release (traceback.go), by the argument maps beside the function tables
 * (FUNCDATA_ArgInfo and ArgLiveInfo; before 1.17 raw words). The same for every call at one pc. */
#ifndef SG_GOLANG_ARGUMENTS_H
#define SG_GOLANG_ARGUMENTS_H

#include "golang/go_runtime.h"

enum { go_argument_mark = '%' }; /* stands for a value in go_arguments.text */

struct go_argument {
    uint16_t offset;    /* from the argument area, which begins above the return address */
    uint8_t size_bytes; /* 1 … 8, little-endian; 0: the value is 0 */
};

struct go_arguments {
    struct text text;                 /* "%, {%, ...}, %?" */
    const struct go_argument *places; /* one for each mark */
    size_t place_count;
};

/* False for a pc that is in no Go code, and where the function's map is not at hand or holds nonsense. `exact` as in
 * struct location. */
bool go_arguments_read(const struct go_runtime *runtime, uint64_t pc, bool exact, struct arena *arena,
                       struct go_arguments *ret_arguments);

#endif
