// The loops of a compiled network, compiled once for each instruction set under the name NSM_INSTRUCTION_SET. No standard
// library templates here: the linker would share their code between instruction sets.
#include "program.hpp"

#include <cstring>

#include "philox.hpp"

namespace nsm::NSM_INSTRUCTION_SET {
namespace {

using i8 = std::int8_t;
using i32 = std::int32_t;
using i64 = std::int64_t;
using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;

constexpr int kRows = 2 * kQuad;  // rows of a product computed together

// ---- from the argument to a threshold

// 2^17 (1 - Phi(y / kArgument)) for y = 2048 k + f, f < 2048: kBase[k] - F (kSlope[k] - F kCurve[k]), F = f / 2048,
// fitted segment by segment to the smallest largest error.
alignas(64) constexpr u16 kBase[32] = {
    65535, 58418, 51432, 44702, 38337, 32427, 27044, 22229, 18003, 14361, 11281, 8724, 6640, 4973, 3665, 2657,
    1894,  1328,  916,   620,   413,   271,   174,   110,   68,    41,    24,    14,   8,    3,    1,    2};
alignas(64) constexpr u16 kSlope[32] = {7150, 7084, 6887, 6575, 6160, 5656, 5107, 4519, 3930, 3350, 2805,
                                        2306, 1858, 1469, 1142, 871,  650,  477,  346,  243,  169,  117,
                                        77,   50,   32,   21,   12,   7,    5,    0,    0,    3};
alignas(64) constexpr u16 kCurve[32] = {33,  98, 156, 209, 251, 273, 293, 293, 289, 270, 248, 223, 192, 162, 135, 109,
                                        85,  65, 51,  37,  27,  20,  13,  8,   6,   5,   3,   0,   2,   0,   0,   0};
constexpr float kLargest = 65535.0f;
constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23: adding it rounds |x| < 2^22 to the nearest integer, ties to even

// 65536 (1 - Phi(|argument| / kArgument)), rounded; 0 from 4.37 standard deviations on.
inline u16 tail(float argument) {
    const float size = __builtin_fabsf(argument);
    const float bounded = size < kLargest ? size : kLargest;
    const u32 y = (u32)(i32)((bounded + kMagic) - kMagic);
    const u32 k = y >> 11, f = (y << 5) & 0xffffu;
    const u32 twice = kBase[k] - (f * (kSlope[k] - (f * kCurve[k] >> 16)) >> 16);
    return (u16)((twice + 1) >> 1);
}

inline float argument_of(float mean, float variance) {
    const float sure = mean >= 0.0f ? __builtin_inff() : -__builtin_inff();
    return variance > 0.0f ? mean / __builtin_sqrtf(variance) : sure;
}

void limits(const float* argument, i64 count, u16* __restrict limit, u16* __restrict side) {
    for (i64 i = 0; i < count; ++i) {
        limit[i] = tail(argument[i]);
        side[i] = argument[i] >= 0.0f ? 1 : 0;
    }
}

// ---- uniform 16-bit numbers: of neuron e in sample s, half e mod 2 of word s mod 4 of block e div 2

struct Uniforms {
    alignas(64) u32 words[64];

    Uniforms(const Product& product, const Chunk& chunk, i64 quad, i64 position, i64 panel) {
        const i64 element = position * product.panels.padded() + panel * kPanel;
        philox::sixteen(words, chunk.seed, (u32)(element / 2), chunk.input, chunk.first_quad + (u32)quad, product.place);
    }

