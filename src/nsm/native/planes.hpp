// The tables of thresholds.hpp cut into bytes, for instruction sets that look bytes up. For inclusion in firing_*.hpp.
#pragma once

#include "thresholds.hpp"

namespace nsm::NSM_INSTRUCTION_SET {
namespace {

// Byte b of entry k is of[b][k].
template <int bytes>
struct Planes {
    alignas(32) u8 of[bytes][32];
};

template <typename Bits, typename T>
constexpr Planes<sizeof(T)> planes(const T (&table)[32]) {
    Planes<sizeof(T)> made{};
    for (int k = 0; k < 32; ++k)
        for (int b = 0; b < (int)sizeof(T); ++b) made.of[b][k] = (u8)(__builtin_bit_cast(Bits, table[k]) >> 8 * b);
    return made;
}

constexpr auto kBasePlanes = planes<u16>(kBase), kSlopePlanes = planes<u16>(kSlope), kCurvePlanes = planes<u16>(kCurve);
constexpr auto kLevelPlanes = planes<u32>(kLevel), kFallPlanes = planes<u32>(kFall), kBendPlanes = planes<u32>(kBend);

}  // namespace
}  // namespace nsm::NSM_INSTRUCTION_SET
