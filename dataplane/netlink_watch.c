/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * One rtnetlink socket that hears of changes and asks for everything (a look): links, then
 * addresses, neighbours, routes, one dump after the other. Control loop, never blocking.
 *
 * A look follows the start, a change of the interfaces (the kernel does not name each route that
 * goes with one) and an overrun of the socket. Changes that come during a look are taken as they
 * come: the kernel puts dump and notifications into one queue, so the last word counts.
 */
#include "netlink_watch.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>

#include <libmnl/libmnl.h>
#include <rte_common.h>

#include "ip_parse.h"
#include "kernel_view.h"
#include "tailplane/plugin.h"

#define INTERFACES_MAX 512
#define RECEIVE_BUFFER (4 << 20)
#define READS_PER_CALL 256
#define PATIENCE_S 3.
#define LOOK_AFTER_S 0.02 /* changes of links come in groups */

static const uint16_t dumps[] = {RTM_GETLINK, RTM_GETADDR, RTM_GETNEIGH, RTM_GETROUTE};

static struct {
	struct mnl_socket *nl;
	ev_io io;
	ev_timer look_soon;
	ev_timer patience; /* while a dump runs: its answer may have been lost */
	unsigned dump;     /* which of dumps is running; RTE_DIM(dumps): none */
	uint32_t seq;      /* of that dump */
	bool look_again;   /* what the running look saw is not all */
	unsigned n;
	struct kernel_interface_of_port interfaces[INTERFACES_MAX];
} watch;

static struct kernel_interface_of_port *interface_find(unsigned ifindex)
{
	for (unsigned i = 0; i < watch.n; i++)
		if (watch.interfaces[i].ifindex == ifindex)
			return &watch.interfaces[i];
	return NULL;
}

static void look_soon(void)
{
	if (!watch.nl || ev_is_active(&watch.look_soon))
		return;
	ev_timer_set(&watch.look_soon, LOOK_AFTER_S, 0.);
	ev_timer_start(core_loop(), &watch.look_soon);
}

static void interface_remove(struct kernel_interface_of_port *k)
{
	kernel_view_forget(k->ifindex);
	*k = watch.interfaces[--watch.n];
}

/* ---- attributes ----------------------------------------------------------------------------- */

#define ATTRS_MAX 64

static int attr_note(const struct nlattr *attr, void *arg)
{
	const struct nlattr **table = arg;

	if (mnl_attr_get_type(attr) < ATTRS_MAX)
		table[mnl_attr_get_type(attr)] = attr;
	return MNL_CB_OK;
}

static uint32_t attr_u32(const struct nlattr *attr, uint32_t otherwise)
{
	return attr && mnl_attr_get_payload_len(attr) >= 4 ? mnl_attr_get_u32(attr) : otherwise;
}

static size_t family_size(int family)
{
	return family == AF_INET ? 4 : family == AF_INET6 ? 16 : 0;
}

static bool attr_addr(const struct nlattr *attr, int family, struct net_addr *addr)
{
	size_t size = family_size(family);

	if (!attr || !size || mnl_attr_get_payload_len(attr) != size)
		return false;
	memset(addr, 0, sizeof(*addr));
	addr->family = (uint16_t)family;
	memcpy(addr->bytes, mnl_attr_get_payload(attr), size);
	return true;
}

/* ---- links ---------------------------------------------------------------------------------- */

/* VLAN id of a VLAN interface (802.1Q), 0: it is something else. */
static uint16_t vlan_id(const struct nlattr *linkinfo)
{
	const struct nlattr *info[ATTRS_MAX] = {0}, *data[ATTRS_MAX] = {0};

	if (!linkinfo)
		return 0;
	mnl_attr_parse_nested(linkinfo, attr_note, info);
	if (!info[IFLA_INFO_KIND] || !info[IFLA_INFO_DATA] ||
		strncmp(mnl_attr_get_payload(info[IFLA_INFO_KIND]), "vlan", 5) != 0)
		return 0;
	mnl_attr_parse_nested(info[IFLA_INFO_DATA], attr_note, data);
	return data[IFLA_VLAN_ID] ? mnl_attr_get_u16(data[IFLA_VLAN_ID]) : 0;
}

