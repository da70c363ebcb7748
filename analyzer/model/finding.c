/* SPDX-License-Identifier: Apache-2.0 */
#include "model/finding.h"

static const char *const severity_names[] = {
    [SEVERITY_UNKNOWN] = "unknown",
    [SEVERITY_INFO] = "info",
    [SEVERITY_WARNING] = "warning",
    [SEVERITY_CRITICAL] = "critical",
};

const char *severity_name(enum severity severity)
{
    return severity_names[severity];
}

const char *confidence_name(enum confidence confidence)
{
    static const char *const names[] = {
        [CONFIDENCE_UNKNOWN] = "unknown",
        [CONFIDENCE_SUSPECTED] = "suspected",
        [CONFIDENCE_INFERRED] = "inferred",
        [CONFIDENCE_READ] = "read",
    };
    return names[confidence];
}
