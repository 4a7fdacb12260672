/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The timers in scenarios: what happens when, and which actions must come at which second. Time is
 * simulated. Facts of the data path reach the timers only when they are run: each scenario plays
 * with word of the first fact alone, and at several polling periods, with the same actions.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "wg_timers.h"

#define START (1000 * NS_PER_SEC)
#define MS 1000000ULL

enum event {
	END, /* of the scenario */
	/* the data path's: facts only */
	DATA_OUT,
	DATA_IN,
	KEEPALIVE_IN,
	/* control's: the timers are told */
	WANT,
	RESPONSE_OUT,
	RESPONSE_IN,
	CONFIRMED,
	PERSIST_25,
	PERSIST_OFF,
	STOP,
};

struct step {
	uint64_t at; /* ms */
	enum event event;
};

#define STEPS_MAX 8

struct scenario {
	const char *name;
	struct step steps[STEPS_MAX];
	/* I: initiation, K: keep-alive, Z: zero keys, G: give up; each after its second */
	const char *actions;
	bool keepalives_lost; /* asked for, but never sent */
};

static const struct scenario scenarios[] = {
	{"nobody answers: every 5 s for 90 s, then the staged packets go, and the keys after 540 s",
		{{0, WANT}, {2000000, END}},
		"0I 5I 10I 15I 20I 25I 30I 35I 40I 45I 50I 55I 60I 65I 70I 75I 80I 85I 90G 630Z"},
	{"an answer ends it", {{0, WANT}, {100, RESPONSE_IN}, {2000000, END}}, "0I 540.1Z"},
	{"an answer to the third", {{0, WANT}, {10200, RESPONSE_IN}, {100000, END}}, "0I 5I 10I"},
	{"packets that keep coming keep the attempts going",
		{{0, WANT}, {3000, WANT}, {50000, WANT}, {150000, END}},
		"0I 5I 10I 15I 20I 25I 30I 35I 40I 45I 50I 55I 60I 65I 70I 75I 80I 85I 90I 95I "
		"100I 105I 110I 115I 120I 125I 130I 135I 140G"},
	{"rekey", {{0, RESPONSE_IN}, {120000, WANT}, {120100, RESPONSE_IN}, {2000000, END}},
		"120I 660.1Z"},
	{"data out, nothing back for 15 s",
		{{0, RESPONSE_IN}, {10000, DATA_OUT}, {11000, DATA_OUT}, {25100, RESPONSE_IN},
			{100000, END}},
		"25I"},
	{"data out, nothing back, nobody there",
		{{0, RESPONSE_IN}, {10000, DATA_OUT}, {1000000, END}},
		"25I 30I 35I 40I 45I 50I 55I 60I 65I 70I 75I 80I 85I 90I 95I 100I 105I 110I 115G "
		"540Z"},
	{"data out, and a keep-alive back",
		{{0, RESPONSE_IN}, {10000, DATA_OUT}, {20000, KEEPALIVE_IN}, {100000, END}}, ""},
	{"data out after an answer counts anew",
		{{0, RESPONSE_IN}, {10000, DATA_OUT}, {20000, KEEPALIVE_IN}, {21000, DATA_OUT},
			{36100, RESPONSE_IN}, {100000, END}},
		"36I"},
	{"data out under a key that lives on after giving up",
		{{0, RESPONSE_IN}, {10000, DATA_OUT}, {120000, DATA_OUT}, {135100, RESPONSE_IN},
			{200000, END}},
		"25I 30I 35I 40I 45I 50I 55I 60I 65I 70I 75I 80I 85I 90I 95I 100I 105I 110I 115G "
		"135I"},
	{"silence during a handshake does not start another at its end",
		{{0, RESPONSE_IN}, {10000, DATA_OUT}, {20000, WANT}, {500000, END}},
		"20I 25I 30I 35I 40I 45I 50I 55I 60I 65I 70I 75I 80I 85I 90I 95I 100I 105I 110G"},
	{"data in, nothing out for 10 s", {{0, RESPONSE_OUT}, {10000, DATA_IN}, {100000, END}},
		"20K"},
	{"more data in does not put it off",
		{{0, RESPONSE_OUT}, {10000, DATA_IN}, {19000, DATA_IN}, {100000, END}}, "20K"},
	{"data in after the keep-alive",
		{{0, RESPONSE_OUT}, {10000, DATA_IN}, {21000, DATA_IN}, {100000, END}}, "20K 31K"},
	{"data in, data out, a keep-alive in: all is said",
		{{0, RESPONSE_OUT}, {10000, DATA_IN}, {19900, DATA_OUT}, {20000, KEEPALIVE_IN},
			{100000, END}},
		""},
	{"data in while data out is counted",
		{{0, RESPONSE_IN}, {10000, DATA_OUT}, {11000, DATA_IN}, {100000, END}}, "21K"},
	{"data out while data in is counted",
		{{0, RESPONSE_OUT}, {10000, DATA_IN}, {11000, DATA_OUT}, {26100, RESPONSE_IN},
			{100000, END}},
		"26I"},
	{"keep-alives are not answered", {{0, RESPONSE_OUT}, {10000, KEEPALIVE_IN}, {100000, END}},
		""},
	{"a keep-alive that could not be sent is not asked for again",
		{{0, RESPONSE_OUT}, {10000, DATA_IN}, {12000, DATA_IN}, {100000, END}}, "20K",
		true},
	{"persistent keep-alive", {{0, PERSIST_25}, {80000, END}}, "0K 25K 50K 75K"},
	{"any traffic puts the persistent one off",
		{{0, PERSIST_25}, {20000, KEEPALIVE_IN}, {50000, DATA_IN}, {52000, DATA_OUT},
			{53000, KEEPALIVE_IN}, {100000, END}},
		"0K 45K 78K"},
	{"persistent keep-alive turned on in the middle, and off",
		{{0, RESPONSE_IN}, {10000, KEEPALIVE_IN}, {11000, PERSIST_25}, {40000, PERSIST_OFF},
			{100000, END}},
		"11K 36K"},
	{"persistent keep-alive turned on again comes at once",
		{{0, PERSIST_25}, {10000, PERSIST_OFF}, {20000, PERSIST_25}, {40000, END}},
		"0K 20K"},
	{"our initiation keeps its distance from our response",
		{{0, RESPONSE_OUT}, {1000, WANT}, {5100, RESPONSE_IN}, {100000, END}}, "5I"},
	{"... and is not sent when the session came to be meanwhile",
		{{0, RESPONSE_OUT}, {1000, WANT}, {2000, CONFIRMED}, {100000, END}}, ""},
	{"... and from our initiation, when that was answered",
		{{0, WANT}, {100, RESPONSE_IN}, {200, WANT}, {5300, RESPONSE_IN}, {100000, END}},
		"0I 5I"},
	{"a handshake of theirs in the middle of ours",
		{{0, WANT}, {4000, RESPONSE_OUT}, {6000, CONFIRMED}, {545000, END}}, "0I 544Z"},
	{"a handshake of theirs that never gets confirmed",
		{{0, WANT}, {4000, RESPONSE_OUT}, {9500, RESPONSE_IN}, {20000, END}}, "0I 9I"},
	{"each session puts off the zeroing",
		{{0, RESPONSE_IN}, {400000, RESPONSE_OUT}, {2000000, END}}, "940Z"},
	{"a tunnel that goes down", {{0, WANT}, {7000, STOP}, {2000000, END}}, "0I 5I"},
	{"... and up again at once",
		{{0, WANT}, {1000, STOP}, {1500, WANT}, {5200, RESPONSE_IN}, {10000, END}},
		"0I 5I"},
	{"nothing ever", {{5000000, END}}, ""},
};