static void link_gone(unsigned ifindex)
{
	struct kernel_interface_of_port *k = interface_find(ifindex);

	if (!k)
		return;
	interface_remove(k);
	look_soon();
}

static void link_seen(const struct nlmsghdr *nlh)
{
	const struct ifinfomsg *ifm = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *attrs[ATTRS_MAX] = {0};
	struct kernel_interface_of_port *k = interface_find((unsigned)ifm->ifi_index), *under;
	uint16_t vlan, mtu;
	bool dump = nlh->nlmsg_seq == watch.seq;

	mnl_attr_parse(nlh, sizeof(*ifm), attr_note, attrs);
	mtu = (uint16_t)RTE_MIN(attr_u32(attrs[IFLA_MTU], 0), (uint32_t)UINT16_MAX);
	if (k) {
		bool changed = k->mtu != mtu || ifm->ifi_change & IFF_UP;

		if (k->mtu != mtu)
			kernel_view_forget(k->ifindex); /* it comes back with the right one */
		k->mtu = mtu;
		if (changed && !dump)
			look_soon();
		return;
	}
	under = interface_find(attr_u32(attrs[IFLA_LINK], 0));
	vlan = under && !under->vlan ? vlan_id(attrs[IFLA_LINKINFO]) : 0;
	if (!vlan || watch.n == INTERFACES_MAX)
		return;
	watch.interfaces[watch.n++] = (struct kernel_interface_of_port){
		.ifindex = (unsigned)ifm->ifi_index, .port = under->port, .vlan = vlan, .mtu = mtu};
	if (!dump)
		look_soon();
}

/* ---- addresses, neighbours, routes ---------------------------------------------------------- */

static void address_seen(const struct nlmsghdr *nlh, bool there)
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nlh);
	const struct kernel_interface_of_port *k = interface_find(ifa->ifa_index);
	const struct nlattr *attrs[ATTRS_MAX] = {0};
	struct net_prefix address = {.len = ifa->ifa_prefixlen};

	if (!k)
		return;
	mnl_attr_parse(nlh, sizeof(*ifa), attr_note, attrs);
	if (attr_addr(attrs[IFA_LOCAL] ? attrs[IFA_LOCAL] : attrs[IFA_ADDRESS], ifa->ifa_family,
		    &address.addr))
		kernel_view_address(k, &address, there);
}

static void neighbour_seen(const struct nlmsghdr *nlh, bool there)
{
	const uint16_t known =
		NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP;
	const struct ndmsg *nd = mnl_nlmsg_get_payload(nlh);
	const struct kernel_interface_of_port *k = interface_find((unsigned)nd->ndm_ifindex);
	const struct nlattr *attrs[ATTRS_MAX] = {0};
	struct neigh_key key = {.family = nd->ndm_family};
	struct net_addr addr;

	if (!k)
		return;
	mnl_attr_parse(nlh, sizeof(*nd), attr_note, attrs);
	if (!attr_addr(attrs[NDA_DST], nd->ndm_family, &addr) ||
		ip_is_multicast(addr.family, addr.bytes))
		return;
	memcpy(key.addr, addr.bytes, 16);
	key.port = k->port;
	key.vlan = k->vlan;
	if (!there || nd->ndm_state & NUD_FAILED)
		neigh_kernel(&key, NULL);
	else if (nd->ndm_state & known && attrs[NDA_LLADDR] &&
		 mnl_attr_get_payload_len(attrs[NDA_LLADDR]) == 6)
		neigh_kernel(&key, mnl_attr_get_payload(attrs[NDA_LLADDR]));
}

