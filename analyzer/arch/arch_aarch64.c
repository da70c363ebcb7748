/* SPDX-License-Identifier: Apache-2.0 */
/* AArch64 under Linux, little-endian. Sources: "DWARF for the Arm 64-bit Architecture" (register numbers); AAPCS64
 * (registers that a call preserves, frame records); kernel arch/arm64/include/uapi/asm/ptrace.h (user_pt_regs),
 * include/uapi/linux/elfcore.h (elf_prstatus), arch/arm64/kernel/signal.c, include/uapi/asm-generic/unistd.h. */
#include "arch/arch.h"

#include "base/byte_reader.h"

enum {
    /* 64-bit words of struct user_pt_regs */
    raw_x0 = 0,
    raw_x8 = 8,
    raw_sp = 31,
    raw_pc = 32,
    raw_count = 34, /* with pstate */
    dwarf_sp = 31,
    instruction_bytes = 4,
};

static const uint32_t instruction_svc = 0xd4000001; /* svc #0 */

static void registers_decode(const uint8_t *raw, struct registers *ret_registers)
{
    for (int i = 0; i <= dwarf_sp; i++)
        ret_registers->values[i] = load_u64(raw + 8 * i);
    ret_registers->pc = load_u64(raw + 8 * raw_pc);
    ret_registers->known = ((uint64_t)1 << (dwarf_sp + 1)) - 1;
}

/* The number stands in a register that is as any other outside of calls: system_call_confirm tells. */
static bool system_call_decode(const uint8_t *raw, struct system_call *ret_call)
{
    *ret_call = (struct system_call){.number = (int64_t)load_u64(raw + 8 * raw_x8)};
    for (int i = 0; i < 6; i++)
        ret_call->arguments[i] = load_u64(raw + 8 * (raw_x0 + i));
    return ret_call->number >= 0 && ret_call->number < 1024;
}

/* Calls whose first argument is an address and whose result never looks like one. */
static bool takes_address(int64_t number)
{
    static const int16_t numbers[] = {73, 98, 101, 133, 137, 449}; /* ppoll, futex, nanosleep, rt_sigsuspend,
                                                                    * rt_sigtimedwait, futex_waitv */
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (numbers[i] == number)
            return true;
    return false;
}

static bool system_call_confirm(uint32_t before, uint32_t at, struct system_call *call)
{
    enum { address_min = 0x10000 }; /* the kernel's default for vm.mmap_min_addr */
    /* A signal, be it the one that ended the program, sets a call that can be restarted back to its instruction and to its
     * first argument before anybody sees the registers (kernel arch/arm64/kernel/signal.c, do_signal). */
    if (at == instruction_svc) {
        call->blocked = true;
        return true;
    }
    if (before != instruction_svc)
        return false;
    /* Behind it x0 is the first argument until the call has a result, and nothing but its value tells which it is: of
     * emulators' cores, and of threads that are looked at while they wait. */
    int64_t first = (int64_t)call->arguments[0];
    call->blocked = first == -4 || (first <= -512 && first >= -516) || (takes_address(call->number) && first >= address_min);
    call->may_be_over = !call->blocked && first >= 0;
    return true;
}

static uint64_t registers_encode(const struct system_call *call, uint64_t sp, uint64_t pc, uint8_t *ret_raw)
{
    uint64_t words[raw_count] = {0};
    uint64_t known = (uint64_t)1 << dwarf_sp;
    words[raw_sp] = sp;
    words[raw_pc] = pc;
    words[raw_x8] = (uint64_t)call->number;
    if (call->number >= 0) {
        memcpy(words + raw_x0, call->arguments, sizeof call->arguments);
        known |= 0x3f | 1u << 8;
    }
    memcpy(ret_raw, words, sizeof words);
    return known;
}

