// Samples of neurons behind few real inputs, straight from their receptive fields, and the gradient: products, variance
// and draw in one pass, so that no preactivation is ever stored.
#include "draw.hpp"
#include "loops.hpp"
#include "vectors.hpp"

namespace nsm::NSM_INSTRUCTION_SET {
namespace {

constexpr i64 kWidth = kVector / (int)sizeof(float);
static_assert(kLanes % kWidth == 0);

typedef float Wide __attribute__((vector_size(kVector)));
using u8 = std::uint8_t;

inline void get(Wide& x, const float* from) { std::memcpy(&x, from, sizeof x); }

inline void put(float* to, const Wide& x) { std::memcpy(to, &x, sizeof x); }

// u = sum_j w_j z_j and power = sum_j (w_j z_j)^2 of kLanes neurons of each member of a window.
struct Moments {
    alignas(64) float u[kLargestWindow][kLanes], power[kLargestWindow][kLanes];
};

constexpr float kSure = 1e9f;  // an argument without noise: no slope is left there

template <typename Job>
constexpr i64 lanes_of(const Job& job) {
    return (job.channels + kLanes - 1) / kLanes * kLanes;
}

// A synapse: where its input lies, from the first of a receptive field on, and its row of weights.
struct Tap {
    std::int32_t input, row;
};

// Synapses of a window whose input is not 0 for all of its neurons. The others are silent; on images of digits and on
// frames of events they are most.
class Heard {
public:
    i64 count = 0;
    Tap tap[kLargestField];

    template <typename Job>
    explicit Heard(const Job& job) : taps_(job.taps) {
        const i64 lanes = lanes_of(job);
        for (i64 t = 0; t < taps_; ++t) all_[t] = {(std::int32_t)job.tap[t], (std::int32_t)(t * lanes)};
        for (i64 e = 0; e < taps_ * lanes; ++e) numbers_ &= job.weight[e] - job.weight[e] == 0.0f;
    }

    // Looks an image through: loud[i] says whether a synapse hears something whose first input lies at i. Scratch memory
    // of two bytes for each input.
    template <typename Job>
    void listen(const Job& job, const float* x, u8* __restrict loud) {
        loud_ = loud;
        const i64 inputs = job.x_stride;
        u8* __restrict heard = loud + inputs;
        for (i64 i = 0; i < inputs; ++i) heard[i] = bits(x[i]) << 1 != 0;
        i64 span = 0;
        for (i64 k = 0; k < job.window; ++k) span = job.member[k] > span ? job.member[k] : span;
        const i64 size = inputs - span;
        std::memset(loud, !numbers_, (std::size_t)size);  // not even 0 silences a weight that is no number
        for (i64 k = 0; k < job.window; ++k) {
            const u8* from = heard + job.member[k];
            for (i64 i = 0; i < size; ++i) loud[i] |= from[i];
        }
    }