/* RTA_VIA: a gateway of the other family (RFC 5549). */
static void via_parse(const struct nlattr *const *attrs, int family, struct net_addr *via)
{
	const struct rtvia *other;

	if (attr_addr(attrs[RTA_GATEWAY], family, via) || !attrs[RTA_VIA] ||
		mnl_attr_get_payload_len(attrs[RTA_VIA]) < sizeof(*other))
		return;
	other = mnl_attr_get_payload(attrs[RTA_VIA]);
	if (mnl_attr_get_payload_len(attrs[RTA_VIA]) - sizeof(*other) !=
		family_size(other->rtvia_family))
		return;
	via->family = other->rtvia_family;
	memcpy(via->bytes, other->rtvia_addr, family_size(other->rtvia_family));
}

/* Of several next hops the first that leaves by a port of ours; ECMP is the kernel's. */
static const struct kernel_interface_of_port *multipath_parse(
	const struct nlattr *multipath, int family, struct net_addr *via)
{
	const struct rtnexthop *hop = mnl_attr_get_payload(multipath);
	size_t left = mnl_attr_get_payload_len(multipath);

	while (left >= sizeof(*hop) && hop->rtnh_len >= sizeof(*hop) && hop->rtnh_len <= left) {
		const struct kernel_interface_of_port *k =
			interface_find((unsigned)hop->rtnh_ifindex);
		const struct nlattr *attrs[ATTRS_MAX] = {0};
		size_t step = RTE_MIN((size_t)RTNH_ALIGN(hop->rtnh_len), left);

		if (k) {
			mnl_attr_parse_payload(
				hop + 1, hop->rtnh_len - sizeof(*hop), attr_note, attrs);
			via_parse(attrs, family, via);
			return k;
		}
		hop = (const struct rtnexthop *)((const char *)hop + step);
		left -= step;
	}
	return NULL;
}

static void route_seen(const struct nlmsghdr *nlh, bool there)
{
	const struct rtmsg *rt = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *attrs[ATTRS_MAX] = {0};
	const struct kernel_interface_of_port *k;
	struct kernel_route route = {.prefix = {.len = rt->rtm_dst_len}};

	mnl_attr_parse(nlh, sizeof(*rt), attr_note, attrs);
	if (attr_u32(attrs[RTA_TABLE], rt->rtm_table) != RT_TABLE_MAIN ||
		rt->rtm_type != RTN_UNICAST || rt->rtm_flags & RTM_F_CLONED ||
		!family_size(rt->rtm_family))
		return;
	route.prefix.addr.family = rt->rtm_family;
	if (attrs[RTA_DST] && !attr_addr(attrs[RTA_DST], rt->rtm_family, &route.prefix.addr))
		return;
	if (ip_is_link_local(rt->rtm_family, route.prefix.addr.bytes) && route.prefix.len >= 10)
		return; /* of each link: not routed */
	route.metric = attr_u32(attrs[RTA_PRIORITY], 0);
	k = interface_find(attr_u32(attrs[RTA_OIF], 0));
	if (k)
		via_parse(attrs, rt->rtm_family, &route.via);
	else if (attrs[RTA_MULTIPATH])
		k = multipath_parse(attrs[RTA_MULTIPATH], rt->rtm_family, &route.via);
	if (k)
		kernel_view_route(k, &route, there,
			nlh->nlmsg_flags & NLM_F_REPLACE && nlh->nlmsg_seq != watch.seq);
}

