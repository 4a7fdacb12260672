/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Opening, watching and closing Ethernet ports. Control loop, but for the two callbacks at the end,
 * which DPDK calls on its interrupt thread.
 *
 * A port whose device goes away (unplugged, or the kernel interface under it deleted) stays in the
 * table as "down" with the reason, so that nothing that names it has to change. Its device is
 * closed after a grace period; a reload opens it anew.
 */
#include "port_ether.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include <rte_dev.h>
#include <rte_ethdev.h>

#include "eal.h"
#include "port_packet.h"
#include "xdp_pool.h"
#include "tailplane/plugin.h"

#define WATCH_PERIOD_S 1.
#define SHARED_RING 1024
#define SHOWN_XSTATS 16
#define AF_XDP_TRIES 3
#define AF_XDP_WAIT_MS 250
#define ETHER_HEADERS 32 /* Ethernet and VLAN tags before the packet */

static struct ether_port *ports;
static ev_timer watch;
static ev_async interrupt; /* sent by DPDK's interrupt thread */

/* ---- opening ------------------------------------------------------------------------------- */

static bool device_used(uint16_t dev)
{
	for (const struct ether_port *e = ports; e; e = e->next)
		if (e->open && e->dev == dev)
			return true;
	return false;
}

static const char *why(int rc)
{
	const char *told = eal_error();

	return *told ? told : strerror(abs(rc));
}

static int pci_check(const char *device, struct err *err)
{
	char path[128], address[32];

	device_name(device, address, sizeof(address));
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s%s",
		strchr(address, ':') == strrchr(address, ':') ? "0000:" : "", address);
	if (access(path, F_OK) == 0)
		return 0;
	return err_set(err, -ENODEV, "there is no PCI device %s", address);
}

/* Lets DPDK find the device: *dev becomes its number. */
static int device_probe(struct ether_port *e, struct err *err)
{
	char name[RTE_ETH_NAME_MAX_LEN];
	int rc = 0;

	device_name(e->device, name, sizeof(name));
	if (rte_eth_dev_get_port_by_name(name, &e->dev) == 0 && device_used(e->dev))
		return err_set(err, -EEXIST, "another port has device %s already", name);
	if (device_kind(e->device) == DEVICE_PCI)
		rc = pci_check(e->device, err);
	if (rc < 0)
		return rc;
	eal_error_reset();
	rc = rte_dev_probe(e->device);
	if (rc < 0 && rc != -EEXIST)
		return err_set(err, rc, "cannot open device %s: %s", e->device, why(rc));
	if (rte_eth_dev_get_port_by_name(name, &e->dev) < 0)
		return err_set(err, -ENODEV, "DPDK does not see device %s%s", name,
			device_kind(e->device) == DEVICE_PCI
				? ": bind it to vfio-pci (dpdk-devbind.py -b vfio-pci ADDRESS) and "
				  "restart the daemon"
				: "");
	e->open = true;
	return 0;
}

/* In the driver's own terms: the packets of what a cable carries are spread by their outer flow. */
static void rss_fill(struct rte_eth_conf *eth, const struct rte_eth_dev_info *info)
{
	uint64_t wanted = RTE_ETH_RSS_IP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_TCP;

	wanted &= info->flow_type_rss_offloads;
	if (!wanted)
		return;
	eth->rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
	eth->rx_adv_conf.rss_conf.rss_hf = wanted;
}

/* Checksums that hardware checks for nothing; software drivers would do it worse than classify. */
static uint64_t rx_offloads(const struct ether_port *e, const struct rte_eth_dev_info *info)
{
	uint64_t wanted = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM;

	return device_kind(e->device) == DEVICE_PCI ? wanted & info->rx_offload_capa : 0;
}

