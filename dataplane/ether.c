/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The Ethernet side put together: ports, addresses, mirrors, static routes. Control loop.
 *
 * The addresses of a port with a mirror go onto the mirror, and come into the FIB from there (what
 * an administrator or a DHCP client changes on it counts too). Without a mirror they go into the
 * FIB directly, and this gateway speaks ARP and ND for them.
 */
#include "ether.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mirror.h"
#include "neigh.h"
#include "netlink_watch.h"
#include "port_ether.h"

#define RETURN_SOONEST 1. /* s */
#define RETURN_LATEST 600.
#define RETURN_LASTS 600. /* s: then what went before is forgotten */

/* An address of a port's, as configured. */
struct ether_address {
	struct net_prefix prefix;
	uint16_t vlan;
};

struct ether_place {
	struct port *port;
	bool mirror;
	size_t n;
	struct ether_address *addresses;
};

static struct {
	struct fib *fib;
	struct ether_place places[PORT_MAX]; /* by index of the port */
	ev_timer returns;                    /* runs while a port is to return by itself */
} eth;

/* Opened before there was a data plane to take them. */
static struct port *prepared[PORT_MAX];

struct fib *ether_fib(void)
{
	return eth.fib;
}

/* ---- addresses ------------------------------------------------------------------------------- */

/* fe80:: and the MAC as EUI-64 (RFC 4291, 2.5.1): neighbours may ask for us by it. */
static struct net_prefix link_local(const uint8_t mac[static 6])
{
	struct net_prefix p = {.addr.family = AF_INET6, .len = 64};
	const uint8_t bytes[16] = {0xfe, 0x80, [8] = mac[0] ^ 2, [9] = mac[1], [10] = mac[2],
		[11] = 0xff, [12] = 0xfe, [13] = mac[3], [14] = mac[4], [15] = mac[5]};

	memcpy(p.addr.bytes, bytes, 16);
	return p;
}

static bool has_ipv6(const struct setting_list *list)
{
	const struct net_prefix *addresses = list->items;

	for (size_t i = 0; i < list->count; i++)
		if (addresses[i].addr.family == AF_INET6)
			return true;
	return false;
}

static size_t addresses_collect(struct ether_address *out, const struct setting_list *list,
	uint16_t vlan, const struct port *port)
{
	const struct net_prefix *addresses = list->items;
	size_t n = 0;

	for (size_t i = 0; i < list->count; i++)
		out[n++] = (struct ether_address){.prefix = addresses[i], .vlan = vlan};
	if (has_ipv6(list))
		out[n++] = (struct ether_address){.prefix = link_local(port->mac), .vlan = vlan};
	return n;
}

static int addresses_plan(struct ether_place *place, const struct port_conf *conf)
{
	const struct vlan_conf *vlans = conf->vlans.items;
	size_t n = conf->addresses.count + 1;

	for (size_t i = 0; i < conf->vlans.count; i++)
		n += vlans[i].addresses.count + 1;
	place->addresses = calloc(n, sizeof(*place->addresses));
	if (!place->addresses)
		return -ENOMEM;
	place->n = addresses_collect(place->addresses, &conf->addresses, 0, place->port);
	for (size_t i = 0; i < conf->vlans.count; i++)
		place->n += addresses_collect(place->addresses + place->n, &vlans[i].addresses,
			(uint16_t)vlans[i].id, place->port);
	return 0;
}

static int addresses_open(struct ether_place *place, struct err *err)
{
	const struct port *port = place->port;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < place->n; i++) {
		const struct ether_address *a = &place->addresses[i];

		rc = fib_address_add(
			eth.fib, &a->prefix, port->index, a->vlan, TUNNEL_NONE, port->mtu, err);
		if (rc == 0)
			neigh_announce(port->index, a->vlan, &a->prefix.addr);
	}
	return rc;
}

/* ---- ports ----------------------------------------------------------------------------------- */

struct port *ether_port(const char *name)
{
	for (unsigned i = 0; i < PORT_MAX; i++)
		if (eth.places[i].port && strcmp(eth.places[i].port->name, name) == 0)
			return eth.places[i].port;
	return NULL;
}

static void place_close(struct ether_place *place)
{
	struct port *port = place->port;

	mirror_close(port->index);
	neigh_flush(port->index);
	fib_flush(eth.fib, port->index, TUNNEL_NONE);
	free(place->addresses);
	memset(place, 0, sizeof(*place));
	control_port_remove(port);
}

void ether_port_remove(const char *name)
{
	struct port *port = ether_port(name);

	if (port)
		place_close(&eth.places[port->index]);
}

