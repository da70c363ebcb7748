/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/unwind_libunwind.h"

#include "base/byte_reader.h"
#include "base/cleanup.h"
#include "base/limits.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <libunwind-coredump.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/procfs.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

/* Exported by libunwind-x86_64, declared in none of its installed headers. */
extern int UNW_OBJ(dwarf_search_unwind_table)(unw_addr_space_t address_space, unw_word_t pc, unw_dyn_info_t *table,
                                              unw_proc_info_t *ret_info, int need_unwind_info, void *context);

enum {
    /* Threads that one child is given: keeps its mini core below 6 MB. */
    threads_per_child = 1 << 14,
    /* What the child may allocate beyond what it was born with: a few MB for its own work, up to 9 MB for the frames of
     * one thread, the rest for opening modules. */
    child_memory_bytes = 1 << 30,
    /* One answer on the pipe: u32 count of frames, u32 whether the stack ended outermost; then per frame u64 pc and
     * u8 exact. Answers come in the order of the threads asked for. */
    answer_header_bytes = 8,
    answer_frame_bytes = 9,
};

enum child_exit { CHILD_FINISHED, CHILD_NOT_READY = 3 };

/* The binary search table of a module's .eh_frame_hdr, in target memory. */
struct search_table {
    enum { TABLE_UNTRIED, TABLE_NONE, TABLE_USABLE } state;
    uint64_t header;  /* its addresses are relative to this */
    uint64_t entries; /* address of the first; 8 bytes each */
    uint64_t entry_count;
};

/* All that the child works on; libunwind hands it back to every accessor. */
struct child {
    const struct image *image;
    struct module_files *files;
    struct search_table *tables; /* one per module of the image */
    struct UCD_info *core;
    unw_addr_space_t address_space;
    unw_cursor_t cursor;
    struct registers registers; /* the cursor's start */
    bool restarted;             /* `registers` are no longer those of the core's note */
    bool no_info;               /* the step under way asked for unwind data, and there is none */
    uint8_t *answer;
    size_t answer_bytes, answer_capacity;
    int result_fd;
};

static int child_access_memory(unw_addr_space_t address_space, unw_word_t address, unw_word_t *value, int write,
                               void *context)
{
    const struct child *child = context;
    const struct memory *memory = &child->image->memory;
    uint8_t bytes[sizeof *value] = {0};
    (void)address_space;
    if (write)
        return -UNW_EINVAL;
    size_t count = memory_read(memory, address, bytes, sizeof bytes);
    if (count != sizeof bytes) {
        /* libunwind reads bytes by fetching the aligned word around them, and .eh_frame may end a file's segment in
         * the middle of a word. What lies behind is not used then; in the core itself it would be invented. */
        const struct memory_range *range = count == 0 ? NULL : memory_find(memory, address);
        const struct memory_layer *files = &memory->files;
        if (range == NULL || files->count == 0 || range < files->ranges || range >= files->ranges + files->count)
            return -UNW_EINVAL;
    }
    *value = load_u64(bytes);
    return 0;
}

static int child_access_register(unw_addr_space_t address_space, unw_regnum_t number, unw_word_t *value, int write,
                                 void *context)
{
    struct child *child = context;
    if (write)
        return -UNW_EREADONLYREG;
    /* 1.6.2's table in _UCD_access_reg has no rows for r8 to r15 and answers r15 for each; libunwind's numbers are
     * DWARF's. */
    if (number >= UNW_X86_64_R8 && number <= UNW_X86_64_R15) {
        *value = child->registers.values[number];
        return 0;
    }
    if (!child->restarted)
        return _UCD_access_reg(address_space, number, value, 0, child->core);
    if (number == UNW_X86_64_RIP)
        *value = child->registers.pc;
    else if (number >= UNW_X86_64_RAX && number <= UNW_X86_64_RSP)
        *value = child->registers.values[number];
    else
        return -UNW_EBADREG;
    return 0;
}

static int child_access_float(unw_addr_space_t address_space, unw_regnum_t number, unw_fpreg_t *value, int write,
                              void *context)
{
    (void)address_space, (void)number, (void)value, (void)write, (void)context;
    return -UNW_EBADREG;
}

