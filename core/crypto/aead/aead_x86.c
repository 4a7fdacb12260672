/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The x86 kernels' entries of the table. Apart from the kernels, and compiled without their
 * instructions: this much runs on any machine. Any thread.
 */
#include "aead.h"
#include "impls.h"
#include "start.h"

static bool avx2_usable(void)
{
	__builtin_cpu_init();
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
}

const struct aead_impl aead_avx2 = {
	.name = "avx2",
	.seal = aead_avx2_seal,
	.open = aead_avx2_open,
	.usable = avx2_usable,
};

/* The compiler's runtime also asks the operating system (XGETBV) whether it saves the registers. */
static bool avx512_usable(void)
{
	crypto_start(); /* libsodium does the rare packets */
	__builtin_cpu_init();
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
	       __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
	       __builtin_cpu_supports("avx512ifma") && __builtin_cpu_supports("avx512vbmi2") &&
	       __builtin_cpu_supports("bmi2");
}

const struct aead_impl aead_avx512 = {
	.name = "avx512",
	.seal = aead_avx512_seal,
	.open = aead_avx512_open,
	.usable = avx512_usable,
};
