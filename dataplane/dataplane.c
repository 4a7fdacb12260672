/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The data plane as a plugin: its life, the table of ports, injections down. Control loop.
 */
#include <dlfcn.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "capture.h"
#include "control.h"
#include "eal.h"
#include "ether.h"
#include "fragment.h"
#include "neigh.h"
#include "nodes.h"
#include "reassemble.h"
#include "uapi.h"
#include "workers.h"
#include "xdp_pool.h"

#define CONTROL_PACKETS 2047
#define POOL_PACKETS_MIN 2047
#define POOL_SLACK 64
#define NODE_OBJECTS_MAX 32

static const struct graph_node *const graph_nodes[] = {&node_rx, &node_inject, &node_classify,
	&node_reassemble, &node_local, &node_local_udp, &node_wg_input, &node_opened, &node_help,
	&node_route, &node_wg_output, &node_sealed, &node_outer, &node_icmp_error, &node_fragment,
	&node_fragments, &node_neighbour, &node_tx, NULL};

static struct {
	const struct dataplane_conf *conf;
	struct port *ports[PORT_MAX];
	uint32_t n_ports;
	struct rte_mempool *pools[WORKER_MAX];
	struct rte_mempool *control_pool;
	unsigned frame_max;
	const struct graph_node *extra[NODE_OBJECTS_MAX + 1];
	unsigned n_extra;
	bool started;
} dp;

uint64_t control_drops[DROPS_MAX];

/* ---- packets of control's -------------------------------------------------------------------- */

struct rte_mbuf *control_mbuf_alloc(void)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(dp.control_pool);
	struct packet *p;

	if (!m)
		return NULL;
	p = packet_of(m);
	memset(p, 0, sizeof(*p));
	p->in_port = p->out_port = PORT_NONE;
	p->tunnel = TUNNEL_NONE;
	p->peer = PEER_NONE;
	return m;
}

bool control_inject(unsigned id, enum inject_entry entry, struct rte_mbuf *m)
{
	struct worker *w = worker_get(id);

	packet_of(m)->reason = (uint8_t)entry;
	if (!w || rte_ring_sp_enqueue(w->inject, m)) {
		rte_pktmbuf_free(m);
		return false;
	}
	worker_wake(id);
	return true;
}

unsigned control_workers(void)
{
	return workers_count();
}

unsigned control_frame_max(void)
{
	return dp.frame_max;
}

/* ---- the table ------------------------------------------------------------------------------- */

void control_publish(void)
{
	struct dp_table *table = calloc(1, sizeof(*table));

	if (!table) {
		log_warnx("out of memory: the data plane keeps its table");
		return;
	}
	table->n_ports = dp.n_ports;
	memcpy(table->ports, dp.ports, sizeof(table->ports));
	table->n_tunnels = n_tunnels;
	for (uint32_t i = 0; i < n_tunnels; i++)
		table->tunnels[i] = tunnels[i] ? tunnels[i]->dp : NULL;
	table->mss_clamp = dp.conf->mss_clamp;
	table->fib = ether_fib();
	table->neighbours = table->fib ? neigh_table() : NULL;
	workers_publish(table);
}

int control_port_add(struct port *port)
{
	uint32_t i = 0;

	while (i < dp.n_ports && dp.ports[i])
		i++;
	if (i == PORT_MAX) {
		port->ops->close(port);
		return -ENOSPC;
	}
	port->index = (uint16_t)i;
	dp.ports[i] = port;
	if (i == dp.n_ports)
		dp.n_ports = i + 1;
	control_publish();
	return 0;
}

static void port_close(void *object)
{
	struct port *port = object;

	port->ops->close(port);
}

void control_port_remove(struct port *port)
{
	dp.ports[port->index] = NULL;
	control_publish();
	workers_retire(port, port_close);
}

struct port *control_port(uint16_t index)
{
	return index < PORT_MAX ? dp.ports[index] : NULL;
}

void control_retire(void *object, void (*free_fn)(void *))
{
	workers_retire(object, free_fn);
}

/* ---- start and stop -------------------------------------------------------------------------- */

/* Packets for each of `n` workers out of the memory configured, less what control keeps: one less
 * than a power of two, which is what mempools waste nothing with. */
