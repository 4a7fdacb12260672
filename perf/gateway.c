/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway.h"

#include <arpa/inet.h>
#include <err.h>
#include <ftw.h>
#include <stdlib.h>
#include <unistd.h>

#include "control.h"
#include "ether.h"
#include "job_pool.h"
#include "neigh.h"
#include "prng.h"
#include "state_dirs.h"
#include "workers.h"
#include "x25519.h"

#define MIB (1024ull * 1024)
#define BUFFER_BYTES 2560 /* of one packet, all in all */

extern const struct plugin tailplane_plugin;

static struct {
	struct dataplane_conf conf, tunnel_settings;
	struct tunnel_conf tunnel;
	struct net_prefix address;
	int64_t cores[PORT_QUEUES_MAX];
	struct traffic_world world;
	struct peer **peers;
	struct prng prng;
	char directory[64];
} gw;

/* A failure of the data plane's set-up ends the program: there is nothing to measure. */
static void must(int rc, const char *what, const struct err *err)
{
	if (rc)
		errx(1, "%s: %s", what, *err->msg ? err->msg : strerror(-rc));
}

static struct net_prefix prefix4(uint32_t addr, uint8_t len)
{
	struct net_prefix prefix = {.addr.family = AF_INET, .len = len};

	addr = htonl(addr);
	memcpy(prefix.addr.bytes, &addr, 4);
	return prefix;
}

/* ---- the two sides --------------------------------------------------------------------------- */

static void neighbour_add(uint32_t addr, uint16_t port)
{
	static const uint8_t mac[6] = {2, 0, 0, 0, 9, 9};
	struct neigh_key key = {.port = port, .family = AF_INET};

	addr = htonl(addr);
	memcpy(key.addr, &addr, 4);
	neigh_kernel(&key, mac);
}

static void ports_add(void)
{
	struct net_prefix inside = prefix4(TRAFFIC_INSIDE, 16);
	struct net_prefix outside = prefix4(TRAFFIC_OUTSIDE, 24), all = prefix4(0, 0);
	struct fib_next_hop hop = {.type = FIB_PORT, .family = AF_INET, .tunnel = TUNNEL_NONE};
	uint32_t via = htonl(TRAFFIC_GATEWAY);
	struct port *ports[2];
	struct err err = {0};

	must(traffic_open(&gw.world, ports), "the ports", &err);
	for (unsigned i = 0; i < 2; i++)
		must(control_port_add(ports[i]), "the ports", &err);
	must(fib_address_add(ether_fib(), &inside, ports[0]->index, 0, TUNNEL_NONE, 1500, &err),
		"the address inside", &err);
	must(fib_address_add(ether_fib(), &outside, ports[1]->index, 0, TUNNEL_NONE, 1500, &err),
		"the address outside", &err);
	hop.port = ports[1]->index;
	hop.mtu = ports[1]->mtu;
	memcpy(hop.via, &via, 4);
	must(fib_route_add(ether_fib(), &all, FIB_FROM_STATIC, &hop, &err), "the route", &err);
	neighbour_add(TRAFFIC_HOST, ports[0]->index);
	neighbour_add(TRAFFIC_GATEWAY, ports[1]->index);
	control_publish();
}

static void directory_make(void)
{
	struct err err = {0};

	snprintf(gw.directory, sizeof(gw.directory), "/tmp/bench_datapath-XXXXXX");
	if (!mkdtemp(gw.directory))
		fatal("%s", gw.directory);
	state_dirs_set(gw.directory, gw.directory, (uid_t)-1, (gid_t)-1);
	must(state_dirs_make(&err), "state", &err);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static void settings_fill(unsigned workers, uint32_t max_peers, unsigned ring)
{
	static char name[] = "bench";
	unsigned online = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);

	for (unsigned i = 0; i < workers; i++)
		gw.cores[i] = (int64_t)(online - 1 - i % online);
	gw.address = prefix4(TRAFFIC_PEER_NET | 0xfffffe, 8);
	gw.tunnel = (struct tunnel_conf){.name = name,
		.underlay = UNDERLAY_PORTS,
		.listen_port = TRAFFIC_LISTEN_PORT,
		.addresses = {&gw.address, 1},
		.mtu = 1420};
	gw.conf = (struct dataplane_conf){.workers = workers,
		.cores = {gw.cores, workers},
		.poll = POLL_BUSY,
		/* one more than a power of two, for each worker's two rings and what is under way
		 */
		.memory = (2ull * workers * rte_align32pow2(2 * ring + 2048) + 4096) * BUFFER_BYTES,
		.max_peers = max_peers,
		.hugepages = true,
		.mss_clamp = true};
	gw.conf.memory = RTE_MAX(gw.conf.memory, 64 * MIB);
	gw.tunnel_settings = gw.conf;
	gw.tunnel_settings.tunnels = (struct setting_list){&gw.tunnel, 1};
}

