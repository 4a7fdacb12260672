/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Handshake messages, in and out, through jobs: a Diffie-Hellman step would hold the loop for
 * longer than a burst takes. Received ones are read in handshake_job.c; here a function named *_run
 * executes in a job, all others on the control loop.
 *
 *   worker --punt--> loop --job--> mac1, cookie, Noise
 *     --done--> loop: session, path, answer --inject--> worker
 *
 * Many messages of many peers are under way at once; what two jobs could touch at the same time has
 * a lock of its own: the peer's handshake (peer->lock), the tunnel's cookie secret and rate limiter
 * (cookie_lock), the table of peers and our key (tunnel->lock). Their order: tunnel->lock,
 * peer->lock.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control.h"
#include "handshake_job.h"
#include "workers.h"

#define LOADED_FOR NS_PER_SEC
#define LOAD_WINDOW (NS_PER_SEC / 10)
#define LOAD_WINDOW_MESSAGES 150
#define TIMESTAMP_KEEP_EVERY (60 * NS_PER_SEC)
#define HANDSHAKE_TOS 0x88 /* DSCP AF41, as WireGuard in the kernel marks them */

struct initiate_job {
	struct job job;
	struct peer *peer;
	struct message_initiation message;
	uint64_t unix_ns, now;
	uint32_t index;
	bool made;
};

struct peer_job {
	struct job job;
	struct peer *peer;
	struct symmetric_key preshared_key;
};

static unsigned jobs_under_way;

/* ---- sending --------------------------------------------------------------------------------- */

static void message_send(const struct packet_path *path, const void *message, size_t len)
{
	struct rte_mbuf *m = control_mbuf_alloc();
	struct packet *p;

	if (!m)
		return;
	memcpy(rte_pktmbuf_append(m, (uint16_t)len), message, len);
	p = packet_of(m);
	p->kind = PACKET_DATAGRAM;
	p->flags = PACKET_LOCAL;
	p->path = *path;
	p->path.tos = HANDSHAKE_TOS;
	control_inject(0, INJECT_DATAGRAM, m);
}

/* ---- receiving ------------------------------------------------------------------------------- */

/* Facts of the timers, beside those of the workers: handshake messages are authentic too. */
static void authentic_received(struct peer *p, uint64_t now)
{
	p->message_received = now;
	atomic_store(&peers.slots[p->index].data_sent_since, 0);
}

static void authentic_sent(struct peer *p, uint64_t now)
{
	p->message_sent = now;
	atomic_store(&peers.slots[p->index].data_received_since, 0);
}

static void session_take(struct receive_job *j)
{
	struct tunnel *t = j->tunnel;
	bool responder = j->reply_len > 0;

	if (j->peer->dead) {
		index_free(j->keys.local_index);
		return;
	}
	peer_path_publish(j->peer, &j->source, &j->path);
	authentic_received(j->peer, j->now);
	/* the key must be found before the answer invites data under it */
	peer_session(j->peer, &j->keys);
	if (responder) {
		message_send(&j->path, &j->reply, j->reply_len);
		authentic_sent(j->peer, j->now);
		t->counters.responses_sent++;
	}
}

static void receive_done(struct job *job)
{
	struct receive_job *j = (struct receive_job *)job;
	struct tunnel *t = j->tunnel;

	switch (j->outcome) {
	case OUTCOME_REFUSED:
		(*j->counter)++;
		break;
	case OUTCOME_COOKIE_SENT:
		message_send(&j->path, &j->reply, j->reply_len);
		t->counters.cookies_sent++;
		break;
	case OUTCOME_COOKIE_TAKEN:
		t->counters.cookies_received++;
		break;
	case OUTCOME_SESSION:
		session_take(j);
		break;
	}
	if (j->peer)
		peer_put(j->peer);
	atomic_fetch_sub(&t->jobs, 1);
	jobs_under_way--;
	secret_zero(j, sizeof(*j));
	free(j);
}