static int place_open(struct port *port, const struct port_conf *conf, struct err *err)
{
	int rc = control_port_add(port);
	struct ether_place *place;

	if (rc < 0)
		return err_set(err, rc, "port %s: the table of ports is full", conf->name);
	place = &eth.places[port->index];
	*place = (struct ether_place){.port = port, .mirror = conf->mirror != NULL};
	rc = addresses_plan(place, conf);
	if (rc < 0)
		err_set(err, rc, "out of memory");
	else
		rc = conf->mirror ? mirror_open(port, conf, err) : addresses_open(place, err);
	if (rc < 0)
		place_close(place);
	return rc;
}

int ether_prepare(const struct dataplane_conf *conf, uint16_t n_queues, struct err *err)
{
	const struct port_conf *list = conf->ports.items;

	for (size_t i = 0; i < conf->ports.count && i < PORT_MAX; i++) {
		if (device_kind(list[i].device) != DEVICE_AF_XDP)
			continue;
		/* such a port has pools of its own */
		prepared[i] = port_ether_open(&list[i], n_queues, NULL, err);
		if (!prepared[i]) {
			ether_unprepare();
			return -EINVAL;
		}
	}
	return 0;
}

void ether_unprepare(void)
{
	for (size_t i = 0; i < PORT_MAX; i++) {
		if (prepared[i])
			prepared[i]->ops->close(prepared[i]);
		prepared[i] = NULL;
	}
}

static struct port *prepared_take(const struct port_conf *conf, uint16_t n_queues)
{
	for (size_t i = 0; i < PORT_MAX; i++) {
		struct port *port = prepared[i];

		if (!port || strcmp(port->name, conf->name) != 0 || port->n_queues != n_queues)
			continue;
		prepared[i] = NULL;
		return port;
	}
	return NULL;
}

int ether_port_add(const struct port_conf *conf, uint16_t n_queues,
	struct rte_mempool *const *pools, struct err *err)
{
	struct port *port = prepared_take(conf, n_queues);

	if (!port)
		port = port_ether_open(conf, n_queues, pools, err);
	return port ? place_open(port, conf, err) : -EINVAL;
}

void ether_link(struct port *port, bool up)
{
	/* What neighbours a mirror has, the kernel knows. That it was up may not have been seen. */
	if (!up && !port->mirror && control_port(port->index) == port)
		neigh_flush(port->index);
	port->up = up;
}

/* ---- opened anew ----------------------------------------------------------------------------- */

static void return_plan(struct port *port)
{
	struct port_return *back = &port->back;
	double now = ev_now(core_loop());

	if (back->returned > 0 && now - back->returned > RETURN_LASTS)
		back->delay = 0;
	back->delay = back->delay > 0 ? RTE_MIN(back->delay * 2, RETURN_LATEST) : RETURN_SOONEST;
	back->at = now + back->delay;
}

void ether_return(struct port *port)
{
	port->back.wanted = true;
	return_plan(port);
	if (!ev_is_active(&eth.returns))
		ev_timer_again(core_loop(), &eth.returns);
}

LOOP_CALLBACK(returns_look, ev_timer)
{
	bool wanted = false;

	(void)revents;
	control_ports_return();
	for (unsigned i = 0; i < PORT_MAX; i++)
		wanted |= eth.places[i].port && eth.places[i].port->back.wanted;
	if (!wanted)
		ev_timer_stop(loop, watcher);
}

/* What the port says meanwhile is why; it is logged once. */
static void stays_down(const struct port_conf *conf, struct port *old, bool reload, const char *why)
{
	if (reload || !old || strncmp(old->reason, why, sizeof(old->reason) - 1) != 0)
		log_warnx("port %s stays down: %s", conf->name, why);
	if (!old)
		return;
	if (old->back.wanted) {
		snprintf(old->reason, sizeof(old->reason), "%.*s", (int)sizeof(old->reason) - 1,
			why);
		return_plan(old);
	}
}

/* `old`, whose device is gone, makes place for it; NULL: there is none. */
static int port_reopen(struct port *old, const struct port_conf *conf, uint16_t n_queues,
	struct rte_mempool *const *pools, struct err *err)
{
	struct port *port = port_ether_open(conf, n_queues, pools, err);

	if (!port)
		return -ENODEV;
	if (old && old->back.wanted) {
		port->back = (struct port_return){.count = old->back.count + 1,
			.delay = old->back.delay,
			.returned = ev_now(core_loop())};
		log_info("port %s was opened anew", conf->name);
	}
	if (old)
		place_close(&eth.places[old->index]);
	return place_open(port, conf, err);
}

