/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Requests of WireGuard's user-space socket protocol ("Cross-platform Userspace Implementation" on
 * wireguard.com) as data. Protocol library: pure, any thread. A request is parsed whole before
 * anything of it takes effect.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "secret.h"
#include "tailplane/net.h"

#define UAPI_REQUEST_MAX (4u << 20)

struct uapi_allowed_ip {
	struct net_prefix prefix;
	bool remove;
};

struct uapi_peer {
	struct public_key public_key;
	bool remove, update_only, replace_allowed_ips;
	bool has_preshared_key, has_endpoint, has_keepalive;
	struct symmetric_key preshared_key;
	struct net_endpoint endpoint;
	uint16_t keepalive; /* s */
	struct uapi_allowed_ip *allowed_ips;
	size_t n_allowed_ips;
};

struct uapi_request {
	bool get; /* else: set */
	bool has_private_key, has_listen_port, has_fwmark, replace_peers;
	struct private_key private_key;
	uint16_t listen_port;
	uint32_t fwmark;
	struct uapi_peer *peers;
	size_t n_peers;
};

/* `text` of `len` bytes up to and with the empty line. 0, -EINVAL or -ENOMEM; in each case
 * uapi_request_fini frees and zeroes. */
int uapi_parse(struct uapi_request *request, const char *text, size_t len);
void uapi_request_fini(struct uapi_request *request);

void uapi_hex(const uint8_t key[static 32], char text[static 65]);
