/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The TUN port's life: one device, one queue per worker. The device lives as long as its
 * descriptors do: whatever way the daemon ends, nothing stays behind. Runs on the control loop.
 */
#include "port_tun.h"
#include "port_device.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/if.h>
#include <linux/if_tun.h>

#include "dataplane.h"
#include "port_udp.h"

#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20 /* Linux 6.2 */
#define TUN_F_USO6 0x40
#endif

#define TUN_PATH "/dev/net/tun"
#define WIREGUARD_OVERHEAD 32  /* header and tag of a transport message */
#define TUN_QUEUE_PACKETS 1000 /* as Ethernet devices have; the kernel gives a TUN 500 */
#define TUN_FLAGS (IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE)

const struct drop_reason tun_drops[] = {
	[TUN_DROP_RX_MALFORMED] = {"tun_rx_malformed",
		"the kernel's offload header and the packet behind it contradict each other"},
	[TUN_DROP_RX_TOO_BIG] = {"tun_rx_too_big",
		"the TUN interface's MTU was raised above what a packet buffer holds"},
	[TUN_DROP_QUEUE_FULL] = {"tun_queue_full",
		"the kernel has no memory for packets to the TUN"},
	[TUN_DROP_TX_DOWN] = {"tun_tx_down", "the TUN interface is down or was deleted"},
	[TUN_DROP_TX_REFUSED] = {"tun_tx_refused",
		"the kernel took a packet to the TUN for invalid"},
	[TUN_DROP_TX_CHAINED] = {"tun_tx_chained", "a packet in pieces that fit no single buffer"},
	[TUN_DROPS] = {NULL, NULL},
};

/* What the kernel may hand over uncut and unsummed, in the order in which we do without. */
static const unsigned offloads[] = {
	TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN | TUN_F_USO4 | TUN_F_USO6,
	TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN,
	TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6,
	TUN_F_CSUM | TUN_F_TSO4,
	TUN_F_CSUM,
	0,
};

/* Whether descriptor `fd` of process `pid` is a queue of the interface. */
static bool fdinfo_names(const char *pid, const char *fd, const char *ifname)
{
	char path[300], line[128], want[32];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%.20s/fdinfo/%.20s", pid, fd);
	f = fopen(path, "re");
	if (!f)
		return false;
	snprintf(want, sizeof(want), "iff:\t%s\n", ifname);
	while (!found && fgets(line, sizeof(line), f))
		found = !strcmp(line, want);
	fclose(f);
	return found;
}

static bool process_holds(const char *pid, const char *ifname)
{
	char path[300], target[sizeof(TUN_PATH) + 1];
	struct dirent *entry;
	bool found = false;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
	dir = opendir(path);
	if (!dir)
		return false;
	while (!found && (entry = readdir(dir))) {
		ssize_t n = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target));

		found = n == sizeof(TUN_PATH) - 1 && !memcmp(target, TUN_PATH, n) &&
			fdinfo_names(pid, entry->d_name, ifname);
	}
	closedir(dir);
	return found;
}

/* An interface of that name in another network is another one. */
static bool shares_our_network(const char *pid)
{
	struct stat ours, theirs;
	char path[300];

	snprintf(path, sizeof(path), "/proc/%.20s/ns/net", pid);
	return stat("/proc/thread-self/ns/net", &ours) == 0 && stat(path, &theirs) == 0 &&
	       ours.st_ino == theirs.st_ino && ours.st_dev == theirs.st_dev;
}

/* Who has the interface open: " (held by wireguard-go, process 123)", or nothing. */
static void holder_describe(const char *ifname, char *buf, size_t size)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;

	buf[0] = '\0';
	while (dir && (entry = readdir(dir))) {
		char path[300], name[32] = "";
		FILE *f;

		if (entry->d_name[0] < '1' || entry->d_name[0] > '9' ||
			!shares_our_network(entry->d_name) || !process_holds(entry->d_name, ifname))
			continue;
		snprintf(path, sizeof(path), "/proc/%.20s/comm", entry->d_name);
		f = fopen(path, "re");
		if (f && fgets(name, sizeof(name), f))
			name[strcspn(name, "\n")] = '\0';
		if (f)
			fclose(f);
		snprintf(buf, size, " (held by %s, process %.20s)", name, entry->d_name);
		break;
	}
	if (dir)
		closedir(dir);
}

