/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The data plane as a plugin: its life, the table of ports, punts up and injections down. Control
 * loop.
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

#define PUNT_BUDGET 256
#define CONTROL_PACKETS 2047
#define POOL_PACKETS_MIN 2047
#define POOL_SLACK 64
#define NODE_OBJECTS_MAX 32
#define ETHER_FRAME_MIN 2048
#define ETHER_OVERHEAD 32 /* Ethernet, two VLAN tags, slack */
#define WG_OVERHEAD 80    /* IPv6, UDP, WireGuard header and tag, padding */

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
	ev_timer punts_again; /* what the budget left over */
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

/* ---- punts ----------------------------------------------------------------------------------- */

static void staged_take(struct rte_mbuf *m)
{
	struct peer *p = peer_by_index(packet_of(m)->peer);

	if (p)
		peer_stage(p, m);
	else
		rte_pktmbuf_free(m);
}

static void (*const punt_takers[PUNT_CLASSES])(struct rte_mbuf *m) = {
	[PUNT_HANDSHAKE] = tunnel_punt_handshake,
	[PUNT_STAGED] = staged_take,
	[PUNT_NEIGHBOUR] = neigh_punt,
	[PUNT_MIRROR] = mirror_punt,
	[PUNT_CAPTURE] = capture_punt,
};

static void event_take(const struct worker_event *event)
{
	struct peer *p = peer_by_index(event->peer);
	struct net_endpoint remote = {.addr.family = event->path.family,
		.port = ntohs(event->path.remote_port),
		.scope = 0};

	/* the slot may have changed hands since */
	if (!p || p->generation != event->generation)
		return;
	switch (event->type) {
	case EVENT_ACTIVE:
		peer_run_timers(p);
		break;
	case EVENT_WANT_HANDSHAKE:
		peer_want_handshake(p);
		break;
	case EVENT_CONFIRMED:
		peer_confirmed(p, event->value);
		break;
	case EVENT_ROAMED:
		memcpy(remote.addr.bytes, event->path.remote,
			event->path.family == AF_INET ? 4 : 16);
		peer_path_publish(p, &remote, &event->path);
		break;
	}
}

/* True: something is left for the next time. */
static bool worker_drain(struct worker *w)
{
	struct worker_event event;
	struct rte_mbuf *m;
	bool left = false;
	unsigned n;

	for (n = 0; n < PUNT_BUDGET && !rte_ring_sc_dequeue_elem(w->events, &event, sizeof(event));
		n++)
		event_take(&event);
	left |= n == PUNT_BUDGET;
	for (unsigned c = 0; c < PUNT_CLASSES; c++) {
		for (n = 0; n < PUNT_BUDGET && !rte_ring_sc_dequeue(w->punts[c], (void **)&m); n++)
			punt_takers[c](m);
		left |= n == PUNT_BUDGET;
	}
	return left;
}

static void punts_waiting(void)
{
	bool left = false;

	for (unsigned i = 0; i < workers_count(); i++)
		left |= worker_drain(worker_get(i));
	/* the rest after whatever else the loop has to do */
	if (left && !ev_is_active(&dp.punts_again))
		ev_timer_start(core_loop(), &dp.punts_again);
}

LOOP_CALLBACK(punts_again, ev_timer)
{
	(void)loop, (void)revents;
	ev_timer_stop(loop, watcher);
	ev_timer_set(watcher, 0., 0.);
	punts_waiting();
}

/* ---- start and stop -------------------------------------------------------------------------- */

static unsigned workers_wanted(const struct dataplane_conf *conf)
{
	long online = sysconf(_SC_NPROCESSORS_ONLN);

	if (conf->cores.count)
		return (unsigned)conf->cores.count;
	if (conf->workers)
		return (unsigned)conf->workers;
	return online > 1 ? (unsigned)RTE_MIN(online - 1, WORKER_MAX) : 1;
}

