/* SPDX-License-Identifier: BSD-3-Clause */
/* The data plane's settings as data, and the checks between them. Control loop. */
#include <stddef.h>
#include <string.h>

#include "dataplane.h"

#define NS_PER_SECOND 1000000000LL
#define MIB 1048576LL

static const struct setting peer_settings[] = {
	{"name", SETTING_STRING, 0, offsetof(struct peer_conf, name),
		.help = "What people call the peer; shown instead of its key."},
	{"public_key", SETTING_KEY, SETTING_REQUIRED | SETTING_UNIQUE,
		offsetof(struct peer_conf, public_key), .help = "The peer's public key, base64."},
	{"preshared_key_file", SETTING_SECRET_FILE, 0,
		offsetof(struct peer_conf, preshared_key_file),
		.help = "A file with the key shared beforehand with this peer, base64. None by "
			"default."},
	{"endpoint", SETTING_ENDPOINT, 0, offsetof(struct peer_conf, endpoint),
		.help = "Where the peer listens. A name is looked up at start and again whenever a "
			"handshake fails. Without it the peer must speak first."},
	{"allowed_ips", SETTING_PREFIX, SETTING_LIST, offsetof(struct peer_conf, allowed_ips),
		.help = "Prefixes routed to the peer, and the only sources accepted from it. A "
			"prefix "
			"named by two peers belongs to the last one."},
	{"persistent_keepalive", SETTING_DURATION, 0,
		offsetof(struct peer_conf, persistent_keepalive), .def = "0s", .min = 0,
		.max = 65535 * NS_PER_SECOND,
		.help = "Sends an empty packet after this much silence, to keep NAT mappings open. "
			"0s: off."},
	{0},
};

static const char *const underlay_choices[] = {"host", "ports", NULL};

static const struct setting tunnel_settings[] = {
	{"name", SETTING_STRING, SETTING_REQUIRED | SETTING_UNIQUE,
		offsetof(struct tunnel_conf, name),
		.help = "Name of the tunnel, and of its interface unless `interface` says "
			"otherwise."},
	{"underlay", SETTING_ENUM, 0, offsetof(struct tunnel_conf, underlay), .def = "host",
		.choices = underlay_choices,
		.help = "What carries the sealed packets: sockets of the host's kernel, or the "
			"Ethernet "
			"ports of this data plane."},
	{"interface", SETTING_STRING, 0, offsetof(struct tunnel_conf, interface),
		.help = "Name of the kernel's TUN interface for the inside of the tunnel. With "
			"underlay "
			"\"ports\" it is optional, and carries what is for this machine itself."},
	{"private_key_file", SETTING_SECRET_FILE, 0, offsetof(struct tunnel_conf, private_key_file),
		.help = "The tunnel's private key, base64. Without it, tunnels/NAME.key in the "
			"state "
			"directory, made at the first start."},
	{"listen_port", SETTING_INT, 0, offsetof(struct tunnel_conf, listen_port), .def = "0",
		.min = 0, .max = 65535, .help = "UDP port. 0: any free one (host underlay only)."},
	{"fwmark", SETTING_INT, 0, offsetof(struct tunnel_conf, fwmark), .def = "0", .min = 0,
		.max = 0x7fffffff,
		.help = "Firewall mark of the sealed packets (host underlay only). 0: 51820, as "
			"wg-quick does."},
	{"addresses", SETTING_PREFIX, SETTING_LIST, offsetof(struct tunnel_conf, addresses),
		.help = "This machine's addresses inside the tunnel, with the length of their "
			"network."},
	{"mtu", SETTING_INT, 0, offsetof(struct tunnel_conf, mtu), .def = "1420", .min = 576,
		.max = 9200, .unit = "bytes", .help = "Largest inner packet."},
	{"relay_peers", SETTING_BOOL, 0, offsetof(struct tunnel_conf, relay_peers), .def = "false",
		.help = "Routes from peer to peer inside the data plane, without the kernel seeing "
			"the "
			"packets: for hubs. With underlay \"ports\" it is always so."},
	{"kernel_routes", SETTING_BOOL, 0, offsetof(struct tunnel_conf, kernel_routes),
		.def = "true", .help = "Installs routes for the allowed IPs on the TUN interface."},
	{"peers", SETTING_GROUP, SETTING_LIST, offsetof(struct tunnel_conf, peers),
		.sub = peer_settings, .size = sizeof(struct peer_conf), .help = "The other ends."},
	{0},
};

static const struct setting vlan_settings[] = {
	{"id", SETTING_INT, SETTING_REQUIRED | SETTING_UNIQUE, offsetof(struct vlan_conf, id),
		.min = 1, .max = 4094, .help = "802.1Q identifier."},
	{"addresses", SETTING_PREFIX, SETTING_LIST, offsetof(struct vlan_conf, addresses),
		.help = "This machine's addresses in the VLAN."},
	{0},
};

