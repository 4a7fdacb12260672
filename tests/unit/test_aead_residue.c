/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * After a burst no implementation leaves key material, or anything else that depends on keys and
 * texts, in the registers that a caller may read or on the stack below.
 *
 * Each burst runs twice with different keys and texts, on a stack of its own, from cleared vector
 * registers, all else the same. Whatever byte of the registers or of that stack differs afterwards,
 * but for tags as they are sent, depends on the secrets: exact, and no list of what to look for is
 * needed.
 */
#include "aead_each.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "secret_burst.h"

#if defined(__x86_64__)

#define STACK_LEN (256 * 1024)

typedef void burst_fn(struct aead_item *items, unsigned n);

enum vectors { VECTORS_SSE, VECTORS_AVX, VECTORS_AVX512 };

/* What the callee may leave anything in. */
struct registers {
	uint64_t general[9]; /* rax rcx rdx rsi rdi r8 r9 r10 r11 */
	uint8_t vector[32][64];
};

struct leftover {
	struct registers registers;
	uint8_t stack[STACK_LEN];
};

static _Alignas(4096) uint8_t stack[STACK_LEN];
static struct secret_burst burst;
static struct leftover left[2];

static enum vectors vectors_here(void)
{
	if (__builtin_cpu_supports("avx512f"))
		return VECTORS_AVX512;
	return __builtin_cpu_supports("avx") ? VECTORS_AVX : VECTORS_SSE;
}

#define EACH_LOW(X) \
	X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define EACH_HIGH(X) \
	X(16)        \
	X(17) X(18) X(19) X(20) X(21) X(22) X(23) X(24) X(25) X(26) X(27) X(28) X(29) X(30) X(31)
#define CLEAR_XMM(i) "pxor %%xmm" #i ", %%xmm" #i "\n\t"
#define CLEAR_ZMM(i) "vpxord %%zmm" #i ", %%zmm" #i ", %%zmm" #i "\n\t"
#define STORE_XMM(i) "movdqu %%xmm" #i ", 72 + 64 * " #i "(%%r12)\n\t"
#define STORE_YMM(i) "vmovdqu %%ymm" #i ", 72 + 64 * " #i "(%%r12)\n\t"
#define STORE_ZMM(i) "vmovdqu64 %%zmm" #i ", 72 + 64 * " #i "(%%r12)\n\t"

/* In one piece, so that the compiler can put nothing between the callee and the look; at one place,
 * since its address is on the stack, too. */
