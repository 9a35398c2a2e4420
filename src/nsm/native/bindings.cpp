// Python face of the kernels: jobs as keywords, addresses and sizes, checked by the operators before they come here.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <type_traits>

#include "dispatch.hpp"
#include "program_bindings.hpp"
#include "stream_bindings.hpp"

namespace nb = nanobind;

namespace {

template <typename T>
void read(T& to, nb::handle value) {
    if constexpr (std::is_pointer_v<T>)
        to = reinterpret_cast<T>(nb::cast<std::uintptr_t>(value));
    else
        to = nb::cast<T>(value);
}

template <typename Job>
struct Field {
    const char* name;
    void (*set)(Job& job, nb::handle value);
};

#define FIELD(name) \
    { #name, [](auto& job, nb::handle value) { read(job.name, value); } }

// A kernel takes the fields of its job as keywords, each of them, and by which means it is done.
template <typename Job>
void define(nb::module_& m, const char* name, std::vector<Field<Job>> fields) {
    m.def(name, [fields](nb::kwargs given) {
        if (given.size() != fields.size() + 2)
            throw nb::type_error("a kernel takes its job's fields, instruction_set and threads");
        Job job;
        for (const Field<Job>& field : fields) field.set(job, given[field.name]);
        const nsm::Means means(nb::cast<std::string>(given["instruction_set"]), nb::cast<int>(given["threads"]));
        const nb::gil_scoped_release unlocked;
        nsm::run(job, means);
    });
}

}  // namespace

NB_MODULE(_kernels, m) {
    m.def("instruction_sets", &nsm::instruction_sets);
    m.attr("largest_window") = nsm::kLargestWindow;
    m.attr("largest_field") = nsm::kLargestField;
    m.attr("lanes") = nsm::kLanes;
    define<nsm::Fire>(m, "fire",
                      {FIELD(u), FIELD(z), FIELD(scale), FIELD(shift), FIELD(rows), FIELD(inputs), FIELD(positions),
                       FIELD(channels), FIELD(samples), FIELD(u_stride), FIELD(members), FIELD(shift_stride),
                       FIELD(place_stride), FIELD(seed), FIELD(place), FIELD(bfloat16), FIELD(position_last),
                       FIELD(shared)});
    define<nsm::FireBackward>(
        m, "fire_backward",
        {FIELD(grad), FIELD(u), FIELD(grad_u), FIELD(scale), FIELD(shift), FIELD(by_scale), FIELD(by_shift),
         FIELD(inputs), FIELD(samples), FIELD(u_stride), FIELD(members), FIELD(outer), FIELD(inner),
         FIELD(bfloat16), FIELD(estimator), FIELD(by_run)});
    define<nsm::FireMax>(m, "fire_max",
                         {FIELD(u), FIELD(z), FIELD(scale), FIELD(shift), FIELD(origin), FIELD(member), FIELD(rows),
                          FIELD(inputs), FIELD(positions), FIELD(window), FIELD(channels), FIELD(samples),
                          FIELD(u_stride), FIELD(seed), FIELD(place), FIELD(bfloat16), FIELD(shared)});
    define<nsm::FireMaxBackward>(
        m, "fire_max_backward",
        {FIELD(grad), FIELD(u), FIELD(grad_u), FIELD(scale), FIELD(shift), FIELD(by_scale), FIELD(by_shift),
         FIELD(origin), FIELD(member), FIELD(grad_origin), FIELD(grad_member), FIELD(inputs), FIELD(positions),
         FIELD(window), FIELD(channels), FIELD(samples), FIELD(u_stride), FIELD(grad_u_stride), FIELD(bfloat16),
         FIELD(estimator), FIELD(shared)});
    define<nsm::Hear>(m, "hear",
                      {FIELD(u), FIELD(power), FIELD(z), FIELD(gain), FIELD(bias), FIELD(origin), FIELD(member),
                       FIELD(rows), FIELD(inputs), FIELD(positions), FIELD(window), FIELD(channels), FIELD(samples),
                       FIELD(u_stride), FIELD(power_stride), FIELD(population), FIELD(bias_stride),
                       FIELD(place_stride), FIELD(variance), FIELD(extra), FIELD(seed), FIELD(place),
                       FIELD(bfloat16)});
    define<nsm::HearBackward>(
        m, "hear_backward",
        {FIELD(grad), FIELD(u), FIELD(power), FIELD(grad_u), FIELD(grad_power), FIELD(gain), FIELD(bias),
         FIELD(by_gain), FIELD(by_bias), FIELD(origin), FIELD(member), FIELD(grad_origin), FIELD(grad_member),
         FIELD(inputs), FIELD(positions), FIELD(window), FIELD(channels), FIELD(samples), FIELD(u_stride),
         FIELD(power_stride), FIELD(grad_stride), FIELD(population), FIELD(variance), FIELD(extra),
         FIELD(estimator), FIELD(bfloat16)});
    define<nsm::Standardize>(m, "standardize",
                             {FIELD(u), FIELD(power), FIELD(gain), FIELD(bias), FIELD(s), FIELD(inputs),
                              FIELD(members), FIELD(u_stride), FIELD(power_stride), FIELD(outer), FIELD(inner),
                              FIELD(variance), FIELD(extra), FIELD(bfloat16), FIELD(by_run)});
    define<nsm::StandardizeBackward>(
        m, "standardize_backward",
        {FIELD(grad), FIELD(u), FIELD(power), FIELD(gain), FIELD(bias), FIELD(grad_u), FIELD(grad_power),
         FIELD(by_gain), FIELD(by_bias), FIELD(inputs), FIELD(members), FIELD(u_stride), FIELD(power_stride),
         FIELD(outer), FIELD(inner), FIELD(variance), FIELD(extra), FIELD(bfloat16), FIELD(by_run)});
    define<nsm::Statistics>(m, "statistics",
                            {FIELD(u), FIELD(pivot), FIELD(sum), FIELD(square), FIELD(inputs), FIELD(u_stride), FIELD(outer),
                             FIELD(inner), FIELD(bfloat16), FIELD(by_run)});
    define<nsm::StatisticsBackward>(m, "statistics_backward",
                                    {FIELD(u), FIELD(by_sum), FIELD(by_square), FIELD(grad_u), FIELD(inputs),
                                     FIELD(u_stride), FIELD(outer), FIELD(inner), FIELD(bfloat16), FIELD(by_run)});
    define<nsm::Sense>(m, "sense",
                       {FIELD(x), FIELD(weight), FIELD(gain), FIELD(bias), FIELD(z), FIELD(origin), FIELD(member),
                        FIELD(tap), FIELD(rows), FIELD(inputs), FIELD(positions), FIELD(window), FIELD(channels),
                        FIELD(taps), FIELD(samples), FIELD(x_stride), FIELD(variance), FIELD(extra), FIELD(seed),
                        FIELD(place), FIELD(bfloat16)});
    define<nsm::SenseBackward>(
        m, "sense_backward",
        {FIELD(grad), FIELD(x), FIELD(weight), FIELD(gain), FIELD(bias), FIELD(by_u), FIELD(by_power), FIELD(origin),
         FIELD(member), FIELD(tap), FIELD(inputs), FIELD(positions), FIELD(window), FIELD(channels), FIELD(taps),
         FIELD(samples), FIELD(x_stride), FIELD(variance), FIELD(extra), FIELD(bfloat16), FIELD(estimator)});
    define<nsm::Synapse>(m, "synapse",
                         {FIELD(z), FIELD(weight), FIELD(u), FIELD(rows), FIELD(table), FIELD(inputs),
                          FIELD(positions), FIELD(groups), FIELD(channels), FIELD(synapses), FIELD(samples),
                          FIELD(entries), FIELD(limit), FIELD(std), FIELD(seed), FIELD(place)});
    nsm::bind_program(m);
    nsm::bind_stream(m);
}
