// Layers whose products are made by AMX, in tiles of 16 rows and 16 neurons, 64 units at a time. Rows are the samples of one
// position, which lie at equal distances. For inclusion in a file that is compiled with AMX.
#pragma once

#include "firing.hpp"

namespace nsm::NSM_INSTRUCTION_SET {
namespace {

constexpr bool kTiles = true;
constexpr i64 kTall = 16;          // rows of a tile
constexpr i64 kRows = 2 * kTall;   // rows of a product computed together
constexpr i64 kDeep = 64;          // units of a tile
constexpr i64 kTileRow = 4 * kPanel;  // bytes from one four of units to the next, of all neurons of a panel

// All tiles at their largest size, for as long as this lives; a thread's own.
class Tiles {
public:
    Tiles() {
        const Shape shape;
        // The compiler does not know what memory the instructions on tiles read: whatever was written before.
        asm volatile("ldtilecfg %0" : : "m"(shape) : "memory");
    }
    ~Tiles() { _tile_release(); }
    Tiles(const Tiles&) = delete;
    Tiles& operator=(const Tiles&) = delete;

private:
    struct alignas(64) Shape {
        u8 palette = 1, start = 0, reserved[14] = {};
        u16 bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
        u8 rows[16] = {kTall, kTall, kTall, kTall, kTall, kTall, kTall, kTall};
    };
};

// Sums of the codes of some samples, or of their squares, with a panel's weights; of the first 16 samples, and of all 32
// where `tall`; of the first 16 neurons, and of all where `wide`. Codes are unsigned and weights signed; squares of weights
// unsigned and squares of codes signed.
struct Totals {
    const u8 *first, *weights;
    i64 stride;  // from one sample to the next
    const i64* offsets;
    i64 segments, blocks;  // of kDeep units in a run
    bool squares, tall, wide;
    bool once;  // whether codes are read once for a panel: they are not to push its weights out of the first-level cache
    i32 (*to)[kPanel];
    i64 segment = 0, block = 0, quarter = 0;

    i64 parts() const { return 4 * segments * blocks; }

    // The next of all parts: 64 units, for a quarter of the sums.
    void make_part() {
        const u8* x = first + offsets[segment] + block * kDeep;
        switch (quarter++) {
            case 0:
                if (segment == 0 && block == 0) begin();
                if (once) _tile_stream_loadd(4, x, stride); else _tile_loadd(4, x, stride);
                _tile_loadd(6, weights, kTileRow);
                if (squares) _tile_dpbsud(0, 4, 6); else _tile_dpbusd(0, 4, 6);
                break;
            case 1:
                if (!wide) break;
                _tile_loadd(7, weights + kTileRow / 2, kTileRow);
                if (squares) _tile_dpbsud(1, 4, 7); else _tile_dpbusd(1, 4, 7);
                break;
            case 2:
                if (!tall) break;
                if (once) _tile_stream_loadd(5, x + kTall * stride, stride); else _tile_loadd(5, x + kTall * stride, stride);
                if (squares) _tile_dpbsud(2, 5, 6); else _tile_dpbusd(2, 5, 6);
                break;
            default:
                if (tall && wide) {
                    if (squares) _tile_dpbsud(3, 5, 7); else _tile_dpbusd(3, 5, 7);
                }
                quarter = 0;
                weights += kDeep * kPanel;
                if (++block == blocks) block = 0, ++segment;
                if (segment == segments) end();
        }
    }

private:
    static void begin() {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }

    void end() const {
        _tile_stored(0, to[0], kTileRow);
        if (wide) _tile_stored(1, to[0] + kTall, kTileRow);
        if (tall) _tile_stored(2, to[kTall], kTileRow);
        if (tall && wide) _tile_stored(3, to[kTall] + kTall, kTileRow);
    }
};

// What is computed together: a panel at a place, a neuron of a window, in up to kRows samples of a chunk. Counted up part by
// part, as divisions would take as long as the sums.
struct Place {
    i64 group = 0, panel = 0;  // of the group
    i64 sample = 0;
    i64 y = 0, x = 0;                // the window
    i64 member_y = 0, member_x = 0;  // the neuron

    // Panel by panel, whose weights stay in cache, and window by window, as neighbours have most of their codes in common.
    // Returns whether there is a next one.
    bool advance(const Product& product, const Chunk& chunk) {
        const auto next = [](i64& counter, i64 end) { return ++counter < end || (counter = 0); };
        return next(member_x, product.window_x) || next(member_y, product.window_y) || next(x, product.width) ||
               next(y, product.height) || ((sample += kRows) < kQuad * chunk.quads || (sample = 0)) ||
               next(panel, product.panels.per_group) || next(group, product.panels.groups);
    }

    i64 whole_panel(const Product& product) const { return group * product.panels.per_group + panel; }
    i64 channel(const Product& product) const { return group * product.panels.neurons + panel * kPanel; }
    i64 position(const Product& product) const { return y * product.width + x; }
    i64 member(const Product& product) const { return member_y * product.window_x + member_x; }
    bool first_member() const { return member_y == 0 && member_x == 0; }
    bool last_member(const Product& product) const {
        return member_y == product.window_y - 1 && member_x == product.window_x - 1;
    }

    // How many neurons and samples there are.
    i64 valid(const Product& product) const {
        const i64 left = product.panels.neurons - panel * kPanel;
        return left < kPanel ? left : kPanel;
    }
    i64 samples(const Chunk& chunk) const {
        const i64 left = kQuad * chunk.quads - sample;
        return left < kRows ? left : kRows;
    }

