/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Left-over XDP programs. Control loop. Asks the kernel over rtnetlink which programs an interface
 * has, one per mode, and bpf(2) for their names.
 */
#include "xdp.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rtnl.h"
#include "tailplane/log.h"

struct xdp_state {
	uint32_t id;    /* of the program; 0: none */
	uint32_t flags; /* of the mode it is attached in */
};

/* What libxdp and libbpf attach for AF_XDP sockets. */
static const char *const ours[] = {"xsk_def_prog", "xdp_dispatcher", "xdp_sock_prog"};

static int link_seen(const struct nlmsghdr *nlh, void *arg)
{
	static const uint32_t flags[] = {
		[XDP_ATTACHED_DRV] = XDP_FLAGS_DRV_MODE,
		[XDP_ATTACHED_SKB] = XDP_FLAGS_SKB_MODE,
		[XDP_ATTACHED_HW] = XDP_FLAGS_HW_MODE,
	};
	struct xdp_state *state = arg;
	const struct nlattr *attr, *nested;
	uint8_t mode = XDP_ATTACHED_NONE;

	mnl_attr_for_each(attr, nlh, sizeof(struct ifinfomsg))
	{
		if (mnl_attr_get_type(attr) != IFLA_XDP)
			continue;
		mnl_attr_for_each_nested(nested, attr)
		{
			if (mnl_attr_get_type(nested) == IFLA_XDP_ATTACHED)
				mode = mnl_attr_get_u8(nested);
			else if (mnl_attr_get_type(nested) == IFLA_XDP_PROG_ID)
				state->id = mnl_attr_get_u32(nested);
		}
	}
	state->flags = mode <= XDP_ATTACHED_HW ? flags[mode] : 0;
	return MNL_CB_STOP;
}

static int xdp_query(unsigned ifindex, struct xdp_state *state)
{
	struct rtnl_request r;
	struct ifinfomsg *ifm = rtnl_request_init(&r, RTM_GETLINK, 0, sizeof(*ifm));

	memset(state, 0, sizeof(*state));
	ifm->ifi_index = (int)ifindex;
	return rtnl_request_send(&r, link_seen, state);
}

static int xdp_detach(unsigned ifindex, const struct xdp_state *state)
{
	struct rtnl_request r;
	struct ifinfomsg *ifm = rtnl_request_init(&r, RTM_SETLINK, 0, sizeof(*ifm));
	struct nlattr *nested;

	ifm->ifi_index = (int)ifindex;
	nested = mnl_attr_nest_start(r.nlh, IFLA_XDP);
	mnl_attr_put_u32(r.nlh, IFLA_XDP_FD, (uint32_t)-1);
	mnl_attr_put_u32(r.nlh, IFLA_XDP_FLAGS, state->flags);
	mnl_attr_nest_end(r.nlh, nested);
	return rtnl_request_send(&r, NULL, NULL);
}

static int program_name(uint32_t id, char name[static BPF_OBJ_NAME_LEN])
{
	union bpf_attr attr = {.prog_id = id};
	struct bpf_prog_info info = {0};
	int fd = (int)syscall(SYS_bpf, BPF_PROG_GET_FD_BY_ID, &attr, sizeof(attr)), rc;

	if (fd < 0)
		return -errno;
	memset(&attr, 0, sizeof(attr));
	attr.info.bpf_fd = (uint32_t)fd;
	attr.info.info_len = sizeof(info);
	attr.info.info = (uintptr_t)&info;
	rc = syscall(SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr)) < 0 ? -errno : 0;
	close(fd);
	if (rc == 0)
		memcpy(name, info.name, BPF_OBJ_NAME_LEN);
	return rc;
}

static bool is_ours(const char *name)
{
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		if (strncmp(name, ours[i], BPF_OBJ_NAME_LEN - 1) == 0)
			return true;
	return false;
}

int xdp_detach_stale(const char *ifname, unsigned ifindex, struct err *err)
{
	char name[BPF_OBJ_NAME_LEN] = "";
	struct xdp_state state;
	int rc = xdp_query(ifindex, &state);

	if (rc < 0)
		return err_set(
			err, rc, "%s: cannot ask for its XDP program: %s", ifname, strerror(-rc));
	if (!state.id)
		return 0;
	rc = program_name(state.id, name);
	if (rc < 0 || !is_ours(name))
		return err_set(err, -EBUSY,
			"%s has an XDP program (\"%s\", id %u) that is not ours; to take it off: "
			"ip link "
			"set dev %s xdp off",
			ifname, name, state.id, ifname);
	rc = xdp_detach(ifindex, &state);
	if (rc < 0)
		return err_set(err, rc, "%s: cannot detach a stale XDP program: %s", ifname,
			strerror(-rc));
	log_info("%s: detached the XDP program that a killed process had left", ifname);
	return 0;
}

void xdp_program_note(struct xdp_program *program, unsigned ifindex)
{
	struct xdp_state state;

	program->ifindex = ifindex;
	program->id = xdp_query(ifindex, &state) == 0 ? state.id : 0;
}

bool xdp_program_attached(const struct xdp_program *program)
{
	struct xdp_state state;

	return !program->id || xdp_query(program->ifindex, &state) != 0 || state.id == program->id;
}

bool xdp_program_may(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3] = {0};

	return syscall(SYS_capget, &head, caps) == 0 &&
	       caps[CAP_TO_INDEX(CAP_SYS_ADMIN)].effective & CAP_TO_MASK(CAP_SYS_ADMIN);
}

void xdp_program_detach(const struct xdp_program *program)
{
	struct xdp_state state;

	if (program->id && xdp_query(program->ifindex, &state) == 0 && state.id == program->id)
		xdp_detach(program->ifindex, &state);
}

/* Their levels start with warnings, which are about what they try in vain before what works. */
static int message_take(int level, const char *fmt, va_list ap)
{
	char text[256];
	int len = vsnprintf(text, sizeof(text), fmt, ap);

	(void)level;
	if (len > 0)
		log_debug("xdp: %.*s", (int)strcspn(text, "\n"), text);
	return len;
}

void xdp_messages_redirect(void)
{
	static const char *const setters[] = {"libbpf_set_print", "libxdp_set_print"};

	for (size_t i = 0; i < sizeof(setters) / sizeof(setters[0]); i++) {
		/* there when the driver that uses them is */
		void *(*set)(int (*)(int, const char *, va_list)) = dlsym(RTLD_DEFAULT, setters[i]);

		if (set)
			set(message_take);
	}
}

static bool is_xdp_socket(int fd)
{
	int domain = 0;
	socklen_t len = sizeof(domain);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_XDP;
}

static bool has(const struct xdp_sockets *list, int fd)
{
	for (unsigned i = 0; list && i < list->n; i++)
		if (list->fds[i] == fd)
			return true;
	return false;
}

void xdp_sockets_list(struct xdp_sockets *list, const struct xdp_sockets *but)
{
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *entry;

	list->n = 0;
	while (dir && (entry = readdir(dir)) != NULL && list->n < XDP_SOCKETS_MAX) {
		int fd = atoi(entry->d_name);

		if (is_xdp_socket(fd) && !has(but, fd))
			list->fds[list->n++] = fd;
	}
	if (dir)
		closedir(dir);
}

void xdp_sockets_close(struct xdp_sockets *list)
{
	for (unsigned i = 0; i < list->n; i++)
		if (is_xdp_socket(list->fds[i]))
			close(list->fds[i]);
	list->n = 0;
}
