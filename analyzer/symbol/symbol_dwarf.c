/* SPDX-License-Identifier: Apache-2.0 */
#include "symbol/symbol_dwarf.h"

#include "base/file.h"
#include "base/intern_table.h"
#include "base/limits.h"
#include "base/text.h"
#include "symbol/range_table.h"

#include <dwarf.h>
#include <errno.h>
#include <gelf.h>
#include <string.h>
#include <unistd.h>

struct dwarf_unit {
    Dwarf_Die die;
    Dwarf_Die entries; /* what holds the functions: die itself, or the unit in a .dwo file that it stands for */
    Dwarf_Half version;
    bool is_cpp;
    bool walked, walked_deep; /* into namespaces only; into everything */
    Dwarf_Die *functions;
    size_t function_count, function_capacity;
    struct range_table function_ranges; /* values index functions */
    Dwarf_Lines *lines;                 /* NULL: none */
    size_t line_count;
    const char *directory; /* where the compiler ran; NULL unknown */
    Dwarf_Files *files;    /* NULL: none */
    size_t file_count;
};

enum { qualified_names = 256 };

/* The last qualified name of those whose declarations share a place in the table. */
struct qualified_name {
    const void *declaration; /* address of the entry */
    const char *name;
};

struct symbol_dwarf {
    Dwarf *dwarf;
    struct text folder; /* of the file, where libdw looks for .dwo files first */
    struct arena *arena;
    size_t steps_left;
    Elf_Data *info; /* .debug_info, which strings of DW_FORM_string must end in */
    Dwarf_Aranges *aranges;
    bool ranges_tried;
    struct range_table ranges; /* of all units; values index range_units */
    Dwarf_Die *range_units;
    struct dwarf_unit **units; /* those that were asked for */
    size_t unit_count, unit_capacity;
    uint32_t *slots; /* open addressing by offset; index + 1, 0 is free */
    size_t slot_count;
    struct qualified_name qualified[qualified_names];
};

struct symbol_dwarf *symbol_dwarf_new(Dwarf *dwarf, const char *path, struct arena *arena)
{
    struct symbol_dwarf *symbols = arena_new(arena, struct symbol_dwarf);
    symbols->dwarf = dwarf;
    symbols->folder = text_from_string(path);
    symbols->folder.length -= text_basename(symbols->folder).length;
    symbols->arena = arena;
    symbols->steps_left = limit_dwarf_steps;
    if (dwarf_getaranges(dwarf, &symbols->aranges, NULL) != 0)
        symbols->aranges = NULL;
    return symbols;
}

bool symbol_dwarf_is_exhausted(const struct symbol_dwarf *symbols)
{
    return symbols->steps_left == 0;
}

static bool dwarf_step(struct symbol_dwarf *symbols)
{
    if (symbols->steps_left == 0)
        return false;
    symbols->steps_left--;
    return true;
}

/* First or next entry on a level; false at its end, on damage and when the steps are used up. */
static bool die_first(struct symbol_dwarf *symbols, Dwarf_Die *parent, Dwarf_Die *ret_child)
{
    return dwarf_step(symbols) && dwarf_haschildren(parent) == 1 && dwarf_child(parent, ret_child) == 0;
}

static bool die_next(struct symbol_dwarf *symbols, Dwarf_Die *die)
{
    Dwarf_Die next;
    if (!dwarf_step(symbols) || dwarf_siblingof(die, &next) != 0)
        return false;
    *die = next;
    return true;
}

static bool die_contains(struct symbol_dwarf *symbols, Dwarf_Die *die, uint64_t address)
{
    Dwarf_Addr base, start, end;
    ptrdiff_t offset = 0;
    while (dwarf_step(symbols) && (offset = dwarf_ranges(die, offset, &base, &start, &end)) > 0)
        if (address >= start && address < end)
            return true;
    return false;
}