static int device_configure(struct ether_port *e, const struct port_conf *conf, uint16_t n_queues,
	bool interrupts, struct err *err)
{
	uint32_t overhead = RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN;
	struct rte_eth_dev_info info;
	struct rte_eth_conf eth = {0};
	int rc = rte_eth_dev_info_get(e->dev, &info);

	if (rc < 0)
		return err_set(
			err, rc, "device %s does not describe itself: %s", e->device, why(rc));
	e->n_rx = RTE_MIN(n_queues, info.max_rx_queues);
	e->n_tx = RTE_MIN(n_queues, info.max_tx_queues);
	if (!e->n_rx || !e->n_tx)
		return err_set(err, -ENODEV, "device %s has no queues", e->device);
	snprintf(e->driver, sizeof(e->driver), "%s", info.driver_name);
	/* Software drivers name a largest frame that they do not mind. */
	eth.rxmode.mtu = RTE_MIN((uint32_t)conf->mtu, info.max_rx_pktlen - overhead);
	eth.rxmode.offloads = rx_offloads(e, &info);
	if (e->n_rx > 1)
		rss_fill(&eth, &info);
	eth.intr_conf.lsc = !!(*info.dev_flags & RTE_ETH_DEV_INTR_LSC);
	eth.intr_conf.rmv = !!(*info.dev_flags & RTE_ETH_DEV_INTR_RMV);
	eth.intr_conf.rxq = interrupts;
	rc = rte_eth_dev_configure(e->dev, e->n_rx, e->n_tx, &eth);
	return rc < 0 ? err_set(err, rc, "device %s refuses its configuration: %s", e->device,
				why(rc))
		      : 0;
}

static int device_queues(struct ether_port *e, const struct port_conf *conf,
	struct rte_mempool *const *pools, struct err *err)
{
	uint16_t n_rx = (uint16_t)conf->descriptors, n_tx = (uint16_t)conf->descriptors;
	int numa = rte_eth_dev_socket_id(e->dev);
	int rc = rte_eth_dev_adjust_nb_rx_tx_desc(e->dev, &n_rx, &n_tx);
	struct xdp_sockets others;

	xdp_sockets_list(&others, NULL);
	for (uint16_t i = 0; rc == 0 && i < e->n_rx; i++)
		rc = rte_eth_rx_queue_setup(e->dev, i, n_rx, (unsigned)numa, NULL, pools[i]);
	for (uint16_t i = 0; rc == 0 && i < e->n_tx; i++)
		rc = rte_eth_tx_queue_setup(e->dev, i, n_tx, (unsigned)numa, NULL);
	xdp_sockets_list(&e->sockets, &others);
	return rc < 0 ? err_set(err, rc, "device %s refuses its queues: %s", e->device, why(rc))
		      : 0;
}

static int device_mtu(struct ether_port *e, const struct port_conf *conf, struct err *err)
{
	int rc = rte_eth_dev_set_mtu(e->dev, (uint16_t)conf->mtu);

	if (rc == 0 || rc == -ENOTSUP)
		return 0;
	return err_set(
		err, rc, "device %s refuses an MTU of %d: %s", e->device, (int)conf->mtu, why(rc));
}

/* IPv6 lives from multicast; who cannot receive all of it must receive everything. On an interface
 * of the kernel that is asked for in a way that ends with us. */
static void device_filters(struct ether_port *e, const struct port_conf *conf)
{
	bool all;

	if (kernel_interface_listen(&e->kernel, conf->promiscuous) == 0)
		return;
	all = rte_eth_allmulticast_enable(e->dev) == 0;
	if ((conf->promiscuous || !all) && rte_eth_promiscuous_enable(e->dev) < 0 &&
		conf->promiscuous)
		log_info("port %s: the device has no promiscuous mode", conf->name);
}

/* Interrupts for sleeping workers: hardware, and TAP whose descriptors are there anyway. */
static bool interrupts_wanted(const struct ether_port *e)
{
	enum device_kind kind = device_kind(e->device);

	return kind == DEVICE_PCI || kind == DEVICE_TAP;
}

static int device_start(struct ether_port *e, const struct port_conf *conf, uint16_t n_queues,
	struct rte_mempool *const *pools, struct err *err)
{
	bool interrupts = interrupts_wanted(e);
	int rc;

