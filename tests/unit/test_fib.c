/* SPDX-License-Identifier: BSD-3-Clause */
/* The FIB against a list that is searched from end to end, under random changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>

#include "fib.h"

/* ---- the model: all that was added, in order --------------------------------------------------
 */

struct model_route {
	struct net_prefix prefix;
	enum fib_origin origin;
	struct fib_next_hop hop;
};

static struct model_route model[20000];
static unsigned n_model;
static uint64_t random_state = 88172645463325252;

static uint32_t random_below(uint32_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 16) % n;
}

/* Longest prefix, then best origin, then the one added last. */
static const struct model_route *model_lookup(const struct net_addr *addr)
{
	const struct model_route *best = NULL;

	for (unsigned i = 0; i < n_model; i++) {
		const struct model_route *r = &model[i];

		if (!net_prefix_contains(&r->prefix, addr))
			continue;
		if (!best || r->prefix.len > best->prefix.len ||
			(r->prefix.len == best->prefix.len && r->origin <= best->origin))
			best = r;
	}
	return best;
}

static void check(const struct fib *fib, const struct net_addr *addr)
{
	const struct model_route *want = model_lookup(addr);
	uint32_t index = addr->family == AF_INET ? fib_lookup4(fib, addr->bytes)
						 : fib_lookup6(fib, addr->bytes);
	const struct fib_next_hop *got = fib_next_hop(fib, index);

	assert_int_equal(!want, !got);
	if (want)
		assert_memory_equal(got, &want->hop, sizeof(*got));
}

static struct net_prefix random_prefix(void)
{
	struct net_prefix p = {.addr.family = random_below(2) ? AF_INET : AF_INET6};
	unsigned size = p.addr.family == AF_INET ? 4 : 16;

	/* few distinct bits: prefixes meet */
	for (unsigned i = 0; i < size; i++)
		p.addr.bytes[i] = (uint8_t)(random_below(3) << 6);
	p.len = (uint8_t)random_below(size * 8 + 1);
	return net_prefix_masked(&p);
}

static struct model_route random_route(void)
{
	struct model_route r = {.prefix = random_prefix()};

	/* addresses are counted, not single: see the test below */
	r.origin = FIB_FROM_STATIC + random_below(FIB_ORIGINS - FIB_FROM_STATIC);
	r.hop = (struct fib_next_hop){.type = FIB_PORT,
		.port = (uint16_t)random_below(3),
		.vlan = (uint16_t)random_below(2),
		.tunnel = TUNNEL_NONE};
	return r;
}

static int model_find(const struct model_route *r)
{
	for (unsigned i = 0; i < n_model; i++)
		if (memcmp(&model[i], r, sizeof(*r)) == 0)
			return (int)i;
	return -1;
}

static void model_remove(unsigned i)
{
	n_model--;
	memmove(&model[i], &model[i + 1], (n_model - i) * sizeof(model[0]));
}

static void random_changes(void **state)
{
	struct fib *fib = fib_new(NULL, NULL);

	(void)state;
	n_model = 0;
	for (unsigned round = 0; round < 4000; round++) {
		struct model_route r = random_route();
		int at = model_find(&r);

		if (random_below(3)) {
			int rc = fib_route_add(fib, &r.prefix, r.origin, &r.hop, NULL);

			assert_int_equal(rc, at < 0 ? 0 : -EEXIST);
			if (rc == 0)
				model[n_model++] = r;
		} else {
			if (n_model && random_below(4)) {
				at = (int)random_below(n_model);
				r = model[at];
			}
			assert_int_equal(fib_route_remove(fib, &r.prefix, r.origin, &r.hop),
				at < 0 ? -ENOENT : 0);
			if (at >= 0)
				model_remove((unsigned)at);
		}
		for (unsigned i = 0; i < 4; i++) {
			struct net_prefix p = random_prefix();

			check(fib, &p.addr);
		}
	}
	assert_in_range(n_model, 100, 4000);
	while (n_model) {
		n_model--;
		assert_int_equal(fib_route_remove(fib, &model[n_model].prefix,
					 model[n_model].origin, &model[n_model].hop),
			0);
	}
	assert_int_equal(fib_routes(fib), 0);
	fib_free(fib);
}

