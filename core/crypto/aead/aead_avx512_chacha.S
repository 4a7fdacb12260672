/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ChaCha20 for the AVX-512 kernels: 32 or 16 blocks at once, one block per 32-bit lane, each of any
 * packet and any place in it. See aead_avx512.h for the C side. Any thread.
 *
 * Why assembly: two states of 16 vectors fill all 32 registers, and there is nothing to spare. One
 * compiler keeps them there, another spills a third of them, and neither promises to do it again.
 * Here no vector register ever meets the stack: what does not fit goes to `spare`, which the caller
 * wipes.
 *
 * Why two states: simple vector instructions take two cycles on Zen 5 and four can start in each,
 * so the four chains of one state leave half of the machine idle. Where they take one cycle and two
 * can start (Intel), one state is enough, and what costs is the output: 128 shuffles on one port,
 * while the other has nothing to do. There one state is output while the next one is computed.
 *
 * Secrets decide no address and no jump: pointers, masks and counts come from lengths alone.
 */
#if defined(__x86_64__)
	.intel_syntax noprefix

#define A0 zmm0
#define A1 zmm1
#define A2 zmm2
#define A3 zmm3
#define A4 zmm4
#define A5 zmm5
#define A6 zmm6
#define A7 zmm7
#define A8 zmm8
#define A9 zmm9
#define A10 zmm10
#define A11 zmm11
#define A12 zmm12
#define A13 zmm13
#define A14 zmm14
#define A15 zmm15
#define B0 zmm16
#define B1 zmm17
#define B2 zmm18
#define B3 zmm19
#define B4 zmm20
#define B5 zmm21
#define B6 zmm22
#define B7 zmm23
#define B8 zmm24
#define B9 zmm25
#define B10 zmm26
#define B11 zmm27
#define B12 zmm28
#define B13 zmm29
#define B14 zmm30
#define B15 zmm31

/* struct chacha_rows, chacha_vars, chacha_places (aead_avx512.h checks these) */
#define ROW(n, half) [rdi + (n) * 128 + (half) * 64]
#define COUNTER(half) [rsi + (half) * 64]
#define SPARE(n) [rsi + 128 + (n) * 64]
#define SRC(lane) [rdx + (lane) * 8]
#define DST(lane) [rdx + 256 + (lane) * 8]
#define MASK(lane) [rdx + 512 + (lane) * 8]
/* impls.h */
#define NONCE_HEAD dword ptr [rip + aead_nonce_head]
/* struct poly_state */
#define STATE_SIZE 1728

/* s: A or B; the rest are word numbers */
#define ADD4(s, d0, d1, d2, d3, x0, x1, x2, x3) \
	vpaddd s##d0, s##d0, s##x0; vpaddd s##d1, s##d1, s##x1; \
	vpaddd s##d2, s##d2, s##x2; vpaddd s##d3, s##d3, s##x3
#define XOR4(s, d0, d1, d2, d3, x0, x1, x2, x3) \
	vpxord s##d0, s##d0, s##x0; vpxord s##d1, s##d1, s##x1; \
	vpxord s##d2, s##d2, s##x2; vpxord s##d3, s##d3, s##x3
#define ROL4(s, n, d0, d1, d2, d3) \
	vprold s##d0, s##d0, n; vprold s##d1, s##d1, n; \
	vprold s##d2, s##d2, n; vprold s##d3, s##d3, n

#define ONE(op, ...) op(A, __VA_ARGS__)
#define TWO(op, ...) op(A, __VA_ARGS__); op(B, __VA_ARGS__)

