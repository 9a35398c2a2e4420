// Products of weights with activations of one bit, by tables instead of multiplications; for AVX512.
//
// A line holds 16 neurons of 32 samples, one number of 16 bits for each sample. Its bits are cut into 6, 5 and 5, and what
// each of the 64, 32 and 32 cases adds to a sum is looked up: one permutation of 16-bit lanes adds six units to 32 sums,
// where a multiplying instruction adds four to 16. A table is made of additions alone and used for hundreds of samples.
// Sums are those of program.cpp, and so are the samples. The idea is the method of the four Russians (Arlazarov et al., 1970).
#include <cstring>

#include "program.hpp"
#include "firing.hpp"

namespace nsm::NSM_INSTRUCTION_SET {
namespace {

constexpr i64 kTogether = 4;   // neurons, and places, whose sums are in registers together
constexpr i64 kWeights = 18;   // of a word: 6, then 5 and a 0, twice
constexpr i64 kTables = 4;     // lines of a neuron's tables for a word: 64, 32 and 32 sums

// ---- tables

// For lane e: bits 2 i and 2 i + 1 of e as the bytes of a pair; `last` and 0 or 1 with bit 4.
struct Patterns {
    __m512i low, middle, high, full;

    Patterns() {
        alignas(64) u16 pairs[4][kLanes];
        for (int e = 0; e < kLanes; ++e) {
            const auto pair = [](int first, int second) { return (u16)(first | second << 8); };
            pairs[0][e] = pair(e & 1, e >> 1 & 1);
            pairs[1][e] = pair(e >> 2 & 1, e >> 3 & 1);
            pairs[2][e] = pair(e >> 4, 0);
            pairs[3][e] = pair(e >> 4, 1);
        }
        low = _mm512_load_si512(pairs[0]), middle = _mm512_load_si512(pairs[1]);
        high = _mm512_load_si512(pairs[2]), full = _mm512_load_si512(pairs[3]);
    }
};

inline __m512i two(const i8* weights) {
    std::int16_t both;
    std::memcpy(&both, weights, sizeof both);
    return _mm512_set1_epi16(both);
}

// Tables of four neurons for some words: (word, neuron, table).
inline void make(const Product& product, i64 neuron, i64 first, i64 count, u16* table) {
    const Patterns patterns;
    for (i64 word = first; word < first + count; ++word)
        for (i64 n = 0; n < kTogether; ++n, table += kTables * kLanes) {
            const i8* w = product.subsets + ((neuron + n) * product.words + word) * kWeights;
            for (int part = 0; part < 3; ++part) {
                const __m512i four = _mm512_add_epi16(_mm512_maddubs_epi16(patterns.low, two(w + 6 * part)),
                                                      _mm512_maddubs_epi16(patterns.middle, two(w + 6 * part + 2)));
                const __m512i last = two(w + 6 * part + 4);
                u16* to = table + (part + (part > 0)) * kLanes;
                _mm512_store_si512(to, _mm512_add_epi16(four, _mm512_maddubs_epi16(patterns.high, last)));
                if (part == 0)
                    _mm512_store_si512(to + kLanes, _mm512_add_epi16(four, _mm512_maddubs_epi16(patterns.full, last)));
            }
        }
}

// Sums of four neurons at four places: to[neuron * stride + place * kLanes], a line each.
inline void add_up(const u16* const* rows, const i64* lines, i64 words, const u16* table, u16* to, i64 stride) {
    __m512i total[kTogether][kTogether];
#pragma GCC unroll 4
    for (int n = 0; n < kTogether; ++n)
#pragma GCC unroll 4
        for (int r = 0; r < kTogether; ++r) total[n][r] = _mm512_setzero_si512();
    for (i64 word = 0; word < words; ++word, table += kTogether * kTables * kLanes) {
        __m512i bits[kTogether];
#pragma GCC unroll 4
        for (int r = 0; r < kTogether; ++r) bits[r] = _mm512_loadu_si512(rows[r] + lines[word] * kLanes);
#pragma GCC unroll 4
        for (int n = 0; n < kTogether; ++n) {
            const __m512i low = _mm512_load_si512(table + kTables * kLanes * n);
            const __m512i high = _mm512_load_si512(table + kTables * kLanes * n + kLanes);
#pragma GCC unroll 4
            for (int r = 0; r < kTogether; ++r)
                total[n][r] = _mm512_add_epi16(total[n][r], _mm512_permutex2var_epi16(low, bits[r], high));
        }
#pragma GCC unroll 2
        for (int part = 0; part < 2; ++part) {
#pragma GCC unroll 4
            for (int r = 0; r < kTogether; ++r) bits[r] = _mm512_srli_epi16(bits[r], part ? 5 : 6);
#pragma GCC unroll 4
            for (int n = 0; n < kTogether; ++n) {
                const __m512i five = _mm512_load_si512(table + (kTables * n + 2 + part) * kLanes);
#pragma GCC unroll 4
                for (int r = 0; r < kTogether; ++r)
                    total[n][r] = _mm512_add_epi16(total[n][r], _mm512_permutexvar_epi16(bits[r], five));
            }
        }
    }
#pragma GCC unroll 4
    for (int n = 0; n < kTogether; ++n)
#pragma GCC unroll 4
        for (int r = 0; r < kTogether; ++r) _mm512_store_si512(to + n * stride + r * kLanes, total[n][r]);
}

// ---- from (neuron, sample) to (sample, neuron)

inline void store_doubled(i32* to, __m512i sums, bool add) {
    for (int i = 0; i < 2; ++i) {
        const __m256i half = i ? _mm512_extracti64x4_epi64(sums, 1) : _mm512_castsi512_si256(sums);
        __m512i wide = _mm512_slli_epi32(_mm512_cvtepi16_epi32(half), 1);  // a neuron that fired has the code 2
        if (add) wide = _mm512_add_epi32(wide, _mm512_load_si512(to + 16 * i));
        _mm512_store_si512(to + 16 * i, wide);
    }
}

// Doubles 32 lines of `from` into rows of `to`, or adds them to these.
inline void transpose(const u16* from, i64 stride, i32 (*to)[kPanel], bool add) {
    __m512i parts[4][8];
    for (int g = 0; g < 4; ++g) {
        __m512i line[8], pair[8], four[8];
        for (int i = 0; i < 8; ++i) line[i] = _mm512_load_si512(from + (8 * g + i) * stride);
        for (int i = 0; i < 8; i += 2) {
            pair[i] = _mm512_unpacklo_epi16(line[i], line[i + 1]);
            pair[i + 1] = _mm512_unpackhi_epi16(line[i], line[i + 1]);
        }
        for (int h = 0; h < 8; h += 4)
            for (int i = 0; i < 2; ++i) {
                four[h + 2 * i] = _mm512_unpacklo_epi32(pair[h + i], pair[h + 2 + i]);
                four[h + 2 * i + 1] = _mm512_unpackhi_epi32(pair[h + i], pair[h + 2 + i]);
            }
        for (int i = 0; i < 4; ++i) {
            parts[g][2 * i] = _mm512_unpacklo_epi64(four[i], four[4 + i]);
            parts[g][2 * i + 1] = _mm512_unpackhi_epi64(four[i], four[4 + i]);
        }
    }
    for (int r = 0; r < 8; ++r) {
        const __m512i a = _mm512_shuffle_i64x2(parts[0][r], parts[1][r], 0x44);
        const __m512i b = _mm512_shuffle_i64x2(parts[2][r], parts[3][r], 0x44);
        const __m512i c = _mm512_shuffle_i64x2(parts[0][r], parts[1][r], 0xee);
        const __m512i d = _mm512_shuffle_i64x2(parts[2][r], parts[3][r], 0xee);
        store_doubled(to[r], _mm512_shuffle_i64x2(a, b, 0x88), add);
        store_doubled(to[8 + r], _mm512_shuffle_i64x2(a, b, 0xdd), add);
        store_doubled(to[16 + r], _mm512_shuffle_i64x2(c, d, 0x88), add);
        store_doubled(to[24 + r], _mm512_shuffle_i64x2(c, d, 0xdd), add);
    }
}

// ---- products of some places with a panel

// Up to kPlaces places: counted neuron by neuron of each window, window by window of each line of samples.
struct Places {
    i64 count;
    const u16* rows[kPlaces];