void gateway_start(unsigned workers, uint32_t max_peers, unsigned ring)
{
	static bool once;
	struct err err = {0};

	settings_fill(workers, max_peers, ring);
	directory_make();
	if (!once) {
		jobs_init();
		must(tailplane_plugin.init(&gw.conf, &err), "start", &err);
		jobs_start(1);
	}
	once = true;
	must(tailplane_plugin.start(&gw.conf, &err), "start", &err);
	gw.world = (struct traffic_world){.peers = calloc(max_peers, sizeof(*gw.world.peers)),
		.n_workers = workers,
		.ring = ring};
	gw.peers = calloc(max_peers, sizeof(*gw.peers));
	if (!gw.peers || !gw.world.peers)
		errx(1, "out of memory");
	must(ether_start(&err), "the Ethernet side", &err);
	ports_add();
	must(tunnels_start(&gw.tunnel_settings, &err), "the tunnel", &err);
	/* no worker is in a round that began before */
	for (unsigned i = 0; i < workers; i++)
		while (*(const struct dp_table *const volatile *)&worker_get(i)->table !=
			workers_table())
			gateway_loop();
}

void gateway_stop(void)
{
	tailplane_plugin.stop();
	free(gw.peers);
	free(gw.world.peers);
	gw.world.n_peers = 0;
	nftw(gw.directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- peers ----------------------------------------------------------------------------------- */

struct private_key gateway_initiator_key(uint32_t number)
{
	struct prng prng = {number + 1};
	struct private_key key;

	prng_fill(&prng, &key, sizeof(key));
	return key;
}

static void public_key_make(struct public_key *key, uint32_t number)
{
	struct private_key private_key = gateway_initiator_key(number);

	if (number < GATEWAY_INITIATORS)
		x25519_public(key, &private_key);
	else
		prng_fill(&gw.prng, key, sizeof(*key));
}

static struct peer *peer_add(uint32_t number)
{
	struct net_prefix prefix = prefix4(TRAFFIC_PEER_NET + number, 32);
	struct peer_spec spec = {.allowed_ips = &prefix, .n_allowed_ips = 1};
	struct err err = {0};
	struct peer *p;

	snprintf(spec.name, sizeof(spec.name), "peer-%u", number);
	public_key_make(&spec.public_key, number);
	p = peer_new(tunnels[0], &spec, PEER_VOLATILE, &err);
	must(p ? 0 : -ENOMEM, "a peer", &err);
	return p;
}

/* Where it is, as learnt from a packet of its. */
static void path_learn(struct peer *p, uint32_t number)
{
	struct net_endpoint remote = {.addr = prefix4(TRAFFIC_ENDPOINT_NET + number, 32).addr,
		.port = TRAFFIC_LISTEN_PORT};
	struct packet_path path = {.port = 1};
	uint32_t local = htonl(TRAFFIC_OUTSIDE);

	memcpy(path.local, &local, 4);
	peer_path_publish(p, &remote, &path);
}

static void session_begin(struct peer *p, struct traffic_peer *far)
{
	struct noise_keys keys = {.local_index = index_new(p->index), .initiator = true};

	prng_fill(&gw.prng, &keys.send, sizeof(keys.send));
	prng_fill(&gw.prng, &keys.receive, sizeof(keys.receive));
	prng_fill(&gw.prng, &keys.remote_index, sizeof(keys.remote_index));
	far->key = keys.receive;
	far->counter = 0;
	far->receiver_index = keys.local_index;
	peer_session(p, &keys);
}

void gateway_peers(uint32_t n)
{
	for (uint32_t i = gw.world.n_peers; i < n; i++) {
		gw.peers[i] = peer_add(i);
		path_learn(gw.peers[i], i);
	}
	gw.world.n_peers = n;
	for (uint32_t i = 0; i < n; i++) {
		session_begin(gw.peers[i], &gw.world.peers[i]);
		if (i % 1024 == 0)
			gateway_loop();
	}
	gateway_loop();
}

void gateway_loop(void)
{
	for (unsigned i = 0; i < 4; i++)
		ev_run(core_loop(), EVRUN_NOWAIT);
}

/* ---- what it counts -------------------------------------------------------------------------- */

json_t *gateway_graph(void)
{
	json_t *rows = json_array();

	workers_graph_rows(rows);
	return rows;
}

json_t *gateway_drops(void)
{
	json_t *rows = json_object();
	const char *name, *meaning;

	for (unsigned i = 0; (name = graph_drop_name(i, &meaning)); i++)
		if (drops_sum(i))
			json_object_set_new(rows, name, json_integer((json_int_t)drops_sum(i)));
	return rows;
}

void gateway_busy(bool busy)
{
	workers_poll_mode(busy ? POLL_BUSY : POLL_ADAPTIVE, 50000);
}
