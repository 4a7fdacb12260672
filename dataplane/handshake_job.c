/* SPDX-License-Identifier: BSD-3-Clause */
/* What a received handshake message says: mac1, cookie, Noise, and the answer to it. Jobs. */
#include "handshake_job.h"

#include <string.h>

#define REFUSE(j, what)                                               \
	do {                                                          \
		(j)->outcome = OUTCOME_REFUSED;                       \
		(j)->counter = &(j)->tunnel->counters.refused_##what; \
	} while (0)

static void refuse_noise(struct receive_job *j, enum noise_result result)
{
	switch (result) {
	case NOISE_REPLAYED:
		REFUSE(j, replayed);
		break;
	case NOISE_FLOODED:
		REFUSE(j, flooded);
		break;
	case NOISE_UNEXPECTED:
		REFUSE(j, unexpected);
		break;
	default:
		REFUSE(j, authentic);
	}
}

static void cookie_reply_take_run(struct receive_job *j)
{
	uint32_t index = le32_get(j->message.cookie.receiver_index);
	bool taken = false;

	j->peer = peer_by_index_get(index_peer(index));
	if (j->peer && j->peer->tunnel == j->tunnel) {
		pthread_mutex_lock(&j->peer->lock);
		taken = cookie_reply_consume(&j->peer->cookie, &j->message.cookie, j->now);
		pthread_mutex_unlock(&j->peer->lock);
	}
	if (taken)
		j->outcome = OUTCOME_COOKIE_TAKEN;
	else
		REFUSE(j, unexpected);
}

/* mac1 always; under load mac2 or a cookie, and then the rate of the source. */
static bool macs_pass_run(struct receive_job *j)
{
	struct tunnel *t = j->tunnel;
	enum cookie_result result;
	bool allowed = true;

	pthread_mutex_lock(&t->cookie_lock);
	result = cookie_check(
		&t->checker, j->message.bytes, j->len, j->loaded ? &j->source : NULL, j->now);
	if (result == COOKIE_MAC1 && j->loaded) {
		cookie_reply_create(&t->checker, &j->reply.cookie, j->message.bytes, j->len,
			&j->source, j->now);
		j->reply_len = sizeof(j->reply.cookie);
		j->outcome = OUTCOME_COOKIE_SENT;
		allowed = false;
	} else if (result == COOKIE_MAC1_MAC2) {
		allowed = ratelimiter_allow(&t->ratelimiter, &j->source.addr, j->now);
		if (!allowed)
			REFUSE(j, ratelimit);
	}
	pthread_mutex_unlock(&t->cookie_lock);
	if (result == COOKIE_INVALID)
		REFUSE(j, mac1);
	return allowed && result != COOKIE_INVALID;
}

static struct peer *peer_of_initiation_run(
	struct receive_job *j, struct noise_initiation *initiation)
{
	struct tunnel *t = j->tunnel;
	enum noise_result result;
	struct peer *p = NULL;

	pthread_rwlock_rdlock(&t->lock);
	result = noise_open_initiation(initiation, &j->message.initiation, &t->local);
	if (result == NOISE_OK) {
		p = peer_find(t, &initiation->remote_static);
		if (p)
			peer_get(p);
	}
	pthread_rwlock_unlock(&t->lock);
	if (result != NOISE_OK) {
		refuse_noise(j, result);
	} else if (!p) {
		noise_initiation_drop(initiation);
		REFUSE(j, unknown_peer);
	}
	return p;
}

static void respond_run(struct receive_job *j, struct noise_initiation *initiation)
{
	struct peer *p = j->peer;
	enum noise_result result;
	uint32_t index = index_new(p->index);

	pthread_mutex_lock(&p->lock);
	result = noise_accept_initiation(&p->noise, initiation, &j->message.initiation, j->now);
	if (result == NOISE_OK && !index)
		result = NOISE_UNEXPECTED;
	if (result == NOISE_OK)
		result = noise_create_response(&j->reply.response, &p->noise, index);
	if (result == NOISE_OK)
		cookie_add_macs(&p->cookie, &j->reply.response, sizeof(j->reply.response), j->now);
	if (result == NOISE_OK)
		result = noise_begin_session(&p->noise, &j->keys);
	pthread_mutex_unlock(&p->lock);
	if (result == NOISE_OK) {
		j->reply_len = sizeof(j->reply.response);
		j->outcome = OUTCOME_SESSION;
		return;
	}
	if (index)
		index_free(index);
	refuse_noise(j, result);
}

static void initiation_run(struct receive_job *j)
{
	struct noise_initiation initiation;

	j->peer = peer_of_initiation_run(j, &initiation);
	if (j->peer)
		respond_run(j, &initiation);
	secret_zero(&initiation, sizeof(initiation));
}

static void response_run(struct receive_job *j)
{
	struct tunnel *t = j->tunnel;
	enum noise_result result = NOISE_UNEXPECTED;

	j->peer = peer_by_index_get(index_peer(le32_get(j->message.response.receiver_index)));
	if (j->peer && j->peer->tunnel == t) {
		pthread_rwlock_rdlock(&t->lock);
		pthread_mutex_lock(&j->peer->lock);
		result = noise_consume_response(&j->peer->noise, &j->message.response, &t->local);
		if (result == NOISE_OK)
			result = noise_begin_session(&j->peer->noise, &j->keys);
		pthread_mutex_unlock(&j->peer->lock);
		pthread_rwlock_unlock(&t->lock);
	}
	if (result == NOISE_OK)
		j->outcome = OUTCOME_SESSION;
	else
		refuse_noise(j, result);
}

void handshake_receive_run(struct job *job)
{
	struct receive_job *j = (struct receive_job *)job;

	switch (wg_message_type(j->message.bytes, j->len)) {
	case MESSAGE_COOKIE_REPLY:
		cookie_reply_take_run(j);
		break;
	case MESSAGE_INITIATION:
		if (macs_pass_run(j))
			initiation_run(j);
		break;
	case MESSAGE_RESPONSE:
		if (macs_pass_run(j))
			response_run(j);
		break;
	default:
		REFUSE(j, unexpected);
	}
}