static void die_append_ranges(struct symbol_dwarf *symbols, Dwarf_Die *die, struct range_table *table, uint32_t value)
{
    Dwarf_Addr base, start, end;
    ptrdiff_t offset = 0;
    while (dwarf_step(symbols) && (offset = dwarf_ranges(die, offset, &base, &start, &end)) > 0) {
        /* Linkers leave 0 as the address of what they dropped. */
        if (start != 0)
            range_table_append(table, symbols->arena, start, end, value);
    }
}

/* The bytes of .debug_info, unpacked. */
static Elf_Data *dwarf_info_section(Dwarf *dwarf)
{
    Elf *elf = dwarf_getelf(dwarf);
    size_t names;
    if (elf == NULL || elf_getshdrstrndx(elf, &names) != 0)
        return NULL;
    for (Elf_Scn *scn = elf_nextscn(elf, NULL); scn != NULL; scn = elf_nextscn(elf, scn)) {
        GElf_Shdr section;
        const char *name = gelf_getshdr(scn, &section) == NULL ? NULL : elf_strptr(elf, names, section.sh_name);
        if (name != NULL && strcmp(name, ".debug_info") == 0)
            return elf_getdata(scn, NULL);
    }
    return NULL;
}

/* The attribute's string; NULL when it has none. libdw takes for granted that a string within .debug_info (rather than
 * in a table of strings) ends before the section does. */
static const char *attribute_string(struct symbol_dwarf *symbols, Dwarf_Attribute *attribute)
{
    if (dwarf_whatform(attribute) == DW_FORM_string) {
        if (symbols->info == NULL)
            symbols->info = dwarf_info_section(symbols->dwarf);
        uintptr_t at = (uintptr_t)attribute->valp;
        uintptr_t start = symbols->info == NULL ? 0 : (uintptr_t)symbols->info->d_buf;
        if (start != 0 && at >= start && at - start < symbols->info->d_size &&
            memchr(attribute->valp, 0, symbols->info->d_size - (at - start)) == NULL)
            return NULL;
    }
    return dwarf_formstring(attribute);
}

/* Whether libdw may open the path: it does so by itself, and would hang on a FIFO. */
static bool is_harmless(struct symbol_dwarf *symbols, struct text folder, const char *name)
{
    if (folder.data == NULL && name[0] != '/')
        return true;
    const char *path = name[0] == '/' ? name
                                      : arena_printf(symbols->arena, "%.*s/%s", (int)folder.length, folder.data, name);
    uint64_t size_bytes;
    int fd = file_open_regular(path, &size_bytes);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR;
    close(fd);
    return true;
}

/* Split DWARF: the unit in the module's file is a skeleton with ranges and lines; functions and inlined calls stand in a
 * .dwo file, named by DW_AT_dwo_name (GNU_dwo_name before DWARF 5). */
static void unit_find_split(struct symbol_dwarf *symbols, struct dwarf_unit *unit)
{
    Dwarf_Attribute attribute;
    Dwarf_Die split;
    if (dwarf_attr(&unit->die, DW_AT_dwo_name, &attribute) == NULL &&
        dwarf_attr(&unit->die, DW_AT_GNU_dwo_name, &attribute) == NULL)
        return;
    const char *name = attribute_string(symbols, &attribute);
    if (name != NULL && is_harmless(symbols, symbols->folder, name) &&
        is_harmless(symbols, text_from_string(unit->directory), name) &&
        dwarf_cu_info(unit->die.cu, NULL, NULL, NULL, &split, NULL, NULL, NULL) == 0 && split.addr != NULL)
        unit->entries = split;
}

