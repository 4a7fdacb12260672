/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Ports on AF_PACKET: opening, watching, closing. Control loop.
 *
 * A device "net_af_packetN,iface=NAME" is served by sockets of our own and not by DPDK's driver of
 * that name. That driver has the kernel put IPv4 fragments together (it joins a fan-out group with
 * that flag, even alone), so whole datagrams come that fit no slot of its ring; it does not see
 * that a checksum is still to be made; and a worker cannot sleep on it. Everything is bound to the
 * sockets: when the process ends, however it ends, the interface is as it was.
 */
#include "port_packet.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ether.h"
#include "tailplane/plugin.h"

#define WATCH_PERIOD_S 1.
#define SLOT_OVERHEAD 112 /* the kernel's header, alignment, VLAN tag, virtio header */
#define BLOCK_MIN (64u << 10)
#define SEND_BUFFER (4 << 20)

/* ---- sockets -------------------------------------------------------------------------------- */

static int option(int fd, int name, int value)
{
	return setsockopt(fd, SOL_PACKET, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

static int interface_bind(int fd, unsigned ifindex, uint16_t protocol)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET,
		.sll_protocol = htons(protocol),
		.sll_ifindex = (int)ifindex};

	return bind(fd, (struct sockaddr *)&to, sizeof(to)) < 0 ? -errno : 0;
}

static int ring_map(struct packet_queue *pq, const struct port_conf *conf)
{
	struct tpacket_req req;

	pq->slot_size =
		RTE_ALIGN_CEIL((uint32_t)conf->mtu + ETH_HLEN + SLOT_OVERHEAD, TPACKET_ALIGNMENT);
	pq->block_size = RTE_MAX(rte_align32pow2(pq->slot_size), BLOCK_MIN);
	pq->slots_per_block = pq->block_size / pq->slot_size;
	req = (struct tpacket_req){.tp_block_size = pq->block_size, .tp_frame_size = pq->slot_size};
	req.tp_block_nr =
		((uint32_t)conf->descriptors + pq->slots_per_block - 1) / pq->slots_per_block;
	pq->slots = req.tp_frame_nr = req.tp_block_nr * pq->slots_per_block;
	if (setsockopt(pq->rx, SOL_PACKET, PACKET_RX_RING, &req, sizeof(req)) < 0)
		return -errno;
	pq->ring_size = (size_t)req.tp_block_nr * req.tp_block_size;
	pq->ring = mmap(
		NULL, pq->ring_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, pq->rx, 0);
	if (pq->ring == MAP_FAILED) {
		pq->ring = NULL;
		return -errno;
	}
	return 0;
}

static int rx_open(struct packet_queue *pq, const struct port_conf *conf, unsigned ifindex)
{
	int rc;

	pq->rx = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (pq->rx < 0)
		return -errno;
	rc = option(pq->rx, PACKET_VERSION, TPACKET_V2);
	if (rc == 0)
		rc = option(pq->rx, PACKET_VNET_HDR, 1);
	if (rc == 0)
		rc = option(pq->rx, PACKET_IGNORE_OUTGOING, 1);
	if (rc == 0)
		rc = ring_map(pq, conf);
	return rc == 0 ? interface_bind(pq->rx, ifindex, ETH_P_ALL) : rc;
}

