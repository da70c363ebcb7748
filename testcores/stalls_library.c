/* SPDX-License-Identifier: Apache-2.0
 *
 * The library that `stalls loader` opens: its constructor does not come back.
 */
#include <unistd.h>

static __attribute__((constructor)) void library_begin(void)
{
    for (;;)
        pause();
}