static struct dwarf_unit *symbol_dwarf_unit(struct symbol_dwarf *symbols, Dwarf_Die *die)
{
    Dwarf_Off offset = dwarf_dieoffset(die);
    if ((symbols->unit_count + 1) * 2 > symbols->slot_count) {
        symbols->slot_count = symbols->slot_count == 0 ? 64 : symbols->slot_count * 2;
        symbols->slots = arena_array(symbols->arena, uint32_t, symbols->slot_count);
        for (size_t i = 0; i < symbols->unit_count; i++) {
            Dwarf_Off other = dwarf_dieoffset(&symbols->units[i]->die);
            size_t slot = hash_bytes(&other, sizeof other, 0) & (symbols->slot_count - 1);
            while (symbols->slots[slot] != 0)
                slot = (slot + 1) & (symbols->slot_count - 1);
            symbols->slots[slot] = (uint32_t)i + 1;
        }
    }
    size_t slot = hash_bytes(&offset, sizeof offset, 0) & (symbols->slot_count - 1);
    for (; symbols->slots[slot] != 0; slot = (slot + 1) & (symbols->slot_count - 1)) {
        struct dwarf_unit *unit = symbols->units[symbols->slots[slot] - 1];
        if (dwarf_dieoffset(&unit->die) == offset)
            return unit;
    }
    struct dwarf_unit *unit = arena_new(symbols->arena, struct dwarf_unit);
    unit->die = *die;
    if (dwarf_cu_info(die->cu, &unit->version, NULL, NULL, NULL, NULL, NULL, NULL) != 0)
        unit->version = 0;
    unit->entries = unit->die;
    Dwarf_Attribute directory;
    if (dwarf_attr(&unit->die, DW_AT_comp_dir, &directory) != NULL)
        unit->directory = attribute_string(symbols, &directory);
    unit_find_split(symbols, unit);
    int language = dwarf_srclang(&unit->entries);
    unit->is_cpp = language == DW_LANG_C_plus_plus || language == DW_LANG_C_plus_plus_03 ||
                   language == DW_LANG_C_plus_plus_11 || language == DW_LANG_C_plus_plus_14;
    if (dwarf_getsrclines(die, &unit->lines, &unit->line_count) != 0)
        unit->lines = NULL;
    if (dwarf_getsrcfiles(die, &unit->files, &unit->file_count) != 0)
        unit->files = NULL;
    symbols->units = arena_grow(symbols->arena, symbols->units, symbols->unit_count, &symbols->unit_capacity,
                                sizeof *symbols->units);
    symbols->units[symbols->unit_count++] = unit;
    symbols->slots[slot] = (uint32_t)symbols->unit_count;
    return unit;
}

/* All units' ranges, for what .debug_aranges leaves out (clang and rustc write none; the linker drops none). */
static void symbol_dwarf_read_ranges(struct symbol_dwarf *symbols)
{
    symbols->ranges_tried = true;
    Dwarf_CU *cu = NULL;
    uint8_t type;
    Dwarf_Die die;
    size_t capacity = 0, count = 0;
    while (dwarf_step(symbols) && dwarf_get_units(symbols->dwarf, cu, &cu, NULL, &type, &die, NULL) == 0) {
        if (type != DW_UT_compile && type != DW_UT_skeleton)
            continue;
        symbols->range_units =
            arena_grow(symbols->arena, symbols->range_units, count, &capacity, sizeof *symbols->range_units);
        symbols->range_units[count] = die;
        die_append_ranges(symbols, &die, &symbols->ranges, (uint32_t)count);
        count++;
    }
    range_table_freeze(&symbols->ranges);
}

/* Whether entries of this kind can have functions with code below them. */
static bool tag_holds_functions(int tag, bool deep)
{
    switch (tag) {
    case DW_TAG_namespace:
    case DW_TAG_module:
        return true;
    case DW_TAG_subprogram: /* nested functions: Ada, Fortran, GNU C */
    case DW_TAG_lexical_block:
    case DW_TAG_class_type:
    case DW_TAG_structure_type:
    case DW_TAG_union_type:
    case DW_TAG_enumeration_type: /* Rust */
        return deep;
    default:
        return false;
    }
}

/* Lists the unit's functions. First without looking into functions and types: siblings are skipped at the cost of one
 * attribute where the compiler wrote DW_AT_sibling. */
