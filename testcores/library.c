/* SPDX-License-Identifier: Apache-2.0
 *
 * The shared library of libraries.c, built several times: LIBRARY names its functions. It calls back into the program
 * from a static function, whose name only a full symbol table has, and from an exported one.
 */
#define KEEP() __asm__ volatile("" ::: "memory")
#define PASTE(a, b) a##b
#define NAME(a, b) PASTE(a, b)
#if defined(__clang__)
#define FRAME __attribute__((noinline, used))
#else
#define FRAME __attribute__((noipa, used))
#endif

typedef void callback(void *);

void NAME(LIBRARY, _exported)(callback *call, void *argument);

static FRAME void NAME(LIBRARY, _hidden)(callback *call, void *argument)
{
    call(argument);
    KEEP();
}

FRAME void NAME(LIBRARY, _exported)(callback *call, void *argument)
{
    NAME(LIBRARY, _hidden)(call, argument);
    KEEP();
}