/* Bytes of a pointer in DWARF's exception header encoding; 0 for what no linker writes there. */
static size_t encoded_size_bytes(uint8_t encoding)
{
    static const uint8_t sizes[16] = {[0x0] = 8, [0x2] = 2, [0x3] = 4, [0x4] = 8, [0xa] = 2, [0xb] = 4, [0xc] = 8};
    return sizes[encoding & 0x0f];
}

/* LSB Core, "Exception Frame Header": version, three encodings, pointer to .eh_frame, count, sorted table. */
static bool search_table_read(const struct memory *memory, uint64_t header, uint64_t size_bytes,
                              struct search_table *ret_table)
{
    enum { udata4 = 0x03, datarel_sdata4 = 0x3b };
    uint8_t bytes[16];
    struct byte_reader reader = byte_reader_new(bytes, memory_read(memory, header, bytes, sizeof bytes));
    const uint8_t *start = byte_reader_take(&reader, 4);
    if (start == NULL || start[0] != 1 || start[2] != udata4 || start[3] != datarel_sdata4 ||
        encoded_size_bytes(start[1]) == 0)
        return false;
    byte_reader_take(&reader, encoded_size_bytes(start[1]));
    uint64_t count = byte_reader_u32(&reader);
    if (reader.failed || size_bytes < reader.position)
        return false;
    if (count > (size_bytes - reader.position) / 8)
        count = (size_bytes - reader.position) / 8;
    *ret_table = (struct search_table){TABLE_USABLE, header, header + reader.position, count};
    return true;
}

static void search_table_find(struct child *child, uint32_t module, struct search_table *table)
{
    table->state = TABLE_NONE;
    if (!child->image->modules[module].is_elf && !child->image->modules[module].is_vdso)
        return;
    const struct module_file *file = module_files_open(child->files, module);
    size_t count = 0;
    if (file == NULL || elf_getphdrnum(file->elf, &count) != 0)
        return;
    for (size_t i = 0; i < count && i <= INT32_MAX; i++) {
        GElf_Phdr header;
        if (gelf_getphdr(file->elf, (int)i, &header) == NULL)
            return;
        if (header.p_type != PT_GNU_EH_FRAME)
            continue;
        search_table_read(&child->image->memory, header.p_vaddr + file->bias, header.p_memsz, table);
        return;
    }
}

/* -UNW_ENOINFO sends unw_step to its fallbacks, any other error ends the stack. */
static int child_find_info(unw_addr_space_t address_space, unw_word_t pc, unw_proc_info_t *info, int need_unwind_info,
                           void *context)
{
    struct child *child = context;
    uint32_t module = image_find_module(child->image, pc);
    int result = -UNW_ENOINFO;
    if (module != index_none) {
        struct search_table *table = &child->tables[module];
        if (table->state == TABLE_UNTRIED)
            search_table_find(child, module, table);
        /* The table's entries are 32-bit distances; libunwind would cut a longer one. */
        int64_t distance = (int64_t)(pc - table->header);
        if (table->state == TABLE_USABLE && distance >= INT32_MIN && distance <= INT32_MAX) {
            unw_dyn_info_t search = {.start_ip = child->image->modules[module].start,
                                     .end_ip = child->image->modules[module].end,
                                     .format = UNW_INFO_FORMAT_REMOTE_TABLE,
                                     .u.rti = {.segbase = table->header,
                                               .table_data = table->entries,
                                               .table_len = table->entry_count /* in words: an entry is one */}};
            result = UNW_OBJ(dwarf_search_unwind_table)(address_space, pc, &search, info, need_unwind_info, child);
        }
    }
    child->no_info = result == -UNW_ENOINFO;
    return result;
}

static void child_put_info(unw_addr_space_t address_space, unw_proc_info_t *info, void *context)
{
    /* Only dwarf_search_unwind_table fills it, from libunwind's own pool, and unw_step gives it back there. */
    (void)address_space, (void)info, (void)context;
}

static int child_find_dynamic_list(unw_addr_space_t address_space, unw_word_t *ret_address, void *context)
{
    (void)address_space, (void)ret_address, (void)context;
    return -UNW_ENOINFO;
}

