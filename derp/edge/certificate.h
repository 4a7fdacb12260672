/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The relay's own certificate, for where core.http has none: signed by itself, and known to clients
 * by its hash in the map of relays ("sha256-raw:", since Tailscale 1.82). Blocking: from start
 * hooks and jobs.
 */
#include <stdbool.h>
#include <time.h>

#include <tailplane/err.h>

#define CERTIFICATE_HOST_MAX 255

struct certificate {
	char pin[65]; /* hex of the SHA-256 over its DER */
	time_t ends;
	bool made; /* just now */
};

/* A name or an address that a certificate can be for. */
bool certificate_host_valid(const char *host);

/* The pair as it is in the files (absolute paths): false if it is missing, broken, not for `host`
 * (NULL: any), or ends within the next 30 days. `now`: unix time. */
bool certificate_read(const char *cert_path, const char *key_path, const char *host, time_t now,
	struct certificate *cert);

/*
 * Reads the pair, and makes it anew where that fails.
 */
int certificate_ensure(const char *cert_path, const char *key_path, const char *host, time_t now,
	struct certificate *cert, struct err *err);
