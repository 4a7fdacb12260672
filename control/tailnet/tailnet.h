/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The tailnet in memory: users, nodes, keys, pending registrations, and the indexes that find them.
 * Look-ups are plain functions. Memory changes only when a transaction of the store is on disk:
 * what changes something takes a completion, which runs on the loop, after memory has changed and
 * never before the call returns. Control loop.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tailplane/err.h>
#include <tailplane/net.h>
#include <tailplane/store.h>

#include "authkey.h"
#include "due.h"
#include "hostinfo.h"
#include "index.h"
#include "lane.h"
#include "names.h"
#include "secret.h"

#define TAILNET_STORE "control" /* the name of the schema */
/* Tagged nodes have no user; clients see them under this one. */
#define TAGGED_USER_ID 2147455555
#define TAGGED_USER_LOGIN "tagged-devices"
#define TAGGED_USER_NAME "Tagged Devices"

/* ---- what is kept -------------------------------------------------------------------------- */

struct user_data {
	int64_t id;
	char *name, *display_name, *email, *picture, *provider, *provider_id;
	int64_t created; /* Unix ns, as all times here; 0: never */
};

struct user {
	struct user_data d;
	struct node *nodes; /* by next_of_user */
	size_t n_nodes;
};

struct preauth_data {
	int64_t id;
	char *prefix;
	uint8_t hash[AUTHKEY_HASH_LEN];
	int64_t user; /* 0: tagged nodes' */
	bool reusable, ephemeral, used;
	char *tags; /* JSON array of strings */
	int64_t created, expiry, revoked;
};

struct preauth {
	struct preauth_data d;
};

struct apikey_data {
	int64_t id;
	char *prefix;
	uint8_t hash[AUTHKEY_HASH_LEN];
	int64_t created, expiry, last_used;
};

struct apikey {
	struct apikey_data d;
};

enum register_method { /* kept as a number */
	REGISTER_METHOD_UNSPECIFIED,
	REGISTER_METHOD_AUTH_KEY,
	REGISTER_METHOD_CLI,
	REGISTER_METHOD_OIDC,
};

struct node_data {
	int64_t id;
	struct public_key machine, key;
	struct public_key disco; /* zero until its first map request */
	struct public_key lock;  /* tailnet lock; zero: none */
	int64_t user;            /* 0: tagged */
	char *tags;              /* JSON array of strings; "[]" for a user's */
	int64_t method;          /* enum register_method */
	int64_t preauth;         /* id of the key that it came with, or 0 */
	bool ephemeral;
	bool approved;   /* by an administrator, or no approval was needed */
	bool renamed;    /* the label was given by an administrator: host names do not change it */
	char *label;     /* its name in DNS, one in the tailnet */
	char *hostname;  /* as it says */
	char *hostinfo;  /* as hostinfo_store made it */
	char *endpoints; /* as endpoints_store made it */
	char *approved_routes; /* JSON array of prefixes */
	char *served;          /* the same: those that it was primary for; see routes.h */
	struct net_addr v4, v6;
	int64_t cap; /* the client's capability version */
	int64_t created, expiry, last_seen;
};

/* Which of a node's routes is given to whom: see routes.h. */
struct node_route {
	struct net_prefix prefix;
	bool primary; /* this node has it; of the exit routes all have it */
};

struct node {
	struct node_data d;
	struct user *user; /* NULL: tagged */
	struct node *next_of_user, **prev_of_user;

	/* made from d when it changes */
	struct hostinfo info;
	uint8_t said[HOSTINFO_SAID_LEN]; /* that changes nothing of it; zero: unknown */
	struct net_prefix *approved;     /* sorted */
	size_t n_approved;
	struct node_route *routes; /* effective: advertised and approved; sorted */
	size_t n_routes;
	struct route_set **sets; /* that it is a member of; see routes.c */
	size_t n_sets;
	unsigned counted; /* by routes_contended */

	/* The key before the last rotation; the old map poll may go on for a moment. */
	struct public_key previous_key;
	uint64_t previous_until; /* ns, monotonic */