static void unit_walk(struct symbol_dwarf *symbols, struct dwarf_unit *unit, bool deep)
{
    Dwarf_Die path[limit_dwarf_depth];
    size_t depth = 0;
    unit->functions = NULL;
    unit->function_count = unit->function_capacity = 0;
    unit->function_ranges = (struct range_table){0};
    bool more = die_first(symbols, &unit->entries, &path[0]);
    while (more) {
        Dwarf_Die *die = &path[depth];
        int tag = dwarf_tag(die);
        if (tag == DW_TAG_subprogram) {
            size_t ranges_before = unit->function_ranges.count;
            die_append_ranges(symbols, die, &unit->function_ranges, (uint32_t)unit->function_count);
            if (unit->function_ranges.count != ranges_before) {
                unit->functions = arena_grow(symbols->arena, unit->functions, unit->function_count,
                                             &unit->function_capacity, sizeof *unit->functions);
                unit->functions[unit->function_count++] = *die;
            }
        }
        if (depth + 1 < limit_dwarf_depth && tag_holds_functions(tag, deep) &&
            die_first(symbols, die, &path[depth + 1])) {
            depth++;
            continue;
        }
        while (!(more = die_next(symbols, &path[depth])) && depth > 0)
            depth--;
    }
    range_table_freeze(&unit->function_ranges);
    unit->walked = true;
    unit->walked_deep = deep;
}

static bool unit_find_function(struct symbol_dwarf *symbols, struct dwarf_unit *unit, uint64_t address,
                               Dwarf_Die *ret_function)
{
    uint32_t index;
    if (!unit->walked)
        unit_walk(symbols, unit, false);
    if (!range_table_find(&unit->function_ranges, address, &index)) {
        if (unit->walked_deep)
            return false;
        unit_walk(symbols, unit, true);
        if (!range_table_find(&unit->function_ranges, address, &index))
            return false;
    }
    *ret_function = unit->functions[index];
    return true;
}

/* The row of the line table that covers the address: the last that is not above it, unless that ends a sequence. libdw
 * sorts the end of a sequence before all rows of its address, its own last ones (gcc writes them) too: outside functions
 * those would stretch up to the next sequence, over assembly and padding. */
static Dwarf_Line *unit_find_line(const struct dwarf_unit *unit, uint64_t address, bool in_function)
{
    size_t low = 0, high = unit->lines == NULL ? 0 : unit->line_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        Dwarf_Addr row;
        if (dwarf_lineaddr(dwarf_onesrcline(unit->lines, middle), &row) == 0 && row <= address)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return NULL;
    Dwarf_Line *line = dwarf_onesrcline(unit->lines, low - 1);
    bool ends;
    if (dwarf_lineendsequence(line, &ends) != 0 || ends)
        return NULL;
    Dwarf_Addr row, other;
    if (in_function || dwarf_lineaddr(line, &row) != 0)
        return line;
    for (size_t i = low - 1; i > 0; i--) {
        Dwarf_Line *before = dwarf_onesrcline(unit->lines, i - 1);
        if (dwarf_lineaddr(before, &other) != 0 || other != row)
            break;
        if (dwarf_lineendsequence(before, &ends) == 0 && ends)
            return NULL;
    }
    return line;
}

/* A name of limit_name_bytes at most, written from its outermost scope inwards. */
struct scoped_name {
    char text[limit_name_bytes];
    size_t length;
};

static void scoped_name_append(struct scoped_name *scoped, const char *part)
{
    size_t left = sizeof scoped->text - 1 - scoped->length, length = strnlen(part, left);
    memcpy(scoped->text + scoped->length, part, length);
    scoped->length += length;
}

/* The entry that declares a function, from one that stands for it: an inlined call's, or a definition's. */
static Dwarf_Die die_declaration(Dwarf_Die *die)
{
    enum { hops_max = 16 };
    Dwarf_Die declaration = *die, next;
    Dwarf_Attribute attribute;
    for (int hops = 0; hops < hops_max; hops++) {
        if ((dwarf_attr(&declaration, DW_AT_abstract_origin, &attribute) == NULL &&
             dwarf_attr(&declaration, DW_AT_specification, &attribute) == NULL) ||
            dwarf_formref_die(&attribute, &next) == NULL)
            break;
        declaration = next;
    }
    return declaration;
}