static void flush_takes_all_of_a_port(void **state)
{
	struct fib *fib = fib_new(NULL, NULL);

	(void)state;
	n_model = 0;
	for (unsigned i = 0; i < 500; i++) {
		struct model_route r = random_route();

		if (fib_route_add(fib, &r.prefix, r.origin, &r.hop, NULL) == 0)
			model[n_model++] = r;
	}
	fib_flush(fib, 1, TUNNEL_NONE);
	for (unsigned i = 0; i < n_model;)
		if (model[i].hop.port == 1)
			model_remove(i);
		else
			i++;
	for (unsigned i = 0; i < 2000; i++) {
		struct net_prefix p = random_prefix();

		check(fib, &p.addr);
	}
	fib_free(fib);
}

/* ---- next hops --------------------------------------------------------------------------------
 */

struct retired {
	void *object;
	void (*free_fn)(void *);
};

static struct retired retired[100000];
static unsigned n_retired;

static void retire_later(void *object, void (*free_fn)(void *))
{
	retired[n_retired++] = (struct retired){.object = object, .free_fn = free_fn};
}

static void grace_period(void)
{
	for (unsigned i = 0; i < n_retired; i++)
		retired[i].free_fn(retired[i].object);
	n_retired = 0;
}

static void a_next_hop_is_not_reused_before_its_time(void **state)
{
	struct fib *fib = fib_new(retire_later, NULL);
	struct net_prefix p = {.addr = {.family = AF_INET, .bytes = {192, 0, 2}}, .len = 24};
	struct fib_next_hop hop = {.type = FIB_PORT, .tunnel = TUNNEL_NONE, .port = 1}, other = hop;
	uint32_t index;

	(void)state;
	other.port = 2;
	assert_int_equal(fib_route_add(fib, &p, FIB_FROM_STATIC, &hop, NULL), 0);
	index = fib_lookup4(fib, p.addr.bytes);
	assert_int_equal(fib_route_remove(fib, &p, FIB_FROM_STATIC, &hop), 0);
	/* as many as there are, but for the one that a worker may hold */
	for (uint32_t i = 0; i < FIB_NEXT_HOPS_MAX - 1; i++) {
		p.addr.bytes[1] = (uint8_t)(i >> 8);
		p.addr.bytes[2] = (uint8_t)i;
		other.vlan = (uint16_t)i;
		assert_int_equal(fib_route_add(fib, &p, FIB_FROM_STATIC, &other, NULL), 0);
		assert_int_not_equal(fib_lookup4(fib, p.addr.bytes), index);
	}
	assert_memory_equal(fib_next_hop(fib, index), &hop, sizeof(hop));
	p.len = 32;
	hop.port = 3;
	assert_int_equal(fib_route_add(fib, &p, FIB_FROM_STATIC, &hop, NULL), -ENOSPC);
	grace_period();
	assert_int_equal(fib_route_add(fib, &p, FIB_FROM_STATIC, &hop, NULL), 0);
	assert_int_equal(fib_lookup4(fib, p.addr.bytes), index);
	fib_free(fib);
	grace_period();
}

static void many_routes_share_few_next_hops(void **state)
{
	struct fib *fib = fib_new(NULL, NULL);

	(void)state;
	for (uint32_t i = 0; i < 20000; i++) {
		struct net_prefix p = {.addr = {.family = AF_INET}, .len = 24};
		struct fib_next_hop hop = {
			.type = FIB_PORT, .tunnel = TUNNEL_NONE, .port = (uint16_t)(i % 16)};
		uint32_t index;

		p.addr.bytes[0] = 10;
		p.addr.bytes[1] = (uint8_t)(i >> 8);
		p.addr.bytes[2] = (uint8_t)i;
		assert_int_equal(fib_route_add(fib, &p, FIB_FROM_KERNEL, &hop, NULL), 0);
		index = fib_lookup4(fib, p.addr.bytes);
		assert_in_range(index, 0, 15);
	}
	assert_int_equal(fib_routes(fib), 20000);
	fib_free(fib);
}

/* ---- addresses --------------------------------------------------------------------------------
 */

static struct net_prefix prefix_of(const char *text)
{
	struct net_prefix p;

	assert_int_equal(net_prefix_parse(&p, text), 0);
	return p;
}

static int type_at(const struct fib *fib, const char *text)
{
	struct net_prefix p = prefix_of(text);
	const struct fib_next_hop *hop =
		fib_next_hop(fib, p.addr.family == AF_INET ? fib_lookup4(fib, p.addr.bytes)
							   : fib_lookup6(fib, p.addr.bytes));

	return hop ? hop->type : -1;
}