static const struct setting port_settings[] = {
	{"name", SETTING_STRING, SETTING_REQUIRED | SETTING_UNIQUE,
		offsetof(struct port_conf, name), .help = "What routes and people call the port."},
	{"device", SETTING_STRING, SETTING_REQUIRED | SETTING_UNIQUE,
		offsetof(struct port_conf, device),
		.help = "A PCI address (\"0000:03:00.0\") or a DPDK virtual device "
			"(\"net_af_packet0,iface=eth1\", net_af_xdp, net_memif, net_tap)."},
	{"addresses", SETTING_PREFIX, SETTING_LIST, offsetof(struct port_conf, addresses),
		.help = "This machine's addresses on the port. With a mirror they are put on the "
			"mirror."},
	{"mirror", SETTING_STRING, 0, offsetof(struct port_conf, mirror),
		.help = "Name of a kernel interface that gets what the data plane does not take: "
			"ARP, ssh, "
			"DHCP, routing daemons. Its neighbours and routes are used. Under "
			"AF_PACKET the kernel then takes nothing from the interface itself: "
			"addresses belong on the mirror alone."},
	{"mtu", SETTING_INT, 0, offsetof(struct port_conf, mtu), .def = "1500", .min = 576,
		.max = 9216, .unit = "bytes", .help = "Largest IP packet on the port."},
	{"descriptors", SETTING_INT, 0, offsetof(struct port_conf, descriptors), .def = "1024",
		.min = 64, .max = 32768, .help = "Length of each queue."},
	{"promiscuous", SETTING_BOOL, 0, offsetof(struct port_conf, promiscuous), .def = "false",
		.help = "Takes frames for any MAC address (only for networks that need it)."},
	{"vlans", SETTING_GROUP, SETTING_LIST, offsetof(struct port_conf, vlans),
		.sub = vlan_settings, .size = sizeof(struct vlan_conf),
		.help = "Tagged networks on the port."},
	{0},
};

static const struct setting route_settings[] = {
	{"prefix", SETTING_PREFIX, SETTING_REQUIRED, offsetof(struct route_conf, prefix),
		.help = "Destination."},
	{"via", SETTING_ADDRESS, 0, offsetof(struct route_conf, via),
		.help = "The gateway, in the network of a port."},
	{"port", SETTING_STRING, 0, offsetof(struct route_conf, port),
		.help = "The port, for a destination that is on its wire."},
	{"tunnel", SETTING_STRING, 0, offsetof(struct route_conf, tunnel),
		.help = "The tunnel; its allowed IPs choose the peer. They are routed there "
			"anyway."},
	{0},
};

static const char *const poll_choices[] = {"adaptive", "busy", NULL};

const struct setting dataplane_settings[] = {
	{"workers", SETTING_INT, 0, offsetof(struct dataplane_conf, workers), .def = "0", .min = 0,
		.max = WORKER_MAX,
		.help = "Threads that carry packets. 0: the number of cores less one, at least "
			"one."},
	{"cores", SETTING_INT, SETTING_LIST, offsetof(struct dataplane_conf, cores), .min = 0,
		.max = 1023,
		.help = "Cores the workers are pinned to, one each. Without it, the last ones when "
			"they poll all "
			"the time, and none when they sleep between."},
	{"poll", SETTING_ENUM, 0, offsetof(struct dataplane_conf, poll), .def = "adaptive",
		.choices = poll_choices,
		.help = "\"adaptive\" polls while there is work and sleeps when there is none; "
			"\"busy\" never "
			"sleeps: lowest latency, all of each worker's core."},
	{"idle_before_sleep", SETTING_DURATION, 0,
		offsetof(struct dataplane_conf, idle_before_sleep), .def = "50us", .min = 0,
		.max = NS_PER_SECOND,
		.help = "How long an adaptive worker polls on without a packet, at most, before it "
			"sleeps. It sleeps at once where packets come singly."},
	{"worker_nice", SETTING_INT, 0, offsetof(struct dataplane_conf, worker_nice), .def = "-10",
		.min = -20, .max = 19,
		.help = "Nice value of workers that share cores with other programs, which are all "
			"that are not pinned. 0: no precedence over them."},
	{"memory", SETTING_SIZE, SETTING_RESTART, offsetof(struct dataplane_conf, memory),
		.def = "64MiB", .min = 16 * MIB, .max = 65536 * MIB,
		.help = "Packet buffers, of all workers together."},
	{"max_peers", SETTING_INT, SETTING_RESTART, offsetof(struct dataplane_conf, max_peers),
		.def = "16384", .min = 1, .max = 1 << 20, .help = "Peers of all tunnels together."},
	{"hugepages", SETTING_BOOL, SETTING_RESTART, offsetof(struct dataplane_conf, hugepages),
		.def = "true",
		.help = "Uses hugepages when there are any, or when they can be reserved."},
	{"mss_clamp", SETTING_BOOL, 0, offsetof(struct dataplane_conf, mss_clamp), .def = "true",
		.help = "Lowers the TCP maximum segment size of connections routed into a tunnel "
			"by the "
			"data plane to what fits."},
	{"peer_metrics", SETTING_BOOL, 0, offsetof(struct dataplane_conf, peer_metrics),
		.def = "false", .help = "Adds metrics for each peer, the first 1000 of them."},
	{"ports", SETTING_GROUP, SETTING_LIST, offsetof(struct dataplane_conf, ports),
		.sub = port_settings, .size = sizeof(struct port_conf),
		.help = "Ethernet ports. None: the host port alone."},
	{"routes", SETTING_GROUP, SETTING_LIST, offsetof(struct dataplane_conf, routes),
		.sub = route_settings, .size = sizeof(struct route_conf),
		.help = "Static routes between Ethernet ports and tunnels."},
	{"tunnels", SETTING_GROUP, SETTING_LIST, offsetof(struct dataplane_conf, tunnels),
		.sub = tunnel_settings, .size = sizeof(struct tunnel_conf),
		.help = "WireGuard tunnels."},
	{0},
};

