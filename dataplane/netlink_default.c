/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A default route into a tunnel that does not swallow the tunnel's own packets, as wg-quick makes
 * it: a routing table that holds it alone; a rule that sends there all that is not marked as the
 * tunnel's; and a rule before it that lets the main table's more specific routes win. Control loop
 * (each request is answered by the kernel at once).
 *
 * The route goes with its device when the process dies; the rules then lead to an empty table,
 * which changes nothing, and the next start replaces them.
 */
#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <libmnl/libmnl.h>

#include "dataplane.h"

#define REQUEST_SIZE 8192
#define OUR_PROTOCOL 84 /* who made it, as `ip route` shows: not one of the kernel's names */

static int request(struct nlmsghdr *nlh)
{
	char buf[REQUEST_SIZE];
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	int rc = -errno;
	ssize_t n;

	if (!nl)
		return rc;
	nlh->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	nlh->nlmsg_seq = 1;
	if (mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0 ||
		mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0 ||
		(n = mnl_socket_recvfrom(nl, buf, sizeof(buf))) < 0)
		rc = -errno;
	else
		rc = mnl_cb_run(buf, (size_t)n, 1, mnl_socket_get_portid(nl), NULL, NULL) < 0
			     ? -errno
			     : 0;
	mnl_socket_close(nl);
	return rc;
}

static int route_request(bool add, const char *ifname, int family, uint32_t table)
{
	char buf[REQUEST_SIZE];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct rtmsg *rt;

	nlh->nlmsg_type = add ? RTM_NEWROUTE : RTM_DELROUTE;
	nlh->nlmsg_flags = add ? NLM_F_CREATE | NLM_F_REPLACE : 0;
	rt = mnl_nlmsg_put_extra_header(nlh, sizeof(*rt));
	rt->rtm_family = (uint8_t)family;
	rt->rtm_protocol = OUR_PROTOCOL;
	rt->rtm_scope = family == AF_INET ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
	rt->rtm_type = RTN_UNICAST;
	mnl_attr_put_u32(nlh, RTA_TABLE, table);
	mnl_attr_put_u32(nlh, RTA_OIF, if_nametoindex(ifname));
	return request(nlh);
}

/* `mark` 0: the rule that keeps the main table's specific routes; else: all but the mark. */
static int rule_request(bool add, int family, uint32_t table, uint32_t mark)
{
	char buf[REQUEST_SIZE];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct fib_rule_hdr *rule;

	nlh->nlmsg_type = add ? RTM_NEWRULE : RTM_DELRULE;
	nlh->nlmsg_flags = add ? NLM_F_CREATE | NLM_F_EXCL : 0;
	rule = mnl_nlmsg_put_extra_header(nlh, sizeof(*rule));
	rule->family = (uint8_t)family;
	rule->action = FR_ACT_TO_TBL;
	rule->flags = mark ? FIB_RULE_INVERT : 0;
	mnl_attr_put_u32(nlh, FRA_TABLE, table);
	mnl_attr_put_u8(nlh, FRA_PROTOCOL, OUR_PROTOCOL);
	if (mark)
		mnl_attr_put_u32(nlh, FRA_FWMARK, mark);
	else
		mnl_attr_put_u32(nlh, FRA_SUPPRESS_PREFIXLEN, 0);
	return request(nlh);
}

static void rules_remove(int family, uint32_t fwmark)
{
	/* each until there is none: an earlier run may have left some */
	while (!rule_request(false, family, fwmark, fwmark))
		;
	while (!rule_request(false, family, RT_TABLE_MAIN, 0))
		;
}

int netlink_default_add(const char *ifname, int family, uint32_t fwmark, struct err *err)
{
	int rc = route_request(true, ifname, family, fwmark);

	rules_remove(family, fwmark);
	/* the kernel puts a rule without priority before those that are there */
	if (!rc)
		rc = rule_request(true, family, fwmark, fwmark);
	if (!rc)
		rc = rule_request(true, family, RT_TABLE_MAIN, 0);
	return rc ? err_set(err, rc, "default route by way of table %u: %s", fwmark, strerror(-rc))
		  : 0;
}

int netlink_default_remove(const char *ifname, int family, uint32_t fwmark, struct err *err)
{
	int rc = route_request(false, ifname, family, fwmark);

	rules_remove(family, fwmark);
	return rc ? err_set(err, rc, "default route: %s", strerror(-rc)) : 0;
}
