#include "tc/codec/act_police.hpp"

#include <gtest/gtest.h>

namespace sepal::tc {
namespace {

Police bytes(uint64_t rate, uint32_t burst) { return {rate, burst, 0, 0, {}, {}}; }
Police packets(uint64_t rate, uint64_t burst) { return {0, 0, rate, burst, {}, {}}; }

TEST(Police, a_burst_comes_back_exactly_up_to_the_rate_of_one_per_tick) {
  for (const uint64_t rate : {1ULL, 7ULL, 1000ULL, 123'457ULL, 15'625'000ULL}) {
    for (const uint32_t burst : {1U, 2U, 77U, 1500U, 9999U}) {
      const auto fits = static_cast<uint64_t>(burst) * 1'000'000'000 / 64 / rate < UINT32_MAX;
      if (fits) {
        EXPECT_EQ(police_as_kept(bytes(rate, burst)), bytes(rate, burst)) << rate << " " << burst;
      }
      EXPECT_EQ(police_as_kept(packets(rate, burst)), packets(rate, burst)) << rate << " " << burst;
    }
  }
}

TEST(Police, above_it_a_burst_is_rounded_up_by_less_than_a_tick_and_stays_so) {
  const Police kept = police_as_kept(bytes(12'500'000'000, 10'001));
  EXPECT_GE(kept.burst_bytes, 10'001U);
  EXPECT_LT(kept.burst_bytes, 10'001U + 800U);
  EXPECT_EQ(police_as_kept(kept), kept);
}

TEST(Police, a_burst_longer_than_the_kernel_can_count_is_the_longest_it_can) {
  const Police kept = police_as_kept(bytes(1, UINT32_MAX));
  EXPECT_EQ(kept.burst_bytes, 274U);  // 2^32 ticks of 64 ns at one byte per second
}

}  // namespace
}  // namespace sepal::tc
