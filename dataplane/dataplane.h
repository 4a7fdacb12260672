/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The control loop's side of the data plane: settings, table of ports, what punts go to whom.
 * Everything here runs on the control loop unless it says otherwise.
 */
#include "port.h"
#include "worker.h"
#include "tailplane/plugin.h"

enum poll_mode { POLL_ADAPTIVE, POLL_BUSY };
enum underlay { UNDERLAY_HOST, UNDERLAY_PORTS };

struct peer_conf {
	char *name;
	uint8_t public_key[32];
	char *preshared_key_file;
	char *endpoint;
	struct setting_list allowed_ips; /* struct net_prefix */
	uint64_t persistent_keepalive;   /* ns, 0: off */
};

struct tunnel_conf {
	char *name;
	char *interface;        /* TUN name; NULL: the tunnel's name (host) or none (ports) */
	int underlay;           /* enum underlay */
	char *private_key_file; /* NULL: tunnels/NAME.key, made at first start */
	int64_t listen_port;
	int64_t fwmark;
	struct setting_list addresses; /* struct net_prefix */
	int64_t mtu;
	bool relay_peers; /* route from peer to peer in the data plane */
	bool kernel_routes;
	struct setting_list peers;
};

struct vlan_conf {
	int64_t id;
	struct setting_list addresses;
};

struct port_conf {
	char *name;
	char *device;                  /* PCI address or vdev string: "net_af_packet0,iface=eth1" */
	struct setting_list addresses; /* struct net_prefix; with a mirror: put on the mirror */
	char *mirror;                  /* name of the kernel's mirror interface; NULL: none */
	int64_t mtu;
	int64_t descriptors;
	bool promiscuous;
	struct setting_list vlans; /* struct vlan_conf */
};

struct route_conf {
	struct net_prefix prefix;
	struct net_addr via; /* family 0: none */
	char *port;          /* or */
	char *tunnel;
};

struct dataplane_conf {
	int64_t workers;            /* 0: cores minus one, at least one */
	struct setting_list cores;  /* int64_t: where workers are pinned; empty: the last ones */
	int poll;                   /* enum poll_mode */
	uint64_t idle_before_sleep; /* ns */
	int64_t worker_nice;        /* where they are not pinned */
	uint64_t memory;            /* bytes of packet buffers */
	int64_t max_peers;
	bool hugepages;
	bool mss_clamp;
	bool peer_metrics;
	struct setting_list ports, routes, tunnels;
};

extern const struct setting dataplane_settings[];
void dataplane_validate(const void *settings, struct setting_errors *errs);

/* ---- conf_change.c --------------------------------------------------------------------------- */
unsigned conf_workers(const struct dataplane_conf *conf);
/* The largest packet of any port or tunnel decides the size of all buffers: one segment each. */
unsigned conf_frame_max(const struct dataplane_conf *conf);
/* Whether `b` asks for nothing but what a data plane that runs with `a` takes over. */
bool conf_absorbable(const struct dataplane_conf *a, const struct dataplane_conf *b);

/* ---- graph.c: see graph.h; ports count their losses by number -------------------------------- */
unsigned graph_drop_number(const char *name);

/* ---- dataplane.c ---------------------------------------------------------------------------- */
/* The pool that control allocates packets from (thread-safe, cacheless for the control thread). */
struct rte_mbuf *control_mbuf_alloc(void);
/* Sends a packet down; frees it and answers false if the ring is full. Wakes the worker. */
bool control_inject(unsigned worker, enum inject_entry entry, struct rte_mbuf *m);
unsigned control_workers(void);
unsigned control_frame_max(void); /* bytes of L3 packet that one mbuf holds */
/* Port table: takes a port in (gives it its index) and out; publishes a new table. Closing runs
 * ops->close after the grace period. */
int control_port_add(struct port *port);
void control_port_remove(struct port *port);
struct port *control_port(uint16_t index);
/* Opens those ports anew whose time to return by themselves has come. */
void control_ports_return(void);
/* Builds the table anew from ports, tunnels, FIB and neighbours, and publishes it. */
void control_publish(void);
/* Calls free_fn(object) on the loop when no worker can hold it any more. */
void control_retire(void *object, void (*free_fn)(void *));

/* The settings that run. */
const struct dataplane_conf *dataplane_conf(void);
void dataplane_collect(struct metric_sink *sink);
void dataplane_status(json_t *status);
/* Losses of ports, outside of any verdict; NULL-terminated. */
extern const struct drop_reason udp_drops[], tun_drops[], ether_drops[], packet_drops[],
	neigh_drops[], mirror_drops[];
/* Losses on the control loop, by number of the reason. */
extern uint64_t control_drops[DROPS_MAX];

/* ---- punts.c --------------------------------------------------------------------------------- */
void punts_start(void);
void punts_stop(void);
void punts_take(void); /* all that workers handed up, as far as the budget goes */

/* ---- who takes punts: called on the loop, owns the mbuf -------------------------------------- */
void tunnel_punt_handshake(struct rte_mbuf *m);
void neigh_punt(struct rte_mbuf *m);
void mirror_punt(struct rte_mbuf *m);
void capture_punt(struct rte_mbuf *m);

/* ---- host port: port_tun.c, port_udp.c -------------------------------------------------------
 * Opening needs CAP_NET_ADMIN; n_queues = workers. The port is not in the table yet. */
struct port *port_tun_open(
	const char *ifname, uint16_t n_queues, uint16_t mtu, uint32_t tunnel, struct err *err);
/* Whether somebody has deleted its interface. */
bool port_tun_gone(const struct port *port);
/* One socket per worker and family (SO_REUSEPORT), bound to `listen_port` (0: any; then
 * *listen_port is what the kernel chose) of all addresses. fwmark 0: none. */
struct port *port_udp_open(uint16_t *listen_port, uint16_t n_queues, uint32_t tunnel,
	uint32_t fwmark, struct err *err);

/* ---- Ethernet ports: eal.c, port_ether.c ---------------------------------------------------- */
/* EAL once per process. `devices` are the device strings (to load only the drivers they need). */
int eal_start(const struct dataplane_conf *conf, struct err *err);
const char *eal_memory(void); /* "2 MiB hugepages" or "no hugepages: <why>" for status */
/* A pool on NUMA node `numa` (-1: any) whose mbufs hold frames of `frame_max` bytes in one segment,
 * with struct packet as private area. */
struct rte_mempool *eal_pool(
	const char *name, unsigned n, unsigned frame_max, int numa, struct err *err);
struct port *port_ether_open(const struct port_conf *conf, uint16_t n_queues,
	struct rte_mempool *const *pools, struct err *err);

/* ---- kernel's view: netlink.c --------------------------------------------------------------- */
int netlink_link_up(const char *ifname, unsigned mtu, struct err *err);
/* What the kernel hands to the interface: segments of a super-packet, and packets that wait. */
int netlink_link_queue(const char *ifname, unsigned segments, unsigned packets, struct err *err);
int netlink_address_add(const char *ifname, const struct net_prefix *address, struct err *err);
int netlink_address_remove(const char *ifname, const struct net_prefix *address, struct err *err);
int netlink_route_add(const char *ifname, const struct net_prefix *prefix, struct err *err);
/* All traffic of a family into the tunnel but the tunnel's own (marked `fwmark`; 0: our default
 * mark), as wg-quick does it: a routing table of its own and two rules. */
int netlink_default_add(const char *ifname, int family, uint32_t fwmark, struct err *err);
int netlink_default_remove(const char *ifname, int family, uint32_t fwmark, struct err *err);
int netlink_route_remove(const char *ifname, const struct net_prefix *prefix, struct err *err);
