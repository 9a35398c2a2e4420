// A compiled network's steps as the kernels see them, and the kernels' interface.
//
// Activations are bytes, "codes": z = step * (code - offset), a neuron that fired 2 and one that did not 0, an average of
// k x k neurons the sum of their codes. Where nothing but neurons is read they may be bits
// (tables.cpp). Every loop is compiled once per instruction set (program.cpp) and gives the same
// samples on each of them: what decides a sample is integer arithmetic, or float32 operations rounded one by one.
#pragma once

#include <cstdint>

// Never called out of line: the linker would keep one copy for all instruction sets.
#define NSM_INLINE [[gnu::always_inline]] inline

namespace nsm {

constexpr std::int64_t kPanel = 32;      // neurons computed together
constexpr std::int64_t kQuad = 4;        // samples drawn together
constexpr std::int64_t kArgument = 15000;  // units of the threshold's argument: 1 standard deviation of u
constexpr std::int64_t kSlack = 64;      // bytes that may be read behind a row of codes
constexpr std::int64_t kTotals = 16;     // samples whose totals are multiplied
constexpr std::int64_t kPooled = 16;     // neurons of a population that can be pooled one by one

// Neurons of a layer in panels of 32, none across a border of groups: neuron k of group g is number
// 32 * per_group * g + k of its position's stream.
struct Panels {
    std::int64_t groups, per_group, neurons;  // panels and neurons of a group

    NSM_INLINE std::int64_t count() const { return groups * per_group; }
    NSM_INLINE std::int64_t padded() const { return kPanel * count(); }
    NSM_INLINE std::int64_t group(std::int64_t panel) const { return panel / per_group; }
    NSM_INLINE std::int64_t channel(std::int64_t panel) const {
        return group(panel) * neurons + panel % per_group * kPanel;
    }
    NSM_INLINE std::int64_t valid(std::int64_t panel) const {
        const std::int64_t left = neurons - panel % per_group * kPanel;
        return left < kPanel ? left : kPanel;
    }
};

// Where a step's values lie in memory: an image of rows of pixels of channels, with margins; in elements.
struct Image {
    std::int64_t height, width, channels;  // without margins
    std::int64_t top, left;                // margins
    std::int64_t rows, columns;            // with margins
    std::int64_t row, size;                // from one row to the next; of one sample

    NSM_INLINE std::int64_t at(std::int64_t y, std::int64_t x) const { return (y + top) * row + (x + left) * channels; }
};

// A convolution's (or, over the whole image, a fully connected layer's) product.
struct Product {
    Panels panels;
    std::int64_t height, width;  // positions: of neurons, or of windows of neurons that are drawn as one, their maximum
    std::int64_t stride_y, stride_x, window_y, window_x;  // of neurons; neurons in a window
    std::int64_t segments, quads;     // a neuron's field: runs of contiguous units, their length in fours of units
    const std::int64_t* offsets;      // of each run from the field's first unit
    std::int64_t group_units;         // from one group's first unit to the next group's
    const std::int8_t* weights;       // (panel, run, four, neuron, unit)
    const std::uint8_t* squares;      // w^2 in the same order, or null where the variance does not depend on the input
    const std::int8_t* tiles;          // weights with runs filled up to 64 units, or null where there is no AMX
    const std::uint8_t* square_tiles;  // the same of squares
    std::int64_t blocks;               // of 64 units in a run
    std::int64_t narrow, narrow_squares;  // fours of a run whose sums of pairs fit 16 bits: of codes, of their squares
    std::int64_t merged;               // fours of a run whose sums are told apart where samples are merged (merged.hpp), or 0
    std::int64_t population;          // neurons in each place, which share its sum, and whose codes are added up
    const float *scale, *shift;       // argument = sum * scale + shift, one row of panels.padded() for each kind of place; of
                                      // shift as many as there are neurons in each place
    const std::int32_t* kinds;        // row of scale and shift for each neuron of each position, or null: row 0
    const float *power, *floor;       // variance = sum of squares * power + floor, with `squares`
    const std::int8_t* subsets;       // weights for bits: (neuron, word, unit), see tables.cpp; or null
    std::int64_t words, block;         // of a field of bits; of those whose sums fit 16 bits
    const std::int64_t* lines;        // where each lies, from the field's first
    // Sums of the weights of units beyond the image, one row of panels.padded() for each kind of place, and each place's row,
    // negative where there are none; or null. Among codes a unit of the margins is 1, among bits 0.
    const std::int32_t *lacking, *edges;
    std::uint32_t place;
    // Where every synapse is drawn: it transmits where its number lies below the limit, else 0. A neuron fires where what it
    // receives + (sum * scale + shift) >= 0.
    std::uint32_t limit;
    std::int64_t units, area;          // of a field; what a code exceeds its whole number by
    const std::int64_t* unit_offsets;  // of each unit from the field's first; for group 0
    const std::int16_t* synapses;      // (panel, unit, neuron)
    const std::int8_t* rows;           // (pack, unit, neuron) where samples may be alike (alike.hpp), or null

