/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The control side of neighbours: asks for MACs, answers for ours, ages what it knows. Control
 * loop.
 *
 * States, after RFC 4861: INCOMPLETE (everybody is asked, packets wait), REACHABLE, STALE (still
 * used; if workers do use it, it is asked directly: PROBE; without an answer it is forgotten),
 * FAILED (of everybody nobody answered: senders are told for a while, without asking again for each
 * packet). On a port with a mirror the kernel resolves: we ask it to, and take over what it finds;
 * the kernel ages those.
 *
 * Bounds: neighbours, unanswered ones, packets that wait for one of them, and for all.
 */
#include "neigh.h"

#include <errno.h>
#include <stdlib.h>

#include <rte_ether.h>
#include <rte_mbuf.h>
#include <rte_random.h>

#include "fib.h"
#include "icmp.h"
#include "ip_parse.h"
#include "mirror.h"
#include "neigh_private.h"
#include "tailplane/plugin.h"

#define NEIGHBOURS_MAX 8192
#define INCOMPLETE_MAX 512
#define HELD_MAX 1024
#define SECOND 1000000000ull
#define HELD_NS SECOND
#define PROBES 3
#define PROBE_NS SECOND
#define REACHABLE_NS (30 * SECOND)
#define KERNEL_ASK_NS (15 * SECOND)
#define UNUSED_NS (120 * SECOND)
#define FAILED_NS (3 * SECOND)
#define TICK_S 0.25
#define ERRORS_PER_TICK 25

static const char *const state_names[] = {"incomplete", "reachable", "stale", "probe", "failed"};

const struct drop_reason neigh_drops[] = {
	{"neigh_too_many", "more neighbours, or unanswered questions, than the table holds"},
	{"neigh_held_full", "more packets wait for a neighbour's MAC than may"},
	{"neigh_unresolved", "nobody answers for the next hop's address"},
	{"neigh_malformed", "an ARP or ND packet that is broken or not for us"},
	{"neigh_no_buffer", "no packet buffer for a question about a neighbour, or an answer"},
	{NULL, NULL},
};

static struct {
	struct neighbours *table;
	struct fib *fib;
	struct neigh *all;
	unsigned n, n_incomplete, n_held, errors;
	unsigned drops[NEIGH_DROPS];
	ev_timer tick;
} nb;

void neigh_drop(struct rte_mbuf *m, unsigned reason)
{
	control_drops[nb.drops[reason]]++;
	rte_pktmbuf_free(m);
}

/* ---- the table ----------------------------------------------------------------------------- */

static void state_set(struct neigh *n, enum neigh_state state)
{
	nb.n_incomplete += (state == INCOMPLETE) - (n->state == INCOMPLETE);
	n->state = state;
	n->since = core_now();
	n->probes = 0;
	n->ask_at = n->since + PROBE_NS;
}

struct neigh *neigh_get(const struct neigh_key *key)
{
	return (struct neigh *)neigh_find(nb.table, key);
}

struct neigh *neigh_new(const struct neigh_key *key)
{
	_Atomic(struct neigh_entry *) *bucket = &nb.table->buckets[neigh_hash(nb.table, key)];
	struct neigh *n;

	if (nb.n >= NEIGHBOURS_MAX || nb.n_incomplete >= INCOMPLETE_MAX)
		return NULL;
	n = calloc(1, sizeof(*n));
	if (!n)
		return NULL;
	n->entry.key = *key;
	n->state = FAILED;
	state_set(n, INCOMPLETE);
	n->next = nb.all;
	n->at = &nb.all;
	if (nb.all)
		nb.all->at = &n->next;
	nb.all = n;
	nb.n++;
	atomic_init(&n->entry.next, atomic_load_explicit(bucket, memory_order_relaxed));
	/* pairs with the acquire load in neigh_find */
	atomic_store_explicit(bucket, &n->entry, memory_order_release);
	return n;
}

static void held_drop(struct neigh *n, unsigned reason)
{
	nb.n_held -= n->n_held;
	while (n->n_held)
		neigh_drop(n->held[--n->n_held].m, reason);
}

