#include "stream.hpp"

#include <cstring>

namespace nsm {

namespace {

using i64 = std::int64_t;

template <typename T>
T read(const std::uint8_t* from) {
    T value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

template <typename Cell>
i64 take(const Records& events, const Window& window) {
    Cell* const frames = static_cast<Cell*>(window.frames);
    i64 taken = 0, late = 0, duplicate = 0, outside = 0;
    // Neighbours in time share a tick: its division is made once.
    i64 tick_start = 0, tick_end = 0;
    Cell* frame = nullptr;
    i64 number = 0;
    for (; number < events.count; ++number) {
        const std::uint8_t* record = events.first + number * events.size;
        const i64 x = read<std::int16_t>(record + events.x), y = read<std::int16_t>(record + events.y);
        const i64 t = read<i64>(record + events.t);
        if (x < 0 || x >= window.width || y < 0 || y >= window.height || t < 0 || t > window.largest) {
            ++outside;
            continue;
        }
        if (t >= window.until) break;
        if (t < window.start) {
            ++late;
            continue;
        }
        const i64 pixel = ((record[events.p] != 0) * window.height + y) * window.width + x;
        i64* const known = window.remembered + pixel * kRemembered;
        bool again = false;
        for (i64 i = 0; i < kRemembered; ++i) again |= known[i] == t;
        if (again) {
            ++duplicate;
            continue;
        }
        known[window.oldest[pixel]] = t;
        window.oldest[pixel] = (window.oldest[pixel] + 1) % kRemembered;
        ++taken;
        const i64 cell = window.cells[pixel];
        if (cell < 0) continue;
        if (t < tick_start || t >= tick_end) {
            const i64 tick = (t - window.origin) / window.tick;
            tick_start = window.origin + tick * window.tick;
            tick_end = tick_start + window.tick;
            frame = frames + tick % window.slots * window.frame_cells;
        }
        if constexpr (sizeof(Cell) == 1) {
            frame[cell] = 1;
        } else {
            ++frame[cell];
        }
    }
    window.counts[0] += taken;
    window.counts[1] += late;
    window.counts[2] += duplicate;
    window.counts[3] += outside;
    return number;
}

}  // namespace

i64 take_events(const Records& events, const Window& window) {
    return window.binary ? take<std::uint8_t>(events, window) : take<std::int32_t>(events, window);
}

}  // namespace nsm
