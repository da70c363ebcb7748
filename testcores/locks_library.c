/* SPDX-License-Identifier: Apache-2.0
 *
 * A library whose constructor calls back into locks.c and never returns: the loader's lock is taken meanwhile.
 */
void locks_constructor(void);

__attribute__((constructor)) static void begin(void)
{
    locks_constructor();
    __asm__ volatile("" ::: "memory");
}
