/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A step of the AVX2 kernel: one block of ChaCha20 in each of 16 lanes (packets, or places in
 * packets), and on the way Poly1305 over what is waiting for it. Any thread.
 *
 * ChaCha20 keeps the vector units busy and leaves the multiplier idle, Poly1305 in 64-bit words
 * wants nothing else: together they take little longer than ChaCha20 alone. So with each quarter
 * of a double round one block of Poly1305 of two packets is done; two, since the chain of one alone
 * is longer than the quarter. A double round then takes 64 bytes of two packets. Finer or coarser
 * mixtures leave the out-of-order window with one kind of work only.
 *
 * Two states of 8 lanes do not fit into 16 registers, and half of their words pass through the
 * stack in each round. It is worth it: simple vector instructions take two cycles on Zen 5, so that
 * one state alone waits for itself. The stack is wiped when the burst is over.
 *
 * Secrets decide no address and no jump: pointers and counts come from lengths alone.
 */
#include "aead_avx2.h"

#define DOUBLE_ROUNDS 10
_Static_assert(PAIRS_MAX == DOUBLE_ROUNDS, "one pair to each");

struct state {
	__m256i w[16];
};

/* --- ChaCha20 --- */

INLINE __m256i rotate16(__m256i x)
{
	return _mm256_shuffle_epi8(
		x, _mm256_set_epi8(13, 12, 15, 14, 9, 8, 11, 10, 5, 4, 7, 6, 1, 0, 3, 2, 13, 12, 15,
			   14, 9, 8, 11, 10, 5, 4, 7, 6, 1, 0, 3, 2));
}

INLINE __m256i rotate8(__m256i x)
{
	return _mm256_shuffle_epi8(
		x, _mm256_set_epi8(14, 13, 12, 15, 10, 9, 8, 11, 6, 5, 4, 7, 2, 1, 0, 3, 14, 13, 12,
			   15, 10, 9, 8, 11, 6, 5, 4, 7, 2, 1, 0, 3));
}

#define ROTATE(x, n) _mm256_or_si256(_mm256_slli_epi32(x, n), _mm256_srli_epi32(x, 32 - (n)))

/* For two neighbouring columns (or diagonals) of each state. */
#define EACH(statement)                                                                            \
	for (unsigned i = 0; i < n_states; i++) {                                                  \
		for (int j = 0; j < 2; j++) {                                                      \
			__m256i *const w = state[i].w, *const wa = w + a[j], *const wb = w + b[j]; \
			__m256i *const wc = w + c[j], *const wd = w + d[j];                        \
			(void)wa, (void)wb, (void)wc, (void)wd;                                    \
			statement;                                                                 \
		}                                                                                  \
	}

/* Two of the eight quarter rounds of a double round, in each state and in step: the compiler keeps
 * to the order, and so the four chains fill each other's waiting times. */
INLINE void quarter(struct state *state, unsigned n_states, int which)
{
	const int first = which % 2 * 2, turn = which / 2;
	const int a[2] = {first, first + 1};
	const int b[2] = {4 + (first + turn) % 4, 4 + (first + 1 + turn) % 4};
	const int c[2] = {8 + (first + 2 * turn) % 4, 8 + (first + 1 + 2 * turn) % 4};
	const int d[2] = {12 + (first + 3 * turn) % 4, 12 + (first + 1 + 3 * turn) % 4};

	EACH(*wa = _mm256_add_epi32(*wa, *wb))
	EACH(*wd = _mm256_xor_si256(*wd, *wa))
	EACH(*wd = rotate16(*wd))
	EACH(*wc = _mm256_add_epi32(*wc, *wd))
	EACH(*wb = _mm256_xor_si256(*wb, *wc))
	EACH(*wb = ROTATE(*wb, 12))
	EACH(*wa = _mm256_add_epi32(*wa, *wb))
	EACH(*wd = _mm256_xor_si256(*wd, *wa))
	EACH(*wd = rotate8(*wd))
	EACH(*wc = _mm256_add_epi32(*wc, *wd))
	EACH(*wb = _mm256_xor_si256(*wb, *wc))
	EACH(*wb = ROTATE(*wb, 7))
}

INLINE void state_begin(struct state *s, const struct step *step, unsigned half)
{
	static const uint32_t sigma[4] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};

	for (int i = 0; i < 4; i++)
		s->w[i] = _mm256_set1_epi32((int)sigma[i]);
	for (int i = 0; i < 8; i++)
		s->w[4 + i] = step->rows->word[i][half];
	s->w[12] = _mm256_load_si256((const __m256i *)(step->counter + 8 * half));
	s->w[13] = _mm256_set1_epi32((int)aead_nonce_head);
	s->w[14] = _mm256_load_si256((const __m256i *)(step->nonce[0] + 8 * half));
	s->w[15] = _mm256_load_si256((const __m256i *)(step->nonce[1] + 8 * half));
}