    const u32* of(i64 sample) const { return words + 16 * sample; }
};

inline u16 half(const u32* words, i64 lane) { return (u16)(words[lane / 2] >> (lane % 2 * 16)); }

// ---- products: sums over the units of some rows' fields, for the first 16 or all 32 neurons of a panel

#if defined(__AVX512VNNI__)

// Codes are unsigned and weights signed; squares of weights unsigned and squares of codes signed.
template <bool squares, int count, int halves>
inline void accumulate(const u8* const* rows, const i64* offsets, i64 segments, i64 quads, const void* panel,
                       i32 (*sums)[kPanel]) {
    __m512i total[count][halves];
    for (int r = 0; r < count; ++r)
        for (int h = 0; h < halves; ++h) total[r][h] = _mm512_setzero_si512();
    const u8* w = static_cast<const u8*>(panel);
    for (i64 s = 0; s < segments; ++s) {
        const i64 offset = offsets[s];
        for (i64 q = 0; q < quads; ++q, w += 128) {
            __m512i weights[halves];
            for (int h = 0; h < halves; ++h) weights[h] = _mm512_load_si512(w + 64 * h);
#pragma GCC unroll 8
            for (int r = 0; r < count; ++r) {
                i32 four;
                std::memcpy(&four, rows[r] + offset + 4 * q, sizeof four);
                const __m512i x = _mm512_set1_epi32(four);
#pragma GCC unroll 2
                for (int h = 0; h < halves; ++h)
                    total[r][h] = squares ? _mm512_dpbusd_epi32(total[r][h], weights[h], x)
                                          : _mm512_dpbusd_epi32(total[r][h], x, weights[h]);
            }
        }
    }
    for (int r = 0; r < count; ++r)
        for (int h = 0; h < halves; ++h) _mm512_store_si512(sums[r] + 16 * h, total[r][h]);
}

#elif defined(__AVX2__)

template <bool squares, int count, int halves>
inline void accumulate(const u8* const* rows, const i64* offsets, i64 segments, i64 quads, const void* panel,
                       i32 (*sums)[kPanel]) {
    const __m256i ones = _mm256_set1_epi16(1);
    for (int first = 0; first < count; first += 4)
        for (int part = 0; part < 16 * halves; part += 16) {
            __m256i low[4], high[4];
            for (int r = 0; r < 4; ++r) low[r] = high[r] = _mm256_setzero_si256();
            const u8* w = static_cast<const u8*>(panel) + 4 * part;
            for (i64 s = 0; s < segments; ++s) {
                const i64 offset = offsets[s];
                for (i64 q = 0; q < quads; ++q, w += 128) {
                    const __m256i w0 = _mm256_load_si256(reinterpret_cast<const __m256i*>(w));
                    const __m256i w1 = _mm256_load_si256(reinterpret_cast<const __m256i*>(w + 32));
#pragma GCC unroll 4
                    for (int r = 0; r < 4; ++r) {
                        i32 four;
                        std::memcpy(&four, rows[first + r] + offset + 4 * q, sizeof four);
                        const __m256i x = _mm256_set1_epi32(four);
                        // Pairs stay below 2^15: codes are at most 128, and squares are bounded for it.
                        const __m256i p0 = squares ? _mm256_maddubs_epi16(w0, x) : _mm256_maddubs_epi16(x, w0);
                        const __m256i p1 = squares ? _mm256_maddubs_epi16(w1, x) : _mm256_maddubs_epi16(x, w1);
                        low[r] = _mm256_add_epi32(low[r], _mm256_madd_epi16(p0, ones));
                        high[r] = _mm256_add_epi32(high[r], _mm256_madd_epi16(p1, ones));
                    }
                }
            }
            for (int r = 0; r < 4; ++r) {
                _mm256_store_si256(reinterpret_cast<__m256i*>(sums[first + r] + part), low[r]);
                _mm256_store_si256(reinterpret_cast<__m256i*>(sums[first + r] + part + 8), high[r]);
            }
        }
}

#else

template <bool squares, int count, int halves>
inline void accumulate(const u8* const* rows, const i64* offsets, i64 segments, i64 quads, const void* panel,
                       i32 (*sums)[kPanel]) {
    std::memset(sums, 0, count * sizeof *sums);
    const u8* w = static_cast<const u8*>(panel);
    for (i64 s = 0; s < segments; ++s)
        for (i64 q = 0; q < quads; ++q, w += 128)
            for (int r = 0; r < count; ++r) {
                const u8* x = rows[r] + offsets[s] + 4 * q;
                for (int c = 0; c < 16 * halves; ++c)
                    for (int j = 0; j < 4; ++j)
                        sums[r][c] += (i32)x[j] * (squares ? (i32)w[4 * c + j] : (i32)(i8)w[4 * c + j]);
            }
}

#endif

// Up to eight rows: one or two places, each of a quad of samples at one position.
struct Tile {
    int places;
    i64 quad[2], position[2];
    const u8 *codes[kRows], *squares[kRows];