static unsigned pool_packets(const struct dataplane_conf *conf, unsigned n)
{
	unsigned element = (unsigned)(sizeof(struct rte_mbuf) + sizeof(struct packet)) +
			   RTE_PKTMBUF_HEADROOM + dp.frame_max + POOL_SLACK;
	uint64_t size = rte_mempool_calc_obj_size(element, 0, NULL);
	uint64_t usable = conf->memory / 10 * 9, control = CONTROL_PACKETS * size;
	uint64_t each = usable > control ? (usable - control) / size / n : 0;

	each = RTE_MIN(each, (uint64_t)1 << 21);
	return each < POOL_PACKETS_MIN ? POOL_PACKETS_MIN
				       : (unsigned)rte_align64prevpow2(each + 1) - 1;
}

static int pools_open(const struct dataplane_conf *conf, unsigned n, struct err *err)
{
	char name[RTE_MEMPOOL_NAMESIZE];
	unsigned each;

	dp.frame_max = conf_frame_max(conf);
	each = pool_packets(conf, n);
	for (unsigned i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "worker-%u", i);
		dp.pools[i] = eal_pool(name, each, dp.frame_max, -1, err);
		if (!dp.pools[i])
			return -ENOMEM;
	}
	dp.control_pool = eal_pool("control", CONTROL_PACKETS, dp.frame_max, -1, err);
	return dp.control_pool ? 0 : -ENOMEM;
}

static void pools_close(void)
{
	for (unsigned i = 0; i < WORKER_MAX; i++) {
		rte_mempool_free(dp.pools[i]);
		dp.pools[i] = NULL;
	}
	rte_mempool_free(dp.control_pool);
	dp.control_pool = NULL;
}

/* NAME-node.so beside a plugin's NAME.so: its graph nodes. */
static void node_object_load(void *arg, const char *name, const char *dir)
{
	const struct node_object *object;
	struct err *err = arg;
	char path[4096];
	void *handle;

	snprintf(path, sizeof(path), "%s/%s-node.so", dir, name);
	if (access(path, F_OK))
		return;
	handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	object = handle ? dlsym(handle, "tailplane_nodes") : NULL;
	if (!object) {
		err_set(err, -EINVAL, "%s", dlerror());
		return;
	}
	if (object->abi != TAILPLANE_NODE_ABI || object->size != sizeof(*object)) {
		err_set(err, -EINVAL,
			"%s was built for another version: its node ABI is %u, ours %u", path,
			object->abi, TAILPLANE_NODE_ABI);
		return;
	}
	if (object->attach)
		object->attach();
	for (unsigned i = 0; object->nodes[i]; i++)
		if (dp.n_extra < NODE_OBJECTS_MAX)
			dp.extra[dp.n_extra++] = object->nodes[i];
		else
			err_set(err, -ENOSPC, "%s: more than %d graph nodes of plugins", path,
				NODE_OBJECTS_MAX);
}

static int graph_prepare(struct err *err)
{
	static bool registered;

	dp.n_extra = 0;
	core_each_plugin(node_object_load, err);
	dp.extra[dp.n_extra] = NULL;
	if (*err->msg)
		return -EINVAL;
	if (!registered) {
		graph_register_drops(udp_drops);
		graph_register_drops(tun_drops);
		graph_register_drops(ether_drops);
		graph_register_drops(packet_drops);
		graph_register_drops(neigh_drops);
		graph_register_drops(mirror_drops);
		registered = true;
	}
	return graph_register(graph_nodes, dp.extra, err);
}

static int workers_open(const struct dataplane_conf *conf, unsigned n, struct err *err)
{
	struct workers_param param = {
		.n = n,
		.cores = conf->cores.count ? conf->cores.items : NULL,
		.poll = conf->poll,
		.idle_before_sleep = conf->idle_before_sleep,
		.nice = conf->worker_nice,
		.pools = dp.pools,
		.punts_waiting = punts_take,
	};

	return workers_start(&param, err);
}

static int ether_open(const struct dataplane_conf *conf, struct err *err)
{
	const struct port_conf *list = conf->ports.items;
	int rc;

	if (!conf->ports.count)
		return 0;
	rc = ether_start(err);
	for (size_t i = 0; !rc && i < conf->ports.count; i++)
		rc = ether_port_add(&list[i], (uint16_t)workers_count(), dp.pools, err);
	return rc;
}

static int routes_open(const struct dataplane_conf *conf, struct err *err)
{
	const struct route_conf *list = conf->routes.items;
	int rc = 0;

	for (size_t i = 0; !rc && i < conf->routes.count; i++) {
		struct tunnel *t = list[i].tunnel ? tunnel_find(list[i].tunnel) : NULL;

		rc = ether_route_add(&list[i], t ? t->index : TUNNEL_NONE, err);
	}
	return rc;
}

