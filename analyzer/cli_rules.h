/* SPDX-License-Identifier: Apache-2.0 */
/* `stackgroup rules`, for those who write rules, and `stackgroup runbook`, for those who follow their pages. */
#ifndef SG_CLI_RULES_H
#define SG_CLI_RULES_H

/* arguments[0] is "rules" or "runbook". Returns the exit code: 0 done, 1 an example failed, 2 usage, 3 unreadable, 4 a plugin has
 * errors and was left out. */
int cli_rules_run(int count, char **arguments);

#endif