    Tile(const Product& product, const Chunk& chunk, const Activations& from, i64 first) {
        const i64 positions = product.positions(), all = chunk.quads * positions;
        places = all - first < 2 ? 1 : 2;
        for (int i = 0; i < places; ++i) {
            quad[i] = (first + i) / positions, position[i] = (first + i) % positions;
            const i64 y = position[i] / product.width * product.stride_y;
            const i64 x = position[i] % product.width * product.stride_x;
            const i64 at = y * from.image.row + x * from.image.channels;
            for (i64 s = 0; s < kQuad; ++s) {
                const i64 sample = (kQuad * quad[i] + s) * from.image.size + at;
                codes[kQuad * i + s] = from.codes + sample;
                squares[kQuad * i + s] = from.squares ? from.squares + sample : nullptr;
            }
        }
    }

    template <bool squared>
    void sum(const Product& product, i64 panel, i32 (*sums)[kPanel]) const {
        const i64 shift = product.panels.group(panel) * product.group_units;
        const u8* rows[kRows];
        for (int r = 0; r < places * kQuad; ++r) rows[r] = (squared ? squares[r] : codes[r]) + shift;
        const i64 size = product.segments * product.quads * 4 * kPanel;
        const void* w = squared ? static_cast<const void*>(product.squares + panel * size)
                                : static_cast<const void*>(product.weights + panel * size);
        const bool both = product.panels.valid(panel) > 16;
        const auto run = places == 2 ? (both ? accumulate<squared, 8, 2> : accumulate<squared, 8, 1>)
                                     : (both ? accumulate<squared, 4, 2> : accumulate<squared, 4, 1>);
        run(rows, product.offsets, product.segments, product.quads, w, sums);
    }
};

// ---- from sums to codes

#if defined(__AVX512VNNI__)

inline __m512i bounded(__m512 argument) {
    return _mm512_cvtps_epi32(_mm512_min_ps(_mm512_abs_ps(argument), _mm512_set1_ps(kLargest)));
}

inline __mmask16 positive(__m512 argument) { return _mm512_cmp_ps_mask(argument, _mm512_setzero_ps(), _CMP_GE_OQ); }

inline void put(__mmask32 fired, i64 valid, u8* to) {
    const __m256i codes = _mm256_maskz_mov_epi8(fired, _mm256_set1_epi8(2));
    if (valid == kPanel)
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), codes);
    else
        _mm256_mask_storeu_epi8(to, (1u << valid) - 1u, codes);
}

inline void decide(__m512 first, __m512 second, const u32* words, i64 valid, u8* to) {
    alignas(64) static constexpr u16 kEven[32] = {0,  2,  4,  6,  8,  10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30,
                                                  32, 34, 36, 38, 40, 42, 44, 46, 48, 50, 52, 54, 56, 58, 60, 62};
    const __m512i y = _mm512_permutex2var_epi16(bounded(first), _mm512_load_si512(kEven), bounded(second));
    const __mmask32 side = _mm512_kunpackw(positive(second), positive(first));
    const __m512i k = _mm512_srli_epi16(y, 11), f = _mm512_slli_epi16(y, 5);
    const __m512i base = _mm512_permutexvar_epi16(k, _mm512_load_si512(kBase));
    const __m512i slope = _mm512_permutexvar_epi16(k, _mm512_load_si512(kSlope));
    const __m512i curve = _mm512_permutexvar_epi16(k, _mm512_load_si512(kCurve));
    const __m512i straight = _mm512_sub_epi16(slope, _mm512_mulhi_epu16(f, curve));
    const __m512i twice = _mm512_sub_epi16(base, _mm512_mulhi_epu16(f, straight));
    const __m512i limit = _mm512_avg_epu16(twice, _mm512_setzero_si512());
    put(_mm512_cmplt_epu16_mask(_mm512_load_si512(words), limit) ^ side, valid, to);
}

inline void decide(const i32* sums, const float* scale, const float* shift, const u32* words, i64 valid, u8* to) {
    __m512 argument[2];
    for (int i = 0; i < 2; ++i) {
        const __m512 sum = _mm512_cvtepi32_ps(_mm512_load_si512(sums + 16 * i));
        argument[i] = _mm512_add_ps(_mm512_mul_ps(sum, _mm512_load_ps(scale + 16 * i)), _mm512_load_ps(shift + 16 * i));
    }
    decide(argument[0], argument[1], words, valid, to);
}