bool ether_reopen(const struct dataplane_conf *conf, uint16_t n_queues,
	struct rte_mempool *const *pools, bool reload)
{
	const struct port_conf *list = conf->ports.items;
	bool some = false;

	for (size_t i = 0; i < conf->ports.count; i++) {
		struct port *old = ether_port(list[i].name);
		struct err err = {0};

		if (old)
			port_ether_look(old);
		if (old && !atomic_load_explicit(&old->gone, memory_order_relaxed))
			continue;
		if (!reload && !(old && old->back.wanted && ev_now(core_loop()) >= old->back.at))
			continue;
		if (port_reopen(old, &list[i], n_queues, pools, &err) == 0)
			some = true;
		else
			stays_down(&list[i], ether_port(list[i].name), reload, err.msg);
	}
	return some;
}

/* ---- static routes --------------------------------------------------------------------------- */

/* The configured network that an address is in decides port and VLAN. */
static bool connected_find(const struct net_addr *via, struct fib_next_hop *hop)
{
	int best = -1;

	for (unsigned i = 0; i < PORT_MAX; i++)
		for (size_t k = 0; eth.places[i].port && k < eth.places[i].n; k++) {
			const struct ether_address *a = &eth.places[i].addresses[k];

			if (!net_prefix_contains(&a->prefix, via) || a->prefix.len <= best)
				continue;
			best = a->prefix.len;
			hop->port = (uint16_t)i;
			hop->vlan = a->vlan;
			hop->mtu = eth.places[i].port->mtu;
		}
	return best >= 0;
}

static int route_hop(
	const struct route_conf *conf, uint32_t tunnel, struct fib_next_hop *hop, struct err *err)
{
	const struct port *port = conf->port ? ether_port(conf->port) : NULL;
	char via[NET_ADDR_STRLEN];

	*hop = (struct fib_next_hop){.type = FIB_PORT, .port = PORT_NONE, .tunnel = tunnel};
	if (tunnel != TUNNEL_NONE) {
		hop->type = FIB_TUNNEL;
		return 0;
	}
	if (conf->port && !port)
		return err_set(err, -ENOENT, "a route leads to port \"%s\", which does not exist",
			conf->port);
	hop->family = (uint8_t)conf->via.family;
	memcpy(hop->via, conf->via.bytes, 16);
	if (conf->via.family && connected_find(&conf->via, hop) &&
		(!port || port->index == hop->port))
		return 0;
	if (!port)
		return err_set(err, -EINVAL, "a route leads via %s, which is on no port's network",
			net_addr_format(&conf->via, via));
	hop->port = port->index;
	hop->vlan = 0;
	hop->mtu = port->mtu;
	return 0;
}

int ether_route_add(const struct route_conf *conf, uint32_t tunnel, struct err *err)
{
	struct fib_next_hop hop;
	int rc;

	if (!eth.fib)
		return err_set(err, -EINVAL, "static routes need Ethernet ports");
	rc = route_hop(conf, tunnel, &hop, err);
	if (rc < 0 || fib_route_has(eth.fib, &conf->prefix, FIB_FROM_STATIC, &hop))
		return rc;
	return fib_route_add(eth.fib, &conf->prefix, FIB_FROM_STATIC, &hop, err);
}

void ether_route_remove(const struct route_conf *conf, uint32_t tunnel)
{
	struct fib_next_hop hop;

	if (eth.fib && route_hop(conf, tunnel, &hop, NULL) == 0)
		fib_route_remove(eth.fib, &conf->prefix, FIB_FROM_STATIC, &hop);
}

/* ---- life ------------------------------------------------------------------------------------ */

int ether_start(struct err *err)
{
	int rc;

	memset(&eth, 0, sizeof(eth));
	ev_timer_init(&eth.returns, returns_look, 0., RETURN_SOONEST);
	port_ether_numbers();
	eth.fib = fib_new(control_retire, err);
	if (!eth.fib)
		return -ENOMEM;
	rc = neigh_start(eth.fib, err);
	if (rc == 0)
		rc = netlink_watch_start(eth.fib, err);
	if (rc < 0) {
		neigh_stop();
		fib_free(eth.fib);
		eth.fib = NULL;
		return rc;
	}
	control_publish();
	return 0;
}

void ether_stop(void)
{
	struct fib *fib = eth.fib;

	if (!fib)
		return;
	ev_timer_stop(core_loop(), &eth.returns);
	for (unsigned i = 0; i < PORT_MAX; i++)
		if (eth.places[i].port)
			place_close(&eth.places[i]);
	netlink_watch_stop();
	/* the table goes out without FIB and neighbours; then both wait for the workers */
	eth.fib = NULL;
	control_publish();
	neigh_stop();
	control_retire(fib, fib_free);
}