	eal_error_reset();
	do {
		rc = device_configure(e, conf, n_queues, interrupts, interrupts ? NULL : err);
		if (rc == 0)
			rc = device_queues(e, conf, pools, interrupts ? NULL : err);
		if (rc == 0) {
			rc = rte_eth_dev_start(e->dev);
			if (rc < 0 && !interrupts)
				err_set(err, rc, "device %s does not start: %s", e->device,
					why(rc));
		}
	} while (rc < 0 && interrupts && (interrupts = false, true));
	if (rc < 0)
		return rc;
	device_filters(e, conf);
	return device_mtu(e, conf, err);
}

static int device_open(struct ether_port *e, const struct port_conf *conf,
	struct rte_mempool *const *pools, struct err *err)
{
	int rc = device_probe(e, err);

	return rc < 0 ? rc : device_start(e, conf, e->port->n_queues, pools, err);
}

/* What is left to close of a device that nobody uses any more. */
struct leftover {
	uint16_t dev;
	struct xdp_sockets sockets;
	struct xdp_program program;
};

static void device_close(struct leftover *left)
{
	struct rte_eth_dev_info info;
	int rc = rte_eth_dev_info_get(left->dev, &info);

	rte_eth_dev_stop(left->dev);
	rte_eth_dev_close(left->dev);
	if (rc == 0 && rte_dev_remove(info.device) < 0)
		log_debug("DPDK keeps device %u", left->dev);
	xdp_sockets_close(&left->sockets);
	xdp_program_detach(&left->program);
}

static struct leftover leftover_of(const struct ether_port *e)
{
	return (struct leftover){.dev = e->dev, .sockets = e->sockets, .program = e->program};
}

static int xdp_pools_make(
	const struct port_conf *conf, uint16_t n, struct rte_mempool **pools, struct err *err)
{
	for (uint16_t i = 0; i < n; i++) {
		pools[i] = xdp_pool_new((unsigned)conf->mtu + ETHER_HEADERS, SOCKET_ID_ANY, err);
		if (!pools[i])
			return -ENOMEM;
	}
	return 0;
}

/*
 * The kernel frees a queue of AF_XDP some time after the socket on it was closed, be it ours (a
 * reload that opens the port at once) or that of a process just killed. The driver can't try a
 * queue twice, and each try costs it the buffers that it had taken: all is made anew.
 */
static int xdp_open(struct ether_port *e, const struct port_conf *conf, struct err *err)
{
	uint16_t n = (uint16_t)RTE_MIN(e->port->n_queues, kernel_interface_channels(&e->kernel));
	struct rte_mempool *pools[PORT_QUEUES_MAX] = {0};

	xdp_messages_redirect();
	for (unsigned tries = AF_XDP_TRIES;; tries--) {
		struct err failed = {0};
		int rc = xdp_pools_make(conf, n, pools, &failed);

		if (rc == 0)
			rc = device_open(e, conf, pools, &failed);
		if (rc == 0) {
			for (uint16_t i = 0; i < n; i++)
				e->queues[i].pool = pools[i];
			xdp_program_note(&e->program, e->kernel.index);
			return 0;
		}
		if (e->open)
			device_close(&(struct leftover){.dev = e->dev, .sockets = e->sockets});
		for (uint16_t i = 0; i < n; i++)
			xdp_pool_free(pools[i]);
		if (!e->open || tries == 1) {
			e->open = false;
			return err_set(err, rc, "%s", failed.msg);
		}
		e->open = false;
		poll(NULL, 0, AF_XDP_WAIT_MS);
	}
}

static void mac_fill(const struct ether_port *e, struct port *port)
{
	static const uint8_t zero[6];
	struct rte_ether_addr mac;

	if (rte_eth_macaddr_get(e->dev, &mac) == 0)
		memcpy(port->mac, mac.addr_bytes, 6);
	if (memcmp(port->mac, zero, 6) != 0)
		return;
	rte_eth_random_addr(port->mac); /* rings have none */
}

static bool is_eventfd(int fd)
{
	char path[64], target[64] = "";

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return readlink(path, target, sizeof(target) - 1) > 0 && strstr(target, "eventfd") != NULL;
}

