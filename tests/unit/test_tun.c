/* SPDX-License-Identifier: BSD-3-Clause */
/* Queues of a TUN port, and what goes wrong with one. */
#include "tun_pair.h"

#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <libmnl/libmnl.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "ip_model.h"

static int kernel_says; /* instead of writing */

ssize_t __real_writev(int fd, const struct iovec *iov, int n);
ssize_t __wrap_writev(int fd, const struct iovec *iov, int n);
ssize_t __wrap_writev(int fd, const struct iovec *iov, int n)
{
	if (!kernel_says)
		return __real_writev(fd, iov, n);
	errno = kernel_says;
	return -1;
}

static void a_name_taken_is_told(void **state)
{
	struct err err = {0};
	char want[64];

	skip_if(no_namespaces(), "needs a network namespace (root)");
	namespace_use(A);
	assert_null(port_tun_open("tp0", 2, MTU, TUNNEL, &err));
	snprintf(want, sizeof(want), "(held by test_tun, process %d)", getpid());
	assert_non_null(strstr(err.msg, "interface tp0 exists already"));
	assert_non_null(strstr(err.msg, want));
	err = (struct err){0};
	assert_null(port_tun_open("lo", 1, MTU, TUNNEL, &err));
	assert_non_null(strstr(err.msg, "lo"));
}

/* Holds a TUN of that name in a network of its own until the pipe is closed. */
static pid_t holder_elsewhere(const char *name, const int until[2])
{
	struct ifreq ifr = {.ifr_flags = IFF_TUN | IFF_NO_PI};
	int ready[2];
	char c = 1;
	pid_t pid;

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		bool made = unshare(CLONE_NEWNET) == 0 &&
			    ioctl(open("/dev/net/tun", O_RDWR), TUNSETIFF, &ifr) == 0;

		close(until[1]);
		_exit(!made || write(ready[1], &c, 1) != 1 || read(until[0], &c, 1) != 0);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	return pid;
}

