/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * AES-128-GCM with VAES and VPCLMULQDQ: four blocks a register, four registers a step. Any thread.
 *
 * GHASH reads the bits of a byte from the highest down. Blocks are turned around, so that they are
 * polynomials as the multiplication knows them, but for one factor of x in each product; the hash
 * key has that factor from the start. Sixteen blocks are multiplied by the key's 16th to first
 * power and reduced once; a step of fewer begins at a lower power. Counters are kept turned around,
 * too: the 32 bits that count are a register's lowest.
 *
 * No branch and no address depends on key or text.
 */
#include "aes_gcm_vaes.h"

#include <immintrin.h>
#include <string.h>

#include "aead/wipe.h"

#define BLOCK 16
#define VECTOR 64
#define VECTORS 4
#define STEP (VECTORS * VECTOR)
#define ROUNDS 10
#define POWERS 16
#define STACK_DEPTH 2048

#define INLINE static inline __attribute__((always_inline))

INLINE __m128i load(const uint8_t *at)
{
	return _mm_loadu_si128((const __m128i *)at);
}

INLINE void store(uint8_t *at, __m128i value)
{
	_mm_storeu_si128((__m128i *)at, value);
}

INLINE __m128i turned(void)
{
	return _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

INLINE __m128i turn(__m128i block)
{
	return _mm_shuffle_epi8(block, turned());
}

INLINE __m512i turn_each(__m512i blocks)
{
	return _mm512_shuffle_epi8(blocks, _mm512_broadcast_i32x4(turned()));
}

/* ---- GHASH ----------------------------------------------------------------------------------- */

/* x^128 = x^127 + x^126 + x^121 + 1, in the bits' order of a turned block. */
#define POLYNOMIAL 0xc200000000000000ull

/* A product of 256 bits that is not reduced yet: `middle` counts 64 bits higher than `low`. */
struct product {
	__m512i low, middle, high;
};

INLINE void multiply_add(struct product *sum, __m512i a, __m512i b)
{
	__m512i cross = _mm512_xor_si512(
		_mm512_clmulepi64_epi128(a, b, 0x01), _mm512_clmulepi64_epi128(a, b, 0x10));

	sum->low = _mm512_xor_si512(sum->low, _mm512_clmulepi64_epi128(a, b, 0x00));
	sum->middle = _mm512_xor_si512(sum->middle, cross);
	sum->high = _mm512_xor_si512(sum->high, _mm512_clmulepi64_epi128(a, b, 0x11));
}

/* The lower half of `low` is made zero by multiples of the polynomial, and falls away. */
INLINE __m512i fold(__m512i low, __m512i high)
{
	__m512i multiple =
		_mm512_clmulepi64_epi128(low, _mm512_set1_epi64((long long)POLYNOMIAL), 0x00);
	__m512i swapped = _mm512_shuffle_epi32(low, _MM_PERM_BADC);

	return _mm512_ternarylogic_epi64(high, swapped, multiple, 0x96);
}

/* Of all four, the sum. */
INLINE __m128i reduce(const struct product *sum)
{
	__m512i four = fold(fold(sum->low, sum->middle), sum->high);
	__m256i two =
		_mm256_xor_si256(_mm512_castsi512_si256(four), _mm512_extracti64x4_epi64(four, 1));

	return _mm_xor_si128(_mm256_castsi256_si128(two), _mm256_extracti128_si256(two, 1));
}

INLINE __m128i multiply(__m128i a, __m128i b)
{
	struct product product = {0};

	multiply_add(&product, _mm512_zextsi128_si512(a), _mm512_zextsi128_si512(b));
	return reduce(&product);
}

/* By x: the highest bit becomes the polynomial. */
INLINE __m128i double_of(__m128i a)
{
	__m128i over = _mm_srli_epi64(a, 63);
	__m128i high_bit = _mm_unpackhi_epi64(over, over);
	__m128i multiple = _mm_and_si128(_mm_sub_epi64(_mm_setzero_si128(), high_bit),
		_mm_set_epi64x((long long)POLYNOMIAL, 1));

	a = _mm_or_si128(_mm_slli_epi64(a, 1), _mm_slli_si128(over, 8));
	return _mm_xor_si128(a, multiple);
}

/* `n` vectors of ciphertext, whose first block is to be multiplied by the power at `powers`. */
INLINE __m128i hash_blocks(__m128i hash, const __m512i *vectors, unsigned n, const uint8_t *powers)
{
	struct product sum = {0};

	for (unsigned i = 0; i < n; i++) {
		__m512i blocks = turn_each(vectors[i]);

		if (i == 0)
			blocks = _mm512_xor_si512(blocks, _mm512_zextsi128_si512(hash));
		multiply_add(&sum, blocks, _mm512_loadu_si512(powers + i * VECTOR));
	}
	return reduce(&sum);
}

/* ---- AES ------------------------------------------------------------------------------------- */

struct cipher {
	__m512i rounds[ROUNDS + 1];
	__m512i counters; /* of the next four blocks */
};

INLINE __m128i encrypt_one(const struct aes_gcm_key *key, __m128i block)
{
	block = _mm_xor_si128(block, load(key->rounds[0]));
	for (unsigned i = 1; i < ROUNDS; i++)
		block = _mm_aesenc_si128(block, load(key->rounds[i]));
	return _mm_aesenclast_si128(block, load(key->rounds[ROUNDS]));
}

INLINE void keystream(struct cipher *cipher, __m512i *out, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		out[i] = _mm512_xor_si512(turn_each(cipher->counters), cipher->rounds[0]);
		cipher->counters = _mm512_add_epi32(
			cipher->counters, _mm512_broadcast_i32x4(_mm_set_epi32(0, 0, 0, 4)));
	}
	for (unsigned round = 1; round < ROUNDS; round++)
		for (unsigned i = 0; i < n; i++)
			out[i] = _mm512_aesenc_epi128(out[i], cipher->rounds[round]);
	for (unsigned i = 0; i < n; i++)
		out[i] = _mm512_aesenclast_epi128(out[i], cipher->rounds[ROUNDS]);
}

