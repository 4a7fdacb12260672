/* SPDX-License-Identifier: BSD-3-Clause */
/* Short conversations with rtnetlink. Control loop. */
#include "rtnl.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <time.h>

static int answer_take(struct mnl_socket *nl, uint32_t seq, mnl_cb_t cb, void *arg)
{
	char buf[32768];
	ssize_t n;
	int rc;

	do {
		n = mnl_socket_recvfrom(nl, buf, sizeof(buf));
		rc = n < 0 ? -1
			   : mnl_cb_run(buf, (size_t)n, seq, mnl_socket_get_portid(nl), cb, arg);
	} while (rc == MNL_CB_OK);
	return rc < 0 ? -errno : 0;
}

int rtnl_talk(struct nlmsghdr *nlh, mnl_cb_t cb, void *arg)
{
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	int rc;

	if (!nl)
		return -errno;
	nlh->nlmsg_seq = (uint32_t)time(NULL);
	if (mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0 ||
		mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0)
		rc = -errno;
	else
		rc = answer_take(nl, nlh->nlmsg_seq, cb, arg);
	mnl_socket_close(nl);
	return rc;
}

int rtnl_vlan_add(const char *parent, const char *name, uint16_t id, struct err *err)
{
	char buf[512];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct nlattr *info, *data;
	int rc;

	nlh->nlmsg_type = RTM_NEWLINK;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
	mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifinfomsg));
	mnl_attr_put_u32(nlh, IFLA_LINK, if_nametoindex(parent));
	mnl_attr_put_strz(nlh, IFLA_IFNAME, name);
	info = mnl_attr_nest_start(nlh, IFLA_LINKINFO);
	mnl_attr_put_strz(nlh, IFLA_INFO_KIND, "vlan");
	data = mnl_attr_nest_start(nlh, IFLA_INFO_DATA);
	mnl_attr_put_u16(nlh, IFLA_VLAN_ID, id);
	mnl_attr_nest_end(nlh, data);
	mnl_attr_nest_end(nlh, info);
	rc = rtnl_talk(nlh, NULL, NULL);
	return rc < 0 ? err_set(err, rc, "cannot make the VLAN interface %s: %s", name,
				strerror(-rc))
		      : 0;
}
