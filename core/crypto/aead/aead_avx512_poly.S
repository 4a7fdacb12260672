/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Poly1305's inner loop for the AVX-512 kernels: 64 bytes of each of 8 packets a step. The rest is
 * in aead_avx512_poly.c. Any thread.
 *
 * Each packet's 16-byte blocks are loaded straight to their place in a vector, by masked broadcasts:
 * whole lines and a transpose would need two thirds more of the shuffles that share their pipes with
 * the multiply-adds. Carries, too, are multiply-adds by powers of two where that saves an addition.
 */
#if defined(__x86_64__)
	.intel_syntax noprefix

/* struct poly_state */
#define H(i) [rdi + (i) * 64]
#define POWER(n, i) [rdi + 448 + (n) * 320 + (i) * 64]

#define STATE_SIZE 1728

/* struct poly_group */
#define GROUP_FROM 320
#define GROUP_MARK 448
#define GROUP_SIZE 1216

#define LO0 zmm3
#define LO1 zmm4
#define LO2 zmm5
#define HI0 zmm6
#define HI1 zmm7
#define HI2 zmm8
#define BITS_44 zmm9
#define BITS_42 zmm10
#define TIMES_5120 zmm12
#define TIMES_256 zmm13
#define TIMES_5 zmm14

#define CONSTANT(v, x) mov rax, x; vpbroadcastq v, rax

/* zmm19 to zmm21: the blocks `at` bytes into the step, in limbs */
#define BLOCKS(at, mark) \
	vmovdqu64 xmm15, [rax + rdx + at]; \
	vmovdqu64 xmm16, [r8 + rdx + at]; \
	vbroadcasti64x2 zmm15{k1}, [r9 + rdx + at]; \
	vbroadcasti64x2 zmm16{k1}, [r10 + rdx + at]; \
	vbroadcasti64x2 zmm15{k2}, [r11 + rdx + at]; \
	vbroadcasti64x2 zmm16{k2}, [rbx + rdx + at]; \
	vbroadcasti64x2 zmm15{k3}, [r12 + rdx + at]; \
	vbroadcasti64x2 zmm16{k3}, [r13 + rdx + at]; \
	vpunpcklqdq zmm17, zmm15, zmm16; \
	vpunpckhqdq zmm18, zmm15, zmm16; \
	vpandq zmm19, zmm17, BITS_44; \
	vpshrdq zmm20, zmm17, zmm18, 44; \
	vpandq zmm20, zmm20, BITS_44; \
	vpsrlq zmm21, zmm18, 24; \
	vporq zmm21, zmm21, mark

#define MADD(lo, hi, m, r) vpmadd52luq lo, m, r; vpmadd52huq hi, m, r

/* sums += m times r^(n + 1) */
#define MULTIPLY(n) \
	vmovdqa64 zmm22, POWER(n, 0); vmovdqa64 zmm23, POWER(n, 1); vmovdqa64 zmm24, POWER(n, 2); \
	vmovdqa64 zmm25, POWER(n, 3); vmovdqa64 zmm26, POWER(n, 4); \
	MADD(LO0, HI0, zmm19, zmm22); MADD(LO1, HI1, zmm19, zmm23); MADD(LO2, HI2, zmm19, zmm24); \
	MADD(LO0, HI0, zmm20, zmm26); MADD(LO1, HI1, zmm20, zmm22); MADD(LO2, HI2, zmm20, zmm23); \
	MADD(LO0, HI0, zmm21, zmm25); MADD(LO1, HI1, zmm21, zmm26); MADD(LO2, HI2, zmm21, zmm22)

#define ADD_SUM \
	vpaddq zmm19, zmm19, zmm0; vpaddq zmm20, zmm20, zmm1; vpaddq zmm21, zmm21, zmm2

#define SUMS_CLEAR \
	vpxorq LO0, LO0, LO0; vpxorq LO1, LO1, LO1; vpxorq LO2, LO2, LO2; \
	vpxorq HI0, HI0, HI0; vpxorq HI1, HI1, HI1; vpxorq HI2, HI2, HI2

/* The sums to limbs below 2^44 + 2^17, 2^44 and 2^42. */
#define CARRY \
	vpmadd52luq LO0, HI2, TIMES_5120; \
	vpmadd52luq LO1, HI0, TIMES_256; \
	vpmadd52luq LO2, HI1, TIMES_256; \
	vpsrlq zmm15, LO0, 44; vpandq zmm0, LO0, BITS_44; vpaddq LO1, LO1, zmm15; \
	vpsrlq zmm15, LO1, 44; vpandq zmm1, LO1, BITS_44; vpaddq LO2, LO2, zmm15; \
	vpsrlq zmm15, LO2, 42; vpandq zmm2, LO2, BITS_42; \
	vpmadd52luq zmm0, zmm15, TIMES_5