static int queue_open(struct ether_port *e, uint16_t i, struct rte_mempool *pool, struct err *err)
{
	struct port_queue *q = &e->port->queues[i];
	struct ether_queue *eq = &e->queues[i];
	char name[RTE_RING_NAMESIZE];

	*q = (struct port_queue){.port = e->port, .fd = -1, .private = eq};
	*eq = (struct ether_queue){.ether = e,
		.rx = i < e->n_rx ? i : QUEUE_NONE,
		.tx = i < e->n_tx ? i : QUEUE_NONE,
		.sender = i % e->n_tx,
		.pool = eq->pool ? eq->pool : pool};
	if (e->n_tx < e->port->n_queues) {
		if (eq->tx == QUEUE_NONE)
			return 0;
		snprintf(name, sizeof(name), "tx-%u-%u", e->dev, i);
		eq->shared = rte_ring_create(name, SHARED_RING, SOCKET_ID_ANY, RING_F_SC_DEQ);
		return eq->shared ? 0
				  : err_set(err, -ENOMEM, "no memory for a ring of %s", e->device);
	}
	if (eq->rx != QUEUE_NONE && interrupts_wanted(e)) {
		q->fd = rte_eth_dev_rx_intr_ctl_q_get_fd(e->dev, eq->rx);
		eq->eventfd = q->fd >= 0 && is_eventfd(q->fd);
	}
	return 0;
}

/* ---- watching ------------------------------------------------------------------------------ */

static void device_close_later(void *object)
{
	device_close(object);
	free(object);
}

/* Workers let go of the device; then it is closed. */
static void device_lost(struct ether_port *e, const char *reason)
{
	struct leftover *left = malloc(sizeof(*left));

	log_warnx("port %s is down: %s", e->port->name, reason);
	/* pairs with the acquire loads in port_ether_io.c */
	atomic_store_explicit(&e->lost, true, memory_order_release);
	if (!left)
		return; /* stays open, untouched */
	*left = leftover_of(e);
	e->open = false;
	control_retire(left, device_close_later);
}

static void link_look(struct ether_port *e)
{
	bool gone = false, removed = atomic_exchange(&e->removed, false);
	const char *fault =
		removed ? "the device was removed" : kernel_interface_fault(&e->kernel, &gone);
	struct rte_eth_link link = {0};
	bool up;

	if (atomic_load_explicit(&e->lost, memory_order_relaxed))
		return;
	if (!removed && !gone && rte_eth_link_get_nowait(e->dev, &link) == 0 && !fault &&
		link.link_status == RTE_ETH_LINK_DOWN)
		fault = "no link";
	up = !fault;
	e->link_speed = link.link_speed == RTE_ETH_SPEED_NUM_UNKNOWN ? 0 : link.link_speed;
	snprintf(e->port->reason, sizeof(e->port->reason), "%s", fault ? fault : "");
	if (up != e->port->up && !removed && !gone)
		log_info("port %s is %s%s%s", e->port->name, up ? "up" : "down", up ? "" : ": ",
			up ? "" : fault);
	e->port->up = up;
	if (removed || gone)
		device_lost(e, fault);
}

static void links_look(void)
{
	for (struct ether_port *e = ports; e; e = e->next)
		link_look(e);
}

LOOP_CALLBACK(watch_tick, ev_timer)
{
	(void)loop, (void)watcher, (void)revents;
	links_look();
}

LOOP_CALLBACK(watch_interrupt, ev_async)
{
	(void)loop, (void)watcher, (void)revents;
	links_look();
}

static void watch_add(struct ether_port *e)
{
	if (!ports) {
		ev_timer_init(&watch, watch_tick, WATCH_PERIOD_S, WATCH_PERIOD_S);
		ev_timer_start(core_loop(), &watch);
		ev_async_init(&interrupt, watch_interrupt);
		ev_async_start(core_loop(), &interrupt);
	}
	e->next = ports;
	ports = e;
	link_look(e);
}

