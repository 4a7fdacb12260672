/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One connection of a DERP client, as lean as it can be: opened blocking, used non-blocking after
 * that. What the relay does wrong ends the program. DERP version 2: 5 bytes of header (type, length
 * as be32), see the table of frames in derp/proto/frame.h.
 */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define KEY_BYTES 32
#define FRAME_HEADER 5
#define RECORD_BYTES 16384

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
	bool one_a_record; /* TLS: each frame in a record of its own, as stock clients write */
	bool resume;       /* TLS: by the ticket of the connection before */
	SSL_SESSION *ticket;
	unsigned resumed; /* how many were */
};

struct peer {
	int fd;
	SSL *tls;
	uint8_t public[KEY_BYTES], secret[KEY_BYTES];
	const uint8_t
		*rest; /* plain: what the socket did not take yet; the memory is the caller's */
	size_t rest_bytes;
};

/* The context of `target.tls`; `for_crowd`: little memory a connection, instead of few reads. */
SSL_CTX *peer_tls(bool for_crowd);
void peer_open(struct peer *p, struct target *target);
/* The relay's side of it; `relay` has its keys. */
void peer_accept(struct peer *p, int fd, SSL_CTX *tls, const struct peer *relay);
/* With TLS, the descriptor alone goes on: the relay keeps its side. */
void peer_forget_tls(struct peer *p);
void peer_close(struct peer *p);

/* `frames` of `frame_bytes` each; plain: they stay as they are until peer_flush says 0. */
void peer_write(struct peer *p, const struct target *t, const uint8_t *frames, size_t n,
	size_t frame_bytes);
/* How many bytes the socket did not take. */
size_t peer_flush(struct peer *p);
/* 0: nothing there; -1: the other end closed, or what came is no TLS. A TLS connection that fills
 * more than room - RECORD_BYTES may hold more that no event tells of. */
ssize_t peer_read(struct peer *p, uint8_t *to, size_t room);

/* A header and the key of whom it is for or from. */
uint8_t *frame_head(uint8_t *at, uint8_t type, const uint8_t key[KEY_BYTES], size_t payload);

void be32_put(uint8_t *at, uint32_t value);
uint32_t be32_get(const uint8_t *at);