#define QUARTERS(each, a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3) \
	each(ADD4, a0, a1, a2, a3, b0, b1, b2, b3); \
	each(XOR4, d0, d1, d2, d3, a0, a1, a2, a3); \
	each(ROL4, 16, d0, d1, d2, d3); \
	each(ADD4, c0, c1, c2, c3, d0, d1, d2, d3); \
	each(XOR4, b0, b1, b2, b3, c0, c1, c2, c3); \
	each(ROL4, 12, b0, b1, b2, b3); \
	each(ADD4, a0, a1, a2, a3, b0, b1, b2, b3); \
	each(XOR4, d0, d1, d2, d3, a0, a1, a2, a3); \
	each(ROL4, 8, d0, d1, d2, d3); \
	each(ADD4, c0, c1, c2, c3, d0, d1, d2, d3); \
	each(XOR4, b0, b1, b2, b3, c0, c1, c2, c3); \
	each(ROL4, 7, b0, b1, b2, b3)

#define COLUMNS(each) QUARTERS(each, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#define DIAGONALS(each) QUARTERS(each, 0, 1, 2, 3, 5, 6, 7, 4, 10, 11, 8, 9, 15, 12, 13, 14)

#define START(s, half) \
	vpbroadcastd s##0, dword ptr [rip + sigma]; \
	vpbroadcastd s##1, dword ptr [rip + sigma + 4]; \
	vpbroadcastd s##2, dword ptr [rip + sigma + 8]; \
	vpbroadcastd s##3, dword ptr [rip + sigma + 12]; \
	vmovdqa32 s##4, ROW(0, half); vmovdqa32 s##5, ROW(1, half); \
	vmovdqa32 s##6, ROW(2, half); vmovdqa32 s##7, ROW(3, half); \
	vmovdqa32 s##8, ROW(4, half); vmovdqa32 s##9, ROW(5, half); \
	vmovdqa32 s##10, ROW(6, half); vmovdqa32 s##11, ROW(7, half); \
	vmovdqa32 s##12, COUNTER(half); vpbroadcastd s##13, NONCE_HEAD; \
	vmovdqa32 s##14, ROW(8, half); vmovdqa32 s##15, ROW(9, half)

/* The state that the rounds began with, added. */
#define FEED(s, half) \
	vpaddd s##0, s##0, dword ptr [rip + sigma]{1to16}; \
	vpaddd s##1, s##1, dword ptr [rip + sigma + 4]{1to16}; \
	vpaddd s##2, s##2, dword ptr [rip + sigma + 8]{1to16}; \
	vpaddd s##3, s##3, dword ptr [rip + sigma + 12]{1to16}; \
	vpaddd s##4, s##4, ROW(0, half); vpaddd s##5, s##5, ROW(1, half); \
	vpaddd s##6, s##6, ROW(2, half); vpaddd s##7, s##7, ROW(3, half); \
	vpaddd s##8, s##8, ROW(4, half); vpaddd s##9, s##9, ROW(5, half); \
	vpaddd s##10, s##10, ROW(6, half); vpaddd s##11, s##11, ROW(7, half); \
	vpaddd s##12, s##12, COUNTER(half); vpaddd s##13, s##13, NONCE_HEAD{1to16}; \
	vpaddd s##14, s##14, ROW(8, half); vpaddd s##15, s##15, ROW(9, half)

/* 4x4 words in each 128 bits: r0 to r3 become t, r3, r1, r0, and r2 is free. */
#define TURN_WORDS(r0, r1, r2, r3, t) \
	vpunpckldq t, r0, r1; vpunpckhdq r0, r0, r1; \
	vpunpckldq r1, r2, r3; vpunpckhdq r2, r2, r3; \
	vpunpckhqdq r3, t, r1; vpunpcklqdq t, t, r1; \
	vpunpcklqdq r1, r0, r2; vpunpckhqdq r0, r0, r2

/* The four 128-bit parts of blocks lane, lane + 4, + 8 and + 12 to whole blocks, and out. */
#define TURN_PARTS(x0, x1, x2, x3, lane, t, u) \
	vshufi32x4 t, x0, x1, 0x44; vshufi32x4 x0, x0, x1, 0xee; \
	vshufi32x4 x1, x2, x3, 0x44; vshufi32x4 x2, x2, x3, 0xee; \
	vshufi32x4 x3, t, x1, 0x88; vshufi32x4 t, t, x1, 0xdd; \
	vshufi32x4 x1, x0, x2, 0x88; vshufi32x4 x0, x0, x2, 0xdd; \
	OUT(x3, lane, u, k1); OUT(t, lane + 4, x2, k2); \
	OUT(x1, lane + 8, u, k3); OUT(x0, lane + 12, x2, k4)

