// Products of samples that are alike. Where a network is sure, few units do in a sample of an input what they do not do in most of
// them. The sums of what they do in most are made once; those of a sample are these, plus or minus the weights of the units in which
// it differs: the same whole numbers. For inclusion in rows.hpp.
#pragma once

#include "products.hpp"
#include "vectors.hpp"

namespace nsm::NSM_INSTRUCTION_SET {
namespace {

using i16 = std::int16_t;
using u64 = std::uint64_t;

constexpr i64 kAdded = 255;      // weights of 8 bits whose sum fits 16 bits
constexpr i64 kFewestQuads = 4;  // of fewer, what they have in common is not worth its sums
// Samples may differ in so many hundredths of the units: in more, additions take longer than products.
#if defined(__AVX2__) || defined(__ARM_FEATURE_DOTPROD)
constexpr i64 kMostDiffering = 22;
constexpr i64 kTogether = kPack;  // panels whose sums fit the registers
#else
constexpr i64 kMostDiffering = 50;
constexpr i64 kTogether = 2;
#endif

typedef i16 Words __attribute__((vector_size(kVector), may_alias));
constexpr int kParts = kPanel * (int)sizeof(std::int16_t) / kVector;

// Weights as numbers of 16 bits.
inline Words widened(const i8* weights) {
#if defined(__AVX512BW__)
    return (Words)_mm512_cvtepi8_epi16(_mm256_load_si256(reinterpret_cast<const __m256i*>(weights)));
#elif defined(__AVX2__)
    return (Words)_mm256_cvtepi8_epi16(_mm_load_si128(reinterpret_cast<const __m128i*>(weights)));
#else
    typedef i8 Bytes __attribute__((vector_size(kVector / 2)));
    Bytes bytes;
    std::memcpy(&bytes, weights, sizeof bytes);
    return __builtin_convertvector(bytes, Words);
#endif
}

// Which of 64 units fired, a bit for each.
inline u64 fired_units(const u8* codes) {
#if defined(__AVX512F__)
    return _mm512_test_epi8_mask(_mm512_load_si512(codes), _mm512_set1_epi8(2));
#elif defined(__AVX2__)
    const auto half = [codes](int i) {
        const __m256i x = _mm256_load_si256(reinterpret_cast<const __m256i*>(codes) + i);
        return (u64)(u32)_mm256_movemask_epi8(_mm256_slli_epi16(x, 6));
    };
    return half(0) | half(1) << 32;
#else
    u64 bits = 0;
    for (int i = 0; i < 64; ++i) bits |= (u64)(codes[i] >> 1 & 1) << i;
    return bits;
#endif
}

// Appends numbers of units, given as bits from `first` on, to a list; a whole vector may be written behind its end.
inline u16* append(i64 first, u64 units, u16* next) {
#if defined(__AVX512F__)
    const __m512i sixteen = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    for (int i = 0; i < 64; i += 16) {
        const __mmask16 some = (__mmask16)(units >> i);
        const __m512i numbers = _mm512_add_epi32(sixteen, _mm512_set1_epi32((i32)first + i));
        const __m512i chosen = _mm512_maskz_compress_epi32(some, numbers);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(next), _mm512_cvtepi32_epi16(chosen));
        next += __builtin_popcount(some);
    }
#else
    for (; units; units &= units - 1) *next++ = (u16)(first + __builtin_ctzll(units));
#endif
    return next;
}

// How many quads are compared together from one on: those of its input, in parts of about the same size.
inline i64 quads_of_one_input(const Chunk& chunk, i64 quad) {
    i64 end = quad + 1;
    while (end < chunk.quads && chunk.list[end].input == chunk.list[quad].input) ++end;
    const i64 all = end - quad, parts = (all + kAlikeQuads - 1) / kAlikeQuads;
    return (all + parts - 1) / parts;
}

// Some quads of one input: what the units do in most samples, and which do something else in each.
class Alike {
public:
    // scratch: alike_scratch() bytes.
    Alike(const Product& product, const Activations& from, i64 first_quad, i64 quads, void* scratch)
        : product_(product), samples_(kQuad * quads), size_(from.image.size), codes_(from.codes + kQuad * first_quad * size_),
          common_(static_cast<u8*>(scratch)), list_(reinterpret_cast<u16*>(common_ + whole_words(product.units))) {}

