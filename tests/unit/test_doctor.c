/* SPDX-License-Identifier: BSD-3-Clause */
/* What the doctor makes of what it found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "verdict.h"

#define NOW 1700000000

static struct net_addr addr(const char *text)
{
	struct net_addr parsed;

	assert_int_equal(net_addr_parse(&parsed, text), 0);
	return parsed;
}

/* A server on a public address of its own, all well as far as it can know. */
static struct doctor_facts healthy(void)
{
	return (struct doctor_facts){
		.server_url = "https://vpn.example.com",
		.host = "vpn.example.com",
		.https = true,
		.port = 443,
		.listener = {443, true},
		.now = NOW,
		.clock_disciplined = true,
		.clock_compared = true,
		.addrs = {addr("203.0.113.5")},
		.n_addrs = 1,
		.own = {addr("127.0.0.1"), addr("203.0.113.5")},
		.n_own = 2,
		.public_addr = addr("203.0.113.5"),
		.self = {.answer = ANSWER_OURS, .status = 200, .at = addr("203.0.113.5")},
		.request_is_secure = true,
		.plain = {.answer = ANSWER_STRANGER, .status = 308},
		.certificate_ends = NOW + 60 * 86400,
		.client = addr("198.51.100.7"),
		.regions = 1,
		.relays_asked = 1,
		.relays_answered = 1,
	};
}

static const char *const names[] = {"ok", "warning", "failed"};

/* All are fine but that one, which says both words. */
static void only(const struct doctor_facts *facts, const char *check, enum finding_state state,
	const char *found, const char *advice)
{
	struct finding findings[FINDINGS_MAX];
	size_t n = doctor_judge(facts, findings);
	bool seen = false;

	for (size_t i = 0; i < n; i++) {
		bool this = !strcmp(findings[i].check, check);
		enum finding_state wanted = this ? state : FINDING_OK;

		seen |= this;
		if (findings[i].state != wanted)
			fail_msg("%s is %s: %s", findings[i].check, names[findings[i].state],
				findings[i].found);
		if (this &&
			(!strstr(findings[i].found, found) || !strstr(findings[i].advice, advice)))
			fail_msg("%s: %s; %s", check, findings[i].found, findings[i].advice);
		if (findings[i].state == FINDING_FAILED || findings[i].state == FINDING_WARNING)
			assert_true(strlen(findings[i].advice) > 10);
	}
	assert_true(seen);
}

static void all_well(void **state)
{
	struct doctor_facts f = healthy();

	(void)state;
	only(&f, "from outside", FINDING_OK, "a client at 198.51.100.7", "");
	only(&f, "relays", FINDING_OK, "1 region; 1 of 1 that were asked answer", "");
	f.regions = 2;
	only(&f, "relays", FINDING_OK, "2 regions; 1 of 1", "");
	f.relays_problem = "https://a.test: refused";
	only(&f, "relays", FINDING_WARNING,
		"1 of 1 that were asked answer; https://a.test: refused", "Correct what is named");
	f.relays_problem = NULL;
	f.clock_disciplined = false;
	only(&f, "clock", FINDING_OK, "agrees with the relays' clocks; no time service", "");
	f.listener.tls = false;
	f.listener.port = 8080;
	only(&f, "server_url", FINDING_OK, "behind a proxy", "");
}

static void clocks(void **state)
{
	struct doctor_facts f = healthy();

	(void)state;
	f.clock_ahead = -5;
	only(&f, "clock", FINDING_OK, "agrees", "");
	f.clock_ahead = -6;
	only(&f, "clock", FINDING_WARNING, "6 s behind", "timedatectl");
	f.clock_ahead = 61;
	only(&f, "clock", FINDING_FAILED, "61 s ahead", "timedatectl");
	f.clock_compared = f.clock_disciplined = false;
	only(&f, "clock", FINDING_WARNING, "nothing to compare", "timedatectl");
}