/* Workers may still hold the entry: they got it from the chain before it left. */
static void neigh_remove(struct neigh *n)
{
	_Atomic(struct neigh_entry *) *at = &nb.table->buckets[neigh_hash(nb.table, &n->entry.key)];
	struct neigh_entry *e;

	held_drop(n, NEIGH_DROP_UNRESOLVED);
	while ((e = atomic_load_explicit(at, memory_order_relaxed)) != &n->entry)
		at = &e->next;
	atomic_store_explicit(
		at, atomic_load_explicit(&e->next, memory_order_relaxed), memory_order_release);
	*n->at = n->next;
	if (n->next)
		n->next->at = n->at;
	nb.n_incomplete -= n->state == INCOMPLETE;
	nb.n--;
	control_retire(n, free);
}

/* ---- sending ------------------------------------------------------------------------------- */

unsigned neigh_worker(const struct neigh_key *key)
{
	unsigned n = control_workers();

	return n ? key->port % n : 0;
}

/* Asks who has the address: the one that we believe in, or everybody. */
static void ask(const struct neigh_key *key, const uint8_t mac[6])
{
	const struct port *port = control_port(key->port);
	struct neigh_frame f = {.op = NEIGH_REQUEST, .family = key->family, .vlan = key->vlan};

	if (!port ||
		!fib_source(nb.fib, key->port, key->vlan, TUNNEL_NONE, key->family, f.our_addr))
		return;
	memcpy(f.our_mac, port->mac, 6);
	memcpy(f.target, key->addr, 16);
	if (mac)
		memcpy(f.target_mac, mac, 6);
	neigh_frame_send(key, &f);
}

static void solicit(struct neigh *n)
{
	uint64_t value = atomic_load_explicit(&n->entry.mac, memory_order_relaxed);
	uint8_t mac[6];

	memcpy(mac, &value, 6);
	n->probes++;
	n->ask_at = core_now() + PROBE_NS;
	if (!mirror_resolve(&n->entry.key))
		ask(&n->entry.key, n->state == PROBE ? mac : NULL);
}

static void held_send(struct neigh *n, const uint8_t mac[static 6])
{
	const struct port *port = control_port(n->entry.key.port);

	for (unsigned i = 0; i < n->n_held; i++) {
		struct rte_mbuf *m = n->held[i].m;
		struct packet *p = packet_of(m);
		uint16_t type = *rte_pktmbuf_mtod(m, uint8_t *) >> 4 == 4 ? RTE_ETHER_TYPE_IPV4
									  : RTE_ETHER_TYPE_IPV6;

		if (!port || !ether_prepend(m, mac, port->mac, n->entry.key.vlan, type)) {
			neigh_drop(m, NEIGH_DROP_UNRESOLVED);
			continue;
		}
		p->kind = PACKET_ETHER;
		p->out_port = n->entry.key.port;
		control_inject(neigh_worker(&n->entry.key), INJECT_ETHER, m);
	}
	nb.n_held -= n->n_held;
	n->n_held = 0;
}

/* ---- what becomes of a neighbour ------------------------------------------------------------ */

void neigh_learned(struct neigh *n, const uint8_t mac[static 6], enum neigh_state state)
{
	uint64_t value = 0;

	memcpy(&value, mac, 6);
	/* the six bytes and the mark in one store: a worker sees both or neither */
	atomic_store_explicit(&n->entry.mac, value | NEIGH_MAC_KNOWN, memory_order_relaxed);
	state_set(n, state);
	held_send(n, mac);
}

/* Ours on the sender's side; where a tunnel has none, on the link that nobody answers on. */
static bool source_find(const struct packet *p, const uint8_t *ip, uint8_t out[static 16])
{
	bool v4 = ip[0] >> 4 == 4;
	int family = v4 ? AF_INET : AF_INET6;
	uint32_t hop = v4 ? fib_lookup4(nb.fib, ip + 12) : fib_lookup6(nb.fib, ip + 8);

	return fib_source_for(nb.fib, hop, family, out) ||
	       fib_source(nb.fib, p->out_port, p->vlan, TUNNEL_NONE, family, out);
}

