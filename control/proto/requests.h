/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* The two requests that clients make all the time, read from JSON. Protocol library. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>
#include <tailplane/err.h>

#include "hostinfo.h"
#include "secret.h"

struct register_request {
	json_t *object; /* what the texts below lie in */
	int64_t version;
	struct public_key node_key, old_node_key, lock_key;
	const char *auth_key; /* "": none */
	const char *followup; /* "": none */
	int64_t expiry;       /* Unix ns; TIME_UNSET: none asked for */
	bool ephemeral;
	json_t *hostinfo; /* an object, or NULL */
};

struct map_request {
	json_t *object;
	int64_t version;
	struct public_key node_key, disco_key;
	bool stream, omit_peers, read_only;
	/* Hostinfo is most of a request and nearly always as it was: `said` is a hash of its text,
	 * and by it one knows whether it must be read. Zero: `hostinfo` is read already. */
	uint8_t said[HOSTINFO_SAID_LEN];
	char *hostinfo_text; /* heap */
	json_t *hostinfo;    /* an object, or NULL */
	json_t *endpoints;   /* an array that is not empty, or NULL */
};

/* 0, -EINVAL, -E2BIG with the reason. */
int register_request_parse(
	struct register_request *out, const void *body, size_t len, struct err *err);
void register_request_fini(struct register_request *request);
int map_request_parse(struct map_request *out, const void *body, size_t len, struct err *err);
/* Reads Hostinfo, which map_request_parse does not. 0, -EINVAL with the reason. */
int map_request_hostinfo(struct map_request *request, struct err *err);
void map_request_fini(struct map_request *request);