/* ---- a message ------------------------------------------------------------------------------- */

struct pass {
	const struct aes_gcm_key *key;
	struct cipher cipher;
	__m128i hash;
	__m128i mask; /* of the tag: the first block of the key stream */
	bool opens;
};

INLINE __m128i power(const struct aes_gcm_key *key, unsigned n)
{
	return load(key->powers[POWERS - n]);
}

INLINE void begin(struct pass *pass, const struct aes_gcm_message *message)
{
	__m128i nonce = _mm_maskz_loadu_epi8((1u << AES_GCM_NONCE_LEN) - 1, message->nonce);
	__m128i head = _mm_maskz_loadu_epi8((1u << message->head_len) - 1, message->head);
	__m128i first = _mm_or_si128(nonce, _mm_set_epi32(1 << 24, 0, 0, 0));
	__m512i counters = _mm512_broadcast_i32x4(turn(first));

	for (unsigned i = 0; i <= ROUNDS; i++)
		pass->cipher.rounds[i] = _mm512_broadcast_i32x4(load(pass->key->rounds[i]));
	pass->cipher.counters = _mm512_add_epi32(
		counters, _mm512_set_epi32(0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 1));
	pass->mask = encrypt_one(pass->key, first);
	pass->hash = _mm_setzero_si128();
	if (message->head_len)
		pass->hash = multiply(turn(head), power(pass->key, 1));
}

INLINE void whole_step(struct pass *pass, const uint8_t *from, uint8_t *to)
{
	__m512i stream[VECTORS], sealed[VECTORS];

	keystream(&pass->cipher, stream, VECTORS);
	for (unsigned i = 0; i < VECTORS; i++) {
		__m512i in = _mm512_loadu_si512(from + i * VECTOR);
		__m512i out = _mm512_xor_si512(in, stream[i]);

		_mm512_storeu_si512(to + i * VECTOR, out);
		sealed[i] = pass->opens ? in : out;
	}
	pass->hash = hash_blocks(pass->hash, sealed, VECTORS, pass->key->powers[0]);
}

/* The first `n` bytes of a vector. */
INLINE __mmask64 bytes_mask(size_t n)
{
	return n >= VECTOR ? ~0ull : (1ull << n) - 1;
}

/* What is left: `len` bytes, and one more if `last` is not -1; STEP at most. */
INLINE void last_step(struct pass *pass, const uint8_t *from, size_t len, int last, uint8_t *to)
{
	size_t all = len + (last >= 0), blocks = (all + BLOCK - 1) / BLOCK;
	unsigned n = (unsigned)((all + VECTOR - 1) / VECTOR);
	__m512i stream[VECTORS], sealed[VECTORS];

	if (!all)
		return;
	keystream(&pass->cipher, stream, VECTORS);
	for (unsigned i = 0; i < n; i++) {
		size_t at = i * VECTOR;
		__mmask64 there = len > at ? bytes_mask(len - at) : 0,
			  wanted = bytes_mask(all - at);
		__m512i in = _mm512_maskz_loadu_epi8(there, from + at), out;

		in = _mm512_mask_set1_epi8(in, wanted & ~there, (char)last);
		out = _mm512_maskz_mov_epi8(wanted, _mm512_xor_si512(in, stream[i]));
		_mm512_mask_storeu_epi8(to + at, wanted, out);
		sealed[i] = pass->opens ? in : out;
	}
	pass->hash = hash_blocks(pass->hash, sealed, n, pass->key->powers[POWERS - blocks]);
}

