/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * What client and server tell each other when they meet: JSON in a NaCl box. Protocol library: no
 * socket, no clock, any thread.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "frame.h"
#include "secret.h"

#define DERP_NONCE_LEN 24
#define DERP_BOX_OVERHEAD (DERP_NONCE_LEN + 16)
#define DERP_CLIENT_INFO_MIN (DERP_KEY_LEN + DERP_NONCE_LEN)
#define DERP_CLIENT_INFO_MAX (256u << 10)
#define DERP_SERVER_INFO_MAX (DERP_NONCE_LEN + (1u << 20))
#define DERP_APP_NAME_MAX 64

struct derp_client_info {
	int64_t version;
	bool has_mesh_key; /* `mesh_key` is a secret: zero the struct when it is read */
	struct symmetric_key mesh_key;
	bool can_ack_pings;
	bool is_prober;
	char app_name[DERP_APP_NAME_MAX]; /* cut; printable ASCII */
};

struct derp_server_info {
	int64_t version;
	/* 0: not told. A stock client then drops what it would send above it. */
	uint64_t token_bucket_bytes_per_second, token_bucket_bytes_burst;
};

/* The box's key of two parties, the same for both directions. False: a key that yields zero. */
bool derp_box_key(struct symmetric_key *key, const struct private_key *own,
	const struct public_key *other) __attribute__((warn_unused_result));

/* Server side. `payload` of a ClientInfo, which is opened in place; `key` gets the box's key, for
 * the ServerInfo. 0; -EPROTO: a bad length, key or box; -EINVAL: bad JSON in it. */
int derp_client_info_open(struct derp_client_info *info, struct public_key *client,
	struct symmetric_key *key, const struct private_key *server, uint8_t *payload, size_t len);
/* A whole ServerInfo frame into `to`; its length, or -ENOSPC. */
ssize_t derp_server_info_seal(uint8_t *to, size_t size, const struct derp_server_info *info,
	const struct symmetric_key *key);

/* Client side: a whole ClientInfo frame into `to`; its length, or -ENOSPC. */
ssize_t derp_client_info_seal(uint8_t *to, size_t size, const struct derp_client_info *info,
	const struct public_key *client, const struct symmetric_key *key);
/* `payload` of a ServerInfo, opened in place. 0; -EPROTO, -EINVAL as above. */
int derp_server_info_open(struct derp_server_info *info, const struct symmetric_key *key,
	uint8_t *payload, size_t len);

/* The JSON alone. 0 or -EINVAL. Names are matched in any case; unknown ones are skipped. */
int derp_client_info_parse(struct derp_client_info *info, const void *json, size_t len);
int derp_server_info_parse(struct derp_server_info *info, const void *json, size_t len);

/* A frame that fits any ServerInfo of ours, and any ClientInfo. */
#define DERP_INFO_FRAME_MAX 512