/* Host unreachable, to the sender of a packet that waited in vain. */
static void tell_unreachable(struct rte_mbuf *m)
{
	struct packet *p = packet_of(m);
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);
	bool v4 = ip[0] >> 4 == 4;
	struct icmp_error error = {.type = v4 ? 3 : 1, .code = v4 ? 1 : 3};
	uint8_t source[16];

	error.source = source;
	control_drops[nb.drops[NEIGH_DROP_UNRESOLVED]]++;
	if (p->flags & PACKET_LOCAL || nb.errors >= ERRORS_PER_TICK ||
		!source_find(p, ip, source) || icmp_error_make(m, &error) != ICMP_MADE) {
		rte_pktmbuf_free(m);
		return;
	}
	nb.errors++;
	p->flags = PACKET_LOCAL | PACKET_HELD | (p->flags & PACKET_FROM_TUNNEL);
	control_inject(p->in_port % RTE_MAX(control_workers(), 1u), INJECT_ROUTE, m);
}

static void failed(struct neigh *n)
{
	atomic_store_explicit(&n->entry.mac, 0, memory_order_relaxed);
	state_set(n, FAILED);
	nb.n_held -= n->n_held;
	for (unsigned i = 0; i < n->n_held; i++)
		tell_unreachable(n->held[i].m);
	n->n_held = 0;
}

static void hold(struct neigh *n, struct rte_mbuf *m)
{
	if (nb.n_held >= HELD_MAX) {
		neigh_drop(m, NEIGH_DROP_HELD_FULL);
		return;
	}
	if (n->n_held == HELD_PER_NEIGHBOUR) {
		neigh_drop(n->held[0].m,
			NEIGH_DROP_HELD_FULL); /* the newest are wanted most (RFC 4861, 7.2.2) */
		memmove(n->held, n->held + 1, (HELD_PER_NEIGHBOUR - 1) * sizeof(n->held[0]));
		n->n_held--;
		nb.n_held--;
	}
	n->held[n->n_held++] = (struct held){.m = m, .since = core_now()};
	nb.n_held++;
}

/* A worker has a packet for a next hop whose MAC it does not know. */
static void unknown(struct rte_mbuf *m)
{
	const struct packet *p = packet_of(m);
	struct neigh_key key = {.port = p->out_port, .vlan = p->vlan, .family = p->path.family};
	struct neigh *n;
	uint64_t value;
	uint8_t mac[6];

	memcpy(key.addr, p->path.remote, key.family == AF_INET ? 4 : 16);
	n = neigh_get(&key);
	if (!n) {
		n = neigh_new(&key);
		if (!n) {
			neigh_drop(m, NEIGH_DROP_TOO_MANY);
			return;
		}
		hold(n, m);
		solicit(n);
		return;
	}
	if (n->state == FAILED) {
		tell_unreachable(m);
		return;
	}
	hold(n, m);
	value = atomic_load_explicit(&n->entry.mac, memory_order_relaxed);
	memcpy(mac, &value, 6);
	if (value) /* it was learned while the packet was on its way up */
		held_send(n, mac);
}

void neigh_punt(struct rte_mbuf *m)
{
	if (!nb.table)
		rte_pktmbuf_free(m);
	else if (packet_of(m)->kind == PACKET_ETHER)
		neigh_frame_take(nb.fib, m);
	else
		unknown(m);
}

void neigh_kernel(const struct neigh_key *key, const uint8_t mac[6])
{
	struct neigh *n = nb.table ? neigh_get(key) : NULL;

	if (!nb.table || (!n && !mac))
		return;
	if (!mac) {
		if (n->state == INCOMPLETE)
			failed(n);
		else
			neigh_remove(n);
		return;
	}
	if (!n)
		n = neigh_new(key);
	if (!n)
		return;
	n->kernel = true;
	neigh_learned(n, mac, REACHABLE);
}

/* ---- time ---------------------------------------------------------------------------------- */

static bool used_since(const struct neigh *n, uint64_t since)
{
	/* workers write it about once a second */
	return atomic_load_explicit(&n->entry.used, memory_order_relaxed) + SECOND > since;
}

