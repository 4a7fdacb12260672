/* SPDX-License-Identifier: BSD-3-Clause */
#include "exchange.h"

#include <err.h>
#include <string.h>

#include "clock.h"
#include "cookie.h"
#include "noise.h"
#include "x25519.h"

const char *const step_names[] = {
	"check mac1",
	"open the initiation: e, es, s; where two cost one, the answer's e",
	"accept it: ss, {t}",
	"create the response: (e,) ee, se, psk",
	"add macs",
	"derive the session",
};

struct party {
	struct noise_peer peer;
	struct cookie_maker macs;
};

static struct noise_local responder, initiators[EXCHANGE_PEERS];
static struct cookie_keys responder_keys;
static struct party at_responder[EXCHANGE_PEERS], at_initiator[EXCHANGE_PEERS];
static struct message_initiation initiations[EXCHANGE_PEERS];
static struct message_response responses[EXCHANGE_PEERS];
static struct noise_keys sessions[EXCHANGE_PEERS];
static uint64_t now; /* both clocks: handshakes of a peer are a second apart */

static void local_init(struct noise_local *local)
{
	struct private_key key;

	x25519_generate(&key);
	noise_local_init(local, &key);
}

static void party_init(struct party *party, const struct noise_local *local,
	const struct public_key *remote, const struct symmetric_key *psk)
{
	if (!noise_peer_init(&party->peer, local, remote, psk))
		errx(1, "a key without a shared secret");
	cookie_maker_init(&party->macs, remote);
}

void exchange_init(void)
{
	local_init(&responder);
	cookie_keys_init(&responder_keys, &responder.static_public);
	for (unsigned i = 0; i < EXCHANGE_PEERS; i++) {
		struct symmetric_key psk;

		secret_random(&psk, sizeof(psk));
		local_init(&initiators[i]);
		party_init(&at_responder[i], &responder, &initiators[i].static_public, &psk);
		party_init(&at_initiator[i], &initiators[i], &responder.static_public, &psk);
	}
}

static void must(enum noise_result result, const char *step)
{
	if (result != NOISE_OK)
		errx(1, "%s: refused (%d)", step, (int)result);
}

void exchange_initiate(void)
{
	now += NS_PER_SEC;
	for (unsigned i = 0; i < EXCHANGE_PEERS; i++) {
		struct noise_timestamp timestamp = noise_tai64n(now);

		must(noise_create_initiation(&initiations[i], &at_initiator[i].peer, &initiators[i],
			     &timestamp, i + 1),
			"create the initiation");
		cookie_add_macs(
			&at_initiator[i].macs, &initiations[i], sizeof(initiations[i]), now);
	}
}

static void check_mac1(unsigned i)
{
	if (!cookie_check_mac1(&responder_keys, &initiations[i], sizeof(initiations[i])))
		errx(1, "mac1 is wrong");
}

static void step_run(enum step step, unsigned i, struct noise_initiation *opened)
{
	struct party *party = &at_responder[i];

	switch (step) {
	case STEP_CHECK_MAC1:
		check_mac1(i);
		break;
	case STEP_OPEN:
		must(noise_open_initiation(opened, &initiations[i], &responder), step_names[step]);
		break;
	case STEP_ACCEPT:
		must(noise_accept_initiation(&party->peer, opened, &initiations[i], now),
			step_names[step]);
		break;
	case STEP_RESPOND:
		must(noise_create_response(&responses[i], &party->peer, i + 1000),
			step_names[step]);
		break;
	case STEP_ADD_MACS:
		cookie_add_macs(&party->macs, &responses[i], sizeof(responses[i]), now);
		break;
	default:
		must(noise_begin_session(&party->peer, &sessions[i]), step_names[step]);
	}
}

void exchange_respond(unsigned peer)
{
	struct noise_initiation opened;

	for (enum step step = 0; step < N_STEPS; step++)
		step_run(step, peer, &opened);
}

void exchange_respond_timed(unsigned peer, uint64_t ticks[N_STEPS])
{
	struct noise_initiation opened;

	for (enum step step = 0; step < N_STEPS; step++) {
		uint64_t start = ticks_begin();

		step_run(step, peer, &opened);
		ticks[step] = ticks_end() - start;
	}
}

void exchange_finish(void)
{
	for (unsigned i = 0; i < EXCHANGE_PEERS; i++) {
		struct noise_keys keys;

		must(noise_consume_response(&at_initiator[i].peer, &responses[i], &initiators[i]),
			"consume the response");
		must(noise_begin_session(&at_initiator[i].peer, &keys), "derive the session");
		if (memcmp(&keys.send, &sessions[i].receive, sizeof(keys.send)) != 0 ||
			memcmp(&keys.receive, &sessions[i].send, sizeof(keys.send)) != 0)
			errx(1, "the two ends have different keys");
	}
}
