/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * X25519 leaves nothing on the stack that depends on a private key. Each function runs twice with
 * different keys on a stack of its own, all else the same: whatever byte of the stack differs
 * afterwards depends on a secret.
 */
#include "x25519.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <ucontext.h>

#include <cmocka.h>

#include "prng.h"
#include "x25519_avx512.h"

#define STACK_LEN (256 * 1024)

static _Alignas(4096) uint8_t stack[STACK_LEN], before[STACK_LEN];
static struct private_key private_key;
static struct public_key public_key;
static uint8_t out[2][32];
static bool ok;

static void run_public(void)
{
	x25519_public((struct public_key *)out[0], &private_key);
}

static void run_shared(void)
{
	ok = x25519_shared(out[0], &private_key, &public_key);
}

static void run_pair(void)
{
	const struct x25519_input in[2] = {
		{&private_key, &public_key}, {&private_key, &x25519_base}};

	ok = x25519_shared_pair(out, in);
}

static void run_on_own_stack(void (*run)(void))
{
	ucontext_t here, there;

	memset(stack, 0, sizeof(stack));
	getcontext(&there);
	there.uc_stack.ss_sp = stack;
	there.uc_stack.ss_size = sizeof(stack);
	there.uc_link = &here;
	makecontext(&there, run, 0);
	swapcontext(&here, &there);
}

static size_t bytes_left(void (*run)(void))
{
	struct prng prng = {3};
	size_t n = 0;

	run_on_own_stack(run); /* what is done once is done */
	prng_fill(&prng, &public_key, sizeof(public_key));
	for (int i = 0; i < 2; i++) {
		prng_fill(&prng, &private_key, sizeof(private_key));
		memcpy(before, stack, sizeof(stack));
		run_on_own_stack(run);
	}
	for (size_t i = 0; i < STACK_LEN; i++)
		n += stack[i] != before[i];
	return n;
}

static void nothing_left(void **state)
{
	(void)state;
#if defined(__x86_64__)
	if (x25519_avx512_usable()) {
		assert_int_equal(bytes_left(run_public), 0);
		assert_int_equal(bytes_left(run_shared), 0);
		assert_int_equal(bytes_left(run_pair), 0);
		return;
	}
#endif
	print_message("without AVX-512 it is libsodium that leaves something or not\n");
	skip();
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_left)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
