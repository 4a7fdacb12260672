/* SPDX-License-Identifier: BSD-3-Clause */
/* Who may use the relay: whom it asks, and what counts when somebody does not answer. Relay,
 * control server, file and URL are the test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <tailplane/admission.h>
#include <tailplane/loop.h>
#include <tailplane/plugin.h>

#include "health.h"
#include "io_life.h"
#include "server.h"
#include "verify.h"
#include "verify_file.h"
#include "verify_url.h"

#define HOUR (3600ull * 1000000000)
#define MANY 20000
#define AT_ONCE 64 /* that may be asked of a URL at a time */

/* ---- what is around it --------------------------------------------------------------------- */

struct derp_question {
	unsigned answers;
	bool allowed;
};

struct call {
	const char *url;
	struct public_key key;
	void (*done)(void *arg, enum verdict verdict);
	void *arg;
};

static struct {
	bool with_control, control_allows, in_file, url_full;
	struct derp_client *clients;
	size_t n_clients, n_closed;
	struct public_key closed;
	struct call calls[MANY + 1];
	size_t n_calls, first_call;
	unsigned asked_control;
} world;

void derp_answer(struct derp_question *question, bool allowed)
{
	question->answers++;
	question->allowed = allowed;
}

void derp_server_close_key(const struct public_key *key)
{
	world.closed = *key;
	world.n_closed++;
}

void derp_server_clients(
	void (*done)(void *user, const struct derp_client *clients, size_t n), void *user)
{
	done(user, world.clients, world.n_clients);
}

bool health_is_key(const struct public_key *key)
{
	(void)key;
	return false;
}

void core_each_plugin(void (*fn)(void *arg, const char *name, const char *dir), void *arg)
{
	fn(arg, "derp", "/");
	if (world.with_control)
		fn(arg, "control", "/");
}

bool verify_file_has(const struct public_key *key)
{
	(void)key;
	return world.in_file;
}

void verify_file_start(const char *path, void (*gone)(const struct public_key *key))
{
	(void)path, (void)gone;
}

void verify_file_stop(void)
{
}

int verify_url_start(struct err *err)
{
	(void)err;
	return 0;
}

void verify_url_stop(void)
{
	world.first_call = world.n_calls = 0;
}

struct url_call *verify_url_ask(const char *url, const struct public_key *key,
	const struct net_addr *from, void (*done)(void *arg, enum verdict verdict), void *arg)
{
	(void)from;
	if (world.url_full)
		return NULL;
	assert_true(world.n_calls <= MANY);
	world.calls[world.n_calls++] = (struct call){url, *key, done, arg};
	return (struct url_call *)&world;
}

/* The oldest question to the URL. */
static struct call answer_url(enum verdict verdict)
{
	struct call call = world.calls[world.first_call++];

	assert_true(world.first_call <= world.n_calls);
	call.done(call.arg, verdict);
	return call;
}

static size_t open_calls(void)
{
	return world.n_calls - world.first_call;
}

static void ask_control(
	const uint8_t key[static 32], void (*answer)(void *arg, bool allowed), void *arg)
{
	(void)key;
	world.asked_control++;
	answer(arg, world.control_allows);
}

static const struct admission_ops control = {ask_control};
static char here[] = "https://one.test/verify", there[] = "https://other.test/verify";

static void provide(bool there_is_one)
{
	core_provide(ADMISSION_SERVICE, there_is_one ? &control : NULL);
}

static void begin(const struct derp_conf *conf, bool with_control)
{
	struct err err = {0};

	memset(&world, 0, sizeof(world));
	world.with_control = with_control;
	provide(with_control);
	assert_int_equal(verify_start(conf, &err), 0);
}

static void end(void)
{
	verify_stop();
	provide(false);
	free(world.clients);
	world.clients = NULL;
}

static struct public_key key_of(unsigned n)
{
	struct public_key key = {{1}};

	memcpy(key.bytes + 4, &n, sizeof(n));
	return key;
}