static int attach_failed(int error, const char *ifname, struct err *err)
{
	char holder[96];

	switch (error) {
	case EBUSY:
	case EEXIST:
		holder_describe(ifname, holder, sizeof(holder));
		return err_set(err, -EBUSY,
			"interface %s exists already%s: choose another name, or remove it (ip link "
			"del %s)",
			ifname, holder, ifname);
	case EPERM:
		return err_set(
			err, -EPERM, "making the TUN interface %s needs CAP_NET_ADMIN", ifname);
	case EINVAL:
		return err_set(err, -EINVAL,
			"the kernel does not take %s as the name of a TUN interface", ifname);
	default:
		return err_set(err, -error, "TUN interface %s: %s", ifname, strerror(error));
	}
}

/* Only the first queue makes the interface; the name must be free then, or two daemons would share
 * it. */
static int queue_open(struct tun *tun, unsigned i, struct err *err)
{
	int header_len = VNET_HEADER_LEN;
	struct ifreq ifr = {.ifr_flags = (short)(TUN_FLAGS | (i ? 0 : IFF_TUN_EXCL))};
	int fd = open(TUN_PATH, O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return err_set(err, -errno, "%s: %s", TUN_PATH,
			errno == ENOENT || errno == ENODEV
				? "no TUN driver in this kernel (modprobe tun)"
				: strerror(errno));
	tun->port.queues[i].fd = fd;
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%.15s", tun->port.name);
	if (ioctl(fd, TUNSETIFF, &ifr) < 0)
		return attach_failed(errno, tun->port.name, err);
	if (ioctl(fd, TUNSETVNETHDRSZ, &header_len) < 0)
		return err_set(
			err, -errno, "TUN interface %s: %s", tun->port.name, strerror(errno));
	return 0;
}

static int queue_init(struct tun *tun, unsigned i, struct err *err)
{
	struct port_queue *q = &tun->port.queues[i];
	struct tun_queue *t = aligned_alloc(
		RTE_CACHE_LINE_SIZE, RTE_ALIGN_CEIL(sizeof(struct tun_queue), RTE_CACHE_LINE_SIZE));

	if (!t)
		return err_set(err, -ENOMEM, "out of memory");
	memset(t, 0, sizeof(*t));
	t->in.reserve = TUN_TAIL_RESERVE;
	t->packet = (struct packet){
		.kind = PACKET_IP,
		.out_port = PORT_NONE,
		.tunnel = tun->port.tunnel,
		.peer = PEER_NONE,
	};
	q->private = t;
	return queue_open(tun, i, err);
}

static void offloads_set(struct tun *tun)
{
	unsigned i = 0;

	while (i + 1 < RTE_DIM(offloads) &&
		ioctl(tun->port.queues[0].fd, TUNSETOFFLOAD, offloads[i]) < 0)
		i++;
	tun->uso = offloads[i] & TUN_F_USO4;
}

/* A super-packet as long as a train of datagrams: sealed and sent, it is one message again. A queue
 * that holds what comes while the worker waits some milliseconds for its core. */
static void queue_limit(const struct tun *tun)
{
	struct err ignored = {0}; /* the kernel's own values do, less well */

	netlink_link_queue(tun->port.name, UDP_TRAIN_BYTES / (tun->port.mtu + WIREGUARD_OVERHEAD),
		TUN_QUEUE_PACKETS, &ignored);
}

static void tun_close(struct port *p)
{
	struct tun *tun = p->private;

	for (unsigned i = 0; i < p->n_queues; i++) {
		struct tun_queue *t = p->queues[i].private;

		if (p->queues[i].fd >= 0)
			close(p->queues[i].fd);
		if (!t)
			continue;
		scatter_free(&t->in);
		while (t->ready_at < t->ready_end)
			rte_pktmbuf_free(t->ready[t->ready_at++]);
		free(t);
	}
	free(tun);
}

static void tun_describe(struct port *p, json_t *row)
{
	const struct tun *tun = p->private;
	uint64_t rx_supers = 0, rx_copied = 0, tx_supers = 0, tx_joined = 0, tx = 0;

	for (unsigned i = 0; i < p->n_queues; i++) {
		const struct tun_queue *t = p->queues[i].private;

		rx_supers += t->rx_supers;
		rx_copied += t->rx_copied;
		tx_supers += t->tx_supers;
		tx_joined += t->tx_joined;
		tx += p->queues[i].counters.tx_packets;
		if (atomic_load_explicit(
			    &t->dead, memory_order_relaxed)) { /* partner: tun_queue_die */
			p->up = false;
			snprintf(p->reason, sizeof(p->reason), "the interface was deleted");
			json_object_set_new(row, "state", json_string("down"));
			json_object_set_new(row, "reason", json_string(p->reason));
		}
	}
	json_object_set_new(row, "rx_super_packets", json_integer((json_int_t)rx_supers));
	json_object_set_new(row, "rx_copied", json_integer((json_int_t)rx_copied));
	json_object_set_new(row, "tx_super_packets", json_integer((json_int_t)tx_supers));
	json_object_set_new(
		row, "tx_joined_ratio", json_real(tx ? (double)tx_joined / (double)tx : 0));
	json_object_set_new(row, "udp_segmentation", json_boolean(tun->uso));
}

/* What was read and not yet handed out must not sleep. */
static bool tun_arm(struct port_queue *q)
{
	const struct tun_queue *t = q->private;

	return !t->left && t->ready_at == t->ready_end;
}

bool port_tun_gone(const struct port *port)
{
	for (unsigned i = 0; i < port->n_queues; i++) {
		const struct tun_queue *t = port->queues[i].private;

		/* partner: tun_queue_die */
		if (atomic_load_explicit(&t->dead, memory_order_relaxed) ||
			tap_is_gone(port->queues[i].fd))
			return true;
	}
	return false;
}

static const struct port_ops tun_ops = {
	.rx = tun_rx,
	.tx = tun_tx,
	.arm = tun_arm,
	.describe = tun_describe,
	.close = tun_close,
};

static struct tun *tun_alloc(const char *ifname, uint16_t n_queues, uint16_t mtu, uint32_t tunnel)
{
	struct tun *tun = aligned_alloc(
		RTE_CACHE_LINE_SIZE, RTE_ALIGN_CEIL(sizeof(struct tun), RTE_CACHE_LINE_SIZE));

	if (!tun)
		return NULL;
	memset(tun, 0, sizeof(*tun));
	tun->port = (struct port){
		.ops = &tun_ops,
		.type = PORT_TUN,
		.n_queues = n_queues,
		.tunnel = tunnel,
		.numa = -1,
		.mtu = mtu,
		.up = true,
		.private = tun,
	};
	snprintf(tun->port.name, sizeof(tun->port.name), "%s", ifname);
	for (unsigned i = 0; i < TUN_DROPS; i++)
		tun->drops[i] = graph_drop_number(tun_drops[i].name);
	for (unsigned i = 0; i < PORT_QUEUES_MAX; i++)
		tun->port.queues[i] = (struct port_queue){.port = &tun->port, .fd = -1};
	return tun;
}

struct port *port_tun_open(
	const char *ifname, uint16_t n_queues, uint16_t mtu, uint32_t tunnel, struct err *err)
{
	struct tun *tun;

	if (!ifname[0] || strlen(ifname) >= IFNAMSIZ || strchr(ifname, '%')) {
		err_set(err, -EINVAL, "\"%s\" is no interface name: 1 to %d characters", ifname,
			IFNAMSIZ - 1);
		return NULL;
	}
	tun = tun_alloc(ifname, n_queues, mtu, tunnel);
	if (!tun) {
		err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	for (unsigned i = 0; i < n_queues; i++)
		if (queue_init(tun, i, err) < 0) {
			tun_close(&tun->port);
			return NULL;
		}
	offloads_set(tun);
	queue_limit(tun);
	return &tun->port;
}
