/* SPDX-License-Identifier: Apache-2.0 */
/* Detector `descriptors`: sockets that stay in one state (CLOSE_WAIT: the peer has closed, this process has not), and a
 * process near its limit of open descriptors (a rule without `state`). Of live processes only: cores and text dumps do
 * not tell.
 *
 * Keys for titles:
 *   {sockets}  in the state                              {descriptors}  open, of a rule without `state`
 *   {state}, {peer}, {local}  of the commonest class     {limit}        RLIMIT_NOFILE, where known
 *   {members}  that wait on one of the sockets           {share}        open descriptors of the limit
 *
 * Where the rule does not say: at-least 100 sockets, or a share of 90% open. `share` is of the limit. */
#include "detect/wording.h"

#include <inttypes.h>

enum {
    /* Where the rule does not say. A busy server has a few sockets in any state at any instant. */
    sockets_least = 100,
    /* Of RLIMIT_NOFILE, in thousandths. */
    open_share_permille = 900,
};

static bool class_is_meant(struct detection *detection, const struct compiled_rule *rule,
                           const struct descriptor_class *class)
{
    if (class->kind != DESCRIPTOR_SOCKET)
        return false;
    const char *state = net_state_name(class->protocol, class->state);
    return state != NULL && detection_state_matches(detection, rule, text_from_string(state));
}

static const char *descriptor_class_text(struct arena *arena, const struct descriptor_class *class)
{
    char local[net_address_text_bytes], peer[net_address_text_bytes];
    net_address_print(&class->local, local);
    net_address_print(&class->peer, peer);
    if (class->kind != DESCRIPTOR_SOCKET)
        return class->name.length == 0 ? descriptor_kind_name(class->kind)
                                       : arena_printf(arena, "%s %.*s", descriptor_kind_name(class->kind),
                                                      (int)class->name.length, class->name.data);
    const char *state = net_state_name(class->protocol, class->state);
    const char *protocol = net_protocol_name(class->protocol);
    return arena_printf(arena, "%s socket%s%s%s%s%s%s", protocol == NULL ? "unknown" : protocol,
                        local[0] == '\0'     ? ""
                        : class->is_accepted ? " accepted at "
                                             : " at ",
                        local,
                        peer[0] == '\0'      ? ""
                        : class->is_accepted ? " from "
                                             : " to ",
                        peer, state == NULL ? "" : " in ", state == NULL ? "" : state);
}

/* Threads that wait on a descriptor of these classes. */
static void threads_tell(struct detection *detection, struct finding *finding, const bool *is_meant)
{
    const struct snapshot *snapshot = detection_snapshot(detection);
    struct tally sites;
    uint64_t members = 0;
    tally_init(&sites, detection);
    for (uint32_t i = 0; i < snapshot->member_count; i++) {
        const struct member *member = &snapshot->members[i];
        const struct descriptor *descriptor =
            member->fd < 0 ? NULL : descriptors_find(snapshot->descriptors, member->fd);
        if (descriptor == NULL || !is_meant[descriptor->class_number])
            continue;
        members += member->count;
        detection_add_member(detection, finding, i, "waits");
        struct text site = detection_call_site(detection, member->stack);
        tally_add(&sites, site.length == 0 ? TEXT("a function without a name") : site, member->count);
    }
    finding->members = members;
    if (members != 0)
        detection_add_evidence(detection, finding, "%s %s on one of them: %s.",
                               detection_count_text(detection, members), for_count(members, "waits", "wait"),
                               tally_text(&sites, " in "));
    finding_add_count(detection, finding, "members", members);
}

static void limit_tell(struct detection *detection, struct finding *finding)
{
    const struct descriptors *descriptors = detection_snapshot(detection)->descriptors;
    struct arena *arena = detection_arena(detection);
    const char *least = descriptors->count_is_least ? "at least " : "";
    if (descriptors->count_max == 0) {
        detection_add_evidence(detection, finding, "%s%s descriptors are open; the limit is not known (read).", least,
                               detection_count_text(detection, descriptors->count_open));
        return;
    }
    const char *share = share_text(arena, descriptors->count_open, descriptors->count_max);
    detection_add_evidence(detection, finding, "%s%s of %s descriptors that the process may open are open, %s (read).",
                           least, detection_count_text(detection, descriptors->count_open),
                           detection_count_text(detection, descriptors->count_max), share);
    finding_add_count(detection, finding, "limit", descriptors->count_max);
    detection_add_key(detection, finding, "share", text_from_string(share));
}

/* To win time: how far the limit of this very process can be raised, sixteenfold at most. Hard limits of 2^30 are
 * common, and some programs walk through all numbers below the soft one. */
