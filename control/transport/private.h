/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The transport between its files. A session lives on one I/O loop and is touched there alone; so
 * does what is embedded in its calls but for the fields that say otherwise.
 */
#include <nghttp2/nghttp2.h>
#include <stdatomic.h>
#include <stdio.h>

#include <tailplane/io.h>
#include <tailplane/websocket.h>

#include "aead.h"
#include "h2_input.h"
#include "rpc.h"
#include "transport.h"
#include "ts2021.h"

#define CACHE_LINE 64
#define BODY_MAX (1u << 20)   /* of one request */
#define BODIES_MAX (4u << 20) /* of one session, at a time */
#define STREAMS_MAX 250       /* of one session, at a time */
#define HEADERS_MAX 16384     /* bytes of names and values of one request */
#define PREFIX_LEN 4          /* of a map message: its length */
/* Four whole records: 4068 bytes behind the frame's header, and thrice 4077. */
#define DATA_MAX (4 * TS2021_TEXT_MAX - H2_FRAME_HEADER_LEN)

/* ---- calls: an rpc with what the transport knows ---- */

enum piece_kind { PIECE_REPLY, PIECE_STREAM, PIECE_MESSAGE, PIECE_END, PIECE_DISCARD };

/* What the control loop sends down; then a part of the answer, until it is sealed. */
struct piece {
	struct io_message message;
	struct call *call;
	struct piece *next; /* in the call's queue, or the loop's spent ones */
	uint64_t since;     /* when it was sent down */
	char *fields;       /* of the answer: "name\0value\0..."; heap */
	uint32_t fields_len;
	uint32_t len, at; /* with prefix; how much is in frames */
	uint8_t prefix[PREFIX_LEN];
	uint8_t prefix_len; /* 0: a body without */
	uint8_t kind;       /* enum piece_kind */
	uint16_t status;    /* PIECE_REPLY */
	uint32_t n_blobs;
	struct blob *blobs[];
};

/*
 * Ownership: made by the session, freed on the session's loop by the message `release`, which the
 * control loop posts when both the service is done and the session has said `closing`: behind
 * everything else that it has sent down.
 */
struct call {
	struct rpc rpc; /* the service's part */
	struct io_message arrival, closing, release;
	char *method, *path;
	size_t headers_len;
	uint8_t *body;
	size_t body_len, body_size, body_counted;
	bool arrived;   /* the request is whole, and the service's */
	bool answering; /* HTTP/2 has the HEADERS */
	bool complete;  /* END_STREAM is in a frame */
	/* the control loop's */
	bool gone, done, aborted;
	bool drained_asked, drained_queued;
	char *fields;
	size_t fields_len;
	struct io_message drained; /* posted by who takes want_drained back */

	/* From here what each message touches, in three lines: with thousands of streams they come
	 * from memory. `waiting` is added to by the control loop and taken from by the I/O loop;
	 * relaxed, a number alone. */
	_Alignas(CACHE_LINE) _Atomic uint64_t waiting;
	_Atomic uint64_t oldest; /* when the oldest was sent down, as the I/O loop knows */
	uint64_t busy_since;     /* when waiting became more than 0; the control loop's */
	struct transport_loop *loop;
	_Atomic bool want_drained;
	bool open;  /* HEADERS are sent: DATA may follow */
	bool ended; /* nothing comes behind the queue */
	bool own_used;
	int32_t stream;
	int64_t window_used;     /* bytes of DATA, less what the far end gave back */
	uint64_t in_flight;      /* bytes in frames that the kernel has not taken */
	struct session *session; /* NULL: the stream is gone */
	struct call *next, **prev;
	struct piece *queue, **queue_tail;
	/* For a message of one blob: most streams have one at a time. The I/O loop's. */
	_Alignas(struct piece) uint8_t own[sizeof(struct piece) + sizeof(struct blob *)];
};
_Static_assert(offsetof(struct call, own) + sizeof(((struct call *)0)->own) -
			       offsetof(struct call, waiting) <=
		       3 * CACHE_LINE,
	"a message touches more of a call");