/* bl, blr, and blr with authentication of the target (blraa, blrabz, …). */
static bool call_precedes(const uint8_t *end, size_t count)
{
    if (count < instruction_bytes)
        return false;
    uint32_t word = load_u32(end - instruction_bytes);
    return (word & 0xfc000000) == 0x94000000 || (word & 0xfffffc1f) == 0xd63f0000 || (word & 0xfefff800) == 0xd63f0800;
}

static size_t signal_context_offset(const uint8_t *code, size_t count)
{
    /* mov x8, #139 (rt_sigreturn); svc #0: the kernel's own, in the vdso, and musl's. */
    if (count < 8 || load_u32(code) != 0xd2801168 || load_u32(code + 4) != instruction_svc)
        return 0;
    /* sp is at struct rt_sigframe: siginfo_t, 128 bytes, then struct ucontext, whose uc_mcontext lies at 176; its first word
     * is the fault's address. */
    return 128 + 176 + 8;
}

static void signal_context_decode(const uint8_t *raw, struct registers *ret_registers)
{
    registers_decode(raw, ret_registers); /* struct sigcontext has them in the order of user_pt_regs */
}

/* tpidr_el0 is no part of these registers: NT_ARM_TLS has it. */
static uint64_t thread_pointer(const uint8_t *raw)
{
    (void)raw;
    return 0;
}

