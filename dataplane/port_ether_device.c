/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device of DPDK's for an Ethernet port: found, configured, started, closed. Control loop. What a
 * driver does better in hardware it is asked for; what software drivers offer instead is left
 * alone.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_dev.h>
#include <rte_ethdev.h>

#include "eal.h"
#include "port_ether.h"
#include "tailplane/log.h"
#include "xdp_pool.h"

#define AF_XDP_TRIES 3
#define AF_XDP_WAIT_MS 250
#define ETHER_HEADERS 32 /* Ethernet and VLAN tags before the packet */

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
	if (rte_eth_dev_get_port_by_name(name, &e->dev) == 0 && ether_device_used(e->dev))
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

static int rx_queue_setup(
	struct ether_port *e, uint16_t queue, uint16_t descriptors, struct rte_mempool *pool)
{
	unsigned numa = (unsigned)rte_eth_dev_socket_id(e->dev);
	struct xdp_sockets before, since;
	int rc;

	if (device_kind(e->device) != DEVICE_AF_XDP)
		return rte_eth_rx_queue_setup(e->dev, queue, descriptors, numa, NULL, pool);
	xdp_sockets_list(&before, NULL);
	rc = rte_eth_rx_queue_setup(e->dev, queue, descriptors, numa, NULL, pool);
	xdp_sockets_list(&since, &before);
	if (queue == 0)
		e->sockets.n = 0;
	if (e->sockets.n < XDP_SOCKETS_MAX)
		e->sockets.fds[e->sockets.n++] = since.n == 1 ? since.fds[0] : -1;
	return rc;
}

static int device_queues(struct ether_port *e, const struct port_conf *conf,
	struct rte_mempool *const *pools, struct err *err)
{
	uint16_t n_rx = (uint16_t)conf->descriptors, n_tx = (uint16_t)conf->descriptors;
	int numa = rte_eth_dev_socket_id(e->dev);
	int rc = rte_eth_dev_adjust_nb_rx_tx_desc(e->dev, &n_rx, &n_tx);

	for (uint16_t i = 0; rc == 0 && i < e->n_rx; i++)
		rc = rx_queue_setup(e, i, n_rx, pools[i]);
	for (uint16_t i = 0; rc == 0 && i < e->n_tx; i++)
		rc = rte_eth_tx_queue_setup(e->dev, i, n_tx, (unsigned)numa, NULL);
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
bool ether_interrupts_wanted(const struct ether_port *e)
{
	enum device_kind kind = device_kind(e->device);

	return kind == DEVICE_PCI || kind == DEVICE_TAP;
}

static int device_start(struct ether_port *e, const struct port_conf *conf, uint16_t n_queues,
	struct rte_mempool *const *pools, struct err *err)
{
	bool interrupts = ether_interrupts_wanted(e);
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

void ether_device_close(struct leftover *left)
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

struct leftover ether_leftover(const struct ether_port *e)
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
			ether_device_close(
				&(struct leftover){.dev = e->dev, .sockets = e->sockets});
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

int ether_device_open(struct ether_port *e, const struct port_conf *conf,
	struct rte_mempool *const *pools, struct err *err)
{
	return device_kind(e->device) == DEVICE_AF_XDP ? xdp_open(e, conf, err)
						       : device_open(e, conf, pools, err);
}