static int child_resume(unw_addr_space_t address_space, unw_cursor_t *cursor, void *context)
{
    (void)address_space, (void)cursor, (void)context;
    return -UNW_EINVAL;
}

static int child_find_name(unw_addr_space_t address_space, unw_word_t pc, char *ret_name, size_t size_bytes,
                           unw_word_t *ret_offset, void *context)
{
    (void)address_space, (void)pc, (void)ret_name, (void)size_bytes, (void)ret_offset, (void)context;
    return -UNW_ENOINFO;
}

/* None of _UCD_accessors is left as it was: they open files by the names in a core (formats.md). What a newer libunwind
 * adds stays NULL, which it takes for "not offered". */
static unw_accessors_t child_accessors = {
    .find_proc_info = child_find_info,
    .put_unwind_info = child_put_info,
    .get_dyn_info_list_addr = child_find_dynamic_list,
    .access_mem = child_access_memory,
    .access_reg = child_access_register,
    .access_fpreg = child_access_float,
    .resume = child_resume,
    .get_proc_name = child_find_name,
};

static bool answer_append(struct child *child, const void *bytes, size_t size_bytes)
{
    if (size_bytes > child->answer_capacity - child->answer_bytes) {
        size_t capacity = 2 * child->answer_capacity + 4096;
        uint8_t *grown = realloc(child->answer, capacity);
        if (grown == NULL)
            return false;
        child->answer = grown;
        child->answer_capacity = capacity;
    }
    memcpy(child->answer + child->answer_bytes, bytes, size_bytes);
    child->answer_bytes += size_bytes;
    return true;
}

static bool answer_append_frame(struct child *child, uint64_t pc, bool exact)
{
    uint8_t bytes[answer_frame_bytes];
    memcpy(bytes, &pc, sizeof pc);
    bytes[sizeof pc] = exact;
    return answer_append(child, bytes, sizeof bytes);
}

/* Whether code lies there and a call ends just before. */
static bool is_return_address(struct child *child, uint64_t pc)
{
    if (!image_is_executable(child->image, pc))
        return false;
    uint32_t module = image_find_module(child->image, pc);
    if (module != index_none && child->tables[module].state == TABLE_UNTRIED)
        search_table_find(child, module, &child->tables[module]); /* opens the file, which brings the text */
    uint8_t bytes[8];
    for (size_t count = sizeof bytes; count >= 2; count--)
        if (pc >= count && memory_read(&child->image->memory, pc - count, bytes, count) == count)
            return child->image->arch->call_precedes(bytes + count, count);
    return false;
}

/* Whether a step led to a caller: libunwind follows damaged or missing unwind data to made-up frames, a million of them
 * where the return address is taken from a register that no rule changes. */
static bool is_return_frame(struct child *child, uint64_t pc, uint64_t sp)
{
    uint64_t stored;
    if (!memory_read_u64(&child->image->memory, sp + (uint64_t)child->image->arch->call_return_offset, &stored) ||
        stored != pc)
        return false;
    return child->no_info ? is_return_address(child, pc) : image_is_executable(child->image, pc);
}

/* A call through a bad pointer left a pc where no code is, and its return address on top of the stack. libunwind's own
 * fallback takes that step too, but loads the frame pointer from where it points, as if the callee had pushed it: with
 * frame pointers it then skips the caller's caller. So the cursor starts again in the caller. Its pc is one less, inside
 * the call, because a new cursor's pc counts as exact. */
static bool walk_back_from_bad_call(struct child *child, uint64_t sp, uint64_t *ret_pc)
{
    uint64_t pc;
    struct registers registers = {0};
    if (!memory_read_u64(&child->image->memory, sp, &pc) || !is_return_address(child, pc))
        return false;
    for (int number = UNW_X86_64_RAX; number <= UNW_X86_64_R15; number++) {
        unw_word_t value = 0;
        if (unw_get_reg(&child->cursor, number, &value) < 0)
            return false;
        registers.values[number] = value;
    }
    registers.values[UNW_X86_64_RSP] = sp + 8;
    registers.pc = pc - 1;
    child->registers = registers;
    child->restarted = true;
    if (unw_init_remote(&child->cursor, child->address_space, child) < 0)
        return false;
    *ret_pc = pc;
    return true;
}