#define OUT(block, lane, u, k) \
	mov rax, SRC(lane); mov r8, DST(lane); kmovq k, MASK(lane); \
	vmovdqu8 u{k}{z}, [rax + rcx]; vpxorq u, u, block; \
	vmovdqu8 [r8 + rcx]{k}, u; AFTER_OUT
#define AFTER_OUT

/* t, u: free */
#define FINISH(s, half, t, u) \
	FEED(s, half); \
	TURN_WORDS(s##0, s##1, s##2, s##3, t); \
	TURN_WORDS(s##4, s##5, s##6, s##7, s##2); \
	TURN_WORDS(s##8, s##9, s##10, s##11, s##6); \
	TURN_WORDS(s##12, s##13, s##14, s##15, s##10); \
	TURN_PARTS(t, s##2, s##6, s##10, half * 16, s##14, u); \
	TURN_PARTS(s##3, s##7, s##11, s##15, half * 16 + 1, s##14, u); \
	TURN_PARTS(s##1, s##5, s##9, s##13, half * 16 + 2, s##14, u); \
	TURN_PARTS(s##0, s##4, s##8, s##12, half * 16 + 3, s##14, u)

/* Where a block's last byte comes from and goes to; r9: the lane, times 8. */
#define FETCH(i) \
	mov r8, [rdx + r9 + i]; mov r10, [rdx + r9 + 256 + i]; \
	prefetcht0 [r8 + rcx + 63]; prefetchw [r10 + rcx + 63]

/* The first four lines of a text, `stride` (r8, and three times that in r11) apart. */
#define FETCH_FIRST(i) \
	mov r10, [rcx + r9 + i]; \
	prefetcht0 [r10]; prefetcht0 [r10 + r8]; prefetcht0 [r10 + r8 * 2]; prefetcht0 [r10 + r11]

#define FUNCTION(name) \
	.globl name; .hidden name; .type name, @function; .p2align 6; name: endbr64
#define END(name) .size name, . - name

	.section .rodata
	.p2align 6
pairs_low:
	.long 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
pairs_high:
	.long 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
sigma:	.ascii "expand 32-byte k"
	.hidden aead_nonce_head

	.text

/* void (const struct chacha_rows *, struct chacha_vars *, const struct chacha_places *, size_t) */
FUNCTION(aead_avx512_chacha32)
	START(A, 0)
	START(B, 1)
	mov eax, 10
	xor r9d, r9d
	.p2align 6
1:	FETCH(0)
	FETCH(8)
	COLUMNS(TWO)
	FETCH(16)
	FETCH(24)
	DIAGONALS(TWO)
	add r9d, 32
	and r9d, 255
	dec eax
	jnz 1b
	vmovdqa32 SPARE(0), B12
	vmovdqa32 SPARE(1), B13
	FINISH(A, 0, B12, B13)
	vmovdqa32 B12, SPARE(0)
	vmovdqa32 B13, SPARE(1)
	FINISH(B, 1, A0, A1)
	ret
END(aead_avx512_chacha32)

FUNCTION(aead_avx512_chacha16)
	START(A, 0)
	mov eax, 10
	.p2align 6
1:	COLUMNS(ONE)
	DIAGONALS(ONE)
	dec eax
	jnz 1b
	FINISH(A, 0, B0, B1)
	ret
END(aead_avx512_chacha16)

/* To 8 bytes of each of 8 packets: words `w` and `w` + 1 of the first or last 8 lanes. */
#define KEY_PART(s, w, w1, group, index, t) \
	vmovdqa32 t, index; vpermi2d t, s##w, s##w1; \
	vmovdqa32 [rdx + (group) * STATE_SIZE + 192 + (w) * 32], t

#define KEYS(s, half) \
	vpaddd s##0, s##0, dword ptr [rip + sigma]{1to16}; \
	vpaddd s##1, s##1, dword ptr [rip + sigma + 4]{1to16}; \
	vpaddd s##2, s##2, dword ptr [rip + sigma + 8]{1to16}; \
	vpaddd s##3, s##3, dword ptr [rip + sigma + 12]{1to16}; \
	vpaddd s##4, s##4, ROW(0, half); vpaddd s##5, s##5, ROW(1, half); \
	vpaddd s##6, s##6, ROW(2, half); vpaddd s##7, s##7, ROW(3, half); \
	KEY_PART(s, 0, 1, half * 2, A14, s##8); KEY_PART(s, 0, 1, half * 2 + 1, A15, s##9); \
	KEY_PART(s, 2, 3, half * 2, A14, s##10); KEY_PART(s, 2, 3, half * 2 + 1, A15, s##11); \
	KEY_PART(s, 4, 5, half * 2, A14, s##8); KEY_PART(s, 4, 5, half * 2 + 1, A15, s##9); \
	KEY_PART(s, 6, 7, half * 2, A14, s##10); KEY_PART(s, 6, 7, half * 2 + 1, A15, s##11)

/* void (const struct chacha_rows *, struct chacha_vars *, struct poly_state state[4],
 *       const uint8_t *const src[32], size_t stride) */
FUNCTION(aead_avx512_chacha32_keys)
	START(A, 0)
	START(B, 1)
	mov eax, 10
	xor r9d, r9d
	lea r11, [r8 + r8 * 2]
	.p2align 6
1:	FETCH_FIRST(0)
	FETCH_FIRST(8)
	COLUMNS(TWO)
	FETCH_FIRST(16)
	FETCH_FIRST(24)
	DIAGONALS(TWO)
	add r9d, 32
	and r9d, 255
	dec eax
	jnz 1b
	vmovdqa32 A14, [rip + pairs_low]
	vmovdqa32 A15, [rip + pairs_high]
	KEYS(A, 0)
	KEYS(B, 1)
	ret
END(aead_avx512_chacha32_keys)

/* --- one state, output of the last one in between --- */

#undef COUNTER
#define COUNTER(half) [r9]
#undef AFTER_OUT
#define AFTER_OUT prefetchw [r8 + rcx + 127]
#define RAW(n) [rsi + (n) * 64]

/* As TURN_WORDS, from memory to d0 to d3; t0 to t3: free */
#define TURN_RAW(n, d0, d1, d2, d3, t0, t1, t2, t3) \
	vmovdqa32 t0, RAW(n); vmovdqa32 t1, RAW(n + 2); \
	vpunpckldq t2, t0, RAW(n + 1); vpunpckhdq t0, t0, RAW(n + 1); \
	vpunpckldq t3, t1, RAW(n + 3); vpunpckhdq t1, t1, RAW(n + 3); \
	vpunpcklqdq d0, t2, t3; vpunpckhqdq d1, t2, t3; \
	vpunpcklqdq d2, t0, t1; vpunpckhqdq d3, t0, t1

/* The last four rows stay in memory: there is no register left for them. */
#define TURN_RAW_LAST \
	vmovdqa32 B12, RAW(12); vmovdqa32 B13, RAW(14); \
	vpunpckldq B14, B12, RAW(13); vpunpckhdq B12, B12, RAW(13); \
	vpunpckldq B15, B13, RAW(15); vpunpckhdq B13, B13, RAW(15); \
	vmovdqa32 RAW(15), B13; \
	vpunpcklqdq B13, B14, B15; vmovdqa32 RAW(12), B13; \
	vpunpckhqdq B13, B14, B15; vmovdqa32 RAW(13), B13; \
	vpunpcklqdq B13, B12, RAW(15); vmovdqa32 RAW(14), B13; \
	vpunpckhqdq B13, B12, RAW(15); vmovdqa32 RAW(15), B13

#define SLICE_0 TURN_RAW(0, B0, B1, B2, B3, B12, B13, B14, B15)
#define SLICE_1 TURN_RAW(4, B4, B5, B6, B7, B12, B13, B14, B15)
#define SLICE_2 TURN_RAW(8, B8, B9, B10, B11, B12, B13, B14, B15)
#define SLICE_3 TURN_RAW_LAST

/* As TURN_PARTS, x3 in memory. */
#define SLICE_OUT(lane, x0, x1, x2) \
	vshufi32x4 B12, x0, x1, 0x44; vshufi32x4 x0, x0, x1, 0xee; \
	vshufi32x4 B13, x2, RAW(12 + lane), 0x44; vshufi32x4 x2, x2, RAW(12 + lane), 0xee; \
	vshufi32x4 B14, B12, B13, 0x88; vshufi32x4 B12, B12, B13, 0xdd; \
	vshufi32x4 B13, x0, x2, 0x88; vshufi32x4 x0, x0, x2, 0xdd; \
	OUT(B14, lane, B15, k1); OUT(B12, lane + 4, x1, k2); \
	OUT(B13, lane + 8, B15, k3); OUT(x0, lane + 12, x2, k4)

#define SLICE_4 SLICE_OUT(0, B0, B4, B8)
#define SLICE_5 SLICE_OUT(1, B1, B5, B9)
#define SLICE_6 SLICE_OUT(2, B2, B6, B10)
#define SLICE_7 SLICE_OUT(3, B3, B7, B11)

#define RAW4(a, b, c, d) \
	vmovdqa32 RAW(a), A##a; vmovdqa32 RAW(b), A##b; \
	vmovdqa32 RAW(c), A##c; vmovdqa32 RAW(d), A##d
#define STORE_RAW \
	FEED(A, 0); \
	RAW4(0, 1, 2, 3); RAW4(4, 5, 6, 7); RAW4(8, 9, 10, 11); RAW4(12, 13, 14, 15)

/* All: void (const struct chacha_rows *, __m512i raw[16], const struct chacha_places *last,
 *            size_t offset_of_last, const __m512i *counter) */

/* There is no last one. */
FUNCTION(aead_avx512_piped_begin)
	mov r9, r8
	START(A, 0)
	mov eax, 10
	.p2align 6
1:	COLUMNS(ONE)
	DIAGONALS(ONE)
	dec eax
	jnz 1b
	STORE_RAW
	ret
END(aead_avx512_piped_begin)

FUNCTION(aead_avx512_piped_next)
	mov r9, r8
	START(A, 0)
	COLUMNS(ONE)
	SLICE_0
	DIAGONALS(ONE)
	SLICE_1
	COLUMNS(ONE)
	SLICE_2
	DIAGONALS(ONE)
	SLICE_3
	COLUMNS(ONE)
	SLICE_4
	DIAGONALS(ONE)
	SLICE_5
	COLUMNS(ONE)
	SLICE_6
	DIAGONALS(ONE)
	SLICE_7
	mov eax, 6
	.p2align 6
1:	COLUMNS(ONE)
	DIAGONALS(ONE)
	dec eax
	jnz 1b
	STORE_RAW
	ret
END(aead_avx512_piped_next)

/* There is no next one. */
FUNCTION(aead_avx512_piped_end)
	SLICE_0
	SLICE_1
	SLICE_2
	SLICE_3
	SLICE_4
	SLICE_5
	SLICE_6
	SLICE_7
	ret
END(aead_avx512_piped_end)

/* Nothing of a key stays in a register, or on the stack where the functions below the caller kept
 * what found no register. */
FUNCTION(aead_avx512_forget)
	vzeroall
	.irp n, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
	vpxord zmm\n, zmm\n, zmm\n
	.endr
	.irp n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16
	vmovdqu64 [rsp - \n * 64], zmm16
	.endr
	vzeroupper
	xor eax, eax
	xor ecx, ecx
	xor edx, edx
	xor esi, esi
	xor edi, edi
	xor r8d, r8d
	xor r9d, r9d
	xor r10d, r10d
	xor r11d, r11d
	ret
END(aead_avx512_forget)
#endif

	.section .note.GNU-stack, "", @progbits
