/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The relay between its files.
 *
 * A pass is one turn of an I/O loop: what sockets and other loops bring is read into the loop's
 * arena, walked in place, and remembered as pieces (runs of whole frames) at the connections that
 * shall get them; at the end of the pass, or when the arena is full, each of those is written to
 * once. Only what a socket did not take is copied. So an idle connection owns no buffer at all.
 *
 * Every loop has a replica of the directory, which answers where a key is. What a key's replicas
 * say is decided by one loop, its owner, which alone knows all claims to it (directory.c).
 *
 * Connections, peers and buffers of a pass are freed at its end (pass_end): no pointer goes stale
 * while frames are walked.
 */
#include <stdatomic.h>

#include <tailplane/io.h>
#include <tailplane/loop.h>
#include <tailplane/tls_records.h>

#include "admission.h"
#include "bytes.h"
#include "directory.h"
#include "server.h"
#include "table.h"
#include "wheel.h"

#define SECOND 1000000000ull
#define MILLISECOND 1000000ull

#define READ_MAX (128u << 10) /* of one connection in a pass */
#define TLS_MORE (17u << 10)  /* what TLS may have kept of earlier reads */
#define INPUT_MIN (2 * TLS_MORE)
#define INPUT_MAX (READ_MAX + TLS_MORE + DERP_FORWARD_FRAME_MAX) /* behind the start of a frame */
#define ARENA_SIZE (4 * INPUT_MAX)
#define PIECES_MAX 8192
#define QUEUE_MAX 32       /* packets of a kind that wait for one reader */
#define QUEUE_MESH_MAX 256 /* a connection to another node carries many clients' */
#define HANDSHAKE_TIMEOUT (10 * SECOND)
#define CLIENT_INFO_LIMIT (16u << 10) /* real ones have 200 bytes */
#define HEALTH_MAX 1000

struct derp_loop;
struct conn;
struct peer;
struct link_ops;

/* ---- packets on their way ---- */

/* A packet that waits: one whole frame, or what is left of one. */
struct packet {
	struct packet *next;
	uint32_t len, at;
	uint8_t bytes[];
};

struct fifo {
	struct packet *head, **tail;
	uint32_t n;
};

/* A run of whole frames in the arena, or in a batch that is kept until the pass ends. */
struct piece {
	uint8_t *bytes;
	uint32_t len, frames;
	uint32_t next; /* of the same connection; NO_PIECE */
};
#define NO_PIECE UINT32_MAX

/* ---- connections ---- */

/* Who gets the packets of a key: a client here, another node of the region, or the process that was
 * this node before us, or is after us. */
enum route_kind { ROUTE_NONE, ROUTE_CLIENT, ROUTE_LINK, ROUTE_OLDER, ROUTE_NEWER };

enum conn_state {
	CONN_HANDSHAKE, /* ServerKey is sent, ClientInfo is awaited */
	CONN_ASKING,    /* admission thinks */
	CONN_CLAIMING,  /* the key's owner is told */
	CONN_UP,
	CONN_CLOSED, /* until the pass ends */
};

struct handshake {                /* of a client until it is up */
	struct symmetric_key key; /* of the box */
};

struct conn {
	struct io_stream *stream;
	struct derp_loop *loop;
	ev_io readable, writable;
	uint64_t id;
	enum conn_state state;
	enum derp_via via;
	struct public_key key;
	struct net_endpoint from;
	uint64_t since;
	struct handshake *handshake;
	struct tls_records *records; /* of TLS; NULL: OpenSSL's connection in the stream */
	struct websocket *websocket;
	char *app_name;

	bool tls : 1;
	bool mesh : 1, watching : 1, prober : 1, not_ideal : 1, can_ack_pings : 1;
	bool home : 1, pong_waits : 1;
	bool standby : 1;    /* another connection of the key gets its packets */
	bool asked : 1;      /* to be the one that gets them */
	bool blocked : 1;    /* the socket is full */
	bool dirty : 1;      /* in the list of those to write to */
	bool other_next : 1; /* of the two queues */
	bool ended : 1;      /* TLS: nothing more comes */
	bool broken : 1;     /* nothing more can be written */
	bool counted : 1;    /* at its address */
	bool paused : 1;     /* nothing is read until it is up */
	bool sent_away : 1;  /* to another process, where it turns up in a moment */
	bool leaving : 1;    /* and nothing is written to it any more */
	bool part_new : 1;   /* records, perhaps, that nobody has looked at */