static void held_expire(struct neigh *n, uint64_t now)
{
	unsigned gone = 0;

	while (gone < n->n_held && now - n->held[gone].since > HELD_NS)
		tell_unreachable(n->held[gone++].m);
	if (!gone)
		return;
	n->n_held -= gone;
	nb.n_held -= gone;
	memmove(n->held, n->held + gone, n->n_held * sizeof(n->held[0]));
}

static void unanswered(struct neigh *n)
{
	if (n->probes < PROBES)
		solicit(n);
	else if (n->state == PROBE)
		neigh_remove(n); /* it may have another MAC now: the next packet asks everybody */
	else
		failed(n);
}

/* The kernel ages its own; it must hear that we use them, else it never checks. */
static void kernel_age(struct neigh *n, uint64_t now)
{
	if (now - n->since < KERNEL_ASK_NS || !used_since(n, n->since))
		return;
	n->since = now;
	mirror_resolve(&n->entry.key);
}

static void age(struct neigh *n, uint64_t now)
{
	held_expire(n, now);
	if ((n->state == INCOMPLETE || n->state == PROBE) && now >= n->ask_at)
		unanswered(n);
	else if (n->state == FAILED && now - n->since > FAILED_NS)
		neigh_remove(n);
	else if (n->kernel && n->state == REACHABLE)
		kernel_age(n, now);
	else if (n->state == REACHABLE && now - n->since > REACHABLE_NS)
		state_set(n, STALE);
	else if (n->state == STALE && used_since(n, n->since + SECOND)) {
		state_set(n, PROBE);
		solicit(n);
	} else if (n->state == STALE && now - n->since > UNUSED_NS)
		neigh_remove(n);
}

void neigh_age(void)
{
	uint64_t now = core_now();
	struct neigh *next;

	nb.errors = 0;
	for (struct neigh *n = nb.all; n; n = next) {
		next = n->next;
		age(n, now);
	}
}

LOOP_CALLBACK(neigh_tick, ev_timer)
{
	(void)loop, (void)watcher, (void)revents;
	neigh_age();
}

/* ---- life ---------------------------------------------------------------------------------- */

int neigh_start(struct fib *fib, struct err *err)
{
	nb.table = calloc(1, sizeof(*nb.table));
	if (!nb.table)
		return err_set(err, -ENOMEM, "no memory for neighbours");
	nb.table->seed = (uint32_t)rte_rand();
	nb.fib = fib;
	for (unsigned i = 0; i < NEIGH_DROPS; i++)
		nb.drops[i] = graph_drop_number(neigh_drops[i].name);
	ev_timer_init(&nb.tick, neigh_tick, TICK_S, TICK_S);
	ev_timer_start(core_loop(), &nb.tick);
	return 0;
}

void neigh_flush(uint16_t port)
{
	struct neigh *next;

	for (struct neigh *n = nb.all; n; n = next) {
		next = n->next;
		if (n->entry.key.port == port)
			neigh_remove(n);
	}
}

/* The table has left the data plane's: workers let go of it within a grace period. */
void neigh_stop(void)
{
	if (!nb.table)
		return;
	ev_timer_stop(core_loop(), &nb.tick);
	while (nb.all)
		neigh_remove(nb.all);
	control_retire(nb.table, free);
	nb.table = NULL;
}

struct neighbours *neigh_table(void)
{
	return nb.table;
}

void neigh_rows(json_t *rows)
{
	for (const struct neigh *n = nb.all; n; n = n->next) {
		const struct neigh_key *key = &n->entry.key;
		const struct port *port = control_port(key->port);
		uint64_t value = atomic_load_explicit(&n->entry.mac, memory_order_relaxed);
		struct net_addr addr = {.family = key->family};
		char address[NET_ADDR_STRLEN], mac[18] = "";
		uint8_t b[6];

		memcpy(addr.bytes, key->addr, 16);
		memcpy(b, &value, 6);
		if (value)
			snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1],
				b[2], b[3], b[4], b[5]);
		json_array_append_new(
			rows, json_pack("{ss ss ss si ss sI sb}", "address",
				      net_addr_format(&addr, address), "mac", mac, "port",
				      port ? port->name : "", "vlan", key->vlan, "state",
				      state_names[n->state], "age",
				      (json_int_t)(core_now() - n->since), "kernel", n->kernel));
	}
}