static void watch_remove(struct ether_port *e)
{
	struct ether_port **at = &ports;

	while (*at && *at != e)
		at = &(*at)->next;
	if (!*at)
		return;
	*at = e->next;
	if (!ports) {
		ev_timer_stop(core_loop(), &watch);
		ev_async_stop(core_loop(), &interrupt);
	}
}

void port_ether_numbers(void)
{
	for (unsigned i = 0; i < ETHER_DROPS; i++)
		ether_drop_numbers[i] = graph_drop_number(ether_drops[i].name);
	for (unsigned i = 0; i < PACKET_DROPS; i++)
		packet_drop_numbers[i] = graph_drop_number(packet_drops[i].name);
}

bool port_ether_lost(const struct port *port)
{
	/* the first thing in struct ether_port and in struct packet_port */
	const _Atomic bool *lost = port->private;

	return atomic_load_explicit(lost, memory_order_relaxed);
}

/* ---- what the operations show --------------------------------------------------------------- */

static void xstats_describe(const struct ether_port *e, json_t *row)
{
	int n = rte_eth_xstats_get_names(e->dev, NULL, 0), shown = 0;
	struct rte_eth_xstat_name *names = n > 0 ? calloc((size_t)n, sizeof(*names)) : NULL;
	struct rte_eth_xstat *values = n > 0 ? calloc((size_t)n, sizeof(*values)) : NULL;
	json_t *list = json_object();

	if (names && values && rte_eth_xstats_get_names(e->dev, names, (unsigned)n) == n &&
		rte_eth_xstats_get(e->dev, values, (unsigned)n) == n)
		for (int i = 0; i < n && shown < SHOWN_XSTATS; i++) {
			const char *name = names[values[i].id].name;

			if (!values[i].value ||
				(!strstr(name, "err") && !strstr(name, "drop") &&
					!strstr(name, "miss") && !strstr(name, "discard")))
				continue;
			json_object_set_new(list, name, json_integer((json_int_t)values[i].value));
			shown++;
		}
	if (shown)
		json_object_set_new(row, "device_counters", json_incref(list));
	json_decref(list);
	free(names);
	free(values);
}

static void describe(struct port *port, json_t *row)
{
	const struct ether_port *e = port->private;
	struct rte_eth_stats stats;
	char mac[18];

	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", port->mac[0], port->mac[1],
		port->mac[2], port->mac[3], port->mac[4], port->mac[5]);
	json_object_set_new(row, "mac", json_string(mac));
	json_object_set_new(row, "device", json_string(e->device));
	json_object_set_new(row, "driver", json_string(e->driver));
	json_object_set_new(row, "numa", json_integer(port->numa));
	json_object_set_new(row, "rx_queues", json_integer(e->n_rx));
	json_object_set_new(row, "tx_queues", json_integer(e->n_tx));
	if (e->link_speed)
		json_object_set_new(
			row, "speed", json_integer((json_int_t)e->link_speed * 1000000));
	if (!e->open || rte_eth_stats_get(e->dev, &stats) < 0)
		return;
	json_object_set_new(row, "missed", json_integer((json_int_t)stats.imissed));
	json_object_set_new(row, "no_buffer", json_integer((json_int_t)stats.rx_nombuf));
	json_object_set_new(
		row, "errors", json_integer((json_int_t)(stats.ierrors + stats.oerrors)));
	xstats_describe(e, row);
}

/* ---- opening and closing ------------------------------------------------------------------- */

/* The device, if it is open, then the rest. */
static void ether_free(struct ether_port *e)
{
	struct leftover left = leftover_of(e);
	struct rte_mbuf *m;

	if (e->open)
		device_close(&left);
	kernel_interface_release(&e->kernel);

	for (unsigned i = 0; i < PORT_QUEUES_MAX; i++) {
		struct rte_ring *ring = e->queues[i].shared;

		while (ring && rte_ring_dequeue(ring, (void **)&m) == 0)
			rte_pktmbuf_free(m);
		rte_ring_free(ring);
	}
	free(e->port);
	free(e);
}

static int told(uint16_t dev, enum rte_eth_event_type event, void *arg, void *result);