	/* in */
	uint8_t *in;   /* the start of a frame, from earlier reads */
	uint8_t *part; /* the start of a record */
	uint32_t in_len, part_len;
	uint32_t skip; /* of an unknown frame */
	struct throttle *throttle;

	/* out, in this order */
	struct bytes raw;     /* sealed, or wrapped: goes before anything else */
	struct packet *rest;  /* of a frame that began */
	struct bytes control; /* frames of ours */
	struct fifo queue[DERP_KINDS];
	uint32_t first_piece, last_piece;
	uint64_t progress_at; /* when the socket last took something, while it is blocked */
	int unsent;           /* what the socket had when it was last looked at */
	struct conn *dirty_next;

	/* where it is found */
	struct peer *peer;
	struct conn *same_next; /* of peer->conns */
	struct sighting *sightings;
	struct peer *last_source;

	struct wheel_entry timer;
	uint64_t keep_alive_at, keep_alive_every;
	unsigned not_here_tokens;
	uint64_t not_here_at;
	uint64_t packets_in, bytes_in, packets_out, bytes_out, dropped;

	enum route_kind kin;              /* ROUTE_OLDER, ROUTE_NEWER: see kin.c; else ROUTE_NONE */
	const struct derp_link_ops *link; /* a connection that we made; else NULL */
	void *link_user;
	struct conn *dead_next;
};

/* ---- the directory ---- */

struct route {
	enum route_kind kind;
	uint16_t loop;
	uint64_t conn; /* its id there */
};

/* Who wants packets of a key; known to its owner alone. */
struct claim {
	struct claim *next; /* older */
	struct route route;
	uint8_t present; /* enum derp_present_flag */
	struct net_endpoint from;
};

struct peer {
	struct public_key key;
	struct route route;
	struct conn *via;   /* the connection of `route`, when it is on this loop */
	struct conn *conns; /* clients of the key on this loop */
	struct sighting *sightings;
	struct claim *claims;
	bool dead;               /* no longer in the table */
	bool away;               /* nobody has it, and it comes back */
	struct waiting *waiting; /* until then, or until it is gone */
	uint32_t n_waiting;      /* packets */
	struct peer *dead_next;
	/* the owner's: until then (0: it is in no list) */
	uint64_t away_until;
	struct peer *away_next;
};

/* A connection that got packets of a key, and will be told when the key goes. */
struct sighting {
	struct peer *source;
	struct conn *conn;
	struct sighting *of_source, **of_source_prev;
	struct sighting *of_conn, **of_conn_prev;
};

/* Where a pass keeps what it reads. One that is lent to other loops is not written to again until
 * they have given it back. */
struct arena {
	struct arena *next; /* of the loop that owns it */
	_Atomic unsigned
		lent; /* batches with pieces of it; added to by its owner, taken from by others */
	_Alignas(64) uint8_t bytes[ARENA_SIZE];
};

struct watcher {
	struct watcher *next;
	uint16_t loop;
	uint64_t conn;
};

/* ---- figures of one loop: written by it alone, read by scrapes ---- */

struct counters {
#define X(name) _Atomic uint64_t name;
	DERP_COUNTERS(X)
	DERP_GAUGES(X)
#undef X
	_Atomic uint64_t dropped_packets[DERP_DROPS][DERP_KINDS];
	_Atomic uint64_t dropped_bytes[DERP_DROPS][DERP_KINDS];
	_Atomic uint64_t tcp_rtt[DERP_RTTS];
};

static inline void add_to(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
		memory_order_relaxed);
}
#define COUNT(loop, name, n) add_to(&(loop)->counters.name, (n))
#define UNCOUNT(loop, name, n) add_to(&(loop)->counters.name, -(uint64_t)(n))
#define COUNTED(loop, name) atomic_load_explicit(&(loop)->counters.name, memory_order_relaxed)