/* Appends the thread's frames; returns whether the stack ended outermost. */
static bool walk(struct child *child)
{
    unw_word_t pc = 0, sp = 0;
    if (unw_init_remote(&child->cursor, child->address_space, child) < 0 ||
        unw_get_reg(&child->cursor, UNW_REG_IP, &pc) < 0 || unw_get_reg(&child->cursor, UNW_REG_SP, &sp) < 0 ||
        !answer_append_frame(child, pc, true))
        return false;

    /* A loop of frames comes back to a (pc, sp) that was seen: compared with one kept from ever farther back. */
    unw_word_t seen_pc = pc, seen_sp = sp;
    bool exact = true;
    for (size_t count = 1, keep_at = 2; count < limit_frames; count++) {
        if (exact && !image_is_executable(child->image, pc)) {
            uint64_t return_address;
            if (!walk_back_from_bad_call(child, sp, &return_address))
                return false;
            pc = return_address;
            sp += 8;
            exact = false;
        } else {
            child->no_info = false;
            int step = unw_step(&child->cursor);
            /* Without unwind data 0 only means that rbp is no frame pointer: it may be 0 in any function. */
            if (step == 0)
                return !child->no_info;
            if (step < 0 || unw_get_reg(&child->cursor, UNW_REG_IP, &pc) < 0 ||
                unw_get_reg(&child->cursor, UNW_REG_SP, &sp) < 0)
                return false;
            /* Set on the frame that the signal interrupted, not on the trampoline's. */
            exact = unw_is_signal_frame(&child->cursor) > 0;
            if (pc == 0 && !exact)
                return true;
            if (!exact && !is_return_frame(child, pc, sp))
                return false;
        }
        if ((pc == seen_pc && sp == seen_sp) || !answer_append_frame(child, pc, exact))
            return false;
        if (count == keep_at) {
            keep_at *= 2;
            seen_pc = pc;
            seen_sp = sp;
        }
    }
    return false;
}

static void child_answer(struct child *child, size_t note, const struct thread *thread)
{
    uint32_t header[2] = {0};
    child->answer_bytes = 0;
    answer_append(child, header, sizeof header);
    if (thread->registers != NULL) {
        child->image->arch->registers_decode(thread->registers, &child->registers);
        child->restarted = false;
        _UCD_select_thread(child->core, (int)note);
        header[1] = walk(child);
        header[0] = (uint32_t)((child->answer_bytes - sizeof header) / answer_frame_bytes);
    }
    if (child->answer_bytes < sizeof header)
        _exit(CHILD_NOT_READY);
    memcpy(child->answer, header, sizeof header);
    for (size_t done = 0; done < child->answer_bytes;) {
        ssize_t written = write(child->result_fd, child->answer + done, child->answer_bytes - done);
        if (written < 0 && errno != EINTR)
            _exit(CHILD_NOT_READY);
        done += written < 0 ? 0 : (size_t)written;
    }
}

/* A core file of one PT_NOTE with an NT_PRSTATUS per thread; lives in the child until it exits. */
static struct UCD_info *mini_core_open(const struct image *image, const uint32_t *thread_indices, size_t count)
{
    static const char name[8] = "CORE";
    const struct arch *arch = image->arch;
    size_t description_bytes = (arch->prstatus_size_bytes + 3) & ~(size_t)3;
    size_t note_bytes = sizeof(Elf64_Nhdr) + sizeof name + description_bytes;
    size_t headers_bytes = sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr);
    size_t size_bytes = headers_bytes + count * note_bytes;
    AUTO_FREE uint8_t *bytes = calloc(1, size_bytes);
    if (bytes == NULL)
        return NULL;

    Elf64_Ehdr header = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
                         .e_type = ET_CORE,
                         .e_machine = arch->elf_machine,
                         .e_version = EV_CURRENT,
                         .e_phoff = sizeof header,
                         .e_ehsize = sizeof header,
                         .e_phentsize = sizeof(Elf64_Phdr),
                         .e_phnum = 1};
    Elf64_Phdr segment = {.p_type = PT_NOTE, .p_offset = headers_bytes, .p_filesz = count * note_bytes};
    memcpy(bytes, &header, sizeof header);
    memcpy(bytes + sizeof header, &segment, sizeof segment);
    for (size_t i = 0; i < count; i++) {
        const struct thread *thread = &image->threads[thread_indices[i]];
        uint8_t *note = bytes + headers_bytes + i * note_bytes;
        Elf64_Nhdr note_header = {.n_namesz = 5, .n_descsz = (Elf64_Word)description_bytes, .n_type = NT_PRSTATUS};
        memcpy(note, &note_header, sizeof note_header);
        memcpy(note + sizeof note_header, name, sizeof name);
        uint8_t *description = note + sizeof note_header + sizeof name;
        memcpy(description + arch->prstatus_pid, &thread->tid, sizeof thread->tid);
        if (thread->registers != NULL)
            memcpy(description + arch->prstatus_registers, thread->registers, arch->registers_size_bytes);
    }

    int fd = memfd_create("stackgroup-threads", MFD_CLOEXEC);
    char path[64];
    if (fd < 0 || write(fd, bytes, size_bytes) != (ssize_t)size_bytes)
        return NULL;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct UCD_info *core = _UCD_create(path);
    return core != NULL && _UCD_get_num_threads(core) == (int)count ? core : NULL;
}

