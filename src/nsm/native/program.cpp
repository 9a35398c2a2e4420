// The loops of a compiled network, compiled once for each instruction set under the name NSM_INSTRUCTION_SET. No standard
// library templates here: the linker would share their code between instruction sets.
#include "program.hpp"

#include <cstring>

#include "peak.hpp"
#if defined(__AMX_INT8__)
#include "tiles.hpp"
#else
#include "rows.hpp"
#endif
#include "synapses.hpp"
#include "vectors.hpp"

namespace nsm::NSM_INSTRUCTION_SET {
namespace {

typedef float Floats __attribute__((vector_size(kVector), may_alias));

// The units of a panel's field that are not 0: they add nothing, and pixels often are. Returns how many.
inline i64 heard(const Input& input, const float* origin, i64 panel, Unit* units) {
    const float* field = origin + input.product.panels.group(panel) * input.product.group_units;
    i64 count = 0;
    for (i64 k = 0; k < input.units; ++k) {
        const float value = field[input.offsets[k]];
        units[count] = {value, value * value, k};
        count += value != 0.0f;
    }
    return count;
}

constexpr i64 kAhead = 16;  // units whose weights are fetched early: no pattern in what is heard

// Every sum in the order of the units, whatever the width of the vectors.
template <bool squared>
struct Sums {
    alignas(64) float mean[kPanel], variance[kPanel];

