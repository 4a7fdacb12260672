/* SPDX-License-Identifier: BSD-3-Clause */
/* Apart from the kernel, and compiled without its instructions: this runs on any machine. */
#include "x25519_avx512.h"

/* The compiler's runtime also asks the operating system whether it saves the registers. */
bool x25519_avx512_usable(void)
{
	__builtin_cpu_init();
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512ifma");
}
