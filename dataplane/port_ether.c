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
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include <rte_dev.h>
#include <rte_ethdev.h>

#include "eal.h"
#include "ether.h"
#include "port_packet.h"
#include "tailplane/plugin.h"

#define WATCH_PERIOD_S 1.
#define SHARED_RING 1024
#define SHOWN_XSTATS 16

static struct ether_port *ports;
static ev_timer watch;
static ev_async interrupt; /* sent by DPDK's interrupt thread */

bool ether_device_used(uint16_t dev)
{
	for (const struct ether_port *e = ports; e; e = e->next)
		if (e->open && e->dev == dev)
			return true;
	return false;
}

/* ---- opening ------------------------------------------------------------------------------- */

static void mac_fill(const struct ether_port *e, struct port *port)
{
	static const uint8_t zero[6];
	struct rte_ether_addr mac;

	if (rte_eth_macaddr_get(e->dev, &mac) == 0)
		memcpy(port->mac, mac.addr_bytes, 6);
	if (device_kind(e->device) == DEVICE_TAP)
		port->mac[5] ^= 0x80; /* that one is the kernel's end */
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
	if (eq->rx == QUEUE_NONE)
		return 0;
	if (ether_interrupts_wanted(e)) {
		q->fd = rte_eth_dev_rx_intr_ctl_q_get_fd(e->dev, eq->rx);
		eq->interrupt = q->fd >= 0;
		eq->eventfd = q->fd >= 0 && is_eventfd(q->fd);
	} else if (eq->rx < e->sockets.n) {
		q->fd = e->sockets.fds[eq->rx];
	}
	return 0;
}

/* ---- watching ------------------------------------------------------------------------------ */

static int told(uint16_t dev, enum rte_eth_event_type event, void *arg, void *result);

static void events_begin(struct ether_port *e)
{
	rte_eth_dev_callback_register(e->dev, RTE_ETH_EVENT_INTR_RMV, told, e);
	rte_eth_dev_callback_register(e->dev, RTE_ETH_EVENT_INTR_LSC, told, e);
}

static void events_end(struct ether_port *e)
{
	rte_eth_dev_callback_unregister(e->dev, RTE_ETH_EVENT_INTR_RMV, told, e);
	rte_eth_dev_callback_unregister(e->dev, RTE_ETH_EVENT_INTR_LSC, told, e);
}

void port_ether_gone(struct port *port)
{
	/* pairs with the acquire loads in port_ether_io.c and port_packet_io.c */
	atomic_store_explicit(&port->gone, true, memory_order_release);
	/* a new table: workers no longer sleep on a descriptor that is in error, or soon closed
	 */
	control_publish();
}

static void device_close_later(void *object)
{
	ether_device_close(object);
	free(object);
}

/* Workers let go of the device; then it is closed. */
static void device_lost(struct ether_port *e, const char *reason)
{
	struct leftover *left = malloc(sizeof(*left));

	log_warnx("port %s is down: %s", e->port->name, reason);
	port_ether_gone(e->port);
	events_end(e);
	if (!left)
		return; /* stays open, untouched */
	*left = ether_leftover(e);
	e->open = false;
	control_retire(left, device_close_later);
}

static const char *interface_fault(const struct ether_port *e, bool *gone)
{
	if (device_kind(e->device) != DEVICE_TAP)
		return kernel_interface_fault(&e->kernel, gone);
	*gone = tap_is_gone(e->port->queues[0].fd);
	return *gone ? INTERFACE_GONE : NULL;
}

/* The driver of a TAP asks by its name and in this namespace: of one that was given to another it
 * would say that it is down. */
static bool has_link(const struct ether_port *e, struct rte_eth_link *link)
{
	return rte_eth_link_get_nowait(e->dev, link) != 0 ||
	       link->link_status != RTE_ETH_LINK_DOWN ||
	       (device_kind(e->device) == DEVICE_TAP && tap_is_elsewhere(e->port->queues[0].fd));
}

