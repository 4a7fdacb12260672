/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Keys that were let in lately: so that clients come back while who knows them does not answer. A
 * table of fixed size; where it is full, the entry of a set that is oldest goes. Pure; one thread.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "secret.h"

struct grace;

struct grace *grace_new(void); /* NULL: no memory */
void grace_free(struct grace *grace);
/* Times in ns, monotonic. */
void grace_remember(struct grace *grace, const struct public_key *key, uint64_t now);
void grace_forget(struct grace *grace, const struct public_key *key);
/* Whether it was remembered within the last `for_ns`. */
bool grace_has(
	const struct grace *grace, const struct public_key *key, uint64_t now, uint64_t for_ns);

/*
 * All entries as bytes, for another process on this machine: the times stay what they are. To be
 * freed; NULL: no memory.
 */
#define GRACE_BYTES_MAX (2u << 20)
void *grace_pack(const struct grace *grace, size_t *len);
/* Adds them. -EINVAL: these bytes are no entries, and nothing was added. */
int grace_unpack(struct grace *grace, const void *bytes, size_t len, uint64_t now);