    // Finds what the samples have in common. Returns whether they differ in few enough units.
    bool compare() {
        u32 differing = 0;
        const u8 all = (u8)(2 * samples_);
        for (i64 first = 0; first < product_.units; first += 64) {
            alignas(64) u8 fired[64] = {};  // twice in how many samples each unit fired
            for (i64 s = 0; s < samples_; ++s) {
                const u8* codes = codes_ + s * size_ + first;
                for (int k = 0; k < 64; ++k) fired[k] = (u8)(fired[k] + (codes[k] & 2));
            }
            const i64 units = product_.units - first < 64 ? product_.units - first : 64;
            for (i64 k = 0; k < 64; ++k) {
                const u8 others = (u8)(all - fired[k]), fewer = fired[k] < others ? fired[k] : others;
                differing += k < units ? fewer : 0;
                common_[first + k] = fired[k] > samples_ ? 2 : 0;
            }
        }
        return 100 * (i64)differing <= kMostDiffering * 2 * samples_ * product_.units;
    }

    // Lists the units that fire in most samples; then for each sample those that fire in it alone, and those that do not.
    void list() {
        u16* next = list_;
        const auto append_all = [&](const auto& units_from) {
            for (i64 first = 0; first < product_.units; first += 64) {
                const i64 left = product_.units - first;
                next = append(first, units_from(first) & (left < 64 ? ((u64)1 << left) - 1 : ~(u64)0), next);
            }
            return (i32)(next - list_);
        };
        const auto common = [&](i64 first) { return fired_units(common_ + first); };
        ends_[0] = append_all(common);
        for (i64 s = 0; s < samples_; ++s) {
            const auto fired = [&](i64 first) { return fired_units(codes_ + s * size_ + first); };
            ends_[2 * s + 1] = append_all([&](i64 first) { return fired(first) & ~common(first); });
            ends_[2 * s + 2] = append_all([&](i64 first) { return common(first) & ~fired(first); });
        }
    }

    // Calls work(panel, quad, sums) with each panel's sums of codes for each quad, counted from the first.
    template <typename Work>
    void sum(const Work& work) const {
        i64 panel = 0;
        for (; panel + kTogether <= product_.panels.count(); panel += kTogether) sum_panels<kTogether>(panel, work);
        for (; panel + 2 <= product_.panels.count(); panel += 2) sum_panels<2>(panel, work);
        for (; panel < product_.panels.count(); ++panel) sum_panels<1>(panel, work);
    }

private:
    template <int count, typename Work>
    void sum_panels(i64 panel, const Work& work) const {
        alignas(64) i32 common[count][kPanel] = {}, sums[count][kQuad][kPanel];
        add<count>(panel, 0, ends_[0], ends_[0], common[0], common[0], kPanel);
        for (i64 quad = 0; quad < samples_ / kQuad; ++quad) {
            const i32* ends = ends_ + 2 * kQuad * quad;
            for (i64 s = 0; s < kQuad; ++s, ends += 2)
                add<count>(panel, ends[0], ends[1], ends[2], common[0], sums[0][s], kQuad * kPanel);
            for (int p = 0; p < count; ++p) work(panel + p, quad, sums[p]);
        }
    }

    // Sums of codes, `stride` from one panel's to the next: those given, and what the units of the list add, from `first` on, and
    // take away, from `middle` to `end`. Weights are added up in 16 bits, as many as fit.
    template <int count>
    void add(i64 panel, i64 first, i64 middle, i64 end, const i32* given, i32* sums, i64 stride) const {
        const i64 pack = panel / kPack * kPack;
        const i8* weights = product_.rows + (pack * product_.units + panel - pack) * kPanel;
        const auto row = [&](i64 i) { return weights + list_[i] * kPack * kPanel; };
        for (bool begun = false; !begun || first < end; begun = true) {
            const i64 last = end - first < kAdded ? end : first + kAdded;
            alignas(64) Words some[count * kParts] = {};
            for (; first < last && first < middle; ++first)
                for (int k = 0; k < count * kParts; ++k) some[k] += widened(row(first) + k * kVector / 2);
            for (; first < last; ++first)
                for (int k = 0; k < count * kParts; ++k) some[k] -= widened(row(first) + k * kVector / 2);
            const i16* of_panel = reinterpret_cast<const i16*>(some);
            for (int p = 0; p < count; ++p, of_panel += kPanel) {
                const i32* before = begun ? sums + p * stride : given + p * kPanel;
                for (int c = 0; c < kPanel; ++c) sums[p * stride + c] = before[c] + 2 * (i32)of_panel[c];
            }
        }
    }

    const Product& product_;
    i64 samples_, size_;
    const u8* codes_;
    u8* common_;  // a code for each unit
    u16* list_;
    i32 ends_[2 * kQuad * kAlikeQuads + 1];  // in the list: of the first part, and of both of each sample
};

}  // namespace
}  // namespace nsm::NSM_INSTRUCTION_SET