static void way_out_tell(struct detection *detection, struct finding *finding)
{
    enum { times_max = 16 };
    const struct snapshot *snapshot = detection_snapshot(detection);
    const struct descriptors *descriptors = snapshot->descriptors;
    if (descriptors->count_hard > descriptors->count_max)
        detection_add_evidence(
            detection, finding,
            "Its hard limit is %s: prlimit --pid %" PRIu32 " --nofile=%" PRIu64 ": raises the limit while it runs.",
            detection_count_text(detection, descriptors->count_hard), snapshot->pid,
            descriptors->count_hard / times_max < descriptors->count_max ? descriptors->count_hard
                                                                         : descriptors->count_max * times_max);
    else if (descriptors->count_hard != 0 && descriptors->count_hard == descriptors->count_max)
        detection_add_evidence(detection, finding, "That is its hard limit too: only root can raise it.");
}

static bool is_enough(const struct rule *rule, const struct descriptors *descriptors, uint64_t count, uint64_t at_least,
                      uint32_t share_permille)
{
    if (rule->at_least != 0)
        at_least = rule->at_least;
    if (rule->share_permille != 0)
        share_permille = rule->share_permille;
    if (count < at_least)
        return false;
    return share_permille == 0 || (descriptors->count_max != 0 &&
                                   (double)count * 1000 >= (double)share_permille * (double)descriptors->count_max);
}

/* The classes that `is_meant` names, with the commonest one's words as keys. */
static void classes_tell(struct detection *detection, struct finding *finding, const bool *is_meant, const char *what)
{
    const struct descriptors *descriptors = detection_snapshot(detection)->descriptors;
    struct arena *arena = detection_arena(detection);
    struct tally classes;
    const struct descriptor_class *first = NULL;
    tally_init(&classes, detection);
    for (size_t i = 0; i < descriptors->class_count; i++) {
        const struct descriptor_class *class = &descriptors->classes[i];
        if (!is_meant[i])
            continue;
        tally_add(&classes, text_from_string(descriptor_class_text(arena, class)), class->count);
        if (first == NULL || class->count > first->count)
            first = class;
    }
    if (first == NULL)
        return;
    detection_add_evidence(detection, finding, "%s: %s.", what, tally_text(&classes, " × "));
    char address[net_address_text_bytes];
    const char *state = net_state_name(first->protocol, first->state);
    if (first->peer.version != 0)
        detection_add_key(detection, finding, "peer",
                          text_copy(arena, text_from_string(net_address_print(&first->peer, address))));
    if (first->local.version != 0)
        detection_add_key(detection, finding, "local",
                          text_copy(arena, text_from_string(net_address_print(&first->local, address))));
    if (first->kind == DESCRIPTOR_SOCKET && state != NULL)
        detection_add_key(detection, finding, "state", text_from_string(state));
}

static void states_find(struct detection *detection, const struct compiled_rule *rule)
{
    const struct descriptors *descriptors = detection_snapshot(detection)->descriptors;
    bool *is_meant = arena_array(detection_scratch(detection), bool, descriptors->class_count + 1);
    uint64_t sockets = 0;
    for (size_t i = 0; i < descriptors->class_count; i++) {
        is_meant[i] = class_is_meant(detection, rule, &descriptors->classes[i]);
        sockets += is_meant[i] ? descriptors->classes[i].count : 0;
    }
    if (sockets == 0 || !is_enough(compiled_rule_source(rule), descriptors, sockets, sockets_least, 0))
        return;
    struct finding *finding = detection_add(detection, rule);
    finding->confidence = CONFIDENCE_READ;
    finding_add_count(detection, finding, "sockets", sockets);
    classes_tell(detection, finding, is_meant, "They are");
    threads_tell(detection, finding, is_meant);
    limit_tell(detection, finding);
    detection_set_title(detection, finding, rule, "{sockets} sockets are in {state}");
}

static void exhaustion_find(struct detection *detection, const struct compiled_rule *rule)
{
    const struct descriptors *descriptors = detection_snapshot(detection)->descriptors;
    bool *is_meant = arena_array(detection_scratch(detection), bool, descriptors->class_count + 1);
    if (!is_enough(compiled_rule_source(rule), descriptors, descriptors->count_open, 0, open_share_permille))
        return;
    struct finding *finding = detection_add(detection, rule);
    finding->confidence = CONFIDENCE_READ;
    memset(is_meant, true, descriptors->class_count * sizeof *is_meant);
    finding_add_count(detection, finding, "descriptors", descriptors->count_open);
    limit_tell(detection, finding);
    way_out_tell(detection, finding);
    classes_tell(detection, finding, is_meant, "Most are");
    memset(is_meant, false, descriptors->class_count * sizeof *is_meant);
    threads_tell(detection, finding, is_meant);
    detection_set_title(detection, finding, rule, "{descriptors} of {limit} descriptors are open");
}

static void descriptors_run(struct detection *detection, const struct compiled_rule *rule)
{
    if (detection_snapshot(detection)->descriptors == NULL)
        return;
    if (compiled_rule_source(rule)->match.state.count != 0)
        states_find(detection, rule);
    else
        exhaustion_find(detection, rule);
}

const struct detector detector_descriptors = {RULE_DESCRIPTORS, "descriptors", descriptors_run, NULL};