    // For the window whose first input lies at `origin`.
    void find(i64 origin) {
        const u8* loud = loud_ + origin;
        i64 found = 0;
        for (i64 t = 0; t < taps_; ++t) {
            tap[found] = all_[t];
            found += loud[all_[t].input];
        }
        count = found;
    }

private:
    i64 taps_;
    bool numbers_ = true;
    const u8* loud_ = nullptr;
    Tap all_[kLargestField];
};

// The lanes from `lane` on, a vector of them. GCC keeps sums in memory that a loop over neurons, not unrolled, goes through.
template <int members, typename Job>
inline void add_up(const Job& job, const Heard& heard, const float* x, i64 first, const float* weight, Moments& to,
                   i64 lane) {
    Wide u[members], power[members];
    const float* from[members];
#pragma GCC unroll 4
    for (int k = 0; k < members; ++k) u[k] = power[k] = Wide{}, from[k] = x + job.member[first + k];
    for (i64 h = 0; h < heard.count; ++h) {
        Wide w;
        get(w, weight + heard.tap[h].row + lane);
        const i64 tap = heard.tap[h].input;
#pragma GCC unroll 4
        for (int k = 0; k < members; ++k) {
            const Wide product = w * from[k][tap];
            u[k] += product;
            power[k] += product * product;
        }
    }
#pragma GCC unroll 4
    for (int k = 0; k < members; ++k) put(to.u[first + k] + lane, u[k]), put(to.power[first + k] + lane, power[k]);
}

template <typename Job>
inline void moments(const Job& job, const Heard& heard, const float* x, const float* weight, Moments& to) {
    for (i64 lane = 0; lane < kLanes; lane += kWidth) {
        i64 k = 0;
        for (; k + 4 <= job.window; k += 4) add_up<4>(job, heard, x, k, weight, to, lane);
        for (; k < job.window; ++k) add_up<1>(job, heard, x, k, weight, to, lane);
    }
}

// s of neuron k of a window.
template <typename Job>
inline void arguments(const Job& job, const Moments& found, i64 k, i64 c, float* __restrict s) {
    for (i64 i = 0; i < kLanes; ++i)
        s[i] = argument(found.u[k][i], found.power[k][i], job.gain[c + i], job.bias[c + i], job.variance, job.extra);
}

// The product over a window's neurons, kLanes numbers of each, or the first `count` of it.
inline void put_product(float* of, i64 window, i64 count, float* to) {
    for (i64 lane = 0; lane < kLanes; lane += kWidth) {
        Wide product, one;
        get(product, of + lane);
        for (i64 k = 1; k < window; ++k) {
            get(one, of + k * kLanes + lane);
            product *= one;
        }
        put(of + lane, product);
    }
    if (count >= kLanes)
        std::memcpy(to, of, kLanes * sizeof(float));
    else
        for (i64 i = 0; i < count; ++i) to[i] = of[i];
}

// P(z = -1) of every neuron of a window, multiplied, for all channels: as `silent`, or estimates of it as silent / all.
template <bool estimated>
void silences(const Sense& job, const Heard& heard, const float* x, float* silent, float* all) {
    Moments found;
    alignas(64) float s[kLargestWindow * kLanes], of_all[kLargestWindow * kLanes];
    for (i64 c = 0; c < job.channels; c += kLanes) {
        moments(job, heard, x, job.weight + c, found);
        for (i64 k = 0; k < job.window; ++k) arguments(job, found, k, c, s + k * kLanes);
        for (i64 e = 0; e < job.window * kLanes; ++e) {
            const float argument = s[e];
            if (estimated)
                estimate(argument, s[e], of_all[e]);
            else
                s[e] = silence(argument);
        }
        put_product(s, job.window, job.channels - c, silent + c);
        if (estimated) put_product(of_all, job.window, job.channels - c, all + c);
    }
}

// The same for positions first .. first + count. Where nothing is heard it is known before.
template <bool estimated>
void silences_of(const Sense& job, Heard& heard, const float* x, const float* nothing_heard, i64 first, i64 count,
                 float* silent, float* all) {
    for (i64 p = 0; p < count; ++p, silent += job.channels, all += job.channels) {
        heard.find(job.origin[first + p]);
        if (heard.count) {
            silences<estimated>(job, heard, x + job.origin[first + p], silent, all);
            continue;
        }
        std::memcpy(silent, nothing_heard, (std::size_t)job.channels * sizeof(float));
        if (estimated) std::memcpy(all, nothing_heard + job.channels, (std::size_t)job.channels * sizeof(float));
    }
}

// Thresholds of elements first .. first + count; scratch memory for one position.
void thresholds(const Sense& job, Heard& heard, const float* x, i64 first, i64 count, float* scratch, float* to) {
    for (i64 e = 0; e < count;) {
        const i64 p = (first + e) / job.channels, c = (first + e) % job.channels;
        const i64 run = job.channels - c < count - e ? job.channels - c : count - e;
        heard.find(job.origin[p]);
        silences<false>(job, heard, x + job.origin[p], scratch, nullptr);
        for (i64 i = 0; i < run; ++i) to[e + i] = maximum_threshold(scratch[c + i]);
        e += run;
    }
}

// One sample of elements first .. first + count from estimates; scratch memory for one position.
template <typename T>
void decide_all_once(const Sense& job, Heard& heard, const float* x, i64 row, i64 first, i64 count, const float* silent,
                     const float* all, float* scratch) {
    T* z = static_cast<T*>(job.z) + row * job.positions * job.channels + first;
    alignas(64) u32 words[kGroup];
    for (i64 e = 0; e < count; e += kGroup) {
        draw(job, row, (first + e) / kGroup, words);
        const i64 n = count - e < kGroup ? count - e : kGroup;
        decide_once(words, silent + e, all + e, job.window, n, z + e,
                    [&](float* to) { thresholds(job, heard, x, first + e, n, scratch, to); });
    }
}

template <typename T>
void sense_of(const Sense& job, i64 first_row, i64 last_row, float* scratch) {
    Heard heard(job);
    float *silent = scratch, *all = silent + kGroup * job.channels, *one = all + kGroup * job.channels;
    float* nothing_heard = one + job.channels;
    u8* loud = reinterpret_cast<u8*>(nothing_heard + 2 * job.channels);
    const bool once = job.samples == 1 && job.window <= kFewNeurons;
    (once ? silences<true> : silences<false>)(job, heard, job.x, nothing_heard, nothing_heard + job.channels);
    for (i64 begin = first_row; begin < last_row;) {
        const i64 n = begin / job.samples;
        const i64 end = (n + 1) * job.samples < last_row ? (n + 1) * job.samples : last_row;
        const float* x = job.x + n * job.x_stride;
        heard.listen(job, x, loud);
        // 64 positions begin with a group, whatever the number of channels.
        for (i64 first = 0; first < job.positions; first += kGroup) {
            const i64 count = job.positions - first < kGroup ? job.positions - first : kGroup;
            const i64 element = first * job.channels, elements = count * job.channels;
            (once ? silences_of<true> : silences_of<false>)(job, heard, x, nothing_heard, first, count, silent, all);
            if (once) {
                decide_all_once<T>(job, heard, x, begin, element, elements, silent, all, one);
            } else {
                for (i64 e = 0; e < elements; ++e) silent[e] = maximum_threshold(silent[e]);
                decide_side_by_side<T>(job, begin, end, element, elements, silent);
            }
        }
        begin = end;
    }
}

// From the gradient at the maximum of each channel to those at u and at the power of each neuron, in place of these;
// sums over neurons go to by_gain and by_bias.
template <Estimator estimator>
inline void back(const SenseBackward& job, i64 c, const float* total, Moments& found, float* __restrict by_gain,
                 float* __restrict by_bias) {
    const i64 count = job.window * kLanes;
    alignas(64) float s[kLargestWindow * kLanes], by_u[kLargestWindow * kLanes];
    alignas(64) float slopes[kLargestWindow * kLanes], silent[kLargestWindow * kLanes], before[kLargestWindow * kLanes];
    for (i64 k = 0; k < job.window; ++k)
        for (i64 i = 0; i < kLanes; ++i) {
            const i64 e = k * kLanes + i;
            const float mean = found.u[k][i] * job.gain[c + i] + job.bias[c + i];
            const float all = found.power[k][i] * job.variance + job.extra;
            const float inverse = 1.0f / __builtin_sqrtf(2.0f * all);
            by_u[e] = all == 0.0f ? 0.0f : inverse;
            s[e] = all == 0.0f ? (mean >= 0.0f ? kSure : -kSure) : mean * inverse;
        }
    for (i64 e = 0; e < count; ++e) slopes[e] = slope_and_silence<estimator>(s[e], silent[e]);
    for (i64 lane = 0; lane < kLanes; lane += kWidth) {
        Wide product, gains, biases, gain;
        get(product, total + lane), get(gains, by_gain + lane), get(biases, by_bias + lane);
        get(gain, job.gain + c + lane);
        for (i64 k = 0; k < job.window; ++k) {
            Wide silence;
            get(silence, silent + k * kLanes + lane);
            put(before + k * kLanes + lane, product);
            product *= silence;
        }
        product = Wide{} + 1.0f;
        for (i64 k = job.window; k-- > 0;) {
            const i64 e = k * kLanes + lane;
            Wide others, slope, inverse, mean, argument, silence;
            get(others, before + e), get(slope, slopes + e), get(inverse, by_u + e), get(mean, found.u[k] + lane);
            get(argument, s + e), get(silence, silent + e);
            const Wide g = others * (product * slope) * inverse;
            product *= silence;
            gains += g * mean;
            biases += g;
            put(found.u[k] + lane, g * gain);
            put(found.power[k] + lane, g * argument * inverse * -job.variance);
        }
        put(by_gain + lane, gains), put(by_bias + lane, biases);
    }
}

// Adds z g_u and z^2 g_power of `members` neurons at every synapse, in a vector of the lanes.
template <int members>
inline void spread(const SenseBackward& job, const Heard& heard, const float* x, const float* squares, i64 first,
                   const Moments& g, i64 lane, float* by_u, float* by_power) {
    Wide u[members], power[members];
    const float *from[members], *squared[members];
#pragma GCC unroll 4
    for (int k = 0; k < members; ++k) {
        from[k] = x + job.member[first + k], squared[k] = squares + job.member[first + k];
        get(u[k], g.u[first + k] + lane);
        get(power[k], g.power[first + k] + lane);
    }
    for (i64 h = 0; h < heard.count; ++h) {
        Wide sum_u, sum_power;
        const i64 at = heard.tap[h].row + lane, tap = heard.tap[h].input;
        get(sum_u, by_u + at);
        get(sum_power, by_power + at);
#pragma GCC unroll 4
        for (int k = 0; k < members; ++k) {
            sum_u += u[k] * from[k][tap];
            sum_power += power[k] * squared[k][tap];
        }
        put(by_u + at, sum_u);
        put(by_power + at, sum_power);
    }
}

template <typename T, Estimator estimator>
void sense_backward_of(const SenseBackward& job, const Part& part, float* squares) {
    const i64 lanes = lanes_of(job), size = job.positions * job.channels, last = job.taps * lanes;
    u8* loud = reinterpret_cast<u8*>(squares + job.x_stride);
    Heard heard(job);
    Moments found;
    alignas(64) float total[kLanes];
    for (i64 n = part.first_input; n < part.last_input; ++n) {
        const float* image = job.x + n * job.x_stride;
        heard.listen(job, image, loud);
        for (i64 i = 0; i < job.x_stride; ++i) squares[i] = image[i] * image[i];
        for (i64 p = 0; p < job.positions; ++p) {
            const float* x = image + job.origin[p];
            heard.find(job.origin[p]);
            if (!heard.count && job.extra == 0.0f) continue;  // without variance there is no gradient
            for (i64 c = 0; c < job.channels; c += kLanes) {
                const i64 run = job.channels - c < kLanes ? job.channels - c : kLanes;
                const T* grad = static_cast<const T*>(job.grad) + n * job.samples * size + p * job.channels + c;
                for (i64 i = 0; i < kLanes; ++i) total[i] = 0.0f;
                for (i64 k = 0; k < job.samples; ++k)
                    for (i64 i = 0; i < run; ++i) total[i] += load(grad[k * size + i]);
                moments(job, heard, x, job.weight + c, found);
                back<estimator>(job, c, total, found, part.scale + last + c, part.shift + last + c);
                const float* squared = squares + job.origin[p];
                for (i64 lane = 0; lane < kLanes; lane += kWidth) {
                    i64 k = 0;
                    for (; k + 4 <= job.window; k += 4)
                        spread<4>(job, heard, x, squared, k, found, lane, part.scale + c, part.shift + c);
                    for (; k < job.window; ++k)
                        spread<1>(job, heard, x, squared, k, found, lane, part.scale + c, part.shift + c);
                }
            }
        }
    }
}

}  // namespace

void sense(const Sense& job, i64 first, i64 last, float* scratch) {
    (job.bfloat16 ? sense_of<Bfloat16> : sense_of<float>)(job, first, last, scratch);
}

void sense_backward(const SenseBackward& job, const Part& part, float* scratch) {
    const FlushDenormals flush;
    with_estimator(job.estimator, [&](auto chosen) {
        constexpr Estimator estimator = decltype(chosen)::value;
        (job.bfloat16 ? sense_backward_of<Bfloat16, estimator> : sense_backward_of<float, estimator>)(job, part, scratch);
    });
}

}  // namespace nsm::NSM_INSTRUCTION_SET
