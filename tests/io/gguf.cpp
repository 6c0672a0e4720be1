// The GGUF container.
#include "lib/io/gguf.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "lib/core/error.h"
#include "support/fixtures.h"
#include "support/gguf_builder.h"

using namespace octet;
using testing::gguf_string;
using testing::GgufBuilder;
using testing::raw;

namespace {

/// What a parsed file says has to be looked at while its bytes are there.
template <class Look>
void with(const std::string& file, Look look) {
  look(Gguf(std::as_bytes(std::span(file)), "f.gguf"));
}

/// "<code>: <message>" of the error; empty if the file is read.
std::string rejection(const std::string& file) {
  try {
    with(file, [](const Gguf&) {});
  } catch (const Error& error) {
    return std::string(to_string(error.code())) + ": " + error.what();
  }
  return "";
}

void check_refused(const std::string& file, const std::string& code, const std::string& reason) {
  const std::string error = rejection(file);
  CAPTURE(error);
  CHECK(error.starts_with(code + ": f.gguf: "));
  CHECK(error.find(reason) != std::string::npos);
}

std::string floats(const std::vector<float>& values) {
  std::string bytes;
  for (float value : values) bytes += raw(value);
  return bytes;
}

/// A tensor's values as they are stored against the facts that gguf-py found out.
void check_values(const GgufTensor& tensor, const nlohmann::json& facts) {
  int64_t count = 1;
  for (int64_t extent : tensor.shape) count *= extent;
  std::vector<float> values(static_cast<size_t>(count));
  tensor.type->to_f32(tensor.data.data(), count, values.data());
  CHECK(std::vector(values.begin(), values.begin() + 8) ==
        facts["first"].get<std::vector<float>>());
  CHECK(std::vector(values.end() - 8, values.end()) == facts["last"].get<std::vector<float>>());
  double sum = 0, sum_abs = 0, absmax = 0;
  for (float value : values) {
    sum += value;
    sum_abs += std::abs(value);
    absmax = std::max<double>(absmax, std::abs(value));
  }
  // The sum of values of both signs is only as exact as the sum of magnitudes lets it be.
  CHECK(std::abs(sum - facts["sum"].get<double>()) <= 1e-5 * sum_abs);
  CHECK(sum_abs == doctest::Approx(facts["sum_abs"].get<double>()).epsilon(1e-5));
  CHECK(absmax == doctest::Approx(facts["absmax"].get<double>()).epsilon(1e-5));
}

}  // namespace

TEST_CASE("every tensor of the GGUF files has the name, type, shape and values that gguf-py sees") {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(testing::fixture("gguf"))) {
    if (entry.path().extension() != ".gguf") continue;
    CAPTURE(entry.path().string());
    auto facts_path = entry.path();
    const auto facts =
        nlohmann::json::parse(std::ifstream(facts_path.replace_extension(".json")))["tensors"];
    const MappedFile file(entry.path().string());
    const Gguf gguf(file.bytes(), file.path());
    CHECK(gguf.version() == 3);
    CHECK(gguf.tensors().size() == facts.size());
    for (const GgufTensor& tensor : gguf.tensors()) {
      CAPTURE(tensor.name);
      REQUIRE(facts.contains(tensor.name));
      const auto& expected = facts[tensor.name];
      CHECK(tensor.type->name == expected["type"].get<std::string>());
      CHECK(tensor.shape == expected["shape"].get<std::vector<int64_t>>());
      check_values(tensor, expected);
    }
    ++files;
  }
  CHECK(files == 9);
}

TEST_CASE("versions 2 and 3 of the same file say the same") {
  for (uint32_t version : {2u, 3u}) {
    GgufBuilder builder;
    builder.version = version;
    builder.u32("a", 7).tensor("t", {2, 3}, 0, floats({1, 2, 3, 4, 5, 6}));
    with(builder.bytes(), [&](const Gguf& gguf) {
      CHECK(gguf.version() == version);
      CHECK(gguf.integer("a") == 7);
      REQUIRE(gguf.tensors().size() == 1);
      CHECK(gguf.tensors()[0].shape == std::vector<int64_t>{3, 2});
      CHECK(gguf.tensors()[0].data.size() == 24);
    });
  }
  for (uint32_t version : {0u, 1u, 4u, 99u, 0x03000000u}) {
    GgufBuilder builder;
    builder.version = version;
    check_refused(builder.bytes(), "Unsupported", "known are 2 and 3");
  }
}

