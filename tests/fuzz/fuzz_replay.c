/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzz target over files: each whole, cut at every length, and with every byte of it inverted. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes);

/* The target gets its own copy of exactly that size, so that a sanitizer sees a read past its end. */
static void run(const uint8_t *bytes, size_t size_bytes, size_t inverted)
{
    uint8_t *copy = malloc(size_bytes + 1);
    if (copy == NULL)
        abort();
    memcpy(copy + 1, bytes, size_bytes);
    if (inverted < size_bytes)
        copy[1 + inverted] ^= 0xff;
    LLVMFuzzerTestOneInput(copy + 1, size_bytes);
    free(copy);
}

int main(int count, char **paths)
{
    static uint8_t bytes[65536];
    for (int i = 1; i < count; i++) {
        FILE *file = fopen(paths[i], "rb");
        if (file == NULL) {
            perror(paths[i]);
            return 1;
        }
        size_t size_bytes = fread(bytes, 1, sizeof bytes, file);
        fclose(file);
        run(bytes, size_bytes, SIZE_MAX);
        for (size_t at = 0; at < size_bytes; at++) {
            run(bytes, at, SIZE_MAX);
            run(bytes, size_bytes, at);
        }
    }
    return 0;
}