inline void decide(const i32* sums, const i32* squares, const float* scale, const float* shift, const float* power,
                   const float* floor, const u32* words, i64 valid, u8* to) {
    const __m512 zero = _mm512_setzero_ps(), infinity = _mm512_set1_ps(__builtin_inff());
    __m512 argument[2];
    for (int i = 0; i < 2; ++i) {
        const __m512 sum = _mm512_cvtepi32_ps(_mm512_load_si512(sums + 16 * i));
        const __m512 sum2 = _mm512_cvtepi32_ps(_mm512_load_si512(squares + 16 * i));
        const __m512 mean = _mm512_add_ps(_mm512_mul_ps(sum, _mm512_load_ps(scale + 16 * i)), _mm512_load_ps(shift + 16 * i));
        const __m512 variance =
            _mm512_add_ps(_mm512_mul_ps(sum2, _mm512_load_ps(power + 16 * i)), _mm512_load_ps(floor + 16 * i));
        const __m512 sure = _mm512_mask_sub_ps(infinity, (__mmask16)~positive(mean), zero, infinity);
        argument[i] = _mm512_mask_div_ps(sure, _mm512_cmp_ps_mask(variance, zero, _CMP_GT_OQ), mean, _mm512_sqrt_ps(variance));
    }
    decide(argument[0], argument[1], words, valid, to);
}

inline void decide(const u16* limit, const u16* side, const u32* words, i64 valid, u8* to) {
    const __mmask32 below = _mm512_cmplt_epu16_mask(_mm512_load_si512(words), _mm512_load_si512(limit));
    const __m512i sides = _mm512_load_si512(side);
    put(below ^ _mm512_test_epi16_mask(sides, sides), valid, to);
}

#else

inline void put(const float* argument, const u32* words, i64 valid, u8* to) {
    u8 codes[kPanel];
    for (int c = 0; c < kPanel; ++c) codes[c] = (half(words, c) < tail(argument[c])) != (argument[c] >= 0.0f) ? 2 : 0;
    std::memcpy(to, codes, (std::size_t)valid);
}

inline void decide(const i32* sums, const float* scale, const float* shift, const u32* words, i64 valid, u8* to) {
    float argument[kPanel];
    for (int c = 0; c < kPanel; ++c) argument[c] = (float)sums[c] * scale[c] + shift[c];
    put(argument, words, valid, to);
}

inline void decide(const i32* sums, const i32* squares, const float* scale, const float* shift, const float* power,
                   const float* floor, const u32* words, i64 valid, u8* to) {
    float argument[kPanel];
    for (int c = 0; c < kPanel; ++c) {
        const float mean = (float)sums[c] * scale[c] + shift[c];
        argument[c] = argument_of(mean, (float)squares[c] * power[c] + floor[c]);
    }
    put(argument, words, valid, to);
}

inline void decide(const u16* limit, const u16* side, const u32* words, i64 valid, u8* to) {
    for (int c = 0; c < valid; ++c) to[c] = (half(words, c) < limit[c]) != (side[c] != 0) ? 2 : 0;
}

#endif

// ---- steps

typedef float Sixteen __attribute__((vector_size(64)));

bool first(const Input& input, const float* x, float* scratch, u16* limit, u16* side) {
    const Image& image = input.image;
    const Product& product = input.product;
    const Panels& panels = product.panels;
    float* padded = scratch;
    Unit* units = reinterpret_cast<Unit*>(padded + image.size);
    for (i64 c = 0; c < image.channels; ++c)
        for (i64 y = 0; y < image.height; ++y)
            for (i64 i = 0; i < image.width; ++i) {
                const float value = *x++;
                padded[image.at(y, i) + c] = !input.binarize ? value : value >= 0.5f ? 1.0f : -1.0f;
            }
    bool numbers = true;
    alignas(64) float argument[kPanel];
    for (i64 p = 0; p < product.positions(); ++p) {
        const float* origin = padded + p / product.width * product.stride_y * image.row +
                              p % product.width * product.stride_x * image.channels;
        i64 count = 0;
        for (i64 panel = 0; panel < panels.count(); ++panel) {
            if (panel % panels.per_group == 0) {
                // Units that are 0 add nothing, and pixels often are.
                const float* field = origin + panels.group(panel) * product.group_units;
                count = 0;
                for (i64 k = 0; k < input.units; ++k) {
                    const float value = field[input.offsets[k]];
                    units[count] = {value, value * value, k};
                    count += value != 0.0f;
                }
            }
            const float* w = input.weights + panel * input.units * kPanel;
            // Every sum in the order of the units, whatever the width of the vectors.
            Sixteen mean[2] = {}, variance[2] = {};
            for (i64 j = 0; j < count; ++j) {
                const Unit unit = units[j];
                for (int i = 0; i < 2; ++i) {
                    Sixteen ws;
                    std::memcpy(&ws, w + unit.index * kPanel + 16 * i, sizeof ws);
                    mean[i] += ws * unit.value;
                    variance[i] += ws * ws * unit.square;
                }
            }
            for (int c = 0; c < kPanel; ++c) {
                const i64 at = panel * kPanel + c;
                const float m = mean[c / 16][c % 16] * product.scale[at] + product.shift[at];
                argument[c] = argument_of(m, variance[c / 16][c % 16] * product.power[at] + product.floor[at]);
                numbers &= argument[c] == argument[c];
            }
            const i64 element = p * panels.padded() + panel * kPanel;
            limits(argument, kPanel, limit + element, side + element);
        }
    }
    return numbers;
}