struct call *call_new(struct session *session, int32_t stream);
/* The request is whole: to the service. */
void call_arrived(struct call *call);
/* Ahead of the first touch of what sending touches: each of them is elsewhere in memory. */
static inline void call_fetch(const struct call *call)
{
	if (!call)
		return;
	__builtin_prefetch(&call->waiting, 1);
	__builtin_prefetch((const uint8_t *)&call->waiting + CACHE_LINE, 1);
	__builtin_prefetch((const uint8_t *)&call->waiting + 2 * CACHE_LINE, 1);
}
/* The stream is gone. Frees a call that never arrived. */
void call_closed(struct call *call);
/* `len` bytes of it were taken by the kernel, or thrown away. */
void call_taken(struct call *call, uint64_t len);
void piece_free(struct piece *piece);

/* ---- sessions ---- */

/* What sending touches comes first: with thousands of them each line of it is one from memory. */
struct session {
	struct transport_loop *loop;
	struct session *due_next;
	struct call *calls;
	uint8_t *out; /* sealed and not taken by the kernel, lent while there is some */
	struct websocket *websocket; /* NULL: bare */
	uint8_t *prelude;            /* goes out before everything else, as it is; heap */
	uint8_t *early_text;         /* plaintext before HTTP/2; heap */
	bool due, broken, closing;
	bool own_due; /* nghttp2 has frames to send */
	bool over;    /* and wants no more, neither way */
	bool more;    /* what stopped it was its quantum */
	struct ts2021_cipher send;
	int64_t window;         /* for DATA, of the whole connection */
	uint32_t stream_window; /* that a stream begins with */
	uint32_t quantum;       /* how much it may have sealed at once */
	struct io_stream stream;
	uint64_t stalled_since; /* no progress of `out` */
	size_t out_len, out_at;
	size_t prelude_len, early_len;
	nghttp2_session *h2;
	struct h2_input input;
	struct ts2021_cipher receive;
	uint8_t *in; /* part of a record, lent while there is one */
	size_t in_len;
	ev_io io;
	ev_timer again; /* reads on with the loop's next turn */
	struct public_key machine;
	uint16_t version;
	bool used;                          /* had a call */
	uint64_t closing_since, idle_since; /* idle: no call; 0: not */
	size_t bodies;                      /* bytes of requests that are not whole */
	struct session *next, **prev;
	struct session *same_next, **same_prev; /* those in one bucket of the loop's table */
};

static inline void session_fetch(const struct session *session)
{
	if (!session)
		return;
	__builtin_prefetch(session, 1);
	__builtin_prefetch((const uint8_t *)session + CACHE_LINE, 1);
	__builtin_prefetch((const uint8_t *)session + 2 * CACHE_LINE, 1);
}

/* Takes the stream. NULL: no memory; it is the caller's then. */
struct session *session_new(struct transport_loop *loop, struct io_stream *stream,
	const struct public_key *machine, uint16_t version, const struct ts2021_keys *keys);
void session_close(struct session *session);
/* Has something to send: at the end of the loop's turn. */
void session_due(struct session *session);
/* Closes after what it still has to send. */
void session_finish(struct session *session);
bool session_is_blocked(const struct session *session);
/* Closes those that have waited too long, for whatever. */
void sessions_walk(struct transport_loop *loop);

/* ---- h2.c ---- */

/* Of one loop. */
struct h2_memory {
	uint8_t *base;   /* NULL: there is no pool */
	unsigned n, max; /* slots that were ever taken, that there are */
	void *free;      /* each begins with the next */
	nghttp2_mem functions;
};

void h2_memory_init(struct h2_memory *memory);
void h2_memory_fini(struct h2_memory *memory);

int h2_open(struct session *session);
/* Plaintext that arrived; negative: the session is broken. */
int h2_receive(struct session *session, const uint8_t *text, size_t len);
/* A piece came down; its call is in a session. */
void h2_take_piece(struct call *call, struct piece *piece);
/* nghttp2 has frames to send. */
void h2_due(struct session *session);
/* All frames that there are, until flush.c has no room; sets `more` and `over`. */
void h2_send(struct session *session);
/* Nothing comes behind what the call has queued: END_STREAM does, when that is sent. */
void h2_end(struct call *call);

/* ---- h2_data.c ---- */

