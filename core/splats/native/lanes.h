// Eight floats at once. AVX2+FMA by intrinsics where the compiler targets them; elsewhere pairs of four by the vector
// extensions of GCC and Clang (NEON, SSE2), with the instructions of SSE4.1 that they do not find: blends and rounding.
// Pairs of four, not one of eight: GCC 12 turns 256-bit vector extensions into scalar code on SSE targets, four to six
// times slower.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
#define LANES_AVX2 1
#elif defined(__SSE4_1__)
#include <smmintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define LANES_INLINE static inline __attribute__((always_inline))
#define LANES_INLINE_MEMBER inline __attribute__((always_inline))
#if defined(__clang__)
#define LANES_UNROLL _Pragma("clang loop unroll(full)")
#else
#define LANES_UNROLL _Pragma("GCC unroll 16")
#endif

namespace {

#ifdef LANES_AVX2

struct V8 { __m256 v; };
struct M8 { __m256 v; };  // all bits of a lane set or none

LANES_INLINE V8 set1(float x) { return {_mm256_set1_ps(x)}; }
LANES_INLINE V8 zeros() { return {_mm256_setzero_ps()}; }
LANES_INLINE V8 set8(float a, float b, float c, float d, float e, float f, float g, float h) { return {_mm256_setr_ps(a, b, c, d, e, f, g, h)}; }
LANES_INLINE V8 load(const float* p) { return {_mm256_load_ps(p)}; }
LANES_INLINE V8 loadu(const float* p) { return {_mm256_loadu_ps(p)}; }
LANES_INLINE void store(float* p, V8 a) { _mm256_store_ps(p, a.v); }
LANES_INLINE void storeu(float* p, V8 a) { _mm256_storeu_ps(p, a.v); }
LANES_INLINE void store_int(int32_t* p, V8 a) { _mm256_store_si256((__m256i*)p, _mm256_cvttps_epi32(a.v)); }
LANES_INLINE V8 operator+(V8 a, V8 b) { return {_mm256_add_ps(a.v, b.v)}; }
LANES_INLINE V8 operator-(V8 a, V8 b) { return {_mm256_sub_ps(a.v, b.v)}; }
LANES_INLINE V8 operator*(V8 a, V8 b) { return {_mm256_mul_ps(a.v, b.v)}; }
LANES_INLINE V8 operator/(V8 a, V8 b) { return {_mm256_div_ps(a.v, b.v)}; }
LANES_INLINE V8 fma(V8 a, V8 b, V8 c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }    // a b + c
LANES_INLINE V8 fnma(V8 a, V8 b, V8 c) { return {_mm256_fnmadd_ps(a.v, b.v, c.v)}; }  // c - a b
LANES_INLINE V8 min(V8 a, V8 b) { return {_mm256_min_ps(a.v, b.v)}; }  // b where either is NaN
LANES_INLINE V8 max(V8 a, V8 b) { return {_mm256_max_ps(a.v, b.v)}; }
LANES_INLINE V8 sqrt(V8 a) { return {_mm256_sqrt_ps(a.v)}; }
LANES_INLINE V8 floor(V8 a) { return {_mm256_floor_ps(a.v)}; }
LANES_INLINE V8 ceil(V8 a) { return {_mm256_ceil_ps(a.v)}; }
LANES_INLINE M8 operator<=(V8 a, V8 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LE_OQ)}; }
LANES_INLINE M8 operator<(V8 a, V8 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
LANES_INLINE M8 operator>=(V8 a, V8 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_GE_OQ)}; }
LANES_INLINE M8 operator>(V8 a, V8 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_GT_OQ)}; }
LANES_INLINE M8 operator&(M8 a, M8 b) { return {_mm256_and_ps(a.v, b.v)}; }
LANES_INLINE M8 operator|(M8 a, M8 b) { return {_mm256_or_ps(a.v, b.v)}; }
LANES_INLINE V8 keep(V8 a, M8 m) { return {_mm256_and_ps(a.v, m.v)}; }  // 0 where not m
LANES_INLINE V8 select(M8 m, V8 yes, V8 no) { return {_mm256_blendv_ps(no.v, yes.v, m.v)}; }
LANES_INLINE V8 negative(V8 a) { return {_mm256_or_ps(a.v, _mm256_set1_ps(-0.f))}; }  // -|a|
LANES_INLINE int bits(M8 m) { return _mm256_movemask_ps(m.v); }
LANES_INLINE int sign_bits(V8 a) { return _mm256_movemask_ps(a.v); }
LANES_INLINE void transpose(V8* r) {
    __m256 a0 = _mm256_unpacklo_ps(r[0].v, r[1].v), a1 = _mm256_unpackhi_ps(r[0].v, r[1].v);
    __m256 a2 = _mm256_unpacklo_ps(r[2].v, r[3].v), a3 = _mm256_unpackhi_ps(r[2].v, r[3].v);
    __m256 a4 = _mm256_unpacklo_ps(r[4].v, r[5].v), a5 = _mm256_unpackhi_ps(r[4].v, r[5].v);
    __m256 a6 = _mm256_unpacklo_ps(r[6].v, r[7].v), a7 = _mm256_unpackhi_ps(r[6].v, r[7].v);
    __m256 b0 = _mm256_shuffle_ps(a0, a2, 0x44), b1 = _mm256_shuffle_ps(a0, a2, 0xEE);
    __m256 b2 = _mm256_shuffle_ps(a1, a3, 0x44), b3 = _mm256_shuffle_ps(a1, a3, 0xEE);
    __m256 b4 = _mm256_shuffle_ps(a4, a6, 0x44), b5 = _mm256_shuffle_ps(a4, a6, 0xEE);
    __m256 b6 = _mm256_shuffle_ps(a5, a7, 0x44), b7 = _mm256_shuffle_ps(a5, a7, 0xEE);
    r[0].v = _mm256_permute2f128_ps(b0, b4, 0x20); r[1].v = _mm256_permute2f128_ps(b1, b5, 0x20);
    r[2].v = _mm256_permute2f128_ps(b2, b6, 0x20); r[3].v = _mm256_permute2f128_ps(b3, b7, 0x20);
    r[4].v = _mm256_permute2f128_ps(b0, b4, 0x31); r[5].v = _mm256_permute2f128_ps(b1, b5, 0x31);
    r[6].v = _mm256_permute2f128_ps(b2, b6, 0x31); r[7].v = _mm256_permute2f128_ps(b3, b7, 0x31);
}
// the eight horizontal sums of a[0] ... a[7]
LANES_INLINE V8 sums(const V8* a) {
    __m256 t0 = _mm256_hadd_ps(a[0].v, a[1].v), t1 = _mm256_hadd_ps(a[2].v, a[3].v);
    __m256 t2 = _mm256_hadd_ps(a[4].v, a[5].v), t3 = _mm256_hadd_ps(a[6].v, a[7].v);
    __m256 u0 = _mm256_hadd_ps(t0, t1), u1 = _mm256_hadd_ps(t2, t3);
    return {_mm256_add_ps(_mm256_permute2f128_ps(u0, u1, 0x20), _mm256_permute2f128_ps(u0, u1, 0x31))};
}
LANES_INLINE float sum(V8 a) {
    __m128 h = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
    h = _mm_add_ps(h, _mm_movehl_ps(h, h));
    return _mm_cvtss_f32(_mm_add_ss(h, _mm_shuffle_ps(h, h, 1)));
}