static void validate_peer(const struct peer_conf *p, struct setting_errors *errs)
{
	if (p->name && strlen(p->name) > 63)
		setting_error(errs, &p->name, "a peer's name has at most 63 bytes");
}

static void validate_tunnel(
	const struct dataplane_conf *conf, const struct tunnel_conf *t, struct setting_errors *errs)
{
	const char *interface = t->interface ? t->interface : t->name;

	if (t->underlay == UNDERLAY_PORTS && !conf->ports.count)
		setting_error(errs, &t->underlay,
			"tunnel %s is to use Ethernet ports, but there are none: add `ports`, or "
			"use underlay = \"host\"",
			t->name);
	if (t->underlay == UNDERLAY_PORTS && !t->listen_port)
		setting_error(errs, &t->listen_port,
			"tunnel %s needs a listen_port, for example 51820", t->name);
	if ((t->interface || t->underlay == UNDERLAY_HOST) &&
		(strlen(interface) > 15 || strpbrk(interface, "/ %")))
		setting_error(errs, t->interface ? (const void *)&t->interface : &t->name,
			"\"%s\" is no name for an interface: at most 15 characters, without slash, "
			"space or %%",
			interface);
	if (strpbrk(t->name, "/ ") || !*t->name || *t->name == '.')
		setting_error(errs, &t->name,
			"\"%s\" is no name for a tunnel: no slash, space or leading dot", t->name);
}

static void validate_route(
	const struct dataplane_conf *conf, const struct route_conf *r, struct setting_errors *errs)
{
	const struct port_conf *ports = conf->ports.items;
	const struct tunnel_conf *tunnels = conf->tunnels.items;
	bool found = false;

	if (!!r->via.family + !!r->port + !!r->tunnel != 1)
		setting_error(errs, &r->prefix, "a route has exactly one of via, port and tunnel");
	for (size_t i = 0; r->port && i < conf->ports.count; i++)
		found |= !strcmp(ports[i].name, r->port);
	for (size_t i = 0; r->tunnel && i < conf->tunnels.count; i++)
		found |= !strcmp(tunnels[i].name, r->tunnel);
	if ((r->port || r->tunnel) && !found)
		setting_error(errs, r->port ? &r->port : &r->tunnel, "there is no %s named \"%s\"",
			r->port ? "port" : "tunnel", r->port ? r->port : r->tunnel);
}

void dataplane_validate(const void *settings, struct setting_errors *errs)
{
	const struct dataplane_conf *conf = settings;
	const struct tunnel_conf *tunnels = conf->tunnels.items;
	const struct route_conf *routes = conf->routes.items;

	if (conf->cores.count && conf->workers && conf->cores.count != (size_t)conf->workers)
		setting_error(errs, &conf->cores,
			"%zu cores for %lld workers: name one core for each", conf->cores.count,
			(long long)conf->workers);
	for (size_t i = 0; i < conf->tunnels.count; i++) {
		validate_tunnel(conf, &tunnels[i], errs);
		for (size_t k = 0; k < tunnels[i].peers.count; k++)
			validate_peer((const struct peer_conf *)tunnels[i].peers.items + k, errs);
		for (size_t k = 0; k < i; k++)
			if (tunnels[i].listen_port &&
				tunnels[i].listen_port == tunnels[k].listen_port &&
				tunnels[i].underlay == tunnels[k].underlay)
				setting_error(errs, &tunnels[i].listen_port,
					"tunnels %s and %s both listen on port %lld",
					tunnels[k].name, tunnels[i].name,
					(long long)tunnels[i].listen_port);
	}
	for (size_t i = 0; i < conf->routes.count; i++)
		validate_route(conf, &routes[i], errs);
}