    Places(const Product& product, const Activations& from, i64 first, i64 end) {
        count = end - first < kPlaces ? end - first : kPlaces;
        for (i64 i = 0; i < kPlaces; ++i) {
            const i64 place = first + (i < count ? i : count - 1), window = place / product.members();
            const i64 position = window % product.positions(), member = place % product.members();
            const i64 pixel = product.row(position, member) * from.image.width + product.column(position, member);
            const i64 line = window / product.positions() * lines_of(from.image) + pixel * lines_of_pixel(from.image);
            rows[i] = from.bits + line * kLanes;
        }
    }
};

constexpr i64 kStride = kPlaces * kLanes;      // from one neuron's sums to the next
constexpr i64 kBlockSums = kPanel * kStride;   // from one block's

inline void multiply(const Product& product, const Places& places, i64 panel, u16* sums, u16* table) {
    for (i64 neuron = 0; neuron < product.panels.valid(panel); neuron += kTogether)
        for (i64 block = 0, first = 0; first < product.words; ++block, first += product.block) {
            const i64 count = product.words - first < product.block ? product.words - first : product.block;
            make(product, panel * kPanel + neuron, first, count, table);
            u16* to = sums + block * kBlockSums + neuron * kStride;
            for (i64 place = 0; place < places.count; place += kTogether)
                add_up(places.rows + place, product.lines + first, count, table, to + place * kLanes, kStride);
        }
}

// Sums of a place, of codes: (sample, neuron).
inline void collect(const Product& product, i64 place, const u16* sums, i32 (*to)[kPanel]) {
    for (i64 block = 0, first = 0; first < product.words; ++block, first += product.block)
        transpose(sums + block * kBlockSums + place * kLanes, kStride, to, block > 0);
}

// ---- activations

// The low halves of 32 numbers.
inline __m512i narrowed(__m512i first, __m512i second) {
    return _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi32_epi16(first)), _mm512_cvtepi32_epi16(second), 1);
}