struct sim {
	const struct scenario *scenario;
	struct wg_timers timers;
	struct wg_timers_facts facts;
	uint64_t now;
	bool active; /* a fact was set at the last run */
	char actions[1024];
};

static void sent(struct sim *s)
{
	s->facts.last_sent = s->now;
	s->facts.data_received_since = 0;
}

static void received(struct sim *s)
{
	s->facts.last_received = s->now;
	s->facts.data_sent_since = 0;
}

static void data_out(struct sim *s)
{
	sent(s);
	if (!s->facts.data_sent_since)
		s->facts.data_sent_since = s->now;
}

static void data_in(struct sim *s)
{
	received(s);
	if (!s->facts.data_received_since)
		s->facts.data_received_since = s->now;
}

/* True: control is told, and runs the timers. Of the data path it hears when all was quiet before.
 */
static bool happen(struct sim *s, enum event event)
{
	switch (event) {
	case DATA_OUT:
		data_out(s);
		return !s->active;
	case DATA_IN:
		data_in(s);
		return !s->active;
	case KEEPALIVE_IN:
		received(s);
		return false;
	case WANT:
		wg_timers_want_handshake(&s->timers, s->now);
		return true;
	case RESPONSE_OUT:
		received(s);
		sent(s);
		wg_timers_response_sent(&s->timers, s->now);
		return true;
	case RESPONSE_IN:
		received(s);
		wg_timers_response_received(&s->timers, s->now);
		return true;
	case CONFIRMED:
		received(s);
		wg_timers_confirmed(&s->timers);
		return true;
	case PERSIST_25:
		wg_timers_set_persistent_keepalive(&s->timers, 25 * NS_PER_SEC);
		return true;
	case PERSIST_OFF:
		wg_timers_set_persistent_keepalive(&s->timers, 0);
		return true;
	case STOP:
		wg_timers_stop(&s->timers);
		return true;
	case END:
		break;
	}
	return true;
}

static void note(struct sim *s, char action)
{
	char *end = s->actions + strlen(s->actions);
	size_t room = sizeof(s->actions) - (end - s->actions);
	uint64_t ms = (s->now - START) / MS;

	if (ms % 1000)
		snprintf(end, room, "%s%.4g%c", end == s->actions ? "" : " ", ms / 1000., action);
	else
		snprintf(end, room, "%s%u%c", end == s->actions ? "" : " ", (unsigned)(ms / 1000),
			action);
}

