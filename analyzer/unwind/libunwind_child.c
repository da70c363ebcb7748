/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/libunwind_child.h"

#include "base/byte_reader.h"
#include "base/cleanup.h"
#include "base/limits.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <libunwind-coredump.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/procfs.h>
#include <sys/resource.h>

/* Exported by libunwind-x86_64, declared in none of its installed headers. */
extern int UNW_OBJ(dwarf_search_unwind_table)(unw_addr_space_t address_space, unw_word_t pc, unw_dyn_info_t *table,
                                              unw_proc_info_t *ret_info, int need_unwind_info, void *context);

enum {
    /* What the child may allocate beyond what it was born with: a few MB for its own work, up to 9 MB for the frames of
     * one thread, the rest for opening modules. */
    child_memory_bytes = 1 << 30,
};

/* One row of a search table, as .eh_frame_hdr has them: distances from the table's base. */
struct search_entry {
    int32_t function, fde;
};

/* A module's functions and their FDEs, sorted: the table of its .eh_frame_hdr in target memory, or one of our own. */
struct search_table {
    enum { TABLE_UNTRIED, TABLE_NONE, TABLE_USABLE } state;
    uint64_t base;
    uint64_t entries; /* address of the first; in own_tables when `own` is set */
    uint64_t entry_count;
    struct search_entry *own;
};

/* Where libunwind sees our own tables, 4 GiB for each module: addresses that no x86-64 process can have. */
static const uint64_t own_tables = (uint64_t)0xf << 60;

/* All that the child works on; libunwind hands it back to every accessor. */
struct child {
    const struct image *image;
    struct module_files *files;
    struct search_table *tables; /* one per module of the image, and one to look at a single FDE with */
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
    if (address >= own_tables && (address - own_tables) >> 32 <= child->image->module_count) {
        const struct search_table *table = &child->tables[(address - own_tables) >> 32];
        uint64_t entry = (address & UINT32_MAX) / sizeof *table->own;
        if (table->own == NULL || entry >= table->entry_count || address % sizeof *value != 0)
            return -UNW_EINVAL;
        memcpy(value, &table->own[entry], sizeof *value);
        return 0;
    }
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
    if (!child->restarted && (number < UNW_X86_64_R8 || number > UNW_X86_64_R15))
        return _UCD_access_reg(address_space, number, value, 0, child->core);
    if (number == UNW_X86_64_RIP)
        *value = child->registers.pc;
    else if (number >= UNW_X86_64_RAX && number <= UNW_X86_64_R15 && (child->registers.known >> number & 1) != 0)
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
    *ret_table = (struct search_table){TABLE_USABLE, header, header + reader.position, count, NULL};
    return true;
}

static int search_table_look_up(struct child *child, const struct search_table *table, uint64_t pc,
                                unw_proc_info_t *ret_info, int need_unwind_info)
{
    unw_dyn_info_t search = {.start_ip = 0,
                             .end_ip = UINT64_MAX,
                             .format = UNW_INFO_FORMAT_REMOTE_TABLE,
                             .u.rti = {.segbase = table->base,
                                       .table_data = table->entries,
                                       .table_len = table->entry_count /* in words: an entry is one */}};
    return UNW_OBJ(dwarf_search_unwind_table)(child->address_space, pc, &search, ret_info, need_unwind_info, child);
}

/* Where the function of the FDE at base + distance starts, as libunwind reads it: a table of this one entry, which
 * covers all, is looked up. */
static bool fde_find_function(struct child *child, uint64_t base, int32_t distance, uint64_t *ret_address)
{
    size_t slot = child->image->module_count;
    struct search_entry entry = {INT32_MIN, distance};
    unw_proc_info_t info = {0};
    child->tables[slot] = (struct search_table){TABLE_USABLE, base, own_tables + ((uint64_t)slot << 32), 1, &entry};
    int result = search_table_look_up(child, &child->tables[slot], base, &info, 0);
    child->tables[slot].own = NULL;
    *ret_address = info.start_ip;
    return (result == 0 || result == -UNW_ENOINFO) && info.start_ip < info.end_ip;
}

