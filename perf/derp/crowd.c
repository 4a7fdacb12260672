/* SPDX-License-Identifier: BSD-3-Clause */
#include "crowd.h"

#include <err.h>
#include <sys/resource.h>

void crowd_pass(struct target *target, unsigned n)
{
	struct peer p;

	for (unsigned i = 0; i < n; i++) {
		peer_open(&p, target);
		if (target->resume && p.tls) { /* tickets come behind the handshake */
			uint8_t buf[RECORD_BYTES];

			peer_read(&p, buf, sizeof(buf));
		}
		peer_close(&p);
	}
}

void crowd_stay(struct target *target, unsigned n)
{
	struct rlimit files;
	struct peer p;

	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	if (files.rlim_cur < n + 64)
		errx(1, "only %llu descriptors", (unsigned long long)files.rlim_cur);
	for (unsigned i = 0; i < n; i++) {
		peer_open(&p, target);
		peer_forget_tls(&p); /* the descriptor stays open, and is the connection */
	}
}
