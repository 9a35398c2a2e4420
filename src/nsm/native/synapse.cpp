// Sums over synapses, with a noisy factor drawn for each.
#include "loops.hpp"
#include "numbers.hpp"
#include "philox.hpp"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "a word's bytes are read in the order of memory");

namespace nsm::NSM_INSTRUCTION_SET {
namespace {

constexpr i64 kPlane = 32;  // groups of synapses whose bits are drawn together: 64 words

// The stream of one row.
struct Row {
    u64 seed;
    u32 sample, input, place;

    Row(const Synapse& job, i64 row)
        : seed(job.seed), sample((u32)job.rows[2 * row]), input((u32)job.rows[2 * row + 1]), place(job.place) {}

    void words(i64 group, u32* to) const { philox::sixteen(to, seed, (u32)(16 * group), input, sample, place); }
};

// Each law adds xi w z to the sums of `count` consecutive groups of synapses.

class Bernoulli {
public:
    Bernoulli(const Synapse& job, const Row& row) : row_(row), limit_((u64)job.limit) {}

    inline void add(i64 group, i64 count, const float* w, const float* z, float* sums) {
        while (count > 0) {
            if (group / kPlane != drawn_) draw(group / kPlane);
            const i64 first = group % kPlane, run = count < kPlane - first ? count : kPlane - first;
            add_where(on_ + first, run, w, z, sums);
            group += run, count -= run, w += run * kGroup, z += run * kGroup;
        }
    }

private:
    // A synapse transmits where its word lies below the limit. Bit by bit, the highest first, until all are settled.
    __attribute__((noinline)) void draw(i64 chunk) {
        drawn_ = chunk;
        alignas(64) u64 open[kPlane], bits[kPlane];
        for (i64 i = 0; i < kPlane; ++i) on_[i] = limit_ >> 32 ? ~u64{0} : 0, open[i] = ~on_[i];
        for (int k = 0; k < 32 && (u32)(limit_ << k); ++k) {
            row_.words(kPlane * chunk + k, reinterpret_cast<u32*>(bits));
            u64 any = 0;
            if (limit_ >> (31 - k) & 1)
                for (i64 i = 0; i < kPlane; ++i) on_[i] |= open[i] & ~bits[i], any |= open[i] &= bits[i];
            else
                for (i64 i = 0; i < kPlane; ++i) any |= open[i] &= ~bits[i];
            if (!any) break;
        }
    }

    static inline void add_where(const u64* on, i64 count, const float* w, const float* z, float* sums) {
#if defined(__AVX512F__)
        __m512 sum[4];
        for (int i = 0; i < 4; ++i) sum[i] = _mm512_load_ps(sums + 16 * i);
        for (i64 k = 0; k < count; ++k, w += kGroup, z += kGroup)
            for (int i = 0; i < 4; ++i) {
                const __m512 product = _mm512_mul_ps(_mm512_loadu_ps(w + 16 * i), _mm512_loadu_ps(z + 16 * i));
                sum[i] = _mm512_mask_add_ps(sum[i], (__mmask16)(on[k] >> 16 * i), sum[i], product);
            }
        for (int i = 0; i < 4; ++i) _mm512_store_ps(sums + 16 * i, sum[i]);
#elif defined(__AVX2__)
        // A synapse's bit becomes the sign of its lane.
        const __m256i left = _mm256_setr_epi32(31, 30, 29, 28, 27, 26, 25, 24);
        __m256i shift[4];
        for (int i = 0; i < 4; ++i) shift[i] = _mm256_sub_epi32(left, _mm256_set1_epi32(8 * i));
        __m256 sum[8];
        for (int i = 0; i < 8; ++i) sum[i] = _mm256_load_ps(sums + 8 * i);
        for (i64 k = 0; k < count; ++k, w += kGroup, z += kGroup)
            for (int i = 0; i < 8; ++i) {
                const __m256i bits = _mm256_set1_epi32((int)(on[k] >> i / 4 * 32));
                const __m256i kept = _mm256_srai_epi32(_mm256_sllv_epi32(bits, shift[i % 4]), 31);
                const __m256 product = _mm256_mul_ps(_mm256_loadu_ps(w + 8 * i), _mm256_loadu_ps(z + 8 * i));
                sum[i] = _mm256_add_ps(sum[i], _mm256_and_ps(product, _mm256_castsi256_ps(kept)));
            }
        for (int i = 0; i < 8; ++i) _mm256_store_ps(sums + 8 * i, sum[i]);
#else
        for (i64 k = 0; k < count; ++k, w += kGroup, z += kGroup)
            for (int half = 0; half < kGroup; half += 32) {
                const u32 here = (u32)(on[k] >> half);
                for (int i = 0; i < 32; ++i) {
                    const u32 kept = here & 1u << i ? ~0u : 0u;
                    sums[half + i] += from_bits(bits(w[half + i] * z[half + i]) & kept);
                }
            }
#endif
    }