    NSM_INLINE std::int64_t positions() const { return height * width; }
    NSM_INLINE std::int64_t members() const { return window_y * window_x; }
    NSM_INLINE std::int64_t kind(std::int64_t position, std::int64_t member) const {
        return kinds ? kinds[position * members() + member] : 0;
    }
    // For each neuron of a panel, what its bits lack at a place; null for nothing.
    NSM_INLINE const std::int32_t* lack(std::int64_t position, std::int64_t member, std::int64_t panel) const {
        const std::int32_t edge = edges ? edges[position * members() + member] : -1;
        return edge < 0 ? nullptr : lacking + edge * panels.padded() + panel * kPanel;
    }
    // The pixel of `image` where the field of a window's member begins.
    NSM_INLINE std::int64_t row(std::int64_t position, std::int64_t member) const {
        return (position / width * window_y + member / window_x) * stride_y;
    }
    NSM_INLINE std::int64_t column(std::int64_t position, std::int64_t member) const {
        return (position % width * window_x + member % window_x) * stride_x;
    }
    NSM_INLINE std::int64_t field(const Image& image, std::int64_t position, std::int64_t member) const {
        return row(position, member) * image.row + column(position, member) * image.channels;
    }
    NSM_INLINE std::int64_t elements() const { return positions() * panels.padded() * population; }
    // Panels of neurons in the order in which they draw.
    NSM_INLINE std::int64_t drawn(std::int64_t position, std::int64_t panel, std::int64_t neuron) const {
        return (position * panels.count() + panel) * population + neuron;
    }
};

// A layer on real inputs, once for all samples: the first stochastic one, or a deterministic one in front of it.
struct Input {
    Product product;           // weights, squares: null; of a deterministic layer, shift: its bias
    const float* weights;      // (panel, unit, neuron)
    std::int64_t units;        // of a field
    const std::int64_t* offsets;  // of each unit from the field's first; for group 0
    Image image;
    bool binarize;             // sgn(2 x - 1) first
    bool rectified;            // negative outputs of a deterministic layer become 0

