/* SPDX-License-Identifier: BSD-3-Clause */
/* Apart from the kernel, and compiled without its instructions: this runs on any machine. */
#include "aes_gcm.h"

#include "aes_gcm_vaes.h"

#if defined(__x86_64__)

/* The compiler's runtime also asks the operating system whether it saves the registers. */
static bool vaes_usable(void)
{
	__builtin_cpu_init();
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
	       __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("vaes") &&
	       __builtin_cpu_supports("vpclmulqdq") && __builtin_cpu_supports("aes") &&
	       __builtin_cpu_supports("pclmul");
}

const struct aes_gcm *aes_gcm(void)
{
	return vaes_usable() ? &aes_gcm_vaes : NULL;
}

#else

const struct aes_gcm *aes_gcm(void)
{
	return NULL;
}

#endif