static void ports_reopen(bool reload)
{
	struct err err = {0};

	if (ether_reopen(dp.conf, (uint16_t)workers_count(), dp.pools, reload) &&
		routes_open(dp.conf, &err))
		log_warnx("%s", err.msg);
}

void control_ports_return(void)
{
	ports_reopen(false);
}

static void dataplane_stop(void)
{
	punts_stop();
	snapshot_set_retire(NULL);
	capture_stop_all();
	uapi_stop();
	tunnels_stop();
	ether_stop();
	workers_stop();
	reassemble_stop();
	fragment_stop();
	ether_unprepare();
	xdp_pools_free();
	peers_fini();
	pools_close();
	memset(dp.ports, 0, sizeof(dp.ports));
	dp.n_ports = 0;
	dp.started = false;
}

/* Memory and some devices need root; EAL's own threads lose its rights with ours. */
static int dataplane_init(const void *settings, struct err *err)
{
	const struct dataplane_conf *conf = settings;
	int rc = eal_start(conf, err);

	if (!rc)
		rc = ether_prepare(conf, (uint16_t)conf_workers(conf), err);
	if (!rc)
		uapi_init(settings);
	return rc;
}

static void dataplane_fini(void)
{
	ether_unprepare();
	uapi_fini();
}

static int dataplane_start(const void *settings, struct err *err)
{
	const struct dataplane_conf *conf = settings;
	unsigned n = conf_workers(conf);
	int rc;

	dp.conf = conf;
	punts_start();
	rc = graph_prepare(err);
	if (!rc)
		rc = pools_open(conf, n, err);
	if (!rc)
		rc = peers_init((uint32_t)conf->max_peers, n, err);
	if (!rc)
		rc = reassemble_start(n, err);
	if (!rc)
		rc = workers_open(conf, n, err);
	if (rc) {
		reassemble_stop();
		peers_fini();
		pools_close();
		return rc;
	}
	snapshot_set_retire(workers_retire);
	rc = ether_open(conf, err);
	if (!rc)
		rc = tunnels_start(conf, err);
	if (!rc)
		rc = routes_open(conf, err);
	if (rc) {
		dataplane_stop();
		return rc;
	}
	uapi_start();
	dp.started = true;
	return 0;
}

/* ---- reload ---------------------------------------------------------------------------------- */

static enum plugin_reload dataplane_check(const void *running, const void *next, struct err *err)
{
	const struct dataplane_conf *a = running, *b = next;
	const struct tunnel_conf *list = b->tunnels.items;

	if (a->hugepages != b->hugepages || a->memory != b->memory ||
		a->max_peers != b->max_peers) {
		err_set(err, -EBUSY,
			"hugepages, memory and max_peers of the data plane are fixed at start: "
			"restart the daemon");
		return PLUGIN_REFUSE;
	}
	for (size_t i = 0; i < b->tunnels.count; i++)
		if (tunnel_peers_check(&list[i], err))
			return PLUGIN_REFUSE;
	return conf_absorbable(a, b) ? PLUGIN_ABSORB : PLUGIN_RESTART;
}

static void dataplane_apply(const void *next)
{
	const struct dataplane_conf *conf = next;
	const struct tunnel_conf *list = conf->tunnels.items;

	dp.conf = conf;
	workers_poll_mode(conf->poll, conf->idle_before_sleep);
	for (size_t i = 0; i < conf->tunnels.count; i++)
		tunnel_apply(tunnels[i], &list[i]);
	ports_reopen(true);
	control_publish();
}

const struct dataplane_conf *dataplane_conf(void)
{
	return dp.conf;
}

static const char *const no_needs[] = {NULL};

__attribute__((visibility("default"))) const struct plugin tailplane_plugin = {
	.abi = TAILPLANE_ABI,
	.size = sizeof(struct plugin),
	.name = "dataplane",
	.version = TAILPLANE_VERSION,
	.summary = "WireGuard tunnels over the host's sockets and DPDK ports",
	.needs = no_needs,
	.settings = dataplane_settings,
	.settings_size = sizeof(struct dataplane_conf),
	.ops = dataplane_ops,
	.caps = 1ull << CAP_NET_ADMIN | 1ull << CAP_NET_RAW | 1ull << CAP_NET_BIND_SERVICE |
		1ull << CAP_IPC_LOCK | 1ull << CAP_SYS_NICE,
	.validate = dataplane_validate,
	.init = dataplane_init,
	.fini = dataplane_fini,
	.start = dataplane_start,
	.stop = dataplane_stop,
	.check = dataplane_check,
	.apply = dataplane_apply,
	.collect = dataplane_collect,
	.status = dataplane_status,
};
