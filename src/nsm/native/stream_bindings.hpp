#pragma once

#include <nanobind/nanobind.h>

namespace nsm {

void bind_stream(nanobind::module_& m);

}  // namespace nsm