static void ether_close(struct port *port)
{
	struct ether_port *e = port->private;

	watch_remove(e);
	if (e->open) {
		rte_eth_dev_callback_unregister(e->dev, RTE_ETH_EVENT_INTR_RMV, told, e);
		rte_eth_dev_callback_unregister(e->dev, RTE_ETH_EVENT_INTR_LSC, told, e);
	}
	ether_free(e);
}

static const struct port_ops ether_ops = {
	.rx = ether_rx,
	.tx = ether_tx,
	.arm = ether_arm,
	.describe = describe,
	.close = ether_close,
};

struct port *port_ether_new(const struct port_conf *conf, uint16_t n_queues)
{
	struct port *port = aligned_alloc(
		RTE_CACHE_LINE_SIZE, RTE_ALIGN_CEIL(sizeof(struct port), RTE_CACHE_LINE_SIZE));

	if (!port)
		return NULL;
	memset(port, 0, sizeof(*port));
	port->type = PORT_ETHER;
	port->n_queues = n_queues;
	port->tunnel = TUNNEL_NONE;
	port->numa = -1;
	port->mtu = (uint16_t)conf->mtu;
	port->mirror = conf->mirror != NULL;
	snprintf(port->name, sizeof(port->name), "%s", conf->name);
	return port;
}

static struct ether_port *ether_new(const struct port_conf *conf, uint16_t n_queues)
{
	struct ether_port *e = calloc(1, sizeof(*e));
	struct port *port = e ? port_ether_new(conf, n_queues) : NULL;

	if (!port) {
		free(e);
		return NULL;
	}
	e->port = port;
	port->ops = &ether_ops;
	port->private = e;
	return e;
}

static int ether_open(struct ether_port *e, const struct port_conf *conf,
	struct rte_mempool *const *pools, struct err *err)
{
	uint16_t n_queues = e->port->n_queues;
	int rc = eal_driver_load(conf->device, err);

	if (rc == 0)
		rc = kernel_interface_take(&e->kernel, conf->device, err);
	if (rc == 0)
		rc = device_args(
			conf, n_queues, kernel_interface_channels(&e->kernel), e->device, err);
	if (rc == 0 && device_kind(e->device) == DEVICE_AF_XDP)
		rc = xdp_open(e, conf, err);
	else if (rc == 0)
		rc = device_open(e, conf, pools, err);
	if (rc < 0)
		return rc;
	e->port->ethdev_id = e->dev;
	e->port->numa = rte_eth_dev_socket_id(e->dev);
	mac_fill(e, e->port);
	for (uint16_t i = 0; rc == 0 && i < n_queues; i++)
		rc = queue_open(e, i, pools ? pools[i] : NULL, err);
	return rc;
}

struct port *port_ether_open(const struct port_conf *conf, uint16_t n_queues,
	struct rte_mempool *const *pools, struct err *err)
{
	struct ether_port *e;

	if (device_kind(conf->device) == DEVICE_AF_PACKET)
		return port_packet_open(conf, n_queues, err);
	e = ether_new(conf, n_queues);
	if (!e) {
		err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	if (ether_open(e, conf, pools, err) < 0) {
		ether_free(e);
		return NULL;
	}
	rte_eth_dev_callback_register(e->dev, RTE_ETH_EVENT_INTR_RMV, told, e);
	rte_eth_dev_callback_register(e->dev, RTE_ETH_EVENT_INTR_LSC, told, e);
	watch_add(e);
	if (e->n_rx < n_queues)
		log_info("port %s: %u receive queues for %u workers: the others take no part in "
			 "receiving from it",
			conf->name, e->n_rx, n_queues);
	return e->port;
}

/* ---- DPDK's interrupt thread ---------------------------------------------------------------- */

static int told(uint16_t dev, enum rte_eth_event_type event, void *arg, void *result)
{
	struct ether_port *e = arg;

	(void)dev, (void)result;
	if (event == RTE_ETH_EVENT_INTR_RMV)
		atomic_store(&e->removed, true);
	ev_async_send(core_loop(), &interrupt);
	return 0;
}
