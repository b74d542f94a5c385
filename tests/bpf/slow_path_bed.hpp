// What tests of the programs that SlowPath loads stand on: these programs, pinned nowhere.
#pragma once

#include <optional>
#include <utility>

#include "tests/bpf/bed.hpp"

namespace sepal::test {

class SlowPathTest : public BedTest {
 protected:
  void SetUp() override {
    BedTest::SetUp();
    if (IsSkipped()) return;
    auto loaded = bpf::SlowPath::load({"lab", "/nowhere"});
    ASSERT_TRUE(loaded) << loaded.error().message();
    slow_path_.emplace(std::move(*loaded));
  }

  std::optional<bpf::SlowPath> slow_path_;
};

}  // namespace sepal::test
