/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The TAP behind a mirror: what workers punt is written to it, what the kernel sends is read from
 * it and injected. Control loop.
 *
 * Frames that the kernel sends go out of the port as they are, VLAN tags too. Two kinds do not. A
 * question (ARP, neighbour solicitation) for a host behind a tunnel is answered here with the
 * gateway MAC (mirror.h), and a frame to that MAC is a packet to route. So a kernel route "NETWORK
 * dev MIRROR" leads the host's own traffic into the tunnel.
 */
#include "mirror.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ether.h"
#include "neigh_packet.h"
#include "netlink_watch.h"
#include "rtnl.h"

#define READS_PER_CALL 64

enum { DROP_GONE, DROP_NO_BUFFER, DROP_MALFORMED, DROPS };

const struct drop_reason mirror_drops[] = {
	{"mirror_gone", "a frame for the kernel, but its mirror interface is gone or down"},
	{"mirror_no_buffer", "no packet buffer for a frame that the kernel sends"},
	{"mirror_malformed", "a frame of the kernel's to the gateway MAC that holds no IP packet"},
	{NULL, NULL},
};

struct mirror {
	ev_io io;
	int fd;
	uint16_t port, mtu;
	uint8_t mac[6], gateway[6];
	char name[IF_NAMESIZE];
};

static struct mirror *mirrors[PORT_MAX];

static void count_drop(unsigned reason)
{
	control_drops[graph_drop_number(mirror_drops[reason].name)]++;
}

/* ---- to the kernel --------------------------------------------------------------------------- */

/* A TAP is never full in this direction: nothing bounds what the kernel takes from it. */
static void frame_put(const struct mirror *mirror, const void *frame, size_t len)
{
	if (!mirror || write(mirror->fd, frame, len) < 0)
		count_drop(DROP_GONE);
}

void mirror_punt(struct rte_mbuf *m)
{
	const struct packet *p = packet_of(m);

	frame_put(p->in_port < PORT_MAX ? mirrors[p->in_port] : NULL,
		rte_pktmbuf_mtod(m, const void *), m->data_len);
	rte_pktmbuf_free(m);
}

/* ---- from the kernel ------------------------------------------------------------------------- */

/* The L2 header of a frame of the kernel's: at most one tag. */
static uint16_t l2_parse(const uint8_t *frame, uint32_t len, uint16_t *vlan, uint16_t *type)
{
	uint16_t at = 12;

	*vlan = 0;
	if (len < 18)
		return 0;
	if (frame[12] == 0x81 && frame[13] == 0x00) {
		*vlan = (uint16_t)(frame[14] << 8 | frame[15]) & 0xfff;
		at = 16;
	}
	*type = (uint16_t)(frame[at] << 8 | frame[at + 1]);
	return at + 2;
}

static bool is_behind_tunnel(const struct neigh_packet *in)
{
	const struct fib *fib = ether_fib();
	const struct fib_next_hop *hop;

	if (!fib || in->op != NEIGH_REQUEST || !in->has_mac)
		return false;
	hop = fib_next_hop(fib, in->family == AF_INET ? fib_lookup4(fib, in->target)
						      : fib_lookup6(fib, in->target));
	return hop && hop->type == FIB_TUNNEL;
}

/* True when the frame was a question for a host behind a tunnel, which is answered now. */
static bool question_take(struct mirror *mirror, const uint8_t *frame, uint32_t len)
{
	struct neigh_frame f = {.op = NEIGH_REPLY};
	uint8_t reply[NEIGH_FRAME_MAX];
	struct neigh_packet in;
	uint16_t type, l2_len = l2_parse(frame, len, &f.vlan, &type);

	if (!l2_len || (type != RTE_ETHER_TYPE_ARP && type != RTE_ETHER_TYPE_IPV6))
		return false;
	if (!(type == RTE_ETHER_TYPE_ARP ? arp_parse : nd_parse)(
		    frame + l2_len, len - l2_len, &in) ||
		!is_behind_tunnel(&in))
		return false;
	f.family = in.family;
	memcpy(f.our_mac, mirror->gateway, 6);
	memcpy(f.our_addr, in.target, 16);
	memcpy(f.target, in.sender, 16);
	memcpy(f.target_mac, in.mac, 6);
	frame_put(mirror, reply, neigh_frame_build(&f, reply));
	return true;
}

/* A packet of the kernel's to route. */
static void routed_take(struct mirror *mirror, struct rte_mbuf *m)
{
	struct packet *p = packet_of(m);
	uint16_t type;
	uint16_t l2_len =
		l2_parse(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, &p->vlan, &type);

	if (!l2_len || (type != RTE_ETHER_TYPE_IPV4 && type != RTE_ETHER_TYPE_IPV6)) {
		count_drop(DROP_MALFORMED);
		rte_pktmbuf_free(m);
		return;
	}
	rte_pktmbuf_adj(m, l2_len);
	p->kind = PACKET_IP;
	p->in_port = mirror->port;
	control_inject(mirror->port % control_workers(), INJECT_ROUTE, m);
}

static void frame_take(struct mirror *mirror, struct rte_mbuf *m)
{
	const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);
	struct packet *p = packet_of(m);

	if (memcmp(frame, mirror->gateway, 6) == 0) {
		routed_take(mirror, m);
		return;
	}
	if (question_take(mirror, frame, m->data_len)) {
		rte_pktmbuf_free(m);
		return;
	}
	p->kind = PACKET_ETHER;
	p->out_port = mirror->port;
	control_inject(mirror->port % control_workers(), INJECT_ETHER, m);
}