    // Rows behind the last sample are read too, and their sums are not.
    Totals sums(const Product& product, const Chunk& chunk, const Activations& from, bool squares, i32 (*to)[kPanel]) const {
        const i64 row = (y * product.window_y + member_y) * product.stride_y;
        const i64 column = (x * product.window_x + member_x) * product.stride_x;
        const i64 at = sample * from.image.size + row * from.image.row + column * from.image.channels +
                       group * product.group_units;
        const i64 size = product.segments * product.blocks * kDeep * kPanel * whole_panel(product);
        return {.first = (squares ? from.squares : from.codes) + at,
                .weights = (squares ? product.square_tiles : reinterpret_cast<const u8*>(product.tiles)) + size,
                .stride = from.image.size,
                .offsets = product.offsets,
                .segments = product.segments,
                .blocks = product.blocks,
                .squares = squares,
                .tall = samples(chunk) > kTall,
                .wide = valid(product) > kTall,
                .once = product.positions() == 1,
                .to = to};
    }
};

// A place's sums of codes and, where the variance depends on them, of squares.
class Work {
public:
    Work(const Product& product, const Chunk& chunk, const Activations& from)
        : product_(product), chunk_(chunk), from_(from) {}

    void begin(const Place& place) {
        codes_ = place.sums(product_, chunk_, from_, false, sums_);
        left_ = codes_.parts();
        if (product_.squares) {
            squares_ = place.sums(product_, chunk_, from_, true, squared_);
            left_ += squares_.parts();
        }
        share_ = (left_ + kRows - 1) / kRows;
    }

    // A 32nd of all, so that it is done when 32 samples have been drawn. Instructions on tiles take long and run beside
    // others as long as few of them wait.
    void some() {
        for (i64 i = 0; i < share_ && left_ > 0; ++i) part();
    }
    void finish() {
        while (left_ > 0) part();
    }

    const i32* sum(i64 sample) const { return sums_[sample]; }
    Arguments argument(i64 sample, const Law& law) const { return Arguments(sums_[sample], squared_[sample], law); }

private:
    void part() {
        (codes_.segment < codes_.segments ? codes_ : squares_).make_part();
        --left_;
    }

    const Product& product_;
    const Chunk& chunk_;
    const Activations& from_;
    Totals codes_{}, squares_{};
    i64 left_ = 0, share_ = 0;
    alignas(64) i32 sums_[kRows][kPanel] = {}, squared_[kRows][kPanel] = {};
};

// windows: neurons are drawn as one, their maximum, by windows of several.
template <bool windows>
inline void fire_all(const Product& product, const Chunk& chunk, const Activations& from, const Activations& to) {
    const Tiles tiles;
    const Stream stream(product, chunk);
    Work works[2] = {{product, chunk, from}, {product, chunk, from}};
    Silence silence[windows ? kPooled : 1][windows ? kRows : 1];
    Place place;
    works[0].begin(place);
    works[0].finish();
    bool more = true;
    for (int turn = 0; more; turn ^= 1) {
        const Work& done = works[turn];
        Work& next = works[turn ^ 1];
        Place after = place;
        more = after.advance(product, chunk);
        if (more) next.begin(after);
        const i64 panel = place.whole_panel(product), position = place.position(product);
        const i64 kind = product.kind(position, place.member(product));
        const i64 valid = place.valid(product), samples = place.samples(chunk);
        const bool last = place.last_member(product);
        u8* z = to.codes + place.sample * to.image.size + to.image.at(place.y, place.x) + place.channel(product);
        for (i64 s = 0; windows && s < samples; ++s) {
            for (i64 neuron = 0; neuron < product.population; ++neuron) {
                if (place.first_member()) silence[neuron][s] = {};
                silence[neuron][s].add(done.argument(s, Law(product, kind, kind * product.population + neuron, panel)));
            }
            if (!last) next.some();
        }
        for (i64 s = 0; last && s < samples; s += kQuad) {
            for (i64 neuron = 0; neuron < product.population; ++neuron) {
                const Law law(product, kind, kind * product.population + neuron, panel);
                const Uniforms uniforms = stream.at((place.sample + s) / kQuad, position, panel, neuron);
                for (i64 i = 0; i < kQuad; ++i) {
                    const Fired which = windows ? fired(silence[neuron][s + i], uniforms.of(i))
                                                : fired(done.argument(s + i, law), uniforms.of(i));
                    put(which, valid, neuron > 0, z + i * to.image.size);
                    next.some();
                }
            }
            z += kQuad * to.image.size;
        }
        next.finish();
        place = after;
    }
}

i64 fire(const Product& product, const Chunk& chunk, const Activations& from, const Activations& to, void*) {
    (product.members() > 1 ? fire_all<true> : fire_all<false>)(product, chunk, from, to);
    return 0;
}

void classify(const Product& product, const Chunk& chunk, const Activations& from, float* logits, void*) {
    const Tiles tiles;
    Work work(product, chunk, from);
    const i64 padded = product.panels.padded();
    Place place;
    do {
        work.begin(place);
        work.finish();
        const i64 at = place.whole_panel(product) * kPanel;
        const float *scale = product.scale + at, *shift = product.shift + at;
        for (i64 s = 0; s < place.samples(chunk); ++s) {
            float* to = logits + (place.sample + s) * padded + at;
            for (int c = 0; c < kPanel; ++c) to[c] = (float)work.sum(s)[c] * scale[c] + shift[c];
        }
    } while (place.advance(product, chunk));
}

}  // namespace
}  // namespace nsm::NSM_INSTRUCTION_SET