static uint64_t run(struct sim *s, uint32_t jitter)
{
	struct wg_timers_actions actions;
	uint64_t next = wg_timers_run(&s->timers, &s->facts, s->now, jitter, &actions);

	s->active = s->facts.data_sent_since || s->facts.data_received_since;
	assert_true(next > s->now);
	if (actions.zero_keys)
		note(s, 'Z');
	if (actions.give_up)
		note(s, 'G');
	if (actions.send_initiation) {
		note(s, 'I');
		sent(s);
	}
	if (actions.send_keepalive) {
		note(s, 'K');
		if (!s->scenario->keepalives_lost)
			sent(s);
	}
	return next;
}

static uint64_t earliest(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void simulate(struct sim *s, uint64_t period, uint32_t jitter)
{
	const struct step *step = s->scenario->steps;
	uint64_t next, poll;

	s->now = START;
	next = run(s, jitter);
	poll = START + period;
	for (;;) {
		uint64_t at = START + step->at * MS;

		s->now = earliest(at, earliest(next, poll));
		if (s->now == at) {
			if (step->event == END)
				return;
			if (!happen(s, step++->event) && s->now != next && s->now != poll)
				continue;
		}
		if (s->now == poll)
			poll += period;
		next = run(s, jitter);
	}
}

static void all_scenarios(void **state)
{
	static const uint64_t periods[] = {10000000, 1000, 100, 7300};

	for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++)
		for (size_t p = 0; p < sizeof(periods) / sizeof(periods[0]); p++) {
			struct sim s = {.scenario = &scenarios[i]};

			simulate(&s, periods[p] * MS, 0);
			if (strcmp(s.actions, scenarios[i].actions) != 0)
				fail_msg("%s (polled each %u ms)\n want %s\n got  %s",
					scenarios[i].name, (unsigned)periods[p],
					scenarios[i].actions, s.actions);
		}
}

/* Jitter lengthens what would otherwise happen at both ends at the same time, and nothing else. */
static void jitter(void **state)
{
	static const struct scenario cases[] = {
		{"retransmission", {{0, WANT}, {12000, END}}, "0I 5.3I 10.6I"},
		{"wanted again meanwhile", {{0, WANT}, {1000, WANT}, {12000, END}},
			"0I 5.3I 10.6I"},
		{"silence", {{0, RESPONSE_IN}, {10000, DATA_OUT}, {30000, END}}, "25.3I"},
		{"keep-alive", {{0, RESPONSE_IN}, {10000, DATA_IN}, {30000, END}}, "20K"},
		{"persistent", {{0, PERSIST_25}, {30000, END}}, "0K 25K"},
		{"the limit of attempts", {{80, WANT}, {100000, END}},
			"0.08I 5.38I 10.68I 15.98I 21.28I 26.58I 31.88I 37.18I 42.48I 47.78I "
			"53.08I "
			"58.38I 63.68I 68.98I 74.28I 79.58I 84.88I 90.18G"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sim s = {.scenario = &cases[i]};

		simulate(&s, 1000 * MS, 300 * MS);
		assert_string_equal(s.actions, cases[i].actions);
	}
}

/* A daemon that was stopped for an hour and goes on: one action each, no burst of missed ones. */
static void late_run(void **state)
{
	struct wg_timers timers = {0};
	struct wg_timers_facts facts = {0};
	struct wg_timers_actions actions;
	uint64_t hour = START + 3600 * NS_PER_SEC;

	wg_timers_response_received(&timers, START);
	wg_timers_set_persistent_keepalive(&timers, 25 * NS_PER_SEC);
	facts.last_sent = facts.data_sent_since = START;
	facts.data_received_since = START + 1;
	wg_timers_run(&timers, &facts, START + 2, 0, &actions);
	assert_true(actions.send_keepalive);
	assert_true(wg_timers_run(&timers, &facts, hour, 0, &actions) > hour);
	assert_true(actions.zero_keys && actions.send_initiation && actions.send_keepalive);
	assert_false(actions.give_up);
	assert_true(wg_timers_run(&timers, &facts, hour + 1, 0, &actions) > hour + 1);
	assert_false(actions.zero_keys || actions.send_initiation || actions.send_keepalive);
}

/* Nobody has to look in between: each deadline answered is that of the next action. */
static void deadlines_are_enough(void **state)
{
	static const struct scenario lonely = {.name = "nobody answers"};
	struct sim s = {.scenario = &lonely, .now = START};
	uint64_t next;

	wg_timers_want_handshake(&s.timers, START);
	while ((next = run(&s, 0)) != WG_TIMERS_NEVER)
		s.now = next;
	assert_string_equal(s.actions, scenarios[0].actions);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_scenarios),
		cmocka_unit_test(jitter),
		cmocka_unit_test(deadlines_are_enough),
		cmocka_unit_test(late_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
