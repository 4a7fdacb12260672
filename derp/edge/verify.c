/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Control loop, but for the server's question, which comes from I/O loops. Where anybody is let in,
 * they answer it there.
 *
 * Who has let a key in is remembered: only while he himself does not answer counts what he said. A
 * no of the control server is a no, though a URL is asked then that may be out of reach.
 */
#include "verify.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tailplane/admission.h>
#include <tailplane/handover.h>
#include <tailplane/io.h>
#include <tailplane/log.h>
#include <tailplane/loop.h>
#include <tailplane/plugin.h>

#include "grace.h"
#include "health.h"
#include "server.h"
#include "verify_file.h"
#include "verify_url.h"

/* Who knows keys, and may be out of reach; a file is always here. */
enum source { CONTROL, URL, SOURCES };

/* One question, of a client that waits or about one that is connected. Made on an I/O loop, of the
 * control loop from its message on. */
struct question {
	struct io_message message;
	struct question *next, **prev;
	struct derp_question *client; /* NULL: about one that is connected */
	struct public_key key;
	struct net_addr from;
	unsigned settings; /* it is asked by */
	bool unheard[SOURCES], of_round;
};

/*
 * All who are connected are asked about some at a time: they may be more than can wait, and who
 * comes is not to stand behind them.
 */
#define ROUND_AT_ONCE 48

struct member {
	struct public_key key;
	struct net_addr from;
};

enum outcome { ADMITTED, DENIED, BY_GRACE, UNHEARD, OUTCOMES };

static struct {
	const struct derp_conf *conf;
	unsigned settings; /* counts up when they change */
	struct grace *grace[SOURCES];
	struct question *open;
	struct {
		struct member *members;
		size_t n, next;
		unsigned open;
		bool turns;
	} round;
	bool with_control; /* plugin control is loaded */
	ev_timer again;
	_Atomic uint64_t outcomes[OUTCOMES]; /* counted by whoever decides */
} verify;
/* Written by the control loop, read by I/O loops. */
static _Atomic bool stopping, open_to_all;

/* ---- answers ------------------------------------------------------------------------------- */

static void round_turn(void);

static void answer(struct question *q, bool allowed)
{
	bool of_round = q->of_round;

	*q->prev = q->next;
	if (q->next)
		q->next->prev = q->prev;
	if (q->client)
		derp_answer(q->client, allowed);
	else if (!allowed)
		derp_server_close_key(&q->key);
	free(q);
	if (!of_round)
		return;
	verify.round.open--;
	round_turn();
}

static void count(enum outcome outcome)
{
	atomic_fetch_add_explicit(&verify.outcomes[outcome], 1, memory_order_relaxed);
}

static void decide(struct question *q, enum outcome outcome)
{
	count(outcome);
	answer(q, outcome == ADMITTED || outcome == BY_GRACE);
}

static void settle_known(struct question *q, enum source by)
{
	grace_remember(verify.grace[by], &q->key, core_now());
	decide(q, ADMITTED);
}

/* Nobody who answered knows it. */
static void settle_unknown(struct question *q)
{
	bool unheard = false, grace = false;

	for (enum source s = 0; s < SOURCES; s++) {
		unheard |= q->unheard[s];
		grace |= q->unheard[s] &&
			 grace_has(verify.grace[s], &q->key, core_now(), verify.conf->verify_grace);
	}
	grace |= q->unheard[URL] && verify.conf->verify_client_url_fail_open;
	decide(q, grace ? BY_GRACE : unheard ? UNHEARD : DENIED);
}

/* ---- who is asked, one after the other ----------------------------------------------------- */

static void ask_all(struct question *q);

/* True: by settings that are no more, so what was said is nothing, and it is asked anew. */
static bool is_stale(struct question *q)
{
	if (q->settings == verify.settings)
		return false;
	ask_all(q);
	return true;
}

static void url_answered(void *arg, enum verdict verdict)
{
	struct question *q = arg;

	if (is_stale(q))
		return;
	q->unheard[URL] = verdict == VERDICT_NOBODY;
	if (verdict == VERDICT_NO)
		grace_forget(verify.grace[URL], &q->key);
	if (verdict == VERDICT_YES)
		settle_known(q, URL);
	else
		settle_unknown(q);
}

static void ask_url(struct question *q)
{
	const char *url = verify.conf->verify_client_url;

	if (url && verify_url_ask(url, &q->key, &q->from, url_answered, q))
		return;
	q->unheard[URL] = url != NULL;
	settle_unknown(q);
}