#else

typedef float F4 __attribute__((vector_size(16)));
typedef int32_t I4 __attribute__((vector_size(16)));
struct V8 { F4 a, b; };
struct M8 { I4 a, b; };

LANES_INLINE V8 set1(float x) { return {F4{x, x, x, x}, F4{x, x, x, x}}; }
LANES_INLINE V8 zeros() { return {F4{}, F4{}}; }
LANES_INLINE V8 set8(float a, float b, float c, float d, float e, float f, float g, float h) { return {F4{a, b, c, d}, F4{e, f, g, h}}; }
LANES_INLINE V8 loadu(const float* p) { V8 r; std::memcpy(&r.a, p, 16); std::memcpy(&r.b, p + 4, 16); return r; }
LANES_INLINE V8 load(const float* p) { return {*(const F4*)p, *(const F4*)(p + 4)}; }
LANES_INLINE void store(float* p, V8 a) { *(F4*)p = a.a; *(F4*)(p + 4) = a.b; }
LANES_INLINE void storeu(float* p, V8 a) { std::memcpy(p, &a.a, 16); std::memcpy(p + 4, &a.b, 16); }
LANES_INLINE void store_int(int32_t* p, V8 a) { *(I4*)p = __builtin_convertvector(a.a, I4); *(I4*)(p + 4) = __builtin_convertvector(a.b, I4); }
LANES_INLINE V8 operator+(V8 a, V8 b) { return {a.a + b.a, a.b + b.b}; }
LANES_INLINE V8 operator-(V8 a, V8 b) { return {a.a - b.a, a.b - b.b}; }
LANES_INLINE V8 operator*(V8 a, V8 b) { return {a.a * b.a, a.b * b.b}; }
LANES_INLINE V8 operator/(V8 a, V8 b) { return {a.a / b.a, a.b / b.b}; }
LANES_INLINE V8 fma(V8 a, V8 b, V8 c) { return {a.a * b.a + c.a, a.b * b.b + c.b}; }
LANES_INLINE V8 fnma(V8 a, V8 b, V8 c) { return {c.a - a.a * b.a, c.b - a.b * b.b}; }
LANES_INLINE M8 operator<=(V8 a, V8 b) { return {a.a <= b.a, a.b <= b.b}; }
LANES_INLINE M8 operator<(V8 a, V8 b) { return {a.a < b.a, a.b < b.b}; }
LANES_INLINE M8 operator>=(V8 a, V8 b) { return {a.a >= b.a, a.b >= b.b}; }
LANES_INLINE M8 operator>(V8 a, V8 b) { return {a.a > b.a, a.b > b.b}; }
LANES_INLINE M8 operator&(M8 a, M8 b) { return {a.a & b.a, a.b & b.b}; }
LANES_INLINE M8 operator|(M8 a, M8 b) { return {a.a | b.a, a.b | b.b}; }
LANES_INLINE V8 keep(V8 a, M8 m) { return {(F4)((I4)a.a & m.a), (F4)((I4)a.b & m.b)}; }
#if defined(__SSE4_1__)
LANES_INLINE V8 select(M8 m, V8 yes, V8 no) { return {_mm_blendv_ps(no.a, yes.a, (F4)m.a), _mm_blendv_ps(no.b, yes.b, (F4)m.b)}; }
LANES_INLINE V8 floor(V8 a) { return {_mm_floor_ps(a.a), _mm_floor_ps(a.b)}; }
LANES_INLINE V8 ceil(V8 a) { return {_mm_ceil_ps(a.a), _mm_ceil_ps(a.b)}; }
#else
LANES_INLINE V8 truncate(V8 a) {  // for |a| < 2^31
    return {__builtin_convertvector(__builtin_convertvector(a.a, I4), F4), __builtin_convertvector(__builtin_convertvector(a.b, I4), F4)};
}
LANES_INLINE V8 floor(V8 a) { V8 t = truncate(a); return t - keep(set1(1.f), t > a); }
LANES_INLINE V8 ceil(V8 a) { V8 t = truncate(a); return t + keep(set1(1.f), t < a); }
LANES_INLINE V8 select(M8 m, V8 yes, V8 no) {
    return {(F4)(((I4)yes.a & m.a) | ((I4)no.a & ~m.a)), (F4)(((I4)yes.b & m.b) | ((I4)no.b & ~m.b))};
}
#endif
#if defined(__SSE2__)
LANES_INLINE V8 min(V8 a, V8 b) { return {_mm_min_ps(a.a, b.a), _mm_min_ps(a.b, b.b)}; }
LANES_INLINE V8 max(V8 a, V8 b) { return {_mm_max_ps(a.a, b.a), _mm_max_ps(a.b, b.b)}; }
LANES_INLINE V8 sqrt(V8 a) { return {_mm_sqrt_ps(a.a), _mm_sqrt_ps(a.b)}; }
LANES_INLINE int sign_bits(V8 a) { return _mm_movemask_ps(a.a) | (_mm_movemask_ps(a.b) << 4); }
#else
LANES_INLINE V8 min(V8 a, V8 b) { return select(a < b, a, b); }
LANES_INLINE V8 max(V8 a, V8 b) { return select(a > b, a, b); }
#if defined(__aarch64__)
LANES_INLINE V8 sqrt(V8 a) { return {(F4)vsqrtq_f32((float32x4_t)a.a), (F4)vsqrtq_f32((float32x4_t)a.b)}; }
#else
LANES_INLINE V8 sqrt(V8 a) {
    V8 r;
    for (int k = 0; k < 4; k++) { r.a[k] = std::sqrt(a.a[k]); r.b[k] = std::sqrt(a.b[k]); }
    return r;
}
#endif
LANES_INLINE int sign_bits(V8 v) {
    const I4 place = {1, 2, 4, 8};
    I4 a = ((I4)v.a >> 31) & place, b = ((I4)v.b >> 31) & place;
    return (a[0] | a[1] | a[2] | a[3]) | ((b[0] | b[1] | b[2] | b[3]) << 4);
}
#endif
LANES_INLINE V8 negative(V8 a) { const I4 s = {INT32_MIN, INT32_MIN, INT32_MIN, INT32_MIN}; return {(F4)((I4)a.a | s), (F4)((I4)a.b | s)}; }
LANES_INLINE int bits(M8 m) { return sign_bits(V8{(F4)m.a, (F4)m.b}); }
#if defined(__SSE2__)
LANES_INLINE void transpose(V8* r) {  // four blocks of four by four; the two off the diagonal change places
    _MM_TRANSPOSE4_PS(r[0].a, r[1].a, r[2].a, r[3].a);
    _MM_TRANSPOSE4_PS(r[4].b, r[5].b, r[6].b, r[7].b);
    _MM_TRANSPOSE4_PS(r[0].b, r[1].b, r[2].b, r[3].b);
    _MM_TRANSPOSE4_PS(r[4].a, r[5].a, r[6].a, r[7].a);
    for (int k = 0; k < 4; k++) { const F4 t = r[k].b; r[k].b = r[4 + k].a; r[4 + k].a = t; }
}
#else
LANES_INLINE void transpose(V8* r) {
    float m[64];
    for (int k = 0; k < 8; k++) storeu(m + 8 * k, r[k]);
    for (int k = 0; k < 8; k++) r[k] = set8(m[k], m[8 + k], m[16 + k], m[24 + k], m[32 + k], m[40 + k], m[48 + k], m[56 + k]);
}
#endif
LANES_INLINE float sum(V8 v) { F4 h = v.a + v.b; return (h[0] + h[2]) + (h[1] + h[3]); }
LANES_INLINE V8 sums(const V8* a) { return set8(sum(a[0]), sum(a[1]), sum(a[2]), sum(a[3]), sum(a[4]), sum(a[5]), sum(a[6]), sum(a[7])); }

