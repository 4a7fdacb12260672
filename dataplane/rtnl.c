/* SPDX-License-Identifier: BSD-3-Clause */
/* Short conversations with rtnetlink. Control loop. */
#include "rtnl.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

void *rtnl_request_init(struct rtnl_request *r, uint16_t type, uint16_t flags, size_t header_size)
{
	memset(r, 0, sizeof(*r));
	r->nlh = mnl_nlmsg_put_header(r->buf);
	r->nlh->nlmsg_type = type;
	r->nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	return mnl_nlmsg_put_extra_header(r->nlh, header_size);
}

static int words_read(const struct nlattr *attr, void *data)
{
	struct rtnl_request *r = data;

	if (mnl_attr_get_type(attr) == NLMSGERR_ATTR_MSG &&
		mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0)
		snprintf(r->words, sizeof(r->words), "%s", mnl_attr_get_str(attr));
	return MNL_CB_OK;
}

static int error_read(const struct nlmsghdr *nlh, void *data)
{
	const struct nlmsgerr *e = mnl_nlmsg_get_payload(nlh);
	size_t skip = sizeof(*e);

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*e)) {
		errno = EBADMSG;
		return MNL_CB_ERROR;
	}
	if (!(nlh->nlmsg_flags & NLM_F_CAPPED))
		skip += e->msg.nlmsg_len - sizeof(struct nlmsghdr);
	if (nlh->nlmsg_flags & NLM_F_ACK_TLVS && mnl_nlmsg_get_payload_len(nlh) > skip)
		mnl_attr_parse(nlh, (unsigned)skip, words_read, data);
	errno = -e->error;
	return e->error ? MNL_CB_ERROR : MNL_CB_STOP;
}

static int message_read(const struct nlmsghdr *nlh, void *data)
{
	const struct rtnl_request *r = data;

	return r->seen ? r->seen(nlh, r->arg) : MNL_CB_OK;
}

static int answer_read(struct mnl_socket *nl, struct rtnl_request *r)
{
	/* no longer than that, or libmnl leaves the end of a dump to us too */
	mnl_cb_t control[NLMSG_ERROR + 1] = {[NLMSG_ERROR] = error_read};
	char buf[32768];
	ssize_t n;
	int rc;

	do {
		n = mnl_socket_recvfrom(nl, buf, sizeof(buf));
		rc = n < 0 ? -1
			   : mnl_cb_run2(buf, (size_t)n, r->nlh->nlmsg_seq,
				     mnl_socket_get_portid(nl), message_read, r, control,
				     NLMSG_ERROR + 1);
	} while (rc == MNL_CB_OK);
	return rc < 0 ? -errno : 0;
}

int rtnl_request_send(struct rtnl_request *r, mnl_cb_t seen, void *arg)
{
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	int rc, one = 1;

	if (!nl)
		return -errno;
	r->seen = seen;
	r->arg = arg;
	r->nlh->nlmsg_seq = (uint32_t)time(NULL);
	if (!seen)
		r->nlh->nlmsg_flags |= NLM_F_ACK;
	mnl_socket_setsockopt(nl, NETLINK_EXT_ACK, &one, sizeof(one)); /* else: no words */
	if (mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0 ||
		mnl_socket_sendto(nl, r->nlh, r->nlh->nlmsg_len) < 0)
		rc = -errno;
	else
		rc = answer_read(nl, r);
	mnl_socket_close(nl);
	return rc;
}

int rtnl_vlan_add(const char *parent, const char *name, uint16_t id, struct err *err)
{
	struct rtnl_request r;
	struct nlattr *info, *data;
	int rc;

	rtnl_request_init(&r, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
	mnl_attr_put_u32(r.nlh, IFLA_LINK, if_nametoindex(parent));
	mnl_attr_put_strz(r.nlh, IFLA_IFNAME, name);
	info = mnl_attr_nest_start(r.nlh, IFLA_LINKINFO);
	mnl_attr_put_strz(r.nlh, IFLA_INFO_KIND, "vlan");
	data = mnl_attr_nest_start(r.nlh, IFLA_INFO_DATA);
	mnl_attr_put_u16(r.nlh, IFLA_VLAN_ID, id);
	mnl_attr_nest_end(r.nlh, data);
	mnl_attr_nest_end(r.nlh, info);
	rc = rtnl_request_send(&r, NULL, NULL);
	return rc < 0 ? err_set(err, rc, "cannot make the VLAN interface %s: %s%s%s", name,
				strerror(-rc), *r.words ? ": " : "", r.words)
		      : 0;
}
