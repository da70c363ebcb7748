/* SPDX-License-Identifier: Apache-2.0 */
#include "model/grouping.h"

const char *group_by_name(enum group_by by)
{
    static const char *const names[] = {[GROUP_BY_LINE] = "line",
                                        [GROUP_BY_PC] = "pc",
                                        [GROUP_BY_FUNCTION] = "function",
                                        [GROUP_BY_CREATOR] = "creator",
                                        [GROUP_BY_START] = "start"};
    return names[by];
}
