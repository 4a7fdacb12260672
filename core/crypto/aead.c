/* SPDX-License-Identifier: BSD-3-Clause */
/* The choice is made by the control loop, once; the rest runs on any thread. */
#include "aead.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "aead/impls.h"

const struct aead_impl *const aead_impls[] = {
#if defined(__x86_64__)
	&aead_avx512,
	&aead_avx512_1x16,
	&aead_avx2,
#endif
	&aead_portable,
	NULL,
};

const uint32_t aead_nonce_head __attribute__((weak)) = 0;

/* Stored by aead_init (release), loaded by whoever seals (acquire). */
static const struct aead_impl *_Atomic chosen = &aead_portable;

static int choose_best(void)
{
	for (const struct aead_impl *const *impl = aead_impls; *impl != NULL; impl++) {
		if ((*impl)->usable()) {
			atomic_store_explicit(&chosen, *impl, memory_order_release);
			return 0;
		}
	}
	return -ENOTSUP;
}

int aead_init(const char *wanted)
{
	const char *override = getenv("TAILPLANE_AEAD");

	if (override != NULL && override[0] != '\0')
		wanted = override;
	if (wanted == NULL || strcmp(wanted, "auto") == 0)
		return choose_best();

	for (const struct aead_impl *const *impl = aead_impls; *impl != NULL; impl++) {
		if (strcmp((*impl)->name, wanted) != 0)
			continue;
		if (!(*impl)->usable())
			return -ENOTSUP;
		atomic_store_explicit(&chosen, *impl, memory_order_release);
		return 0;
	}
	return -ENOENT;
}

const struct aead_impl *aead_chosen(void)
{
	return atomic_load_explicit(&chosen, memory_order_acquire);
}

#ifdef AEAD_CHECK_LAYOUT
static bool overlap(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
	uintptr_t a_at = (uintptr_t)a, b_at = (uintptr_t)b;

	return a_len > 0 && b_len > 0 && a_at < b_at + b_len && b_at < a_at + a_len;
}

/* dst_len is what the call writes. */
static bool layout_ok(const struct aead_item *item, size_t dst_len)
{
	const struct aead_segment *a = &item->src[0], *b = &item->src[1];
	bool a_ok = a->data == item->dst || !overlap(a->data, a->len, item->dst, dst_len);
	bool b_in_place = (a->len == 0 || a->data == item->dst) && b->data == item->dst + a->len;
	bool b_ok = b_in_place || !overlap(b->data, b->len, item->dst, dst_len);

	return a_ok && b_ok && !overlap(item->aad, item->aad_len, item->dst, dst_len);
}

static void check_burst(const struct aead_item *items, unsigned n, bool sealing)
{
	assert(n <= AEAD_BURST_MAX);
	for (unsigned i = 0; i < n; i++) {
		size_t len = (size_t)items[i].src[0].len + items[i].src[1].len;

		if (sealing)
			len += AEAD_TAG_LEN;
		else if (len < AEAD_TAG_LEN)
			continue;
		else
			len -= AEAD_TAG_LEN;
		assert(len <= AEAD_TEXT_MAX + (sealing ? AEAD_TAG_LEN : 0));
		assert(layout_ok(&items[i], len));
	}
}
#else
static void check_burst(const struct aead_item *items, unsigned n, bool sealing)
{
}
#endif

void aead_seal(struct aead_item *items, unsigned n)
{
	check_burst(items, n, true);
	aead_chosen()->seal(items, n);
}

void aead_open(struct aead_item *items, unsigned n)
{
	check_burst(items, n, false);
	aead_chosen()->open(items, n);
}