void data_enqueue(struct call *call, struct piece *piece);
/* A piece that is not sent. */
void data_drop(struct call *call, struct piece *piece);
void data_drop_all(struct call *call);
/* Some session's call has a frame that may be sent. */
bool data_waits(const struct session *session);
void data_send(struct session *session);
/* The far end takes more; false: more than there is. */
bool data_give_window(struct session *session, struct call *call, uint32_t increment);
/* The window that streams begin with, those that have begun too; false: one has more than there is.
 */
bool data_begin_with(struct session *session, uint32_t window);

/* ---- flush.c: sealing, for all sessions of a loop that have something to send ---- */

#define SEAL_ITEMS AEAD_BURST_MAX
#define FLUSH_SESSIONS 64

struct flush {
	uint8_t *arena;
	size_t arena_at;
	size_t arena_high, arena_touched; /* since the last rest; since its pages were given back */
	struct aead_item items[SEAL_ITEMS];
	unsigned n_items;
	struct session *sessions[FLUSH_SESSIONS];
	struct {
		uint8_t *start;
		size_t len;
	} parts[FLUSH_SESSIONS];
	unsigned n_sessions;
	struct session *now; /* that which is being asked for frames */
	uint8_t *record;     /* of it: one that is still open, or NULL */
	size_t record_len;   /* text in it */
	struct piece *spent; /* freed when sealed */
};

int flush_init(struct flush *flush);
void flush_fini(struct flush *flush);
/* Now and then: where nothing large was sent since the last time most of the arena's pages go. */
void flush_rest(struct flush *flush);
void flush_due(struct transport_loop *loop);
/* For h2.c, while it is asked: false: no more now. */
bool flush_has_room(const struct flush *flush);
void flush_bytes(struct flush *flush, const uint8_t *bytes, size_t len);
void flush_data(struct flush *flush, const uint8_t header[static H2_FRAME_HEADER_LEN],
	struct piece *piece, size_t len);
/* What is in session->out; false: the connection is broken. */
bool flush_out(struct session *session);

/* ---- loops ---- */

#define MACHINE_BUCKETS 4096
#define HANDSHAKES_A_TURN 8
#define HANDSHAKES_WAITING_MAX 16384

struct handshake; /* handshake.c */

struct transport_loop {
	struct io_loop *io;
	ev_prepare before_wait;
	ev_idle busy; /* while handshakes wait: the loop does not sleep */
	ev_timer walk;
	struct session *sessions;
	_Atomic unsigned n_sessions; /* read by scrapes */
	struct session *machines[MACHINE_BUCKETS];
	struct session *due, **due_tail; /* none is in it twice */
	struct flush flush;
	struct h2_memory h2_memory;
	struct handshake *handshakes, **handshakes_tail;
	unsigned n_handshakes;
	uint8_t *scratch; /* READ_MAX */
};

#define READ_MAX 65536

struct transport_loop *transport_loop_here(void);
unsigned transport_bucket(const struct public_key *machine);

/* ---- handshake.c ---- */

struct front_request;
void handshake_serve(struct front_request *request, void *user);
/* /ts2021 without the right Upgrade. */
void handshake_refuse(struct front_request *request, void *user);
/* A few of those that wait. */
void handshakes_run(struct transport_loop *loop);
void handshakes_drop(struct transport_loop *loop);

/* ---- the whole ---- */

struct transport_counts {
	_Atomic uint64_t handshakes, handshakes_failed, too_old, requests, messages, bytes_sealed,
		stalled, broken;
};

struct transport {
	const struct rpc_ops *ops;
	struct ts2021_server server;
	char early[96]; /* JSON of the early payload */
	char *server_url;
	struct transport_loop *loops;
	uint64_t seed; /* of the tables of machines */
	struct transport_counts counts;
};
extern struct transport transport;

static inline void transport_count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* ---- pages.c ---- */

int pages_add(struct err *err);
/* For HTML and XML. */
void print_escaped(FILE *out, const char *text);

/* ---- profile.c ---- */

void serve_profile(struct front_request *request, void *user);

/* ---- key_file.c ---- */

int key_file_load(struct ts2021_server *server, const char *path, struct err *err);