static int search_entry_compare(const void *left, const void *right)
{
    const struct search_entry *a = left, *b = right;
    return a->function < b->function ? -1 : a->function > b->function;
}

/* Static programs and musl's have no .eh_frame_hdr: reads .eh_frame once instead. */
static void search_table_build(struct child *child, uint32_t module, uint64_t base, uint64_t size_bytes,
                               struct search_table *table)
{
    size_t count = 0, capacity = 0;
    struct search_entry *entries = NULL;
    if (size_bytes > INT32_MAX)
        return;
    for (uint64_t at = 0; size_bytes - at >= 8;) {
        uint8_t bytes[8];
        uint64_t address;
        if (memory_read(&child->image->memory, base + at, bytes, sizeof bytes) != sizeof bytes)
            break;
        /* Length without its own four bytes; 0 ends the section, all ones would be 64-bit DWARF, which nobody writes.
         */
        uint32_t length = load_u32(bytes);
        if (length < 4 || length > size_bytes - at - 4)
            break;
        bool is_fde = load_u32(bytes + 4) != 0;
        if (is_fde && fde_find_function(child, base, (int32_t)at, &address) && (int64_t)(address - base) >= INT32_MIN &&
            (int64_t)(address - base) <= INT32_MAX) {
            if (count == capacity) {
                capacity = 2 * capacity + 256;
                struct search_entry *grown = reallocarray(entries, capacity, sizeof *entries);
                if (grown == NULL)
                    break;
                entries = grown;
            }
            entries[count++] = (struct search_entry){(int32_t)(address - base), (int32_t)at};
        }
        at += 4 + (uint64_t)length;
    }
    if (count == 0)
        return;
    qsort(entries, count, sizeof *entries, search_entry_compare);
    *table = (struct search_table){TABLE_USABLE, base, own_tables + ((uint64_t)module << 32), count, entries};
}