#define CONSTANTS \
	CONSTANT(BITS_44, 0xfffffffffff); \
	CONSTANT(BITS_42, 0x3ffffffffff); \
	CONSTANT(TIMES_5120, 5120); \
	CONSTANT(TIMES_256, 256); \
	CONSTANT(TIMES_5, 5); \
	mov eax, 0x0c; kmovd k1, eax; \
	mov eax, 0x30; kmovd k2, eax; \
	mov eax, 0xc0; kmovd k3, eax

#define TEXTS(from) \
	mov rax, [rsi + from]; mov r8, [rsi + from + 8]; \
	mov r9, [rsi + from + 16]; mov r10, [rsi + from + 24]; \
	mov r11, [rsi + from + 32]; mov rbx, [rsi + from + 40]; \
	mov r12, [rsi + from + 48]; mov r13, [rsi + from + 56]

/* A few steps ahead, when steps follow each other. */
#define FETCH \
	prefetcht0 [rax + rdx + AHEAD]; prefetcht0 [r8 + rdx + AHEAD]; \
	prefetcht0 [r9 + rdx + AHEAD]; prefetcht0 [r10 + rdx + AHEAD]; \
	prefetcht0 [r11 + rdx + AHEAD]; prefetcht0 [rbx + rdx + AHEAD]; \
	prefetcht0 [r12 + rdx + AHEAD]; prefetcht0 [r13 + rdx + AHEAD]
#define AHEAD 256

#define SUM_LOAD vmovdqa64 zmm0, H(0); vmovdqa64 zmm1, H(1); vmovdqa64 zmm2, H(2)
#define SUM_STORE vmovdqa64 H(0), zmm0; vmovdqa64 H(1), zmm1; vmovdqa64 H(2), zmm2

/* Afterwards rax to r13 are the texts, rsi the marks and rdx 0; rcx is as it came. */
#define ENTER \
	push rbx; push r12; push r13; \
	CONSTANTS; \
	TEXTS(0); \
	mov rsi, rdx; \
	xor edx, edx; \
	SUM_LOAD

#define LEAVE \
	SUM_STORE; \
	pop r13; pop r12; pop rbx; \
	ret

#define FUNCTION(name) \
	.globl name; .hidden name; .type name, @function; .p2align 6; name: endbr64
#define END(name) .size name, . - name

	.text

/* void (struct poly_state *, const uint8_t *const text[8], const __m512i mark[4], size_t n):
 * h = (h + m0) r^4 + m1 r^3 + m2 r^2 + m3 r, n times */
FUNCTION(aead_avx512_poly_steps)
	ENTER
	.p2align 6
1:	SUMS_CLEAR
	BLOCKS(16, [rsi + 64])
	MULTIPLY(2)
	BLOCKS(32, [rsi + 128])
	MULTIPLY(1)
	BLOCKS(48, [rsi + 192])
	MULTIPLY(0)
	BLOCKS(0, [rsi + 0])
	ADD_SUM
	MULTIPLY(3)
	CARRY
	FETCH
	add rdx, 64
	dec rcx
	jnz 1b
	LEAVE
END(aead_avx512_poly_steps)

/* The same arguments: once, without the first n blocks, 1 to 3, of any lane; h was 0. */
FUNCTION(aead_avx512_poly_begin)
	ENTER
	SUMS_CLEAR
	cmp ecx, 2
	ja 3f
	je 2f
	BLOCKS(16, [rsi + 64])
	MULTIPLY(2)
2:	BLOCKS(32, [rsi + 128])
	MULTIPLY(1)
3:	BLOCKS(48, [rsi + 192])
	MULTIPLY(0)
	CARRY
	LEAVE
END(aead_avx512_poly_begin)

/* void (struct poly_state state[], struct poly_group group[], size_t n): one step of n groups with r
 * alone, block by block: h = (h + m) r. One group waits for each product, several do not. */
FUNCTION(aead_avx512_poly_short)
	push rbx
	push r12
	push r13
	push r14
	push r15
	push rbp
	mov rcx, rdx
	mov r14, rdi
	mov r15, rsi
	CONSTANTS
	xor edx, edx
	.p2align 5
1:	mov rdi, r14
	mov rsi, r15
	mov rbp, rcx
2:	TEXTS(GROUP_FROM)
	SUMS_CLEAR
	BLOCKS(0, [rsi + rdx * 4 + GROUP_MARK])
	SUM_LOAD
	ADD_SUM
	MULTIPLY(0)
	CARRY
	SUM_STORE
	add rdi, STATE_SIZE
	add rsi, GROUP_SIZE
	dec rbp
	jnz 2b
	add edx, 16
	cmp edx, 64
	jb 1b
	pop rbp
	pop r15
	pop r14
	pop r13
	pop r12
	pop rbx
	ret
END(aead_avx512_poly_short)
#endif

	.section .note.GNU-stack, "", @progbits