static void source_of(struct net_endpoint *source, const struct packet_path *path)
{
	memset(source, 0, sizeof(*source));
	source->addr.family = path->family;
	memcpy(source->addr.bytes, path->remote, path->family == AF_INET ? 4 : 16);
	source->port = ntohs(path->remote_port);
}

static void count_received(struct tunnel *t, const struct receive_job *j)
{
	if (wg_message_type(j->message.bytes, j->len) == MESSAGE_INITIATION)
		t->counters.initiations_received++;
	else if (wg_message_type(j->message.bytes, j->len) == MESSAGE_RESPONSE)
		t->counters.responses_received++;
}

static struct receive_job *receive_job_new(struct tunnel *t, struct rte_mbuf *m)
{
	struct receive_job *j;

	if (m->data_len > sizeof(j->message))
		return NULL;
	j = control_zalloc(sizeof(*j));
	if (!j)
		return NULL;
	j->job.run = handshake_receive_run;
	j->job.done = receive_done;
	j->job.name = "handshake message";
	j->tunnel = t;
	j->path = packet_of(m)->path;
	j->now = core_now();
	source_of(&j->source, &j->path);
	j->len = m->data_len;
	memcpy(j->message.bytes, rte_pktmbuf_mtod(m, void *), m->data_len);
	return j;
}

/*
 * Under load are we when messages pile up before the jobs, and also when they come faster than
 * peers that mean well would: a job thread could keep up with many more, but the cores that it
 * takes for that are the workers' too.
 */
static void load_look(struct tunnel *t, unsigned waiting)
{
	uint64_t now = core_now();

	if (now - t->window_start > LOAD_WINDOW) {
		t->window_start = now;
		t->window_count = 0;
	}
	if (++t->window_count > LOAD_WINDOW_MESSAGES || waiting >= HANDSHAKE_JOBS_MAX / 8)
		atomic_store(&t->loaded_until, now + LOADED_FOR);
}

void tunnel_punt_handshake(struct rte_mbuf *m)
{
	uint32_t index = packet_of(m)->tunnel;
	struct tunnel *t = index < n_tunnels ? tunnels[index] : NULL;
	struct receive_job *j = NULL;
	unsigned waiting;

	if (!t)
		goto out;
	waiting = atomic_load(&t->jobs);
	load_look(t, waiting);
	if (waiting >= HANDSHAKE_JOBS_MAX) {
		t->counters.refused_queue_full++;
		goto out;
	}
	j = receive_job_new(t, m);
	if (!j)
		goto out;
	j->loaded = j->now < atomic_load(&t->loaded_until);
	count_received(t, j);
	atomic_fetch_add(&t->jobs, 1);
	jobs_under_way++;
	job_submit(&j->job);
out:
	rte_pktmbuf_free(m);
}

static uint64_t unix_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* ---- initiating ------------------------------------------------------------------------------ */

static void initiate_run(struct job *job)
{
	struct initiate_job *j = (struct initiate_job *)job;
	struct peer *p = j->peer;
	struct tunnel *t = p->tunnel;

	j->index = index_new(p->index);
	if (!j->index)
		return;
	pthread_rwlock_rdlock(&t->lock);
	pthread_mutex_lock(&p->lock);
	p->last_sent_timestamp = noise_timestamp_next(&p->last_sent_timestamp, j->unix_ns);
	j->made = noise_create_initiation(&j->message, &p->noise, &t->local,
			  &p->last_sent_timestamp, j->index) == NOISE_OK;
	if (j->made)
		cookie_add_macs(&p->cookie, &j->message, sizeof(j->message), j->now);
	pthread_mutex_unlock(&p->lock);
	pthread_rwlock_unlock(&t->lock);
}

static char *timestamp_file(const struct tunnel *t)
{
	char name[128];

	snprintf(name, sizeof(name), "tunnels/%s.timestamp", t->name);
	return state_path(name);
}

void handshake_timestamp_load(struct tunnel *t)
{
	char *path = timestamp_file(t), text[32] = "";
	struct err err = {0};
	uint64_t kept;

	if (path && state_read(path, text, sizeof(text) - 1, &err) > 0) {
		kept = strtoull(text, NULL, 10);
		/* it may have been that much later, not noted yet, when the last run ended */
		if (kept > unix_now())
			t->timestamp_floor = noise_tai64n(kept + TIMESTAMP_KEEP_EVERY);
	}
	free(path);
}

