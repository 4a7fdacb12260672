/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel beside an AF_PACKET port with a mirror. Control loop.
 *
 * The kernel hands a frame to packet sockets and then goes on with it. With a mirror it gets what
 * is for it from there, so each such packet would come twice; and for a packet that belongs into a
 * tunnel IPv6 answers "no route", even where it does not forward. A chain of nf_tables in the
 * interface's ingress hook, which comes after the packet sockets, drops everything. The table is
 * owned by the netlink socket that made it (Linux 5.12): however this process ends, it is gone.
 */
#include "ingress.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <libmnl/libmnl.h>

#define TABLE_FLAG_OWNER 2 /* NFT_TABLE_F_OWNER, which older headers do not have */

enum { SEQ_BEGIN, SEQ_TABLE, SEQ_CHAIN, SEQ_END };

static struct nlmsghdr *message_put(
	char *at, uint16_t type, uint8_t family, uint16_t flags, uint32_t seq)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(at);
	struct nfgenmsg *nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	nlh->nlmsg_seq = seq;
	nfg->nfgen_family = family;
	nfg->version = NFNETLINK_V0;
	/* a batch says in its ends whom it is for */
	nfg->res_id = family == AF_UNSPEC ? htons(NFNL_SUBSYS_NFTABLES) : 0;
	return nlh;
}

static size_t table_put(char *at, const char *table)
{
	struct nlmsghdr *nlh = message_put(at, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWTABLE,
		NFPROTO_NETDEV, NLM_F_CREATE | NLM_F_ACK, SEQ_TABLE);

	mnl_attr_put_strz(nlh, NFTA_TABLE_NAME, table);
	mnl_attr_put_u32(nlh, NFTA_TABLE_FLAGS, htonl(TABLE_FLAG_OWNER));
	return nlh->nlmsg_len;
}

static size_t chain_put(char *at, const char *table, const char *ifname)
{
	struct nlmsghdr *nlh = message_put(at, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWCHAIN,
		NFPROTO_NETDEV, NLM_F_CREATE | NLM_F_ACK, SEQ_CHAIN);
	struct nlattr *hook;

	mnl_attr_put_strz(nlh, NFTA_CHAIN_TABLE, table);
	mnl_attr_put_strz(nlh, NFTA_CHAIN_NAME, "ingress");
	mnl_attr_put_strz(nlh, NFTA_CHAIN_TYPE, "filter");
	mnl_attr_put_u32(nlh, NFTA_CHAIN_POLICY, htonl(NF_DROP));
	hook = mnl_attr_nest_start(nlh, NFTA_CHAIN_HOOK);
	mnl_attr_put_u32(nlh, NFTA_HOOK_HOOKNUM, htonl(NF_NETDEV_INGRESS));
	mnl_attr_put_u32(nlh, NFTA_HOOK_PRIORITY, htonl(0));
	mnl_attr_put_strz(nlh, NFTA_HOOK_DEV, ifname);
	mnl_attr_nest_end(nlh, hook);
	return nlh->nlmsg_len;
}

static int batch_send(int fd, const char *table, const char *ifname)
{
	char buf[1024];
	size_t len = message_put(buf, NFNL_MSG_BATCH_BEGIN, AF_UNSPEC, 0, SEQ_BEGIN)->nlmsg_len;

	len += table_put(buf + len, table);
	len += chain_put(buf + len, table, ifname);
	len += message_put(buf + len, NFNL_MSG_BATCH_END, AF_UNSPEC, 0, SEQ_END)->nlmsg_len;
	return send(fd, buf, len, 0) < 0 ? -errno : 0;
}

/* The kernel has carried out, or refused, the batch before send returned. */
static int answer_take(int fd)
{
	char buf[4096];

	for (;;) {
		ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
		int left = (int)n;

		if (n < 0)
			return -errno;
		for (struct nlmsghdr *nlh = (struct nlmsghdr *)buf; mnl_nlmsg_ok(nlh, left);
			nlh = mnl_nlmsg_next(nlh, &left)) {
			const struct nlmsgerr *e = mnl_nlmsg_get_payload(nlh);

			if (nlh->nlmsg_type != NLMSG_ERROR)
				continue;
			if (e->error || nlh->nlmsg_seq == SEQ_CHAIN)
				return e->error;
		}
	}
}

int ingress_shut(const char *ifname, struct err *err)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER), rc;
	char table[32];

	if (fd < 0)
		return err_set(err, -errno, "nf_tables: %s", strerror(errno));
	/* an interface that comes back under the same name is another one */
	snprintf(table, sizeof(table), "tailplane-%u", if_nametoindex(ifname));
	rc = batch_send(fd, table, ifname);
	if (rc == 0)
		rc = answer_take(fd);
	if (rc == 0)
		return fd;
	close(fd);
	return err_set(err, rc, "nf_tables: %s", strerror(-rc));
}
