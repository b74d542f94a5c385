// The namespaces must be entered while the process has one thread.
#include <gtest/gtest.h>

#include "tests/bpf/bed.hpp"

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  sepal::test::bed_missing();
  return RUN_ALL_TESTS();
}