LOOP_CALLBACK(mirror_readable, ev_io)
{
	struct mirror *mirror = (struct mirror *)watcher;

	(void)loop, (void)revents;
	for (unsigned i = 0; i < READS_PER_CALL; i++) {
		struct rte_mbuf *m = control_mbuf_alloc();
		uint8_t discard[64];
		ssize_t n;

		/* without a buffer the frame is taken all the same: the loop must not spin */
		n = m ? read(mirror->fd, rte_pktmbuf_mtod(m, void *), rte_pktmbuf_tailroom(m))
		      : read(mirror->fd, discard, sizeof(discard));
		if (n < RTE_ETHER_HDR_LEN) {
			rte_pktmbuf_free(m);
			return;
		}
		if (!m) {
			count_drop(DROP_NO_BUFFER);
			continue;
		}
		rte_pktmbuf_append(m, (uint16_t)n);
		frame_take(mirror, m);
	}
}

/* ---- life ------------------------------------------------------------------------------------ */

static int tap_open(struct mirror *mirror, struct err *err)
{
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_TUN_EXCL};

	if (if_nametoindex(mirror->name))
		return err_set(err, -EEXIST,
			"there is an interface named %s already: choose another "
			"name for the mirror",
			mirror->name);
	mirror->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (mirror->fd < 0)
		return err_set(err, -errno, "/dev/net/tun: %s", strerror(errno));
	memcpy(ifr.ifr_name, mirror->name, sizeof(ifr.ifr_name));
	if (ioctl(mirror->fd, TUNSETIFF, &ifr) < 0)
		return err_set(err, -errno, "cannot make the interface %s: %s", mirror->name,
			strerror(errno));
	ifr.ifr_hwaddr.sa_family = ARPHRD_ETHER;
	memcpy(ifr.ifr_hwaddr.sa_data, mirror->mac, 6);
	if (ioctl(mirror->fd, SIOCSIFHWADDR, &ifr) < 0)
		return err_set(err, -errno, "cannot give %s the port's MAC: %s", mirror->name,
			strerror(errno));
	return 0;
}

static int addresses_put(const char *ifname, const struct setting_list *list, struct err *err)
{
	const struct net_prefix *addresses = list->items;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < list->count; i++)
		rc = netlink_address_add(ifname, &addresses[i], err);
	return rc;
}

static int vlans_put(struct mirror *mirror, const struct port_conf *conf, struct err *err)
{
	const struct vlan_conf *vlans = conf->vlans.items;
	char name[IF_NAMESIZE];
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < conf->vlans.count; i++) {
		if (snprintf(name, sizeof(name), "%s.%d", mirror->name, (int)vlans[i].id) >=
			(int)sizeof(name))
			return err_set(err, -ENAMETOOLONG,
				"the name %s.%d is too long for an interface", mirror->name,
				(int)vlans[i].id);
		rc = rtnl_vlan_add(mirror->name, name, (uint16_t)vlans[i].id, err);
		if (rc == 0)
			rc = netlink_link_up(name, mirror->mtu, err);
		if (rc == 0)
			rc = addresses_put(name, &vlans[i].addresses, err);
	}
	return rc;
}

static void mirror_free(struct mirror *mirror)
{
	if (mirror->fd >= 0)
		close(mirror->fd); /* the kernel removes the interface, and VLANs on it */
	free(mirror);
}

int mirror_open(struct port *port, const struct port_conf *conf, struct err *err)
{
	struct mirror *mirror = calloc(1, sizeof(*mirror));
	int rc = mirror ? 0 : err_set(err, -ENOMEM, "out of memory");

	if (rc < 0)
		return rc;
	mirror->fd = -1;
	mirror->port = port->index;
	mirror->mtu = port->mtu;
	memcpy(mirror->mac, port->mac, 6);
	mirror_gateway_mac(port->mac, mirror->gateway);
	if (snprintf(mirror->name, sizeof(mirror->name), "%s", conf->mirror) >=
		(int)sizeof(mirror->name))
		rc = err_set(err, -ENAMETOOLONG, "%s is too long for an interface", conf->mirror);
	if (rc == 0)
		rc = tap_open(mirror, err);
	if (rc == 0)
		rc = netlink_link_up(mirror->name, mirror->mtu, err);
	if (rc == 0)
		rc = addresses_put(mirror->name, &conf->addresses, err);
	if (rc == 0)
		rc = vlans_put(mirror, conf, err);
	if (rc < 0) {
		mirror_free(mirror);
		return rc;
	}
	mirrors[port->index] = mirror;
	ev_io_init(&mirror->io, mirror_readable, mirror->fd, EV_READ);
	ev_io_start(core_loop(), &mirror->io);
	netlink_watch_add(if_nametoindex(mirror->name), port->index, mirror->mtu);
	return 0;
}

void mirror_close(uint16_t port)
{
	struct mirror *mirror = mirrors[port];

	if (!mirror)
		return;
	netlink_watch_remove(port);
	ev_io_stop(core_loop(), &mirror->io);
	mirrors[port] = NULL;
	mirror_free(mirror);
}

bool mirror_resolve(const struct neigh_key *key)
{
	return key->port < PORT_MAX && mirrors[key->port] && netlink_watch_resolve(key);
}
