/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The x86 kernels' entries of the table. Apart from the kernels, and compiled without their
 * instructions: this much runs on any machine. Any thread.
 */
#include "aead.h"
#include "impls.h"
#include "start.h"

#include <cpuid.h>

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
static bool avx512_there(void)
{
	__builtin_cpu_init();
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
	       __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
	       __builtin_cpu_supports("avx512ifma") && __builtin_cpu_supports("avx512vbmi2") &&
	       __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt");
}

/* AMD from Zen 5 on starts four vector instructions a cycle and waits two for each; the others, as
 * far as is known, start two and wait one. */
static bool has_four_pipes(void)
{
	unsigned eax, ebx, ecx, edx, family;

	if (!__builtin_cpu_is("amd") || !__get_cpuid(1, &eax, &ebx, &ecx, &edx))
		return false;
	family = eax >> 8 & 0xf;
	if (family == 0xf)
		family += eax >> 20 & 0xff;
	return family >= 0x1a;
}

bool aead_avx512_one_state;

static bool avx512_usable(void)
{
	crypto_start(); /* libsodium does the rare packets */
	if (!avx512_there())
		return false;
	aead_avx512_one_state = !has_four_pipes();
	return true;
}

static bool avx512_1x16_usable(void)
{
	crypto_start();
	return avx512_there();
}

const struct aead_impl aead_avx512 = {
	.name = "avx512",
	.seal = aead_avx512_seal,
	.open = aead_avx512_open,
	.usable = avx512_usable,
};

const struct aead_impl aead_avx512_1x16 = {
	.name = "avx512-1x16",
	.seal = aead_avx512_1x16_seal,
	.open = aead_avx512_1x16_open,
	.usable = avx512_1x16_usable,
};
