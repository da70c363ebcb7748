/* SPDX-License-Identifier: Apache-2.0 */
/* Who refers to things of a Go program by their addresses: words on goroutines' stacks, among the program's variables
 * and on its heap. Types are not asked: any word with the address counts, also one that is left over. */
#ifndef SG_GOLANG_REFERENCES_H
#define SG_GOLANG_REFERENCES_H

#include "golang/goroutines.h"

struct go_referenced {
    uint64_t address;
    uint64_t stacks, variables, heap; /* words; of stacks those that `is_own` does not claim */
    uint64_t first_variable;
};

/* The place of an address among those that are asked for, by address; `count`: it is none of them. */
size_t go_referenced_find(const struct go_referenced *asked, size_t count, uint64_t address);

/* A goroutine's stack; what lies below sp is not in use. */
struct go_stack_range {
    uint64_t low, sp, high;
    uint32_t number; /* the caller's */
};

struct go_reference_search {
    const struct go_runtime *runtime;
    struct go_referenced *asked; /* by address */
    size_t asked_count;
    const struct go_stack_range *stacks; /* by low */
    size_t stack_count;
    /* Words that say nothing: the runtime's records of those who wait; by address. */
    const uint64_t *records; /* where they begin */
    size_t record_count, record_bytes;
    /* Where those who wait began: the closure that a go statement made begins with it, and is only theirs. By address.
     */
    const uint64_t *starts;
    size_t start_count;
    /* Whether the goroutine of that number is one of those who wait for it. Else it is noted by the call. */
    bool (*is_own)(void *context, uint32_t number, size_t asked);
    void *context;
};

/* Bytes of memory at hand. */
uint64_t go_references_heap_bytes(const struct go_runtime *runtime);

/* Fills in the counts: all memory at hand is gone through, at most limit_go_heap_bytes; false when that is more. */
bool go_references_find(struct go_reference_search *search);

/* Where all memory is too much: variables, and stacks one by one. Neither `stacks` nor `records` nor `starts` is asked. */
struct go_reference_pass *go_reference_pass_new(struct go_reference_search *search, struct arena *arena);
void go_reference_pass_stack(struct go_reference_pass *pass, const struct go_stack_range *stack);
void go_reference_pass_variables(struct go_reference_pass *pass);

#endif