static void who_holds_another_networks_is_not_blamed(void **state)
{
	struct err err = {0};
	int until[2], status;
	pid_t pid;

	skip_if(no_namespaces(), "needs a network namespace (root)");
	namespace_use(A);
	assert_int_equal(system("ip tuntap add dev tp7 mode tun"), 0); /* nobody holds it */
	assert_int_equal(pipe2(until, O_CLOEXEC), 0);
	pid = holder_elsewhere("tp7", until);
	assert_null(port_tun_open("tp7", 1, MTU, TUNNEL, &err));
	close(until[0]);
	close(until[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(system("ip link del tp7"), 0);
	assert_non_null(strstr(err.msg, "interface tp7 exists already: choose another name"));
}

static void names_that_are_none_are_refused(void **state)
{
	static const char *const names[] = {"", "a-name-of-16-chrs", "a%d", "a/b", "a b"};

	skip_if(no_namespaces(), "needs a network namespace (root)");
	for (unsigned i = 0; i < RTE_DIM(names); i++) {
		struct err err = {0};

		assert_null(port_tun_open(names[i], 1, MTU, TUNNEL, &err));
		assert_true(*err.msg);
	}
}

static void datagram_make(struct rte_mbuf **m, uint16_t sport, uint16_t dport)
{
	static const uint8_t bytes[100];
	struct model_packet model = {.udp = true,
		.ttl = 64,
		.addresses = {10, 0, 0, 1, 10, 0, 0, 2},
		.sport = sport,
		.dport = dport,
		.payload = bytes,
		.payload_len = sizeof(bytes)};

	*m = rte_pktmbuf_alloc(worker.pool);
	rte_pktmbuf_append(*m, 128);
	assert_int_equal(model_write(&model, rte_pktmbuf_mtod(*m, uint8_t *)), 128);
}

static void several_queues_are_one_interface(void **state)
{
	struct err err = {0};
	struct port *p;

	skip_if(no_namespaces(), "needs a network namespace (root)");
	namespace_use(A);
	p = port_tun_open("tp1", 4, MTU, TUNNEL, &err);
	assert_non_null(p);
	assert_int_equal(p->n_queues, 4);
	assert_int_not_equal(if_nametoindex("tp1"), 0);
	p->ops->close(p);
	assert_int_equal(if_nametoindex("tp1"), 0);
}

/* Asks the kernel's socket at `fd`, whatever queue the question comes by, and checks which queue
 * the answer goes to. */
static void answer_goes_by_flow(struct port *p, int fd, uint16_t sport)
{
	union address from;
	socklen_t len = sizeof(from);
	char buf[200];
	uint32_t hash;
	bool kernels_own; /* multicast of a new interface */

	datagram_make(&pkts[0], sport, PORT);
	hash = flow_hash(rte_pktmbuf_mtod(pkts[0], uint8_t *), pkts[0]->data_len);
	assert_int_equal(p->ops->tx(&worker, &p->queues[0], pkts, 1), 1);
	assert_int_equal(recvfrom(fd, buf, sizeof(buf), 0, &from.sa, &len), 100);
	assert_int_equal(sendto(fd, buf, 100, 0, &from.sa, len), 100);
	do {
		assert_int_equal(queue_receive(&p->queues[hash % p->n_queues], pkts, 1), 1);
		kernels_own = *rte_pktmbuf_mtod(pkts[0], uint8_t *) >> 4 == 6;
		assert_true(kernels_own || packet_of(pkts[0])->tun_hash == hash);
		rte_pktmbuf_free(pkts[0]);
	} while (kernels_own);
}

static void flows_spread_over_queues(void **state)
{
	union address at = address_of(B, false, PORT);
	struct err err = {0};
	struct port *p;
	int fd;

	skip_if(no_namespaces(), "needs a network namespace (root)");
	assert_true(namespace_enter());
	p = port_tun_open("tp0", 3, MTU, TUNNEL, &err);
	assert_non_null(p);
	address_add("10.0.0.2/24");
	assert_int_equal(netlink_link_up("tp0", MTU, &err), 0);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	assert_int_equal(bind(fd, &at.sa, sizeof(at)), 0);
	for (uint16_t i = 0; i < 30; i++)
		answer_goes_by_flow(p, fd, 5000 + i);
	for (unsigned i = 0; i < 3; i++)
		assert_true(p->queues[i].counters.rx_packets > 0);
	close(fd);
	p->ops->close(p);
}

static void link_change(const char *ifname, uint16_t type, unsigned flags, unsigned mtu)
{
	char buf[256];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct mnl_socket *nl = mnl_socket_open(NETLINK_ROUTE);
	struct ifinfomsg *link;

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	link = mnl_nlmsg_put_extra_header(nlh, sizeof(*link));
	link->ifi_index = (int)if_nametoindex(ifname);
	link->ifi_flags = flags;
	link->ifi_change = type == RTM_NEWLINK ? IFF_UP : 0;
	if (mtu)
		mnl_attr_put_u32(nlh, IFLA_MTU, mtu);
	assert_int_equal(mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID), 0);
	assert_true(mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) > 0);
	assert_true(mnl_socket_recvfrom(nl, buf, sizeof(buf)) > 0);
	assert_int_equal(((struct nlmsgerr *)mnl_nlmsg_get_payload((void *)buf))->error, 0);
	mnl_socket_close(nl);
}

static void a_link_down_drops_by_name(void **state)
{
	uint64_t before = drops_of("tun_tx_down");

	skip_if(no_namespaces(), "needs a network namespace (root)");
	namespace_use(B);
	link_change("tp0", RTM_NEWLINK, 0, 0);
	for (unsigned i = 0; i < 3; i++)
		datagram_make(&pkts[i], 1, 2);
	assert_int_equal(ports[B]->ops->tx(&worker, queue(B), pkts, 3), 3);
	assert_int_equal(drops_of("tun_tx_down") - before, 3);
	assert_int_equal(queue(B)->counters.tx_dropped, 3);
	assert_int_equal(queue(B)->counters.tx_packets, 0);
}

static void a_deleted_interface_falls_silent(void **state)
{
	struct pollfd p = {.events = POLLIN};
	uint64_t before = drops_of("tun_tx_down");
	json_t *row;

	skip_if(no_namespaces(), "needs a network namespace (root)");
	row = json_object();
	namespace_use(B);
	link_change("tp0", RTM_DELLINK, 0, 0);
	p.fd = queue(B)->fd;
	assert_int_equal(poll(&p, 1, 0), 1); /* it would wake its worker for ever */
	assert_int_equal(ports[B]->ops->rx(&worker, queue(B), pkts, NODE_BURST_MAX), 0);
	assert_int_equal(poll(&p, 1, 0), 0);
	for (unsigned i = 0; i < 3; i++)
		datagram_make(&pkts[i], 1, 2);
	assert_int_equal(ports[B]->ops->tx(&worker, queue(B), pkts, 3), 3);
	assert_int_equal(drops_of("tun_tx_down") - before, 3);
	ports[B]->ops->describe(ports[B], row);
	assert_false(ports[B]->up);
	assert_string_equal(json_string_value(json_object_get(row, "state")), "down");
	json_decref(row);
}