/* ---- a loop ---- */

struct slot {
	struct conn *conn;
	uint32_t generation;
	uint32_t next_free;
};

struct derp_loop {
	_Alignas(64) _Atomic uint64_t crossing; /* bytes on their way here; written by all */
	_Atomic(struct batch *) back;           /* batches that come home; pushed by all */
	_Alignas(64) struct io_loop *io;
	struct ev_loop *ev;
	unsigned index;
	ev_prepare before_wait;
	ev_timer tick;

	struct arena *arena;  /* of this pass */
	struct arena *arenas; /* all */
	unsigned n_arenas;
	bool may_lend; /* this pass's: there is another for the next */
	size_t arena_at;
	struct piece *pieces;
	uint32_t n_pieces;
	struct conn *dirty, **dirty_tail;
	struct batch **out; /* per loop: what goes there at the end of the pass */
	struct batch *held; /* what came from others in this pass */
	struct batch *spare;
	unsigned n_spare;

	struct slot *slots;
	uint32_t n_slots, free_slot;
	struct conn *dead_conns;
	struct peer *dead_peers;
	struct table peers, sightings;
	struct watcher *watchers;
	struct peer *away;    /* keys of this owner */
	unsigned not_clients; /* connections */
	unsigned leaving;     /* and these */
	unsigned asking;      /* connections of which admission thinks */
	struct wheel wheel;
	struct derp_server_conf conf;
	uint8_t *cipher; /* TLS: what was read and is not opened yet */
	uint8_t *sealed; /* TLS: records that are not written yet */
	uint8_t *gather; /* one record's text */
	size_t cipher_at, cipher_len, sealed_len;

	uint8_t health[DERP_HEADER_LEN + HEALTH_MAX]; /* the frame for those who come */
	uint32_t health_len;                          /* 0: all is well */

	uint64_t drain_until; /* 0: not draining */
	bool drain_left;      /* somebody is still to be sent away */
	bool drain_late;      /* who was on the way is taken until then */
	bool stopping;
	struct counters counters;
};

struct server {
	struct derp_loop *loops;
	unsigned n;
	struct public_key key;
	uint64_t seed;
	_Atomic uint32_t connections;
	struct derp_server_conf conf;
};
extern struct server server;

struct derp_loop *derp_loop_here(void);

/* ---- loop.c: passes ---- */

/* Makes room for `n` bytes at the cursor, and for twice as many that may be made of them: what the
 * arena has goes out first if there is less. Not while frames in it are walked. */
uint8_t *arena_room(struct derp_loop *loop, size_t n);
/* Takes `n` bytes at the cursor. */
uint8_t *arena_take(struct derp_loop *loop, size_t n);
/* Writes what connections have to write; the arena stays. */
void pass_write(struct derp_loop *loop);
void pass_end(struct derp_loop *loop);
void loop_open(struct derp_loop *loop, struct io_loop *io, unsigned index);
void loop_shut(struct derp_loop *loop);
void loop_close(struct derp_loop *loop);
/* When all are closed. */
void loop_free(struct derp_loop *loop);

/* ---- conn.c: life ---- */

/* NULL: no memory, or this relay is about to stop; the stream is closed then. */
struct conn *conn_new(struct derp_loop *loop, struct io_stream *stream, enum derp_via via);
void conn_close(struct conn *conn);
/* The far end is told that it ends, and what it sends until it knows still goes on. False: it
 * cannot be told, and is to be closed. */
bool conn_leave(struct conn *conn);
/* The far end is not waited for: what the kernel holds is thrown away. */
void conn_abort(struct conn *conn);
void conn_free_dead(struct derp_loop *loop);
struct conn *conn_find(struct derp_loop *loop, uint64_t id);
void conn_timer(struct conn *conn);
void conns_tick(struct derp_loop *loop);

/* ---- handshake.c ---- */

bool handshake_take(struct conn *conn, uint8_t *payload, uint32_t len);
/* The owner has listed it. */
void handshake_done(struct conn *conn);

/* ---- input.c ---- */

