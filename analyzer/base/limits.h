/* SPDX-License-Identifier: Apache-2.0 */
/* Every ceiling on what input can make us do: the number, its unit and the reason. */
#ifndef SG_BASE_LIMITS_H
#define SG_BASE_LIMITS_H

#include <stdint.h>

enum {
    /* Distinct losses kept; a hostile core can name a missing module per mapping. */
    limit_diagnostics = 400,
    /* … and of one code, so that no kind crowds out the others. */
    limit_diagnostics_of_code = 100,
    /* Frames of one thread. A default 8 MiB stack overflowed by the smallest recursion has about 500,000. */
    limit_frames = 1 << 20,
    /* Frames of all threads together before each further thread is held to limit_frames_crowded: 10,000 threads of 1,000
     * frames are far below; a forged core lets every thread share one endless stack. About 2 seconds. */
    limit_frames_total = 1 << 25,
    limit_frames_crowded = 1024,
    /* Functions followed by their instructions in one analysis, where there are no tables: at most 3,000 instructions
     * each, under 10 seconds in all. */
    limit_code_questions = 4000,
    /* Files of modules opened, two descriptors each. */
    limit_module_files = 10000,
    /* Note segments read; every writer of cores makes one. */
    limit_note_segments = 16,
    /* Program headers of a module: real ones have 9 to 15. */
    limit_module_segments = 256,
    /* Of a program's data in which the loader's list is looked for, where nothing says where it is. */
    limit_loader_search_bytes = 64 << 20,
    /* Milliseconds that a stop waits for threads that do not stop (uninterruptible calls) after the last that did. */
    limit_live_wait_milliseconds = 50,
    /* … and for threads that could stop, but were given no processor yet. */
    limit_live_wait_longest_milliseconds = 500,
    /* Times the task list of a target that is not stopped is read again for threads that began meanwhile. */
    limit_live_rounds = 8,
    /* Futex words that a live snapshot remembers having copied, a power of two: a lock that thousands wait for is copied
     * once; where programs wait for more words, some are copied again. */
    limit_live_words = 1024,
    /* Processors that are kept from sleeping while threads are stopped one by one. */
    limit_live_awake_processors = 3,
    /* Looks at a thread that moves while it is read without a stop. */
    limit_live_tries = 4,
    /* Microseconds of CPU time that a stop costs a blocked thread at most (20 to 130 were seen); more is its own. */
    limit_stop_cpu_microseconds = 1000,
    /* Threads of a live process that are told apart as not to be had; another debugger has one or all. */
    limit_live_refused = 64,
    /* Bytes of one thread's stack that a live snapshot copies at most; blocked threads use a few KB. Ruby's have 1 MB
     * within them, alloca'd for the interpreter's own stack, and its first frames beyond. */
    limit_stack_copy_bytes = 3 << 19,
    /* Bytes a thread that are paged in before a stop, so that copying does not fault. */
    limit_stack_prefault_bytes = 8 << 10,
    /* Taken as the size of a stack whose mapping is not known: it was made after maps was read. */
    limit_stack_guess_bytes = 64 << 10,
    /* From here on a Go program's mapping is its heap, where the stacks of its threads lie too, and not one stack. */
    limit_go_stack_guess_bytes = 16 << 20,
    /* Rwlocks and onces whose holders are sought in stacks, and bytes of each stack and of all that are looked through for it:
     * about 50 milliseconds. */
    limit_inferred_resources = 64,
    limit_inferred_stack_bytes = 64 << 10,
    limit_inferred_bytes = 256 << 20,
    /* Of stacks in all that are looked through for the blocks of threads whose registers are not known: less than a second. */
    limit_block_search_bytes = 256 << 20,
    /* Descriptors of a live process that are looked at, about 2 seconds' worth; RLIMIT_NOFILE can be 2^30. */
    limit_descriptors = 1 << 18,
    /* Distinct early ends that libunwind is asked about; programs have a handful, forged cores one a thread. */
    limit_early_ends = 256,
    /* What looks like the start of a pclntab and is tried, in one module: each costs a look through its data. */
    limit_go_headers = 64,
    /* Runtimes of Go in one process: the program's, and one for each library that was built with its own. */
    limit_go_runtimes = 16,
    /* Goroutines that a layout is tried with, where it is not known whether it is the right one. */
    limit_go_checked = 1000,
    /* Pages of a module that are not at hand and are passed over in search of its tables: 4 GB. */
    limit_go_missing_pages = 1 << 20,
    /* Cases of one select of Go's: the compiler allows 65,536. */
    limit_go_cases = 1 << 16,
    /* Bytes of one Go function's code that are looked through for calls: the largest, of generated tables, have a few MB … */
    limit_code_call_bytes = 4 << 20,
    /* … and of all that one profile's findings ask for, and its locks: half a second's worth each. */
    limit_code_calls_bytes = 32 << 20,
    /* Fields and bytes of one Go struct that is looked for by its name, and structs of one name: packages of the same last
     * part, and instances of a generic type. */
    limit_go_fields = 256,
    limit_go_struct_bytes = 64 << 10,
    limit_go_types_found = 64,
    /* Fields that are compared with what lies at one address, those of structs within it too: sql.DB has 100. */
    limit_go_field_looks = 4096,
    /* Frames of one goroutine whose words are looked at: its waiting call and what led there. */
    limit_go_frames = 64,
    /* Locks of Go's whose holders are looked for, and those of them that are looked for in code. */
    limit_go_locks_sought = 4096,
    limit_go_locks_in_code = 64,
    /* Deferred calls of one goroutine that are looked at: those that loops make are many. */
    limit_go_defers = 64,
    /* Parts of 64 MB that a Go program's heap lies in, and runs of pages in them, used or not. */
    limit_go_areas = 1 << 12,
    limit_go_spans = 1 << 24,
    /* Objects in it, each of which takes three bits: what has no pointers is not read, and costs a forged core nothing. */
    limit_go_objects = 1 << 30,
    /* Goroutines up to which it is asked who can still be woken: 0.1 seconds; and what of theirs is told of the others. */
    limit_go_asked_goroutines = 1 << 16,
    limit_go_links = 1 << 16,
    /* Things lent by pools of Go's that are looked for by their type. */
    limit_go_lent = 1 << 20,
    /* Waiters whose frames are searched for the pool that they wait for. */
    limit_pool_samples = 64,
    /* Others that may hold one of a pool whose frames are looked at for it. */
    limit_pool_holders_asked = 1024,
    /* Pools that one rule tells apart by their memory. */
    limit_pool_objects = 16,
    /* Labels of one goroutine, and bytes of one key or value: programs set a handful of short ones. */
    limit_labels = 1000,
    limit_label_bytes = 16 << 10,
    /* DWARF expression operations executed for one register; real ones have under 20. */
    limit_expression_steps = 1000,
    limit_expression_stack = 64,
    /* Inlined calls shown at one pc; compilers stop far earlier. */
    limit_inline_depth = 64,
    /* Bytes of one name, mangled or demangled: symbols of template-heavy programs reach 100 KB and say no more. */
    limit_name_bytes = 4096,
    /* Symbols looked at for one address where their extents overlap; aliases of one function are under 20. */
    limit_symbol_overlap = 4096,
    /* Nesting of DWARF entries (namespaces, functions, blocks, inlined calls) that is followed. */
    limit_dwarf_depth = 256,
    /* DWARF entries and address ranges looked at in one module, about 10 seconds' worth: entries can share one long
     * range list, so that a small file asks for any number. The largest real unit (LTO of a browser) has 30 million. */
    limit_dwarf_steps = 1 << 26,
    /* Addresses printed in one "@" line, so that it stays below the 64 KiB that kill pprof's reader
     * (19 bytes each at most). */
    limit_addresses_in_line = 3000,
    /* Addresses of a text's groups passed over in search of one that a "#" line names, where it does not come: 50
     * milliseconds. */
    limit_text_looks = 1 << 26,
    /* Things that "# waits:" lines of a text let its members wait for, on the average, beside a million in all; a wait for
     * any of several has few. */
    limit_told_waits_each = 16,
    limit_told_waits_free = 1 << 20,
    /* Times that direct callers of a pool are looked through for functions that only hand on what they took; each takes
     * one more layer of them, and programs have one or two. */
    limit_pool_rounds = 16,
    /* Masses, pools, places and kinds of siblings that one rule tells of, the largest: each costs a look at all members. A rule
     * without thresholds finds as many as there are stacks. */
    limit_masses_of_rule = 64,
    /* Stacks inside a constructor whose callers are told. */
    limit_creators_told = 4,
    /* … and how many of them, where a package calls itself. */
    limit_creator_frames = 64,
    /* Build-id bytes kept; GNU's are 20, some tools write 8 to 32. */
    limit_build_id_bytes = 64,
    /* Seconds the libunwind child may take before it is ended. */
    limit_libunwind_seconds = 20,
    /* Seconds it may take for one thread: a stack of limit_frames takes under one. */
    limit_libunwind_thread_seconds = 3,
    /* Threads given up, each by a crash or by its time, before the rest is not asked any more. */
    limit_libunwind_failures = 32,
    /* Bytes of one rule file, its examples' dumps included. */
    limit_rule_file_bytes = 4 << 20,
    /* Rule files of one folder. */
    limit_plugin_files = 1000,
    /* Errors told of one rule file. */
    limit_rule_file_errors = 100,
    /* Matches of one expression of a rule that may reach the match limit, 1 to 10 ms each, before it is not tried any
     * more. */
    limit_pattern_hits = 8,
    /* Keys that one rule splits its members by. */
    limit_rule_by = 8,
    /* Values, keys of one map, and levels of a rule file: real ones have hundreds, under 30, and 6. */
    limit_yaml_nodes = 100000,
    limit_yaml_keys = 256,
    limit_yaml_depth = 16,
    /* Cycles of one tangle of locks that are told apart: n threads that all wait for each other have more than n!. */
    limit_lock_cycles = 64,
    /* … the shortest of them, where there are more. */
    limit_lock_cycles_told = 8,
    /* Edges looked at for the cycles of one tangle, beside a few looks at each: 20 milliseconds' worth. */
    limit_cycle_steps = 1 << 22,
    /* Frames and places compared to find who may hold locks, where only stacks tell: 50 milliseconds' worth. */
    limit_guess_steps = 1 << 24,
    /* Sentences of one finding about its members' waits; a screen's worth. The edges are all in the JSON form … */
    limit_finding_sentences = 24,
    /* … up to so many. */
    limit_finding_edges = 10000,
    /* Members and locks of all the cycles of one tangle that are kept. */
    limit_cycle_nodes = 1 << 21,
};

