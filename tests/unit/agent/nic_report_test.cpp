// What people and programs are told of a NIC.
#include "agent/nic_report.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <nlohmann/json.hpp>

#include "tests/support/fake_nic.hpp"

namespace sepal::agent {
namespace {

using nlohmann::json;

class NicReport : public testing::Test {
 protected:
  void SetUp() override {
    nic_.make_functions(3, true);
    nic_.state.functions.at(1).devices[0] = {"eth7", true, false, false};
    nic_.hand_to(2, "vfio-pci");
    nic_.enter_switchdev();
    nic_.state.representors.at(0).device = NicDevice{IfIndex(41), "pf0vf0", true, {true, true}};
    nic_.state.representors.at(0).function_mac = MacAddr{{0x02, 0, 0, 0, 0, 0x0a}};
    nic_.state.representors.at(1).device = NicDevice{IfIndex(42), "pf0vf1", false, {false, false}};
    nic_.state.representors.at(1).function_mac.reset();
    nic_.state.representors.at(2).device.reset();
    nic_.state.representors.at(2).function_mac.reset();
  }
  test::FakeNic nic_;
};

TEST_F(NicReport, a_line_tells_each_vf_its_representor_and_its_user) {
  const std::vector<std::string> wanted{
      "nic 0000:3b:00.0  mlx5_core, firmware 26.31.2006",
      "  mode switchdev, inline none, encap basic, esw_port_metadata true, flow_steering_mode dmfs",
      "  3 of at most 8 VFs; new ones get a driver",
      "  uplink  uplink  down  hw-tc-offload off",
      "  vf 0  0000:3b:00.2  mlx5_core  02:00:00:00:00:0a  representor pf0vf0  up  hw-tc-offload on",
      "  vf 1  0000:3b:00.3  mlx5_core  representor pf0vf1  down  cannot offload tc  in use: eth7 is up",
      "  vf 2  0000:3b:00.4  vfio-pci  representor no netdev here  bound to vfio-pci"};
  EXPECT_EQ(to_lines(nic_.state), wanted);
}

TEST_F(NicReport, programs_are_told_the_same) {
  const json told = to_json(nic_.state);
  EXPECT_EQ(told["mode"], "switchdev");
  EXPECT_EQ(told["encap_mode"], "basic");
  EXPECT_EQ(told["params"]["esw_port_metadata"], true);
  EXPECT_EQ(told["uplink"]["device"], "uplink");
  ASSERT_EQ(told["vfs"].size(), 3U);
  EXPECT_EQ(told["vfs"][0]["representor"]["ifindex"], 41);
  EXPECT_EQ(told["vfs"][0]["representor"]["function_mac"], "02:00:00:00:00:0a");
  EXPECT_FALSE(told["vfs"][0].contains("user"));
  EXPECT_EQ(told["vfs"][1]["user"], "in use: eth7 is up");
  EXPECT_FALSE(told["vfs"][2]["representor"].contains("device"));
}

TEST_F(NicReport, a_function_without_eswitch_is_told_as_such) {
  nic_.state = NicState{};
  nic_.state.pci = "0000:3b:00.0";
  EXPECT_EQ(to_lines(nic_.state), (std::vector<std::string>{"nic 0000:3b:00.0  no driver", "  no eSwitch",
                                                            "  0 of at most 0 VFs; new ones get a driver"}));
  EXPECT_FALSE(to_json(nic_.state).contains("mode"));
}

TEST(NicRemarks, carry_the_drivers_words) {
  const NicRemark remark{SetEncap{true}, fail_errno(EOPNOTSUPP, "devlink", "flows are configured").value()};
  EXPECT_EQ(to_line(remark),
            "refused: switch encapsulation on: devlink: Operation not supported: kernel says: flows are configured");
  EXPECT_EQ(to_json(remark)["error"]["kernel"], "flows are configured");
}

}  // namespace
}  // namespace sepal::agent