/* Ends with the tag. */
INLINE __m128i run(
	struct pass *pass, const struct aes_gcm_message *message, size_t len, int last, uint8_t *to)
{
	size_t at = 0, all = len + (last >= 0);
	__m128i lengths = _mm_set_epi64x((long long)message->head_len * 8, (long long)all * 8);

	begin(pass, message);
	for (; len - at >= STEP; at += STEP)
		whole_step(pass, message->bytes + at, to + at);
	last_step(pass, message->bytes + at, len - at, last, to + at);
	pass->hash = multiply(_mm_xor_si128(pass->hash, lengths), power(pass->key, 1));
	return _mm_xor_si128(turn(pass->hash), pass->mask);
}

static __attribute__((noinline)) void seal_here(
	const struct aes_gcm_key *key, const struct aes_gcm_message *message, uint8_t *to)
{
	struct pass pass = {.key = key, .opens = false};
	__m128i tag = run(&pass, message, message->len, message->last, to);

	store(to + message->len + (message->last >= 0), tag);
}

static __attribute__((noinline)) bool open_here(
	const struct aes_gcm_key *key, const struct aes_gcm_message *message, uint8_t *to)
{
	struct pass pass = {.key = key, .opens = true};
	size_t len = message->len - AES_GCM_TAG_LEN;
	__m128i tag = run(&pass, message, len, -1, to);
	__m128i differs = _mm_xor_si128(tag, load(message->bytes + len));

	return _mm_testz_si128(differs, differs);
}

static void seal(const struct aes_gcm_key *key, const struct aes_gcm_message *message, uint8_t *to)
{
	seal_here(key, message, to);
	wipe_stack(STACK_DEPTH);
	wipe_vectors_avx512();
}

static bool open(const struct aes_gcm_key *key, const struct aes_gcm_message *message, uint8_t *to)
{
	bool right = message->len >= AES_GCM_TAG_LEN && open_here(key, message, to);

	wipe_stack(STACK_DEPTH);
	wipe_vectors_avx512();
	if (!right && message->len > AES_GCM_TAG_LEN)
		memset(to, 0, message->len - AES_GCM_TAG_LEN);
	return right;
}

/* ---- keys ------------------------------------------------------------------------------------ */

INLINE __m128i next_round(__m128i key, __m128i assist)
{
	key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
	key = _mm_xor_si128(key, _mm_slli_si128(key, 8));
	return _mm_xor_si128(key, _mm_shuffle_epi32(assist, 0xff));
}

#define ROUND(n, constant)                                                             \
	do {                                                                           \
		round = next_round(round, _mm_aeskeygenassist_si128(round, constant)); \
		store(key->rounds[n], round);                                          \
	} while (0)

static __attribute__((noinline)) void key_here(
	struct aes_gcm_key *key, const uint8_t bytes[static AES_GCM_KEY_LEN])
{
	__m128i round = load(bytes), first, next;

	memset(key, 0, sizeof(*key));
	store(key->rounds[0], round);
	ROUND(1, 0x01);
	ROUND(2, 0x02);
	ROUND(3, 0x04);
	ROUND(4, 0x08);
	ROUND(5, 0x10);
	ROUND(6, 0x20);
	ROUND(7, 0x40);
	ROUND(8, 0x80);
	ROUND(9, 0x1b);
	ROUND(10, 0x36);
	first = next = double_of(turn(encrypt_one(key, _mm_setzero_si128())));
	for (unsigned n = 1; n <= POWERS; n++) {
		store(key->powers[POWERS - n], next);
		next = multiply(next, first);
	}
}

static void key_init(struct aes_gcm_key *key, const uint8_t bytes[static AES_GCM_KEY_LEN])
{
	key_here(key, bytes);
	wipe_stack(STACK_DEPTH);
	wipe_vectors_avx512();
}

const struct aes_gcm aes_gcm_vaes = {.key = key_init, .seal = seal, .open = open};
