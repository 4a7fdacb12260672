/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What plugins of a process give to themselves in the next one: a descriptor and its name in each
 * datagram, and one without a descriptor behind the last. Control loop.
 */
#include "handover_life.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <tailplane/handover.h>
#include <tailplane/log.h>
#include <tailplane/loop.h>

#define NAME_MAX_LEN 32
#define EXPECTED_MAX 16
#define PATIENCE_MS 10000

static int successor = -1; /* while hand_over hooks run */
static struct expected {
	const char *name; /* NULL: free */
	void (*take)(int fd);
} expected[EXPECTED_MAX];

union ancillary {
	struct cmsghdr header;
	char room[CMSG_SPACE(sizeof(int))];
};

/* ---- giving ---- */

static int send_one(const char *name, int fd)
{
	union ancillary ancillary = {{0}};
	struct iovec text = {(void *)name, strlen(name)};
	struct msghdr msg = {.msg_iov = &text, .msg_iovlen = 1};

	if (fd >= 0) {
		msg.msg_control = &ancillary;
		msg.msg_controllen = sizeof(ancillary);
		ancillary.header.cmsg_level = SOL_SOCKET;
		ancillary.header.cmsg_type = SCM_RIGHTS;
		ancillary.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&ancillary.header), &fd, sizeof(fd));
	}
	return sendmsg(successor, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

void handover_begin(int fd)
{
	successor = fd;
}

int handover_give(const char *name, int fd)
{
	return successor < 0 ? -ENOTCONN : send_one(name, fd);
}

static bool write_all(int fd, const uint8_t *bytes, size_t len)
{
	for (size_t at = 0; at < len;) {
		ssize_t n = write(fd, bytes + at, len - at);

		if (n <= 0)
			return false;
		at += (size_t)n;
	}
	return true;
}

int handover_give_bytes(const char *name, const void *bytes, size_t len)
{
	int fd = memfd_create(name, MFD_CLOEXEC), rc;

	if (fd < 0)
		return -errno;
	rc = write_all(fd, bytes, len) ? handover_give(name, fd) : -EIO;
	close(fd);
	return rc;
}

void handover_end(void)
{
	int rc = send_one("end", -1);

	if (rc)
		log_warnx("the new process does not listen: %s", strerror(-rc));
	successor = -1;
}

/* ---- taking ---- */

/* The place of a name; one that is free: NULL. */
static struct expected *place_of(const char *name)
{
	for (int i = 0; i < EXPECTED_MAX; i++) {
		const char *own = expected[i].name;

		if (own == name || (own && name && !strcmp(own, name)))
			return &expected[i];
	}
	return NULL;
}

void handover_expect(const char *name, void (*take)(int fd))
{
	struct expected *at = place_of(name);

	if (!at)
		at = place_of(NULL);
	if (!at)
		fatalx("more than %d things are expected of a process before", EXPECTED_MAX);
	*at = (struct expected){take ? name : NULL, take};
}

void *handover_take_bytes(int fd, size_t max, size_t *len)
{
	struct stat st;
	void *bytes = NULL;

	if (fstat(fd, &st) == 0 && st.st_size > 0 && (size_t)st.st_size <= max)
		bytes = malloc((size_t)st.st_size);
	if (bytes && pread(fd, bytes, (size_t)st.st_size, 0) != st.st_size) {
		free(bytes);
		bytes = NULL;
	}
	if (bytes)
		*len = (size_t)st.st_size;
	close(fd);
	return bytes;
}

static void dispatch(const char *name, int fd)
{
	struct expected *at = place_of(name);

	if (at)
		at->take(fd);
	else
		close(fd);
}

/* False: there is no more. */
static bool take_one(int from)
{
	char name[NAME_MAX_LEN] = "";
	union ancillary ancillary = {{0}};
	struct iovec text = {name, sizeof(name) - 1};
	struct msghdr msg = {.msg_iov = &text,
		.msg_iovlen = 1,
		.msg_control = &ancillary,
		.msg_controllen = sizeof(ancillary)};
	int fd;

	if (recvmsg(from, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) <= 0)
		return false;
	if (msg.msg_controllen < CMSG_LEN(sizeof(int)) || ancillary.header.cmsg_type != SCM_RIGHTS)
		return false;
	memcpy(&fd, CMSG_DATA(&ancillary.header), sizeof(fd));
	dispatch(name, fd);
	return true;
}

void handover_await(int from)
{
	uint64_t until = core_now() + PATIENCE_MS * 1000000ull, now;
	struct pollfd wait = {.fd = from, .events = POLLIN};

	while ((now = core_now()) < until) {
		int rc = poll(&wait, 1, (int)((until - now) / 1000000 + 1));

		if (rc > 0 && !take_one(from))
			return;
		if (rc < 0 && errno != EINTR)
			return;
	}
	log_warnx("the process before does not say what it leaves");
}
