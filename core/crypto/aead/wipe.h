/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The last thing that a burst does: nothing of its keys stays where a caller, or whatever runs
 * next, could read it. Tests compare all registers and the whole stack after the call.
 */
#pragma once

#include <stdint.h>

#if defined(__x86_64__)

#define AEAD_WIPE_XMM(i) "pxor %%xmm" #i ", %%xmm" #i "\n\t"
/* Clears all of zmm, without the clock that some pay for 512 bits. */
#define AEAD_WIPE_HIGH(i) "vpxord %%xmm" #i ", %%xmm" #i ", %%xmm" #i "\n\t"

/* Zeroes `depth` bytes of stack below this frame (a multiple of 8), and the general registers that
 * a callee need not save. */
static inline __attribute__((always_inline)) void wipe_stack(unsigned long depth)
{
	unsigned long words = depth / 8;

	__asm__ volatile("sub %[depth], %%rsp\n\t"
			 "mov %%rsp, %%rdi\n\t"
			 "xor %%eax, %%eax\n\t"
			 "rep stosq\n\t"
			 "add %[depth], %%rsp\n\t"
			 "xor %%edx, %%edx\n\t"
			 "xor %%esi, %%esi\n\t"
			 "xor %%edi, %%edi\n\t"
			 "xor %%r8d, %%r8d\n\t"
			 "xor %%r9d, %%r9d\n\t"
			 "xor %%r10d, %%r10d\n\t"
			 "xor %%r11d, %%r11d\n\t"
			 : "+c"(words)
			 : [depth] "i"(depth)
			 : "rax", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "cc", "memory");
}

#define AEAD_XMM_CLOBBERS                                                                        \
	"xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", \
		"xmm11", "xmm12", "xmm13", "xmm14", "xmm15"

static inline __attribute__((always_inline)) void wipe_vectors_sse(void)
{
	/* clang-format off */
	__asm__ volatile(
		AEAD_WIPE_XMM(0) AEAD_WIPE_XMM(1) AEAD_WIPE_XMM(2) AEAD_WIPE_XMM(3)
		AEAD_WIPE_XMM(4) AEAD_WIPE_XMM(5) AEAD_WIPE_XMM(6) AEAD_WIPE_XMM(7)
		AEAD_WIPE_XMM(8) AEAD_WIPE_XMM(9) AEAD_WIPE_XMM(10) AEAD_WIPE_XMM(11)
		AEAD_WIPE_XMM(12) AEAD_WIPE_XMM(13) AEAD_WIPE_XMM(14) AEAD_WIPE_XMM(15)
		: : : AEAD_XMM_CLOBBERS);
	/* clang-format on */
}

/* zmm0 to zmm15 whole, where these are. */
static inline __attribute__((always_inline)) void wipe_vectors_avx(void)
{
	__asm__ volatile("vzeroall" ::: AEAD_XMM_CLOBBERS);
}

/* All 32; needs AVX-512VL. */
static inline __attribute__((always_inline)) void wipe_vectors_avx512(void)
{
	/* clang-format off */
	__asm__ volatile(
		AEAD_WIPE_HIGH(16) AEAD_WIPE_HIGH(17) AEAD_WIPE_HIGH(18) AEAD_WIPE_HIGH(19)
		AEAD_WIPE_HIGH(20) AEAD_WIPE_HIGH(21) AEAD_WIPE_HIGH(22) AEAD_WIPE_HIGH(23)
		AEAD_WIPE_HIGH(24) AEAD_WIPE_HIGH(25) AEAD_WIPE_HIGH(26) AEAD_WIPE_HIGH(27)
		AEAD_WIPE_HIGH(28) AEAD_WIPE_HIGH(29) AEAD_WIPE_HIGH(30) AEAD_WIPE_HIGH(31)
		: : : "cc"
#ifdef __AVX512F__
		, "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23",
		"xmm24", "xmm25", "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31"
#endif
	);
	/* clang-format on */
	wipe_vectors_avx();
}

/* What the machine has: memcpy may use all 32 wherever they are. */
static inline __attribute__((always_inline)) void wipe_vectors(void)
{
	if (__builtin_cpu_supports("avx512vl"))
		wipe_vectors_avx512();
	else if (__builtin_cpu_supports("avx"))
		wipe_vectors_avx();
	else
		wipe_vectors_sse();
}

#endif
