/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Limits. Runs on: I/O loops. Those of all loops together (connections of an address, how many a
 * second) have a lock, which is taken when a connection comes and goes, never for a packet.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "relay.h"

#define NOT_HERE_BURST 3
#define CONN_COST 1024 /* what a connection holds by itself */
#define CONN_COST_TLS (3 << 10)
#define CONN_COST_OPENSSL (13 << 10)

struct address {
	struct net_addr addr;
	unsigned n;
};

static struct {
	pthread_mutex_t lock;
	struct table table; /* of struct address */
	double tokens;      /* connections that may come at once */
	uint64_t filled_at;
} shared = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- connections ---- */

/* Who has one IPv6 address has a /64 of them. */
static struct net_addr holder(const struct net_addr *from)
{
	struct net_addr addr = *from;

	if (addr.family == AF_INET6)
		memset(addr.bytes + 8, 0, 8);
	return addr;
}

static uint64_t hash_address(const struct net_addr *addr)
{
	uint64_t low, high;

	memcpy(&low, addr->bytes, 8);
	memcpy(&high, addr->bytes + 8, 8);
	low = (low ^ server.seed) * 0x9e3779b97f4a7c15u;
	low = (low ^ high ^ low >> 32) * 0x9e3779b97f4a7c15u;
	return low ^ low >> 32;
}

static bool same_address(const void *item, const void *key)
{
	return net_addr_equal(&((const struct address *)item)->addr, key);
}

static bool count_address(const struct net_addr *from, unsigned max)
{
	struct net_addr addr = holder(from);
	uint64_t hash = hash_address(&addr);
	struct address *address = table_find(&shared.table, hash, same_address, &addr);

	if (!address) {
		address = calloc(1, sizeof(*address));
		if (!address)
			return false;
		address->addr = addr;
		if (table_add(&shared.table, hash, address) != 0) {
			free(address);
			return false;
		}
	}
	if (max && address->n >= max)
		return false;
	address->n++;
	return true;
}

static void uncount_address(const struct net_addr *from)
{
	struct net_addr addr = holder(from);
	uint64_t hash = hash_address(&addr);
	struct address *address = table_find(&shared.table, hash, same_address, &addr);

	if (address && --address->n == 0) {
		table_remove(&shared.table, hash, address);
		free(address);
	}
}

void limit_disconnected(const struct net_addr *from)
{
	pthread_mutex_lock(&shared.lock);
	uncount_address(from);
	pthread_mutex_unlock(&shared.lock);
}

static bool take_token(const struct derp_server_conf *conf)
{
	uint64_t now = core_now();
	double burst = conf->accept_burst ? conf->accept_burst : conf->accept_rate;

	if (!conf->accept_rate)
		return true;
	shared.tokens = shared.filled_at ? shared.tokens + (double)(now - shared.filled_at) / 1e9 *
								   conf->accept_rate
					 : burst;
	if (shared.tokens > burst)
		shared.tokens = burst;
	shared.filled_at = now;
	if (shared.tokens < 1)
		return false;
	shared.tokens -= 1;
	return true;
}

static const char *refuse(_Atomic uint64_t *counter, const char *why)
{
	add_to(counter, 1);
	return why;
}

const char *limit_connection(struct derp_loop *loop, const struct net_addr *from)
{
	const struct derp_server_conf *conf = &loop->conf;
	bool in_time, welcome;

	if (loop_is_closing(loop))
		return refuse(&loop->counters.refused_draining, "this relay is about to stop");
	if ((conf->connections_max && atomic_load_explicit(&server.connections,
					      memory_order_relaxed) >= conf->connections_max) ||
		!limit_memory(loop, CONN_COST_TLS))
		return refuse(&loop->counters.refused_full, "this relay is full");
	pthread_mutex_lock(&shared.lock);
	/* one address that is refused anyway must not take what all have together */
	welcome = count_address(from, conf->connections_address);
	in_time = welcome && take_token(conf);
	if (welcome && !in_time)
		uncount_address(from);
	pthread_mutex_unlock(&shared.lock);
	if (!welcome)
		return refuse(
			&loop->counters.refused_address, "too many connections of an address");
	if (!in_time)
		return refuse(&loop->counters.refused_rate, "too many connections at once");
	return NULL;
}