static void too_big_is_dropped_by_name(void **state)
{
	static const uint8_t data[8000];
	uint64_t before = drops_of("tun_rx_too_big");
	union address to;
	int fd;

	skip_if(no_namespaces(), "needs a network namespace (root)");
	to = address_of(B, false, PORT);
	fd = socket_at(A, false, SOCK_DGRAM, 0);
	link_change("tp0", RTM_NEWLINK, IFF_UP, 9000);
	assert_int_equal(sendto(fd, data, sizeof(data), 0, &to.sa, sizeof(to)), sizeof(data));
	assert_int_equal(sendto(fd, data, 10, 0, &to.sa, sizeof(to)), 10);
	/* the kernel's router solicitations may be among them */
	while (drops_of("tun_rx_too_big") == before || pkts[0]->data_len != 38) {
		assert_int_equal(queue_receive(queue(A), pkts, 1), 1);
		rte_pktmbuf_free(pkts[0]);
	}
	assert_int_equal(drops_of("tun_rx_too_big") - before, 1);
	assert_int_equal(queue(A)->counters.rx_dropped, 1);
	close(fd);
}

static void nonsense_is_refused_by_name(void **state)
{
	uint64_t before = drops_of("tun_tx_refused");

	skip_if(no_namespaces(), "needs a network namespace (root)");
	datagram_make(&pkts[0], 1, 2);
	rte_pktmbuf_mtod(pkts[0], uint8_t *)[0] = 0x95;
	assert_int_equal(ports[B]->ops->tx(&worker, queue(B), pkts, 1), 1);
	assert_int_equal(drops_of("tun_tx_refused") - before, 1);
}

/* A group that the kernel joined is as many packets. */
static void a_full_queue_drops_by_name(void **state)
{
	static const int full[] = {EAGAIN, ENOBUFS, ENOMEM};

	(void)state;
	skip_if(no_namespaces(), "needs a network namespace (root)");
	for (unsigned k = 0; k < RTE_DIM(full); k++) {
		uint64_t before = drops_of("tun_queue_full"), lost = queue(B)->counters.tx_dropped;

		for (unsigned i = 0; i < 5; i++)
			datagram_make(&pkts[i], 1, 2);
		kernel_says = full[k];
		assert_int_equal(ports[B]->ops->tx(&worker, queue(B), pkts, 5), 5);
		kernel_says = 0;
		assert_int_equal(drops_of("tun_queue_full") - before, 5);
		assert_int_equal(queue(B)->counters.tx_dropped - lost, 5);
	}
}

static void pieces_that_fit_no_buffer_drop_by_name(void **state)
{
	uint64_t before = drops_of("tun_tx_chained");

	(void)state;
	skip_if(no_namespaces(), "needs a network namespace (root)");
	for (unsigned i = 0; i < 2; i++) {
		pkts[i] = rte_pktmbuf_alloc(worker.pool);
		rte_pktmbuf_append(pkts[i], ROOM);
	}
	assert_int_equal(rte_pktmbuf_chain(pkts[0], pkts[1]), 0);
	assert_int_equal(ports[B]->ops->tx(&worker, queue(B), pkts, 1), 1);
	assert_int_equal(drops_of("tun_tx_chained") - before, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BETWEEN(a_name_taken_is_told),
		BETWEEN(who_holds_another_networks_is_not_blamed),
		BETWEEN(several_queues_are_one_interface),
		BETWEEN(flows_spread_over_queues),
		BETWEEN(a_link_down_drops_by_name),
		BETWEEN(a_deleted_interface_falls_silent),
		BETWEEN(too_big_is_dropped_by_name),
		BETWEEN(nonsense_is_refused_by_name),
		BETWEEN(a_full_queue_drops_by_name),
		BETWEEN(pieces_that_fit_no_buffer_drop_by_name),
		cmocka_unit_test(names_that_are_none_are_refused),
	};

	pair_begin();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
