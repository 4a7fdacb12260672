/* SPDX-License-Identifier: BSD-3-Clause */
#include "crowd.h"

#include <err.h>
#include <pthread.h>
#include <sys/resource.h>

#define THREADS 16

struct passer {
	pthread_t thread;
	struct target target; /* a ticket of its own */
	unsigned n;
};

static void *pass(void *arg)
{
	struct passer *passer = arg;
	uint8_t buf[1024];
	struct peer p;

	for (unsigned i = 0; i < passer->n; i++) {
		peer_open(&p, &passer->target);
		if (p.tls)
			SSL_read(p.tls, buf, sizeof(buf)); /* tickets come behind the handshake */
		peer_close(&p);
	}
	return NULL;
}

void crowd_pass(struct target *target, unsigned n)
{
	struct passer passers[THREADS];

	for (unsigned i = 0; i < THREADS; i++) {
		passers[i] =
			(struct passer){.target = *target, .n = n / THREADS + (i < n % THREADS)};
		if (pthread_create(&passers[i].thread, NULL, pass, &passers[i]) != 0)
			errx(1, "a thread");
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(passers[i].thread, NULL);
		target->resumed += passers[i].target.resumed;
		SSL_SESSION_free(passers[i].target.ticket);
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
