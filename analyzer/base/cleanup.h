/* SPDX-License-Identifier: Apache-2.0 */
/* Scope-bound release of what the OS or libc gave, for early returns. Arena objects need none of this. */
#ifndef SG_BASE_CLEANUP_H
#define SG_BASE_CLEANUP_H

#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static inline void cleanup_free(void *pointer)
{
    free(*(void **)pointer);
}

#define AUTO_CLOSE __attribute__((cleanup(cleanup_close)))
#define AUTO_FREE __attribute__((cleanup(cleanup_free)))

#endif