// Bits in the order of neurons.
inline u32 in_order(Fired fired) { return _pext_u32(fired, 0x0f0f0f0fu) | _pext_u32(fired, 0xf0f0f0f0u) << 16; }

// What the neurons of a panel do in the samples of a line.
struct Line {
    alignas(64) Fired fired[kLanes] = {};

    void store(const Product& product, const Chunk& chunk, const Activations& to, i64 group, i64 position, i64 panel) const {
        if (to.bits) {
            u16* line = to.bits + (group * lines_of(to.image) + position * lines_of_pixel(to.image) + 2 * panel) * kLanes;
            alignas(64) u32 ordered[kLanes];
            for (i64 s = 0; s < kLanes; ++s) ordered[s] = in_order(fired[s]);
            const __m512i first = _mm512_load_si512(ordered), second = _mm512_load_si512(ordered + 16);
            _mm512_store_si512(line, narrowed(first, second));
            _mm512_store_si512(line + kLanes, narrowed(_mm512_srli_epi32(first, 16), _mm512_srli_epi32(second, 16)));
            return;
        }
        const i64 pixel = to.image.at(position / product.width, position % product.width) + product.panels.channel(panel);
        const i64 begin = group * kLanes, end = chunk.quads * kQuad < begin + kLanes ? chunk.quads * kQuad : begin + kLanes;
        for (i64 s = begin; s < end; ++s)
            put(fired[s - begin], product.panels.valid(panel), to.codes + s * to.image.size + pixel);
    }
};

// Quads of a line of samples.
inline i64 quads_in(const Chunk& chunk, i64 group) {
    const i64 left = chunk.quads - group * (kLanes / kQuad);
    return left < kLanes / kQuad ? left : kLanes / kQuad;
}

inline i64 groups_in(const Chunk& chunk) { return (chunk.quads * kQuad + kLanes - 1) / kLanes; }