/* A client comes; the question waits for an answer, maybe. */
static void come(struct derp_question *question, unsigned n)
{
	const struct derp_admission *admission = verify_admission();
	struct public_key key = key_of(n);
	struct net_addr from = {.family = AF_INET, .bytes = {192, 0, 2, 1}};

	*question = (struct derp_question){0};
	admission->ask(admission->user, &key, &from, question);
	ev_run(core_loop(), EVRUN_NOWAIT);
}

static bool is_let_in(unsigned n, enum verdict url)
{
	struct derp_question question;

	come(&question, n);
	if (!question.answers)
		answer_url(url);
	assert_int_equal(question.answers, 1);
	return question.allowed;
}

static void connected(size_t n)
{
	world.clients = calloc(n, sizeof(*world.clients));
	assert_non_null(world.clients);
	world.n_clients = n;
	for (unsigned i = 0; i < n; i++) {
		world.clients[i].key = key_of(i);
		world.clients[i].active = true;
	}
}

/* ---- who is asked -------------------------------------------------------------------------- */

static void test_one_who_knows_is_enough(void **state)
{
	const struct derp_conf conf = {
		.verify_clients = true, .verify_client_url = here, .verify_grace = HOUR};

	(void)state;
	begin(&conf, true);
	world.control_allows = true;
	assert_true(is_let_in(1, VERDICT_NO));
	assert_int_equal(world.n_calls, 0);
	world.control_allows = false;
	assert_true(is_let_in(2, VERDICT_YES));
	assert_false(is_let_in(3, VERDICT_NO));
	world.in_file = true;
	assert_true(is_let_in(4, VERDICT_NO));
	end();
}

/* ---- when somebody does not answer --------------------------------------------------------- */

static void test_who_was_known_is_welcome_for_a_while(void **state)
{
	struct derp_conf conf = {
		.verify_clients = true, .verify_client_url = here, .verify_grace = HOUR};

	(void)state;
	begin(&conf, true);
	assert_true(is_let_in(1, VERDICT_YES));
	assert_true(is_let_in(1, VERDICT_NOBODY));
	world.url_full = true;
	assert_true(is_let_in(1, VERDICT_NO));
	assert_false(is_let_in(2, VERDICT_NO));
	world.url_full = false;
	world.control_allows = true;
	assert_true(is_let_in(3, VERDICT_NO));
	provide(false); /* it is being started again */
	assert_true(is_let_in(3, VERDICT_NO));
	assert_false(is_let_in(4, VERDICT_NO));
	conf.verify_grace = 0;
	assert_false(is_let_in(3, VERDICT_NO));
	end();
}

/* What the one who answers has said, or another, is nothing to go by. */
static void test_a_no_is_not_undone_by_another_who_is_silent(void **state)
{
	const struct derp_conf conf = {
		.verify_clients = true, .verify_client_url = here, .verify_grace = HOUR};
	struct public_key key = key_of(1);

	(void)state;
	begin(&conf, true);
	world.control_allows = true;
	assert_true(is_let_in(1, VERDICT_NO));
	world.control_allows = false; /* the node is deleted */
	verify_again(&key);
	answer_url(VERDICT_NOBODY);
	assert_int_equal(world.n_closed, 1);
	assert_memory_equal(&world.closed, &key, sizeof(key));
	assert_false(is_let_in(1, VERDICT_NOBODY));
	world.in_file = true;
	assert_true(is_let_in(2, VERDICT_NO));
	world.in_file = false; /* its line is taken out */
	assert_false(is_let_in(2, VERDICT_NOBODY));
	end();
}

static void test_fail_open_is_for_a_url_that_does_not_answer(void **state)
{
	const struct derp_conf conf = {.verify_clients = true,
		.verify_client_url = here,
		.verify_client_url_fail_open = true,
		.verify_grace = HOUR};

	(void)state;
	begin(&conf, true);
	assert_true(is_let_in(1, VERDICT_NOBODY));
	assert_false(is_let_in(1, VERDICT_NO));
	provide(false);
	assert_true(is_let_in(1, VERDICT_NOBODY));
	assert_false(is_let_in(1, VERDICT_NO));
	end();
}