/* Anonymous memory that the process has, as RLIMIT_DATA counts it; 0 when the kernel does not tell. */
static uint64_t data_size_bytes(void)
{
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%*u %*u %*u %*u %*u %llu", &pages) != 1)
        pages = 0;
    fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Nothing of the parent's may run or speak here: no handlers, no output, no core file, no jump out of a full arena. */
static void child_confine(const struct image *image, struct arena *arena, struct diagnostics *diagnostics)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);

    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd <= 2 && null_fd >= 0; fd++)
        dup2(null_fd, fd);

    arena->exhausted = NULL;
    diagnostics->arena->exhausted = NULL;
    image->memory.arena->exhausted = NULL;

    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    setrlimit(RLIMIT_CPU, &(struct rlimit){limit_libunwind_seconds, limit_libunwind_seconds + 1});
    /* Not RLIMIT_AS: the mapped core and modules can be of any size. */
    uint64_t data_bytes = data_size_bytes();
    if (data_bytes != 0)
        setrlimit(RLIMIT_DATA, &(struct rlimit){data_bytes + child_memory_bytes, data_bytes + child_memory_bytes});
}

static void __attribute__((noreturn)) child_run(const struct image *image, struct module_files *files,
                                                const uint32_t *thread_indices, size_t count, int result_fd)
{
    static struct child child;
    child = (struct child){.image = image, .files = files, .result_fd = result_fd};
    child.tables = calloc(image->module_count + 1, sizeof *child.tables);
    child.core = mini_core_open(image, thread_indices, count);
    child.address_space = unw_create_addr_space(&child_accessors, 0);
    if (child.tables == NULL || child.core == NULL || child.address_space == NULL)
        _exit(CHILD_NOT_READY);
    unw_set_caching_policy(child.address_space, UNW_CACHE_GLOBAL);
    for (size_t i = 0; i < count; i++)
        child_answer(&child, i, &image->threads[thread_indices[i]]);
    _exit(CHILD_FINISHED);
}

struct answers {
    uint8_t *bytes;
    size_t size_bytes, capacity;
    size_t complete_bytes; /* of whole answers */
    size_t count;          /* of whole answers */
};

enum child_end {
    CHILD_END_EXIT,  /* finished, crashed or gave up: its status says which */
    CHILD_END_SLOW,  /* one thread took too long */
    CHILD_END_TIME,  /* all together took too long */
    CHILD_END_LIMIT, /* its answers are more than what is kept, or no answers at all */
};

static int64_t clock_milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Counts the answers that have arrived whole. False when a count is past the limit. */
static bool answers_advance(struct answers *answers)
{
    for (;;) {
        struct byte_reader reader = byte_reader_new(answers->bytes, answers->size_bytes);
        byte_reader_seek(&reader, answers->complete_bytes);
        uint32_t frame_count = byte_reader_u32(&reader);
        byte_reader_u32(&reader);
        if (frame_count > limit_frames)
            return false;
        byte_reader_take(&reader, (size_t)frame_count * answer_frame_bytes);
        if (reader.failed)
            return true;
        answers->complete_bytes = reader.position;
        answers->count++;
    }
}

