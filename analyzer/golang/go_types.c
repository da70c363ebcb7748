/* SPDX-License-Identifier: Apache-2.0 */
#include "golang/go_types.h"

#include "base/limits.h"

/* internal/abi.Type, before 1.21 runtime._type: the same since 1.14 but for the names of its fields. */
enum { type_size = 0, type_flags = 20, type_kind = 23, type_name = 40, type_bytes = 48 };
enum { struct_fields = 56, struct_bytes = 80, field_bytes = 24 };
enum { flag_extra_star = 2, kind_mask = 31 };

/* reflect.Kind */
enum {
    KIND_BOOL = 1,
    KIND_INT = 2,
    KIND_INT64 = 6,
    KIND_ARRAY = 17,
    KIND_CHAN = 18,
    KIND_FUNC = 19,
    KIND_INTERFACE = 20,
    KIND_MAP = 21,
    KIND_POINTER = 22,
    KIND_SLICE = 23,
    KIND_STRING = 24,
    KIND_STRUCT = 25,
    KIND_UNSAFE_POINTER = 26,
};

static bool read_memory(const struct go_runtime *runtime, uint64_t address, void *ret_bytes, size_t size_bytes)
{
    bool is_late;
    return memory_ask(&runtime->image->memory, address, ret_bytes, size_bytes, &is_late) == size_bytes;
}

static bool read_word(const struct go_runtime *runtime, uint64_t address, uint64_t *ret_word)
{
    uint8_t bytes[8];
    if (!read_memory(runtime, address, bytes, sizeof bytes))
        return false;
    *ret_word = load_u64(bytes);
    return true;
}

static const uint8_t *view(const struct go_runtime *runtime, uint64_t address, size_t size_bytes)
{
    return memory_view(&runtime->image->memory, address, size_bytes);
}

/* internal/abi.Name: a byte of flags, the length, the bytes. To 1.16 the length had two bytes, the high one first. */
static bool name_at(const struct go_runtime *runtime, uint64_t address, struct text *ret_name)
{
    const uint8_t *bytes = view(runtime, address, 3);
    if (bytes == NULL)
        return false;
    size_t length, head = 3;
    if (runtime->minor <= 16) {
        length = (size_t)bytes[1] << 8 | bytes[2];
    } else {
        length = bytes[1] & 0x7f;
        head = 2;
        if ((bytes[1] & 0x80) != 0) {
            length |= (size_t)(bytes[2] & 0x7f) << 7;
            head = 3;
        }
    }
    bytes = view(runtime, address + head, length);
    if (bytes == NULL || length == 0 || length > limit_name_bytes)
        return false;
    *ret_name = (struct text){(const char *)bytes, length};
    return true;
}

static uint8_t kind_of(const uint8_t *type)
{
    return type[type_kind] & kind_mask;
}

/* The descriptor's own name, without the star that it shares with that of its pointer. */
static bool type_name_of(const struct go_runtime *runtime, const struct go_module *module, const uint8_t *type,
                         struct text *ret_name)
{
    int32_t offset = (int32_t)load_u32(type + type_name);
    if (offset <= 0 || !name_at(runtime, module->types + (uint64_t)offset, ret_name))
        return false;
    if ((type[type_flags] & flag_extra_star) != 0 && ret_name->data[0] == '*') {
        ret_name->data++;
        ret_name->length--;
    }
    return true;
}

static bool name_fits(struct text name, struct text wanted)
{
    return text_starts_with(name, wanted) && (name.length == wanted.length || name.data[wanted.length] == '[');
}

static bool read_struct(const struct go_runtime *runtime, uint64_t address, const uint8_t *type,
                        struct go_struct *ret_struct)
{
    *ret_struct = (struct go_struct){.type = address, .size_bytes = load_u64(type + type_size)};
    const uint8_t *fields = view(runtime, address + struct_fields, 16);
    if (fields == NULL)
        return false;
    ret_struct->fields = load_u64(fields);
    ret_struct->field_count = load_u64(fields + 8);
    return ret_struct->field_count != 0 && ret_struct->field_count <= limit_go_fields &&
           ret_struct->size_bytes <= limit_go_struct_bytes &&
           view(runtime, ret_struct->fields, (size_t)ret_struct->field_count * field_bytes) != NULL;
}

const struct go_struct *go_structs_find(const struct go_runtime *runtime, struct text name, struct arena *arena,
                                        size_t *ret_count)
{
    struct go_struct *found = arena_array(arena, struct go_struct, limit_go_types_found);
    size_t count = 0;
    for (size_t i = 0; i < runtime->module_count; i++) {
        const struct go_module *module = &runtime->modules[i];
        /* As far as the memory that begins with them goes; they are first in it. */
        const struct memory_range *range = memory_find(&runtime->image->memory, module->types);
        uint64_t end = range == NULL ? 0 : range->end;
        if (end > module->types + limit_go_types_bytes)
            end = module->types + limit_go_types_bytes;
        for (uint64_t at = (module->types + 7) & ~(uint64_t)7; at + struct_bytes <= end && count < limit_go_types_found;
             at += 8) {
            const uint8_t *type = view(runtime, at, struct_bytes);
            struct text own;
            if (type == NULL)
                break;
            if (kind_of(type) == KIND_STRUCT && load_u64(type + type_size) != 0 &&
                type_name_of(runtime, module, type, &own) && name_fits(own, name) &&
                read_struct(runtime, at, type, &found[count]))
                count++;
        }
    }
    *ret_count = count;
    return found;
}

