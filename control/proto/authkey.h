/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Keys that people paste: "hskey-auth-<12>-<64>" (pre-auth), "hskey-api-<12>-<64>". The first part
 * finds the record, the second is the secret: 256 random bits in hexadecimal, so a plain hash of it
 * is as safe as a slow one and does not bound the rate of registrations. Protocol library.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AUTHKEY_PREFIX_LEN 12
#define AUTHKEY_SECRET_LEN 64
#define AUTHKEY_HASH_LEN 32
#define AUTHKEY_TEXT_SIZE 96
#define AUTHKEY_AUTH "hskey-auth-"
#define AUTHKEY_API "hskey-api-"
#define AUTH_ID "hskey-authreq-"
#define AUTH_ID_SIZE (sizeof(AUTH_ID) + 24) /* 24 hexadecimal digits */

struct authkey {
	char prefix[AUTHKEY_PREFIX_LEN + 1];
	uint8_t hash[AUTHKEY_HASH_LEN]; /* of the secret's text */
};

/* A new one: its record, and the text to show once (the caller's to zero). */
void authkey_make(struct authkey *key, const char *kind, char text[static AUTHKEY_TEXT_SIZE]);
/* False when it does not have that shape. */
bool authkey_parse(struct authkey *key, const char *kind, const char *text);
/* Constant time. */
bool authkey_matches(const struct authkey *key, const uint8_t hash[static AUTHKEY_HASH_LEN]);

void auth_id_make(char id[static AUTH_ID_SIZE]);
bool auth_id_valid(const char *id);
