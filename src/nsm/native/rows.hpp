// Layers whose products are made a few rows of codes at a time. For inclusion in files that are compiled once for each
// instruction set.
#pragma once

#include "alike.hpp"
#include "merged.hpp"
#include "products.hpp"

namespace nsm::NSM_INSTRUCTION_SET {
namespace {

constexpr bool kTiles = false;

// Windows of several neurons, each window drawn as one: a quad of samples at a time.
void fire_windows(const Product& product, const Chunk& chunk, const Activations& from, const Activations& to) {
    alignas(64) i32 sums[kRows][kPanel] = {}, squares[kRows][kPanel] = {};
    const Stream stream(product, chunk);
    const i64 members = product.members();
    Silence silence[kPooled][kQuad];
    for (i64 panel = 0; panel < product.panels.count(); ++panel)  // whose weights stay in cache
        for (i64 quad = 0; quad < chunk.quads; ++quad)
            for (i64 p = 0; p < product.positions(); ++p) {
                for (i64 neuron = 0; neuron < product.population; ++neuron)
                    for (Silence& one : silence[neuron]) one = {};
                const i64 begin = (quad * product.positions() + p) * members, end = begin + members;
                for (i64 place = begin; place < end; place += 2) {
                    const Tile tile(product, from, place, end);
                    tile.sum<false>(product, panel, sums);
                    if (product.squares) tile.sum<true>(product, panel, squares);
                    for (int i = 0; i < tile.places; ++i) {
                        for (i64 neuron = 0; neuron < product.population; ++neuron) {
                            const i64 kind = product.kind(p, place + i - begin);
                            const Law law(product, kind, kind * product.population + neuron, panel);
                            for (int s = 0; s < kQuad; ++s)
                                silence[neuron][s].add(Arguments(sums[kQuad * i + s], squares[kQuad * i + s], law));
                        }
                    }
                }
                const i64 valid = product.panels.valid(panel), size = to.image.size;
                for (i64 neuron = 0; neuron < product.population; ++neuron) {
                    const Uniforms uniforms = stream.at(quad, p, panel, neuron);
                    u8* z = neurons(to, product, quad, p, panel);
                    for (int s = 0; s < kQuad; ++s, z += size)
                        put(fired(silence[neuron][s], uniforms.of(s)), valid, neuron > 0, z);
                }
            }
}

// shared: populations share their sums; else single neurons have them.
template <bool shared>
i64 fire_all(const Product& product, const Chunk& chunk, const Activations& from, const Activations& to, void* scratch) {
    const Stream stream(product, chunk);
    alignas(64) i32 sums[kRows][kPanel] = {}, squares[kRows][kPanel] = {};
    const auto fire_quad = [&](i64 panel, i64 quad, i64 position, const i32(*of_codes)[kPanel], const i32(*of_squares)[kPanel]) {
        const i64 valid = product.panels.valid(panel), size = to.image.size;
        for (i64 neuron = 0; neuron < (shared ? product.population : 1); ++neuron) {
            const i64 kind = product.kind(position, 0);
            const Law law(product, kind, shared ? kind * product.population + neuron : kind, panel);
            const Uniforms uniforms = shared ? stream.at(quad, position, panel, neuron) : stream.at(quad, position, panel);
            u8* z = neurons(to, product, quad, position, panel);
            for (int s = 0; s < kQuad; ++s, z += size)
                put(fired(Arguments(of_codes[s], of_squares[s], law), uniforms.of(s)), valid, neuron > 0, z);
        }
    };
    const auto multiply = [&](i64 begin, i64 end) {
        const i64 done = by_triples(product, from, begin, end, scratch, [&](i64 panel, i64 quad, const i32(*three)[kPanel]) {
            for (i64 i = 0; i < kTripleQuads; ++i) fire_quad(panel, quad + i, 0, three + kQuad * i, squares);
        });
        const i64 first = (begin + done) * product.positions(), places = end * product.positions();
        for (i64 panel = 0; panel < product.panels.count(); ++panel)  // whose weights stay in cache
            for (i64 place = first; place < places; place += 2) {
                const Tile tile(product, from, place, places);
                tile.sum<false>(product, panel, sums);
                if (product.squares) tile.sum<true>(product, panel, squares);
                for (int i = 0; i < tile.places; ++i)
                    fire_quad(panel, tile.quad[i], tile.position[i], sums + kQuad * i, squares + kQuad * i);
            }
    };
    i64 begin = 0, found = 0;  // where quads begin that are not alike; those that are
    for (i64 quad = 0, quads; product.rows && quad < chunk.quads; quad += quads) {
        quads = quads_of_one_input(chunk, quad);
        Alike alike(product, from, quad, quads, scratch);
        if (quads < kFewestQuads || !alike.compare()) continue;
        alike.list();
        alike.sum([&](i64 panel, i64 of_input, const i32(*sums_of_quad)[kPanel]) {
            fire_quad(panel, quad + of_input, 0, sums_of_quad, squares);
        });
        multiply(begin, quad);
        begin = quad + quads, found += quads;
    }
    multiply(begin, chunk.quads);
    return found;
}

i64 fire(const Product& product, const Chunk& chunk, const Activations& from, const Activations& to, void* scratch) {
    if (product.members() > 1) return fire_windows(product, chunk, from, to), 0;
    return (product.population > 1 ? fire_all<true> : fire_all<false>)(product, chunk, from, to, scratch);
}

void classify(const Product& product, const Chunk& chunk, const Activations& from, float* logits, void* scratch) {
    alignas(64) i32 sums[kRows][kPanel] = {};
    const i64 padded = product.panels.padded();
    const auto write = [&](i64 panel, i64 quad, i64 quads, const i32(*of_codes)[kPanel]) {
        const float *scale = product.scale + panel * kPanel, *shift = product.shift + panel * kPanel;
        for (i64 r = 0; r < kQuad * quads; ++r) {
            float* to = logits + (kQuad * quad + r) * padded + panel * kPanel;
            for (int c = 0; c < kPanel; ++c) to[c] = (float)of_codes[r][c] * scale[c] + shift[c];
        }
    };
    const i64 done = by_triples(product, from, 0, chunk.quads, scratch, [&](i64 panel, i64 quad, const i32(*three)[kPanel]) {
        write(panel, quad, kTripleQuads, three);
    });
    for (i64 quad = done; quad < chunk.quads; quad += 2) {
        const Tile tile(product, from, quad, chunk.quads);
        for (i64 panel = 0; panel < product.panels.count(); ++panel) {
            tile.sum<false>(product, panel, sums);
            write(panel, quad, tile.places, sums);
        }
    }
}

}  // namespace
}  // namespace nsm::NSM_INSTRUCTION_SET