    // Bytes of working memory: a float for each neuron of a position, and the units that are not 0.
    NSM_INLINE std::int64_t scratch() const;
};

// A presynaptic unit of such a layer that is not 0.
struct Unit {
    float value, square;
    std::int64_t index;
};

NSM_INLINE std::int64_t Input::scratch() const {
    return product.drawn(1, 0, 0) * kPanel * (std::int64_t)sizeof(float) + units * (std::int64_t)sizeof(Unit);
}

struct Pool {
    std::int64_t height, width, kernel_y, kernel_x, stride_y, stride_x;
    bool average;
    std::int64_t offset, spacing;  // of the codes it makes: squares are ((code - offset) / spacing)^2, spacing 1 or 2
};

// Four samples of an input: 4 number .. 4 number + 3.
struct Quad {
    std::uint32_t input, number;
    const std::uint16_t *limit, *side;  // the thresholds of the input's first layer
    const float* image;                 // what that layer receives
};

// What goes through all layers together.
struct Chunk {
    std::uint64_t seed;
    const Quad* list;
    std::int64_t quads;
};

struct Activations {
    Image image;
    std::uint8_t* codes;    // of the first sample
    std::uint8_t* squares;  // or null
    std::uint16_t* bits;    // instead of codes (tables.cpp), or null
};

// Loops over activations that are bits, where the instruction set has them.
struct BitKernels {
    void (*draw)(const Product& product, const Chunk& chunk, const Activations& to);
    // scratch: bit_scratch() bytes.
    void (*fire)(const Product& product, const Chunk& chunk, const Activations& from, const Activations& to, void* scratch);
    void (*classify)(const Product& product, const Chunk& chunk, const Activations& from, float* logits, void* scratch);
};

constexpr std::int64_t kWord = 16;    // neurons in a line of bits
constexpr std::int64_t kLanes = 32;   // samples in a line of bits
constexpr std::int64_t kPlaces = 32;  // lines of one word whose products are made before they are used

// Lines of 32 samples and 16 neurons in one image, margins included.
NSM_INLINE std::int64_t lines_of_pixel(const Image& image) { return 2 * ((image.channels + kPanel - 1) / kPanel); }
NSM_INLINE std::int64_t lines_of(const Image& image) { return image.rows * image.columns * lines_of_pixel(image); }
// The first one of a pixel, counted from the margins' corner.
NSM_INLINE std::int64_t line_at(const Image& image, std::int64_t row, std::int64_t column) {
    return (row * image.columns + column) * lines_of_pixel(image);
}

NSM_INLINE std::int64_t bit_scratch(const Product& product) {
    const std::int64_t blocks = (product.words + product.block - 1) / product.block;
    return (blocks * kPanel * kPlaces * kLanes + product.block * 16 * kLanes) * (std::int64_t)sizeof(std::uint16_t);
}

constexpr std::int64_t kMergedQuads = 24;  // whose samples are merged before they are multiplied, by threes

NSM_INLINE std::int64_t merged_scratch(const Image& heard) { return kMergedQuads * kQuad / 3 * 2 * heard.size + kSlack; }

constexpr std::int64_t kPack = 4;         // panels whose weights lie together
constexpr std::int64_t kAlikeQuads = 31;  // that are compared together, at most: twice their samples fit a byte

NSM_INLINE std::int64_t whole_words(std::int64_t units) { return (units + 63) / 64 * 64; }
// A code for each unit, and the numbers of those that the samples have in common and of those that differ, at most half.
NSM_INLINE std::int64_t alike_scratch(const Product& product) {
    const std::int64_t numbers = (kAlikeQuads * kQuad / 2 + 1) * product.units;
    return whole_words(product.units) + numbers * (std::int64_t)sizeof(std::uint16_t) + kSlack;
}

// Some panels of some of a layer's positions.
struct Region {
    std::int64_t first_position, last_position, first_panel, last_panel;
};

struct ProgramKernels {
    bool tiles;  // whether many samples are multiplied together
    // One input x, (channels, height, width), as an image with margins, which are left as they are.
    void (*spread)(const Image& image, bool binarize, const float* x, float* to);
    // A deterministic layer, from image to image. scratch: input.scratch() bytes, as below.
    void (*real)(const Input& input, const float* from, void* scratch, const Image& image, float* to);
    // Maxima of real numbers, NaN where one is; from image to image.
    void (*largest)(const Pool& pool, const Image& received, const float* from, const Image& image, float* to);
    // Thresholds of one input's first stochastic layer, in a region: fires where (uniform < limit) != side. Returns whether all
    // are numbers.
    bool (*first)(const Input& input, const float* from, void* scratch, const Region& region, std::uint16_t* limit,
                  std::uint16_t* side);
    // Instead of `first`, where every synapse is drawn: whether no sum can overflow.
    bool (*bounded)(const Input& input, const float* from);
    void (*draw)(const Product& product, const Chunk& chunk, const Activations& to);
    void (*sense)(const Input& input, const Chunk& chunk, const Activations& to);
    // scratch: merged_scratch() bytes where samples may be merged, alike_scratch() where they may be alike.
    // Returns of how many quads the samples were alike.
    std::int64_t (*fire)(const Product& product, const Chunk& chunk, const Activations& from, const Activations& to, void* scratch);
    void (*transmit)(const Product& product, const Chunk& chunk, const Activations& from, const Activations& to);
    void (*pool)(const Pool& pool, const Chunk& chunk, const Activations& from, const Activations& to);
    // Codes of an image, added to those of another one of the same shape.
    void (*add)(const Pool& pool, const Chunk& chunk, const Activations& from, const Activations& to);
    void (*classify)(const Product& product, const Chunk& chunk, const Activations& from, float* logits, void* scratch);
    // The softmax of each sample, in place of its logits. Its entropy is a + ln b, a and b of a sample behind each other.
    void (*softmax)(float* logits, std::int64_t stride, std::int64_t samples, std::int64_t classes, float* entropies);
    // Adds those to sums[0 .. classes), their entropies to sums[classes]: the same sums for a whole number of kTotals at a time.
    void (*add_up)(const float* probabilities, std::int64_t stride, std::int64_t samples, std::int64_t classes,
                   const float* entropies, double* sums);
    // P(z = 1) = (limit or, where side, 65536 - limit) / 65536 for arguments in units of 1 / kArgument.
    void (*limits)(const float* argument, std::int64_t count, std::uint16_t* limit, std::uint16_t* side);
    // At least so many products of a code and a weight, added up, as fast as the instructions go; returns how many.
    std::int64_t (*multiply_adds)(std::int64_t least);
};

}  // namespace nsm