static void addresses_bring_their_routes(void **state)
{
	struct fib *fib = fib_new(NULL, NULL);
	struct net_prefix a = prefix_of("10.0.0.1/24"), b = prefix_of("10.0.0.2/24");
	struct net_prefix six = prefix_of("2001:db8::1/64"), ll = prefix_of("fe80::1/64");
	struct net_prefix in = prefix_of("10.9.0.1/24"), edge = prefix_of("10.0.0.255/32");

	(void)state;
	assert_int_equal(fib_address_add(fib, &a, 1, 7, TUNNEL_NONE, 1500, NULL), 0);
	assert_int_equal(type_at(fib, "10.0.0.1"), FIB_LOCAL);
	assert_int_equal(type_at(fib, "10.0.0.2"), FIB_PORT);
	assert_int_equal(type_at(fib, "10.0.0.0"), FIB_BLACKHOLE);
	assert_int_equal(type_at(fib, "10.0.0.255"), FIB_BLACKHOLE);
	assert_int_equal(type_at(fib, "10.0.1.1"), -1);
	/* a second one in the network: the network stays while one of them does */
	assert_int_equal(fib_address_add(fib, &b, 1, 7, TUNNEL_NONE, 1500, NULL), 0);
	assert_int_equal(fib_address_remove(fib, &a, 1, 7, TUNNEL_NONE, 1500), 0);
	assert_int_equal(type_at(fib, "10.0.0.1"), FIB_PORT);
	assert_int_equal(type_at(fib, "10.0.0.255"), FIB_BLACKHOLE);
	/* an address of ours that is another network's broadcast is still ours */
	assert_int_equal(fib_address_add(fib, &edge, 2, 0, TUNNEL_NONE, 1500, NULL), 0);
	assert_int_equal(type_at(fib, "10.0.0.255"), FIB_LOCAL);
	assert_int_equal(fib_address_remove(fib, &edge, 2, 0, TUNNEL_NONE, 1500), 0);
	assert_int_equal(fib_address_remove(fib, &b, 1, 7, TUNNEL_NONE, 1500), 0);
	assert_int_equal(type_at(fib, "10.0.0.2"), -1);
	assert_int_equal(fib_address_remove(fib, &b, 1, 7, TUNNEL_NONE, 1500), -ENOENT);
	assert_int_equal(fib_address_add(fib, &six, 1, 0, TUNNEL_NONE, 1500, NULL), 0);
	assert_int_equal(type_at(fib, "2001:db8::2"), FIB_PORT);
	assert_int_equal(fib_address_add(fib, &ll, 1, 0, TUNNEL_NONE, 1500, NULL), 0);
	assert_int_equal(type_at(fib, "fe80::1"), FIB_LOCAL);
	assert_int_equal(type_at(fib, "fe80::2"), -1); /* each link has its own */
	/* of a tunnel: the address alone */
	assert_int_equal(fib_address_add(fib, &in, PORT_NONE, 0, 3, 1420, NULL), 0);
	assert_int_equal(type_at(fib, "10.9.0.1"), FIB_LOCAL);
	assert_int_equal(type_at(fib, "10.9.0.2"), -1);
	fib_free(fib);
}

static void a_better_origin_hides_another(void **state)
{
	struct fib *fib = fib_new(NULL, NULL);
	struct net_prefix p = prefix_of("192.0.2.0/24");
	struct fib_next_hop kernel = {.type = FIB_PORT, .port = 1, .tunnel = TUNNEL_NONE};

	(void)state;
	assert_int_equal(fib_route_add(fib, &p, FIB_FROM_KERNEL, &kernel, NULL), 0);
	assert_int_equal(fib_tunnel_route_add(fib, &p, 3, 7, 1420, NULL), 0);
	assert_int_equal(type_at(fib, "192.0.2.1"), FIB_TUNNEL);
	assert_int_equal(fib_tunnel_route_add(fib, &p, 4, 8, 1420, NULL), 0);
	assert_int_equal(fib_next_hop(fib, fib_lookup4(fib, p.addr.bytes))->tunnel, 4);
	fib_flush(fib, PORT_NONE, 4);
	assert_int_equal(fib_next_hop(fib, fib_lookup4(fib, p.addr.bytes))->tunnel, 3);
	assert_int_equal(fib_tunnel_route_remove(fib, &p, 3, 1420), 0);
	assert_int_equal(type_at(fib, "192.0.2.1"), FIB_PORT);
	fib_free(fib);
}

