/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The same instructions and the same addresses whatever the keys and texts are, for every
 * instruction set that the machine has, AVX-512 included.
 *
 * A burst runs twice with different secrets, all else equal, one instruction at a time (the trap
 * flag). The instruction pointers must agree at each step, and so must every register that an
 * address is made of, or that an instruction of varying duration (division) works on. Which
 * registers these are is taken from the disassembly of this program and of libsodium. A mask that
 * keeps bytes of a vector access off is not looked at.
 */
#include "aead.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "aead_each.h"
#include "secret_burst.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <dlfcn.h>
#include <ucontext.h>

#define STEPS_MAX 3000000

/* Registers that an instruction makes addresses of: a set of bits, and above it one more than the
 * number of a vector register, for gathers. */
#define VECTOR_SHIFT 16

static const struct {
	const char *name;
	int greg;
} registers[] = {{"rax", REG_RAX}, {"rbx", REG_RBX}, {"rcx", REG_RCX}, {"rdx", REG_RDX},
	{"rsi", REG_RSI}, {"rdi", REG_RDI}, {"rbp", REG_RBP}, {"rsp", REG_RSP}, {"r8", REG_R8},
	{"r9", REG_R9}, {"r10", REG_R10}, {"r11", REG_R11}, {"r12", REG_R12}, {"r13", REG_R13},
	{"r14", REG_R14}, {"r15", REG_R15}};
#define N_REGISTERS (sizeof(registers) / sizeof(registers[0]))

static struct object {
	const char *path;
	uintptr_t base;
	uint32_t *uses; /* by offset of the instruction */
	size_t len;
} objects[2];

/* One instruction about to run, and what it makes addresses of. */
struct step {
	uintptr_t rip;
	uint64_t used;
};

static struct trace {
	struct step steps[STEPS_MAX];
	unsigned long n, n_first; /* so far in this run; of the first run */
	bool first;
	const char *wrong; /* in the second run: what first went another way */
	uintptr_t wrong_at, wrong_after;
} trace;

static struct secret_burst burst;
static const struct aead_impl *impl;

/* --- the disassembly --- */

static uint32_t register_bit(const char *name, size_t len)
{
	for (unsigned i = 0; i < N_REGISTERS; i++) {
		if (strlen(registers[i].name) == len && memcmp(registers[i].name, name, len) == 0)
			return 1u << i;
	}
	if (len > 3 && memcmp(name + 1, "mm", 2) == 0)
		return (uint32_t)(strtoul(name + 3, NULL, 10) + 1) << VECTOR_SHIFT;
	return 0; /* rip */
}

/* All names within parentheses: disp(%base,%index,scale). */
static uint32_t uses_of(const char *insn)
{
	uint32_t uses = 0;
	bool inside = false;

	if (strncmp(insn, "lea", 3) == 0 || strncmp(insn, "nop", 3) == 0 ||
		strncmp(insn, "cs nop", 6) == 0 || strncmp(insn, "data16", 6) == 0)
		return 0;
	if (strncmp(insn, "div", 3) == 0 || strncmp(insn, "idiv", 4) == 0)
		uses |= register_bit("rax", 3) | register_bit("rdx", 3);
	for (; *insn != '\0' && *insn != '#' && *insn != '<'; insn++) {
		if (*insn == '(' || *insn == ')')
			inside = *insn == '(';
		else if (inside && *insn == '%')
			uses |= register_bit(insn + 1, strcspn(insn + 1, ",)"));
	}
	return uses;
}

static void disassemble(struct object *object)
{
	char command[4200], line[512];

	snprintf(command, sizeof(command), "objdump -d --no-show-raw-insn '%s'", object->path);
	FILE *pipe = popen(command, "r");
	assert_non_null(pipe);
	while (fgets(line, sizeof(line), pipe) != NULL) {
		char *end;
		unsigned long at = strtoul(line, &end, 16);

		if (end == line || *end != ':' || line[0] != ' ')
			continue;
		if (at >= object->len) {
			size_t len = (at + 65536) & ~(size_t)65535;

			object->uses = realloc(object->uses, len * sizeof(uint32_t));
			assert_non_null(object->uses);
			memset(object->uses + object->len, 0,
				(len - object->len) * sizeof(uint32_t));
			object->len = len;
		}
		object->uses[at] = uses_of(end + 1 + strspn(end + 1, " \t"));
	}
	assert_int_equal(pclose(pipe), 0);
	assert_true(object->len > 0);
}