/* ---- while it changes ---------------------------------------------------------------------- */

static void test_what_was_asked_by_old_settings_is_asked_anew(void **state)
{
	const struct derp_conf conf = {.verify_client_url = here, .verify_grace = HOUR},
			       next = {.verify_client_url = there, .verify_grace = HOUR};
	struct derp_question question;

	(void)state;
	begin(&conf, false);
	come(&question, 1);
	verify_apply(&next);
	assert_ptr_equal(answer_url(VERDICT_YES).url, here);
	assert_int_equal(question.answers, 0);
	assert_ptr_equal(answer_url(VERDICT_NO).url, there);
	assert_int_equal(question.answers, 1);
	assert_false(question.allowed);
	end();
}

static void test_who_waits_when_it_stops_is_refused(void **state)
{
	const struct derp_conf conf = {.verify_client_url = here, .verify_grace = HOUR};
	struct derp_question question;

	(void)state;
	begin(&conf, false);
	come(&question, 1);
	connected(1000);
	verify_apply(&conf);
	end();
	assert_int_equal(question.answers, 1);
	assert_false(question.allowed);
	come(&question, 2);
	assert_int_equal(question.answers, 1);
	assert_false(question.allowed);
}

/* ---- who is connected ---------------------------------------------------------------------- */

static void test_all_who_are_connected_are_asked_about(void **state)
{
	const struct derp_conf conf = {.verify_client_url = here, .verify_grace = HOUR};
	struct derp_question question;
	uint8_t *seen = calloc(MANY, 1);

	(void)state;
	assert_non_null(seen);
	begin(&conf, false);
	connected(MANY);
	verify_apply(&conf);
	assert_in_range(open_calls(), 1, AT_ONCE - 1);
	come(&question, MANY); /* who comes is asked about before them */
	assert_in_range(open_calls(), 1, AT_ONCE);
	for (unsigned i = 0; i < MANY + 1; i++) {
		struct call call = answer_url(i % 2 ? VERDICT_YES : VERDICT_NO);
		unsigned n;

		memcpy(&n, call.key.bytes + 4, sizeof(n));
		if (n < MANY)
			seen[n]++;
		assert_true(open_calls() < AT_ONCE);
		assert_true(i < AT_ONCE || question.answers == 1);
	}
	assert_int_equal(open_calls(), 0);
	assert_null(memchr(seen, 0, MANY));
	assert_in_range(world.n_closed, MANY / 2 - 1, MANY / 2 + 1);
	free(seen);
	end();
}

/* The control server's nodes too: it may have become another one, as a restore makes it. */
static void test_control_is_asked_again(void **state)
{
	const struct derp_conf conf = {
		.verify_clients = true, .verify_grace = HOUR, .verify_again = 1000000};

	(void)state;
	begin(&conf, true);
	world.control_allows = true;
	connected(MANY);
	while (world.asked_control < 2 * MANY)
		ev_run(core_loop(), EVRUN_ONCE);
	assert_int_equal(world.n_closed, 0);
	world.control_allows = false;
	while (!world.n_closed)
		ev_run(core_loop(), EVRUN_ONCE);
	assert_int_equal(world.n_closed, MANY);
	end();
}

static int world_setup(void **state)
{
	(void)state;
	io_init();
	io_start(1);
	return 0;
}

static int world_teardown(void **state)
{
	(void)state;
	io_stop();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_who_knows_is_enough),
		cmocka_unit_test(test_who_was_known_is_welcome_for_a_while),
		cmocka_unit_test(test_a_no_is_not_undone_by_another_who_is_silent),
		cmocka_unit_test(test_fail_open_is_for_a_url_that_does_not_answer),
		cmocka_unit_test(test_what_was_asked_by_old_settings_is_asked_anew),
		cmocka_unit_test(test_who_waits_when_it_stops_is_refused),
		cmocka_unit_test(test_all_who_are_connected_are_asked_about),
		cmocka_unit_test(test_control_is_asked_again),
	};

	return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