static bool read_field(const struct go_runtime *runtime, const struct go_struct *type, uint64_t number,
                       struct text *ret_name, struct go_field *ret_field)
{
    const uint8_t *field = view(runtime, type->fields + number * field_bytes, field_bytes);
    if (field == NULL || !name_at(runtime, load_u64(field), ret_name))
        return false;
    uint64_t offset = load_u64(field + 16);
    /* To 1.18 the lowest bit tells whether it is embedded. */
    offset = runtime->minor <= 18 ? offset >> 1 : offset;
    const uint8_t *own = view(runtime, load_u64(field + 8), type_bytes);
    if (own == NULL || offset > type->size_bytes)
        return false;
    *ret_field = (struct go_field){
        .offset = offset,
        .type = load_u64(field + 8),
        .kind = kind_of(own),
        .size_bytes = load_u64(own + type_size),
    };
    return ret_field->size_bytes <= type->size_bytes - offset;
}

bool go_struct_field(const struct go_runtime *runtime, const struct go_struct *type, struct text name,
                     struct go_field *ret_field)
{
    struct text own;
    for (uint64_t i = 0; i < type->field_count; i++)
        if (read_field(runtime, type, i, &own, ret_field) && text_equals(own, name))
            return true;
    return false;
}

static bool pointer_fits(const struct go_runtime *runtime, uint64_t word)
{
    uint8_t byte;
    return word == 0 || read_memory(runtime, word, &byte, 1);
}

static bool function_fits(const struct go_runtime *runtime, uint64_t word)
{
    struct pclntab_function function;
    uint64_t pc;
    return word == 0 || (read_word(runtime, word, &pc) && go_runtime_find_function(runtime, pc, &function) != NULL &&
                         function.entry == pc);
}

/* `looks` counts down over the whole struct: a descriptor whose fields are all of its own type has no end. */
static bool field_fits(const struct go_runtime *runtime, const struct go_field *field, uint64_t address, unsigned depth,
                       unsigned *looks)
{
    uint64_t first = 0, second = 0, third = 0;
    uint8_t byte;
    if (*looks == 0)
        return false;
    --*looks;
    switch (field->kind) {
    case KIND_BOOL:
        return read_memory(runtime, address, &byte, 1) && byte <= 1;
    case KIND_POINTER:
    case KIND_MAP:
    case KIND_CHAN:
    case KIND_UNSAFE_POINTER:
        return read_word(runtime, address, &first) && pointer_fits(runtime, first);
    case KIND_FUNC:
        return read_word(runtime, address, &first) && function_fits(runtime, first);
    case KIND_INTERFACE:
        return read_word(runtime, address, &first) && read_word(runtime, address + 8, &second) &&
               pointer_fits(runtime, first) && (first != 0 || second == 0) && pointer_fits(runtime, second);
    case KIND_STRING:
        return read_word(runtime, address, &first) && read_word(runtime, address + 8, &second) &&
               pointer_fits(runtime, first) && second < (uint64_t)1 << 40 && (first != 0 || second == 0);
    case KIND_SLICE:
        return read_word(runtime, address, &first) && read_word(runtime, address + 8, &second) &&
               read_word(runtime, address + 16, &third) && pointer_fits(runtime, first) && second <= third &&
               third < (uint64_t)1 << 40;
    case KIND_STRUCT: {
        const uint8_t *type = view(runtime, field->type, struct_bytes);
        struct go_struct inner;
        struct go_field part;
        struct text name;
        if (depth == 0 || type == NULL || !read_struct(runtime, field->type, type, &inner))
            return true;
        for (uint64_t i = 0; i < inner.field_count; i++)
            if (read_field(runtime, &inner, i, &name, &part) &&
                !field_fits(runtime, &part, address + part.offset, depth - 1, looks))
                return false;
        return true;
    }
    default:
        return true;
    }
}

bool go_struct_fits(const struct go_runtime *runtime, const struct go_struct *type, uint64_t address)
{
    enum { nested_structs = 3 };
    unsigned looks = limit_go_field_looks;
    uint8_t byte;
    if ((address & 7) != 0 || !read_memory(runtime, address, &byte, 1) ||
        !read_memory(runtime, address + type->size_bytes - 1, &byte, 1))
        return false;
    for (uint64_t i = 0; i < type->field_count; i++) {
        struct text name;
        struct go_field field;
        if (!read_field(runtime, type, i, &name, &field) ||
            !field_fits(runtime, &field, address + field.offset, nested_structs, &looks))
            return false;
    }
    return true;
}
