/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * STUN (RFC 8489) as far as Tailscale's clients speak it: a Binding request with SOFTWARE
 * "tailnode" and a FINGERPRINT as its last attribute, and a Binding answer whose one attribute is
 * XOR-MAPPED-ADDRESS. Others are not answered: who forges a source address wins nothing, since an
 * answer is no longer than a request but for IPv6, where it is 4 bytes more. Pure: any thread.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tailplane/net.h>

#define STUN_PORT 3478
#define STUN_TXID_SIZE 12
#define STUN_REQUEST_SIZE 40
#define STUN_REQUEST_MAX 512 /* more attributes than anybody sends: looked at no further */
#define STUN_ANSWER_MAX 44

/* Whether this is a request that is to be answered; its transaction then. */
bool stun_request_read(const uint8_t *bytes, size_t len, uint8_t txid[static STUN_TXID_SIZE]);
/* The answer to a client that is seen at `from`; its length. */
size_t stun_answer_write(uint8_t out[static STUN_ANSWER_MAX],
	const uint8_t txid[static STUN_TXID_SIZE], const struct net_endpoint *from);

/* The other end: what a client sends, and what it learns. */
void stun_request_write(
	uint8_t out[static STUN_REQUEST_SIZE], const uint8_t txid[static STUN_TXID_SIZE]);
/* False: no answer to this transaction. */
bool stun_answer_read(const uint8_t *bytes, size_t len, const uint8_t txid[static STUN_TXID_SIZE],
	struct net_endpoint *seen);