void draw(const Product& product, const Chunk& chunk, const Activations& to) {
    const Stream stream(product, chunk);
    for (i64 group = 0; group < groups_in(chunk); ++group)
        for (i64 position = 0; position < product.positions(); ++position)
            for (i64 panel = 0; panel < product.panels.count(); ++panel) {
                Line line;
                for (i64 q = 0; q < quads_in(chunk, group); ++q) {
                    const i64 quad = group * (kLanes / kQuad) + q;
                    const Uniforms uniforms = stream.at(quad, position, panel);
                    const i64 element = position * product.panels.padded() + panel * kPanel;
                    const u16 *limit = chunk.list[quad].limit + element, *side = chunk.list[quad].side + element;
                    for (i64 s = 0; s < kQuad; ++s) line.fired[kQuad * q + s] = fired(limit, side, uniforms.of(s));
                }
                line.store(product, chunk, to, group, position, panel);
            }
}

void fire(const Product& product, const Chunk& chunk, const Activations& from, const Activations& to, void* scratch) {
    u16 *table = static_cast<u16*>(scratch), *sums = table + product.block * 16 * kLanes;
    const i64 members = product.members(), all = groups_in(chunk) * product.positions() * members;
    const i64 step = kPlaces / members * members;
    const Stream stream(product, chunk);
    alignas(64) i32 rows[kLanes][kPanel];
    for (i64 begin = 0; begin < all; begin += step) {
        const Places places(product, from, begin, all < begin + step ? all : begin + step);
        for (i64 panel = 0; panel < product.panels.count(); ++panel) {
            multiply(product, places, panel, sums, table);
            for (i64 place = 0; place < places.count; place += members) {
                const i64 window = (begin + place) / members;
                const i64 position = window % product.positions(), group = window / product.positions();
                Silence silence[kLanes];
                for (i64 member = 0; member < members; ++member) {
                    collect(product, place + member, sums, rows);
                    if (members == 1) break;
                    const Law law(product, product.kind(position, member), panel);
                    for (i64 s = 0; s < kLanes; ++s) silence[s].add(Arguments(rows[s], nullptr, law));
                }
                const Law law(product, product.kind(position, 0), panel);
                Line line;
                for (i64 q = 0; q < quads_in(chunk, group); ++q) {
                    const Uniforms uniforms = stream.at(group * (kLanes / kQuad) + q, position, panel);
                    for (i64 s = 0; s < kQuad; ++s) {
                        const i64 lane = kQuad * q + s;
                        line.fired[lane] = members == 1 ? fired(Arguments(rows[lane], nullptr, law), uniforms.of(s))
                                                        : fired(silence[lane], uniforms.of(s));
                    }
                }
                line.store(product, chunk, to, group, position, panel);
            }
        }
    }
}

void classify(const Product& product, const Chunk& chunk, const Activations& from, float* logits, void* scratch) {
    u16 *table = static_cast<u16*>(scratch), *sums = table + product.block * 16 * kLanes;
    const i64 all = groups_in(chunk), padded = product.panels.padded();
    alignas(64) i32 rows[kLanes][kPanel];
    for (i64 begin = 0; begin < all; begin += kPlaces) {
        const Places places(product, from, begin, all);
        for (i64 panel = 0; panel < product.panels.count(); ++panel) {
            multiply(product, places, panel, sums, table);
            for (i64 place = 0; place < places.count; ++place) {
                collect(product, place, sums, rows);
                const float *scale = product.scale + panel * kPanel, *shift = product.shift + panel * kPanel;
                for (i64 lane = 0; lane < kQuad * quads_in(chunk, begin + place); ++lane) {
                    float* to = logits + ((begin + place) * kLanes + lane) * padded + panel * kPanel;
                    for (int c = 0; c < kPanel; ++c) to[c] = (float)rows[lane][c] * scale[c] + shift[c];
                }
            }
        }
    }
}

}  // namespace

extern const BitKernels bit_kernels;
const BitKernels bit_kernels{draw, fire, classify};

}  // namespace nsm::NSM_INSTRUCTION_SET
