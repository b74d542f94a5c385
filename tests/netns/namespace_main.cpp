// main() of the netns suite's programs: into a fresh namespace before anything else happens, or not at all.
#include <gtest/gtest.h>

#include <cstdio>

#include "tests/support/network_namespace.hpp"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (auto entered = sepal::test::enter_network_namespace(); !entered) {
    std::printf("skipped: %s\n", entered.error().message().c_str());
    return 77;
  }
  return RUN_ALL_TESTS();
}