static const char *const system_call_names[] = {
    [0] = "io_setup", [1] = "io_destroy", [2] = "io_submit", [3] = "io_cancel",
    [4] = "io_getevents", [5] = "setxattr", [6] = "lsetxattr", [7] = "fsetxattr",
    [8] = "getxattr", [9] = "lgetxattr", [10] = "fgetxattr", [11] = "listxattr",
    [12] = "llistxattr", [13] = "flistxattr", [14] = "removexattr", [15] = "lremovexattr",
    [16] = "fremovexattr", [17] = "getcwd", [18] = "lookup_dcookie", [19] = "eventfd2",
    [20] = "epoll_create1", [21] = "epoll_ctl", [22] = "epoll_pwait", [23] = "dup",
    [24] = "dup3", [25] = "fcntl", [26] = "inotify_init1", [27] = "inotify_add_watch",
    [28] = "inotify_rm_watch", [29] = "ioctl", [30] = "ioprio_set", [31] = "ioprio_get",
    [32] = "flock", [33] = "mknodat", [34] = "mkdirat", [35] = "unlinkat",
    [36] = "symlinkat", [37] = "linkat", [38] = "renameat", [39] = "umount2",
    [40] = "mount", [41] = "pivot_root", [42] = "nfsservctl", [43] = "statfs",
    [44] = "fstatfs", [45] = "truncate", [46] = "ftruncate", [47] = "fallocate",
    [48] = "faccessat", [49] = "chdir", [50] = "fchdir", [51] = "chroot",
    [52] = "fchmod", [53] = "fchmodat", [54] = "fchownat", [55] = "fchown",
    [56] = "openat", [57] = "close", [58] = "vhangup", [59] = "pipe2",
    [60] = "quotactl", [61] = "getdents64", [62] = "lseek", [63] = "read",
    [64] = "write", [65] = "readv", [66] = "writev", [67] = "pread64",
    [68] = "pwrite64", [69] = "preadv", [70] = "pwritev", [71] = "sendfile",
    [72] = "pselect6", [73] = "ppoll", [74] = "signalfd4", [75] = "vmsplice",
    [76] = "splice", [77] = "tee", [78] = "readlinkat", [79] = "newfstatat",
    [80] = "fstat", [81] = "sync", [82] = "fsync", [83] = "fdatasync",
    [84] = "sync_file_range", [85] = "timerfd_create", [86] = "timerfd_settime", [87] = "timerfd_gettime",
    [88] = "utimensat", [89] = "acct", [90] = "capget", [91] = "capset",
    [92] = "personality", [93] = "exit", [94] = "exit_group", [95] = "waitid",
    [96] = "set_tid_address", [97] = "unshare", [98] = "futex", [99] = "set_robust_list",
    [100] = "get_robust_list", [101] = "nanosleep", [102] = "getitimer", [103] = "setitimer",
    [104] = "kexec_load", [105] = "init_module", [106] = "delete_module", [107] = "timer_create",
    [108] = "timer_gettime", [109] = "timer_getoverrun", [110] = "timer_settime", [111] = "timer_delete",
    [112] = "clock_settime", [113] = "clock_gettime", [114] = "clock_getres", [115] = "clock_nanosleep",
    [116] = "syslog", [117] = "ptrace", [118] = "sched_setparam", [119] = "sched_setscheduler",
    [120] = "sched_getscheduler", [121] = "sched_getparam", [122] = "sched_setaffinity", [123] = "sched_getaffinity",
    [124] = "sched_yield", [125] = "sched_get_priority_max", [126] = "sched_get_priority_min", [127] = "sched_rr_get_interval",
    [128] = "restart_syscall", [129] = "kill", [130] = "tkill", [131] = "tgkill",
    [132] = "sigaltstack", [133] = "rt_sigsuspend", [134] = "rt_sigaction", [135] = "rt_sigprocmask",
    [136] = "rt_sigpending", [137] = "rt_sigtimedwait", [138] = "rt_sigqueueinfo", [139] = "rt_sigreturn",
    [140] = "setpriority", [141] = "getpriority", [142] = "reboot", [143] = "setregid",
    [144] = "setgid", [145] = "setreuid", [146] = "setuid", [147] = "setresuid",
    [148] = "getresuid", [149] = "setresgid", [150] = "getresgid", [151] = "setfsuid",
    [152] = "setfsgid", [153] = "times", [154] = "setpgid", [155] = "getpgid",
    [156] = "getsid", [157] = "setsid", [158] = "getgroups", [159] = "setgroups",
    [160] = "uname", [161] = "sethostname", [162] = "setdomainname", [163] = "getrlimit",
    [164] = "setrlimit", [165] = "getrusage", [166] = "umask", [167] = "prctl",
    [168] = "getcpu", [169] = "gettimeofday", [170] = "settimeofday", [171] = "adjtimex",
    [172] = "getpid", [173] = "getppid", [174] = "getuid", [175] = "geteuid",
    [176] = "getgid", [177] = "getegid", [178] = "gettid", [179] = "sysinfo",
    [180] = "mq_open", [181] = "mq_unlink", [182] = "mq_timedsend", [183] = "mq_timedreceive",
    [184] = "mq_notify", [185] = "mq_getsetattr", [186] = "msgget", [187] = "msgctl",
    [188] = "msgrcv", [189] = "msgsnd", [190] = "semget", [191] = "semctl",
    [192] = "semtimedop", [193] = "semop", [194] = "shmget", [195] = "shmctl",
    [196] = "shmat", [197] = "shmdt", [198] = "socket", [199] = "socketpair",
    [200] = "bind", [201] = "listen", [202] = "accept", [203] = "connect",
    [204] = "getsockname", [205] = "getpeername", [206] = "sendto", [207] = "recvfrom",
    [208] = "setsockopt", [209] = "getsockopt", [210] = "shutdown", [211] = "sendmsg",
    [212] = "recvmsg", [213] = "readahead", [214] = "brk", [215] = "munmap",
    [216] = "mremap", [217] = "add_key", [218] = "request_key", [219] = "keyctl",
    [220] = "clone", [221] = "execve", [222] = "mmap", [223] = "fadvise64",
    [224] = "swapon", [225] = "swapoff", [226] = "mprotect", [227] = "msync",
    [228] = "mlock", [229] = "munlock", [230] = "mlockall", [231] = "munlockall",
    [232] = "mincore", [233] = "madvise", [234] = "remap_file_pages", [235] = "mbind",
    [236] = "get_mempolicy", [237] = "set_mempolicy", [238] = "migrate_pages", [239] = "move_pages",
    [240] = "rt_tgsigqueueinfo", [241] = "perf_event_open", [242] = "accept4", [243] = "recvmmsg",
    [260] = "wait4", [261] = "prlimit64", [262] = "fanotify_init", [263] = "fanotify_mark",
    [264] = "name_to_handle_at", [265] = "open_by_handle_at", [266] = "clock_adjtime", [267] = "syncfs",
    [268] = "setns", [269] = "sendmmsg", [270] = "process_vm_readv", [271] = "process_vm_writev",
    [272] = "kcmp", [273] = "finit_module", [274] = "sched_setattr", [275] = "sched_getattr",
    [276] = "renameat2", [277] = "seccomp", [278] = "getrandom", [279] = "memfd_create",
    [280] = "bpf", [281] = "execveat", [282] = "userfaultfd", [283] = "membarrier",
    [284] = "mlock2", [285] = "copy_file_range", [286] = "preadv2", [287] = "pwritev2",
    [288] = "pkey_mprotect", [289] = "pkey_alloc", [290] = "pkey_free", [291] = "statx",
    [292] = "io_pgetevents", [293] = "rseq", [294] = "kexec_file_load", [424] = "pidfd_send_signal",
    [425] = "io_uring_setup", [426] = "io_uring_enter", [427] = "io_uring_register", [428] = "open_tree",
    [429] = "move_mount", [430] = "fsopen", [431] = "fsconfig", [432] = "fsmount",
    [433] = "fspick", [434] = "pidfd_open", [435] = "clone3", [436] = "close_range",
    [437] = "openat2", [438] = "pidfd_getfd", [439] = "faccessat2", [440] = "process_madvise",
    [441] = "epoll_pwait2", [442] = "mount_setattr", [443] = "quotactl_fd", [444] = "landlock_create_ruleset",
    [445] = "landlock_add_rule", [446] = "landlock_restrict_self", [447] = "memfd_secret", [448] = "process_mrelease",
    [449] = "futex_waitv", [450] = "set_mempolicy_home_node",
};

