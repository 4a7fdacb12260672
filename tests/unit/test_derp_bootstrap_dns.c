/* SPDX-License-Identifier: BSD-3-Clause */
/* What /bootstrap-dns knows, and how looking up names ends. The resolver and the pool of jobs are
 * the test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <netdb.h>
#include <tailplane/jobs.h>
#include <tailplane/loop.h>

#include "bootstrap_dns.h"

static struct {
	struct job *job; /* that runs when it is drained */
	unsigned look_ups;
	bool fails;
} world;

void job_submit(struct job *job)
{
	assert_null(world.job);
	world.job = job;
}

void jobs_drain(void)
{
	struct job *job = world.job;

	world.job = NULL;
	if (!job)
		return;
	job->run(job);
	job->done(job);
}

int getaddrinfo(const char *restrict name, const char *restrict service,
	const struct addrinfo *restrict hints, struct addrinfo **restrict found)
{
	static struct sockaddr_in at = {.sin_family = AF_INET};
	static struct addrinfo one = {
		.ai_family = AF_INET, .ai_addrlen = sizeof(at), .ai_addr = (struct sockaddr *)&at};

	(void)service, (void)hints;
	world.look_ups++;
	at.sin_addr.s_addr = htonl(0xc0000200u + (uint32_t)strlen(name));
	*found = &one;
	return world.fails ? EAI_AGAIN : 0;
}

void freeaddrinfo(struct addrinfo *found)
{
	(void)found;
}

static char a[] = "a", b[] = "bb", c[] = "ccc", *names[] = {a, b, c};

static struct derp_conf conf_of(size_t n)
{
	return (struct derp_conf){.bootstrap_dns_names = {names, n}};
}

/* Whether anything is still to come. */
static bool turn(void)
{
	return ev_run(core_loop(), EVRUN_NOWAIT);
}

static void assert_known(const char *name, const char *json)
{
	char *text = bootstrap_dns_json(name);

	assert_string_equal(text, json);
	free(text);
}

static void test_names(void **state)
{
	struct derp_conf conf = conf_of(2), fewer = conf_of(1);

	(void)state;
	memset(&world, 0, sizeof(world));
	bootstrap_dns_start(&conf);
	assert_known(NULL, "{}");
	turn();
	jobs_drain();
	assert_known(NULL, "{\"a\":[\"192.0.2.1\"],\"bb\":[\"192.0.2.2\"]}");
	assert_known("bb", "{\"bb\":[\"192.0.2.2\"]}");
	assert_known("ccc", "{}");
	world.fails = true; /* what is known stays */
	bootstrap_dns_apply(&fewer);
	assert_known(NULL, "{\"a\":[\"192.0.2.1\"]}");
	turn();
	jobs_drain();
	assert_known(NULL, "{\"a\":[\"192.0.2.1\"]}");
	bootstrap_dns_stop();
	assert_false(turn());
}

/* A resolver that does not answer takes long for each name, and nobody waits for it any more. */
static void test_it_stops_while_names_are_looked_up(void **state)
{
	struct derp_conf conf = conf_of(3);

	(void)state;
	memset(&world, 0, sizeof(world));
	bootstrap_dns_start(&conf);
	turn();
	assert_non_null(world.job);
	bootstrap_dns_stop();
	assert_null(world.job);
	assert_int_equal(world.look_ups, 0);
	assert_false(turn());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_it_stops_while_names_are_looked_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
