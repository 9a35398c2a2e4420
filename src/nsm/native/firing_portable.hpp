// Arguments and firing neuron by neuron. For inclusion in firing.hpp.
#pragma once

namespace nsm::NSM_INSTRUCTION_SET {
namespace {

// The uniform number of a neuron.
inline u16 half(const u32* words, i64 neuron) { return (u16)(words[drawn(neuron) / 2] >> (neuron % 2 * 16)); }

struct Arguments {
    float of[kPanel];

    Arguments(const i32* sums, const i32* squares, const Law& law) {
        for (int c = 0; c < kPanel; ++c) of[c] = (float)sums[c] * law.scale[c] + law.shift[c];
        if (law.power)
            for (int c = 0; c < kPanel; ++c) of[c] = argument_of(of[c], (float)squares[c] * law.power[c] + law.floor[c]);
    }
};

struct Fired {
    u8 codes[kPanel];
};

inline Fired fired(const Arguments& argument, const u32* words) {
    Fired z;
    for (int c = 0; c < kPanel; ++c)
        z.codes[c] = (half(words, c) < tail(argument.of[c])) != (argument.of[c] >= 0.0f) ? 2 : 0;
    return z;
}

inline Fired fired(const u16* limit, const u16* side, const u32* words) {
    Fired z;
    for (int c = 0; c < kPanel; ++c) z.codes[c] = (half(words, c) < limit[drawn(c)]) != (side[drawn(c)] != 0) ? 2 : 0;
    return z;
}

// P(z = -1) of every neuron of a window, multiplied.
struct Silence {
    float of[kPanel];

    Silence() {
        for (float& product : of) product = 1.0f;
    }

    void add(const Arguments& argument) {
        for (int c = 0; c < kPanel; ++c) of[c] *= silent(argument.of[c]);
    }
};

inline Fired fired(const Silence& silence, const u32* words) {
    u16 limit[kPanel], side[kPanel];
    for (int c = 0; c < kPanel; ++c) limit_of(silence.of[c], limit[drawn(c)], side[drawn(c)]);
    return fired(limit, side, words);
}

inline void put(const Fired& fired, i64 valid, bool added, u8* to) {
    for (i64 c = 0; c < valid; ++c) to[c] = (u8)(fired.codes[c] + (added ? to[c] : 0));
}

}  // namespace
}  // namespace nsm::NSM_INSTRUCTION_SET