static void objects_find(void)
{
	static char exe[4096];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	void *sodium = dlsym(RTLD_DEFAULT, "sodium_memcmp");
	Dl_info info;

	assert_true(n > 0);
	assert_non_null(sodium);
	assert_true(dladdr(sodium, &info) != 0);
	objects[0] = (struct object){.path = info.dli_fname, .base = (uintptr_t)info.dli_fbase};
	assert_true(dladdr((void *)objects_find, &info) != 0);
	objects[1] = (struct object){.path = exe, .base = (uintptr_t)info.dli_fbase};
	for (int i = 0; i < 2; i++)
		disassemble(&objects[i]);
}

static uint32_t uses_at(uintptr_t rip)
{
	for (int i = 0; i < 2; i++) {
		if (rip >= objects[i].base && rip - objects[i].base < objects[i].len)
			return objects[i].uses[rip - objects[i].base];
	}
	return 0;
}

/* --- the steps --- */

/* Where XSAVE puts a component of the vector registers; 0: not here. */
static size_t xsave_offset(unsigned component)
{
	unsigned a, b, c, d;

	if (!__get_cpuid_count(0xd, component, &a, &b, &c, &d))
		return 0;
	return a != 0 ? b : 0;
}

static uint64_t mix(uint64_t sum, uint64_t word)
{
	return (sum ^ word) * 0x9e3779b97f4a7c15;
}

static uint64_t bytes_sum(uint64_t sum, const uint8_t *p, size_t len)
{
	uint64_t word;

	for (size_t i = 0; i + 8 <= len; i += 8) {
		memcpy(&word, p + i, 8);
		sum = mix(sum, word);
	}
	return sum;
}

/* All of the vector register, as the signal's frame has it: what XSAVE left out is zero. */
static uint64_t vector_sum(const uint8_t *frame, unsigned number)
{
	static const unsigned in_use_at = 512; /* the header of XSAVE */
	uint64_t in_use, sum = 1;

	memcpy(&in_use, frame + in_use_at, 8);
	if (number >= 16)
		return in_use >> 7 & 1
			       ? bytes_sum(sum, frame + xsave_offset(7) + (number - 16) * 64, 64)
			       : sum;
	if (in_use >> 1 & 1)
		sum = bytes_sum(sum, frame + 160 + number * 16, 16);
	if (in_use >> 2 & 1)
		sum = bytes_sum(sum, frame + xsave_offset(2) + number * 16, 16);
	if (in_use >> 6 & 1)
		sum = bytes_sum(sum, frame + xsave_offset(6) + number * 32, 32);
	return sum;
}

static uint64_t used_sum(const mcontext_t *context, uint32_t uses)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < N_REGISTERS; i++) {
		if (uses >> i & 1)
			sum = mix(sum, (uint64_t)context->gregs[registers[i].greg]);
	}
	if (uses >> VECTOR_SHIFT != 0)
		sum = mix(sum,
			vector_sum((const uint8_t *)context->fpregs, (uses >> VECTOR_SHIFT) - 1));
	return sum;
}

static void wrong(const char *what, uintptr_t at)
{
	trace.wrong = what;
	trace.wrong_at = at;
	trace.wrong_after = trace.n > 0 ? trace.steps[trace.n - 1].rip : 0;
}

static void on_trap(int signal, siginfo_t *info, void *context)
{
	const mcontext_t *machine = &((ucontext_t *)context)->uc_mcontext;
	uintptr_t rip = (uintptr_t)machine->gregs[REG_RIP];
	struct step step = {rip, used_sum(machine, uses_at(rip))}, *slot;

	if (trace.wrong != NULL || trace.n >= STEPS_MAX)
		return;
	slot = &trace.steps[trace.n];
	if (trace.first)
		*slot = step;
	else if (trace.n >= trace.n_first || slot->rip != rip)
		wrong("a branch", rip);
	else if (slot->used != step.used)
		wrong("an address or a division", rip);
	trace.n++;
}

/* Below the red zone, which may be in use here. */
static inline __attribute__((always_inline)) void trap_flag(bool on)
{
	if (on)
		__asm__ volatile("lea -128(%%rsp), %%rsp\n\tpushfq\n\torq $0x100, (%%rsp)\n\t"
				 "popfq\n\tlea 128(%%rsp), %%rsp" ::
					 : "cc", "memory");
	else
		__asm__ volatile("lea -128(%%rsp), %%rsp\n\tpushfq\n\tandq $~0x100, (%%rsp)\n\t"
				 "popfq\n\tlea 128(%%rsp), %%rsp" ::
					 : "cc", "memory");
}

static __attribute__((noinline)) void run_traced(void (*call)(struct aead_item *items, unsigned n))
{
	trace.n = 0;
	trap_flag(true);
	call(burst.items, burst.n);
	trap_flag(false);
}

static void where_print(uintptr_t rip)
{
	for (int i = 0; i < 2; i++) {
		if (rip >= objects[i].base && rip - objects[i].base < objects[i].len)
			print_message("%s+%#lx ", objects[i].path,
				(unsigned long)(rip - objects[i].base));
	}
}