static uint32_t peer_at(const struct fib *fib, const char *text)
{
	struct net_prefix p = prefix_of(text);

	return fib_peer(fib_lookup4(fib, p.addr.bytes));
}

static void allowed_ips_name_their_peer(void **state)
{
	struct fib *fib = fib_new(retire_later, NULL);
	struct net_prefix net = prefix_of("10.9.0.0/24"), host = prefix_of("10.9.0.7/32");
	struct fib_next_hop drop = {
		.type = FIB_BLACKHOLE, .port = PORT_NONE, .tunnel = TUNNEL_NONE};

	(void)state;
	assert_int_equal(fib_tunnel_route_add(fib, &net, 3, 5, 1420, NULL), 0);
	assert_int_equal(fib_tunnel_route_add(fib, &host, 3, (1 << 20) - 1, 1420, NULL), 0);
	assert_int_equal(peer_at(fib, "10.9.0.6"), 5);
	assert_int_equal(peer_at(fib, "10.9.0.7"), (1 << 20) - 1);
	assert_int_equal(type_at(fib, "10.9.0.7"), FIB_TUNNEL);
	assert_int_equal(peer_at(fib, "10.9.1.7"), PEER_NONE);
	/* the same again, and taken by another peer */
	assert_int_equal(fib_tunnel_route_add(fib, &host, 3, (1 << 20) - 1, 1420, NULL), 0);
	assert_int_equal(fib_tunnel_route_add(fib, &host, 3, 0, 1420, NULL), 0);
	assert_int_equal(peer_at(fib, "10.9.0.7"), 0);
	/* while it is hidden, too */
	assert_int_equal(fib_route_add(fib, &net, FIB_FROM_STATIC, &drop, NULL), 0);
	assert_int_equal(peer_at(fib, "10.9.0.6"), PEER_NONE);
	assert_int_equal(fib_tunnel_route_add(fib, &net, 3, 6, 1420, NULL), 0);
	assert_int_equal(type_at(fib, "10.9.0.6"), FIB_BLACKHOLE);
	assert_int_equal(fib_route_remove(fib, &net, FIB_FROM_STATIC, &drop), 0);
	assert_int_equal(peer_at(fib, "10.9.0.6"), 6);
	/* a peer's place is another's, of another tunnel */
	assert_int_equal(fib_tunnel_route_remove(fib, &host, 3, 1420), 0);
	assert_int_equal(fib_tunnel_route_add(fib, &host, 4, 0, 1420, NULL), 0);
	assert_int_equal(peer_at(fib, "10.9.0.7"), 0);
	assert_int_equal(fib_next_hop(fib, fib_lookup4(fib, host.addr.bytes))->tunnel, 4);
	assert_int_equal(fib_tunnel_route_remove(fib, &host, 4, 1420), 0);
	assert_int_equal(peer_at(fib, "10.9.0.7"), 6);
	assert_int_equal(fib_tunnel_route_remove(fib, &net, 3, 1420), 0);
	assert_int_equal(type_at(fib, "10.9.0.7"), -1);
	grace_period();
	fib_free(fib);
}

/* ---- without memory -------------------------------------------------------------------------- */

static unsigned allocations, missing_from, missing_to; /* those of these numbers fail */

static bool is_missing(void)
{
	unsigned number = allocations++;

	return number >= missing_from && number < missing_to;
}

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size)
{
	return is_missing() ? NULL : __real_calloc(n, size);
}

void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size)
{
	return is_missing() ? NULL : __real_realloc(old, size);
}

void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
	return is_missing() ? NULL : __real_aligned_alloc(alignment, size);
}

/* An allowed IP of a peer is added with some allocations missing: it is refused, and nothing has
 * changed, or it is there; and then it names the peer, or its tunnel alone. True: the latter. */
