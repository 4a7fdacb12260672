/* SPDX-License-Identifier: BSD-3-Clause */
/* Any thread. */
#include "start.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <sodium.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void start(void)
{
	if (sodium_init() < 0) {
		fputs("libsodium cannot start: no random bytes\n", stderr);
		abort();
	}
}

void crypto_start(void)
{
	pthread_once(&once, start);
}