static int message_seen(const struct nlmsghdr *nlh, void *arg)
{
	static const size_t sizes[] = {
		[RTM_NEWLINK - RTM_BASE] = sizeof(struct ifinfomsg),
		[RTM_DELLINK - RTM_BASE] = sizeof(struct ifinfomsg),
		[RTM_NEWADDR - RTM_BASE] = sizeof(struct ifaddrmsg),
		[RTM_DELADDR - RTM_BASE] = sizeof(struct ifaddrmsg),
		[RTM_NEWROUTE - RTM_BASE] = sizeof(struct rtmsg),
		[RTM_DELROUTE - RTM_BASE] = sizeof(struct rtmsg),
		[RTM_NEWNEIGH - RTM_BASE] = sizeof(struct ndmsg),
		[RTM_DELNEIGH - RTM_BASE] = sizeof(struct ndmsg),
	};
	unsigned type = nlh->nlmsg_type - RTM_BASE;

	(void)arg;
	if (nlh->nlmsg_type < RTM_BASE || type >= RTE_DIM(sizes) || !sizes[type] ||
		mnl_nlmsg_get_payload_len(nlh) < sizes[type])
		return MNL_CB_OK;
	if (nlh->nlmsg_flags & NLM_F_DUMP_INTR)
		watch.look_again = true;
	switch (nlh->nlmsg_type) {
	case RTM_NEWLINK:
		link_seen(nlh);
		break;
	case RTM_DELLINK:
		link_gone((unsigned)((const struct ifinfomsg *)mnl_nlmsg_get_payload(nlh))
				  ->ifi_index);
		break;
	case RTM_NEWADDR:
	case RTM_DELADDR:
		address_seen(nlh, nlh->nlmsg_type == RTM_NEWADDR);
		break;
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		route_seen(nlh, nlh->nlmsg_type == RTM_NEWROUTE);
		break;
	default:
		neighbour_seen(nlh, nlh->nlmsg_type == RTM_NEWNEIGH);
	}
	return MNL_CB_OK;
}

/* ---- looks ---------------------------------------------------------------------------------- */

static void dump_request(void)
{
	char buf[64];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct rtgenmsg *gen;

	nlh->nlmsg_type = dumps[watch.dump];
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	nlh->nlmsg_seq = ++watch.seq;
	gen = mnl_nlmsg_put_extra_header(nlh, sizeof(*gen));
	gen->rtgen_family = AF_UNSPEC;
	ev_timer_again(core_loop(), &watch.patience);
	if (mnl_socket_sendto(watch.nl, nlh, nlh->nlmsg_len) < 0)
		log_debug("cannot ask the kernel: %s", strerror(errno)); /* again, in time */
}

static void look_start(void)
{
	if (watch.dump < RTE_DIM(dumps)) {
		watch.look_again = true;
		return;
	}
	watch.look_again = false;
	watch.dump = 0;
	kernel_view_mark();
	dump_request();
}

static void dump_done(void)
{
	if (++watch.dump < RTE_DIM(dumps)) {
		dump_request();
		return;
	}
	ev_timer_stop(core_loop(), &watch.patience);
	if (watch.look_again)
		look_soon(); /* nothing is forgotten by half a look */
	else
		kernel_view_sweep();
}

static void messages_take(const void *buf, size_t size)
{
	const struct nlmsghdr *nlh = buf;
	int len = (int)size;

	for (; mnl_nlmsg_ok(nlh, len); nlh = mnl_nlmsg_next(nlh, &len)) {
		bool of_dump = watch.dump < RTE_DIM(dumps) && nlh->nlmsg_seq == watch.seq;

		if (nlh->nlmsg_type == NLMSG_DONE && of_dump) {
			dump_done();
		} else if (nlh->nlmsg_type == NLMSG_ERROR && of_dump) {
			watch.look_again = true;
			dump_done();
		} else {
			message_seen(nlh, NULL);
		}
		if (of_dump && watch.dump < RTE_DIM(dumps))
			ev_timer_again(core_loop(), &watch.patience);
	}
}

LOOP_CALLBACK(watch_readable, ev_io)
{
	static char buf[65536];

	(void)loop, (void)watcher, (void)revents;
	for (unsigned i = 0; i < READS_PER_CALL; i++) {
		ssize_t n = mnl_socket_recvfrom(watch.nl, buf, sizeof(buf));

		if (n > 0) {
			messages_take(buf, (size_t)n);
			continue;
		}
		if (n < 0 && errno == ENOBUFS) {
			log_debug("the kernel's news came too fast: looking at everything again");
			/* a dump that runs goes on: the kernel would refuse another beside it */
			watch.look_again = true;
			if (watch.dump == RTE_DIM(dumps))
				look_soon();
			continue;
		}
		return;
	}
}