/* Namespaces and classes before a C++ name, which gcc gives no linkage name when the linker need not know it: templates
 * over lambdas, anonymous namespaces. Entries have no parent pointer: the way from the unit down is walked. */
static const char *die_qualify(struct symbol_dwarf *symbols, Dwarf_Die *die, const char *name)
{
    Dwarf_Die declaration = die_declaration(die), scope, child;
    struct qualified_name *known = &symbols->qualified[(uintptr_t)declaration.addr / 4 % qualified_names];
    if (known->declaration == declaration.addr)
        return known->name;
    Dwarf_Off offset = dwarf_dieoffset(&declaration);
    struct scoped_name scoped = {.length = 0};
    bool more = dwarf_diecu(&declaration, &scope, NULL, NULL) != NULL;
    for (size_t depth = 0; more && depth < limit_dwarf_depth; depth++) {
        bool is_below = false;
        for (more = die_first(symbols, &scope, &child); more && dwarf_dieoffset(&child) <= offset;
             more = die_next(symbols, &child)) {
            is_below = true;
            scope = child;
        }
        more = is_below && dwarf_dieoffset(&scope) != offset;
        if (!more)
            break;
        Dwarf_Attribute attribute;
        int tag = dwarf_tag(&scope);
        const char *part =
            dwarf_attr_integrate(&scope, DW_AT_name, &attribute) == NULL ? NULL : attribute_string(symbols, &attribute);
        bool is_class = tag == DW_TAG_class_type || tag == DW_TAG_structure_type || tag == DW_TAG_union_type;
        if (!is_class && tag != DW_TAG_namespace && tag != DW_TAG_subprogram)
            continue;
        /* The only classes without a name whose functions are called are lambdas', and what a typedef named. */
        if (part == NULL)
            part = tag == DW_TAG_namespace           ? "(anonymous namespace)"
                   : strcmp(name, "operator()") == 0 ? "{lambda}"
                                                     : "{unnamed}";
        scoped_name_append(&scoped, part);
        if (tag == DW_TAG_subprogram)
            scoped_name_append(&scoped, "()");
        scoped_name_append(&scoped, "::");
    }
    scoped_name_append(&scoped, name);
    known->declaration = declaration.addr;
    known->name = text_copy(symbols->arena, (struct text){scoped.text, scoped.length}).data;
    return known->name;
}

static const char *die_function_name(struct symbol_dwarf *symbols, const struct dwarf_unit *unit, Dwarf_Die *die)
{
    static const unsigned names[] = {DW_AT_linkage_name, DW_AT_MIPS_linkage_name, DW_AT_name};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        Dwarf_Attribute attribute;
        const char *name =
            dwarf_attr_integrate(die, names[i], &attribute) == NULL ? NULL : attribute_string(symbols, &attribute);
        if (name != NULL && name[0] != '\0')
            return names[i] == DW_AT_name && unit->is_cpp ? die_qualify(symbols, die, name) : name;
    }
    return NULL;
}

static uint64_t die_unsigned(Dwarf_Die *die, unsigned name)
{
    Dwarf_Attribute attribute;
    Dwarf_Word value;
    return dwarf_attr(die, name, &attribute) != NULL && dwarf_formudata(&attribute, &value) == 0 ? value : 0;
}

/* A function of several ranges may have no entry attribute: compilers put the range that is entered first. */
static uint64_t die_entry(Dwarf_Die *die)
{
    Dwarf_Addr base, start, end;
    return dwarf_entrypc(die, &start) == 0 || dwarf_ranges(die, 0, &base, &start, &end) > 0 ? start : 0;
}

/* Where an inlined call stands in its caller. */
static void die_call_site(const struct dwarf_unit *unit, Dwarf_Die *inlined, struct dwarf_frame *caller)
{
    Dwarf_Attribute attribute;
    uint64_t line = die_unsigned(inlined, DW_AT_call_line);
    caller->line = line <= UINT32_MAX ? (uint32_t)line : 0;
    /* File 0 is the unit's own from DWARF 5 on, "none" before. */
    uint64_t file = die_unsigned(inlined, DW_AT_call_file);
    if (dwarf_attr(inlined, DW_AT_call_file, &attribute) != NULL && unit->files != NULL && file < unit->file_count &&
        (file != 0 || unit->version >= 5))
        caller->file = dwarf_filesrc(unit->files, (size_t)file, NULL, NULL);
}