	/* presence: see presence.c */
	unsigned sessions, sessions_begun;
	bool online;  /* what others are told */
	bool ready;   /* others can use it: it has told its disco key, and where it is */
	bool mapped;  /* its stream has a full map: what it says of itself next is whole */
	bool expired; /* its key is, and others were told */
	bool failing; /* for routes: its stream closed, or it did not answer */
	int64_t seen; /* Unix ns; d.last_seen follows when it goes offline */
	/* The pre-auth key that it joined with, until it has a map or joined_until (ns, monotonic):
	 * who did not hear our answer asks again, with another node key. */
	int64_t joined_with;
	uint64_t joined_until;
	/* ns, monotonic; 0: not due. `awaited_until`: it served routes before the server's start,
	 * and keeps them until then */
	uint64_t offline_at, failing_at, expire_at, ephemeral_at, awaited_until, ready_at;
	struct due due;

	void *map; /* the map engine's */
};

/* What is different in a node now; several at once. */
enum node_change {
	NODE_NEW = 1 << 0,
	NODE_KEY = 1 << 1,
	NODE_DISCO = 1 << 2,
	NODE_ENDPOINTS = 1 << 3, /* others should know: not a mere loss of some */
	NODE_DERP = 1 << 4,
	NODE_CAP = 1 << 5,
	NODE_ONLINE = 1 << 6,
	NODE_NAME = 1 << 7,
	NODE_ADDRESS = 1 << 8,
	NODE_ROUTES = 1 << 9, /* effective or primary */
	NODE_TAGS = 1 << 10,
	NODE_USER = 1 << 11,
	NODE_EXPIRY = 1 << 12,
	NODE_HOSTINFO = 1 << 13, /* of what others see */
	NODE_APPROVED = 1 << 14,
	NODE_READY = 1 << 15,
	NODE_OTHER = 1 << 16, /* nothing that a map shows */
};

struct pending;

/* Who wants to know. Called after memory changed; may look, may not change the tailnet at once. */
struct tailnet_listener {
	void (*node_changed)(void *arg, struct node *node, unsigned what);
	void (*node_removed)(void *arg, struct node *node); /* still whole, no longer found */
	void (*user_changed)(void *arg, struct user *user);
	/* A registration asks, was decided, or `left` undecided: its time was over, or newer ones
	 * needed its place. NULL: not wanted. */
	void (*pending_changed)(void *arg, const struct pending *pending, bool left);
	void *arg;
	struct tailnet_listener *next;
};

enum allocation { ALLOCATE_SEQUENTIAL, ALLOCATE_RANDOM };

struct tailnet_conf {
	struct net_prefix v4, v6; /* pools; family 0: none of that family */
	enum allocation allocation;
	uint64_t node_expiry;       /* ns; 0: never */
	uint64_t ephemeral_timeout; /* ns */
	uint64_t offline_grace;     /* ns; default 10 s */
	uint64_t settle;         /* ns, from a node's first report until others are told anyway */
	uint64_t route_grace;    /* ns, from a router's last stream to failover */
	uint64_t pending_expiry; /* ns */
	size_t pending_max;
	uint64_t revoked_retention; /* ns, from a key's revocation to its removal; 0: it stays */
	bool device_approval;       /* new nodes wait for `nodes approve` */
	/* Of the state directory, that a backup must hold too; NULL-terminated, they stay. */
	const char *const *files;
	/* NULL: the system's clocks */
	int64_t (*wall)(void);   /* Unix ns */
	uint64_t (*clock)(void); /* ns, monotonic */
	/* tailnet_due has become earlier. NULL: nobody waits. */
	void (*wake)(void *arg);
	void *wake_arg;
};

/* A counter in the store; see change.c. */
struct counter {
	const char *name;
	int64_t committed, next;
	unsigned epoch;
};

