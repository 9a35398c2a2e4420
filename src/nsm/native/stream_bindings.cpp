// Python face of event streams: addresses and sizes, checked by nsm.native.stream before they come here.
#include "stream_bindings.hpp"

#include <array>
#include <nanobind/stl/array.h>

#include "stream.hpp"

namespace nb = nanobind;

namespace nsm {

namespace {

using i64 = std::int64_t;

template <typename T>
T* address(std::uintptr_t value) {
    return reinterpret_cast<T*>(value);
}

i64 take(std::uintptr_t events, i64 count, i64 record, const std::array<i64, 4>& fields, i64 width, i64 height,
         std::uintptr_t cells, std::uintptr_t frames, i64 slots, i64 frame_cells, bool binary,
         std::uintptr_t remembered, std::uintptr_t oldest, i64 origin, i64 tick, i64 start, i64 until, i64 largest,
         std::uintptr_t counts) {
    const Records records{
        .first = address<const std::uint8_t>(events),
        .count = count,
        .size = record,
        .x = fields[0],
        .y = fields[1],
        .t = fields[2],
        .p = fields[3],
    };
    const Window window{
        .width = width,
        .height = height,
        .cells = address<const std::int32_t>(cells),
        .frames = address<void>(frames),
        .slots = slots,
        .frame_cells = frame_cells,
        .binary = binary,
        .remembered = address<i64>(remembered),
        .oldest = address<std::uint8_t>(oldest),
        .origin = origin,
        .tick = tick,
        .start = start,
        .until = until,
        .largest = largest,
        .counts = address<i64>(counts),
    };
    return take_events(records, window);
}

}  // namespace

void bind_stream(nb::module_& m) {
    using namespace nb::literals;
    m.attr("remembered") = kRemembered;
    m.def("take_events", &take, nb::kw_only(), "events"_a, "count"_a, "record"_a, "fields"_a, "width"_a, "height"_a,
          "cells"_a, "frames"_a, "slots"_a, "frame_cells"_a, "binary"_a, "remembered"_a, "oldest"_a, "origin"_a,
          "tick"_a, "start"_a, "until"_a, "largest"_a, "counts"_a, nb::call_guard<nb::gil_scoped_release>());
}

}  // namespace nsm