static void control_answered(void *arg, bool allowed)
{
	struct question *q = arg;

	if (is_stale(q))
		return;
	if (allowed) {
		settle_known(q, CONTROL);
		return;
	}
	grace_forget(verify.grace[CONTROL], &q->key);
	ask_url(q);
}

static bool asks_control(void)
{
	return verify.conf->verify_clients && verify.with_control;
}

static bool anybody(void)
{
	return !asks_control() && !verify.conf->verify_client_url &&
	       !verify.conf->verify_client_file;
}

static void ask_all(struct question *q)
{
	const struct admission_ops *control = core_service(ADMISSION_SERVICE);

	q->settings = verify.settings;
	memset(q->unheard, 0, sizeof(q->unheard));
	if (anybody() || health_is_key(&q->key) || verify_file_has(&q->key)) {
		decide(q, ADMITTED);
	} else if (!asks_control()) {
		ask_url(q);
	} else if (control) {
		control->ask(q->key.bytes, control_answered, q);
	} else {
		q->unheard[CONTROL] = true; /* it is being started or stopped */
		ask_url(q);
	}
}

/* ---- questions ----------------------------------------------------------------------------- */

static void open_question(struct question *q)
{
	q->next = verify.open;
	q->prev = &verify.open;
	if (q->next)
		q->next->prev = &q->next;
	verify.open = q;
}

static void arrived(struct io_message *message)
{
	struct question *q = (struct question *)message;

	open_question(q);
	if (atomic_load_explicit(&stopping, memory_order_relaxed))
		answer(q, false);
	else
		ask_all(q);
}

/* On the client's I/O loop. */
static void ask(void *user, const struct public_key *client, const struct net_addr *from,
	struct derp_question *question)
{
	/* relaxed: what was posted before the flag is seen is answered by its message */
	bool closed = atomic_load_explicit(&stopping, memory_order_relaxed);
	bool open = !closed && atomic_load_explicit(&open_to_all, memory_order_relaxed);
	struct question *q = closed || open ? NULL : calloc(1, sizeof(*q));

	(void)user;
	if (open)
		count(ADMITTED);
	if (!q) {
		derp_answer(question, open);
		return;
	}
	q->client = question;
	q->key = *client;
	q->from = *from;
	q->message.run = arrived;
	io_post(io_loop_control(), &q->message);
}

const struct derp_admission *verify_admission(void)
{
	static const struct derp_admission admission = {.ask = ask};

	return &admission;
}

/* ---- clients that are connected ------------------------------------------------------------ */

/* Without memory for the question it is a no: who is known comes back. */
static void ask_again(const struct member *member, bool of_round)
{
	struct question *q = calloc(1, sizeof(*q));

	if (!q) {
		derp_server_close_key(&member->key);
		return;
	}
	q->key = member->key;
	q->from = member->from;
	q->of_round = of_round;
	verify.round.open += of_round;
	open_question(q);
	ask_all(q);
}

void verify_again(const struct public_key *key)
{
	struct member member = {.key = *key};

	if (verify.conf && !anybody())
		ask_again(&member, false);
}

static void round_drop(void)
{
	free(verify.round.members);
	verify.round.members = NULL;
	verify.round.n = verify.round.next = 0;
}

/* Questions that are answered at once come back here, and find that it turns. */
static void round_turn(void)
{
	if (verify.round.turns)
		return;
	verify.round.turns = true;
	while (verify.round.next < verify.round.n && verify.round.open < ROUND_AT_ONCE)
		ask_again(&verify.round.members[verify.round.next++], true);
	verify.round.turns = false;
	if (verify.round.next == verify.round.n)
		round_drop();
}

static void round_begin(void *user, const struct derp_client *clients, size_t n)
{
	(void)user;
	if (atomic_load_explicit(&stopping, memory_order_relaxed))
		return;
	round_drop();
	verify.round.members = malloc((n + 1) * sizeof(*verify.round.members));
	if (!verify.round.members)
		abort();
	for (size_t i = 0; i < n; i++)
		if (!clients[i].mesh && clients[i].active)
			verify.round.members[verify.round.n++] =
				(struct member){clients[i].key, clients[i].from.addr};
	round_turn();
}

LOOP_CALLBACK(derp_verify_again, ev_timer)
{
	(void)loop, (void)watcher, (void)revents;
	if (!verify.round.members)
		derp_server_clients(round_begin, NULL);
}

