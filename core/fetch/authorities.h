/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Whom TLS trusts: the system's authorities, or those of SSL_CERT_FILE. Read by a job, since
 * parsing them takes 15 ms and more, and again when they are a minute old. Control loop. */
#include <stdbool.h>
#include <stdint.h>

#include <openssl/x509_vfy.h>

struct authorities {
	X509_STORE *store;       /* NULL: they cannot be read */
	uint64_t read_at;        /* 0: not yet */
	struct reading *reading; /* under way; NULL: none */
	void (*ready)(void *arg);
	void *arg;
};

void authorities_init(struct authorities *authorities, void (*ready)(void *arg), void *arg);
void authorities_fini(struct authorities *authorities);
/* False: they are being read, `ready` comes from the loop. */
bool authorities_fresh(struct authorities *authorities);