void input_ready(struct conn *conn);
/* Takes whole frames from the start of `bytes` and keeps what is left. False: the connection is
 * closed. */
bool input_take(struct conn *conn, uint8_t *bytes, size_t len);
void input_pause(struct conn *conn);
void input_resume(struct conn *conn);
/* The same, and what was kept while it paused. */
void input_go_on(struct conn *conn);

/* ---- deliver.c: from a run of frames to those who get it ---- */

static inline uint32_t frame_len(const uint8_t *frame)
{
	return DERP_HEADER_LEN + derp_be32_get(frame + 1);
}

struct run {
	struct conn *from;          /* NULL: from another loop */
	struct peer *source;        /* of the packets */
	const uint8_t *destination; /* key */
	uint8_t *bytes; /* RecvPacket frames, in memory that lasts until the pass ends */
	uint32_t len, frames;
	bool forwarded; /* came from another node: goes to clients alone */
	bool crossed;   /* came from another loop: goes no further */
};

void deliver_run(struct derp_loop *loop, const struct run *run);
void drop_frames(struct derp_loop *loop, const uint8_t *frames, uint32_t len, enum derp_drop why);

/* ---- output.c ---- */

void output_piece(struct conn *conn, uint8_t *bytes, uint32_t len, uint32_t frames);
/* Frames of ours, copied. */
void output_control(struct conn *conn, const void *bytes, uint32_t len);
/* Writes what waits. False: the connection is closed. */
bool output_flush(struct conn *conn);
void output_drop(struct conn *conn);
void output_dirty(struct conn *conn);
uint32_t output_queued(const struct conn *conn);
/* Is there anything that the socket has not taken? */
bool output_waits(const struct conn *conn);

/* ---- wire.c: bytes of frames as they go over the connection ---- */

bool wire_init(struct derp_loop *loop);
void wire_fini(struct derp_loop *loop);
bool wire_attach(struct conn *conn);
void wire_detach(struct conn *conn);
/* What one read brings, at most `len` (INPUT_MIN or more): how many; -EAGAIN; 0: the end; else
 * broken. */
ssize_t wire_read(struct conn *conn, uint8_t *to, size_t len);
/* There is more that no event will tell. */
bool wire_pending(const struct conn *conn);
/* How many bytes are taken for good; -EAGAIN: none; else broken. Sets conn->blocked. */
ssize_t wire_write(struct conn *conn, const struct iovec *iov, int n);
/* From here on in WebSocket frames, behind `head`. False: no memory. */
bool wire_wrap(struct conn *conn, const char *head);
/* Nothing more is written; what comes is still read. False: that cannot be said now. */
bool wire_end(struct conn *conn);
/* What is sealed and waits; 0: nothing does any more. */
int wire_continue(struct conn *conn);

/* ---- directory.c ---- */

enum change_kind {
	CLAIM_ADD,
	CLAIM_REMOVE,
	CLAIM_MOVE, /* as CLAIM_REMOVE; another process will have the key in a moment */
	CLAIM_ACTIVATE,
};

struct change { /* to a key's owner */
	struct io_message message;
	enum change_kind what;
	struct public_key key;
	struct route route;
	uint8_t present;
	struct net_endpoint from;
};

struct update { /* to its replicas */
	struct io_message message;
	struct public_key key;
	struct route route;
	bool gone; /* from the region */
	bool away;
};

unsigned directory_owner(const struct public_key *key);
struct peer *peer_find(struct derp_loop *loop, const uint8_t key[static 32]);
struct peer *peer_get(struct derp_loop *loop, const struct public_key *key); /* NULL: no memory */
/* Nothing holds it any more? */
void peer_release(struct derp_loop *loop, struct peer *peer);
void peers_free_dead(struct derp_loop *loop);
void directory_claim(struct conn *conn);
void directory_unclaim(struct conn *conn);
void directory_activate(struct conn *conn);
void directory_change(struct derp_loop *loop, const struct change *change);
/* To the other loops; on this one; both. */
void directory_post(const struct derp_loop *loop, const struct update *update);
void directory_apply(struct derp_loop *loop, const struct update *update);
void directory_update(struct derp_loop *loop, const struct update *update);
void directory_cut(const struct conn *link);
void directory_fini(struct derp_loop *loop);