/* How many instructions; trace.wrong when they were not the same. */
static unsigned long run_twice(const struct secret_kind *kind, bool opening)
{
	void (*call)(struct aead_item *, unsigned) = opening ? impl->open : impl->seal;

	/* Functions are bound at their first call. */
	secret_burst_fill(&burst, kind, 3, opening);
	call(burst.items, burst.n);
	trace.wrong = NULL;
	trace.first = true;
	secret_burst_fill(&burst, kind, 1, opening);
	run_traced(call);
	trace.first = false;
	trace.n_first = trace.n;
	secret_burst_fill(&burst, kind, 2, opening);
	run_traced(call);
	return trace.n;
}

static void each_kind(bool opening)
{
	unsigned long n = 0;

	impl = aead_chosen();
	for (unsigned k = 0; k < N_SECRET_KINDS; k++) {
		/* Valgrind sees the whole of the portable one, and a step takes 20 us. */
		if (strcmp(impl->name, "portable") == 0 && secret_kinds[k].n > 1)
			continue;
		n += run_twice(&secret_kinds[k], opening);
		assert_true(trace.n < STEPS_MAX);
		if (trace.wrong == NULL)
			continue;
		where_print(trace.wrong_after);
		where_print(trace.wrong_at);
		fail_msg("%s, %s: %s depends on secrets", secret_kinds[k].name,
			opening ? "open" : "seal", trace.wrong);
	}
	assert_true(n > 1000);
	print_message("%s: %lu instructions\n", impl->name, n);
}

static void seal_burst(void **state)
{
	each_kind(false);
}

static void open_burst(void **state)
{
	each_kind(true);
}

/* The look itself: it must see a branch and an index. */
static volatile uint8_t table[256 + 4];

static void leaky(struct aead_item *items, unsigned n)
{
	for (int i = 0; i < 32; i++) {
		if (items[0].key->bytes[i] & 1)
			__asm__ volatile("nop" ::: "memory");
	}
}

static void leaky_index(struct aead_item *items, unsigned n)
{
	table[items[0].key->bytes[0]]++;
}

/* Only where there is AVX2. */
static void leaky_gather(struct aead_item *items, unsigned n)
{
	const uint8_t *key = items[0].key->bytes;

	__asm__ volatile("vpxor %%xmm2, %%xmm2, %%xmm2\n\t"
			 "vpcmpeqd %%xmm3, %%xmm3, %%xmm3\n\t"
			 "vpmovzxbd (%[key]), %%xmm1\n\t"
			 "vpgatherdd %%xmm3, (%[table],%%xmm1,1), %%xmm2\n\t"
			 :
			 : [key] "r"(key), [table] "r"(table)
			 : "xmm1", "xmm2", "xmm3", "memory");
}

static void leaks_are_seen(void **state)
{
	static const struct aead_impl leaks = {"leaky", leaky, leaky_index, NULL};
	static const struct aead_impl leaks_of_vectors = {"leaky", leaky_gather, NULL, NULL};

	impl = &leaks;
	run_twice(&secret_kinds[0], false);
	assert_string_equal(trace.wrong, "a branch");
	run_twice(&secret_kinds[0], true);
	assert_string_equal(trace.wrong, "an address or a division");
	if (__builtin_cpu_supports("avx2")) {
		impl = &leaks_of_vectors;
		run_twice(&secret_kinds[0], false);
		assert_string_equal(trace.wrong, "an address or a division");
	}
}

static void tracing_prepare(void)
{
	struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	static uint8_t below[65536];
	stack_t stack = {.ss_sp = below, .ss_size = sizeof(below)};

	objects_find();
	assert_int_equal(sigaltstack(&stack, NULL), 0);
	assert_int_equal(sigaction(SIGTRAP, &action, NULL), 0);
}

#define TESTS                                                              \
	{                                                                  \
		cmocka_unit_test(seal_burst), cmocka_unit_test(open_burst) \
	}
static const struct CMUnitTest first[] = {cmocka_unit_test(leaks_are_seen)};

#else

static void other_architecture(void **state)
{
	print_message("instructions are traced on x86-64 only\n");
	skip();
}

static void tracing_prepare(void)
{
}

#define TESTS                                        \
	{                                            \
		cmocka_unit_test(other_architecture) \
	}
static const struct CMUnitTest first[] = {cmocka_unit_test(other_architecture)};

#endif

int main(void)
{
	static const struct CMUnitTest tests[] = TESTS;
	int n_failed;

	tracing_prepare();
	n_failed = cmocka_run_group_tests_name("the tracer", first, NULL, NULL);
	return n_failed + aead_each(tests, sizeof(tests) / sizeof(tests[0]));
}