static void link_look(struct ether_port *e)
{
	bool gone = false, removed = atomic_exchange(&e->removed, false);
	const char *fault = removed ? "the device was removed" : interface_fault(e, &gone);
	struct rte_eth_link link = {0};
	bool up;

	if (atomic_load_explicit(&e->port->gone, memory_order_relaxed))
		return;
	if (!removed && !gone && !has_link(e, &link) && !fault)
		fault = "no link";
	if (!fault)
		fault = e->stalled;
	up = !fault;
	e->link_speed = link.link_speed == RTE_ETH_SPEED_NUM_UNKNOWN ? 0 : link.link_speed;
	snprintf(e->port->reason, sizeof(e->port->reason), "%s", fault ? fault : "");
	if (up != e->port->up && !removed && !gone)
		log_info("port %s is %s%s%s", e->port->name, up ? "up" : "down", up ? "" : ": ",
			up ? "" : fault);
	ether_link(e->port, up);
	if (removed || gone)
		device_lost(e, fault);
}

static void links_look(void)
{
	for (struct ether_port *e = ports; e; e = e->next)
		link_look(e);
}

static const char *queue_fault(struct ether_port *e, uint16_t i)
{
	const struct port_counters *c = &e->port->queues[i].counters;
	struct xdp_facts facts = {
		.rx = c->rx_packets, .tx = c->tx_packets, .tx_dropped = c->tx_dropped};

	return i < e->sockets.n && xdp_facts_read(e->sockets.fds[i], &facts)
		       ? xdp_watch_judge(&e->watch, i, &facts)
		       : NULL;
}

/* An AF_XDP port that looks well, and that the kernel does not serve. */
static void service_look(struct ether_port *e)
{
	const char *fault = NULL;

	if (device_kind(e->device) != DEVICE_AF_XDP || !e->port->up || e->stalled)
		return;
	for (uint16_t i = 0; i < e->n_rx && !fault; i++)
		fault = queue_fault(e, i);
	if (!xdp_program_attached(&e->program))
		fault = "its XDP program was taken off the interface";
	if (!fault)
		return;
	if (!xdp_program_may()) {
		e->stalled = fault;
		log_warnx("port %s needs a restart of the daemon, which has given up the right to "
			  "attach an XDP program",
			e->port->name);
		link_look(e);
		return;
	}
	snprintf(e->port->reason, sizeof(e->port->reason), "%s", fault);
	ether_link(e->port, false);
	device_lost(e, fault);
	ether_return(e->port);
}

LOOP_CALLBACK(watch_tick, ev_timer)
{
	(void)loop, (void)watcher, (void)revents;
	links_look();
	for (struct ether_port *e = ports; e; e = e->next)
		if (!atomic_load_explicit(&e->port->gone, memory_order_relaxed))
			service_look(e);
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
	struct leftover left = ether_leftover(e);
	struct rte_mbuf *m;

	if (e->open)
		ether_device_close(&left);
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

static void ether_close(struct port *port)
{
	struct ether_port *e = port->private;

	watch_remove(e);
	if (e->open)
		events_end(e);
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
	if (device_kind(conf->device) == DEVICE_MEMIF)
		memif_socket_clear(conf->device);
	if (rc == 0)
		rc = device_args(
			conf, n_queues, kernel_interface_channels(&e->kernel), e->device, err);
	if (rc == 0)
		rc = ether_device_open(e, conf, pools, err);
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
	events_begin(e);
	watch_add(e);
	if (e->n_rx < n_queues)
		log_info("port %s: %u receive queues for %u workers: the others take no part in "
			 "receiving from it",
			conf->name, e->n_rx, n_queues);
	return e->port;
}

void port_ether_look(struct port *port)
{
	if (port->ops == &ether_ops)
		link_look(port->private);
	else
		port_packet_look(port);
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