/* ---- owner.c: what a key's owner decides ---- */

void owner_change(struct derp_loop *loop, const struct change *change);
void owner_link_gone(struct derp_loop *loop, const struct route *link);

/* ---- sightings.c ---- */

void sighting_note(struct derp_loop *loop, struct peer *source, struct conn *conn);
void sightings_tell(struct derp_loop *loop, struct peer *source);
void sightings_forget(struct conn *conn);

/* ---- watch.c ---- */

void watch_begin(struct conn *conn);
void watch_end(struct conn *conn);
/* `claim` was added, or removed. */
void watch_added(struct derp_loop *loop, const struct peer *peer, const struct claim *claim);
void watch_removed(struct derp_loop *loop, const struct peer *peer, const struct claim *claim);
/* Who sees no claim is told that it is gone. */
void watch_gone(struct derp_loop *loop, const struct peer *peer);
void watch_fini(struct derp_loop *loop);

/* ---- cross.c: between loops ---- */

void cross_run(struct derp_loop *loop, unsigned to, const struct run *run);
void cross_flush(struct derp_loop *loop);
/* Frames of ours for a connection of whatever loop. */
void cross_control(
	struct derp_loop *loop, unsigned to, uint64_t conn_id, const void *bytes, size_t len);
void cross_free_held(struct derp_loop *loop);
void cross_fini(struct derp_loop *loop);

/* ---- limits.c ---- */

/* NULL, or why this connection is not welcome (and counted). */
const char *limit_connection(struct derp_loop *loop, const struct net_addr *from);
/* What a connection holds by itself. */
uint64_t limit_cost(const struct conn *conn);
void limit_disconnected(const struct net_addr *from);
/* Charges what was read; true: the connection is paused for a while. */
bool limit_rate(struct conn *conn, uint64_t bytes);
void limit_rate_free(struct conn *conn);
bool limit_not_here(struct conn *conn);
bool limit_memory(struct derp_loop *loop, uint64_t more);
/* The same for what has come and is not whole yet: it cannot be dropped without its connection, so
 * for clients that are up an eighth of all is kept. */
bool limit_input(const struct conn *conn, uint64_t more);
void limits_fini(void);

/* ---- link.c ---- */

bool link_frame(struct conn *conn, uint8_t type, const uint8_t *payload, uint32_t len);
void link_closed(struct conn *conn, const char *why);
struct route link_route(const struct conn *conn);

/* ---- kin.c: this node in another process ---- */

/* What it tells of its clients. */
void kin_frame(struct conn *conn, uint8_t type, const uint8_t *payload, uint32_t len);

static inline bool is_kin(enum route_kind kind)
{
	return kind == ROUTE_OLDER || kind == ROUTE_NEWER;
}

/* One that came to us, and is no other process of this node. */
static inline bool is_client(const struct conn *conn)
{
	return !conn->link && !conn->kin;
}

/* ---- away.c: keys that another process will have in a moment ---- */

void away_begin(struct derp_loop *loop, struct peer *peer); /* its owner */
/* False: there are none. */
bool away_tick(struct derp_loop *loop, uint64_t now);
/* Packets for it, on any loop; what is known of it has changed. */
void away_hold(struct derp_loop *loop, struct peer *peer, const struct run *run);
void away_release(struct peer *peer);
void away_fini(struct peer *peer);

/* ---- clients.c ---- */

/* In all processes of this node but the one at the other end of the connection `from` (0: in all),
 * which said so. */
void close_peer(const struct public_key *key, uint64_t from);
/* False: nobody is left. */
bool drain_tick(struct derp_loop *loop, uint64_t now);

static inline bool loop_is_closing(const struct derp_loop *loop)
{
	return loop->stopping || (loop->drain_until && !(loop->drain_late && loop->drain_left));
}

/* ---- upgrade.c ---- */

int upgrade_routes(struct err *err);
/* The first bytes to a client: an answer to its request ("" if there is none), then ServerKey. */
void upgrade_greet(struct conn *conn, const char *head);
int meta_certificate(struct err *err);
