/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the daemon changes in the kernel: links up, addresses, routes of allowed IPs. Control loop;
 * the kernel answers each request at once, and its own words for a refusal go into the reason.
 * Routes carry a protocol number of ours: what another made is never replaced.
 */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>

#include "dataplane.h"
#include "rtnl.h"

#define IP6_METRIC 1024 /* what the kernel gives a route that names none */

static int refused(const struct rtnl_request *r, int rc, const char *what, const char *subject,
	const char *ifname, struct err *err)
{
	if (rc == -EPERM)
		return err_set(err, rc, "%s %s on %s needs CAP_NET_ADMIN", what, subject, ifname);
	return err_set(err, rc, "%s %s on %s: %s%s%s", what, subject, ifname, strerror(-rc),
		*r->words ? ": " : "", r->words);
}

static int interface_index(const char *ifname, unsigned *index, struct err *err)
{
	*index = if_nametoindex(ifname);
	return *index ? 0 : err_set(err, -ENODEV, "there is no interface %s", ifname);
}

int netlink_link_up(const char *ifname, unsigned mtu, struct err *err)
{
	struct ifinfomsg *link;
	struct rtnl_request r;
	char words[32];
	unsigned index;
	int rc = interface_index(ifname, &index, err);

	if (rc)
		return rc;
	link = rtnl_request_init(&r, RTM_NEWLINK, 0, sizeof(*link));
	link->ifi_index = (int)index;
	link->ifi_flags = IFF_UP;
	link->ifi_change = IFF_UP;
	mnl_attr_put_u32(r.nlh, IFLA_MTU, mtu);
	rc = rtnl_request_send(&r, NULL, NULL);
	snprintf(words, sizeof(words), "up, MTU %u,", mtu);
	return rc ? refused(&r, rc, "link", words, ifname, err) : 0;
}

int netlink_link_queue(const char *ifname, unsigned segments, unsigned packets, struct err *err)
{
	struct ifinfomsg *link;
	struct rtnl_request r;
	unsigned index;
	int rc = interface_index(ifname, &index, err);

	if (rc)
		return rc;
	link = rtnl_request_init(&r, RTM_NEWLINK, 0, sizeof(*link));
	link->ifi_index = (int)index;
	mnl_attr_put_u32(r.nlh, IFLA_GSO_MAX_SEGS, segments);
	mnl_attr_put_u32(r.nlh, IFLA_TXQLEN, packets);
	rc = rtnl_request_send(&r, NULL, NULL);
	return rc ? refused(&r, rc, "link", "queue", ifname, err) : 0;
}

/* ---- addresses ------------------------------------------------------------------------------ */

static size_t address_size(const struct net_addr *addr)
{
	return addr->family == AF_INET ? 4 : 16;
}

static int address_request(bool add, const char *ifname, const struct net_prefix *address,
	struct rtnl_request *r, struct err *err)
{
	struct ifaddrmsg *ifa;
	unsigned index;
	int rc = interface_index(ifname, &index, err);

	if (rc)
		return rc;
	ifa = rtnl_request_init(r, add ? RTM_NEWADDR : RTM_DELADDR,
		add ? NLM_F_CREATE | NLM_F_REPLACE : 0, sizeof(*ifa));
	ifa->ifa_family = (uint8_t)address->addr.family;
	ifa->ifa_prefixlen = address->len;
	ifa->ifa_index = index;
	/* a tunnel has no link to look for duplicates on, and the address would be unusable until
	 * then */
	ifa->ifa_flags = address->addr.family == AF_INET6 ? IFA_F_NODAD : 0;
	mnl_attr_put(r->nlh, IFA_LOCAL, address_size(&address->addr), address->addr.bytes);
	mnl_attr_put(r->nlh, IFA_ADDRESS, address_size(&address->addr), address->addr.bytes);
	return rtnl_request_send(r, NULL, NULL);
}

int netlink_address_add(const char *ifname, const struct net_prefix *address, struct err *err)
{
	char text[NET_PREFIX_STRLEN];
	struct rtnl_request r = {0};
	int rc = address_request(true, ifname, address, &r, err);

	return rc ? refused(&r, rc, "address", net_prefix_format(address, text), ifname, err) : 0;
}

int netlink_address_remove(const char *ifname, const struct net_prefix *address, struct err *err)
{
	char text[NET_PREFIX_STRLEN];
	struct rtnl_request r = {0};
	int rc = address_request(false, ifname, address, &r, err);

	if (rc == -EADDRNOTAVAIL)
		return 0;
	return rc ? refused(&r, rc, "removing address", net_prefix_format(address, text), ifname,
			    err)
		  : 0;
}

/* ---- routes --------------------------------------------------------------------------------- */

static int route_request(bool add, uint16_t flags, unsigned index, const struct net_prefix *prefix,
	struct rtnl_request *r)
{
	struct rtmsg *rt =
		rtnl_request_init(r, add ? RTM_NEWROUTE : RTM_DELROUTE, flags, sizeof(*rt));