/* Eight words of eight lanes: rows to columns. */
INLINE void transpose(__m256i x[8])
{
	__m256i t[8], u[8];

	for (int i = 0; i < 4; i++) {
		t[2 * i] = _mm256_unpacklo_epi32(x[2 * i], x[2 * i + 1]);
		t[2 * i + 1] = _mm256_unpackhi_epi32(x[2 * i], x[2 * i + 1]);
	}
	for (int i = 0; i < 2; i++) {
		u[4 * i] = _mm256_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
		u[4 * i + 1] = _mm256_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
		u[4 * i + 2] = _mm256_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
		u[4 * i + 3] = _mm256_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
	}
	for (int i = 0; i < 4; i++) {
		x[i] = _mm256_permute2x128_si256(u[i], u[4 + i], 0x20);
		x[4 + i] = _mm256_permute2x128_si256(u[i], u[4 + i], 0x31);
	}
}

/* Half of the words, which are half of the bytes of each block. */
INLINE void state_output(struct state *s, const struct step *step, unsigned half, unsigned upper)
{
	struct state begin;

	state_begin(&begin, step, half);
	for (unsigned i = 8 * upper; i < 8 * upper + 8; i++)
		s->w[i] = _mm256_add_epi32(s->w[i], begin.w[i]);
	transpose(s->w + 8 * upper);
	for (unsigned i = 0; i < 8; i++) {
		const uint8_t *src = step->src[8 * half + i] + 32 * upper;
		uint8_t *dst = step->dst[8 * half + i] + 32 * upper;

		_mm256_storeu_si256(
			(__m256i *)dst, _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)src),
						s->w[8 * upper + i]));
	}
}

/* --- both --- */

/* h of two packets, while it is being worked on. */
struct heads {
	uint64_t a[3], b[3];
};

INLINE void poly_blocks(
	struct heads *h, struct poly *const poly[2], const uint8_t *const text[2], unsigned at)
{
	poly_block(h->a, poly[0], load64(text[0] + at), load64(text[0] + at + 8));
	poly_block(h->b, poly[1], load64(text[1] + at), load64(text[1] + at + 8));
}

INLINE void double_round_with(struct state *state, unsigned n_states, struct poly *const poly[2],
	const uint8_t *const text[2])
{
	struct poly *const a = poly[0], *const b = poly[1];
	struct heads h = {{a->h[0], a->h[1], a->h[2]}, {b->h[0], b->h[1], b->h[2]}};

	poly_blocks(&h, poly, text, 0);
	quarter(state, n_states, 0);
	poly_blocks(&h, poly, text, 16);
	quarter(state, n_states, 1);
	poly_blocks(&h, poly, text, 32);
	quarter(state, n_states, 2);
	poly_blocks(&h, poly, text, 48);
	quarter(state, n_states, 3);
	for (int i = 0; i < 3; i++) {
		a->h[i] = h.a[i];
		b->h[i] = h.b[i];
	}
}

INLINE void double_round(struct state *state, unsigned n_states)
{
	quarter(state, n_states, 0);
	quarter(state, n_states, 1);
	quarter(state, n_states, 2);
	quarter(state, n_states, 3);
}

INLINE void step_run(const struct step *step, unsigned n_states)
{
	struct state state[2];
	unsigned i = 0;

	for (unsigned half = 0; half < n_states; half++)
		state_begin(&state[half], step, half);
	for (; i < step->n_pairs; i++)
		double_round_with(state, n_states, step->poly + 2 * i, step->text + 2 * i);
	for (; i < DOUBLE_ROUNDS; i++)
		double_round(state, n_states);
	for (unsigned half = 0; half < n_states; half++) {
		state_output(&state[half], step, half, 0);
		if (step->n_halves > 1)
			state_output(&state[half], step, half, 1);
	}
}

void aead_avx2_step16(const struct step *step)
{
	step_run(step, 2);
}

void aead_avx2_step8(const struct step *step)
{
	step_run(step, 1);
}

void aead_avx2_rows(struct rows *rows, const uint8_t *const key[LANES])
{
	for (int half = 0; half < 2; half++) {
		__m256i x[8];

		for (int i = 0; i < 8; i++)
			x[i] = _mm256_loadu_si256((const __m256i *)key[8 * half + i]);
		transpose(x);
		for (int i = 0; i < 8; i++)
			rows->word[i][half] = x[i];
	}
}