/* The function, then the inlined calls in it that hold the address, outermost first. Returns how many. */
static size_t function_chain(struct symbol_dwarf *symbols, Dwarf_Die *function, uint64_t address, Dwarf_Die *chain,
                             size_t chain_max)
{
    Dwarf_Die scope = *function, child;
    size_t count = 0;
    chain[count++] = *function;
    for (size_t depth = 0; depth < limit_dwarf_depth; depth++) {
        bool found = false;
        for (bool more = die_first(symbols, &scope, &child); more && !found;
             more = !found && die_next(symbols, &child)) {
            int tag = dwarf_tag(&child);
            found = (tag == DW_TAG_inlined_subroutine || tag == DW_TAG_lexical_block || tag == DW_TAG_try_block ||
                     tag == DW_TAG_catch_block || tag == DW_TAG_with_stmt) &&
                    die_contains(symbols, &child, address);
            if (found)
                scope = child;
        }
        if (!found)
            break;
        if (dwarf_tag(&scope) != DW_TAG_inlined_subroutine)
            continue;
        if (count == chain_max) {
            if (count == 1)
                continue;
            memmove(&chain[1], &chain[2], (count - 2) * sizeof *chain);
            count--;
        }
        chain[count++] = scope;
    }
    return count;
}

static size_t unit_find(struct symbol_dwarf *symbols, struct dwarf_unit *unit, uint64_t address,
                        struct dwarf_frame *frames, size_t frames_max)
{
    Dwarf_Die function, chain[limit_inline_depth];
    size_t count = 0, chain_max = frames_max < limit_inline_depth ? frames_max : limit_inline_depth;
    if (unit_find_function(symbols, unit, address, &function))
        count = function_chain(symbols, &function, address, chain, chain_max);
    Dwarf_Line *line = unit_find_line(unit, address, count > 0);
    if (count == 0 && line == NULL)
        return 0;

    struct dwarf_frame *innermost = &frames[0];
    *innermost = (struct dwarf_frame){.directory = unit->directory};
    if (line != NULL) {
        int number;
        innermost->file = dwarf_linesrc(line, NULL, NULL);
        innermost->line = dwarf_lineno(line, &number) == 0 && number > 0 ? (uint32_t)number : 0;
    }
    for (size_t i = 0; i < count; i++) {
        Dwarf_Die *die = &chain[count - 1 - i];
        frames[i].name = die_function_name(symbols, unit, die);
        if (i + 1 < count) {
            frames[i + 1] = (struct dwarf_frame){.directory = unit->directory};
            die_call_site(unit, die, &frames[i + 1]);
        } else {
            frames[i].start = die_entry(die);
        }
    }
    return count == 0 ? 1 : count;
}

size_t symbol_dwarf_find(struct symbol_dwarf *symbols, uint64_t address, struct dwarf_frame *ret_frames,
                         size_t frames_max)
{
    Dwarf_Die die;
    Dwarf_Off offset;
    Dwarf_Arange *arange = symbols->aranges == NULL ? NULL : dwarf_getarange_addr(symbols->aranges, address);
    if (arange != NULL && dwarf_getarangeinfo(arange, NULL, NULL, &offset) == 0 &&
        dwarf_offdie(symbols->dwarf, offset, &die) != NULL) {
        size_t count = unit_find(symbols, symbol_dwarf_unit(symbols, &die), address, ret_frames, frames_max);
        if (count != 0)
            return count;
    }
    if (!symbols->ranges_tried)
        symbol_dwarf_read_ranges(symbols);
    uint32_t index;
    if (!range_table_find(&symbols->ranges, address, &index))
        return 0;
    return unit_find(symbols, symbol_dwarf_unit(symbols, &symbols->range_units[index]), address, ret_frames,
                     frames_max);
}
