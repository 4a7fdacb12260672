/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a tunnel has in the kernel: its interface, addresses and routes. Control loop.
 *
 * An interface that somebody deletes takes its addresses and routes with it; the port stays, down
 * and silent. A reload makes all of it anew.
 */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "control.h"
#include "ether.h"
#include "workers.h"

/* ---- routes ---------------------------------------------------------------------------------- */

/* The network of an address on the interface: the kernel has that route by itself. */
static bool connected(const struct tunnel *t, const struct net_prefix *prefix)
{
	const struct net_prefix *address;

	for (size_t i = 0; (address = tunnel_address(t, i)); i++)
		if (address->len <= prefix->len && net_prefix_contains(address, &prefix->addr))
			return true;
	return false;
}

static int kernel_route_add(struct tunnel *t, const struct net_prefix *masked, struct err *err)
{
	if (!t->tun || !t->kernel_routes || connected(t, masked))
		return 0;
	return masked->len ? netlink_route_add(t->interface, masked, err)
			   : netlink_default_add(t->interface, masked->addr.family, t->fwmark, err);
}

void tunnel_route_add(struct tunnel *t, const struct net_prefix *prefix, uint32_t peer)
{
	struct net_prefix masked = net_prefix_masked(prefix);
	char text[NET_PREFIX_STRLEN];
	struct err err = {0};
	int rc = 0;

	if (t->dp->ports_underlay)
		rc = fib_tunnel_route_add(ether_fib(), &masked, t->index, peer, t->dp->mtu, &err);
	if (!rc || rc == -EEXIST)
		rc = kernel_route_add(t, &masked, &err);
	if (rc && rc != -EEXIST)
		log_warnx("tunnel %s: no route for %s: %s", t->name,
			net_prefix_format(&masked, text), err.msg);
}

void tunnel_route_remove(struct tunnel *t, const struct net_prefix *prefix)
{
	struct net_prefix masked = net_prefix_masked(prefix);
	struct err err = {0};

	if (t->dp->ports_underlay)
		fib_tunnel_route_remove(ether_fib(), &masked, t->index, t->dp->mtu);
	if (!t->tun || !t->kernel_routes || connected(t, &masked))
		return;
	if (masked.len)
		netlink_route_remove(t->interface, &masked, &err);
	else
		netlink_default_remove(t->interface, masked.addr.family, t->fwmark, &err);
}

/* ---- the interface --------------------------------------------------------------------------- */

static int interface_set(struct tunnel *t, const struct tunnel_conf *conf, struct err *err)
{
	const struct net_prefix *address;
	int rc = 0;

	for (size_t i = 0; !rc && (address = tunnel_address(t, i)); i++)
		rc = netlink_address_add(t->interface, address, err);
	return rc ? rc : netlink_link_up(t->interface, (unsigned)conf->mtu, err);
}

int tunnel_interface_open(struct tunnel *t, const struct tunnel_conf *conf, struct err *err)
{
	int rc;

	if (conf->underlay == UNDERLAY_PORTS && !conf->interface)
		return 0;
	snprintf(t->interface, sizeof(t->interface), "%.15s",
		conf->interface ? conf->interface : conf->name);
	t->tun = port_tun_open(
		t->interface, (uint16_t)workers_count(), (uint16_t)conf->mtu, t->index, err);
	if (!t->tun)
		return -EIO;
	rc = control_port_add(t->tun);
	if (rc) /* which has closed it */
		t->tun = NULL;
	return rc ? rc : interface_set(t, conf, err);
}

static void route_restore(void *arg, const struct net_prefix *prefix)
{
	struct tunnel *t = arg;
	char text[NET_PREFIX_STRLEN];
	struct err err = {0};

	if (kernel_route_add(t, prefix, &err))
		log_warnx("tunnel %s: no route for %s: %s", t->name,
			net_prefix_format(prefix, text), err.msg);
}

struct port *tunnel_interface_restore(struct tunnel *t, const struct tunnel_conf *conf)
{
	struct port *gone = t->tun;
	struct err err = {0};

	if (!gone || !port_tun_gone(gone))
		return NULL;
	if (tunnel_interface_open(t, conf, &err) < 0) {
		log_warnx("tunnel %s stays without its interface: %s", t->name, err.msg);
		if (t->tun && t->tun != gone)
			control_port_remove(t->tun);
		t->tun = gone;
		return NULL;
	}
	for (uint32_t b = 0; b < t->n_buckets; b++)
		for (struct peer *p = t->by_key[b]; p; p = p->next_by_key)
			allowedips_each(&t->allowed_ips, p->index, route_restore, t);
	log_info("tunnel %s: interface %s was made anew", t->name, t->interface);
	return gone;
}