TEST_CASE("values of every type are read") {
  GgufBuilder builder;
  builder.key("u8", 0, raw<uint8_t>(200)).key("i8", 1, raw<int8_t>(-100));
  builder.key("u16", 2, raw<uint16_t>(60'000)).key("i16", 3, raw<int16_t>(-30'000));
  builder.u32("u32", 4'000'000'000).key("i32", 5, raw<int32_t>(-2'000'000'000));
  builder.f32("f32", 0.5f).key("bool", 7, raw<uint8_t>(1)).text("text", std::string("a\0b", 3));
  builder.key("u64", 10, raw<uint64_t>(1)).key("i64", 11, raw<int64_t>(INT64_MIN));
  builder.key("f64", 12, raw<double>(1e300)).texts("texts", {"", "x", "\xc4\xa0w"});
  builder.array("i16s", 3, 2, raw<int16_t>(-1) + raw<int16_t>(2));
  builder.array("f32s", 6, 2, floats({1.5, -2})).array("none", 4, 0, "");
  with(builder.bytes(), [](const Gguf& gguf) {
    CHECK(gguf.integer("u8") == 200);
    CHECK(gguf.integer("i8") == -100);
    CHECK(gguf.integer("u16") == 60'000);
    CHECK(gguf.integer("i16") == -30'000);
    CHECK(gguf.integer("u32") == 4'000'000'000);
    CHECK(gguf.integer("i32") == -2'000'000'000);
    CHECK(gguf.integer("u64") == 1);
    CHECK(gguf.integer("i64") == INT64_MIN);
    CHECK(gguf.number("f32") == 0.5);
    CHECK(gguf.number("f64") == 1e300);
    CHECK(gguf.number("u8") == 200);
    CHECK(gguf.boolean("bool") == true);
    CHECK(gguf.text("text") == std::string("a\0b", 3));
    CHECK(gguf.texts("texts") == std::vector<std::string>{"", "x", "\xc4\xa0w"});
    CHECK(gguf.integers("i16s") == std::vector<int32_t>{-1, 2});
    CHECK(gguf.numbers("f32s") == std::vector<float>{1.5, -2});
    CHECK(gguf.integers("none").empty());
    CHECK(gguf.has("none"));
    CHECK_FALSE(gguf.has("absent"));
    CHECK(gguf.integer("absent") == std::nullopt);
    CHECK(gguf.text("absent") == std::nullopt);
    CHECK(gguf.texts("absent").empty());
  });
}

TEST_CASE("a value of another kind than the one asked for is an error that names the key") {
  GgufBuilder builder;
  builder.text("text", "5").f32("f32", 1).u32("u32", 1).key("truth", 7, raw<uint8_t>(2));
  builder.key("u64", 10, raw<uint64_t>(UINT64_MAX)).array("big", 4, 1, raw<uint32_t>(1u << 31));
  with(builder.bytes(), [](const Gguf& gguf) {
    const auto says = [](const char* key) { return doctest::Contains(key); };
    CHECK_THROWS_WITH_AS((void)gguf.integer("text"), says("text: an integer"), Error);
    CHECK_THROWS_WITH_AS((void)gguf.integer("f32"), says("f32: an integer"), Error);
    CHECK_THROWS_WITH_AS((void)gguf.integer("u64"), says("u64: 18446744073709551615"), Error);
    CHECK_THROWS_WITH_AS((void)gguf.integer("big"), says("big: one value"), Error);
    CHECK_THROWS_WITH_AS((void)gguf.integers("big"), says("big: 2147483648"), Error);
    CHECK_THROWS_WITH_AS((void)gguf.integers("u32"), says("u32: an array"), Error);
    CHECK_THROWS_WITH_AS((void)gguf.number("text"), says("text: an integer"), Error);
    CHECK_THROWS_WITH_AS((void)gguf.numbers("big"), says("big: fp32"), Error);
    CHECK_THROWS_WITH_AS((void)gguf.boolean("truth"), says("truth: a truth value"), Error);
    CHECK_THROWS_WITH_AS((void)gguf.boolean("u32"), says("u32: a truth value"), Error);
    CHECK_THROWS_WITH_AS((void)gguf.text("u32"), says("u32: a string"), Error);
    CHECK_THROWS_WITH_AS((void)gguf.texts("big"), says("big: strings"), Error);
  });
}

TEST_CASE("the alignment key says where the data begins") {
  for (uint32_t alignment : {1u, 8u, 32u, 64u, 4096u}) {
    CAPTURE(alignment);
    GgufBuilder builder;
    builder.alignment = alignment;
    builder.u32("general.alignment", alignment);
    builder.tensor("a", {3}, 0, floats({1, 2, 3})).tensor("b", {1}, 0, floats({4}));
    const std::string file = builder.bytes();
    with(file, [&](const Gguf& gguf) {
      float values[4];
      gguf.tensors()[0].type->to_f32(gguf.tensors()[0].data.data(), 3, values);
      gguf.tensors()[1].type->to_f32(gguf.tensors()[1].data.data(), 1, values + 3);
      CHECK(std::vector(values, values + 4) == std::vector<float>{1, 2, 3, 4});
      const auto* begin = reinterpret_cast<const std::byte*>(file.data());
      CHECK((gguf.tensors()[1].data.data() - begin) % alignment == 0);
    });
  }
  for (uint32_t alignment : {0u, 3u, 24u, 33u, UINT32_MAX}) {
    GgufBuilder builder;
    builder.u32("general.alignment", alignment).tensor("a", {1}, 0, floats({1}));
    check_refused(builder.bytes(), "InvalidFile",
                  "general.alignment " + std::to_string(alignment) + " is not a power of two");
  }
  GgufBuilder builder;
  builder.u32("general.alignment", 1u << 31).tensor("a", {1}, 0, floats({1}));
  check_refused(builder.bytes(), "InvalidFile", "the header's padding ends after the file");
}

TEST_CASE("data may come in any order and with gaps, but not twice and not from outside") {
  const std::string four = floats({1, 2, 3, 4});
  GgufBuilder swapped;
  swapped.tensor_at("b", {4}, 0, 64, four).tensor_at("a", {4}, 0, 0, floats({5, 6, 7, 8}));
  with(swapped.bytes() + std::string(32, 'x'), [](const Gguf& gguf) {
    CHECK(gguf.tensors()[0].name == "b");
    CHECK(gguf.tensors()[0].data.data() - gguf.tensors()[1].data.data() == 64);
  });
  const auto second_at = [&](uint64_t offset) {
    return GgufBuilder().tensor("a", {4}, 0, four).tensor_at("b", {4}, 0, offset, four).bytes();
  };
  CHECK(rejection(second_at(32)) == "");
  check_refused(second_at(0), "InvalidFile", "inside the tensor that ends at 16");
  check_refused(second_at(20), "InvalidFile", "not a multiple of the alignment 32");
  check_refused(second_at(64), "InvalidFile", "tensor b: 16 bytes at 64 of 64");
  check_refused(second_at(UINT64_MAX - 31), "InvalidFile", "tensor b: 16 bytes");
}

TEST_CASE("what a GGUF directory must not say is named in the error") {
  const auto tensor = [](const std::vector<uint64_t>& extents, uint32_t type) {
    return GgufBuilder().tensor("t", extents, type, std::string(1 << 12, 'x')).bytes();
  };
  CHECK(rejection(tensor({1, 2, 3, 4}, 0)) == "");
  check_refused(tensor({}, 0), "InvalidFile", "tensor t: 0 dimensions");
  check_refused(tensor({1, 1, 1, 1, 1}, 0), "InvalidFile", "tensor t: 5 dimensions");
  check_refused(tensor({4, 0}, 0), "InvalidFile", "tensor t: a dimension of 0");
  check_refused(tensor({UINT64_MAX}, 0), "InvalidFile", "a dimension of 18446744073709551615");
  check_refused(tensor({uint64_t{1} << 32, uint64_t{1} << 32}, 0), "InvalidFile", "overflows");
  check_refused(tensor({uint64_t{1} << 62}, 0), "InvalidFile", "overflows");
  check_refused(tensor({40, 1}, 8), "InvalidFile", "rows of 40 values, Q8_0 comes in blocks of 32");
  check_refused(tensor({128, 2}, 12), "InvalidFile", "Q4_K comes in blocks of 256");
  check_refused(tensor({32}, 16), "Unsupported", "tensor t: GGUF tensor type 16; known are F32");
  const std::string four = floats({1});
  check_refused(GgufBuilder().tensor("t", {1}, 0, four).tensor("t", {1}, 0, four).bytes(),
                "InvalidFile", "tensor t occurs twice");
  check_refused(GgufBuilder().u32("k", 1).u32("k", 1).bytes(), "InvalidFile", "k occurs twice");
}

TEST_CASE("lengths and counts beyond the file are refused without being believed") {
  const std::string good = GgufBuilder().u32("k", 1).tensor("t", {8}, 0, floats({1})).bytes();
  const auto head = [](uint64_t tensors, uint64_t keys) {
    return "GGUF" + raw<uint32_t>(3) + raw(tensors) + raw(keys);
  };
  check_refused("", "InvalidFile", "the magic ends after the file");
  check_refused("GGML" + good.substr(4), "InvalidFile", "not a GGUF file");
  check_refused(head(uint64_t{1} << 62, 0), "InvalidFile", "4611686018427387904 tensors");
  check_refused(head(0, uint64_t{1} << 61), "InvalidFile", "2305843009213693952 keys");
  check_refused(head(60'000, 0), "InvalidFile", "a tensor's name ends after the file");
  check_refused(head(0, 60'000), "InvalidFile", "a key ends after the file");
  check_refused(head(0, 1) + raw(UINT64_MAX - 3) + "abc", "InvalidFile", "a key of");
  check_refused(head(0, 1) + raw<uint64_t>(70'000) + std::string(70'000, 'k'), "InvalidFile",
                "at most 65535");
  const auto value = [&](uint32_t type, const std::string& bytes) {
    return GgufBuilder().key("k", type, bytes).bytes();
  };
  check_refused(value(8, raw(uint64_t{1} << 33)), "InvalidFile", "k ends after the file");
  check_refused(value(8, raw(UINT64_MAX)), "InvalidFile", "k ends after the file");
  check_refused(value(13, ""), "InvalidFile", "unknown value type 13");
  const auto list = [&](uint32_t type, uint64_t count) { return raw(type) + raw(count); };
  check_refused(value(9, list(4, uint64_t{1} << 60)), "InvalidFile", "k ends after the file");
  check_refused(value(9, list(4, uint64_t{1} << 62)), "InvalidFile", "4611686018427387904 values");
  check_refused(value(9, list(8, uint64_t{1} << 40)), "InvalidFile", "k ends after the file");
  check_refused(value(9, list(9, 1)), "InvalidFile", "an array of arrays");
  check_refused(value(9, list(77, 1)), "InvalidFile", "unknown value type 77");
}

TEST_CASE("a GGUF file that is cut anywhere is refused") {
  const std::string good = GgufBuilder()
                               .text("general.architecture", "qwen2")
                               .texts("tokenizer.ggml.tokens", {"a", "bc"})
                               .array("n", 5, 2, raw<int32_t>(1) + raw<int32_t>(2))
                               .tensor("t", {8}, 0, floats({1, 2, 3, 4, 5, 6, 7, 8}))
                               .bytes();
  CHECK(rejection(good) == "");
  for (size_t size = 0; size < good.size(); ++size) {
    CAPTURE(size);
    // On the heap at its exact size, so that AddressSanitizer sees a read past the end.
    const std::vector<char> cut(good.begin(), good.begin() + static_cast<ptrdiff_t>(size));
    CHECK_THROWS_AS(Gguf(std::as_bytes(std::span(cut)), "f.gguf"), Error);
  }
}