/* ---- from process to process ---------------------------------------------------------------- */

#define GRACE "derp.grace"

static void take_grace(int fd)
{
	size_t len = 0;
	void *bytes = handover_take_bytes(fd, GRACE_BYTES_MAX, &len);

	if (!bytes || grace_unpack(verify.grace[URL], bytes, len, core_now()) != 0)
		log_warnx(
			"relay: whom the process before knew is not in a form that this one reads");
	free(bytes);
}

/* No process that has the control server hands over: what it said need not go on. */
void verify_hand_over(void)
{
	size_t len = 0;
	void *bytes = grace_pack(verify.grace[URL], &len);
	int rc = bytes ? handover_give_bytes(GRACE, bytes, len) : -ENOMEM;

	if (rc)
		log_warnx("relay: whom we know the new process has to ask for: %s", strerror(-rc));
	free(bytes);
}

/* ---- life ---------------------------------------------------------------------------------- */

static void note_plugin(void *arg, const char *name, const char *dir)
{
	(void)dir;
	if (!strcmp(name, "control"))
		*(bool *)arg = true;
}

static void configure(const struct derp_conf *conf)
{
	double every = (double)conf->verify_again * 1e-9;

	verify.conf = conf;
	verify.settings++;
	verify.with_control = false;
	core_each_plugin(note_plugin, &verify.with_control);
	atomic_store_explicit(&open_to_all, anybody(), memory_order_relaxed);
	if (conf->verify_client_file)
		verify_file_start(conf->verify_client_file, verify_again);
	else
		verify_file_stop();
	if ((conf->verify_client_url || asks_control()) && conf->verify_again) {
		ev_timer_set(&verify.again, every, every);
		ev_timer_start(core_loop(), &verify.again);
	}
	if (anybody())
		log_warnx("relay: anybody may use it: set derp.verify_client_url, or "
			  "derp.verify_client_file");
}

int verify_start(const struct derp_conf *conf, struct err *err)
{
	int rc = verify_url_start(err);

	if (rc)
		return rc;
	for (enum source s = 0; s < SOURCES; s++) {
		verify.grace[s] = grace_new();
		if (!verify.grace[s])
			abort();
	}
	atomic_store_explicit(&stopping, false, memory_order_relaxed);
	ev_timer_init(&verify.again, derp_verify_again, 0., 0.);
	handover_expect(GRACE, take_grace);
	configure(conf);
	return 0;
}

void verify_apply(const struct derp_conf *conf)
{
	ev_timer_stop(core_loop(), &verify.again);
	configure(conf);
	derp_server_clients(round_begin, NULL);
}

void verify_stop(void)
{
	atomic_store_explicit(&stopping, true, memory_order_relaxed);
	handover_expect(GRACE, NULL);
	io_flush();
	ev_timer_stop(core_loop(), &verify.again);
	verify_url_stop();
	verify_file_stop();
	round_drop();
	while (verify.open)
		answer(verify.open, false);
	for (enum source s = 0; s < SOURCES; s++)
		grace_free(verify.grace[s]);
	memset(&verify, 0, sizeof(verify));
}

/* ---- figures ------------------------------------------------------------------------------- */

void verify_describe(char *text, size_t size)
{
	const struct derp_conf *conf = verify.conf;
	bool control = asks_control();

	if (anybody())
		snprintf(text, size, "anybody");
	else
		snprintf(text, size, "%s%s%s%s%s", control ? "control" : "",
			control && conf->verify_client_file ? ", " : "",
			conf->verify_client_file ? "file" : "",
			(control || conf->verify_client_file) && conf->verify_client_url ? ", "
											 : "",
			conf->verify_client_url ? "url" : "");
}

void verify_collect(struct metric_sink *sink)
{
	static const struct metric metric = {"tailplane_derp_admissions_total", METRIC_COUNTER,
		"Clients that asked to be let in, by what was decided: \"grace\" are those let in "
		"because they were known lately, \"unheard\" those refused because nobody "
		"answered."};
	static const char *const names[OUTCOMES] = {"admitted", "denied", "grace", "unheard"};

	for (unsigned i = 0; i < OUTCOMES; i++) {
		struct metric_label label = {"outcome", names[i]};

		metric_add(sink, &metric, &label, 1,
			(double)atomic_load_explicit(&verify.outcomes[i], memory_order_relaxed));
	}
}