	rt->rtm_family = (uint8_t)prefix->addr.family;
	rt->rtm_dst_len = prefix->len;
	rt->rtm_table = RT_TABLE_MAIN;
	rt->rtm_protocol = RTNL_PROTOCOL;
	rt->rtm_scope = prefix->addr.family == AF_INET ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
	rt->rtm_type = RTN_UNICAST;
	mnl_attr_put(r->nlh, RTA_DST, address_size(&prefix->addr), prefix->addr.bytes);
	mnl_attr_put_u32(r->nlh, RTA_OIF, index);
	return rtnl_request_send(r, NULL, NULL);
}

struct route_search {
	const struct net_prefix *prefix;
	bool found;
	unsigned oif;
	uint8_t protocol;
};

/* The route that a new one without a metric would collide with. */
static int route_seen(const struct nlmsghdr *nlh, void *data)
{
	const struct rtmsg *rt = mnl_nlmsg_get_payload(nlh);
	struct route_search *s = data;
	size_t size = address_size(&s->prefix->addr);
	uint8_t dst[16] = {0};
	struct nlattr *attr;
	uint32_t metric = 0;
	unsigned oif = 0;

	if (rt->rtm_table != RT_TABLE_MAIN || rt->rtm_dst_len != s->prefix->len)
		return MNL_CB_OK;
	mnl_attr_for_each(attr, nlh, sizeof(*rt))
	{
		if (mnl_attr_get_type(attr) == RTA_DST && mnl_attr_get_payload_len(attr) >= size)
			memcpy(dst, mnl_attr_get_payload(attr), size);
		else if (mnl_attr_get_type(attr) == RTA_OIF)
			oif = mnl_attr_get_u32(attr);
		else if (mnl_attr_get_type(attr) == RTA_PRIORITY)
			metric = mnl_attr_get_u32(attr);
	}
	if (memcmp(dst, s->prefix->addr.bytes, size) || metric != (size == 4 ? 0 : IP6_METRIC))
		return MNL_CB_OK;
	s->found = true;
	s->oif = oif;
	s->protocol = rt->rtm_protocol;
	return MNL_CB_OK;
}

static const char *protocol_name(uint8_t protocol)
{
	static const char *const names[256] = {
		[RTPROT_KERNEL] = "the kernel, from an interface's address",
		[RTPROT_BOOT] = "hand",
		[RTPROT_STATIC] = "the static network configuration",
		[RTPROT_RA] = "a router advertisement",
		[RTPROT_ZEBRA] = "zebra",
		[RTPROT_BIRD] = "BIRD",
		[RTPROT_DHCP] = "DHCP",
		[RTPROT_BGP] = "BGP",
		[RTPROT_ISIS] = "IS-IS",
		[RTPROT_OSPF] = "OSPF",
		[RTPROT_RIP] = "RIP",
	};

	return names[protocol] ? names[protocol] : "another program";
}

/* Another route for the prefix is there. Ours, or one that leads to the same interface, will do. */
static int route_conflict(const char *ifname, unsigned index, const struct net_prefix *prefix,
	struct rtnl_request *r, struct err *err)
{
	struct route_search s = {.prefix = prefix};
	char text[NET_PREFIX_STRLEN], other[IF_NAMESIZE] = "?";
	struct rtmsg *rt = rtnl_request_init(r, RTM_GETROUTE, NLM_F_DUMP, sizeof(*rt));
	int rc;

	rt->rtm_family = (uint8_t)prefix->addr.family;
	rc = rtnl_request_send(r, route_seen, &s);
	if (!rc && s.found && s.oif == index)
		return 0;
	if (!rc && (!s.found || s.protocol == RTNL_PROTOCOL))
		return route_request(true, NLM_F_CREATE | NLM_F_REPLACE, index, prefix, r);
	if (!rc)
		if_indextoname(s.oif, other);
	return err_set(err, -EEXIST,
		"route %s to %s: there is one by way of %s already, made by %s; it was left as it "
		"is",
		net_prefix_format(prefix, text), ifname, other, protocol_name(s.protocol));
}

int netlink_route_add(const char *ifname, const struct net_prefix *prefix, struct err *err)
{
	struct net_prefix masked = net_prefix_masked(prefix);
	char text[NET_PREFIX_STRLEN];
	struct rtnl_request r = {0};
	unsigned index;
	int rc = interface_index(ifname, &index, err);

	if (rc)
		return rc;
	rc = route_request(true, NLM_F_CREATE | NLM_F_EXCL, index, &masked, &r);
	if (rc == -EEXIST)
		rc = route_conflict(ifname, index, &masked, &r, err);
	return rc ? refused(&r, rc, "route", net_prefix_format(&masked, text), ifname, err) : 0;
}

int netlink_route_remove(const char *ifname, const struct net_prefix *prefix, struct err *err)
{
	struct net_prefix masked = net_prefix_masked(prefix);
	char text[NET_PREFIX_STRLEN];
	struct rtnl_request r = {0};
	unsigned index = if_nametoindex(ifname);
	int rc;

	if (!index) /* its routes went with it */
		return 0;
	rc = route_request(false, 0, index, &masked, &r);
	if (rc == -ESRCH)
		return 0;
	return rc ? refused(&r, rc, "removing route", net_prefix_format(&masked, text), ifname, err)
		  : 0;
}