static const char *system_call_name(int64_t number)
{
    size_t count = sizeof system_call_names / sizeof system_call_names[0];
    return number >= 0 && (uint64_t)number < count ? system_call_names[number] : NULL;
}

/* `mov x8, #N` or `mov w8, #N` before the pc, perhaps with the call itself and moves of arguments between. */
static bool restarted_call(const uint8_t *code, size_t count, int64_t *ret_number)
{
    static const uint32_t numbers[] = {98, 101, 115}; /* futex, nanosleep, clock_nanosleep; poll is ppoll here */
    for (size_t at = count; at >= instruction_bytes; at -= instruction_bytes) {
        uint32_t word = load_u32(code + at - instruction_bytes);
        for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
            if ((word & 0x7fffffff) == (0x52800008 | numbers[i] << 5)) {
                *ret_number = numbers[i];
                return true;
            }
    }
    return false;
}

const struct arch arch_aarch64 = {
    .name = "aarch64",
    .elf_machine = 183, /* EM_AARCH64 */
    .register_count = 32,
    .sp = dwarf_sp,
    .fp = 29,
    .return_address = 30,
    .callee_saved = 0x7ffu << 19,
    .call_return_offset = 0,
    /* A signed return address has its signature above the 48 bits of a program's addresses (PAC). */
    .return_address_mask = ((uint64_t)1 << 48) - 1,
    .prstatus_size_bytes = 392,
    .prstatus_cursig = 12,
    .prstatus_pid = 32,
    .prstatus_utime = 48,
    .prstatus_stime = 64,
    .prstatus_registers = 112,
    .registers_size_bytes = 8 * raw_count,
    .registers_decode = registers_decode,
    .system_call_decode = system_call_decode,
    .system_call_confirm = system_call_confirm,
    .registers_encode = registers_encode,
    .call_precedes = call_precedes,
    .signal_context_offset = signal_context_offset,
    .signal_context_decode = signal_context_decode,
    .signal_context_bytes = 33 * 8,
    .thread_pointer = thread_pointer,
    .restarted_call = restarted_call,
    .system_call_name = system_call_name,
};
