#pragma once

#include <nanobind/nanobind.h>

namespace nsm {

// Adds the class Program and the function limits to the module.
void bind_program(nanobind::module_& m);

}  // namespace nsm