/* Segments and mappings: the kernel's vm.max_map_count is at most 2^31, in practice 65,530 to 1,048,576. */
static const uint64_t limit_segments = 4u << 20;
/* Goroutines: a g and its smallest stack take 2.4 KB, so that 2^24 are 40 GB. */
static const uint64_t limit_goroutines = 1u << 24;
/* Bytes read for the labels of all goroutines, about 2 seconds' worth: 1.3 million with labels of their own take half. */
static const uint64_t limit_labels_bytes = (uint64_t)2 << 30;
/* Argument values kept for all calls of all goroutines: 512 MB, enough for 1.3 million with 50 each. */
static const uint64_t limit_argument_values = 1u << 26;
/* Bytes of a core that are gone through for who refers to a channel, 0.1 seconds: of larger ones only stacks and
 * variables are. */
static const uint64_t limit_go_heap_bytes = (uint64_t)256 << 20;
/* Bytes of a Go program's memory that are gone through for what its goroutines can still come to: 0.3 seconds. */
static const uint64_t limit_go_marked_bytes = (uint64_t)512 << 20;
/* Both, where one rule was asked for: some seconds. */
static const uint64_t limit_go_asked_bytes = (uint64_t)16 << 30;
/* Bytes of a Go program's type descriptors; the largest known program has 20 MB. */
static const uint64_t limit_go_types_bytes = (uint64_t)256 << 20;
/* Bytes of one table of a pclntab; the whole of the largest known program's is under 200 MB. */
static const uint64_t limit_go_table_bytes = 1u << 30;
/* Bytes of one kind of a Go module's data (bss, …) that are looked through: about 2 seconds' worth. */
static const uint64_t limit_go_range_bytes = (uint64_t)1 << 30;
/* Runs of text that the linker split a program into; one each 64 MB or so. */
static const uint64_t limit_go_text_sections = 4096;
/* Threads: the kernel's PID_MAX_LIMIT. */
static const uint64_t limit_threads = 4u << 20;
/* Bytes of an ELF image that is rebuilt from a core's memory (vdso, deleted libraries). */
static const uint64_t limit_memory_image_bytes = 1u << 30;
/* Bytes that .gnu_debugdata may unpack to. */
static const uint64_t limit_debugdata_bytes = 256u << 20;
/* Bytes of deleted programs and libraries that --save keeps. */
static const uint64_t limit_saved_code_bytes = 256u << 20;
/* Memory that unpacking .gnu_debugdata may take beside its output; xz -9 asks for 65 MiB. */
static const uint64_t limit_debugdata_decoder_bytes = 128u << 20;
/* Bytes of stacks taken from one libunwind child: 9 a frame. */
static const uint64_t limit_libunwind_answer_bytes = 256u << 20;
/* Bytes that are asked of a live target after its snapshot: locks' names and the like need some KB. */
static const uint64_t limit_asked_bytes = 64u << 20;
/* Bytes of data of live Go programs that are looked through for the runtime: large ones have 40 MB … */
static const uint64_t limit_go_data_bytes = (uint64_t)256 << 20;
/* … and of what they point to … */
static const uint64_t limit_go_search_bytes = (uint64_t)256 << 20;
/* … and of the words with pointers that are copied in the stop, 4 milliseconds' worth. */
static const uint64_t limit_go_stopped_data_bytes = (uint64_t)16 << 20;
/* Bytes of what is found in the stop to be waited for, read page by page: 20 milliseconds' worth. */
static const uint64_t limit_go_chased_bytes = (uint64_t)64 << 20;
/* Address space for copies of goroutines, 1 KB or so each; only what is copied is used. */
static const uint64_t limit_go_copied_bytes = (uint64_t)8 << 30;
/* Address space for the stacks of one live snapshot; only what is copied is used. */
static const uint64_t limit_stacks_bytes = (uint64_t)4 << 30;
/* Bytes of one table of sockets, of all its network namespace: 150 a line, about 2 seconds. */
static const uint64_t limit_proc_table_bytes = (uint64_t)256 << 20;
/* Bytes that a packed core is unpacked to; zeros take no room on disk, but about a minute for this many. */
static const uint64_t limit_unpacked_bytes = (uint64_t)256 << 30;
/* Bytes of one text dump; Go stops at 64 MiB, files that collect several grow larger. */
static const uint64_t limit_text_bytes = (uint64_t)2 << 30;
/* Anonymous memory of one analysis, arenas only. */
static const uint64_t limit_arena_bytes = (uint64_t)4 << 30;

#endif
