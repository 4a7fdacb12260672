/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Receiver indices and key pairs. An index is random and its low bits are its place in one flat
 * table, so that a worker finds a key pair with one load and one compare. Indices are taken and
 * given back on any thread (a job needs one for its message); key pairs are the control loop's.
 *
 * Key pairs lie in chunks of secret memory: one mapping each would be too many for the kernel. A
 * chunk begins with all its send keys, side by side.
 */
#include <stdlib.h>
#include <string.h>

#include "control.h"
#include "workers.h"

#define CHUNK_KEYPAIRS_MIN 64
#define CHUNK_KEYPAIRS_MAX 4096
#define INDEX_TRIES 1024

struct chunk {
	struct send_key *sends; /* n of them, then n key pairs */
	size_t n;
	struct chunk *next;
};

static struct chunk *chunks;
static struct keypair **spare; /* stack of unused key pairs: all zero but for `send` */
static size_t n_spare, spare_size;

uint32_t peer_random(void)
{
	uint32_t v;

	secret_random(&v, sizeof(v));
	return v;
}

/* ---- indices: any thread --------------------------------------------------------------------- */

uint32_t index_new(uint32_t peer)
{
	for (unsigned i = 0; i < INDEX_TRIES; i++) {
		uint32_t index = peer_random();
		struct index_entry *entry = &peers.indices[index & peers.index_mask];
		uint64_t free_owner = 0;

		if (index && atomic_compare_exchange_strong(
				     &entry->owner, &free_owner, (uint64_t)index << 32 | peer))
			return index;
	}
	return 0;
}

uint32_t index_peer(uint32_t index)
{
	uint64_t owner = atomic_load(&peers.indices[index & peers.index_mask].owner);

	return index && owner >> 32 == index ? (uint32_t)owner : PEER_NONE;
}

void index_free(uint32_t index)
{
	struct index_entry *entry = &peers.indices[index & peers.index_mask];

	if (index_peer(index) == PEER_NONE)
		return;
	atomic_store_explicit(&entry->keypair, NULL, memory_order_release);
	atomic_store(&entry->owner, 0);
}

/* ---- key pairs: control loop ----------------------------------------------------------------- */

static bool spare_push(struct keypair *kp)
{
	if (n_spare == spare_size) {
		size_t size = spare_size ? spare_size * 2 : CHUNK_KEYPAIRS_MIN;
		struct keypair **grown = realloc(spare, size * sizeof(*spare));

		if (!grown)
			return false;
		spare = grown;
		spare_size = size;
	}
	spare[n_spare++] = kp;
	return true;
}

static size_t chunk_size(size_t n)
{
	return n * (sizeof(struct send_key) + sizeof(struct keypair));
}

static bool chunk_cut(struct chunk *chunk)
{
	struct keypair *pairs = (struct keypair *)(chunk->sends + chunk->n);

	for (size_t i = chunk->n; i-- > 0;) {
		pairs[i].send = &chunk->sends[i];
		if (!spare_push(&pairs[i]))
			return false;
	}
	return true;
}

/* Each chunk is twice as large as the one before, so that many peers lie on large pages. */
static bool chunk_add(void)
{
	struct chunk *chunk = calloc(1, sizeof(*chunk));

	if (!chunk)
		return false;
	chunk->n = chunks ? RTE_MIN(chunks->n * 2, (size_t)CHUNK_KEYPAIRS_MAX) : CHUNK_KEYPAIRS_MIN;
	chunk->sends = secret_alloc(chunk_size(chunk->n));
	if (!chunk->sends) {
		free(chunk);
		return false;
	}
	chunk->next = chunks;
	chunks = chunk;
	return chunk_cut(chunk);
}

struct keypair *keypair_new(const struct peer *p, const struct noise_keys *keys)
{
	struct keypair *kp;

	if (!n_spare && !chunk_add() && !n_spare)
		return NULL;
	kp = spare[--n_spare];
	*kp->send = (struct send_key){.key = keys->send,
		.remote_index = keys->remote_index,
		.tunnel = (uint16_t)p->tunnel->index};
	kp->receive = keys->receive;
	kp->peer = p->index;
	kp->tunnel = (uint16_t)p->tunnel->index;
	kp->local_index = keys->local_index;
	kp->initiator = keys->initiator;
	keypair_born(kp, core_now());
	atomic_init(&kp->owner, OWNER_NONE);
	return kp;
}

void keypair_publish(struct keypair *kp)
{
	/* pairs with the acquire load in keypair_by_index */
	atomic_store_explicit(&peers.indices[kp->local_index & peers.index_mask].keypair, kp,
		memory_order_release);
}

static void keypair_release(void *object)
{
	struct keypair *kp = object;
	struct send_key *send = kp->send;

	secret_zero(send, sizeof(*send));
	secret_zero(kp, sizeof(*kp));
	kp->send = send;
	if (!spare_push(kp))
		log_warnx("out of memory: a key pair's place is lost until restart");
}

void keypair_drop(struct keypair *kp)
{
	if (!kp)
		return;
	index_free(kp->local_index);
	/* A worker may still open or seal under it until the end of its round; the index table and
	 * the peer's slot no longer lead to it. */
	workers_retire(kp, keypair_release);
}

void keypairs_fini(void)
{
	while (chunks) {
		struct chunk *chunk = chunks;

		chunks = chunk->next;
		secret_free(chunk->sends, chunk_size(chunk->n));
		free(chunk);
	}
	free(spare);
	spare = NULL;
	n_spare = spare_size = 0;
}