LOOP_CALLBACK(look_timer, ev_timer)
{
	(void)loop, (void)watcher, (void)revents;
	look_start();
}

LOOP_CALLBACK(patience_timer, ev_timer)
{
	(void)revents;
	ev_timer_stop(loop, watcher);
	watch.dump = RTE_DIM(dumps);
	look_soon();
}

/* ---- for the rest of the Ethernet side ------------------------------------------------------- */

void netlink_watch_add(unsigned ifindex, uint16_t port, uint16_t mtu)
{
	if (watch.n == INTERFACES_MAX)
		return;
	watch.interfaces[watch.n++] =
		(struct kernel_interface_of_port){.ifindex = ifindex, .port = port, .mtu = mtu};
	look_soon();
}

void netlink_watch_remove(uint16_t port)
{
	for (unsigned i = 0; i < watch.n;)
		if (watch.interfaces[i].port == port)
			interface_remove(&watch.interfaces[i]);
		else
			i++;
}

bool netlink_watch_resolve(const struct neigh_key *key)
{
	size_t size = family_size(key->family);
	char buf[128];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ndmsg *nd;
	unsigned i = 0;

	while (i < watch.n &&
		(watch.interfaces[i].port != key->port || watch.interfaces[i].vlan != key->vlan))
		i++;
	if (i == watch.n)
		return false;
	nlh->nlmsg_type = RTM_NEWNEIGH;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE;
	nd = mnl_nlmsg_put_extra_header(nlh, sizeof(*nd));
	nd->ndm_family = (uint8_t)key->family;
	nd->ndm_ifindex = (int)watch.interfaces[i].ifindex;
	nd->ndm_state = NUD_NONE;
	nd->ndm_flags = NTF_USE;
	mnl_attr_put(nlh, NDA_DST, size, key->addr);
	if (mnl_socket_sendto(watch.nl, nlh, nlh->nlmsg_len) < 0)
		log_debug("cannot ask the kernel for a neighbour: %s", strerror(errno));
	return true;
}

static int socket_open(struct err *err)
{
	static const int groups[] = {RTNLGRP_LINK, RTNLGRP_NEIGH, RTNLGRP_IPV4_IFADDR,
		RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE};
	int size = RECEIVE_BUFFER, fd;

	watch.nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!watch.nl || mnl_socket_bind(watch.nl, 0, MNL_SOCKET_AUTOPID) < 0)
		return err_set(
			err, -errno, "cannot listen to the kernel's routes: %s", strerror(errno));
	fd = mnl_socket_get_fd(watch.nl);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	for (size_t i = 0; i < RTE_DIM(groups); i++)
		if (mnl_socket_setsockopt(watch.nl, NETLINK_ADD_MEMBERSHIP,
			    (void *)(uintptr_t)&groups[i], sizeof(groups[i])) < 0)
			return err_set(err, -errno, "cannot listen to the kernel's routes: %s",
				strerror(errno));
	return 0;
}

int netlink_watch_start(struct fib *fib, struct err *err)
{
	int rc = socket_open(err);

	if (rc < 0) {
		if (watch.nl)
			mnl_socket_close(watch.nl);
		watch.nl = NULL;
		return rc;
	}
	kernel_view_start(fib);
	watch.n = 0;
	watch.dump = RTE_DIM(dumps);
	ev_io_init(&watch.io, watch_readable, mnl_socket_get_fd(watch.nl), EV_READ);
	ev_io_start(core_loop(), &watch.io);
	ev_init(&watch.look_soon, look_timer);
	ev_timer_init(&watch.patience, patience_timer, 0., PATIENCE_S);
	return 0;
}

void netlink_watch_stop(void)
{
	if (!watch.nl)
		return;
	ev_io_stop(core_loop(), &watch.io);
	ev_timer_stop(core_loop(), &watch.look_soon);
	ev_timer_stop(core_loop(), &watch.patience);
	mnl_socket_close(watch.nl);
	watch.nl = NULL;
	kernel_view_stop();
	watch.n = 0;
}
