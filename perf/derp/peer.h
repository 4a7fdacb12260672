/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One connection of a DERP client, as lean as it can be: opened blocking, used non-blocking after
 * that, with TLS by the records of ours alone. What the relay does wrong ends the program. DERP
 * version 2: 5 bytes of header (type, length as be32), see the table of frames in
 * derp/proto/frame.h.
 */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include <tailplane/tls_records.h>

#define KEY_BYTES 32
#define FRAME_HEADER 5

enum {
	FRAME_SERVER_KEY = 1,
	FRAME_CLIENT_INFO,
	FRAME_SERVER_INFO,
	FRAME_SEND_PACKET,
	FRAME_RECV_PACKET,
	FRAME_KEEP_ALIVE,
	FRAME_NOTE_PREFERRED,
	FRAME_PEER_GONE,
};

struct target {
	struct sockaddr_storage at;
	socklen_t at_len;
	SSL_CTX *tls;      /* NULL: plain */
	bool crowd;        /* many connections that carry nothing */
	bool one_a_record; /* TLS: each frame in a record of its own, as stock clients write */
	bool resume;       /* TLS: by the ticket of the connection before */
	SSL_SESSION *ticket;
	unsigned resumed; /* how many were */
};

struct peer {
	int fd;
	SSL *tls; /* until it is open; of a crowd until it ends */
	struct tls_records *records;
	uint8_t public[KEY_BYTES], secret[KEY_BYTES];
	const uint8_t *rest; /* what the socket did not take yet: the caller's, or in `sealed` */
	size_t rest_bytes;
	uint8_t *sealed, *part; /* records to send; the start of one that came */
	size_t sealed_size, part_bytes;
};

/* The context of `target.tls`. */
SSL_CTX *peer_tls(bool for_crowd);
void peer_open(struct peer *p, struct target *target);
/* The relay's side of it; `relay` has its keys. */
void peer_accept(struct peer *p, int fd, SSL_CTX *tls, const struct peer *relay);
/* With TLS, the descriptor alone goes on: the relay keeps its side. */
void peer_forget_tls(struct peer *p);
void peer_close(struct peer *p);

/* `frames` of `frame_bytes` each, when the last ones are gone; plain: they stay as they are until
 * peer_flush says 0. */
void peer_write(struct peer *p, const struct target *t, const uint8_t *frames, size_t n,
	size_t frame_bytes);
/* How many bytes the socket did not take. */
size_t peer_flush(struct peer *p);
/* 0: nothing there; -1: the other end closed, or what came is no TLS. */
ssize_t peer_read(struct peer *p, uint8_t *to, size_t room);

/* A header and the key of whom it is for or from. */
uint8_t *frame_head(uint8_t *at, uint8_t type, const uint8_t key[KEY_BYTES], size_t payload);

void be32_put(uint8_t *at, uint32_t value);
uint32_t be32_get(const uint8_t *at);