static enum child_end answers_collect(struct answers *answers, int fd, size_t count_max, int64_t deadline)
{
    int64_t thread_deadline = clock_milliseconds() + limit_libunwind_thread_seconds * 1000;
    for (;;) {
        int64_t now = clock_milliseconds();
        if (now >= deadline)
            return CHILD_END_TIME;
        if (now >= thread_deadline)
            return CHILD_END_SLOW;
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        int ready = poll(&wait, 1, (int)((deadline < thread_deadline ? deadline : thread_deadline) - now));
        if (ready == 0 || (ready < 0 && errno == EINTR))
            continue;
        if (answers->capacity - answers->size_bytes < 65536) {
            size_t capacity = 2 * answers->capacity + 65536;
            uint8_t *grown = capacity > limit_libunwind_answer_bytes ? NULL : realloc(answers->bytes, capacity);
            if (grown == NULL)
                return CHILD_END_LIMIT;
            answers->bytes = grown;
            answers->capacity = capacity;
        }
        ssize_t got = read(fd, answers->bytes + answers->size_bytes, answers->capacity - answers->size_bytes);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return CHILD_END_EXIT;
        size_t count_before = answers->count;
        answers->size_bytes += (size_t)got;
        if (!answers_advance(answers) || answers->count > count_max)
            return CHILD_END_LIMIT;
        if (answers->count != count_before)
            thread_deadline = clock_milliseconds() + limit_libunwind_thread_seconds * 1000;
    }
}

/* Copies whole answers into stacks; only here an arena is used, so that a full one leaves neither child nor pipe. */
static void answers_decode(const struct answers *answers, struct arena *arena, struct libunwind_stack *ret_stacks)
{
    struct byte_reader reader = byte_reader_new(answers->bytes, answers->complete_bytes);
    for (size_t i = 0; i < answers->count; i++) {
        struct libunwind_stack stack = {.frame_count = byte_reader_u32(&reader), .done = true};
        stack.outermost = byte_reader_u32(&reader) != 0;
        stack.frames = arena_array(arena, struct libunwind_frame, stack.frame_count);
        for (size_t frame = 0; frame < stack.frame_count; frame++) {
            stack.frames[frame].pc = byte_reader_u64(&reader);
            const uint8_t *exact = byte_reader_take(&reader, 1);
            stack.frames[frame].exact = exact != NULL && *exact != 0;
        }
        ret_stacks[i] = stack;
    }
}

static void answers_decode_and_free(struct answers *answers, struct arena *arena, struct libunwind_stack *ret_stacks)
{
    jmp_buf exhausted, *outer = arena->exhausted;
    if (outer != NULL) {
        if (setjmp(exhausted) != 0) {
            arena->exhausted = outer;
            free(answers->bytes);
            longjmp(*outer, 1);
        }
        arena->exhausted = &exhausted;
    }
    answers_decode(answers, arena, ret_stacks);
    arena->exhausted = outer;
    free(answers->bytes);
}

static bool arch_is_ours(const struct arch *arch)
{
    return arch->elf_machine == EM_X86_64 && arch->prstatus_size_bytes == sizeof(struct elf_prstatus) &&
           arch->prstatus_pid == offsetof(struct elf_prstatus, pr_pid) &&
           arch->prstatus_registers == offsetof(struct elf_prstatus, pr_reg) &&
           arch->registers_size_bytes == sizeof(elf_gregset_t);
}

