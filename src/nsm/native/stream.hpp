// Events into the cells of a sliding window, one after another; nsm.native.stream has the same in plain Python.
#pragma once

#include <cstdint>

namespace nsm {

constexpr std::int64_t kRemembered = 8;  // events of a pixel and polarity: a cache line of times

// Records of one structured array, and where their fields lie.
struct Records {
    const std::uint8_t* first;
    std::int64_t count, size;
    std::int64_t x, y, t, p;  // int16, int16, int64, bool
};

struct Window {
    std::int64_t width, height;  // of the sensor
    const std::int32_t* cells;   // (2, height, width): cell of a frame, or -1
    void* frames;                // (slots, cells) of uint8 (seen or not) or int32 (how often)
    std::int64_t slots, frame_cells;
    bool binary;
    std::int64_t* remembered;  // (2, height, width, kRemembered): times of the last events, -1 for none
    std::uint8_t* oldest;      // (2, height, width): which of them the next one replaces
    std::int64_t origin, tick;
    std::int64_t start, until;  // of what the next decision still waits for: [start, until)
    std::int64_t largest;      // time that an event may have
    std::int64_t* counts;      // taken, late, duplicate, outside
};

// Takes events up to the first one that is not before `until`; returns how many.
std::int64_t take_events(const Records& events, const Window& window);

}  // namespace nsm