uint64_t limit_cost(const struct conn *conn)
{
	if (conn->stream->tls)
		return CONN_COST_OPENSSL;
	return conn->tls ? CONN_COST_TLS : CONN_COST;
}

static bool fits(const struct derp_loop *loop, uint64_t more, uint64_t reserve)
{
	uint64_t max = loop->conf.memory_max / server.n;

	return !loop->conf.memory_max ||
	       COUNTED(loop, memory_bytes) + more <= max - max / 8 * reserve;
}

bool limit_memory(struct derp_loop *loop, uint64_t more)
{
	return fits(loop, more, 1);
}

bool limit_input(const struct conn *conn, uint64_t more)
{
	return fits(conn->loop, more, conn->state != CONN_UP);
}

static void address_free(void *item)
{
	free(item);
}

void limits_fini(void)
{
	for (size_t i = 0; i < shared.table.size; i++)
		address_free(shared.table.slots[i].item);
	table_fini(&shared.table);
	shared.filled_at = 0;
}

/* ---- what one client sends ---- */

struct throttle {
	ev_timer until;
	double tokens;
	uint64_t filled_at;
};

static void on_refilled(struct ev_loop *ev, ev_timer *timer, int revents)
{
	(void)ev, (void)revents;
	input_resume(timer->data);
}

static struct throttle *throttle_new(struct conn *conn, double burst)
{
	struct throttle *throttle = calloc(1, sizeof(*throttle));

	if (!throttle)
		return NULL;
	ev_init(&throttle->until, on_refilled);
	throttle->until.data = conn;
	throttle->tokens = burst;
	throttle->filled_at = core_now();
	return throttle;
}

bool limit_rate(struct conn *conn, uint64_t bytes)
{
	const struct derp_server_conf *conf = &conn->loop->conf;
	double rate = (double)conf->client_rate, burst = (double)conf->client_burst;
	struct throttle *throttle = conn->throttle;
	uint64_t now;

	if (!conf->client_rate || conn->mesh || conn->state != CONN_UP)
		return false;
	if (burst < DERP_KEY_LEN + DERP_PACKET_MAX)
		burst = DERP_KEY_LEN + DERP_PACKET_MAX;
	if (!throttle)
		throttle = conn->throttle = throttle_new(conn, burst);
	if (!throttle)
		return false;
	now = core_now();
	throttle->tokens += (double)(now - throttle->filled_at) / 1e9 * rate;
	if (throttle->tokens > burst)
		throttle->tokens = burst;
	throttle->filled_at = now;
	throttle->tokens -= (double)bytes;
	if (throttle->tokens >= 0)
		return false;
	COUNT(conn->loop, rate_limit_waits, 1);
	input_pause(conn);
	ev_timer_stop(conn->loop->ev, &throttle->until);
	ev_timer_set(&throttle->until, -throttle->tokens / rate, 0.);
	ev_timer_start(conn->loop->ev, &throttle->until);
	return true;
}

void limit_rate_free(struct conn *conn)
{
	if (!conn->throttle)
		return;
	ev_timer_stop(conn->loop->ev, &conn->throttle->until);
	free(conn->throttle);
	conn->throttle = NULL;
}

/* ---- PeerGone (not here) ---- */

bool limit_not_here(struct conn *conn)
{
	uint64_t now = core_now(), more = (now - conn->not_here_at) / SECOND;

	if (more) {
		conn->not_here_tokens = conn->not_here_tokens + more < NOT_HERE_BURST
						? conn->not_here_tokens + (unsigned)more
						: NOT_HERE_BURST;
		conn->not_here_at = now;
	}
	if (!conn->not_here_tokens)
		return false;
	conn->not_here_tokens--;
	return true;
}