/* The largest packet of any port or tunnel decides the size of all buffers: one segment each. */
static unsigned frame_max_of(const struct dataplane_conf *conf)
{
	const struct tunnel_conf *tunnels_conf = conf->tunnels.items;
	const struct port_conf *ports_conf = conf->ports.items;
	int64_t max = 1500;

	for (size_t i = 0; i < conf->tunnels.count; i++)
		max = RTE_MAX(max, tunnels_conf[i].mtu);
	for (size_t i = 0; i < conf->ports.count; i++)
		max = RTE_MAX(max, ports_conf[i].mtu);
	/* drivers want buffers of 2 KiB, whatever the MTU */
	if (conf->ports.count && max < ETHER_FRAME_MIN)
		max = ETHER_FRAME_MIN;
	return (unsigned)max + ETHER_OVERHEAD + WG_OVERHEAD;
}

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

	dp.frame_max = frame_max_of(conf);
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
		.pools = dp.pools,
		.punts_waiting = punts_waiting,
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
	ev_timer_stop(core_loop(), &dp.punts_again);
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
		rc = ether_prepare(conf, (uint16_t)workers_wanted(conf), err);
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
	unsigned n = workers_wanted(conf);
	int rc;

	dp.conf = conf;
	ev_timer_init(&dp.punts_again, punts_again, 0., 0.);
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

static bool same_text(const char *a, const char *b)
{
	return !a == !b && (!a || !strcmp(a, b));
}

static bool same_prefixes(const struct setting_list *a, const struct setting_list *b)
{
	const struct net_prefix *pa = a->items, *pb = b->items;

	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (!net_prefix_equal(&pa[i], &pb[i]))
			return false;
	return true;
}

static bool same_cores(const struct setting_list *a, const struct setting_list *b)
{
	return a->count == b->count &&
	       (!a->count || !memcmp(a->items, b->items, a->count * sizeof(int64_t)));
}

/* All of a tunnel but what tunnel_apply takes over. */
static bool same_tunnel(const struct tunnel_conf *a, const struct tunnel_conf *b)
{
	return same_text(a->name, b->name) && same_text(a->interface, b->interface) &&
	       same_text(a->private_key_file, b->private_key_file) && a->underlay == b->underlay &&
	       a->listen_port == b->listen_port && a->fwmark == b->fwmark && a->mtu == b->mtu &&
	       a->kernel_routes == b->kernel_routes && same_prefixes(&a->addresses, &b->addresses);
}

static bool same_vlans(const struct port_conf *a, const struct port_conf *b)
{
	const struct vlan_conf *va = a->vlans.items, *vb = b->vlans.items;

	if (a->vlans.count != b->vlans.count)
		return false;
	for (size_t i = 0; i < a->vlans.count; i++)
		if (va[i].id != vb[i].id || !same_prefixes(&va[i].addresses, &vb[i].addresses))
			return false;
	return true;
}

static bool same_port(const struct port_conf *a, const struct port_conf *b)
{
	return same_text(a->name, b->name) && same_text(a->device, b->device) &&
	       same_text(a->mirror, b->mirror) && a->mtu == b->mtu &&
	       a->descriptors == b->descriptors && a->promiscuous == b->promiscuous &&
	       same_prefixes(&a->addresses, &b->addresses) && same_vlans(a, b);
}

static bool same_route(const struct route_conf *a, const struct route_conf *b)
{
	return net_prefix_equal(&a->prefix, &b->prefix) && net_addr_equal(&a->via, &b->via) &&
	       same_text(a->port, b->port) && same_text(a->tunnel, b->tunnel);
}

#define SAME_EACH(a, b, list, type, same)                                      \
	do {                                                                   \
		if ((a)->list.count != (b)->list.count)                        \
			return false;                                          \
		for (size_t i = 0; i < (a)->list.count; i++)                   \
			if (!same((const struct type *)(a)->list.items + i,    \
				    (const struct type *)(b)->list.items + i)) \
				return false;                                  \
	} while (0)

/* Whether `next` asks for nothing but what a running data plane takes over. */
static bool absorbable(const struct dataplane_conf *a, const struct dataplane_conf *b)
{
	if (workers_wanted(a) != workers_wanted(b) || !same_cores(&a->cores, &b->cores) ||
		frame_max_of(a) != frame_max_of(b))
		return false;
	SAME_EACH(a, b, tunnels, tunnel_conf, same_tunnel);
	SAME_EACH(a, b, ports, port_conf, same_port);
	SAME_EACH(a, b, routes, route_conf, same_route);
	return true;
}

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
	return absorbable(a, b) ? PLUGIN_ABSORB : PLUGIN_RESTART;
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