static void the_server_itself(void **state)
{
	struct doctor_facts f = healthy();

	(void)state;
	f.store_problem = "the disk is full";
	only(&f, "store", FINDING_FAILED, "the disk is full", "Nothing new");
	f = healthy();
	f.https = false;
	f.certificate_ends = 0;
	f.listener.tls = false;
	only(&f, "TLS", FINDING_WARNING, "not used", "core.http.tls_cert_path");
	f = healthy();
	f.self.answer = ANSWER_STRANGER;
	f.self.status = 404;
	only(&f, "server_url", FINDING_FAILED, "something else answers", "upgrades");
	f.self.answer = ANSWER_NONE;
	strcpy(f.self.why, "Connection refused");
	only(&f, "server_url", FINDING_FAILED, "Connection refused", "no firewall on this machine");
	f.listener.port = 8443;
	only(&f, "server_url", FINDING_FAILED, "Connection refused", "says port 443");
	f.self.answer = ANSWER_LATE;
	only(&f, "server_url", FINDING_FAILED, "no answer in time", "firewall");
	f = healthy();
	f.listener.tls = f.request_is_secure = false;
	only(&f, "server_url", FINDING_WARNING, "behind a proxy that it does not believe",
		"trusted_proxies");
}

static void certificates(void **state)
{
	struct doctor_facts f = healthy();

	(void)state;
	f.certificate_ends = NOW + 13 * 86400;
	only(&f, "TLS", FINDING_WARNING, "13 more days", "Renew");
	f.certificate_ends = NOW - 86400;
	f.distrusted = true;
	only(&f, "TLS", FINDING_FAILED, "expired 1 days ago", "Renew");
	f.certificate_ends = NOW + 90 * 86400;
	strcpy(f.self.why, "self-signed certificate");
	only(&f, "TLS", FINDING_FAILED, "self-signed", "authority");
	f = healthy();
	f.certificates_problem = "cannot read the private key";
	only(&f, "TLS", FINDING_WARNING, "not taken: cannot read the private key",
		"before is served");
	f = healthy();
	f.plain.answer = ANSWER_NONE;
	strcpy(f.plain.why, "Connection refused");
	only(&f, "port 80", FINDING_WARNING, "refused", "plain_listen_addr");
}

static void names_and_outside(void **state)
{
	struct doctor_facts f = healthy();

	(void)state;
	f.client.family = 0;
	only(&f, "from outside", FINDING_WARNING, "this machine's own", "TCP 443 and 80");
	f.relay.tcp = 443;
	f.relay.stun = 3478;
	only(&f, "from outside", FINDING_WARNING, "this machine's own",
		"Let TCP 443 and 80 and, for the relay, UDP 3478, through");
	f.relay.tcp = 8443;
	only(&f, "from outside", FINDING_WARNING, "this machine's own",
		"for the relay, TCP 8443 and UDP 3478, through");
	f.client = addr("203.0.113.5"); /* itself */
	only(&f, "from outside", FINDING_WARNING, "this machine's own", "firewall");
	f.client = addr("10.0.0.9");
	f.own[1] = addr("10.0.0.2"); /* behind a router that has the address */
	only(&f, "from outside", FINDING_WARNING, "from inside this network", "forward TCP 443");
	f.public_addr = addr("192.0.2.1");
	only(&f, "from outside", FINDING_OK, "another network's, and leads here", "");
	f.addrs[0] = f.self.at = addr("10.0.0.2");
	only(&f, "from outside", FINDING_WARNING, "private networks; clients inside reach it",
		"public name of 192.0.2.1");
}

static void nothing_works(void **state)
{
	struct doctor_facts f = healthy();
	struct finding findings[FINDINGS_MAX];

	(void)state;
	f.name_problem = "Name or service not known";
	f.n_addrs = 0;
	f.client.family = 0;
	f.self.answer = f.plain.answer = ANSWER_NONE;
	f.certificate_ends = 0;
	f.regions = 0;
	f.listener.port = 0;
	f.store_problem = "it is locked";
	f.clock_ahead = 1000000000;
	assert_int_equal(doctor_judge(&f, findings), FINDINGS_MAX);
	for (size_t i = 0; i < FINDINGS_MAX; i++) {
		assert_int_not_equal(findings[i].state, FINDING_OK);
		assert_true(strlen(findings[i].advice) > 10 || i == 7 || i == 5);
	}
}

static void loopback_is_nobody_elses(void **state)
{
	struct doctor_facts f = healthy();
	struct finding findings[FINDINGS_MAX];

	(void)state;
	f.addrs[0] = addr("127.0.1.1");
	f.client.family = 0;
	doctor_judge(&f, findings);
	assert_int_equal(findings[3].state, FINDING_FAILED);
	assert_non_null(strstr(findings[3].advice, "control.server_url"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_well),
		cmocka_unit_test(clocks),
		cmocka_unit_test(the_server_itself),
		cmocka_unit_test(certificates),
		cmocka_unit_test(names_and_outside),
		cmocka_unit_test(nothing_works),
		cmocka_unit_test(loopback_is_nobody_elses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
