/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Tunnels, peers and handshakes as control knows them. Control loop, except the fields that
 * `struct peer` and `struct tunnel` mark as guarded, which jobs use too.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cookie.h"
#include "dataplane.h"
#include "noise.h"
#include "peer.h"
#include "ratelimiter.h"
#include "wg_timers.h"

#define PEER_STAGED_MAX 128
#define TUNNEL_ADDED_MAX 8
#define HANDSHAKE_JOBS_MAX 1024

struct tunnel;

/* What is wanted of a peer, whoever says so. Owns its strings. */
struct peer_spec {
	char name[64];
	struct public_key public_key;
	struct symmetric_key preshared_key; /* zero: none */
	char endpoint[300];                 /* empty: none */
	uint64_t persistent_keepalive;      /* ns */
	struct net_prefix *allowed_ips;
	size_t n_allowed_ips;
};

enum peer_origin { PEER_FROM_CONFIG, PEER_FROM_STATE, PEER_VOLATILE };

struct peer {
	struct tunnel *tunnel;
	uint32_t index; /* into peers.slots */
	uint32_t generation;
	enum peer_origin origin;
	struct peer_spec spec;
	struct peer *next_by_key; /* bucket of the tunnel's table; written under tunnel->lock */

	/* guarded by `lock`: the loop and jobs */
	pthread_mutex_t lock;
	struct noise_peer noise;
	struct cookie_maker cookie;
	struct noise_timestamp last_sent_timestamp;

	atomic_uint refs; /* the tunnel's and one per job */
	bool dead;        /* removed; set on the loop */

	struct wg_timers timers;
	ev_timer timer;
	struct keypair *previous, *current, *next;
	uint32_t handshake_index;     /* of our initiation under way; 0: none */
	bool initiating;              /* a job makes an initiation */
	struct net_endpoint endpoint; /* literal or last looked up; family 0: none */
	bool looking_up;
	uint64_t last_handshake_unix;            /* s; 0: never */
	uint64_t message_sent, message_received; /* ns: authentic handshake messages */
	unsigned round;                          /* of the last tunnel_peers_apply that wanted it */
	unsigned n_staged;
	struct rte_mbuf *staged[PEER_STAGED_MAX]; /* oldest first */
};

struct tunnel_counters {
	uint64_t initiations_sent, initiations_received, responses_sent, responses_received;
	uint64_t cookies_sent, cookies_received, handshakes_completed;
	uint64_t refused_mac1, refused_authentic, refused_unknown_peer, refused_replayed,
		refused_flooded, refused_unexpected, refused_ratelimit, refused_queue_full;
};

struct tunnel {
	uint32_t index;
	char name[64];
	char interface[16];   /* empty: none */
	struct dp_tunnel *dp; /* what workers see; in the table */
	struct allowedips allowed_ips;
	uint16_t listen_port; /* host order */
	uint32_t fwmark;
	bool kernel_routes;
	struct port *tun, *udp;
	struct setting_list addresses;             /* struct net_prefix, of the settings */
	struct net_prefix added[TUNNEL_ADDED_MAX]; /* by operation */
	unsigned n_added;

	/* guarded by `lock`: the loop writes, jobs read */
	pthread_rwlock_t lock;
	struct noise_local local;
	struct peer **by_key;
	uint32_t n_buckets, n_peers;

	/* guarded by `cookie_lock` */
	pthread_mutex_t cookie_lock;
	struct cookie_checker checker;
	struct ratelimiter ratelimiter;

	struct noise_timestamp timestamp_floor; /* new peers' initiations are later than this */
	uint64_t timestamp_kept;                /* unix ns, in the state directory */

	uint64_t window_start; /* ns; handshake messages are counted in windows */
	unsigned window_count;
	_Atomic uint64_t loaded_until; /* ns: answers with cookies until then */
	atomic_uint jobs;              /* handshake messages waiting for or in a job */
	struct tunnel_counters counters;
};

/* Zeroed and aligned for the keys inside; free() it. */
static inline void *control_zalloc(size_t size)
{
	size = (size + 63) / 64 * 64;
	void *p = aligned_alloc(64, size);

	return p ? memset(p, 0, size) : NULL;
}

/* ---- tunnels.c: all tunnels of the process --------------------------------------------------- */
extern struct tunnel *tunnels[TUNNELS_MAX];
extern uint32_t n_tunnels;
int tunnels_start(const struct dataplane_conf *conf, struct err *err);
void tunnels_stop(void);
/* What `check` asks: could these peers be taken over, their key files read? */
int tunnel_peers_check(const struct tunnel_conf *conf, struct err *err);
/* Settings that a running tunnel takes over: peers, relay_peers. */
void tunnel_apply(struct tunnel *t, const struct tunnel_conf *conf);
struct tunnel *tunnel_find(const char *name); /* NULL: the only tunnel, if there is one */
/* The settings' peers and those of the state directory become the peers that run. */
void tunnel_peers_apply(struct tunnel *t, const struct tunnel_conf *conf);
void tunnel_set_private_key(struct tunnel *t, const struct private_key *key);
/* An address of ours besides those of the settings, until the tunnel closes. */
int tunnel_address_add(struct tunnel *t, const struct net_prefix *address, struct err *err);
/* The i-th address, NULL past the end. */
const struct net_prefix *tunnel_address(const struct tunnel *t, size_t i);
/* Host underlay: other sockets, with this port and mark; on failure the old ones stay. */
int tunnel_rebind(struct tunnel *t, uint16_t listen_port, uint32_t fwmark, struct err *err);
int tunnel_interface_open(struct tunnel *t, const struct tunnel_conf *conf, struct err *err);
/* Makes an interface that was deleted anew, with its addresses and routes. Returns the port that it
 * had, to be removed when workers know of the new one; NULL: nothing was to be done, or it failed.
 */
