/* SPDX-License-Identifier: Apache-2.0
 *
 * truth.h as functions to link with, for languages that cannot include it.
 */
#include "truth.h"

int testcore_group(const char *name, int count, const char *frames, const char *leaf);
void testcore_arrive(int group);
void testcore_write(int signal_number, int signal_group);
int testcore_aborts(void);

int testcore_group(const char *name, int count, const char *frames, const char *leaf)
{
    return truth_group(name, count, frames, leaf);
}

void testcore_arrive(int group)
{
    truth_arrive(group);
}

void testcore_write(int signal_number, int signal_group)
{
    truth_write(signal_number, signal_group);
}

int testcore_aborts(void)
{
    return truth_aborts();
}
