/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ipsec-mb by its job interface, each packet a job with its own key, and as many in flight as the
 * manager takes. Both managers, so that each of our kernels meets the one of its instruction set.
 * The tag is compared here, as any user of it has to.
 */
#include <err.h>
#include <string.h>

#include <intel-ipsec-mb.h>
#include <sodium.h>

#include "methods.h"

static IMB_MGR *avx2, *avx512;

struct flight {
	uint8_t nonce[AEAD_BURST_MAX][12];
	uint8_t tag[AEAD_BURST_MAX][AEAD_TAG_LEN];
};

static void job_common(IMB_JOB *job, const struct aead_item *item, uint8_t nonce[static 12])
{
	memset(nonce, 0, 4);
	memcpy(nonce + 4, item->nonce, 8);
	job->cipher_mode = IMB_CIPHER_CHACHA20_POLY1305;
	job->hash_alg = IMB_AUTH_CHACHA20_POLY1305;
	job->enc_keys = item->key->bytes;
	job->dec_keys = item->key->bytes;
	job->key_len_in_bytes = 32;
	job->iv = nonce;
	job->iv_len_in_bytes = 12;
	job->u.CHACHA20_POLY1305.aad = NULL;
	job->u.CHACHA20_POLY1305.aad_len_in_bytes = 0;
	job->src = item->src[0].data;
	job->dst = item->dst;
	job->cipher_start_src_offset_in_bytes = 0;
	job->hash_start_src_offset_in_bytes = 0;
	job->auth_tag_output_len_in_bytes = AEAD_TAG_LEN;
}

static void must_be_done(const IMB_JOB *job)
{
	if (job->status != IMB_STATUS_COMPLETED)
		errx(1, "ipsec-mb: a job ended with status %d", (int)job->status);
}

static void seal(IMB_MGR *manager, struct aead_item *items, unsigned n)
{
	struct flight flight;
	IMB_JOB *job;

	for (unsigned i = 0; i < n; i++) {
		job = IMB_GET_NEXT_JOB(manager);
		job_common(job, &items[i], flight.nonce[i]);
		job->cipher_direction = IMB_DIR_ENCRYPT;
		job->chain_order = IMB_ORDER_CIPHER_HASH;
		job->msg_len_to_cipher_in_bytes = items[i].src[0].len;
		job->msg_len_to_hash_in_bytes = items[i].src[0].len;
		job->auth_tag_output = items[i].dst + items[i].src[0].len;
		job = IMB_SUBMIT_JOB_NOCHECK(manager);
		for (; job != NULL; job = IMB_GET_COMPLETED_JOB(manager))
			must_be_done(job);
	}
	while ((job = IMB_FLUSH_JOB(manager)) != NULL)
		must_be_done(job);
}

static void opened(const IMB_JOB *job)
{
	struct aead_item *item = job->user_data;
	const uint8_t *tag = item->src[0].data + item->src[0].len - AEAD_TAG_LEN;

	must_be_done(job);
	item->ok = sodium_memcmp(job->auth_tag_output, tag, AEAD_TAG_LEN) == 0;
}

static void open(IMB_MGR *manager, struct aead_item *items, unsigned n)
{
	struct flight flight;
	IMB_JOB *job;

	for (unsigned i = 0; i < n; i++) {
		job = IMB_GET_NEXT_JOB(manager);
		job_common(job, &items[i], flight.nonce[i]);
		job->cipher_direction = IMB_DIR_DECRYPT;
		job->chain_order = IMB_ORDER_HASH_CIPHER;
		job->msg_len_to_cipher_in_bytes = items[i].src[0].len - AEAD_TAG_LEN;
		job->msg_len_to_hash_in_bytes = items[i].src[0].len - AEAD_TAG_LEN;
		job->auth_tag_output = flight.tag[i];
		job->user_data = &items[i];
		job = IMB_SUBMIT_JOB_NOCHECK(manager);
		for (; job != NULL; job = IMB_GET_COMPLETED_JOB(manager))
			opened(job);
	}
	while ((job = IMB_FLUSH_JOB(manager)) != NULL)
		opened(job);
}

static void avx2_seal(struct aead_item *items, unsigned n)
{
	seal(avx2, items, n);
}

static void avx2_open(struct aead_item *items, unsigned n)
{
	open(avx2, items, n);
}

static void avx512_seal(struct aead_item *items, unsigned n)
{
	seal(avx512, items, n);
}

static void avx512_open(struct aead_item *items, unsigned n)
{
	open(avx512, items, n);
}

struct kind {
	uint64_t needs; /* of IMB_FEATURE_ */
	void (*init)(IMB_MGR *manager);
	struct method method;
};

static bool manager_new(IMB_MGR **manager, const struct kind *kind)
{
	bool able;

	*manager = alloc_mb_mgr(0);
	if (*manager == NULL)
		errx(1, "ipsec-mb: no memory");
	/* asked first: 1.3 tests itself while it starts, and falls where instructions are missing
	 */
	able = ((*manager)->features & kind->needs) == kind->needs;
	if (able)
		kind->init(*manager);
	if (able && imb_get_errno(*manager) == 0)
		return true;
	warnx("%s: not on this machine", kind->method.name);
	free_mb_mgr(*manager);
	return false;
}

void ipsec_mb_find(void)
{
	static const struct kind with_avx2 = {IMB_CPUFLAGS_AVX2, init_mb_mgr_avx2,
		{"ipsec-mb-job-avx2", avx2_seal, avx2_open, false}};
	static const struct kind with_avx512 = {IMB_CPUFLAGS_AVX512, init_mb_mgr_avx512,
		{"ipsec-mb-job-avx512", avx512_seal, avx512_open, false}};

	if (manager_new(&avx2, &with_avx2))
		method_add(&with_avx2.method);
	if (manager_new(&avx512, &with_avx512))
		method_add(&with_avx512.method);
}

const char *ipsec_mb_version(void)
{
	return imb_get_version_str();
}