static __attribute__((noinline)) void call_on_stack(
	burst_fn *call, struct aead_item *items, unsigned n, uint8_t *top, struct registers *out)
{
	register struct registers *out_at __asm__("r12") = out;
	register burst_fn *callee __asm__("r13") = call;
	register uint8_t *stack_top __asm__("r14") = top;
	register unsigned long kind __asm__("r15") = vectors_here();

	__asm__ volatile("mov %%rsp, %%rbx\n\t"
			 "mov %%r14, %%rsp\n\t"
			 "cmp $1, %%r15\n\t"
			 "jb 1f\n\t"
			 "je 2f\n\t" /* */
			 EACH_HIGH(CLEAR_ZMM) "2: vzeroall\n\t"
					      "1:\n\t" /* */
			 EACH_LOW(CLEAR_XMM) "call *%%r13\n\t"
					     "mov %%rbx, %%rsp\n\t"
					     "mov %%rax, 0(%%r12)\n\t"
					     "mov %%rcx, 8(%%r12)\n\t"
					     "mov %%rdx, 16(%%r12)\n\t"
					     "mov %%rsi, 24(%%r12)\n\t"
					     "mov %%rdi, 32(%%r12)\n\t"
					     "mov %%r8, 40(%%r12)\n\t"
					     "mov %%r9, 48(%%r12)\n\t"
					     "mov %%r10, 56(%%r12)\n\t"
					     "mov %%r11, 64(%%r12)\n\t"
					     "cmp $1, %%r15\n\t"
					     "jb 3f\n\t"
					     "je 4f\n\t" /* */
			 EACH_LOW(STORE_ZMM) EACH_HIGH(STORE_ZMM) "jmp 5f\n\t"
								  "4:\n\t" /* */
			 EACH_LOW(STORE_YMM) "jmp 5f\n\t"
					     "3:\n\t" /* */
			 EACH_LOW(STORE_XMM) "5:\n\t"
			 : "+D"(items), "+S"(n)
			 : "r"(out_at), "r"(callee), "r"(stack_top), "r"(kind)
			 : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "xmm0", "xmm1",
			 "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
			 "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "cc", "memory");
}

/* Tags are no secrets: those that came, and those that sealing makes. */
static void tags_blank(uint8_t *at, size_t len, bool opening)
{
	for (unsigned i = 0; i < burst.n; i++) {
		const struct aead_item *item = &burst.items[i];
		const uint8_t *tag = item->dst + item->src[0].len - (opening ? AEAD_TAG_LEN : 0);

		for (int half = 0; half < AEAD_TAG_LEN; half += 8) {
			uint8_t *found = at;

			while ((found = memmem(found, (size_t)(at + len - found), tag + half, 8)) !=
				NULL)
				memset(found, 0, 8);
		}
	}
}

static void run_once(
	const struct secret_kind *kind, uint64_t seed, bool opening, struct leftover *after)
{
	const struct aead_impl *impl = aead_chosen();
	/* At one place: its address is saved on the stack. */
	static struct registers registers;

	secret_burst_fill(&burst, kind, seed, opening);
	memset(stack, 0, sizeof(stack));
	call_on_stack(opening ? impl->open : impl->seal, burst.items, burst.n, stack + STACK_LEN,
		&registers);
	after->registers = registers;
	memcpy(after->stack, stack, sizeof(stack));
	tags_blank(after->stack, sizeof(stack), opening);
	tags_blank((uint8_t *)&after->registers, sizeof(registers), opening);
}

static unsigned differences(const char *where, const void *a, const void *b, size_t len)
{
	const uint8_t *x = a, *y = b;
	unsigned n = 0;

	for (size_t i = 0; i < len; i++) {
		if (x[i] == y[i])
			continue;
		if (n == 0)
			print_message("%s: first at %zu of %zu\n", where, i, len);
		n++;
	}
	return n;
}

static void nothing_left(const struct secret_kind *kind, bool opening)
{
	/* The first run binds functions lazily, which leaves its own traces. */
	run_once(kind, 3, opening, &left[0]);
	run_once(kind, 1, opening, &left[0]);
	run_once(kind, 2, opening, &left[1]);
	unsigned n = differences("general registers", left[0].registers.general,
		left[1].registers.general, sizeof(left[0].registers.general));
	n += differences("vector registers", left[0].registers.vector, left[1].registers.vector,
		sizeof(left[0].registers.vector));
	n += differences("stack", left[0].stack, left[1].stack, STACK_LEN);
	if (n > 0)
		fail_msg("%s, %s: %u bytes that depend on secrets", kind->name,
			opening ? "open" : "seal", n);
}

static void after_seal(void **state)
{
	for (unsigned k = 0; k < N_SECRET_KINDS; k++)
		nothing_left(&secret_kinds[k], false);
}

static void after_open(void **state)
{
	for (unsigned k = 0; k < N_SECRET_KINDS; k++)
		nothing_left(&secret_kinds[k], true);
}

#define TESTS                                                              \
	{                                                                  \
		cmocka_unit_test(after_seal), cmocka_unit_test(after_open) \
	}

#else

static void other_architecture(void **state)
{
	print_message("registers and stack are looked at on x86-64 only\n");
	skip();
}

#define TESTS                                        \
	{                                            \
		cmocka_unit_test(other_architecture) \
	}

#endif

int main(void)
{
	static const struct CMUnitTest tests[] = TESTS;

	return aead_each(tests, sizeof(tests) / sizeof(tests[0]));
}
