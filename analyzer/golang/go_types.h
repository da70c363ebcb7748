/* SPDX-License-Identifier: Apache-2.0 */
/* Structs of a Go program by their names, with the places of their fields: from the type descriptors that the runtime
 * and package reflect work with (internal/abi, type.go), which are never stripped. A type has a descriptor where the
 * program allocates it on the heap, or makes an interface of it. */
#ifndef SG_GOLANG_GO_TYPES_H
#define SG_GOLANG_GO_TYPES_H

#include "golang/go_runtime.h"

struct go_struct {
    uint64_t type; /* address of the descriptor */
    uint64_t size_bytes;
    uint64_t fields; /* address of the first field's description */
    uint64_t field_count;
};

/* All structs of that name, "redis.Pool": the package's last part and the type's name, type arguments left out
 * ("lend.Pool" stands for "lend.Pool[int]" too). In `arena`, up to limit_go_types_found. One pass over the descriptors.
 */
const struct go_struct *go_structs_find(const struct go_runtime *runtime, struct text name, struct arena *arena,
                                        size_t *ret_count);

struct go_field {
    uint64_t offset;
    uint64_t type;
    uint8_t kind; /* reflect.Kind: 2 int, 6 int64, 22 pointer … */
    uint64_t size_bytes;
};

/* False when the struct has no field of that name. */
bool go_struct_field(const struct go_runtime *runtime, const struct go_struct *type, struct text name,
                     struct go_field *ret_field);

/* Whether what lies at an address can be such a struct: each field's word is one of its type, pointers lead to memory,
 * functions to code, lengths fit capacities, truth values are 0 or 1. */
bool go_struct_fits(const struct go_runtime *runtime, const struct go_struct *type, uint64_t address);

#endif