static int tx_open(struct packet_queue *pq, unsigned ifindex)
{
	int size = SEND_BUFFER, rc;

	pq->tx = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (pq->tx < 0)
		return -errno;
	rc = option(pq->tx, PACKET_QDISC_BYPASS, 1);
	if (setsockopt(pq->tx, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
		setsockopt(pq->tx, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	return rc == 0 ? interface_bind(pq->tx, ifindex, 0) : rc;
}

/* Several queues: the kernel spreads flows over the sockets of a group. */
static int group_join(struct packet_port *pp, uint16_t n_queues)
{
	int group = PACKET_FANOUT_HASH << 16, rc = 0;
	socklen_t len = sizeof(group);

	if (n_queues < 2)
		return 0;
	rc = option(pp->queues[0].rx, PACKET_FANOUT, group | PACKET_FANOUT_FLAG_UNIQUEID << 16);
	if (rc == 0 && getsockopt(pp->queues[0].rx, SOL_PACKET, PACKET_FANOUT, &group, &len) < 0)
		rc = -errno;
	for (uint16_t i = 1; rc == 0 && i < n_queues; i++)
		rc = option(pp->queues[i].rx, PACKET_FANOUT, group);
	return rc;
}

static void queue_close(struct packet_queue *pq)
{
	if (pq->ring)
		munmap(pq->ring, pq->ring_size);
	if (pq->rx >= 0)
		close(pq->rx);
	if (pq->tx >= 0)
		close(pq->tx);
}

/* ---- the interface -------------------------------------------------------------------------- */

/* Takes over the MAC and sees to the MTU. */
static int interface_take(struct packet_port *pp, const struct port_conf *conf, struct err *err)
{
	int fd = pp->queues[0].tx;
	struct ifreq ifr = {0};

	memcpy(ifr.ifr_name, pp->kernel.name, sizeof(ifr.ifr_name));
	if (ioctl(fd, SIOCGIFHWADDR, &ifr) < 0)
		return err_set(err, -errno, "%s: %s", pp->kernel.name, strerror(errno));
	if (ifr.ifr_hwaddr.sa_family != ARPHRD_ETHER)
		return err_set(err, -EINVAL, "%s is no Ethernet interface", pp->kernel.name);
	memcpy(pp->port->mac, ifr.ifr_hwaddr.sa_data, 6);
	if (ioctl(fd, SIOCGIFMTU, &ifr) == 0 && ifr.ifr_mtu >= conf->mtu)
		return 0;
	ifr.ifr_mtu = (int)conf->mtu;
	if (ioctl(fd, SIOCSIFMTU, &ifr) < 0)
		return err_set(err, -errno, "%s refuses an MTU of %d: %s", pp->kernel.name,
			(int)conf->mtu, strerror(errno));
	return 0;
}

static void link_look(struct packet_port *pp)
{
	struct port *port = pp->port;
	const char *fault;
	bool gone;

	if (atomic_load_explicit(&port->gone, memory_order_relaxed))
		return;
	fault = kernel_interface_fault(&pp->kernel, &gone);
	snprintf(port->reason, sizeof(port->reason), "%s", fault ? fault : "");
	if (port->up != !fault || gone)
		log_info("port %s is %s%s%s", port->name, fault ? "down" : "up", fault ? ": " : "",
			fault ? fault : "");
	ether_link(port, !fault);
	if (gone)
		port_ether_gone(port); /* the sockets stay open until the port is closed */
}

void port_packet_look(struct port *port)
{
	link_look(port->private);
}

LOOP_CALLBACK(packet_watch, ev_timer)
{
	(void)loop, (void)revents;
	link_look(watcher->data);
}

/* ---- the port ------------------------------------------------------------------------------- */

static uint64_t missed_sum(struct packet_port *pp)
{
	for (uint16_t i = 0; i < pp->port->n_queues; i++) {
		struct tpacket_stats stats;
		socklen_t len = sizeof(stats);

		/* reading sets the kernel's count back */
		if (getsockopt(pp->queues[i].rx, SOL_PACKET, PACKET_STATISTICS, &stats, &len) == 0)
			pp->missed += stats.tp_drops;
	}
	return pp->missed;
}

static void describe(struct port *port, json_t *row)
{
	struct packet_port *pp = port->private;
	char mac[18];

	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", port->mac[0], port->mac[1],
		port->mac[2], port->mac[3], port->mac[4], port->mac[5]);
	json_object_set_new(row, "mac", json_string(mac));
	json_object_set_new(row, "device", json_string(pp->device));
	json_object_set_new(row, "driver", json_string("af_packet"));
	json_object_set_new(row, "rx_queues", json_integer(port->n_queues));
	json_object_set_new(row, "tx_queues", json_integer(port->n_queues));
	json_object_set_new(row, "missed", json_integer((json_int_t)missed_sum(pp)));
}

static void packet_free(struct packet_port *pp)
{
	for (uint16_t i = 0; i < pp->port->n_queues; i++)
		queue_close(&pp->queues[i]);
	kernel_interface_release(&pp->kernel);
	free(pp->port);
	free(pp);
}

static void packet_close(struct port *port)
{
	struct packet_port *pp = port->private;

	ev_timer_stop(core_loop(), &pp->watch);
	packet_free(pp);
}

static const struct port_ops packet_ops = {
	.rx = packet_rx,
	.tx = packet_tx,
	.arm = packet_arm,
	.describe = describe,
	.close = packet_close,
};

static struct packet_port *packet_new(const struct port_conf *conf, uint16_t n_queues)
{
	struct packet_port *pp = calloc(1, sizeof(*pp));
	struct port *port = pp ? port_ether_new(conf, n_queues) : NULL;

	if (!port) {
		free(pp);
		return NULL;
	}
	port->ops = &packet_ops;
	port->private = pp;
	pp->port = port;
	snprintf(pp->device, sizeof(pp->device), "%s", conf->device);
	for (uint16_t i = 0; i < n_queues; i++)
		pp->queues[i] = (struct packet_queue){.rx = -1, .tx = -1, .port = pp};
	return pp;
}

static int packet_open(struct packet_port *pp, const struct port_conf *conf, struct err *err)
{
	struct port *port = pp->port;
	int rc = kernel_interface_take(&pp->kernel, conf->device, err);

	if (rc < 0)
		return rc;
	for (uint16_t i = 0; rc == 0 && i < port->n_queues; i++) {
		rc = tx_open(&pp->queues[i], pp->kernel.index);
		if (rc == 0)
			rc = rx_open(&pp->queues[i], conf, pp->kernel.index);
		port->queues[i] = (struct port_queue){
			.port = port, .fd = pp->queues[i].rx, .private = &pp->queues[i]};
	}
	if (rc == 0)
		rc = group_join(pp, port->n_queues);
	if (rc == 0)
		rc = kernel_interface_listen(&pp->kernel, conf->promiscuous);
	if (rc < 0)
		return err_set(err, rc, "cannot open AF_PACKET sockets on %s: %s", pp->kernel.name,
			strerror(-rc));
	if (conf->mirror)
		kernel_interface_shut(&pp->kernel);
	return interface_take(pp, conf, err);
}

struct port *port_packet_open(const struct port_conf *conf, uint16_t n_queues, struct err *err)
{
	struct packet_port *pp = packet_new(conf, n_queues);

	if (!pp) {
		err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	if (packet_open(pp, conf, err) < 0) {
		packet_free(pp);
		return NULL;
	}
	link_look(pp);
	ev_timer_init(&pp->watch, packet_watch, WATCH_PERIOD_S, WATCH_PERIOD_S);
	pp->watch.data = pp;
	ev_timer_start(core_loop(), &pp->watch);
	return pp->port;
}