static void search_table_find(struct child *child, uint32_t module, struct search_table *table)
{
    table->state = TABLE_NONE;
    if (!child->image->modules[module].is_elf && !child->image->modules[module].is_vdso)
        return;
    const struct module_file *file = module_files_open(child->files, module);
    size_t count = 0, names;
    if (file == NULL || elf_getphdrnum(file->elf, &count) != 0)
        return;
    for (size_t i = 0; i < count && i <= INT32_MAX; i++) {
        GElf_Phdr header;
        if (gelf_getphdr(file->elf, (int)i, &header) != NULL && header.p_type == PT_GNU_EH_FRAME &&
            search_table_read(&child->image->memory, header.p_vaddr + file->bias, header.p_memsz, table))
            return;
    }
    if (elf_getshdrstrndx(file->elf, &names) != 0)
        return;
    for (Elf_Scn *section = NULL; (section = elf_nextscn(file->elf, section)) != NULL;) {
        GElf_Shdr header;
        const char *name = gelf_getshdr(section, &header) == NULL ? NULL : elf_strptr(file->elf, names, header.sh_name);
        if (name == NULL || strcmp(name, ".eh_frame") != 0)
            continue;
        search_table_build(child, module, header.sh_addr + file->bias, header.sh_size, table);
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
    (void)address_space;
    if (module != index_none) {
        struct search_table *table = &child->tables[module];
        if (table->state == TABLE_UNTRIED)
            search_table_find(child, module, table);
        /* libunwind would cut a distance that is longer than the table's. */
        int64_t distance = (int64_t)(pc - table->base);
        if (table->state == TABLE_USABLE && distance >= INT32_MIN && distance <= INT32_MAX)
            result = search_table_look_up(child, table, pc, info, need_unwind_info);
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
    uint8_t bytes[libunwind_answer_frame_bytes];
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

/* Goes on from a caller's registers with a new cursor. A new cursor's pc counts as exact, so it gets one less than the
 * return address, which is inside the call. */
static bool cursor_restart(struct child *child, struct registers registers, uint64_t return_address)
{
    registers.pc = return_address - 1;
    child->registers = registers;
    child->restarted = true;
    return unw_init_remote(&child->cursor, child->address_space, child) >= 0;
}

/* A call through a bad pointer left a pc where no code is, and its return address on top of the stack. libunwind's own
 * fallback takes that step too, but loads the frame pointer from where it points, as if the callee had pushed it: with
 * frame pointers it then skips the caller's caller. */
static bool walk_back_from_bad_call(struct child *child, uint64_t sp, uint64_t *ret_pc)
{
    uint64_t pc;
    struct registers registers = {0};
    if (!memory_read_u64(&child->image->memory, sp, &pc) || !is_return_address(child, pc))
        return false;
    for (int number = UNW_X86_64_RAX; number <= UNW_X86_64_R15; number++) {
        unw_word_t value = 0;
        if (unw_get_reg(&child->cursor, number, &value) < 0)
            continue;
        registers.values[number] = value;
        registers.known |= (uint64_t)1 << number;
    }
    registers.values[UNW_X86_64_RSP] = sp + 8;
    *ret_pc = pc;
    return cursor_restart(child, registers, pc);
}

/* libunwind's fallback where unwind data is missing takes the return address above the saved frame pointer, but makes
 * the caller's stack pointer from its own, not from the frame pointer: right only when the two are equal. */
static bool walk_back_by_frame_pointer(struct child *child, uint64_t fp, uint64_t pc, uint64_t *ret_sp)
{
    struct registers registers = {.known = (uint64_t)1 << UNW_X86_64_RSP | (uint64_t)1 << UNW_X86_64_RBP};
    registers.values[UNW_X86_64_RSP] = fp + 16;
    if (!memory_read_u64(&child->image->memory, fp, &registers.values[UNW_X86_64_RBP]) ||
        !is_return_frame(child, pc, fp + 16))
        return false;
    *ret_sp = fp + 16;
    return cursor_restart(child, registers, pc);
}

/* Appends the thread's frames; returns whether the stack ended outermost. */
static bool walk(struct child *child)
{
    unw_word_t pc = 0, sp = 0, fp = 0;
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
            bool fp_known = unw_get_reg(&child->cursor, UNW_X86_64_RBP, &fp) >= 0;
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
                return !child->no_info;
            if (!exact && !is_return_frame(child, pc, sp) &&
                !(child->no_info && fp_known && walk_back_by_frame_pointer(child, fp, pc, &sp)))
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
        child->restarted = thread->registers_known != 0; /* the note's other registers are zeros, not values */
        if (child->restarted)
            child->registers.known &= thread->registers_known;
        _UCD_select_thread(child->core, (int)note);
        header[1] = walk(child);
        header[0] = (uint32_t)((child->answer_bytes - sizeof header) / libunwind_answer_frame_bytes);
    }
    if (child->answer_bytes < sizeof header)
        _exit(libunwind_child_not_ready);
    memcpy(child->answer, header, sizeof header);
    for (size_t done = 0; done < child->answer_bytes;) {
        ssize_t written = write(child->result_fd, child->answer + done, child->answer_bytes - done);
        if (written < 0 && errno != EINTR)
            _exit(libunwind_child_not_ready);
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

void libunwind_child_run(const struct image *image, struct module_files *files, const uint32_t *thread_indices,
                         size_t count, struct arena *arena, struct diagnostics *diagnostics, int result_fd)
{
    child_confine(image, arena, diagnostics);
    static struct child child;
    child = (struct child){.image = image, .files = files, .result_fd = result_fd};
    child.tables = calloc(image->module_count + 1, sizeof *child.tables);
    child.core = mini_core_open(image, thread_indices, count);
    child.address_space = unw_create_addr_space(&child_accessors, 0);
    if (child.tables == NULL || child.core == NULL || child.address_space == NULL)
        _exit(libunwind_child_not_ready);
    unw_set_caching_policy(child.address_space, UNW_CACHE_GLOBAL);
    for (size_t i = 0; i < count; i++)
        child_answer(&child, i, &image->threads[thread_indices[i]]);
    _exit(0);
}
