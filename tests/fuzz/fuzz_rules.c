/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a rule file: parsed, and where it has no errors compiled. libFuzzer drives it where it is linked
 * (-fsanitize=fuzzer); otherwise fuzz_replay.c runs it over files. */
#include "detect/detect.h"

#include <setjmp.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes)
{
    jmp_buf exhausted;
    struct arena arena;
    struct rule_set *volatile set = NULL;
    arena_init(&arena, (size_t)64 << 20, &exhausted);
    if (setjmp(exhausted) == 0) {
        struct rule_file file = rule_file_parse(TEXT("f.yaml"), (struct text){(const char *)bytes, size_bytes}, &arena);
        set = rule_set_new(&arena);
        bool is_taken = rule_set_add(set, &file, TEXT("/"));
        if (is_taken != (file.error_count == 0))
            abort();
        for (size_t i = 0; i < file.error_count; i++) {
            const struct rule_place place = file.errors[i].place;
            if (place.line == 0 || place.column == 0 || rule_file_error_text(&file, i, &arena)[0] == 0)
                abort();
        }
    }
    rule_set_release(set);
    arena_deinit(&arena);
    return 0;
}