// Where the neurons of a panel lie, in the first sample of a quad.
inline u8* neurons(const Activations& to, const Product& product, i64 quad, i64 position, i64 panel) {
    const i64 pixel = to.image.at(position / product.width, position % product.width);
    return to.codes + kQuad * quad * to.image.size + pixel + product.panels.channel(panel);
}

void draw(const Product& product, const Chunk& chunk, const u16* limit, const u16* side, const Activations& to) {
    for (i64 quad = 0; quad < chunk.quads; ++quad)
        for (i64 p = 0; p < product.positions(); ++p)
            for (i64 panel = 0; panel < product.panels.count(); ++panel) {
                const Uniforms uniforms(product, chunk, quad, p, panel);
                const i64 element = p * product.panels.padded() + panel * kPanel, valid = product.panels.valid(panel);
                u8* z = neurons(to, product, quad, p, panel);
                for (int s = 0; s < kQuad; ++s, z += to.image.size)
                    decide(limit + element, side + element, uniforms.of(s), valid, z);
            }
}

void fire(const Product& product, const Chunk& chunk, const Activations& from, const Activations& to) {
    const i64 places = chunk.quads * product.positions(), padded = product.panels.padded();
    alignas(64) i32 sums[kRows][kPanel] = {}, squares[kRows][kPanel] = {};
    for (i64 place = 0; place < places; place += 2) {
        const Tile tile(product, chunk, from, place);
        for (i64 panel = 0; panel < product.panels.count(); ++panel) {
            const i64 at = panel * kPanel, valid = product.panels.valid(panel);
            tile.sum<false>(product, panel, sums);
            if (product.squares) tile.sum<true>(product, panel, squares);
            for (int i = 0; i < tile.places; ++i) {
                const i64 quad = tile.quad[i], position = tile.position[i];
                const i64 row = product.kinds ? product.kinds[position] * padded + at : at;
                const float *scale = product.scale + row, *shift = product.shift + row;
                const Uniforms uniforms(product, chunk, quad, position, panel);
                u8* z = neurons(to, product, quad, position, panel);
                for (int s = 0; s < kQuad; ++s, z += to.image.size) {
                    const i32* sum = sums[kQuad * i + s];
                    if (product.squares)
                        decide(sum, squares[kQuad * i + s], scale, shift, product.power + at, product.floor + at,
                               uniforms.of(s), valid, z);
                    else
                        decide(sum, scale, shift, uniforms.of(s), valid, z);
                }
            }
        }
    }
}

