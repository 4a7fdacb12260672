/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a configuration asks of workers and buffers, and whether the next one asks for nothing but
 * what a running data plane takes over. Control loop.
 */
#include <string.h>
#include <unistd.h>

#include "dataplane.h"

#define ETHER_FRAME_MIN 2048
#define ETHER_OVERHEAD 32 /* Ethernet, two VLAN tags, slack */
#define WG_OVERHEAD 80    /* IPv6, UDP, WireGuard header and tag, padding */

unsigned conf_workers(const struct dataplane_conf *conf)
{
	long online = sysconf(_SC_NPROCESSORS_ONLN);

	if (conf->cores.count)
		return (unsigned)conf->cores.count;
	if (conf->workers)
		return (unsigned)conf->workers;
	return online > 1 ? (unsigned)RTE_MIN(online - 1, WORKER_MAX) : 1;
}

unsigned conf_frame_max(const struct dataplane_conf *conf)
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

bool conf_absorbable(const struct dataplane_conf *a, const struct dataplane_conf *b)
{
	if (conf_workers(a) != conf_workers(b) || !same_cores(&a->cores, &b->cores) ||
		a->worker_nice != b->worker_nice || conf_frame_max(a) != conf_frame_max(b))
		return false;
	SAME_EACH(a, b, tunnels, tunnel_conf, same_tunnel);
	SAME_EACH(a, b, ports, port_conf, same_port);
	SAME_EACH(a, b, routes, route_conf, same_route);
	return true;
}