    Sums(const Input& input, i64 panel, const Unit* units, i64 count) {
        constexpr int parts = kPanel * sizeof(float) / sizeof(Floats);
        Floats means[parts] = {}, variances[parts] = {};
        const float* w = input.weights + panel * input.units * kPanel;
        for (i64 j = 0; j < count; ++j) {
            const Unit unit = units[j];
            const float* soon = w + units[j + kAhead < count ? j + kAhead : j].index * kPanel;
            __builtin_prefetch(soon), __builtin_prefetch(soon + kPanel / 2);
            const Floats* weights = reinterpret_cast<const Floats*>(w + unit.index * kPanel);
            for (int i = 0; i < parts; ++i) {
                const Floats some = weights[i];
                means[i] += some * unit.value;
                if (squared) variances[i] += some * some * unit.square;
            }
        }
        std::memcpy(mean, means, sizeof mean);
        std::memcpy(variance, variances, sizeof variance);
    }
};

// Arguments of a panel's neurons at one position, one of each population. Returns whether all are numbers: a variance that
// overflows would make them 0.
inline bool arguments_of(const Product& product, i64 panel, i64 neuron, const Sums<true>& sums, float* __restrict argument) {
    const i64 at = panel * kPanel;
    const float *scale = product.scale + at, *shift = product.shift + neuron * product.panels.padded() + at;
    const float *power = product.power + at, *floor = product.floor + at;
    alignas(64) float variance[kPanel];
    // A loop of its own for each: GCC gives up on one that does both.
    for (int c = 0; c < kPanel; ++c) {
        variance[c] = sums.variance[c] * power[c] + floor[c];
        argument[c] = argument_of(sums.mean[c] * scale[c] + shift[c], variance[c]);
    }
    i32 broken = 0;
    for (int c = 0; c < kPanel; ++c) broken += (argument[c] != argument[c]) | !(variance[c] < __builtin_inff());
    return broken == 0;
}

void spread(const Image& image, bool binarize, const float* x, float* to) {
    for (i64 c = 0; c < image.channels; ++c)
        for (i64 y = 0; y < image.height; ++y)
            for (i64 i = 0; i < image.width; ++i) {
                const float value = *x++;
                to[image.at(y, i) + c] = !binarize ? value : value >= 0.5f ? 1.0f : -1.0f;
            }
}

void real(const Input& input, const float* from, void* scratch, const Image& image, float* to) {
    const Product& product = input.product;
    const Panels& panels = product.panels;
    Unit* units = reinterpret_cast<Unit*>(static_cast<float*>(scratch) + panels.padded());
    for (i64 p = 0; p < product.positions(); ++p) {
        const float* origin = from + product.field(input.image, p, 0);
        float* pixel = to + image.at(p / product.width, p % product.width);
        i64 count = 0;
        for (i64 panel = 0; panel < panels.count(); ++panel) {
            if (panel % panels.per_group == 0) count = heard(input, origin, panel, units);
            const Sums<false> sums(input, panel, units, count);
            for (i64 c = 0; c < panels.valid(panel); ++c) {
                const float value = sums.mean[c] + product.shift[panel * kPanel + c];
                pixel[panels.channel(panel) + c] = input.rectified && value < 0.0f ? 0.0f : value;
            }
        }
    }
}

void largest(const Pool& pool, const Image& received, const float* from, const Image& image, float* to) {
    for (i64 y = 0; y < pool.height; ++y)
        for (i64 x = 0; x < pool.width; ++x) {
            const float* field = from + received.at(y * pool.stride_y, x * pool.stride_x);
            float* __restrict pixel = to + image.at(y, x);
            for (i64 ky = 0; ky < pool.kernel_y; ++ky)
                for (i64 kx = 0; kx < pool.kernel_x; ++kx) {
                    const float* one = field + ky * received.row + kx * received.channels;
                    const bool begun = ky > 0 || kx > 0;
                    for (i64 c = 0; c < image.channels; ++c)
                        pixel[c] = begun && !(one[c] > pixel[c]) && one[c] == one[c] ? pixel[c] : one[c];
                }
        }
}

// shared: populations share their sums; else single neurons have them.
template <bool shared>
bool first_of(const Input& input, const float* from, void* scratch, const Region& region, u16* limit, u16* side) {
    const Product& product = input.product;
    const Panels& panels = product.panels;
    float* silence = static_cast<float*>(scratch);  // of a position's neurons, in the order in which they draw
    Unit* units = reinterpret_cast<Unit*>(silence + product.drawn(1, 0, 0) * kPanel);
    const i64 members = product.members();
    bool numbers = true;
    alignas(64) float argument[kPanel];
    const i64 begin = region.first_panel, end = region.last_panel;
    const i64 first_neuron = product.drawn(0, begin, 0) * kPanel, last_neuron = product.drawn(0, end, 0) * kPanel;
    for (i64 p = region.first_position; p < region.last_position; ++p) {
        for (i64 i = first_neuron; members > 1 && i < last_neuron; ++i) silence[i] = 1.0f;
        for (i64 member = 0; member < members; ++member) {
            const float* origin = from + product.field(input.image, p, member);
            i64 count = 0;
            for (i64 panel = begin; panel < end; ++panel) {
                if (panel == begin || panel % panels.per_group == 0) count = heard(input, origin, panel, units);
                const Sums<true> sums(input, panel, units, count);
                for (i64 neuron = 0; neuron < (shared ? product.population : 1); ++neuron) {
                    numbers &= arguments_of(product, panel, neuron, sums, argument);
                    const i64 element = product.drawn(p, panel, neuron) * kPanel;
                    float* one = silence + product.drawn(0, panel, neuron) * kPanel;
                    if (members == 1)
                        for (i64 c = 0; c < kPanel; ++c)
                            limits(argument + c, 1, limit + element + drawn(c), side + element + drawn(c));
                    else
                        for (int c = 0; c < kPanel; ++c) one[c] *= silent(argument[c]);
                }
            }
        }
        for (i64 i = first_neuron; members > 1 && i < last_neuron; ++i) {
            const i64 at = product.drawn(p, 0, 0) * kPanel + i / kPanel * kPanel + drawn(i % kPanel);
            limit_of(silence[i], limit[at], side[at]);
        }
    }
    return numbers;
}

bool first(const Input& input, const float* from, void* scratch, const Region& region, u16* limit, u16* side) {
    return (input.product.population > 1 ? first_of<true> : first_of<false>)(input, from, scratch, region, limit, side);
}

void draw(const Product& product, const Chunk& chunk, const Activations& to) {
    const Stream stream(product, chunk);
    for (i64 quad = 0; quad < chunk.quads; ++quad)
        for (i64 p = 0; p < product.positions(); ++p)
            for (i64 panel = 0; panel < product.panels.count(); ++panel)
                for (i64 neuron = 0; neuron < product.population; ++neuron) {
                    const Uniforms uniforms = stream.at(quad, p, panel, neuron);
                    const i64 element = product.drawn(p, panel, neuron) * kPanel, valid = product.panels.valid(panel);
                    const u16 *limit = chunk.list[quad].limit + element, *side = chunk.list[quad].side + element;
                    u8* z = neurons(to, product, quad, p, panel);
                    for (int s = 0; s < kQuad; ++s, z += to.image.size)
                        put(fired(limit, side, uniforms.of(s)), valid, neuron > 0, z);
                }
}

// Squares of codes, ((code - offset) / spacing)^2.
inline void square(const Pool& pool, const u8* __restrict z, i64 channels, u8* __restrict squares) {
    const std::int16_t offset = (std::int16_t)pool.offset, shift = pool.spacing == 2;
    for (i64 c = 0; c < channels; ++c) {
        const std::int16_t distance = (std::int16_t)((z[c] - offset) >> shift);
        squares[c] = (u8)(distance * distance);
    }
}

void pool(const Pool& pool, const Chunk& chunk, const Activations& from, const Activations& to) {
    const i64 channels = to.image.channels;
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
                if (to.squares) square(pool, z, channels, to.squares + at);
            }
}

void add(const Pool& pool, const Chunk& chunk, const Activations& from, const Activations& to) {
    const i64 row = pool.width * to.image.channels;
    for (i64 sample = 0; sample < kQuad * chunk.quads; ++sample)
        for (i64 y = 0; y < pool.height; ++y) {
            const i64 at = sample * to.image.size + to.image.at(y, 0);
            const u8* x = from.codes + sample * from.image.size + from.image.at(y, 0);
            u8* __restrict z = to.codes + at;
            for (i64 i = 0; i < row; ++i) z[i] = (u8)(z[i] + x[i]);
            if (to.squares) square(pool, z, row, to.squares + at);
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

void softmax(float* logits, i64 stride, i64 samples, i64 classes, float* entropies) {
    constexpr i64 lanes = 16;
    for (i64 sample = 0; sample < samples; ++sample) {
        float* l = logits + sample * stride;
        float largest = l[0];
        for (i64 c = 1; c < classes; ++c) largest = l[c] > largest ? l[c] : largest;
        float total = 0.0f, weighted = 0.0f;
        for (i64 begin = 0; begin < classes; begin += lanes) {
            alignas(64) float below[lanes], powers[lanes];
            for (i64 c = 0; c < lanes; ++c) {
                below[c] = largest - l[begin + c];
                l[begin + c] = powers[c] = exponential(-below[c]);
            }
            const i64 count = classes - begin < lanes ? classes - begin : lanes;
            for (i64 c = 0; c < count; ++c) total += powers[c], weighted += powers[c] * below[c];
        }
        const float inverse = 1.0f / total;
        for (i64 c = 0; c < classes; ++c) l[c] *= inverse;
        entropies[2 * sample] = weighted * inverse;
        entropies[2 * sample + 1] = total;
    }
}

void add_up(const float* probabilities, i64 stride, i64 samples, i64 classes, const float* entropies, double* sums) {
    double totals = 1.0;
    for (i64 sample = 0; sample < samples; ++sample) {
        const float* p = probabilities + sample * stride;
        for (i64 c = 0; c < classes; ++c) sums[c] += (double)p[c];
        sums[classes] += (double)entropies[2 * sample];
        // The logarithm of the product of some totals, each at most the number of classes, is the sum of theirs.
        totals *= (double)entropies[2 * sample + 1];
        if (sample % kTotals == kTotals - 1 || sample == samples - 1) {
            sums[classes] += __builtin_log(totals);
            totals = 1.0;
        }
    }
}

}  // namespace

extern const ProgramKernels program_kernels;
const ProgramKernels program_kernels{
    kTiles, spread, real, largest, first, bounded, draw, sense, fire, transmit, pool, add, classify, softmax, add_up, limits, multiply_adds};

}  // namespace nsm::NSM_INSTRUCTION_SET