struct tailnet {
	struct tailnet_conf conf;
	struct index users_by_id, users_by_name;
	struct index nodes_by_id, nodes_by_key, nodes_by_machine, nodes_by_label, nodes_by_addr;
	struct index preauths_by_id, preauths_by_prefix;
	struct index apikeys_by_id, apikeys_by_prefix;
	struct index pending_by_id, pending_by_key;
	struct pending *pending_oldest, **pending_tail;
	struct index reserved;    /* names and addresses of transactions under way */
	struct index label_hints; /* see labels.c */
	struct index route_sets;  /* see routes.c */
	struct lanes lanes;
	struct due_heap due;
	uint64_t sweep_at; /* ns, monotonic: revoked keys are looked through; 0: not */
	struct counter node_ids, user_ids, preauth_ids, apikey_ids, v4_offsets, v6_offsets;
	struct change *deferred, **deferred_tail; /* over, completion to come */
	struct row_change *rows_deferred, **rows_deferred_tail;
	size_t n_users, n_nodes, n_preauths, n_apikeys, n_online, n_pending;
	struct tailnet_listener *listeners;
	const struct policy_ops *policy; /* never NULL */
	bool stopping;                   /* nobody takes a route over any more */
};

/* ---- life ---------------------------------------------------------------------------------- */

/* Declares the tables and reads them. In a plugin's start. */
int tailnet_open(struct tailnet *t, const struct tailnet_conf *conf, struct err *err);
/* Streams end from now on because the server does: that moves no route. */
void tailnet_stopping(struct tailnet *t);
/* No transaction may be under way (store_drain). */
void tailnet_close(struct tailnet *t);
/* Changed settings: from then on. */
void tailnet_configure(struct tailnet *t, const struct tailnet_conf *conf);
void tailnet_listen(struct tailnet *t, struct tailnet_listener *listener);
void tailnet_unlisten(struct tailnet *t, struct tailnet_listener *listener);

int64_t tailnet_wall(const struct tailnet *t);
uint64_t tailnet_clock(const struct tailnet *t);
/* When tailnet_run wants to be called (monotonic ns; 0: not at all), and what is due by then. */
uint64_t tailnet_due(const struct tailnet *t);
void tailnet_run(struct tailnet *t);

/* ---- look-ups ------------------------------------------------------------------------------ */

struct user *user_by_id(const struct tailnet *t, int64_t id);
struct user *user_by_name(const struct tailnet *t, const char *name);
/* An id or a name, as a person types it. */
struct user *user_by_word(const struct tailnet *t, const char *word);
struct node *node_by_id(const struct tailnet *t, int64_t id);
struct node *node_by_key(const struct tailnet *t, const struct public_key *key);
/* By its key now, or the one before while that is still taken; only of this machine. */
struct node *node_by_keys(
	const struct tailnet *t, const struct public_key *machine, const struct public_key *key);
struct node *node_by_label(const struct tailnet *t, const char *label);
struct node *node_by_addr(const struct tailnet *t, const struct net_addr *addr);
struct node *node_by_word(const struct tailnet *t, const char *word); /* id, label, address */
/* The nodes of a machine, one after another: `at` starts as INDEX_FIRST. */
struct node *node_of_machine(const struct tailnet *t, const struct public_key *machine, size_t *at);
struct preauth *preauth_by_id(const struct tailnet *t, int64_t id);
struct apikey *apikey_by_id(const struct tailnet *t, int64_t id);
struct apikey *apikey_by_prefix(const struct tailnet *t, const char *prefix);

/* All of a kind in rising order of id, into a heap array that the caller frees; NULL: none, or no
 * memory. */
struct user **users_list(const struct tailnet *t, size_t *n);
struct node **nodes_list(const struct tailnet *t, size_t *n);
struct preauth **preauths_list(const struct tailnet *t, size_t *n);
struct apikey **apikeys_list(const struct tailnet *t, size_t *n);

const char *user_login(const struct user *user); /* what clients show; NULL user: tagged */
const char *user_display(const struct user *user);
bool node_is_expired(const struct tailnet *t, const struct node *node);
bool node_has_tag(const struct node *node, const char *tag);
/* Others can see it: usable and approved. */
bool node_is_shown(const struct node *node);
/* `again`: for the machine that has spent it. */
bool preauth_is_valid(
	const struct tailnet *t, const struct preauth *key, bool again, const char **why);

/* ---- changes ------------------------------------------------------------------------------- */

