/* Row kernels of the learner on a CPU: what lies between two matrix products, in one pass.
 *
 * PyTorch runs layer norm, ELU, gates, softmax and sampling as an operation each, all of which read
 * and write memory; here a row stays in the first-level cache. Arithmetic is float32, whatever the
 * rows are stored in. Every kernel exists for float and for bfloat16 rows: suffix _f32 and _bf16.
 *
 * Sums over rows (gradients of weights) are taken over BLOCKS fixed blocks, whatever the number of
 * threads, so that results do not depend on it.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#define BLOCKS 16
#define NORM_EPS 1e-3f
#define PARALLEL_ABOVE 131072 /* elements; below, waking a thread costs more than it saves */

typedef uint16_t bf16;

static inline float read_bf16(bf16 x) {
    uint32_t bits = (uint32_t)x << 16;
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

static inline bf16 round_bf16(float f) {
    uint32_t bits;
    memcpy(&bits, &f, 4);
    /* To nearest, ties to even. The not-a-number that processors make stays one. */
    return (bf16)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

static inline float read_f32(float x) { return x; }
static inline float round_f32(float x) { return x; }

/* e^x to 2 units in the last place: 2^k times a polynomial. Comparisons are written so that
 * not-a-number passes through: training must notice it. */
static inline float exp_f32(float x) {
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    const float k = floorf(x * 1.44269504f + 0.5f);
    const float r = (x - k * 0.693359375f) + k * 2.12194440e-4f; /* x - k ln 2, in two parts */
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    const int32_t bits = ((int32_t)k + 127) << 23;
    float power;
    memcpy(&power, &bits, 4);
    return p * power;
}

static inline float sigmoid_f32(float x) { return 1.0f / (1.0f + exp_f32(-x)); }
static inline float tanh_f32(float x) { return 2.0f * sigmoid_f32(2.0f * x) - 1.0f; }

static inline int64_t block_start(int64_t rows, int block) { return rows * block / BLOCKS; }

static void add_blocks(const float *partial, float *gw, float *gb, int64_t units) {
    memset(gw, 0, units * sizeof(float));
    memset(gb, 0, units * sizeof(float));
    for (int block = 0; block < BLOCKS; block++)
        for (int64_t j = 0; j < units; j++) {
            gw[j] += partial[2 * block * units + j];
            gb[j] += partial[(2 * block + 1) * units + j];
        }
}

#define T float
#define NAME(name) name##_f32
#define READ read_f32
#define ROUND round_f32
#include "rows.inc"
#undef T
#undef NAME
#undef READ
#undef ROUND

#define T bf16
#define NAME(name) name##_bf16
#define READ read_bf16
#define ROUND round_bf16
#include "rows.inc"