void pool(const Pool& pool, const Chunk& chunk, const Activations& from, const Activations& to) {
    const i64 channels = to.image.channels;
    const std::int16_t offset = (std::int16_t)pool.offset, shift = pool.spacing == 2;
    for (i64 sample = 0; sample < kQuad * chunk.quads; ++sample)
        for (i64 y = 0; y < pool.height; ++y)
            for (i64 x = 0; x < pool.width; ++x) {
                const i64 at = sample * to.image.size + to.image.at(y, x);
                const u8* field = from.codes + sample * from.image.size + from.image.at(y * pool.stride_y, x * pool.stride_x);
                u8* __restrict z = to.codes + at;
                for (i64 ky = 0; ky < pool.kernel_y; ++ky)
                    for (i64 kx = 0; kx < pool.kernel_x; ++kx) {
                        const u8* one = field + ky * from.image.row + kx * channels;
                        if (ky == 0 && kx == 0)
                            std::memcpy(z, one, (std::size_t)channels);
                        else if (pool.average)
                            for (i64 c = 0; c < channels; ++c) z[c] = (u8)(z[c] + one[c]);
                        else
                            for (i64 c = 0; c < channels; ++c) z[c] = z[c] < one[c] ? one[c] : z[c];
                    }
                if (to.squares) {
                    u8* __restrict squares = to.squares + at;
                    for (i64 c = 0; c < channels; ++c) {
                        const std::int16_t distance = (std::int16_t)((z[c] - offset) >> shift);
                        squares[c] = (u8)(distance * distance);
                    }
                }
            }
}

void classify(const Product& product, const Chunk& chunk, const Activations& from, float* logits) {
    alignas(64) i32 sums[kRows][kPanel] = {};
    const i64 padded = product.panels.padded();
    for (i64 quad = 0; quad < chunk.quads; quad += 2) {
        const Tile tile(product, chunk, from, quad);
        for (i64 panel = 0; panel < product.panels.count(); ++panel) {
            tile.sum<false>(product, panel, sums);
            const float *scale = product.scale + panel * kPanel, *shift = product.shift + panel * kPanel;
            for (int r = 0; r < kQuad * tile.places; ++r) {
                float* to = logits + (kQuad * quad + r) * padded + panel * kPanel;
                for (int c = 0; c < kPanel; ++c) to[c] = (float)sums[r][c] * scale[c] + shift[c];
            }
        }
    }
}

// ---- softmax

constexpr float kLog2E = 1.44269504f;

// exp(x) for x <= 0 (elsewhere, anything), to a relative 1e-7; 0 below -87.
inline float exponential(float x) {
    const float y = x * kLog2E, bounded = y < -126.0f ? -126.0f : y;
    const float shifted = bounded + kMagic, whole = shifted - kMagic, f = bounded - whole;
    float power = 0.000154697362f;
    power = power * f + 0.00134004369f;
    power = power * f + 0.00961802559f;
    power = power * f + 0.055503272f;
    power = power * f + 0.240226512f;
    power = power * f + 0.693147207f;
    power = power * f + 1.0f;
    u32 bits;
    std::memcpy(&bits, &shifted, sizeof bits);
    bits = (bits << 23) + (127u << 23);  // 2^whole
    float scale;
    std::memcpy(&scale, &bits, sizeof scale);
    return y < -126.0f ? 0.0f : power * scale;
}

void average(float* logits, i64 stride, i64 samples, i64 classes, double* sums) {
    double totals = 1.0;
    for (i64 sample = 0; sample < samples; ++sample) {
        float* l = logits + sample * stride;
        float largest = l[0];
        for (i64 c = 1; c < classes; ++c) largest = l[c] > largest ? l[c] : largest;
        float total = 0.0f, weighted = 0.0f;
        for (i64 begin = 0; begin < stride; begin += kPanel) {
            alignas(64) float below[kPanel], powers[kPanel];
            for (i64 c = 0; c < kPanel; ++c) {
                below[c] = largest - l[begin + c];
                l[begin + c] = powers[c] = exponential(-below[c]);
            }
            const i64 count = classes - begin < kPanel ? classes - begin : kPanel;
            for (i64 c = 0; c < count; ++c) total += powers[c], weighted += powers[c] * below[c];
        }
        const float inverse = 1.0f / total;
        for (i64 c = 0; c < classes; ++c) sums[c] += (double)(l[c] * inverse);
        sums[classes] += (double)(weighted * inverse);
        // The logarithm of the product of some totals, each at most the number of classes, is the sum of theirs.
        totals *= (double)total;
        if (sample % 16 == 15 || sample == samples - 1) {
            sums[classes] += __builtin_log(totals);
            totals = 1.0;
        }
    }
}

}  // namespace

#define NSM_TEXT(x) #x
#define NSM_NAME(x) NSM_TEXT(x)
extern const ProgramKernels program_kernels;
const ProgramKernels program_kernels{NSM_NAME(NSM_INSTRUCTION_SET), first, draw, fire, pool, classify, average, limits};

}  // namespace nsm::NSM_INSTRUCTION_SET