static bool added_without(unsigned from, unsigned to, bool again)
{
	struct fib *fib = fib_new(retire_later, NULL);
	struct net_prefix net = prefix_of("10.9.0.0/24"), host = prefix_of("10.9.0.7/32");
	uint32_t before = again ? 6 : 5, peer;
	int rc;

	assert_int_equal(fib_tunnel_route_add(fib, &net, 3, 5, 1420, NULL), 0);
	if (again)
		assert_int_equal(fib_tunnel_route_add(fib, &host, 3, 6, 1420, NULL), 0);
	allocations = 0;
	missing_from = from;
	missing_to = to;
	rc = fib_tunnel_route_add(fib, &host, 3, 100000, 1420, NULL);
	missing_to = 0;
	peer = peer_at(fib, "10.9.0.7");
	assert_int_equal(type_at(fib, "10.9.0.7"), FIB_TUNNEL);
	if (rc == 0)
		assert_true(peer == 100000 || peer == PEER_NONE);
	else
		assert_int_equal(peer, before);
	/* with memory it is as it should be */
	assert_int_equal(fib_tunnel_route_add(fib, &host, 3, 100000, 1420, NULL), 0);
	assert_int_equal(peer_at(fib, "10.9.0.7"), 100000);
	assert_int_equal(fib_tunnel_route_remove(fib, &host, 3, 1420), 0);
	assert_int_equal(peer_at(fib, "10.9.0.7"), 5);
	assert_int_equal(fib_tunnel_route_remove(fib, &net, 3, 1420), 0);
	assert_int_equal(type_at(fib, "10.9.0.7"), -1);
	assert_int_equal(fib_routes(fib), 0);
	grace_period();
	fib_free(fib);
	return rc == 0 && peer == PEER_NONE;
}

static void allowed_ips_without_memory(void **state)
{
	unsigned fallen_back = 0, n;

	(void)state;
	for (unsigned again = 0; again < 2; again++) {
		added_without(0, 0, again);
		n = allocations;
		for (unsigned from = 0; from < n; from++)
			for (unsigned to = from + 1; to <= n; to++)
				fallen_back += added_without(from, to, again);
	}
	assert_true(fallen_back >= 2);
}

static void sources(void **state)
{
	struct fib *fib = fib_new(NULL, NULL);
	struct net_prefix ll = prefix_of("fe80::1/64"), six = prefix_of("2001:db8::1/64");
	struct net_prefix four = prefix_of("10.0.0.1/24"), in = prefix_of("10.9.0.1/32");
	uint8_t out[16];

	(void)state;
	fib_address_add(fib, &ll, 1, 0, TUNNEL_NONE, 1500, NULL);
	assert_true(fib_source(fib, 1, 0, TUNNEL_NONE, AF_INET6, out));
	assert_int_equal(out[0], 0xfe);
	fib_address_add(fib, &six, 1, 0, TUNNEL_NONE, 1500, NULL);
	assert_true(fib_source(fib, 1, 0, TUNNEL_NONE, AF_INET6, out));
	assert_int_equal(out[0], 0x20); /* a global one is better */
	assert_false(fib_source(fib, 1, 0, TUNNEL_NONE, AF_INET, out));
	assert_false(fib_source(fib, 1, 7, TUNNEL_NONE, AF_INET6, out));
	fib_address_add(fib, &four, 1, 7, TUNNEL_NONE, 1500, NULL);
	fib_address_add(fib, &in, PORT_NONE, 0, 3, 1420, NULL);
	assert_true(fib_source(fib, PORT_NONE, 0, 3, AF_INET, out));
	assert_memory_equal(out, in.addr.bytes, 4);
	/* by where a next hop leads */
	assert_true(fib_source_for(
		fib, fib_lookup4(fib, (const uint8_t[]){10, 0, 0, 9}), AF_INET, out));
	assert_memory_equal(out, four.addr.bytes, 4);
	assert_false(fib_source_for(fib, FIB_NONE, AF_INET, out));
	fib_flush(fib, 1, TUNNEL_NONE);
	assert_false(fib_source(fib, 1, 7, TUNNEL_NONE, AF_INET, out));
	assert_true(fib_source(fib, PORT_NONE, 0, 3, AF_INET, out));
	fib_free(fib);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_changes),
		cmocka_unit_test(flush_takes_all_of_a_port),
		cmocka_unit_test(a_next_hop_is_not_reused_before_its_time),
		cmocka_unit_test(many_routes_share_few_next_hops),
		cmocka_unit_test(addresses_bring_their_routes),
		cmocka_unit_test(a_better_origin_hides_another),
		cmocka_unit_test(allowed_ips_name_their_peer),
		cmocka_unit_test(allowed_ips_without_memory),
		cmocka_unit_test(sources),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
