// A NIC in memory behind NicCard, as mlx5 behaves: VF counts go through 0, VFs and representors made anew are other
// devices, representors appear after the call that made them returned, a VF learns its MAC and its mode when its driver
// binds, without autoprobe no driver binds at all. Misbehaves on request, and keeps a list of whom it disturbed.
#pragma once

#include <deque>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/nic_card.hpp"

namespace sepal::test {

class FakeNic : public agent::NicCard {
 public:
  FakeNic();

  // --- the world, to be set up and looked at freely
  agent::NicState state;
  std::set<uint16_t> used;                 // VFs in somebody's hands: disturbing one of them is noted
  std::map<uint16_t, MacAddr> guest_macs;  // what the driver of a bound VF took for its MAC
  bool autoprobe_is_late = false;          // VFs' netdevs come after the call, too
  // VFs 0 … count-1, bound to the NIC's driver or to none; representors when in switchdev mode. No write.
  void make_functions(uint16_t count, bool bound);
  void enter_switchdev();                                // no write
  void fall_back();                                      // as after a fatal error and its recovery; no write
  void hand_to(uint16_t vf, const std::string& driver);  // bound to another driver, used

  // --- misbehaviour
  unsigned late = 0;  // waits until a representor's netdev appears
  unsigned busy = 0;  // so many mode changes are refused as busy
  bool encap_refused = false;
  bool metadata_refused = false;
  bool deaf_uplink = false;           // agrees to set the uplink up, and does not
  std::optional<uint64_t> killed_at;  // the n-th write, from 0, and all later ones do not happen: Errc::internal
  bool killed_after_effect = false;   // that write happens, its answer is lost

  // --- what was done to it
  std::vector<agent::NicStep> written;
  std::vector<std::string> disturbed;

  Result<agent::NicState> look() override;
  Result<void> perform(const agent::NicStep& step) override;
  Result<bool> wait(agent::Clock::time_point until) override;
  [[nodiscard]] uint64_t writes() const override { return written.size(); }

 private:
  Result<void> change(const agent::NicStep& step);
  Result<void> set_count(uint16_t count);
  Result<void> set_mode(netlink::EswitchMode mode);
  Result<void> bind(uint16_t vf);
  Result<void> unbind(uint16_t vf, const std::string& driver);
  agent::NicDevice new_device(const std::string& name);
  void make_representors();
  void disturb_all(const std::string& what);
  void disturb(uint16_t vf, const std::string& what);
  agent::NicPort* port(agent::NicPortId id);

  uint32_t next_index_ = 2;
  uint32_t next_mac_ = 1;
  netlink::Eswitch hidden_{std::nullopt, netlink::InlineMode::none, true};  // told in switchdev mode only
  // A netdev on its way; a value, so that the whole NIC can be copied.
  struct Pending {
    unsigned waits = 0;
    bool representor = true;
    uint16_t vf = 0;
  };
  void come(const Pending& what);
  std::deque<Pending> pending_;
};

}  // namespace sepal::test
