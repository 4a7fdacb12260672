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

#include "dataplane.h"
#include "rtnl.h"

static int route_request(bool add, const char *ifname, int family, uint32_t table)
{
	struct rtnl_request r;
	struct rtmsg *rt = rtnl_request_init(&r, add ? RTM_NEWROUTE : RTM_DELROUTE,
		add ? NLM_F_CREATE | NLM_F_REPLACE : 0, sizeof(*rt));

	rt->rtm_family = (uint8_t)family;
	rt->rtm_protocol = RTNL_PROTOCOL;
	rt->rtm_scope = family == AF_INET ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
	rt->rtm_type = RTN_UNICAST;
	mnl_attr_put_u32(r.nlh, RTA_TABLE, table);
	mnl_attr_put_u32(r.nlh, RTA_OIF, if_nametoindex(ifname));
	return rtnl_request_send(&r, NULL, NULL);
}

/* `mark` 0: the rule that keeps the main table's specific routes; else: all but the mark. */
static int rule_request(bool add, int family, uint32_t table, uint32_t mark)
{
	struct rtnl_request r;
	struct fib_rule_hdr *rule = rtnl_request_init(&r, add ? RTM_NEWRULE : RTM_DELRULE,
		add ? NLM_F_CREATE | NLM_F_EXCL : 0, sizeof(*rule));

	rule->family = (uint8_t)family;
	rule->action = FR_ACT_TO_TBL;
	rule->flags = mark ? FIB_RULE_INVERT : 0;
	mnl_attr_put_u32(r.nlh, FRA_TABLE, table);
	mnl_attr_put_u8(r.nlh, FRA_PROTOCOL, RTNL_PROTOCOL);
	if (mark)
		mnl_attr_put_u32(r.nlh, FRA_FWMARK, mark);
	else
		mnl_attr_put_u32(r.nlh, FRA_SUPPRESS_PREFIXLEN, 0);
	return rtnl_request_send(&r, NULL, NULL);
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
