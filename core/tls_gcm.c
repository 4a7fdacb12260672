/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * By ipsec-mb's functions for single messages, which keep nothing between calls but the key. They
 * clear what they leave in registers and on the stack; what is here is cleared here.
 */
#include "tls_gcm.h"

#include <intel-ipsec-mb.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "secret.h"

static IMB_MGR *mb; /* a table of functions, once made */

/* By name rather than by init_mb_mgr_auto, which asks the processor alone: the compiler's runtime
 * also asks whether the operating system saves the registers. */
static void choose(void)
{
	__builtin_cpu_init();
	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("aes") ||
		!__builtin_cpu_supports("pclmul"))
		return;
	mb = alloc_mb_mgr(0);
	if (!mb)
		return;
	/* clang 14 knows no "vaes"; the instructions alone are no matter of the operating system */
	if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
		(mb->features & IMB_FEATURE_VAES) && (mb->features & IMB_FEATURE_VPCLMULQDQ))
		init_mb_mgr_avx512(mb);
	else
		init_mb_mgr_avx2(mb);
	if (imb_get_errno(mb)) {
		free_mb_mgr(mb);
		mb = NULL;
	}
}

bool tls_gcm_usable(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, choose);
	return mb;
}

const char *tls_gcm_why_not(void)
{
	return tls_gcm_usable() ? NULL : "this machine lacks AVX2, AES or PCLMULQDQ";
}

struct gcm_key_data *tls_gcm_key(struct gcm_key_data *old, const uint8_t *bytes)
{
	struct gcm_key_data *key = old ? old : malloc(sizeof(*key));

	if (key)
		IMB_AES128_GCM_PRE(mb, bytes, key);
	return key;
}

void tls_gcm_free(struct gcm_key_data *key)
{
	if (key)
		secret_zero(key, sizeof(*key));
	free(key);
}

void tls_gcm_seal(const struct gcm_key_data *key, const uint8_t nonce[static TLS_IV_LEN],
	const struct tls_inner *inner, uint8_t *record)
{
	struct gcm_context_data pass;
	uint8_t *to = record + TLS_HEADER_LEN;

	IMB_AES128_GCM_INIT(mb, key, &pass, nonce, record, TLS_HEADER_LEN);
	IMB_AES128_GCM_ENC_UPDATE(mb, key, &pass, to, inner->text, inner->len);
	to += inner->len;
	IMB_AES128_GCM_ENC_UPDATE(mb, key, &pass, to, &inner->type, 1);
	IMB_AES128_GCM_ENC_FINALIZE(mb, key, &pass, to + 1, TLS_TAG_LEN);
	secret_zero(&pass, sizeof(pass));
}

bool tls_gcm_open(const struct gcm_key_data *key, const uint8_t nonce[static TLS_IV_LEN],
	const uint8_t *record, size_t len, uint8_t *to)
{
	size_t text_len = len - TLS_HEADER_LEN - TLS_TAG_LEN;
	struct gcm_context_data pass;
	uint8_t tag[TLS_TAG_LEN];
	bool right;

	IMB_AES128_GCM_DEC(mb, key, &pass, to, record + TLS_HEADER_LEN, text_len, nonce, record,
		TLS_HEADER_LEN, tag, sizeof(tag));
	right = !CRYPTO_memcmp(tag, record + len - TLS_TAG_LEN, sizeof(tag));
	if (!right)
		memset(to, 0, text_len);
	secret_zero(&pass, sizeof(pass));
	secret_zero(tag, sizeof(tag)); /* the right one of a forged message */
	return right;
}
