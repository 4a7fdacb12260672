/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lives of peers: slots, timers, sessions, paths, staged packets. Control loop; peer_get and
 * peer_by_index_get on any thread.
 *
 * Removal is a sequence: unlink from the tunnel's table (no job finds it), from the allowed IPs (no
 * worker routes to it), drop its key pairs and path, wait a grace period (no worker holds its
 * slot), release the slot, and free the struct with the last reference (no job holds it).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control.h"
#include "reserve.h"
#include "workers.h"

struct peers peers;

static struct {
	pthread_rwlock_t lock; /* the array below: the loop writes, jobs read */
	struct peer **by_index;
	uint32_t *free_slots;
	uint32_t n_free;
	size_t traffic_size;
	unsigned n_workers;
} all;

int peers_init(uint32_t max, unsigned n_workers, struct err *err)
{
	uint32_t n_indices = 4096;

	while (n_indices < max * 8) /* three keys and a handshake each, at most half full */
		n_indices *= 2;
	memset(&all, 0, sizeof(all));
	pthread_rwlock_init(&all.lock, NULL);
	all.n_workers = n_workers;
	all.traffic_size = max * sizeof(struct peer_traffic);
	all.by_index = calloc(max, sizeof(struct peer *));
	all.free_slots = calloc(max, sizeof(uint32_t));
	peers.max = max;
	peers.index_mask = n_indices - 1;
	peers.slots = reserve(max * sizeof(struct peer_slot));
	peers.indices = reserve(n_indices * sizeof(struct index_entry));
	for (unsigned i = 0; i < n_workers; i++) {
		peers.traffic[i] = reserve(all.traffic_size);
		if (!peers.traffic[i])
			return err_set(err, -ENOMEM, "no memory for the counters of %u peers", max);
	}
	if (!all.by_index || !all.free_slots || !peers.slots || !peers.indices || paths_init(max))
		return err_set(err, -ENOMEM, "no memory for %u peers: lower max_peers", max);
	while (all.n_free < max) {
		all.free_slots[all.n_free] = max - 1 - all.n_free;
		all.n_free++;
	}
	return 0;
}

void peers_fini(void)
{
	for (unsigned i = 0; i < all.n_workers; i++)
		reserve_free(peers.traffic[i], all.traffic_size);
	reserve_free(peers.slots, peers.max * sizeof(struct peer_slot));
	reserve_free(peers.indices, (peers.index_mask + 1) * sizeof(struct index_entry));
	paths_fini();
	free(all.by_index);
	free(all.free_slots);
	memset(&peers, 0, sizeof(peers));
	memset(&all, 0, sizeof(all));
	keypairs_fini();
}

/* ---- references ------------------------------------------------------------------------------ */

struct peer *peer_by_index(uint32_t index)
{
	return index < peers.max ? all.by_index[index] : NULL;
}

struct peer *peer_by_index_get(uint32_t index)
{
	struct peer *p;

	pthread_rwlock_rdlock(&all.lock);
	p = peer_by_index(index);
	if (p)
		peer_get(p);
	pthread_rwlock_unlock(&all.lock);
	return p;
}

struct peer *peer_get(struct peer *p)
{
	atomic_fetch_add(&p->refs, 1);
	return p;
}

