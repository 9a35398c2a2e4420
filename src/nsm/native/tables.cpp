// Products of weights with activations of one bit, by tables instead of multiplications.
//
// Two lines hold 32 neurons of 32 samples, a bit each. The bits of 16 neurons are cut into a few groups, and what each case
// of a group adds to a sum is looked up, for many samples at once. A table is made of additions alone and used for hundreds
// of samples. Sums are those of program.cpp, and so are the samples. The idea is the method of the four Russians (Arlazarov
// et al., 1970).
#include <cstring>

#include "program.hpp"
#include "firing.hpp"

// Each defines: where a neuron's bits lie in a line (store_bits()), the tables of kNeurons neurons for some words (make()), and
// sums of as many neurons at kRows places, a line each (add_up()), and how 32 such lines become rows (transpose()).
#if defined(__AVX512VNNI__)
#include "tables_avx512.hpp"
#elif defined(__AVX2__)
#include "tables_avx2.hpp"
#else
#include "tables_neon.hpp"
#endif

namespace nsm::NSM_INSTRUCTION_SET {
namespace {

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
            const i64 line = line_at(from.image, product.row(position, member), product.column(position, member));
            rows[i] = from.bits + (window / product.positions() * lines_of(from.image) + line) * kLanes;
        }
    }
};

constexpr i64 kStride = kPlaces * kLanes;      // from one neuron's sums to the next
constexpr i64 kBlockSums = kPanel * kStride;   // from one block's

inline void multiply(const Product& product, const Places& places, i64 panel, u16* sums, u16* table) {
    for (i64 neuron = 0; neuron < product.panels.valid(panel); neuron += kNeurons)
        for (i64 block = 0, first = 0; first < product.words; ++block, first += product.block) {
            const i64 count = product.words - first < product.block ? product.words - first : product.block;
            make(product, panel * kPanel + neuron, first, count, table);
            u16* to = sums + block * kBlockSums + neuron * kStride;
            for (i64 place = 0; place < places.count; place += kRows)
                add_up(places.rows + place, product.lines + first, count, table, to + place * kLanes, kStride);
        }
}

// Sums of a place, of codes: (sample, neuron). What lies beyond the image adds `lacking`, unless that is null.
inline void collect(const Product& product, i64 place, const u16* sums, const i32* lacking, i32 (*to)[kPanel]) {
    for (i64 block = 0, first = 0; first < product.words; ++block, first += product.block)
        transpose(sums + block * kBlockSums + place * kLanes, kStride, to, block > 0);
    for (i64 s = 0; lacking && s < kLanes; ++s)
        for (int c = 0; c < kPanel; ++c) to[s][c] += lacking[c];
}

// ---- activations

// What the neurons of a panel do in the samples of a line.
struct Line {
    Fired fired[kLanes] = {};

    void store(const Product& product, const Chunk& chunk, const Activations& to, i64 group, i64 position, i64 panel) const {
        const i64 row = position / product.width, column = position % product.width;
        if (to.bits) {
            const i64 line = line_at(to.image, row + to.image.top, column + to.image.left) + 2 * panel;
            store_bits(fired, to.bits + (group * lines_of(to.image) + line) * kLanes);
            return;
        }
        const i64 pixel = to.image.at(row, column) + product.panels.channel(panel);
        const i64 begin = group * kLanes, end = chunk.quads * kQuad < begin + kLanes ? chunk.quads * kQuad : begin + kLanes;
        for (i64 s = begin; s < end; ++s)
            put(fired[s - begin], product.panels.valid(panel), false, to.codes + s * to.image.size + pixel);
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
                    collect(product, place + member, sums, product.lack(position, member, panel), rows);
                    if (members == 1) break;
                    const i64 kind = product.kind(position, member);
                    const Law law(product, kind, kind, panel);
                    for (i64 s = 0; s < kLanes; ++s) silence[s].add(Arguments(rows[s], nullptr, law));
                }
                const i64 kind = product.kind(position, 0);
                const Law law(product, kind, kind, panel);
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
                collect(product, place, sums, product.lack(0, 0, panel), rows);
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