static bool child_start(const struct image *image, struct module_files *files, const uint32_t *thread_indices,
                        size_t count, struct arena *arena, struct diagnostics *diagnostics, pid_t *ret_pid,
                        int *ret_fd)
{
    int fds[2];
    sigset_t all, before;
    if (pipe2(fds, O_CLOEXEC) != 0)
        return false;
    /* The parent's handlers must not run in the child before child_confine has taken them away. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    if (pid == 0) {
        child_confine(image, arena, diagnostics);
        child_run(image, files, thread_indices, count, fds[1]);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(fds[1]);
    if (pid < 0) {
        close(fds[0]);
        return false;
    }
    *ret_pid = pid;
    *ret_fd = fds[0];
    return true;
}

/* Once its end of the pipe is closed a child is exiting, and a kill no longer changes its status. */
static int child_end_status(pid_t pid)
{
    int status = 0;
    kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return 0;
    return status;
}

static void report_skipped(struct diagnostics *diagnostics, const struct thread *thread, enum child_end end, int status)
{
    if (end == CHILD_END_SLOW)
        diagnostics_add(diagnostics, DIAGNOSTIC_LOSS, "libunwind-ended", TEXT(""),
                        "libunwind gave no stack of thread %u within %d s and was ended, thread skipped",
                        (unsigned)thread->tid, limit_libunwind_thread_seconds);
    else if (end == CHILD_END_LIMIT)
        diagnostics_add(diagnostics, DIAGNOSTIC_LOSS, "libunwind-ended", TEXT(""),
                        "libunwind's answer for thread %u is past the limits, it was ended, thread skipped",
                        (unsigned)thread->tid);
    else if (WIFSIGNALED(status))
        diagnostics_add(diagnostics, DIAGNOSTIC_LOSS, "libunwind-ended", TEXT(""),
                        "libunwind was ended by signal %d at thread %u, thread skipped", WTERMSIG(status),
                        (unsigned)thread->tid);
    else
        diagnostics_add(diagnostics, DIAGNOSTIC_LOSS, "libunwind-ended", TEXT(""),
                        "libunwind exited with status %d at thread %u, thread skipped", WEXITSTATUS(status),
                        (unsigned)thread->tid);
}

bool unwind_libunwind_run(const struct image *image, struct module_files *files, const uint32_t *thread_indices,
                          size_t count, struct arena *arena, struct diagnostics *diagnostics,
                          struct libunwind_stack *ret_stacks)
{
    memset(ret_stacks, 0, count * sizeof *ret_stacks);
    if (!arch_is_ours(image->arch)) {
        diagnostics_add(diagnostics, DIAGNOSTIC_LOSS, "libunwind-unsupported", TEXT(""),
                        "this libunwind does not unwind %s, not asked", image->arch->name);
        return false;
    }

    int64_t deadline = clock_milliseconds() + limit_libunwind_seconds * 1000;
    size_t position = 0, failure_count = 0;
    bool in_time = true;
    while (position < count && in_time && failure_count < limit_libunwind_failures) {
        size_t batch_count = count - position < threads_per_child ? count - position : threads_per_child;
        pid_t pid;
        int fd;
        if (!child_start(image, files, thread_indices + position, batch_count, arena, diagnostics, &pid, &fd)) {
            int reason = errno;
            diagnostics_add(diagnostics, DIAGNOSTIC_LOSS, "libunwind-not-run", TEXT(""),
                            "no process for libunwind: %s, not asked", strerror(reason));
            return position != 0;
        }
        struct answers answers = {0};
        enum child_end end = answers_collect(&answers, fd, batch_count, deadline);
        close(fd);
        int status = child_end_status(pid);
        if (answers.count > batch_count)
            answers = (struct answers){.bytes = answers.bytes};
        size_t done_count = answers.count;
        answers_decode_and_free(&answers, arena, ret_stacks + position);
        position += done_count;
        if (done_count == batch_count)
            continue;
        in_time = end != CHILD_END_TIME;
        if (end == CHILD_END_EXIT && WIFEXITED(status) && WEXITSTATUS(status) == CHILD_NOT_READY && done_count == 0) {
            diagnostics_add(diagnostics, DIAGNOSTIC_LOSS, "libunwind-not-run", TEXT(""),
                            "libunwind could not be set up, not asked");
            return position != 0;
        }
        if (in_time) {
            report_skipped(diagnostics, &image->threads[thread_indices[position]], end, status);
            failure_count++;
            position++;
        }
    }
    if (position < count)
        diagnostics_add(diagnostics, DIAGNOSTIC_LOSS, "libunwind-incomplete", TEXT(""),
                        in_time ? "libunwind failed too often, %zu of %zu threads not asked"
                                : "libunwind's time is over, %zu of %zu threads not asked",
                        count - position, count);
    return true;
}