#endif

LANES_INLINE V8 operator-(V8 a) { return zeros() - a; }
LANES_INLINE V8 iota() { return set8(0, 1, 2, 3, 4, 5, 6, 7); }
LANES_INLINE V8 clamp(V8 a, V8 lo, V8 hi) { return min(max(a, lo), hi); }
LANES_INLINE V8 operator*(float a, V8 b) { return set1(a) * b; }
LANES_INLINE V8 square(V8 a) { return a * a; }
LANES_INLINE M8 finite(V8 a) { V8 d = a - a; return d >= zeros(); }  // Inf - Inf and NaN compare false

// Rows first ... first + 7 of a table of WIDTH columns, one V8 a column. Rows from `count` on repeat the last one.
template <int WIDTH>
LANES_INLINE void load_rows(const float* table, int count, V8* out) {
    const float* row[8];
    for (int k = 0; k < 8; k++) row[k] = table + WIDTH * int64_t(k < count ? k : count - 1);
    int c = 0;
    for (; c + 8 <= WIDTH; c += 8) {
        for (int k = 0; k < 8; k++) out[c + k] = loadu(row[k] + c);
        transpose(out + c);
    }
    for (; c < WIDTH; c++)
        out[c] = set8(row[0][c], row[1][c], row[2][c], row[3][c], row[4][c], row[5][c], row[6][c], row[7][c]);
}

template <int WIDTH>
LANES_INLINE void store_rows(float* table, int count, const V8* in) {
    int c = 0;
    for (; c + 8 <= WIDTH; c += 8) {
        V8 block[8];
        for (int k = 0; k < 8; k++) block[k] = in[c + k];
        transpose(block);
        for (int k = 0; k < count; k++) storeu(table + WIDTH * int64_t(k) + c, block[k]);
    }
    alignas(32) float column[8];
    for (; c < WIDTH; c++) {
        store(column, in[c]);
        for (int k = 0; k < count; k++) table[WIDTH * int64_t(k) + c] = column[k];
    }
}

}  // namespace