/* How one ended: 0, or -ENOENT, -EINVAL, -EEXIST, -EBUSY, -EAGAIN ... with a sentence. */
struct tailnet_result {
	int error;
	const char *why;    /* NULL when 0 */
	int64_t id;         /* of what was made or changed */
	const char *secret; /* of a new key: its text, shown once; gone after the completion */
};
typedef void (*tailnet_done_fn)(void *arg, const struct tailnet_result *result);

struct user_wish {
	const char *name, *display_name, *email, *picture, *provider, *provider_id; /* NULL: "" */
};
void user_create(struct tailnet *t, const struct user_wish *wish, tailnet_done_fn done, void *arg);
void user_rename(struct tailnet *t, int64_t id, const char *name, tailnet_done_fn done, void *arg);
/* -EBUSY while it has nodes; its pre-auth keys go with it. */
void user_remove(struct tailnet *t, int64_t id, tailnet_done_fn done, void *arg);

struct preauth_wish {
	int64_t user; /* 0: only with tags */
	bool reusable, ephemeral;
	const char *const *tags;
	size_t n_tags;
	int64_t expiry; /* 0: never */
};
void preauth_create(
	struct tailnet *t, const struct preauth_wish *wish, tailnet_done_fn done, void *arg);
void preauth_expire(struct tailnet *t, int64_t id, tailnet_done_fn done, void *arg);
void preauth_remove(struct tailnet *t, int64_t id, tailnet_done_fn done, void *arg);

void apikey_create(struct tailnet *t, int64_t expiry, tailnet_done_fn done, void *arg);
void apikey_expire(struct tailnet *t, int64_t id, tailnet_done_fn done, void *arg);
void apikey_remove(struct tailnet *t, int64_t id, tailnet_done_fn done, void *arg);

void node_rename(struct tailnet *t, int64_t id, const char *label, tailnet_done_fn done, void *arg);
/* At that time (in the past: now); 0: never. */
void node_expire(struct tailnet *t, int64_t id, int64_t expiry, tailnet_done_fn done, void *arg);
void node_remove(struct tailnet *t, int64_t id, tailnet_done_fn done, void *arg);
/* At least one; a user's node becomes nobody's. */
void node_set_tags(struct tailnet *t, int64_t id, const char *const *tags, size_t n,
	tailnet_done_fn done, void *arg);
/* These and no others; an exit route of one family stands for both. */
void node_approve_routes(struct tailnet *t, int64_t id, const struct net_prefix *routes, size_t n,
	tailnet_done_fn done, void *arg);
/* Unset addresses stay as they are. They must lie in the pools (or the families' ranges) and be
 * nobody else's. */
void node_set_addresses(struct tailnet *t, int64_t id, const struct net_addr *v4,
	const struct net_addr *v6, tailnet_done_fn done, void *arg);
/* Gives it what it lacks of the pools' families, and takes what no pool has. */
void node_backfill(struct tailnet *t, int64_t id, tailnet_done_fn done, void *arg);
void node_approve(struct tailnet *t, int64_t id, bool approved, tailnet_done_fn done, void *arg);

/* What a client says in a map request that carries state (a "lite" one). */
struct node_report {
	const struct public_key *disco; /* NULL or zero: nothing said */
	int64_t cap;
	const json_t *hostinfo;  /* NULL: nothing said, or nothing new */
	const uint8_t *said;     /* hash of the text of `hostinfo`; NULL or zero: unknown */
	const json_t *endpoints; /* NULL: nothing said */
};
/* Whether a report of the Hostinfo with this hash would change nothing of it. */
bool node_said(const struct tailnet *t, const struct node *node,
	const uint8_t said[static HOSTINFO_SAID_LEN]);
void node_report(struct tailnet *t, struct node *node, const struct node_report *report,
	tailnet_done_fn done, void *arg);

/* ---- presence ------------------------------------------------------------------------------ */

/* Map streams of a node begin and end; each begin has its end, in any order. */
void node_session_begin(struct tailnet *t, struct node *node);
/* A full map went out to it; `busy`: many more do, and what it says next may take longer. */
void node_mapped(struct tailnet *t, struct node *node, bool busy);
void node_session_end(struct tailnet *t, struct node *node);
/* The answer of a probe, or that there was none. For routes. */
void node_probed(struct tailnet *t, struct node *node, bool alive);
