/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Simulated nodes of a control server: each is a real connection with Noise, HTTP/2 and a stream of
 * maps. One thread. What they have been told of each other is kept as one bit per pair.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "secret.h"

struct ts_client;

enum node_state {
	NODE_DOWN,        /* no connection, and wants none until the phase says so */
	NODE_RETRY,       /* no connection, at `retry_at` */
	NODE_ASKING,      /* the server's key, as a client that starts does */
	NODE_CONNECTING,  /* TCP */
	NODE_REGISTERING, /* up to the answer */
	NODE_REGISTERED,  /* and that is all */
	NODE_STREAMING,
};

/* One map message on its way in. */
struct message {
	uint8_t prefix[4];
	unsigned prefix_len;
	uint32_t left; /* of the message, not arrived */
	uint8_t *part; /* of a frame; NULL: nothing is kept */
	size_t part_len, part_size;
	char *text; /* of those that decode all: the frames so far */
	size_t text_len, text_size;
};

struct node {
	struct load *load;
	unsigned index;
	enum node_state state;
	int fd; /* -1: none */
	bool writable_wanted, asked, registered, decodes, broken, saw_self, said_all;
	struct ts_client *client;
	struct private_key machine;
	uint8_t node_key[32], disco_key[32];
	int32_t register_stream, map_stream;
	char answer[512];
	size_t answer_len;
	struct message message;
	uint64_t *seen; /* ids of peers, since its stream began */
	unsigned n_seen;
	uint64_t since, retry_at, converged_at;
	unsigned change; /* reported last */
};

/* Of the endpoints of one node. */
struct change {
	uint64_t at;   /* sent; 0: never */
	uint64_t last; /* when the last node was told so far */
	unsigned n;
};

struct load_conf {
	const char *host;
	uint16_t port;
	struct public_key server;
	const char *auth_key;
	unsigned decode;  /* how many nodes decode everything */
	unsigned at_once; /* connections without an answer yet */
	uint16_t version;
};

struct load {
	struct load_conf conf;
	int epoll;
	struct node *nodes;
	unsigned n;
	unsigned next_due; /* from where those are looked for that wait for their connection */
	unsigned ids_max;
	bool streams; /* nodes go on to their stream of maps */
	/* now */
	unsigned waiting, opening, up, registered, converged;
	/* ever */
	uint64_t bytes, messages, full_maps, records, retries, losses, decoded;
	struct change *changes;
	unsigned n_changes;
	uint64_t told; /* pairs of a change and a node */
	char error[256];
};

uint64_t load_now(void);

/* ---- node.c ---- */

void node_init(struct load *load, unsigned index);
void node_fini(struct node *node);
/* Wants to be up. */
void node_start(struct node *node);
/* Cuts its connection, without a word. */
void node_cut(struct node *node);
void node_event(struct node *node, uint32_t events);
/* Tells the server of new endpoints, with the mark of change `number`. */
void node_report(struct node *node, unsigned number);
/* Opens connections of those that are due. */
void nodes_run(struct load *load);

/* ---- stream.c: what comes on a stream of maps ---- */

void stream_reset(struct node *node);
/* False: it cannot be understood; load->error says why. */
bool stream_take(struct node *node, const uint8_t *bytes, size_t len);

/* ---- floor.c ---- */

/* CPU, us, of one send on one of `n` connections; negative: it cannot be measured. */
double floor_of_sends(unsigned n, int receiver_core);

/* ---- json_check.c ---- */

bool json_is_object_text(const char *text, size_t len);

/* ---- say.c: what nodes say of themselves ---- */

/* JSON; good until the next call. */
const char *say_register(const struct node *node, size_t *len);
/* `all`: where it is, too, which a client knows a moment after its first map. */
const char *say_map(const struct node *node, bool stream, bool all, size_t *len);
