/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Where a relay is and what its certificate must be, as maps and URLs say it. Pure: any thread. */
#include <stdbool.h>
#include <stdint.h>

#include <tailplane/err.h>
#include <tailplane/net.h>

#define DERP_HOST_MAX 253
#define DERP_ADDRESSES_MAX 8

struct derp_target {
	/* Host field, server name in TLS, and what the certificate is for if cert_name is empty; a
	 * name or an address without brackets. */
	char host[DERP_HOST_MAX + 1];
	/* A name in place of `host`, or DERP_CERT_PIN and 64 hex digits: SHA-256 of a certificate
	 * that then stands for itself. */
	char cert_name[DERP_HOST_MAX + 1];
	char ideal[64]; /* the region's first node, if this is another one */
	uint16_t port;
	bool plain;    /* no TLS */
	bool insecure; /* any certificate; for tests */
	/* In order of preference; tried one a quarter of a second after the other. */
	struct net_endpoint addresses[DERP_ADDRESSES_MAX];
	unsigned n_addresses;
};

#define DERP_CERT_PIN "sha256-raw:"

/*
 * "https://host[:port][/derp]", http for no TLS; a bare "host[:port]" is https. An address as host
 * goes to `addresses`, a name is still to be resolved. -EINVAL with the reason.
 */
int derp_target_parse(struct derp_target *target, const char *url, struct err *err);
/* Adds one; false: there are enough already. `addr` with the target's port. */
bool derp_target_address(struct derp_target *target, const struct net_addr *addr);
/* Characters of names and addresses, at most DERP_HOST_MAX. */
bool derp_host_valid(const char *host);
/* Whether cert_name is something that a certificate can be held against. */
bool derp_cert_name_valid(const char *cert_name);
