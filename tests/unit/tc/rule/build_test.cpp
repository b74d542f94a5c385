#include "tc/rule/build.hpp"

#include <gtest/gtest.h>

namespace sepal::tc {
namespace {

// Applies a pedit action to a packet the way net/sched/act_pedit.c does: 32-bit words of memory.
void apply(const Pedit& pedit, std::array<uint8_t, 14>& eth, std::array<uint8_t, 40>& ip) {
  for (const PeditKey& key : pedit.keys) {
    uint8_t* at = (key.header == PeditKey::Header::eth ? eth.data() : ip.data()) + key.offset;
    uint32_t word = 0;
    uint32_t value = 0;
    uint32_t keep = 0;
    for (unsigned i = 0; i < 4; ++i) {  // as a little-endian machine reads memory
      word |= static_cast<uint32_t>(at[i]) << 8 * i;
      value |= (key.value >> (24 - 8 * i) & 0xffU) << 8 * i;
      keep |= (~key.mask >> (24 - 8 * i) & 0xffU) << 8 * i;
    }
    if (key.command == PeditKey::Command::add) value = (word + value) & ~keep;
    word = (word & keep) ^ value;
    for (unsigned i = 0; i < 4; ++i) at[i] = static_cast<uint8_t>(word >> 8 * i);
  }
}

std::array<uint8_t, 40> counting() {
  std::array<uint8_t, 40> out{};
  for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<uint8_t>(0xf0 + i);
  return out;
}

TEST(Build, one_rewrite_sets_both_macs_and_takes_one_off_the_ttl_and_touches_nothing_else) {
  const MacAddr source = *MacAddr::parse("02:11:22:33:44:55");
  const MacAddr destination = *MacAddr::parse("02:aa:bb:cc:dd:ee");
  for (const auto& [family, ttl_at] : {std::pair{Family::ipv4, 8}, std::pair{Family::ipv6, 7}}) {
    const Action action = rewrite_macs_and_ttl(source, destination, family);
    const auto& pedit = std::get<Pedit>(action.kind);
    EXPECT_EQ(pedit.keys.size(), 4U);
    for (const int ttl : {64, 255, 1, 0}) {
      std::array<uint8_t, 14> eth{};
      eth[12] = 0x08;
      eth[13] = 0x77;
      auto ip = counting();
      ip[static_cast<size_t>(ttl_at)] = static_cast<uint8_t>(ttl);
      auto expected = ip;
      expected[static_cast<size_t>(ttl_at)] = static_cast<uint8_t>(ttl - 1);
      apply(pedit, eth, ip);
      EXPECT_EQ(ip, expected);
      EXPECT_EQ(eth, (std::array<uint8_t, 14>{0x02, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0x02, 0x11, 0x22, 0x33, 0x44, 0x55,
                                              0x08, 0x77}));
    }
  }
}

TEST(Build, a_snat_without_an_address_applies_the_mapping_the_connection_has) {
  const Action action = ct_commit_snat(Zone(5), std::nullopt, std::nullopt, 1, 1);
  const auto& ct = std::get<Ct>(action.kind);
  EXPECT_TRUE(ct.commit && ct.nat);
  EXPECT_FALSE(ct.nat_first || ct.nat_last || ct.nat_ports);
}

}  // namespace
}  // namespace sepal::tc
