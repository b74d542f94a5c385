// act_police: `action police pkts_rate R pkts_burst B conform-exceed E/C`, `action police rate Rbps burst B …`, `action
// police mtu M …`. Bursts
// are times in scheduler ticks of 64 ns (PSCHED_SHIFT). A rate in bytes needs a table of 256 times though the kernel
// uses none of them since 2013: qdisc_get_rtab() refuses its absence. Governed by struct tc_police in linux/pkt_cls.h,
// tc_ratespec in linux/pkt_sched.h, net/sched/act_police.c.
#include "tc/codec/act_police.hpp"

#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>

#include <algorithm>
#include <limits>

#include "tc/codec/actions.hpp"
#include "tc/codec/options.hpp"

namespace sepal::tc {
namespace {

constexpr uint64_t kNanosPerSecond = 1'000'000'000;
constexpr uint64_t kNanosPerTick = 64;
constexpr uint8_t kCellLog = 3;       // 256 cells of 8 bytes: what tc says for an Ethernet MTU; 0 is refused
constexpr uint8_t kLinkEthernet = 1;  // TC_LINKLAYER_ETHERNET

uint64_t saturated(unsigned __int128 value) {
  constexpr auto kMax = std::numeric_limits<uint64_t>::max();
  return value > kMax ? kMax : static_cast<uint64_t>(value);
}

uint64_t burst_to_ticks(uint64_t burst, uint64_t rate) {
  const auto step = static_cast<unsigned __int128>(rate) * kNanosPerTick;
  return saturated((static_cast<unsigned __int128>(burst) * kNanosPerSecond + step - 1) / step);
}

uint64_t burst_from_ticks(uint64_t ticks, uint64_t rate) {
  return saturated(static_cast<unsigned __int128>(ticks) * kNanosPerTick * rate / kNanosPerSecond);
}

// Ticks are 32 bits wide for bytes (275 seconds of burst), 64 bits for packets, of which the kernel shifts 6 out.
uint32_t byte_ticks(uint64_t burst, uint64_t rate) {
  return static_cast<uint32_t>(std::min<uint64_t>(burst_to_ticks(burst, rate), UINT32_MAX));
}
constexpr uint64_t kPacketTicksMax = INT64_MAX / kNanosPerTick;
uint64_t packet_ticks(uint64_t burst, uint64_t rate) { return std::min(burst_to_ticks(burst, rate), kPacketTicksMax); }

uint32_t narrow(uint64_t value) { return static_cast<uint32_t>(std::min<uint64_t>(value, UINT32_MAX)); }

}  // namespace

Police police_as_kept(Police police) {
  if (const uint64_t rate = police.rate_bytes_per_second; rate != 0) {
    police.burst_bytes = narrow(burst_from_ticks(byte_ticks(police.burst_bytes, rate), rate));
  }
  if (const uint64_t rate = police.rate_packets_per_second; rate != 0) {
    police.burst_packets = burst_from_ticks(packet_ticks(police.burst_packets, rate), rate);
  }
  return police;
}

void encode_police(netlink::MessageBuilder& message, const Police& police, const Common& common) {
  auto parms = with<tc_police>(common);
  // Larger packets count as exceeding. Left at 0, a rate in bytes would stop at 2040 bytes and drop what GSO makes.
  parms.mtu = police.mtu != 0 ? police.mtu : UINT32_MAX;
  if (const uint64_t rate = police.rate_bytes_per_second; rate != 0) {
    parms.rate.rate = narrow(rate);
    parms.rate.cell_log = kCellLog;
    parms.rate.cell_align = -1;
    parms.rate.linklayer = kLinkEthernet;
    parms.burst = byte_ticks(police.burst_bytes, rate);
    static constexpr std::array<uint8_t, TC_RTAB_SIZE> kUnusedTable{};
    message.put_bytes(TCA_POLICE_RATE, kUnusedTable.data(), kUnusedTable.size());
    if (rate > UINT32_MAX) message.put_u64(TCA_POLICE_RATE64, rate);
  }
  message.put_bytes(TCA_POLICE_TBF, &parms, sizeof parms);
  if (const uint64_t rate = police.rate_packets_per_second; rate != 0) {
    message.put_u64(TCA_POLICE_PKTRATE64, rate);
    message.put_u64(TCA_POLICE_PKTBURST64, packet_ticks(police.burst_packets, rate));
  }
  if (const int32_t conform = verdict_to_wire(police.conform); conform != TC_ACT_OK) {  // which absence means
    message.put_u32(TCA_POLICE_RESULT, static_cast<uint32_t>(conform));
  }
}

Result<DecodedKind> decode_police(std::span<const uint8_t> options) {
  auto attrs = Options<TCA_POLICE_MAX>::parse(options);
  if (!attrs) return Unexpected(attrs.error());
  const auto parms = attrs->parms<tc_police>(TCA_POLICE_TBF);
  const Common common = common_of(parms);
  Police police;
  police.exceed = verdict_from_wire(parms.action);
  police.conform = verdict_from_wire(static_cast<int32_t>(attrs->u32(TCA_POLICE_RESULT, TC_ACT_OK)));
  police.rate_bytes_per_second = parms.rate.rate == 0 ? 0 : attrs->u64(TCA_POLICE_RATE64, parms.rate.rate);
  if (police.rate_bytes_per_second != 0) {
    police.burst_bytes = narrow(burst_from_ticks(parms.burst, police.rate_bytes_per_second));
  }
  police.rate_packets_per_second = attrs->u64(TCA_POLICE_PKTRATE64, 0);
  if (police.rate_packets_per_second != 0) {
    // No kernel says more than it can keep; a burst of which it says so all the same is the largest there is.
    const uint64_t ticks = std::min(attrs->u64(TCA_POLICE_PKTBURST64, 0), kPacketTicksMax);
    police.burst_packets = burst_from_ticks(ticks, police.rate_packets_per_second);
  }
  const bool by_bytes = police.rate_bytes_per_second != 0;
  const bool by_packets = police.rate_packets_per_second != 0;
  // Beside a rate it is whatever the kernel made of what was not said.
  if (!by_bytes && !by_packets && parms.mtu != UINT32_MAX) police.mtu = parms.mtu;
  if (attrs->malformed()) return malformed_options("police");
  // Peak rates, moving averages, other link layers.
  const bool modelled = parms.peakrate.rate == 0 && parms.rate.overhead == 0 && parms.rate.linklayer <= kLinkEthernet &&
                        (by_bytes != by_packets || police.mtu != 0) &&
                        attrs->only({TCA_POLICE_TBF, TCA_POLICE_RATE, TCA_POLICE_RATE64, TCA_POLICE_PKTRATE64,
                                     TCA_POLICE_PKTBURST64, TCA_POLICE_RESULT, TCA_POLICE_TM, TCA_POLICE_PAD});
  if (!modelled) return not_modelled("police", common, attrs->unknown());
  return DecodedKind{police, common, attrs->unknown()};
}

}  // namespace sepal::tc
