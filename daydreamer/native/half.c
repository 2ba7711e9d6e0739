/* A matrix in float16 times a vector in float32: most of what a policy's step does.
 *
 * Weights travel as float16. A step reads every one of them once, from memory rather than from a
 * cache, so that it takes half the time if they stay so; and one row after another, which
 * processors read ahead best.
 */
#include <stdint.h>

#if defined(__F16C__)
#include <immintrin.h>
static inline float read_one(const uint16_t *p) { return _cvtsh_ss(*p); }
#elif defined(__aarch64__)
static inline float read_one(const uint16_t *p) { return *(const __fp16 *)p; }
#else
#error "this processor has no instructions for float16"
#endif

#define WIDE 8
#define STREAMS 4 /* sums at a time: an addition takes longer than it takes to begin the next */
typedef float wide __attribute__((vector_size(4 * WIDE), aligned(4)));

static inline wide read_wide(const uint16_t *p) {
#if defined(__F16C__)
    return (wide)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
#else
    wide found;
    for (int k = 0; k < WIDE; k++) found[k] = read_one(p + k);
    return found;
#endif
}

/* y (n_out) = w (n_out, n_in) x (n_in). */
void half_product(const uint16_t *restrict w, const float *restrict x, float *restrict y, int64_t n_out, int64_t n_in) {
    for (int64_t j = 0; j < n_out; j++, w += n_in) {
        wide sums[STREAMS] = {0};
        int64_t i = 0;
        for (; i + STREAMS * WIDE <= n_in; i += STREAMS * WIDE)
            for (int k = 0; k < STREAMS; k++)
                sums[k] += read_wide(w + i + k * WIDE) * *(const wide *)(x + i + k * WIDE);
        for (int k = 1; k < STREAMS; k++) sums[0] += sums[k];
        float sum = 0;
        for (int k = 0; k < WIDE; k++) sum += sums[0][k];
        for (; i < n_in; i++) sum += read_one(w + i) * x[i];
        y[j] = sum;
    }
}