struct port *tunnel_interface_restore(struct tunnel *t, const struct tunnel_conf *conf);
/* The kernel's (TUN) or our (Ethernet) route to a peer's prefix; kept while any peer has it. */
void tunnel_route_add(struct tunnel *t, const struct net_prefix *prefix, uint32_t peer);
void tunnel_route_remove(struct tunnel *t, const struct net_prefix *prefix);
void tunnel_key_text(const struct tunnel *t, char text[static 45]);

/* ---- peers.c: slots and lives of peers ------------------------------------------------------- */
int peers_init(uint32_t max, unsigned n_workers, struct err *err);
void peers_fini(void);
struct peer *peer_new(
	struct tunnel *t, const struct peer_spec *spec, enum peer_origin origin, struct err *err);
/* Takes over new values; `taken` (may be NULL) gets lines about prefixes taken from others. */
void peer_update(
	struct peer *p, const struct peer_spec *spec, enum peer_origin origin, json_t *taken);
void peer_remove(struct peer *p);
void peer_claim(struct peer *p); /* those of its allowed IPs that nobody has */
struct peer *peer_find(struct tunnel *t, const struct public_key *key);
/* NULL: none. *other: a second one has that name too. */
struct peer *peer_find_text(struct tunnel *t, const char *key_or_name, struct peer **other);
struct peer *peer_by_index(uint32_t index);     /* NULL: none */
struct peer *peer_by_index_get(uint32_t index); /* any thread; counted */
struct peer *peer_get(struct peer *p);          /* any thread that knows p to live */
void peer_put(struct peer *p);
void peer_path_publish(
	struct peer *p, const struct net_endpoint *remote, const struct packet_path *local);
void peer_run_timers(struct peer *p);
void peer_stage(struct peer *p, struct rte_mbuf *m);
void peer_want_handshake(struct peer *p);
void peer_session(struct peer *p, struct noise_keys *keys);
void peer_confirmed(struct peer *p, uint32_t local_index);
void peer_zero_keys(struct peer *p);
struct peer_totals {
	uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes; /* of all workers */
};
void peer_traffic_sum(const struct peer *p, struct peer_totals *sum);
bool peer_spec_copy(struct peer_spec *to, const struct peer_spec *from);
void peer_spec_fini(struct peer_spec *spec);
bool peer_spec_equal(const struct peer_spec *a, const struct peer_spec *b);
uint32_t peer_random(void);

/* ---- paths.c: where paths of peers lie ------------------------------------------------------- */
int paths_init(uint32_t max_peers);
void paths_fini(void);
struct peer_path *path_new(void); /* zeroed; NULL: no memory */
void path_free(void *path);

/* ---- keypairs.c: key pairs and receiver indices ------------------------------------------------
 */
/* The low bits place an index; 0 is never one, and the answer when all are taken. Any thread. */
uint32_t index_new(uint32_t peer);
void index_free(uint32_t index);
uint32_t index_peer(uint32_t index); /* PEER_NONE */
/* Control loop. `keys` are copied; not reachable before keypair_publish. NULL: no memory. */
struct keypair *keypair_new(const struct peer *p, const struct noise_keys *keys);
void keypair_publish(struct keypair *kp); /* into the index table */
/* Takes it out and frees it after a grace period; NULL is fine. Unlink it elsewhere before. */
void keypair_drop(struct keypair *kp);
void keypairs_fini(void);

/* ---- handshake.c: messages 1 to 3 through jobs ------------------------------------------------
 */
void handshake_initiate(struct peer *p);
void handshake_forget(struct peer *p); /* the one under way, and its secrets */
void handshake_set_preshared_key(struct peer *p, const struct symmetric_key *key);
/* Peers refuse an initiation that is not later than the last: also when the clock went back over a
 * restart. */
void handshake_timestamp_load(struct tunnel *t);
void handshake_drain(void); /* waits for the jobs: before tunnels go */

/* ---- endpoint.c: names of endpoints ------------------------------------------------------------
 */
/* Looks the peer's endpoint up again, if it is a name and no look-up is under way. */
void endpoint_lookup(struct peer *p);
void endpoint_apply(struct peer *p); /* a literal at once, a name by look-up */

/* ---- peers_state.c: peers given by command, kept in the state directory ------------------------
 */
struct peers_state_entry {
	bool removed; /* the settings' peer of that key is not wanted */
	struct peer_spec spec;
};
int peers_state_load(
	const char *tunnel, struct peers_state_entry **entries, size_t *n, struct err *err);
void peers_state_free(struct peers_state_entry *entries, size_t n);
enum peers_state_change {
	PEERS_STATE_KEEP,   /* the whole spec */
	PEERS_STATE_REMOVE, /* the settings name the key: it is not wanted all the same */
	PEERS_STATE_FORGET, /* nothing else names the key */
};
/* Done on the loop when it is on disk. */
void peers_state_put(const char *tunnel, const struct peer_spec *spec,
	enum peers_state_change change, void (*done)(void *arg, int error, const struct err *err),
	void *arg);

void peers_state_forget(void); /* what is kept in memory of the files; before stop ends */

/* ---- operations --------------------------------------------------------------------------------
 */
extern const struct op dataplane_ops[];
uint64_t drops_sum(unsigned number); /* over all workers */