static void timestamp_kept(void *arg, int error, const struct err *err)
{
	(void)arg;
	if (error)
		log_warnx("the time of the last handshake could not be kept: %s", err->msg);
}

static void timestamp_keep(struct tunnel *t, uint64_t unix_ns)
{
	char text[32], *path;

	if (unix_ns - t->timestamp_kept < TIMESTAMP_KEEP_EVERY)
		return;
	path = timestamp_file(t);
	t->timestamp_kept = unix_ns;
	snprintf(text, sizeof(text), "%llu\n", (unsigned long long)unix_ns);
	if (path)
		state_write_later(path, text, strlen(text), 0600, timestamp_kept, NULL);
	free(path);
}

static void initiate_done(struct job *job)
{
	struct initiate_job *j = (struct initiate_job *)job;
	struct peer *p = j->peer;
	struct peer_path *path = p->dead ? NULL : atomic_load(&peers.slots[p->index].path);

	p->initiating = false;
	if (j->made && path) {
		if (p->handshake_index)
			index_free(p->handshake_index);
		p->handshake_index = j->index;
		message_send(&path->path, &j->message, sizeof(j->message));
		authentic_sent(p, core_now());
		p->tunnel->counters.initiations_sent++;
		timestamp_keep(p->tunnel, j->unix_ns);
	} else if (j->index) {
		index_free(j->index);
	}
	peer_put(p);
	jobs_under_way--;
	free(j);
}

void handshake_initiate(struct peer *p)
{
	struct initiate_job *j;

	/* nobody answered the last one, or there was no address: the name may lead elsewhere now */
	if (p->handshake_index || !p->endpoint.addr.family)
		endpoint_lookup(p);
	if (p->initiating || p->dead || !p->endpoint.addr.family)
		return;
	j = calloc(1, sizeof(*j));
	if (!j)
		return;
	j->job.run = initiate_run;
	j->job.done = initiate_done;
	j->job.name = "handshake initiation";
	j->peer = peer_get(p);
	j->unix_ns = unix_now();
	j->now = core_now();
	p->initiating = true;
	jobs_under_way++;
	job_submit(&j->job);
}

/* ---- small jobs that need the peer's lock ---------------------------------------------------- */

static void forget_run(struct job *job)
{
	struct peer *p = ((struct peer_job *)job)->peer;

	pthread_mutex_lock(&p->lock);
	noise_peer_forget(&p->noise);
	pthread_mutex_unlock(&p->lock);
}

static void preshared_key_run(struct job *job)
{
	struct peer_job *j = (struct peer_job *)job;

	pthread_mutex_lock(&j->peer->lock);
	noise_peer_set_preshared_key(&j->peer->noise, &j->preshared_key);
	pthread_mutex_unlock(&j->peer->lock);
}

static void peer_job_done(struct job *job)
{
	struct peer_job *j = (struct peer_job *)job;

	peer_put(j->peer);
	jobs_under_way--;
	secret_zero(j, sizeof(*j));
	free(j);
}

static void peer_job_submit(
	struct peer *p, void (*run)(struct job *job), const struct symmetric_key *preshared_key)
{
	struct peer_job *j = control_zalloc(sizeof(*j));

	if (!j)
		return;
	j->job.run = run;
	j->job.done = peer_job_done;
	j->job.name = "handshake state";
	j->peer = peer_get(p);
	if (preshared_key)
		j->preshared_key = *preshared_key;
	jobs_under_way++;
	job_submit(&j->job);
}

void handshake_forget(struct peer *p)
{
	peer_job_submit(p, forget_run, NULL);
}

void handshake_set_preshared_key(struct peer *p, const struct symmetric_key *key)
{
	peer_job_submit(p, preshared_key_run, key);
}

void handshake_drain(void)
{
	while (jobs_under_way)
		jobs_drain();
}