void peer_put(struct peer *p)
{
	if (atomic_fetch_sub(&p->refs, 1) != 1)
		return;
	noise_peer_fini(&p->noise);
	cookie_maker_fini(&p->cookie);
	peer_spec_fini(&p->spec);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

static void by_index_set(uint32_t index, struct peer *p)
{
	pthread_rwlock_wrlock(&all.lock);
	all.by_index[index] = p;
	pthread_rwlock_unlock(&all.lock);
}

/* ---- packets of our own ---------------------------------------------------------------------- */

static unsigned peer_worker(const struct peer *p)
{
	return p->index % control_workers();
}

static void send_empty(struct peer *p)
{
	struct rte_mbuf *m = control_mbuf_alloc();

	if (!m)
		return;
	packet_of(m)->kind = PACKET_IP;
	packet_of(m)->flags = PACKET_LOCAL;
	packet_of(m)->tunnel = p->tunnel->index;
	packet_of(m)->peer = p->index;
	control_inject(peer_worker(p), INJECT_WG_OUTPUT, m);
}

static void staged_send(struct peer *p)
{
	for (unsigned i = 0; i < p->n_staged; i++) {
		packet_of(p->staged[i])->flags |= PACKET_HELD;
		control_inject(peer_worker(p), INJECT_WG_OUTPUT, p->staged[i]);
	}
	p->n_staged = 0;
}

static void staged_drop(struct peer *p)
{
	rte_pktmbuf_free_bulk(p->staged, p->n_staged);
	p->n_staged = 0;
}

void peer_stage(struct peer *p, struct rte_mbuf *m)
{
	if (p->current) {
		/* the key came while the packet was on its way up */
		packet_of(m)->flags |= PACKET_HELD;
		control_inject(peer_worker(p), INJECT_WG_OUTPUT, m);
		return;
	}
	if (p->n_staged == PEER_STAGED_MAX) {
		rte_pktmbuf_free(p->staged[0]);
		memmove(p->staged, p->staged + 1, (PEER_STAGED_MAX - 1) * sizeof(p->staged[0]));
		p->n_staged--;
	}
	p->staged[p->n_staged++] = m;
	/* a packet whose key has just run out asks as well: the slot's flag need not be set */
	peer_want_handshake(p);
}

/* ---- sessions -------------------------------------------------------------------------------- */

static void current_publish(struct peer *p)
{
	/* pairs with the acquire load in keypair_current of wg_output */
	atomic_store_explicit(&peers.slots[p->index].current, p->current ? p->current->send : NULL,
		memory_order_release);
}

static void session_rotate(struct peer *p, struct keypair *kp)
{
	struct keypair *gone_current = NULL, *gone_previous = p->previous, *gone_next = p->next;

	if (!kp->initiator) {
		/* ours is not confirmed: it waits as `next`, and what was older makes room */
		p->previous = NULL;
		p->next = kp;
	} else if (p->next) {
		p->previous = p->next;
		p->next = gone_next = NULL;
		gone_current = p->current;
		p->current = kp;
	} else {
		p->previous = p->current;
		p->current = kp;
	}
	current_publish(p);
	keypair_drop(gone_current);
	keypair_drop(gone_previous);
	keypair_drop(gone_next);
}

static void handshake_done(struct peer *p)
{
	atomic_fetch_and(&peers.slots[p->index].flags, ~(uint32_t)PEER_WANTED);
	p->last_handshake_unix = (uint64_t)time(NULL);
	p->tunnel->counters.handshakes_completed++;
}

void peer_session(struct peer *p, struct noise_keys *keys)
{
	struct keypair *kp = keypair_new(p, keys);

	if (!kp) {
		index_free(keys->local_index);
		log_warnx("%s: no memory for a session with %s", p->tunnel->name, p->spec.name);
		return;
	}
	if (p->handshake_index == keys->local_index)
		p->handshake_index = 0;
	keypair_publish(kp);
	session_rotate(p, kp);
	if (kp->initiator) {
		wg_timers_response_received(&p->timers, core_now());
		handshake_done(p);
		/* the first packet confirms the key to the other end: data, else an empty one */
		if (p->n_staged)
			staged_send(p);
		else
			send_empty(p);
	} else {
		wg_timers_response_sent(&p->timers, core_now());
	}
	peer_run_timers(p);
}

void peer_confirmed(struct peer *p, uint32_t local_index)
{
	struct keypair *gone = p->previous;

	if (!p->next || p->next->local_index != local_index)
		return;
	p->previous = p->current;
	p->current = p->next;
	p->next = NULL;
	current_publish(p);
	keypair_drop(gone);
	wg_timers_confirmed(&p->timers);
	handshake_done(p);
	staged_send(p);
	peer_run_timers(p);
}

static void handshake_drop(struct peer *p)
{
	if (p->handshake_index)
		index_free(p->handshake_index);
	p->handshake_index = 0;
	handshake_forget(p);
}

void peer_zero_keys(struct peer *p)
{
	struct keypair *const gone[] = {p->previous, p->current, p->next};

	p->previous = p->current = p->next = NULL;
	current_publish(p);
	for (unsigned i = 0; i < RTE_DIM(gone); i++)
		keypair_drop(gone[i]);
	handshake_drop(p);
}

/* ---- timers ---------------------------------------------------------------------------------- */

LOOP_CALLBACK(peer_timer, ev_timer)
{
	(void)loop, (void)revents;
	peer_run_timers(watcher->data);
}

static struct wg_timers_facts facts_read(struct peer *p)
{
	struct peer_slot *slot = &peers.slots[p->index];
	struct wg_timers_facts facts;

	/* Cleared before the facts are read: what a worker adds after that comes with an event. */
	atomic_fetch_and(&slot->flags, ~(uint32_t)PEER_ACTIVE);
	facts.data_sent_since = atomic_load(&slot->data_sent_since);
	facts.data_received_since = atomic_load(&slot->data_received_since);
	facts.last_sent = p->message_sent;
	facts.last_received = p->message_received;
	for (unsigned i = 0; i < all.n_workers; i++) {
		const struct peer_traffic *t = &peers.traffic[i][p->index];

		facts.last_sent = RTE_MAX(facts.last_sent, atomic_load(&t->last_sent));
		facts.last_received = RTE_MAX(facts.last_received, atomic_load(&t->last_received));
	}
	if (facts.data_sent_since || facts.data_received_since)
		atomic_fetch_or(&slot->flags, PEER_ACTIVE);
	return facts;
}

void peer_run_timers(struct peer *p)
{
	struct wg_timers_facts facts;
	struct wg_timers_actions actions = {0};
	uint64_t now = core_now(), next;

	if (p->dead)
		return;
	facts = facts_read(p);
	next = wg_timers_run(&p->timers, &facts, now,
		peer_random() % (uint32_t)REKEY_TIMEOUT_JITTER_MAX, &actions);
	ev_timer_stop(core_loop(), &p->timer);
	if (next != WG_TIMERS_NEVER) {
		ev_timer_set(&p->timer, next > now ? (double)(next - now) / 1e9 : 0., 0.);
		ev_timer_start(core_loop(), &p->timer);
	}
	if (actions.give_up) {
		staged_drop(p);
		handshake_drop(p); /* a response that comes later is not waited for any more */
		atomic_fetch_and(&peers.slots[p->index].flags, ~(uint32_t)PEER_WANTED);
	}
	if (actions.zero_keys)
		peer_zero_keys(p);
	if (actions.send_keepalive && p->current)
		send_empty(p);
	else if (actions.send_keepalive)
		peer_want_handshake(p);
	if (actions.send_initiation)
		handshake_initiate(p);
}

void peer_want_handshake(struct peer *p)
{
	wg_timers_want_handshake(&p->timers, core_now());
	peer_run_timers(p);
}

/* ---- paths ----------------------------------------------------------------------------------- */

void peer_path_publish(
	struct peer *p, const struct net_endpoint *remote, const struct packet_path *local)
{
	struct peer_slot *slot = &peers.slots[p->index];
	struct peer_path *place = path_new(), *old;
	struct packet_path *path = place ? &place->path : NULL;
	struct tunnel *t = p->tunnel;
	uint64_t key[2];

	if (!path)
		return;
	path->family = (uint8_t)remote->addr.family;
	path->remote_port = htons(remote->port);
	memcpy(path->remote, remote->addr.bytes, sizeof(path->remote));
	path->ifindex = remote->scope;
	path->local_port = htons(t->listen_port);
	path->port = t->udp ? t->udp->index : PORT_NONE;
	if (local) {
		memcpy(path->local, local->local, sizeof(path->local));
		path->ifindex = local->ifindex;
		path->port = local->port;
	}
	p->endpoint = *remote;
	atomic_store(&slot->path_short[1], 0);
	/* pairs with the acquire loads in wg_input and wg_output */
	old = atomic_exchange(&slot->path, place);
	if (path_short(path, key)) {
		atomic_store(&slot->path_short[0], key[0]);
		atomic_store(&slot->path_short[1], key[1]);
	}
	atomic_fetch_and(&slot->flags, ~(uint32_t)PEER_ROAMED);
	workers_retire(old, path_free);
}

/* ---- birth and death ------------------------------------------------------------------------- */

static uint32_t bucket_of(const struct tunnel *t, const struct public_key *key)
{
	uint32_t v;

	memcpy(&v, key->bytes, sizeof(v)); /* public keys are uniform */
	return v & (t->n_buckets - 1);
}

struct peer *peer_find(struct tunnel *t, const struct public_key *key)
{
	struct peer *p = t->by_key[bucket_of(t, key)];

	while (p && memcmp(&p->spec.public_key, key, sizeof(*key)))
		p = p->next_by_key;
	return p;
}

struct peer *peer_find_text(struct tunnel *t, const char *text, struct peer **other)
{
	struct peer *found = NULL;
	struct public_key key;

	*other = NULL;
	if (!setting_parse_key(key.bytes, text, NULL))
		return peer_find(t, &key);
	for (uint32_t b = 0; b < t->n_buckets; b++)
		for (struct peer *p = t->by_key[b]; p; p = p->next_by_key) {
			if (strcmp(p->spec.name, text) != 0)
				continue;
			*other = found;
			found = p;
			if (*other)
				return found;
		}
	return found;
}

static void link_by_key(struct peer *p)
{
	struct tunnel *t = p->tunnel;
	struct peer **bucket = &t->by_key[bucket_of(t, &p->spec.public_key)];

	pthread_rwlock_wrlock(&t->lock);
	p->next_by_key = *bucket;
	*bucket = p;
	t->n_peers++;
	pthread_rwlock_unlock(&t->lock);
}

static void unlink_by_key(struct peer *p)
{
	struct tunnel *t = p->tunnel;
	struct peer **at = &t->by_key[bucket_of(t, &p->spec.public_key)];

	pthread_rwlock_wrlock(&t->lock);
	while (*at != p)
		at = &(*at)->next_by_key;
	*at = p->next_by_key;
	t->n_peers--;
	pthread_rwlock_unlock(&t->lock);
}

static void slot_open(struct peer *p)
{
	struct peer_slot *slot = &peers.slots[p->index];
	uint32_t generation = atomic_load(&slot->generation) + 1;

	memset(slot, 0, sizeof(*slot));
	atomic_store(&slot->generation, generation);
	p->generation = generation;
	for (unsigned i = 0; i < all.n_workers; i++)
		memset(&peers.traffic[i][p->index], 0, sizeof(struct peer_traffic));
}

struct peer *peer_new(
	struct tunnel *t, const struct peer_spec *spec, enum peer_origin origin, struct err *err)
{
	struct peer_spec bare = *spec;
	struct peer *p;

	if (!all.n_free) {
		err_set(err, -ENOSPC, "there are %u peers already: raise dataplane.max_peers",
			peers.max);
		return NULL;
	}
	if (!memcmp(&spec->public_key, &t->local.static_public, sizeof(spec->public_key))) {
		err_set(err, -EINVAL, "this is the own key of tunnel %s: name the other end's",
			t->name);
		return NULL;
	}
	p = control_zalloc(sizeof(*p));
	if (!p) {
		err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	p->tunnel = t;
	p->index = all.free_slots[--all.n_free];
	atomic_init(&p->refs, 1);
	pthread_mutex_init(&p->lock, NULL);
	/* what needs work to take effect is left to peer_update */
	bare.allowed_ips = NULL;
	bare.n_allowed_ips = 0;
	bare.endpoint[0] = '\0';
	bare.persistent_keepalive = 0;
	p->spec = bare;
	if (!noise_peer_init(&p->noise, &t->local, &spec->public_key, &spec->preshared_key))
		log_warnx("%s: the public key of peer %s is of low order: no handshake can succeed",
			t->name, spec->name);
	cookie_maker_init(&p->cookie, &spec->public_key);
	p->last_sent_timestamp = t->timestamp_floor;
	ev_timer_init(&p->timer, peer_timer, 0., 0.);
	p->timer.data = p;
	slot_open(p);
	by_index_set(p->index, p);
	link_by_key(p);
	peer_update(p, spec, origin, NULL);
	return p;
}

static void slot_release(void *object)
{
	struct peer *p = object;

	all.free_slots[all.n_free++] = p->index;
	peer_put(p);
}

static void route_remove_one(void *arg, const struct net_prefix *prefix)
{
	tunnel_route_remove(arg, prefix);
}

void peer_remove(struct peer *p)
{
	struct peer_slot *slot = &peers.slots[p->index];

	unlink_by_key(p);
	by_index_set(p->index, NULL);
	allowedips_each(&p->tunnel->allowed_ips, p->index, route_remove_one, p->tunnel);
	allowedips_remove_value(&p->tunnel->allowed_ips, p->index);
	ev_timer_stop(core_loop(), &p->timer);
	staged_drop(p);
	peer_zero_keys(p);
	p->dead = true;
	atomic_fetch_add(&slot->generation, 1);
	atomic_store(&slot->path_short[1], 0);
	workers_retire(atomic_exchange(&slot->path, NULL), path_free);
	workers_retire(p, slot_release);
}

void peer_traffic_sum(const struct peer *p, struct peer_totals *sum)
{
	memset(sum, 0, sizeof(*sum));
	for (unsigned i = 0; i < all.n_workers; i++) {
		const struct peer_traffic *t = &peers.traffic[i][p->index];

		sum->rx_packets += t->rx_packets;
		sum->rx_bytes += t->rx_bytes;
		sum->tx_packets += t->tx_packets;
		sum->tx_bytes += t->tx_bytes;
	}
}
