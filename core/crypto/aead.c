/* SPDX-License-Identifier: BSD-3-Clause */
/* The choice is made by the control loop, once; the rest runs on any thread. */
#include "aead.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "aead/impls.h"

const struct aead_impl *const aead_impls[] = {
	&aead_portable,
	NULL,
};

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

void aead_seal(struct aead_item *items, unsigned n)
{
	aead_chosen()->seal(items, n);
}

void aead_open(struct aead_item *items, unsigned n)
{
	aead_chosen()->open(items, n);
}