    const Row& row_;
    u64 limit_;
    i64 drawn_ = -1;
    alignas(64) u64 on_[kPlane];
};

// nsm.quantile.normal, operation by operation.
inline float normal(u32 word) {
    const bool negative = word < 0x80000000u;
    const float q = ((float)(std::int32_t)(negative ? word : ~word) + 0.5f) * 2.3283064365386963e-10f;
    const float x = 1.0f - 2.0f * q;
    const std::int32_t y = (std::int32_t)bits(4.0f * q * (1.0f - q)), exponent = (y - 0x3F3504F3) >> 23;
    const float t = from_bits((u32)(y - (std::int32_t)((u32)exponent << 23))) - 1.0f;
    float log = 0.12540932f;
    log = log * t + -0.210299268f;
    log = log * t + 0.217376918f;
    log = log * t + -0.238520324f;
    log = log * t + 0.28765744f;
    log = log * t + -0.360721141f;
    log = log * t + 0.480922461f;
    log = log * t + -0.721347153f;
    log = log * t + 1.4426949f;
    const float above = -((float)exponent + log * t), w = above > 0.0f ? above : 0.0f;
    const float c = w - 4.5f, r = __builtin_sqrtf(w) - 4.25f;
    float centre = -2.80344664e-10f;
    centre = centre * c + 3.54315333e-08f;
    centre = centre * c + -2.56527727e-07f;
    centre = centre * c + -2.96730354e-06f;
    centre = centre * c + 6.14532401e-05f;
    centre = centre * c + -0.00035179712f;
    centre = centre * c + -0.00409202091f;
    centre = centre * c + 0.235487282f;
    centre = centre * c + 2.33663845f;
    float tail = -7.40977266e-05f;
    tail = tail * r + 0.000235376356f;
    tail = tail * r + -0.000344401255f;
    tail = tail * r + 0.000607628899f;
    tail = tail * r + -0.00154821284f;
    tail = tail * r + 0.00300448388f;
    tail = tail * r + 1.18637097f;
    tail = tail * r + 4.77173996f;
    const float size = x * (w < 9.0f ? centre : tail);
    return negative ? -size : size;
}

// The factors of a group, from its words.
template <typename Factors>
inline void add_each(const Row& row, const Factors& factors, i64 group, i64 count, const float* w, const float* z,
                     float* __restrict sums) {
    alignas(64) u32 words[kGroup];
    alignas(64) float xi[kGroup];
    for (i64 k = 0; k < count; ++k, w += kGroup, z += kGroup) {
        row.words(group + k, words);
        factors(words, xi);
        for (i64 i = 0; i < kGroup; ++i) sums[i] += xi[i] * (w[i] * z[i]);
    }
}

class Gaussian {
public:
    Gaussian(const Synapse& job, const Row& row) : row_(row), std_(job.std) {}

    inline void add(i64 group, i64 count, const float* w, const float* z, float* sums) const {
        const auto factors = [this](const u32* words, float* __restrict xi) {
            for (i64 i = 0; i < kGroup; ++i) xi[i] = normal(words[i]) * std_ + 1.0f;
        };
        add_each(row_, factors, group, count, w, z, sums);
    }

private:
    const Row& row_;
    float std_;
};

class Measured {
public:
    Measured(const Synapse& job, const Row& row) : row_(row), table_(job.table), entries_((u64)job.entries) {}

    inline void add(i64 group, i64 count, const float* w, const float* z, float* sums) const {
        const auto factors = [this](const u32* words, float* __restrict xi) {
            for (i64 i = 0; i < kGroup; ++i) xi[i] = table_[words[i] * entries_ >> 32];
        };
        add_each(row_, factors, group, count, w, z, sums);
    }

private:
    const Row& row_;
    const float* table_;
    u64 entries_;
};

// Adds the upper half to the lower one, and so on until one sum is left.
template <i64 half>
inline void fold(float* sums) {
    for (i64 i = 0; i < half; ++i) sums[i] += sums[i + half];
    if constexpr (half > 1) fold<half / 2>(sums);
}

// Weights that all rows use while they are in the second-level cache. Smaller tiles would often end within bits that are
// drawn together, and draw them again.
constexpr i64 kTile = 32768;

// Elements first .. last of row r.
template <typename Law>
inline void sum_row(const Synapse& job, i64 r, i64 first, i64 last) {
    const i64 size = job.positions * job.channels, groups = job.synapses / kGroup, n = r / job.samples;
    const Row row(job, r);
    Law law(job, row);
    for (i64 e = first; e < last; ++e) {
        const i64 p = e / job.channels, c = e % job.channels;
        const i64 field = (n * job.positions + p) * job.groups + c / (job.channels / job.groups);
        alignas(64) float sums[kGroup];
        for (float& sum : sums) sum = 0.0f;
        law.add(e * groups, groups, job.weight + c * job.synapses, job.z + field * job.synapses, sums);
        fold<kGroup / 2>(sums);
        job.u[r * size + e] = sums[0];
    }
}

template <typename Law>
void sum_up(const Synapse& job, i64 first, i64 last) {
    const i64 size = job.positions * job.channels, tile = job.synapses < kTile ? kTile / job.synapses : 1;
    for (i64 begin = 0; begin < size; begin += tile)
        for (i64 r = first / size; r * size < last; ++r) {
            const i64 from = first - r * size, to = last - r * size, end = begin + tile < size ? begin + tile : size;
            sum_row<Law>(job, r, from > begin ? from : begin, to < end ? to : end);
        }
}

}  // namespace

void synapse(const Synapse& job, i64 first, i64 last) {
    if (job.entries)
        sum_up<Measured>(job, first, last);
    else if (job.std != 0.0f)
        sum_up<Gaussian>(job, first, last);
    else
        sum_up<Bernoulli>(job, first, last);
}

}  // namespace nsm::NSM_INSTRUCTION_SET
